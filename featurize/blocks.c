/* Weights in blocks that fit L2; see blocks.h. */
#include "featurize/blocks.h"

#include <string.h>

#include "featurize/packed.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

#define BLOCK_BYTES ((int64_t)1 << 20) /* of f32: half of a common L2 */
#define BLOCK_STEP  64                 /* rows of W in which oneDNN cuts its f32 layouts */

static int64_t rows_of_block(int64_t n, int64_t k)
{
    int64_t rows = BLOCK_BYTES / (int64_t)sizeof(float) / k / BLOCK_STEP * BLOCK_STEP;
    if (rows < BLOCK_STEP) rows = BLOCK_STEP;
    return rows < n ? rows : n;
}

/* A walk over the blocks of a weight. */
struct walk {
    int64_t first, rows; /* rows of W */
    const dnnl_memory_desc_t *layout;
    size_t at, values; /* where it lies in data, and its values, padding included */
};

static bool next_block(const struct block_weight *w, int64_t n, struct walk *b)
{
    b->first += b->rows;
    b->at += b->values;
    if (b->first >= n) return false;
    b->rows = n - b->first < w->rows ? n - b->first : w->rows;
    b->layout = b->rows == w->rows ? &w->block : &w->last;
    b->values = dnnl_memory_desc_get_size(b->layout) / sizeof(float);
    return true;
}

int64_t block_count(const struct block_weight *w, int64_t n)
{
    return (n + w->rows - 1) / w->rows;
}

static dnnl_status_t ask_layout(struct onednn *o, int64_t n, int64_t k, dnnl_memory_desc_t *out)
{
    struct onednn_matmul tile;
    struct onednn_linear shape = {.numerics = NUMERICS_F32, .n = n, .k = k};
    dnnl_status_t status = onednn_linear_make(o, &shape, PACKED_TILE_ROWS, NULL, &tile, out);
    onednn_matmul_release(&tile);
    return status;
}

int block_reserve(struct onednn *o, int64_t n, int64_t k, bool half,
                  const struct block_weight *like, struct block_weight *out, struct error *err)
{
    *out = (struct block_weight){.rows = rows_of_block(n, k), .half = half};
    int64_t rest = n % out->rows;
    dnnl_status_t status = dnnl_success;
    if (like) {
        out->block = like->block;
        out->last = like->last;
    } else {
        status = ask_layout(o, out->rows, k, &out->block);
        if (!status && rest) status = ask_layout(o, rest, k, &out->last);
    }
    if (status)
        return onednn_failed(status, err, "a layer of %lld x %lld", (long long)n, (long long)k);
    struct walk b = {0};
    while (next_block(out, n, &b)) continue;
    out->data = memory_array(b.at, half ? sizeof(uint16_t) : sizeof(float), MEMORY_MAX_TENSOR, err);
    return out->data ? 0 : ERR_NOMEM;
}

int block_fill(struct onednn *o, int64_t n, int64_t k, const float *w, struct block_weight *out,
               struct error *err)
{
    size_t mark = o->scratch_used;
    float *whole = out->data;
    uint16_t *half = out->data;
    float *laid = NULL;
    int rc = 0;
    if (out->half) {
        laid = onednn_scratch(o, dnnl_memory_desc_get_size(&out->block), err);
        if (!laid) rc = ERR_NOMEM;
    }
    for (struct walk b = {0}; rc == 0 && next_block(out, n, &b);) {
        dnnl_memory_desc_t plain;
        dnnl_status_t status = onednn_plain_weights(NUMERICS_F32, b.rows, k, &plain);
        if (!status)
            status = onednn_reorder(o, &plain, w + b.first * k, b.layout,
                                    out->half ? laid : whole + b.at);
        if (status)
            rc = onednn_failed(status, err, "a layer of %lld x %lld", (long long)n, (long long)k);
        else if (out->half)
            vec_bf16(b.values, laid, half + b.at);
    }
    o->scratch_used = mark;
    return rc;
}

