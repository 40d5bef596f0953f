/* Matrix products on oneDNN, one thread a call, equal bits wherever a row stands.
 *
 * oneDNN may sum a row in another order when the number of rows or of threads changes. So rows go
 * through tiles of a few fixed sizes (the last zero-padded), of which one is used for a shape only
 * after it was seen, on this machine, to give every row the bits of a reference tile; primitives
 * are made for one thread with a scratchpad of ours, and a `struct gemm` belongs to one thread. f32
 * accumulates in f32; NUMERICS_BF16 rounds both operands to bf16 and accumulates in f32, on every
 * CPU: where it has no fast instructions for that, by f32 products (featurize/blocks.h), about as
 * fast as NUMERICS_F32.
 * Library: oneDNN, through featurize/onednn.h.
 */
#ifndef FEATURIZE_GEMM_H
#define FEATURIZE_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/activation.h"
#include "featurize/exec.h"
#include "featurize/params.h"

struct gemm *gemm_new(struct error *err) MUST_CHECK;
void gemm_free(struct gemm *g);
/* Whether bf16 products are faster than f32 ones: what `--numerics auto` takes. */
bool gemm_bf16_is_fast(void);
/* Whether this CPU adds products of 8-bit values without saturation, which NUMERICS_INT8 needs. AVX2
 * and the first AVX-512 add pairs in 16 bits, which oneDNN works around by halving the weights:
 * other bits, so packed_new_int8 refuses. */
bool gemm_int8_is_exact(void);

/* Packs the weights that op_linear may use (param_is_linear), once, for numerics. Others are used as
 * they are, with equal results up to rounding. Weights in a mapped file (params_map) are read one at
 * a time and let go; tensors are shared out over threads, which changes no result. Owned:
 * packed_free. Weights must not change after. */
struct packed *packed_new(const struct params *p, enum numerics numerics, struct error *err) MUST_CHECK;
/* NUMERICS_INT8: what the calibration covers as 8-bit integers, the rest as f32. ERR_USAGE on a CPU
 * that cannot do this exactly. */
struct calibration;
struct packed *packed_new_int8(const struct params *p, const struct calibration *c,
                               struct error *err) MUST_CHECK;
void packed_free(struct packed *k);
/* Whether its layers have gemm_blocks; false of NULL. */
bool packed_has_blocks(const struct packed *k);
/* From now on gemm_linear shows the inputs of each layer to `o` (borrowed; NULL: no more). */
struct observed;
void packed_observe(struct packed *k, struct observed *o);

/* Rows of a matrix in f32 or in bf16: one of the two is set. // (M, cols) */
struct rows {
    float *x;
    uint16_t *half;
};

/* A linear layer and what follows it before its output is written. */
struct gemm_layer {
    enum numerics numerics;
    const struct packed *packed; /* NULL: w is used as it is */
    int weight;                  /* its index in packed */
    int64_t n, k;                /* columns of y and of x */
    const float *w;              // [n, k]; NULL when packed
    const float *b;              // [n]; NULL: none
    enum act act;
    bool add; /* y += ...; only where y is f32 */
    int64_t first_block, end_block; /* of gemm_blocks: the columns of y to compute; 0, 0: all */
};

/* Blocks of columns of y that are computed apart, by as many threads, with the same bits: 1 where W
 * is not kept in blocks. */
int64_t gemm_blocks(const struct gemm_layer *l);

/* y = act(x W^T + b), or y += that. bf16 rows, of x or of y, are for NUMERICS_BF16 alone: x is read
 * as it would be rounded, y is rounded once. A row's result depends on nothing but that row. */
int gemm_linear(struct gemm *g, const struct gemm_layer *l, int64_t m, struct rows x, struct rows y,
                struct error *err) MUST_CHECK;
/* General C = alpha op(A) op(B) + beta C for gradients and attention; row-major, leading dimensions
 * ld*; one thread. */
int gemm_product(struct gemm *g, enum numerics numerics, bool transpose_a, bool transpose_b,
                 int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                 const float *b, int64_t ldb, float beta, float *c, int64_t ldc,
                 struct error *err) MUST_CHECK;
/* C = A op(B) of bf16 operands into f32, none of them empty, for attention; one thread. */
int gemm_product_half(struct gemm *g, bool transpose_b, int64_t m, int64_t n, int64_t k,
                      const uint16_t *a, int64_t lda, const uint16_t *b, int64_t ldb, float *c,
                      int64_t ldc, struct error *err) MUST_CHECK;

#endif
