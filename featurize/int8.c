/* 8-bit linear layers on oneDNN's u8 x s8 -> s32 product; see int8.h for the arithmetic.
 *
 * Rows go through tiles of a few fixed sizes, the last padded, as in gemm.c; but integers are exact,
 * so no tile has to prove itself. The 32-bit sums of a tile and a block of W are turned into
 * floats on their way to y, while they are in cache. */
#include "featurize/int8.h"

#include <math.h>
#include <string.h>

#include "featurize/vecmath.h"
#include "store/memory.h"

#define MAX_SHAPES 1024
#define ZERO       128 /* what stands for 0 in a row of x */

#define LARGEST_TILE 192
static const int64_t TILE_ROWS[INT8_N_TILES] = {6, 12, 24, 48, 96, LARGEST_TILE};

struct int8_shape {
    int64_t n, k;
    struct onednn_matmul tile[INT8_N_TILES]; /* made when first used */
};

/* Sums where floats will stand. */
typedef int32_t __attribute__((may_alias)) sum_t;

union word {
    float f;
    uint32_t u;
};

/* The largest |x[j] * smooth[j]|; NaN when one is, as a NaN's bits exceed an infinity's. */
static VEC_CLONES float largest(size_t k, const float *x, const float *smooth)
{
    uint32_t most = 0;
    for (size_t j = 0; j < k; j++) {
        union word v = {.f = x[j] * smooth[j]};
        uint32_t magnitude = v.u & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    return (union word){.u = most}.f;
}

/* Rounded to nearest even into 1..255 around ZERO. */
static VEC_CLONES void quantise(size_t k, const float *x, const float *smooth, float inverse,
                                uint8_t *q)
{
    for (size_t j = 0; j < k; j++) {
        /* 1.5 * 2^23: the integer part lands in the low bits */
        union word v = {.f = x[j] * smooth[j] * inverse + (12582912.0f + ZERO)};
        q[j] = (uint8_t)v.u;
    }
}

/* One row to bytes; returns its scale. A row of (almost) zeros is zero, one that is not finite has
 * a scale of NaN. */
static float quantise_row(size_t k, const float *x, const float *smooth, uint8_t *q)
{
    float most = largest(k, x, smooth);
    if (!(most >= 1e-30f && most <= 1e38f)) {
        memset(q, ZERO, k);
        return most < 1e-30f ? 0 : NAN;
    }
    quantise(k, x, smooth, 127.0f / most, q);
    return most / 127.0f;
}

/* y: the sums, as they came. */
static VEC_CLONES void finish_row(size_t n, float row_scale, const int32_t *offset,
                                  const float *scale, const float *bias, const sum_t *sum, float *y)
{
    if (bias)
        for (size_t o = 0; o < n; o++)
            y[o] = (float)(sum[o] - offset[o]) * (scale[o] * row_scale) + bias[o];
    else
        for (size_t o = 0; o < n; o++) y[o] = (float)(sum[o] - offset[o]) * (scale[o] * row_scale);
}

static dnnl_status_t make_tile(struct onednn *o, int64_t rows, int64_t n, int64_t k,
                               const dnnl_memory_desc_t *weights, struct onednn_matmul *p,
                               dnnl_memory_desc_t *taken)
{
    dnnl_memory_desc_t x, w, y;
    dnnl_dims_t x_dims = {rows, k}, w_dims = {k, n}, y_dims = {rows, n};
    *p = (struct onednn_matmul){0};
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&x, 2, x_dims, dnnl_u8, dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_tag(&w, 2, w_dims, dnnl_s8, dnnl_format_tag_any);
    if (!status) status = dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_s32, dnnl_ab);
    if (!status)
        status = onednn_matmul_make(o, &x, weights ? weights : &w, &y, NULL,
                                    (struct onednn_after){0}, p, taken);
    return status;
}

/* Rows of w to signed bytes, with their scales and what ZERO adds to a sum. // q [n, k] */
static void quantise_weight(int64_t n, int64_t k, const float *w, const float *grow,
                            struct int8_weight *out, int8_t *q)
{
    for (int64_t i = 0; i < n; i++) {
        int8_t *row = q + i * k;
        int32_t sum = 0;
        out->scale[i] = quantise_row((size_t)k, w + i * k, grow, (uint8_t *)row);
        for (int64_t j = 0; j < k; j++) {
            row[j] = (int8_t)((uint8_t)row[j] - ZERO);
            sum += row[j];
        }
        out->offset[i] = ZERO * sum;
    }
}

