/* bf16 products for gradients; see product.h. Ragged batches bring ever new shapes, so past
 * MAX_PRODUCTS all primitives are dropped; making one costs about 0.3 ms. Copies are compact, so
 * leading dimensions of A and B need not be part of the key. */
#include "featurize/product.h"

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
    dnnl_dims_t a_dims = {s->m, s->k}, b_dims = {s->k, s->n}, c_dims = {s->m, s->n},
                c_strides = {s->ldc, 1};
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&a, 2, a_dims, dnnl_bf16,
                                                        s->transpose_a ? dnnl_ba : dnnl_ab);
    if (!status)
        status = dnnl_memory_desc_init_by_tag(&b, 2, b_dims, dnnl_bf16,
                                              s->transpose_b ? dnnl_ba : dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_strides(&c, 2, c_dims, dnnl_f32, c_strides);
    if (!status)
        status = onednn_matmul_make(o, &a, &b, &c, NULL, (struct onednn_after){.beta = s->beta},
                                    &p->matmul, NULL);
    return status;
}

static struct product *find_product(struct onednn *o, struct products *all,
                                    const struct product_shape *s, struct error *err)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct product_shape *t = &all->list[i].shape;
        if (t->m == s->m && t->n == s->n && t->k == s->k && t->ldc == s->ldc &&
            t->transpose_a == s->transpose_a && t->transpose_b == s->transpose_b &&
            t->beta == s->beta)
            return &all->list[i];
    }
    if (all->n == MAX_PRODUCTS) drop_all(all);
    if (memory_grow(&all->list, &all->capacity, all->n + 1, sizeof *all->list,
                    MAX_PRODUCTS * sizeof *all->list, err) < 0)
        return NULL;
    struct product *p = &all->list[all->n];
    *p = (struct product){.shape = *s};
    dnnl_status_t status = make_product(o, p);
    if (!status) {
        all->n++;
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

int product_bf16(struct onednn *o, struct products *all, const struct product_shape *s, float alpha,
                 const float *a, int64_t lda, const float *b, int64_t ldb, float *c,
                 struct error *err)
{
    struct product *p = find_product(o, all, s, err);
    if (!p) return ERR_USAGE;
    size_t mark = o->scratch_used;
    int rc = ERR_NOMEM;
    bool ta = s->transpose_a, tb = s->transpose_b;
    uint16_t *a16 = round_matrix(o, ta ? s->k : s->m, ta ? s->m : s->k, alpha, a, lda, err);
    uint16_t *b16 = a16 ? round_matrix(o, tb ? s->n : s->k, tb ? s->k : s->n, 1.0f, b, ldb, err)
                        : NULL;
    if (b16) rc = onednn_matmul_run(o, &p->matmul, a16, b16, NULL, c, err);
    o->scratch_used = mark;
    return rc;
}
