/* Linear layers and general products; see gemm.h for the promises. This file finds the weights and
 * the kernel; the kernels are tiles.c (linear layers on oneDNN), int8.c (the same in integers) and
 * product.c (bf16 products).
 *
 * General products are dnnl_sgemm in f32: measured as fast as matmul primitives for large shapes,
 * up to three times faster for small ones, and nothing is made per shape. */
#include "featurize/gemm.h"

#include <assert.h>

#include "featurize/blocks.h"
#include "featurize/onednn.h"
#include "featurize/packed.h"
#include "featurize/product.h"
#include "featurize/tiles.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

struct gemm {
    struct onednn o;
    struct tiles tiles;
    struct products products;
    struct int8_tiles int8;
};

struct gemm *gemm_new(struct error *err)
{
    struct gemm *g = memory_array(1, sizeof *g, MEMORY_MAX_SMALL, err);
    if (!g) return NULL;
    if (onednn_open(&g->o, err) == 0) return g;
    gemm_free(g);
    return NULL;
}

void gemm_free(struct gemm *g)
{
    if (!g) return;
    products_release(&g->products);
    int8_tiles_release(&g->int8);
    tiles_release(&g->tiles);
    onednn_close(&g->o);
    memory_free(g);
}

static bool isa_has(dnnl_cpu_isa_t wanted)
{
    return (dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

/* Intel's vdpbf16ps has half the rate of f32 multiply-adds, AMD's twice that rate. */
bool gemm_bf16_is_fast(void)
{
    if (isa_has(dnnl_cpu_isa_avx512_core_amx)) return true;
    return isa_has(dnnl_cpu_isa_avx512_core_bf16) && __builtin_cpu_is("amd");
}

bool gemm_int8_is_exact(void)
{
    return isa_has(dnnl_cpu_isa_avx512_core_vnni);
}

/* What a calibration covers in integers, the rest in f32. */
static int linear_int8(struct gemm *g, const struct gemm_layer *l, int64_t m, struct rows x,
                       struct rows y, struct error *err)
{
    const struct packed *p = l->packed;
    if (!p || !p->int8)
        return error_set(err, ERR_USAGE, "numerics int8 on weights that are not packed so");
    if (!p->int8[l->weight].data) {
        struct gemm_layer f32 = *l;
        f32.numerics = NUMERICS_F32;
        return gemm_linear(g, &f32, m, x, y, err);
    }
    int threads = onednn_enter();
    int rc = int8_linear(&g->o, &g->int8, &p->int8[l->weight], l, m, x.x, y.x, err);
    onednn_leave(threads);
    return rc;
}

static bool is_packed(const struct gemm_layer *l)
{
    const struct packed *p = l->packed;
    return p && p->numerics == l->numerics && l->weight >= 0 && l->weight < p->n;
}

static const struct block_weight *blocks_of(const struct gemm_layer *l)
{
    if (!is_packed(l) || !l->packed->blocks) return NULL;
    const struct block_weight *w = &l->packed->blocks[l->weight];
    return w->data ? w : NULL;
}

int64_t gemm_blocks(const struct gemm_layer *l)
{
    if (l->numerics == NUMERICS_INT8) {
        const struct int8_weight *q = l->packed && l->packed->int8 ? &l->packed->int8[l->weight]
                                                                   : NULL;
        return q && q->data ? block_count(&q->layout, l->n) : 1;
    }
    const struct block_weight *w = blocks_of(l);
    return w ? block_count(&w->layout, l->n) : 1;
}

static int weights_missing(struct error *err)
{
    return error_set(err, ERR_USAGE,
                     "weights that stay in their file are to be packed for these numerics first");
}

/* By products of f32: w NULL: the layer's own weights. */
static int linear_f32(struct gemm *g, const struct gemm_layer *l, const struct block_weight *w,
                      int64_t m, struct rows x, struct rows y, struct error *err)
{
    if (!w && !l->w) return weights_missing(err);
    if (!w && l->numerics == NUMERICS_F32)
        return tiles_run(&g->tiles, &g->o, l, NULL, l->w, m, x, y, err);
    return block_linear(&g->o, &g->tiles, w, l, m, x, y, err);
}

/* By products of bf16: w NULL: the layer's own weights, rounded. */
static int linear_bf16(struct gemm *g, const struct gemm_layer *l, const struct packed_weight *w,
                       int64_t m, struct rows x, struct rows y, struct error *err)
{
    if (w) return tiles_run(&g->tiles, &g->o, l, &w->desc, w->data, m, x, y, err);
    if (!l->w) return weights_missing(err);
    size_t mark = g->o.scratch_used, n = (size_t)l->n * (size_t)l->k;
    uint16_t *rounded = onednn_scratch(&g->o, n * sizeof *rounded, err);
    int rc = ERR_NOMEM;
    if (rounded) {
        vec_bf16(n, l->w, rounded);
        rc = tiles_run(&g->tiles, &g->o, l, NULL, rounded, m, x, y, err);
    }
    g->o.scratch_used = mark;
    return rc;
}

int gemm_linear(struct gemm *g, const struct gemm_layer *l, int64_t m, struct rows x, struct rows y,
                struct error *err)
{
    assert(!x.x != !x.half && !y.x != !y.half && !(l->add && y.half));
    assert(l->numerics == NUMERICS_BF16 || (x.x && y.x));
    if (m == 0) return 0;
    if (l->numerics == NUMERICS_INT8) return linear_int8(g, l, m, x, y, err);
    const struct packed *p = l->packed;
    if (p && p->observed) observed_add(p->observed, l->weight, m, l->k, x.x);
    const struct packed_weight *whole = is_packed(l) && p->weights ? &p->weights[l->weight] : NULL;
    int threads = onednn_enter(), rc;
    if (l->numerics == NUMERICS_BF16 && gemm_bf16_is_fast())
        rc = linear_bf16(g, l, whole && whole->data ? whole : NULL, m, x, y, err);
    else
        rc = linear_f32(g, l, blocks_of(l), m, x, y, err);
    onednn_leave(threads);
    return rc;
}

static void scale_matrix(int64_t m, int64_t n, float beta, float *c, int64_t ldc)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
}

int gemm_product(struct gemm *g, enum numerics numerics, bool transpose_a, bool transpose_b,
                 int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                 const float *b, int64_t ldb, float beta, float *c, int64_t ldc, struct error *err)
{
    if (m == 0 || n == 0 || k == 0) {
        scale_matrix(m, n, beta, c, ldc);
        return 0;
    }
    int threads = onednn_enter(), rc = 0;
    if (numerics == NUMERICS_BF16) {
        struct product_shape s = {transpose_a,         transpose_b,         m,   n,   k,
                                  transpose_a ? m : k, transpose_b ? k : n, ldc, beta};
        rc = product_bf16(&g->o, &g->products, &s, alpha, a, lda, b, ldb, c, err);
    } else {
        dnnl_status_t status = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k,
                                          alpha, a, lda, b, ldb, beta, c, ldc);
        if (status)
            rc = onednn_failed(status, err, "a product of %lld x %lld x %lld", (long long)m,
                               (long long)n, (long long)k);
    }
    onednn_leave(threads);
    return rc;
}

int gemm_product_half(struct gemm *g, bool transpose_b, int64_t m, int64_t n, int64_t k,
                      const uint16_t *a, int64_t lda, const uint16_t *b, int64_t ldb, float *c,
                      int64_t ldc, struct error *err)
{
    struct product_shape s = {
        .transpose_b = transpose_b, .m = m, .n = n, .k = k, .lda = lda, .ldb = ldb, .ldc = ldc};
    int threads = onednn_enter(), rc = product_half(&g->o, &g->products, &s, a, b, c, err);
    onednn_leave(threads);
    return rc;
}
