/* bf16 products for gradients and attention; see product.h. Ragged batches bring ever new shapes, so
 * past MAX_PRODUCTS all primitives are dropped; making one costs about 0.3 ms. */
#include "featurize/product.h"

#include "featurize/gemm.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

#define MAX_PRODUCTS 512

static void drop_all(struct products *all)
{
    for (size_t i = 0; i < all->n; i++) onednn_matmul_release(&all->list[i].matmul);
    all->n = 0;
}

void products_release(struct products *all)
{
    drop_all(all);
    memory_free(all->list);
    *all = (struct products){0};
}

static dnnl_status_t make_product(struct onednn *o, struct product *p)
{
    const struct product_shape *s = &p->shape;
    dnnl_memory_desc_t a, b, c;
    dnnl_dims_t a_dims = {s->m, s->k}, b_dims = {s->k, s->n}, c_dims = {s->m, s->n};
    dnnl_dims_t a_strides = {s->transpose_a ? 1 : s->lda, s->transpose_a ? s->lda : 1},
                b_strides = {s->transpose_b ? 1 : s->ldb, s->transpose_b ? s->ldb : 1},
                c_strides = {s->ldc, 1};
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(&a, 2, a_dims, dnnl_bf16, a_strides);
    if (!status) status = dnnl_memory_desc_init_by_strides(&b, 2, b_dims, dnnl_bf16, b_strides);
    if (!status) status = dnnl_memory_desc_init_by_strides(&c, 2, c_dims, dnnl_f32, c_strides);
    if (!status)
        status = onednn_matmul_make(o, &a, &b, &c, NULL, (struct onednn_after){.beta = s->beta},
                                    &p->matmul, NULL);
    return status;
}

static bool same_shape(const struct product_shape *a, const struct product_shape *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb &&
           a->ldc == b->ldc && a->transpose_a == b->transpose_a &&
           a->transpose_b == b->transpose_b && a->beta == b->beta;
}

static struct product *find_product(struct onednn *o, struct products *all,
                                    const struct product_shape *s, struct error *err)
{
    for (size_t i = 0; i < all->n; i++) {
        size_t at = (all->last + i) % all->n;
        if (!same_shape(&all->list[at].shape, s)) continue;
        all->last = at;
        return &all->list[at];
    }
    if (all->n == MAX_PRODUCTS) drop_all(all);
    if (memory_grow(&all->list, &all->capacity, all->n + 1, sizeof *all->list,
                    MAX_PRODUCTS * sizeof *all->list, err) < 0)
        return NULL;
    struct product *p = &all->list[all->n];
    *p = (struct product){.shape = *s};
    dnnl_status_t status = make_product(o, p);
    if (!status) {
        all->last = all->n++;
        return p;
    }
    onednn_failed(status, err, "a product of %lld x %lld x %lld", (long long)s->m, (long long)s->n,
                  (long long)s->k);
    return NULL;
}

/* A compact bf16 copy of a matrix, scaled. */
static uint16_t *round_matrix(struct onednn *o, int64_t rows, int64_t cols, float scale,
                              const float *x, int64_t ld, struct error *err)
{
    uint16_t *out = onednn_scratch(o, (size_t)rows * (size_t)cols * sizeof *out, err);
    float *line = onednn_scratch(o, (size_t)cols * sizeof *line, err);
    if (!out || !line) return NULL;
    if (scale == 1.0f && ld == cols) {
        vec_bf16((size_t)rows * (size_t)cols, x, out);
        return out;
    }
    for (int64_t i = 0; i < rows; i++) {
        const float *from = x + i * ld;
        if (scale != 1.0f) {
            for (int64_t j = 0; j < cols; j++) line[j] = scale * from[j];
            from = line;
        }
        vec_bf16((size_t)cols, from, out + i * cols);
    }
    return out;
}

/* A compact f32 copy. */
static float *widen_matrix(struct onednn *o, int64_t rows, int64_t cols, const uint16_t *x,
                           int64_t ld, struct error *err)
{
    float *out = onednn_scratch(o, (size_t)(rows * cols) * sizeof *out, err);
    for (int64_t i = 0; i < rows && out; i++)
        vec_from_bf16((size_t)cols, x + i * ld, out + i * cols);
    return out;
}

/* product_half by a product of f32, as blocks.h has it for linear layers. */
static int widened_product(struct onednn *o, const struct product_shape *s, const uint16_t *a,
                           const uint16_t *b, float *c, struct error *err)
{
    size_t mark = o->scratch_used;
    bool ta = s->transpose_a, tb = s->transpose_b;
    int64_t a_cols = ta ? s->m : s->k, b_cols = tb ? s->k : s->n;
    float *wide_a = widen_matrix(o, ta ? s->k : s->m, a_cols, a, s->lda, err);
    float *wide_b = wide_a ? widen_matrix(o, tb ? s->n : s->k, b_cols, b, s->ldb, err) : NULL;
    int rc = ERR_NOMEM;
    if (wide_b) {
        dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', s->m, s->n, s->k, 1,
                                          wide_a, a_cols, wide_b, b_cols, s->beta, c, s->ldc);
        rc = status ? onednn_failed(status, err, "a product of %lld x %lld x %lld", (long long)s->m,
                                    (long long)s->n, (long long)s->k)
                    : 0;
    }
    o->scratch_used = mark;
    return rc;
}

int product_half(struct onednn *o, struct products *all, const struct product_shape *s,
                 const uint16_t *a, const uint16_t *b, float *c, struct error *err)
{
    if (!gemm_bf16_is_fast()) return widened_product(o, s, a, b, c, err);
    struct product *p = find_product(o, all, s, err);
    return p ? onednn_matmul_run(o, &p->matmul, a, b, NULL, c, err) : ERR_USAGE;
}

int product_bf16(struct onednn *o, struct products *all, const struct product_shape *s, float alpha,
                 const float *a, int64_t lda, const float *b, int64_t ldb, float *c,
                 struct error *err)
{
    size_t mark = o->scratch_used;
    int rc = ERR_NOMEM;
    bool ta = s->transpose_a, tb = s->transpose_b;
    uint16_t *a16 = round_matrix(o, ta ? s->k : s->m, ta ? s->m : s->k, alpha, a, lda, err);
    uint16_t *b16 = a16 ? round_matrix(o, tb ? s->n : s->k, tb ? s->k : s->n, 1.0f, b, ldb, err)
                        : NULL;
    if (b16) rc = product_half(o, all, s, a16, b16, c, err);
    o->scratch_used = mark;
    return rc;
}
