/* Linear layers and general products; see gemm.h for the promises.
 *
 * Equal bits: rows go through tiles of 1 to 192 rows, the last one padded with zeros. oneDNN may
 * treat the last rows of a product differently, or one row alone, so a tile is used for a shape
 * only after it proved itself on this machine: the same random row in every position must come out
 * with the bits that the reference tile (192 rows) gives it. Measured with 2.6.3: with AVX-512, f32
 * and bf16, all numbers of rows agree; with AVX2 a row differs where the number of rows leaves 2
 * after division by 6 (8, 32, 128, 256 rows!), and a single row differs with AVX2 and below. Hence
 * the tile sizes, multiples of six, which agree everywhere tried. So one short text costs 12 rows,
 * not 192, and the answer is the same.
 *
 * General products are dnnl_sgemm in f32: measured as fast as matmul primitives for large shapes,
 * up to three times faster for small ones, and nothing is made per shape. For bf16 see product.c. */
#include "featurize/gemm.h"

#include <stdio.h>
#include <string.h>

#include "featurize/onednn.h"
#include "featurize/packed.h"
#include "featurize/product.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

#define MAX_FAMILIES 1024
#define N_TILES      7
#define LARGEST      (N_TILES - 1)

static const int64_t TILE_ROWS[N_TILES] = {1, 6, 12, 24, 48, 96, PACKED_TILE_ROWS};

enum tile_state { TILE_UNTRIED, TILE_GOOD, TILE_REFUSED };

/* The tiles of one weight shape. */
struct family {
    enum numerics numerics;
    bool packed, bias;
    int64_t n, k;
    dnnl_memory_desc_t weights;
    int reference; /* the tile that defines the bits; -1: not chosen yet */
    enum tile_state state[N_TILES];
    struct onednn_matmul tile[N_TILES];
};

struct gemm {
    struct onednn o;
    struct family *families;
    size_t n_families, families_capacity;
    struct products products;
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
    for (size_t i = 0; i < g->n_families; i++)
        for (int t = 0; t < N_TILES; t++) onednn_matmul_release(&g->families[i].tile[t]);
    memory_free(g->families);
    onednn_close(&g->o);
    memory_free(g);
}

