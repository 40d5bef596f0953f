/* The pickle of a PyTorch file as it is written, for tests: torchkit_op(&s, "\x80\x02}("); torchkit_text(&s, "w"); torchkit_tensor(&s, &t);
 * torchkit_op(&s, "u."); then s.n of s.bytes is data.pkl, around which tests/zipkit.h makes the archive. Included by a test. */
#ifndef TESTS_TORCHKIT_H
#define TESTS_TORCHKIT_H

#include <stdint.h>
#include <string.h>

struct torchkit {
    uint8_t bytes[1 << 18];
    size_t n;
};

static inline void torchkit_add(struct torchkit *s, const void *bytes, size_t n)
{
    if (n > sizeof s->bytes - s->n) abort();
    memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
}

static inline void torchkit_op(struct torchkit *s, const char *opcodes)
{
    torchkit_add(s, opcodes, strlen(opcodes));
}

static inline void torchkit_text(struct torchkit *s, const char *t)
{
    uint8_t head[5] = {'X', (uint8_t)strlen(t)};
    torchkit_add(s, head, 5);
    torchkit_op(s, t);
}

static inline void torchkit_number(struct torchkit *s, int64_t x)
{
    uint8_t all[10] = {0x8a, 8};
    for (int i = 0; i < 8; i++) all[2 + i] = (uint8_t)((uint64_t)x >> 8 * i);
    torchkit_add(s, all, sizeof all);
}

/* A tensor of up to four dimensions, in the words of its pickle. */
struct torchkit_tensor {
    const char *class, *key, *function, *dtype;
    int64_t n_stored, offset;
    int n_dims;
    int64_t shape[4], stride[4];
};

static inline void torchkit_tensor(struct torchkit *s, const struct torchkit_tensor *t)
{
    torchkit_op(s, t->function ? t->function : "ctorch._utils\n_rebuild_tensor_v2\n");
    torchkit_op(s, "((");
    torchkit_text(s, "storage");
    torchkit_op(s, t->class);
    torchkit_text(s, t->key);
    torchkit_text(s, "cpu");
    torchkit_number(s, t->n_stored);
    torchkit_op(s, "tQ");
    torchkit_number(s, t->offset);
    for (int k = 0; k < 2; k++) {
        torchkit_op(s, "(");
        for (int i = 0; i < t->n_dims; i++) torchkit_number(s, k ? t->stride[i] : t->shape[i]);
        torchkit_op(s, "t");
    }
    torchkit_op(s, "\x89"
                   "ccollections\nOrderedDict\n)R");
    if (t->dtype) torchkit_op(s, t->dtype);
    torchkit_op(s, "tR");
}

#endif