void block_release(struct block_weight *w)
{
    memory_free(w->data);
    *w = (struct block_weight){0};
}

/* n values as they count, in f32: the caller's own, or in scratch. */
static const float *widen(struct onednn *o, enum numerics numerics, size_t n, const float *x,
                          const uint16_t *half, struct error *err)
{
    if (numerics == NUMERICS_F32) return x;
    float *out = onednn_scratch(o, n * sizeof *out, err);
    if (!out) return NULL;
    if (half)
        vec_from_bf16(n, half, out);
    else
        vec_round_bf16(n, x, out);
    return out;
}

/* One row's n values of y, from their sums. */
static void finish(const struct gemm_layer *l, size_t n, float *sums, float *y, uint16_t *half)
{
    if (l->act != ACT_NONE) activation_run(l->act, n, sums, sums);
    if (half)
        vec_bf16(n, sums, half);
    else if (l->add)
        vec_add(n, sums, y);
    else
        memcpy(y, sums, n * sizeof *y);
}

/* The columns of y that a block gives, a tile of rows at a time; `weights` in layout b->layout, or
 * row-major where that is NULL. */
static int run_block(struct onednn *o, struct tiles *tiles, const struct gemm_layer *l,
                     const struct walk *b, const float *weights, int64_t m, const float *x,
                     struct rows y, struct error *err)
{
    struct gemm_layer part = {
        .numerics = NUMERICS_F32, .n = b->rows, .k = l->k, .b = l->b ? l->b + b->first : NULL};
    size_t mark = o->scratch_used;
    float *sums = onednn_scratch(o, (size_t)(PACKED_TILE_ROWS * b->rows) * sizeof *sums, err);
    int rc = sums ? 0 : ERR_NOMEM;
    for (int64_t row = 0; row < m && rc == 0; row += PACKED_TILE_ROWS) {
        int64_t rows = m - row < PACKED_TILE_ROWS ? m - row : PACKED_TILE_ROWS;
        rc = tiles_run(tiles, o, &part, b->layout, weights, rows,
                       (struct rows){.x = (float *)x + row * l->k}, (struct rows){.x = sums}, err);
        for (int64_t i = 0; i < rows && rc == 0; i++) {
            int64_t at = (row + i) * l->n + b->first;
            finish(l, (size_t)b->rows, sums + i * b->rows, y.x ? y.x + at : NULL,
                   y.half ? y.half + at : NULL);
        }
    }
    o->scratch_used = mark;
    return rc;
}

int block_linear(struct onednn *o, struct tiles *tiles, const struct block_weight *w,
                 const struct gemm_layer *l, int64_t m, struct rows x, struct rows y,
                 struct error *err)
{
    size_t mark = o->scratch_used;
    int rc = ERR_NOMEM;
    const float *rows = widen(o, l->numerics, (size_t)(m * l->k), x.x, x.half, err), *weights;
    if (!rows) goto done;
    if (!w) {
        struct walk all = {.rows = l->n};
        weights = widen(o, l->numerics, (size_t)(l->n * l->k), l->w, NULL, err);
        if (weights) rc = run_block(o, tiles, l, &all, weights, m, rows, y, err);
        goto done;
    }
    float *wide = NULL;
    if (w->half) {
        wide = onednn_scratch(o, dnnl_memory_desc_get_size(&w->block), err);
        if (!wide) goto done;
    }
    rc = 0;
    int64_t i = 0, end = l->end_block ? l->end_block : block_count(w, l->n);
    for (struct walk b = {0}; rc == 0 && i < end && next_block(w, l->n, &b); i++) {
        if (i < l->first_block) continue;
        weights = w->half ? wide : (const float *)w->data + b.at;
        if (w->half) vec_from_bf16(b.values, (const uint16_t *)w->data + b.at, wide);
        rc = run_block(o, tiles, l, &b, weights, m, rows, y, err);
    }
done:
    o->scratch_used = mark;
    return rc;
}
