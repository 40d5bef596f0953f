/* Elementwise functions and row reductions over float arrays, the same bits on every machine.
 *
 *     vec_exp(n, x, y);                    // y may be x
 *     float s = vec_sum(n, x);
 *
 * exp and erf are polynomials without branches that a compiler turns into vector code (libm's
 * scalar expf and erff cost ten times as much). Reductions use sixteen explicit lanes that are
 * folded in a fixed order, so a sum is the same whatever the vector width; no fused multiply-add is
 * formed (-std=c11 forbids contraction), so the AVX-512, AVX2 and SSE2 versions that VEC_CLONES
 * makes agree bit for bit. NaN in gives NaN out. Errors, held by tests/test_vecmath.c: exp 2e-7
 * relative, erf 4e-7 absolute.
 */
#ifndef FEATURIZE_VECMATH_H
#define FEATURIZE_VECMATH_H

#include <stddef.h>
#include <stdint.h>

/* A function compiled for several vector widths, chosen when the program starts. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define VEC_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VEC_CLONES
#endif

void vec_exp(size_t n, const float *x, float *y);
void vec_erf(size_t n, const float *x, float *y);

/* Cumulative normal distribution times x and its kin; forward y = f(x), backward dx += dy f'(x). */
void vec_gelu(size_t n, const float *x, float *y);
void vec_gelu_backward(size_t n, const float *x, const float *dy, float *dx);
/* x * sigmoid(slope * x): silu with slope 1, quick_gelu with 1.702. */
void vec_swish(size_t n, float slope, const float *x, float *y);
void vec_swish_backward(size_t n, float slope, const float *x, const float *dy, float *dx);
void vec_gelu_tanh(size_t n, const float *x, float *y);
void vec_gelu_tanh_backward(size_t n, const float *x, const float *dy, float *dx);
void vec_relu(size_t n, const float *x, float *y);
void vec_relu_backward(size_t n, const float *x, const float *dy, float *dx);

float vec_sum(size_t n, const float *x);
/* sum of (x - mean)^2 */
float vec_sum_squares(size_t n, const float *x, float mean);
float vec_dot(size_t n, const float *a, const float *b);
/* x = exp(x - max) / sum of these, in place; all NaN when one is. */
void vec_softmax(size_t n, float *x);
/* dp becomes scale p (dp - sum of p dp): the gradient of what went into the softmax that gave p. */
void vec_softmax_backward(size_t n, float scale, const float *p, float *dp);
/* sum[c] += sum over `rows` rows of x[., c], each column's rows added up before they meet sum[c].
 * // x (rows, n) */
void vec_column_sums(size_t rows, size_t n, const float *x, float *sum);

/* Rounds to bfloat16, to nearest even; a NaN stays a NaN. */
void vec_bf16(size_t n, const float *x, uint16_t *y);
/* The same, as a float again. */
void vec_round_bf16(size_t n, const float *x, float *y);
void vec_from_bf16(size_t n, const uint16_t *x, float *y);

/* x = exp(scale (x - max)), y = that rounded to bf16; returns the sum of x: NaN when one is. scale > 0. */
float vec_exp_bf16(size_t n, float scale, float *x, uint16_t *y);
/* y = scale x, rounded to bf16. */
void vec_scale_bf16(size_t n, float scale, const float *x, uint16_t *y);

/* y = a + b */
void vec_sum_of_two(size_t n, const float *a, const float *b, float *y);
/* y += x */
void vec_add(size_t n, const float *x, float *y);
/* y += scale * x */
void vec_axpy(size_t n, float scale, const float *x, float *y);

#endif
