/* Gradients of the norms, and sums over rows: our own reductions in a fixed order (oneDNN's dgamma
 * and dbeta change with the number of threads). Called by train/backward.c alone. Output pointers
 * may be NULL where nothing is wanted; all outputs are added to.
 *
 * Layer norm, per row, with h = (x - mean) r and r = 1 / sqrt(var + eps):
 *     dgamma += dy h,   dbeta += dy,   g = dy gamma,   dx += r (g - mean(g) - h mean(g h))
 * Batch norm, the same per column:
 *     dx += gamma r (dy - mean(dy) - h mean(dy h))
 */
#ifndef TRAIN_BACKNORM_H
#define TRAIN_BACKNORM_H

#include <stddef.h>
#include <stdint.h>

/* saved (rows, 2): mean and r of each row. sums (2, cols) is scratch. */
void backnorm_layer(int64_t rows, size_t cols, const float *x, const float *dy, const float *gamma,
                    const float *saved, float *sums, float *dx, float *dgamma, float *dbeta);
/* saved (2, cols): mean and biased variance. sums (3, cols) and totals (2, cols) are scratch. */
void backnorm_batch(int64_t rows, size_t cols, const float *x, const float *dy, const float *gamma,
                    const float *saved, float eps, float *sums, double *totals, float *dx,
                    float *dgamma, float *dbeta);
/* sum[c] += sum over rows of x[., c] */
void backnorm_column_sums(int64_t rows, size_t cols, const float *x, float *sum);

#endif
