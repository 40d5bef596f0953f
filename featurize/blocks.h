/* Linear layers by f32 products, a block of W's rows after the other: for packed.c and gemm.c; and
 * such blocks, for int8.c too.
 *
 *     block_reserve(o, n, k, half, NULL, &weight, &err);    // once a layer: layout and room
 *     block_fill(o, n, k, w, &weight, &err);                // values
 *     block_linear(o, &tiles, &weight, layer, m, x, y, &err);
 *     block_release(&weight);
 *
 * A block stays in a core's L2 while all rows of x pass by it: 1.07 times as fast as the whole of W
 * for every 192 rows, on a Xeon at ViT-L's shapes. f32 numerics take this route, and bf16 numerics
 * on a CPU without fast bf16 products: operands are rounded to bf16 and widened to f32, which is
 * exact, so that what differs from bf16 instructions is the order of the sums alone; W stays in
 * memory as bf16 and is widened a block at a time. On that Xeon (vdpbf16ps at half the rate of its
 * f32 multiply-adds, no AMX) it is 1.8 times as fast as bf16 instructions; for AVX2 oneDNN has none.
 * Threading: a weight is read-only and shared; scratch and tiles belong to one thread.
 */
#ifndef FEATURIZE_BLOCKS_H
#define FEATURIZE_BLOCKS_H

#include "featurize/onednn.h"
#include "featurize/tiles.h"

/* W [n, k] in blocks of `rows` rows, the last with what is left, each in a layout of oneDNN's. */
struct block_layout {
    int64_t rows;
    dnnl_memory_desc_t block, last;
};

/* A walk over the blocks: zero to begin with. */
struct block_walk {
    int64_t first, rows; /* rows of W */
    const dnnl_memory_desc_t *layout;
    size_t at, size; /* where the block lies, and its length, in bytes of its layout */
};

/* The next block; false after the last. */
bool block_next(const struct block_layout *l, int64_t n, struct block_walk *b);
int64_t block_count(const struct block_layout *l, int64_t n);
/* Rows of a block whose values are of `size` bytes. */
int64_t block_rows(int64_t n, int64_t k, size_t size);

struct block_weight {
    void *data; /* owned: float or, when half, bf16; NULL: this layer is not kept so */
    bool half;
    struct block_layout layout; /* of f32 */
};

/* `like`: a weight of the same n and k, whose layout is taken; NULL: oneDNN is asked, which takes
 * milliseconds. */
int block_reserve(struct onednn *o, int64_t n, int64_t k, bool half,
                  const struct block_weight *like, struct block_weight *out,
                  struct error *err) MUST_CHECK;
/* w [n, k] row-major. */
int block_fill(struct onednn *o, int64_t n, int64_t k, const float *w, struct block_weight *out,
               struct error *err) MUST_CHECK;
void block_release(struct block_weight *w);

/* As tiles_run, for the blocks that l asks for. w NULL: the layer's own weights, in one block. */
int block_linear(struct onednn *o, struct tiles *tiles, const struct block_weight *w,
                 const struct gemm_layer *l, int64_t m, struct rows x, struct rows y,
                 struct error *err) MUST_CHECK;

#endif
