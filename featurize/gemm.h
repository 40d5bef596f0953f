/* Matrix products on oneDNN, one thread a call, equal bits wherever a row stands.
 *
 * oneDNN may sum a row in another order when the number of rows or of threads changes. So rows go
 * through tiles of a few fixed sizes (the last zero-padded), of which one is used for a shape only
 * after it was seen, on this machine, to give every row the bits of a reference tile; primitives
 * are made for one thread with a scratchpad of ours, and a `struct gemm` belongs to one thread. f32
 * accumulates in f32; NUMERICS_BF16 rounds both operands to bf16 and accumulates in f32; on a CPU
 * without bf16 instructions that is refused or slow: gemm_bf16_is_fast says what `--numerics auto`
 * takes.
 * Library: oneDNN, through featurize/onednn.h.
 */
#ifndef FEATURIZE_GEMM_H
#define FEATURIZE_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/exec.h"
#include "featurize/params.h"

struct gemm *gemm_new(struct error *err) MUST_CHECK;
void gemm_free(struct gemm *g);
bool gemm_bf16_is_fast(void);

/* Packs the weights that op_linear may use (param_is_linear), once, for numerics. Others are used as
 * they are, with equal results up to rounding. Weights in a mapped file (params_map) are read one at
 * a time and let go; tensors are shared out over threads, which changes no result. Owned:
 * packed_free. Weights must not change after. */
struct packed *packed_new(const struct params *p, enum numerics numerics, struct error *err) MUST_CHECK;
void packed_free(struct packed *k);

/* y = x W^T + b (b may be NULL). Uses packed[weight] when packed != NULL; w may then be NULL. A row's result depends on
 * nothing but that row. // x (M, K), w [N, K], y (M, N) */
int gemm_linear(struct gemm *g, enum numerics numerics, const struct packed *packed, int weight,
                int64_t m, int64_t n, int64_t k, const float *x, const float *w, const float *b,
                float *y, struct error *err) MUST_CHECK;
/* General C = alpha op(A) op(B) + beta C for gradients and attention; row-major, leading dimensions
 * ld*; one thread. */
int gemm_product(struct gemm *g, enum numerics numerics, bool transpose_a, bool transpose_b,
                 int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                 const float *b, int64_t ldb, float beta, float *c, int64_t ldc,
                 struct error *err) MUST_CHECK;

#endif