static dnnl_status_t ask_layout(struct onednn *o, int64_t n, int64_t k, dnnl_memory_desc_t *out)
{
    struct onednn_matmul tile;
    dnnl_status_t status = make_tile(o, LARGEST_TILE, n, k, NULL, &tile, out);
    onednn_matmul_release(&tile);
    return status;
}

int int8_reserve(struct onednn *o, int64_t n, int64_t k, struct int8_weight *out, struct error *err)
{
    struct block_layout *l = &out->layout;
    *out = (struct int8_weight){0};
    if (k > INT8_MAX_COLUMNS)
        return error_set(err, ERR_USAGE, "a layer of %lld columns: int8 takes at most %d",
                         (long long)k, INT8_MAX_COLUMNS);
    l->rows = block_rows(n, k, 1);
    dnnl_status_t status = ask_layout(o, l->rows, k, &l->block);
    if (!status && n % l->rows) status = ask_layout(o, n % l->rows, k, &l->last);
    if (status)
        return onednn_failed(status, err, "an int8 layer of %lld x %lld", (long long)n,
                             (long long)k);
    struct block_walk b = {0};
    while (block_next(l, n, &b)) continue;
    out->data = memory_array(b.at, 1, MEMORY_MAX_TENSOR, err);
    out->scale = memory_array((uint64_t)n, sizeof *out->scale, MEMORY_MAX_FILE, err);
    out->offset = memory_array((uint64_t)n, sizeof *out->offset, MEMORY_MAX_FILE, err);
    out->smooth = memory_array((uint64_t)k, sizeof *out->smooth, MEMORY_MAX_FILE, err);
    if (out->data && out->scale && out->offset && out->smooth) return 0;
    int8_release(out);
    return ERR_NOMEM;
}

int int8_fill(struct onednn *o, int64_t n, int64_t k, const float *w, const int8_t *shift,
              struct int8_weight *out, struct error *err)
{
    size_t mark = o->scratch_used;
    int rc = ERR_NOMEM;
    int8_t *q = onednn_scratch(o, (size_t)n * (size_t)k, err);
    float *grow = onednn_scratch(o, (size_t)k * sizeof *grow, err);
    if (!q || !grow) goto done;
    for (int64_t j = 0; j < k; j++) {
        grow[j] = ldexpf(1.0f, shift[j]);
        out->smooth[j] = ldexpf(1.0f, -shift[j]);
    }
    quantise_weight(n, k, w, grow, out, q);
    dnnl_status_t status = dnnl_success;
    for (struct block_walk b = {0}; !status && block_next(&out->layout, n, &b);) {
        dnnl_memory_desc_t plain;
        dnnl_dims_t dims = {k, b.rows};
        status = dnnl_memory_desc_init_by_tag(&plain, 2, dims, dnnl_s8, dnnl_ba);
        if (!status)
            status = onednn_reorder(o, &plain, q + b.first * k, b.layout, (char *)out->data + b.at);
    }
    rc = status ? onednn_failed(status, err, "an int8 layer of %lld x %lld", (long long)n,
                                (long long)k)
                : 0;
done:
    o->scratch_used = mark;
    return rc;
}

void int8_release(struct int8_weight *w)
{
    memory_free(w->data);
    memory_free(w->scale);
    memory_free(w->offset);
    memory_free(w->smooth);
    *w = (struct int8_weight){0};
}

void int8_tiles_release(struct int8_tiles *tiles)
{
    for (size_t i = 0; i < tiles->n; i++)
        for (int t = 0; t < INT8_N_TILES; t++) onednn_matmul_release(&tiles->list[i].tile[t]);
    memory_free(tiles->list);
    *tiles = (struct int8_tiles){0};
}

static struct int8_shape *find_shape(struct int8_tiles *tiles, int64_t n, int64_t k,
                                     struct error *err)
{
    for (size_t i = 0; i < tiles->n; i++)
        if (tiles->list[i].n == n && tiles->list[i].k == k) return &tiles->list[i];
    if (memory_grow(&tiles->list, &tiles->capacity, tiles->n + 1, sizeof *tiles->list,
                    MAX_SHAPES * sizeof *tiles->list, err) < 0)
        return NULL;
    struct int8_shape *s = &tiles->list[tiles->n++];
    *s = (struct int8_shape){.n = n, .k = k};
    return s;
}