static bool isa_has(dnnl_cpu_isa_t wanted)
{
    return (dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

bool gemm_bf16_is_fast(void)
{
    return isa_has(dnnl_cpu_isa_avx512_core_bf16);
}

/* Pseudo-random values in [-1, 1) that fill a mantissa. */
static void fill_random(size_t n, uint64_t state, float *x)
{
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
}

/* Copies `rows` rows into a tile of the numerics' type, with zero rows after them. */
static void fill_tile(enum numerics numerics, int64_t tile, int64_t rows, int64_t k, const float *x,
                      void *out)
{
    size_t n = (size_t)rows * (size_t)k, whole = (size_t)tile * (size_t)k,
           size = onednn_size(numerics);
    if (numerics == NUMERICS_BF16)
        vec_bf16(n, x, out);
    else
        memcpy(out, x, n * size);
    memset((char *)out + n * size, 0, (whole - n) * size);
}

/* Whether tile t gives a row, in every position, the bits that tile `reference` gives it in its
 * first. The weights are the caller's when packed, random otherwise (they may still be zero). Where
 * a row has few outputs, several rows are tried. */
static int tile_agrees(struct gemm *g, struct family *f, int reference, int t, const void *weights,
                       bool *agrees, struct error *err)
{
    struct onednn *o = &g->o;
    size_t mark = o->scratch_used, n = (size_t)f->n, k = (size_t)f->k,
           rows = (size_t)TILE_ROWS[LARGEST];
    int rc = ERR_NOMEM;
    float *values = onednn_scratch(o, (rows > n ? rows : n) * k * sizeof *values, err);
    void *x = onednn_scratch(o, rows * k * sizeof(float), err),
         *w = onednn_scratch(o, n * k * sizeof(float), err);
    float *want = onednn_scratch(o, rows * n * sizeof *want, err),
          *got = onednn_scratch(o, rows * n * sizeof *got, err);
    float *bias = onednn_scratch(o, n * sizeof *bias, err);
    if (!values || !x || !w || !want || !got || !bias) goto done;
    if (!f->packed) {
        fill_random(n * k, 2, values);
        fill_tile(f->numerics, f->n, f->n, f->k, values, w);
        weights = w;
    }
    fill_random(n, 3, bias);
    *agrees = true;
    rc = 0;
    for (uint64_t attempt = 0; rc == 0 && *agrees && attempt <= 256 / n; attempt++) {
        fill_random(k, 4 + attempt, values);
        for (size_t i = 1; i < rows; i++) memcpy(values + i * k, values, k * sizeof *values);
        fill_tile(f->numerics, (int64_t)rows, (int64_t)rows, f->k, values, x);
        rc = onednn_matmul_run(o, &f->tile[reference], x, weights, bias, want, err);
        if (!rc) rc = onednn_matmul_run(o, &f->tile[t], x, weights, bias, got, err);
        for (size_t i = 0; rc == 0 && i < (size_t)TILE_ROWS[t]; i++)
            *agrees &= !memcmp(want, got + i * n, n * sizeof *got);
    }
done:
    o->scratch_used = mark;
    return rc;
}

static int make_tile(struct gemm *g, struct family *f, int t, struct error *err)
{
    dnnl_status_t status = onednn_linear_make(&g->o, f->numerics, f->bias, TILE_ROWS[t], f->n, f->k,
                                              &f->weights, &f->tile[t], NULL);
    return status ? onednn_failed(status, err, "a layer of %lld x %lld", (long long)f->n,
                                  (long long)f->k)
                  : 0;
}

/* The largest tile, if it treats all its rows alike; or else single rows. */
static int choose_reference(struct gemm *g, struct family *f, const void *weights,
                            struct error *err)
{
    bool alike = false;
    int rc = make_tile(g, f, LARGEST, err);
    if (rc == 0) rc = tile_agrees(g, f, LARGEST, LARGEST, weights, &alike, err);
    if (rc == 0 && !alike) rc = make_tile(g, f, 0, err);
    if (rc < 0) return rc;
    f->reference = alike ? LARGEST : 0;
    f->state[LARGEST] = alike ? TILE_GOOD : TILE_REFUSED;
    f->state[f->reference] = TILE_GOOD;
    return 0;
}

/* Tile t, or the next larger one that may be used, or the reference; negative after an error. */
static int usable_tile(struct gemm *g, struct family *f, int t, const void *weights,
                       struct error *err)
{
    int rc = f->reference < 0 ? choose_reference(g, f, weights, err) : 0;
    if (rc < 0) return rc;
    for (; t < N_TILES; t++) {
        if (f->state[t] == TILE_UNTRIED) {
            bool agrees = false;
            rc = make_tile(g, f, t, NULL);
            if (rc == 0) rc = tile_agrees(g, f, f->reference, t, weights, &agrees, err);
            if (rc == ERR_NOMEM) return rc;
            f->state[t] = agrees ? TILE_GOOD : TILE_REFUSED;
        }
        if (f->state[t] == TILE_GOOD) return t;
    }
    return f->reference;
}

static struct family *find_family(struct gemm *g, enum numerics numerics,
                                  const struct packed_weight *packed, bool bias, int64_t n,
                                  int64_t k, struct error *err)
{
    for (size_t i = 0; i < g->n_families; i++) {
        struct family *f = &g->families[i];
        if (f->n == n && f->k == k && f->numerics == numerics && f->packed == !!packed &&
            f->bias == bias)
            return f;
    }
    if (memory_grow(&g->families, &g->families_capacity, g->n_families + 1, sizeof *g->families,
                    MAX_FAMILIES * sizeof *g->families, err) < 0)
        return NULL;
    struct family *f = &g->families[g->n_families];
    *f = (struct family){
        .numerics = numerics, .packed = !!packed, .bias = bias, .n = n, .k = k, .reference = -1};
    dnnl_status_t status = packed ? dnnl_success
                                  : onednn_plain_weights(numerics, n, k, &f->weights);
    if (packed) f->weights = packed->desc;
    if (!status) {
        g->n_families++;
        return f;
    }
    onednn_failed(status, err, "a layer of %lld x %lld", (long long)n, (long long)k);
    return NULL;
}

/* The smallest tile that holds what is left if it wastes at most a quarter, or else the largest
 * that fits. */
static int choose_tile(int64_t rest)
{
    for (int t = 0; t < N_TILES; t++)
        if (TILE_ROWS[t] >= rest)
            return t == 0 || (TILE_ROWS[t] - rest) * 4 <= TILE_ROWS[t] ? t : t - 1;
    return LARGEST;
}

static int run_tile(struct gemm *g, struct family *f, int t, int64_t rows, const float *x,
                    const void *weights, const float *bias, float *y, struct error *err)
{
    int64_t tile = TILE_ROWS[t];
    size_t mark = g->o.scratch_used;
    const void *in = x;
    float *out = y;
    int rc = ERR_NOMEM;
    if (rows < tile || f->numerics == NUMERICS_BF16) {
        void *copy = onednn_scratch(&g->o, (size_t)tile * (size_t)f->k * onednn_size(f->numerics),
                                    err);
        if (!copy) goto done;
        fill_tile(f->numerics, tile, rows, f->k, x, copy);
        in = copy;
    }
    if (rows < tile) {
        out = onednn_scratch(&g->o, (size_t)tile * (size_t)f->n * sizeof *out, err);
        if (!out) goto done;
    }
    rc = onednn_matmul_run(&g->o, &f->tile[t], in, weights, bias, out, err);
    if (!rc && out != y) memcpy(y, out, (size_t)rows * (size_t)f->n * sizeof *y);
done:
    g->o.scratch_used = mark;
    return rc;
}

static int run_rows(struct gemm *g, struct family *f, int64_t m, const float *x,
                    const void *weights, const float *bias, float *y, struct error *err)
{
    for (int64_t row = 0; row < m;) {
        int t = usable_tile(g, f, choose_tile(m - row), weights, err);
        if (t < 0) return t;
        int64_t rows = m - row < TILE_ROWS[t] ? m - row : TILE_ROWS[t];
        int rc = run_tile(g, f, t, rows, x + row * f->k, weights, bias, y + row * f->n, err);
        if (rc < 0) return rc;
        row += rows;
    }
    return 0;
}

int gemm_linear(struct gemm *g, enum numerics numerics, const struct packed *packed, int weight,
                int64_t m, int64_t n, int64_t k, const float *x, const float *w, const float *b,
                float *y, struct error *err)
{
    if (m == 0) return 0;
    const struct packed_weight *pw = NULL;
    if (packed && weight >= 0 && weight < packed->n && packed->numerics == numerics &&
        packed->weights[weight].data)
        pw = &packed->weights[weight];
    if (!pw && !w)
        return error_set(
            err, ERR_USAGE,
            "weights that stay in their file are to be packed for these numerics first");
    int threads = onednn_enter(), rc = ERR_NOMEM;
    size_t mark = g->o.scratch_used;
    const void *weights = pw ? pw->data : (const void *)w;
    struct family *f = find_family(g, numerics, pw, b != NULL, n, k, err);
    if (!f) goto done;
    if (!pw && numerics == NUMERICS_BF16) {
        uint16_t *rounded = onednn_scratch(&g->o, (size_t)n * (size_t)k * sizeof *rounded, err);
        if (!rounded) goto done;
        vec_bf16((size_t)n * (size_t)k, w, rounded);
        weights = rounded;
    }
    rc = run_rows(g, f, m, x, weights, b, y, err);
done:
    g->o.scratch_used = mark;
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
        struct product_shape s = {transpose_a, transpose_b, m, n, k, ldc, beta};
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
