/* Multi-head attention of op.h over ragged sequences. For sequence s and head h, with T its length
 * and d = D / heads:
 *
 *     P = softmax(Q K^T / sqrt(d))      rows of P sum to 1          // (T, T)
 *     Y = P V                                                       // (T, d)
 *
 * Operands in f32 (f32 numerics, and training) have f32 products. Operands in bf16 have scores in
 * f32, exp(scores - most) rounded to bf16 for the second product, and the division by the row's sum
 * behind it, where there are d values to scale and not T. What is computed for a sequence depends
 * on its own rows and length alone. Training keeps P of all sequences and heads in node->saved. */
#include <math.h>

#include "featurize/gemm.h"
#include "featurize/op.h"
#include "featurize/vecmath.h"

static bool attention_fits(struct exec *e, const struct value *q, const struct value *k,
                           const struct value *v, int n, const int32_t *offsets, int heads)
{
    bool same = q->rows == k->rows && q->rows == v->rows && q->cols == k->cols &&
                q->cols == v->cols;
    if (!same || heads <= 0 || q->cols % heads || n < 0 || offsets[0] != 0 ||
        offsets[n] != q->rows) {
        exec_fail(e, ERR_DATA,
                  "attention: %d heads over %d sequences do not fit %lld rows of %lld columns",
                  heads, n, (long long)q->rows, (long long)q->cols);
        return false;
    }
    for (int s = 0; s < n; s++)
        if (offsets[s + 1] < offsets[s]) {
            exec_fail(e, ERR_DATA, "attention: sequence %d ends before it begins", s);
            return false;
        }
    return true;
}

/* One head of one sequence; p is T x T. */
static int attend(struct exec *e, int64_t length, int64_t d, int64_t stride, const float *q,
                  const float *k, const float *v, float *p, float *y)
{
    float scale = 1.0f / sqrtf((float)d);
    int rc = gemm_product(e->gemm, NUMERICS_F32, false, true, length, length, d, scale, q, stride,
                          k, stride, 0, p, length, &e->error);
    if (rc < 0) return rc;
    for (int64_t i = 0; i < length; i++) vec_softmax((size_t)length, p + i * length);
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

/* Scratch of one head; T the longest sequence. */
struct half_head {
    float *scores;  // (T, T)
    uint16_t *p;    // (T, T)
    float *inverse; // (T) 1 / sum of a row
    float *y;       // (T, d)
};

static int attend_half(struct exec *e, const struct half_head *h, int64_t length, int64_t d,
                       int64_t stride, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                       uint16_t *y)
{
    float scale = 1.0f / sqrtf((float)d);
    int rc = gemm_product_half(e->gemm, true, length, length, d, q, stride, k, stride, h->scores,
                               length, &e->error);
    if (rc < 0) return rc;
    for (int64_t i = 0; i < length; i++)
        h->inverse[i] = 1.0f / vec_exp_bf16((size_t)length, scale, h->scores + i * length,
                                            h->p + i * length);
    rc = gemm_product_half(e->gemm, false, length, d, length, h->p, length, v, stride, h->y, d,
                           &e->error);
    for (int64_t i = 0; i < length && rc == 0; i++)
        vec_scale_bf16((size_t)d, h->inverse[i], h->y + i * d, y + i * stride);
    return rc;
}

/* Inference in bf16: operands and result are kept in bf16 alone. */
static struct value *attention_half(struct exec *e, const struct value *q, const struct value *k,
                                    const struct value *v, int n, const int32_t *offsets, int heads)
{
    struct value *y = exec_operand(e, q->rows, q->cols);
    size_t mark = exec_mark(e), largest = probabilities(n, offsets, heads, false);
    int64_t stride = q->cols, d = q->cols / heads, longest = (int64_t)sqrt((double)largest);
    struct half_head h = {
        .scores = exec_alloc(e, largest * sizeof *h.scores),
        .p = exec_alloc(e, largest * sizeof *h.p),
        .inverse = exec_alloc(e, (size_t)longest * sizeof *h.inverse),
        .y = exec_alloc(e, (size_t)(longest * d) * sizeof *h.y),
    };
    if (!y || !h.scores || !h.p || !h.inverse || !h.y) return NULL;
    for (int s = 0; s < n; s++) {
        int64_t length = offsets[s + 1] - offsets[s];
        for (int i = 0; i < heads && length > 0; i++) {
            int64_t at = offsets[s] * stride + i * d;
            if (attend_half(e, &h, length, d, stride, q->half + at, k->half + at, v->half + at,
                            y->half + at) < 0)
                return NULL;
        }
    }
    exec_release(e, mark);
    return y;
}

struct value *op_attention(struct exec *e, struct value *q, struct value *k, struct value *v, int n,
                           const int32_t *offsets, int heads)
{
    if (!q || !k || !v || e->error.code || !attention_fits(e, q, k, v, n, offsets, heads))
        return NULL;
    if (q->half && k->half && v->half) return attention_half(e, q, k, v, n, offsets, heads);
    struct value *y = exec_value(e, q->rows, q->cols);
    size_t mark = exec_mark(e);
    bool train = e->mode == EXEC_TRAIN;
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
    for (int s = 0; s <= n; s++) copy[s] = offsets[s];
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