/* The smallest tile that holds what is left if it wastes at most a quarter, or else the largest
 * that fits. */
static int choose_tile(int64_t rest)
{
    for (int t = 0; t < INT8_N_TILES; t++)
        if (TILE_ROWS[t] >= rest)
            return t == 0 || (TILE_ROWS[t] - rest) * 4 <= TILE_ROWS[t] ? t : t - 1;
    return INT8_N_TILES - 1;
}

/* The primitive of tile t for a block, made when first asked for. */
static struct onednn_matmul *find_tile(struct onednn *o, struct int8_tiles *tiles, int64_t k, int t,
                                       const struct block_walk *b, struct error *err)
{
    struct int8_shape *s = find_shape(tiles, b->rows, k, err);
    if (!s) return NULL;
    dnnl_status_t status = s->tile[t].run ? dnnl_success
                                          : make_tile(o, TILE_ROWS[t], b->rows, k, b->layout,
                                                      &s->tile[t], NULL);
    if (!status) return &s->tile[t];
    onednn_failed(status, err, "an int8 layer of %lld x %lld", (long long)b->rows, (long long)k);
    return NULL;
}

/* The sums of a block's columns, to y. // sums (rows, b->rows) */
static void finish(const struct int8_weight *w, const struct gemm_layer *l,
                   const struct block_walk *b, int64_t rows, const float *scale, float *sums,
                   float *y)
{
    size_t n = (size_t)b->rows;
    const float *bias = l->b ? l->b + b->first : NULL;
    for (int64_t i = 0; i < rows; i++) {
        float *from = sums + i * b->rows, *at = y + i * l->n + b->first, *to = l->add ? from : at;
        finish_row(n, scale[i], w->offset + b->first, w->scale + b->first, bias,
                   (const sum_t *)from, to);
        if (l->act != ACT_NONE) activation_run(l->act, n, to, to);
        if (l->add) vec_add(n, to, at);
    }
}

/* `rows` rows, at most the tile's, through the blocks that l asks for. */
static int run_tile(struct onednn *o, struct int8_tiles *tiles, const struct int8_weight *w,
                    const struct gemm_layer *l, int t, int64_t rows, const float *x, float *y,
                    struct error *err)
{
    size_t mark = o->scratch_used, k = (size_t)l->k, tile = (size_t)TILE_ROWS[t];
    float scale[LARGEST_TILE];
    uint8_t *q = onednn_scratch(o, tile * k, err);
    float *sums = onednn_scratch(o, tile * (size_t)w->layout.rows * sizeof *sums, err);
    int rc = q && sums ? 0 : ERR_NOMEM;
    if (rc < 0) goto done;
    for (size_t i = 0; i < (size_t)rows; i++)
        scale[i] = quantise_row(k, x + i * k, w->smooth, q + i * k);
    memset(q + (size_t)rows * k, 0, (tile - (size_t)rows) * k);
    int64_t i = 0, end = l->end_block ? l->end_block : block_count(&w->layout, l->n);
    for (struct block_walk b = {0}; i < end && block_next(&w->layout, l->n, &b); i++) {
        if (i < l->first_block) continue;
        const struct onednn_matmul *p = find_tile(o, tiles, l->k, t, &b, err);
        rc = p ? onednn_matmul_run(o, p, q, (const char *)w->data + b.at, NULL, sums, err)
               : ERR_NOMEM;
        if (rc < 0) goto done;
        finish(w, l, &b, rows, scale, sums, y);
    }
done:
    o->scratch_used = mark;
    return rc;
}

int int8_linear(struct onednn *o, struct int8_tiles *tiles, const struct int8_weight *w,
                const struct gemm_layer *l, int64_t m, const float *x, float *y, struct error *err)
{
    int rc = 0;
    for (int64_t row = 0; row < m && rc == 0;) {
        int t = choose_tile(m - row);
        int64_t rows = m - row < TILE_ROWS[t] ? m - row : TILE_ROWS[t];
        rc = run_tile(o, tiles, w, l, t, rows, x + row * l->k, y + row * l->n, err);
        row += rows;
    }
    return rc;
}
