/* Weights in blocks that fit L2; see blocks.h. */
#include "featurize/blocks.h"

#include <string.h>

#include "featurize/packed.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

#define BLOCK_BYTES ((int64_t)1 << 20) /* half of a common L2 */
#define BLOCK_STEP  64                 /* rows of W in which oneDNN cuts its layouts */

int64_t block_rows(int64_t n, int64_t k, size_t size)
{
    int64_t rows = BLOCK_BYTES / (int64_t)size / k / BLOCK_STEP * BLOCK_STEP;
    if (rows < BLOCK_STEP) rows = BLOCK_STEP;
    return rows < n ? rows : n;
}

int64_t block_count(const struct block_layout *l, int64_t n)
{
    return (n + l->rows - 1) / l->rows;
}

bool block_next(const struct block_layout *l, int64_t n, struct block_walk *b)
{
    b->first += b->rows;
    b->at += b->size;
    if (b->first >= n) return false;
    b->rows = n - b->first < l->rows ? n - b->first : l->rows;
    b->layout = b->rows == l->rows ? &l->block : &l->last;
    b->size = dnnl_memory_desc_get_size(b->layout);
    return true;
}

static dnnl_status_t ask_layout(struct onednn *o, int64_t n, int64_t k, dnnl_memory_desc_t *out)
{
    return onednn_linear_layout(o, NUMERICS_F32, n, k, PACKED_TILE_ROWS, out);
}

int block_reserve(struct onednn *o, int64_t n, int64_t k, bool half,
                  const struct block_weight *like, struct block_weight *out, struct error *err)
{
    *out = (struct block_weight){.half = half};
    struct block_layout *l = &out->layout;
    dnnl_status_t status = dnnl_success;
    if (like) {
        *l = like->layout;
    } else {
        l->rows = block_rows(n, k, sizeof(float));
        status = ask_layout(o, l->rows, k, &l->block);
        if (!status && n % l->rows) status = ask_layout(o, n % l->rows, k, &l->last);
    }
    if (status)
        return onednn_failed(status, err, "a layer of %lld x %lld", (long long)n, (long long)k);
    struct block_walk b = {0};
    while (block_next(l, n, &b)) continue;
    out->data = memory_array(b.at / sizeof(float), half ? sizeof(uint16_t) : sizeof(float),
                             MEMORY_MAX_TENSOR, err);
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
        laid = onednn_scratch(o, dnnl_memory_desc_get_size(&out->layout.block), err);
        if (!laid) rc = ERR_NOMEM;
    }
    for (struct block_walk b = {0}; rc == 0 && block_next(&out->layout, n, &b);) {
        size_t at = b.at / sizeof(float);
        dnnl_memory_desc_t plain;
        dnnl_status_t status = onednn_plain_weights(NUMERICS_F32, b.rows, k, &plain);
        if (!status)
            status = onednn_reorder(o, &plain, w + b.first * k, b.layout,
                                    out->half ? laid : whole + at);
        if (status)
            rc = onednn_failed(status, err, "a layer of %lld x %lld", (long long)n, (long long)k);
        else if (out->half)
            vec_bf16(b.size / sizeof(float), laid, half + at);
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
                     const struct block_walk *b, const float *weights, int64_t m, const float *x,
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
        struct block_walk all = {.rows = l->n};
        weights = widen(o, l->numerics, (size_t)(l->n * l->k), l->w, NULL, err);
        if (weights) rc = run_block(o, tiles, l, &all, weights, m, rows, y, err);
        goto done;
    }
    float *wide = NULL;
    if (w->half) {
        wide = onednn_scratch(o, dnnl_memory_desc_get_size(&w->layout.block), err);
        if (!wide) goto done;
    }
    rc = 0;
    int64_t i = 0, end = l->end_block ? l->end_block : block_count(&w->layout, l->n);
    for (struct block_walk b = {0}; rc == 0 && i < end && block_next(&w->layout, l->n, &b); i++) {
        if (i < l->first_block) continue;
        size_t at = b.at / sizeof(float);
        weights = w->half ? wide : (const float *)w->data + at;
        if (w->half) vec_from_bf16(b.size / sizeof(float), (const uint16_t *)w->data + at, wide);
        rc = run_block(o, tiles, l, &b, weights, m, rows, y, err);
    }
done:
    o->scratch_used = mark;
    return rc;
}
