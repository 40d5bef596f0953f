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

/* What the threads of one attention share. */
struct attention {
    const struct value *q, *k, *v;
    struct value *y;
    const int32_t *offsets;
    int heads;
    int64_t stride, d, longest; /* columns, columns of a head, rows of the longest sequence */
    bool train;
    float *p;         // (threads, T, T), or of all sequences and heads in training
    uint16_t *p_half; // (threads, T, T), and the next two: operands in bf16
    float *inverse;   // (threads, T) 1 / sum of a row
    float *y_head;    // (threads, T, d)
};

/* One head of one sequence; `at` its first value, p is T x T. */
static int attend(const struct attention *a, struct gemm *g, int64_t length, int64_t at, float *p,
                  struct error *err)
{
    float scale = 1.0f / sqrtf((float)a->d);
    const float *q = a->q->x + at, *k = a->k->x + at, *v = a->v->x + at;
    int rc = gemm_product(g, NUMERICS_F32, false, true, length, length, a->d, scale, q, a->stride,
                          k, a->stride, 0, p, length, err);
    if (rc < 0) return rc;
    for (int64_t i = 0; i < length; i++) vec_softmax((size_t)length, p + i * length);
    return gemm_product(g, NUMERICS_F32, false, false, length, a->d, length, 1, p, length, v,
                        a->stride, 0, a->y->x + at, a->stride, err);
}

/* The same with operands in bf16. */
static int attend_half(const struct attention *a, struct gemm *g, int thread, int64_t length,
                       int64_t at, struct error *err)
{
    int64_t d = a->d, longest = a->longest;
    float scale = 1.0f / sqrtf((float)d), *scores = a->p + thread * longest * longest;
    uint16_t *p = a->p_half + thread * longest * longest;
    float *inverse = a->inverse + thread * longest, *y = a->y_head + thread * longest * d;
    int rc = gemm_product_half(g, true, length, length, d, a->q->half + at, a->stride,
                               a->k->half + at, a->stride, scores, length, err);
    if (rc < 0) return rc;
    for (int64_t i = 0; i < length; i++)
        inverse[i] = 1.0f /
                     vec_exp_bf16((size_t)length, scale, scores + i * length, p + i * length);
    rc = gemm_product_half(g, false, length, d, length, p, length, a->v->half + at, a->stride, y, d,
                           err);
    for (int64_t i = 0; i < length && rc == 0; i++)
        vec_scale_bf16((size_t)d, inverse[i], y + i * d, a->y->half + at + i * a->stride);
    return rc;
}

/* Heads first to end, counted over all sequences. */
static int attend_part(void *ctx, struct gemm *g, int thread, int64_t first, int64_t end,
                       struct error *err)
{
    const struct attention *a = ctx;
    float *p = a->train ? a->p : a->p + thread * a->longest * a->longest;
    for (int64_t i = first; i < end; i++) {
        int64_t s = i / a->heads, length = a->offsets[s + 1] - a->offsets[s];
        int64_t at = a->offsets[s] * a->stride + i % a->heads * a->d;
        if (length == 0) continue;
        int rc = a->y->half ? attend_half(a, g, thread, length, at, err)
                            : attend(a, g, length, at, p, err);
        if (rc < 0) return rc;
        if (a->train) p += length * length;
    }
    return 0;
}

/* Floats of P over all sequences and heads. */
static size_t probabilities(int n, const int32_t *offsets, int heads)
{
    size_t total = 0;
    for (int s = 0; s < n; s++) {
        size_t length = (size_t)(offsets[s + 1] - offsets[s]);
        total += (size_t)heads * length * length;
    }
    return total;
}

/* Result and scratch; false after a failure. */
static bool make_room(struct exec *e, struct attention *a, int n, size_t *mark)
{
    for (int s = 0; s < n; s++) {
        int64_t length = a->offsets[s + 1] - a->offsets[s];
        if (length > a->longest) a->longest = length;
    }
    bool half = a->q->half && a->k->half && a->v->half;
    a->y = half ? exec_operand(e, a->q->rows, a->q->cols) : exec_value(e, a->q->rows, a->q->cols);
    *mark = exec_mark(e);
    size_t rows = (size_t)e->n_team * (size_t)a->longest, n_p = rows * (size_t)a->longest;
    if (a->train) n_p = probabilities(n, a->offsets, a->heads);
    a->p = exec_alloc(e, n_p * sizeof *a->p);
    if (half) {
        a->p_half = exec_alloc(e, n_p * sizeof *a->p_half);
        a->inverse = exec_alloc(e, rows * sizeof *a->inverse);
        a->y_head = exec_alloc(e, rows * (size_t)a->d * sizeof *a->y_head);
    }
    return !e->error.code;
}

struct value *op_attention(struct exec *e, struct value *q, struct value *k, struct value *v, int n,
                           const int32_t *offsets, int heads)
{
    if (!q || !k || !v || e->error.code || !attention_fits(e, q, k, v, n, offsets, heads))
        return NULL;
    size_t mark;
    struct attention a = {.q = q,
                          .k = k,
                          .v = v,
                          .offsets = offsets,
                          .heads = heads,
                          .stride = q->cols,
                          .d = q->cols / heads,
                          .train = e->mode == EXEC_TRAIN};
    if (!make_room(e, &a, n, &mark)) return NULL;
    if (exec_split(e, (int64_t)n * heads, 1, attend_part, &a) < 0) return NULL;
    struct node *node = exec_record(e, OP_ATTENTION);
    if (node) {
        int32_t *copy = exec_alloc(e, ((size_t)n + 1) * sizeof *copy);
        if (!copy) return NULL;
        for (int s = 0; s <= n; s++) copy[s] = offsets[s];
        node->in[0] = q;
        node->in[1] = k;
        node->in[2] = v;
        node->out = a.y;
        node->aux[0] = n;
        node->aux[1] = heads;
        node->offset = copy;
        node->saved = a.p;
    }
    exec_release(e, mark);
    return a.y;
}
