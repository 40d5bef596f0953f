/* Cuts of pieces into two; see subword.h. A table made once: a vocabulary of 250,000 pieces of ten letters takes a few million look-ups. */
#include "train/subword.h"

#include <string.h>

#include "store/memory.h"

struct subword {
    int32_t n_ids;
    uint32_t *first; // (n_ids + 1) where an id's cuts begin
    int32_t (*cut)[2];
};

/* Adds the cuts of one piece, at the boundaries of its UTF-8 characters. */
static int add_cuts(struct subword *s, const struct tokenizer *t, const char *piece,
                    size_t *capacity, uint32_t *n, struct error *err)
{
    size_t length = strlen(piece);
    for (size_t at = 1; at < length; at++) {
        if ((piece[at] & 0xc0) == 0x80) continue;
        int32_t left = tokenizer_find(t, piece, at);
        int32_t right = tokenizer_find(t, piece + at, length - at);
        if (left < 0 || right < 0) continue;
        if (memory_grow(&s->cut, capacity, (uint64_t)*n + 1, sizeof *s->cut, MEMORY_MAX_TENSOR,
                        err) < 0)
            return ERR_NOMEM;
        s->cut[*n][0] = left;
        s->cut[(*n)++][1] = right;
    }
    return 0;
}

struct subword *subword_new(const struct tokenizer *t, struct error *err)
{
    size_t capacity = 0;
    uint32_t n = 0;
    struct subword *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return NULL;
    s->n_ids = tokenizer_vocab(t);
    s->first = memory_array((uint64_t)s->n_ids + 1, sizeof *s->first, MEMORY_MAX_TENSOR, err);
    for (int32_t id = 0; s->first && id < s->n_ids; id++) {
        const char *piece = tokenizer_piece(t, id);
        s->first[id] = n;
        if (piece && add_cuts(s, t, piece, &capacity, &n, err) < 0) goto failed;
    }
    if (!s->first) goto failed;
    s->first[s->n_ids] = n;
    return s;
failed:
    subword_free(s);
    return NULL;
}

void subword_free(struct subword *s)
{
    if (!s) return;
    memory_free(s->first);
    memory_free(s->cut);
    memory_free(s);
}

bool subword_cut(const struct subword *s, int32_t id, double draw, int32_t pair[2])
{
    if (id < 0 || id >= s->n_ids || s->first[id] == s->first[id + 1]) return false;
    uint32_t n = s->first[id + 1] - s->first[id];
    memcpy(pair, s->cut[s->first[id] + (uint32_t)(draw * n)], 2 * sizeof *pair);
    return true;
}
