/* Causal attention of op.h: row i of a sequence sees rows 0 .. i. The equations, the tape and so
 * the gradient are attention.c's, with P zero above the diagonal; products are f32 whatever the
 * numerics, on one thread: texts are short, and this is the tower of English teachers alone. */
#include <math.h>
#include <string.h>

#include "featurize/gemm.h"
#include "featurize/op.h"
#include "featurize/vecmath.h"

/* One head of one sequence; p is T x T. */
static int attend(struct exec *e, int64_t length, int64_t d, int64_t stride, const float *q,
                  const float *k, const float *v, float *p, float *y)
{
    int rc = gemm_product(e->gemm, NUMERICS_F32, false, true, length, length, d,
                          1.0f / sqrtf((float)d), q, stride, k, stride, 0, p, length, &e->error);
    if (rc < 0) return rc;
    for (int64_t i = 0; i < length; i++) {
        vec_softmax((size_t)(i + 1), p + i * length);
        memset(p + i * length + i + 1, 0, (size_t)(length - i - 1) * sizeof *p);
    }
    return gemm_product(e->gemm, NUMERICS_F32, false, false, length, d, length, 1, p, length, v,
                        stride, 0, y, stride, &e->error);
}

/* Floats of P over all sequences and heads, or of the largest head alone. */
static size_t probabilities(int n, const int32_t *offsets, int heads, bool all)
{
    size_t total = 0, largest = 0;
    for (int s = 0; s < n; s++) {
        size_t length = (size_t)(offsets[s + 1] - offsets[s]);
        total += (size_t)heads * length * length;
        if (length * length > largest) largest = length * length;
    }
    return all ? total : largest;
}

struct value *op_causal_attention(struct exec *e, struct value *q, struct value *k, struct value *v,
                                  int n, const int32_t *offsets, int heads)
{
    if (!q || !k || !v || e->error.code) return NULL;
    struct value *y = exec_value(e, q->rows, q->cols);
    bool train = e->mode == EXEC_TRAIN;
    size_t mark = exec_mark(e);
    float *p = exec_alloc(e, probabilities(n, offsets, heads, train) * sizeof *p), *saved = p;
    int32_t *copy = exec_alloc(e, ((size_t)n + 1) * sizeof *copy);
    if (!y || !p || !copy) return NULL;
    int64_t stride = q->cols, d = q->cols / heads;
    for (int s = 0; s < n; s++) {
        int64_t length = offsets[s + 1] - offsets[s];
        for (int h = 0; h < heads; h++) {
            int64_t at = offsets[s] * stride + h * d;
            if (attend(e, length, d, stride, q->x + at, k->x + at, v->x + at, p, y->x + at) < 0)
                return NULL;
            if (train) p += length * length;
        }
    }
    memcpy(copy, offsets, ((size_t)n + 1) * sizeof *copy);
    struct node *node = exec_record(e, OP_ATTENTION);
    if (node) {
        node->in[0] = q;
        node->in[1] = k;
        node->in[2] = v;
        node->out = y;
        node->aux[0] = n;
        node->aux[1] = heads;
        node->offset = copy;
        node->saved = saved;
    }
    exec_release(e, mark);
    return y;
}
