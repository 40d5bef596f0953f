/* Losses of single records, with their gradients: pure functions, one thread, double sums in a fixed order.
 *
 *     float *grad = exec_grad(e, out);                       // (n, dim), accumulated into
 *     double sum = loss_embedding(n, dim, out->x, target, weight, grad);
 *
 * Every function returns the weighted sum over its records (never the mean: the caller puts 1 / batch into
 * `weight`, so that micro-batches add up to the batch) and ADDS its gradient to `grad` (NULL: none wanted).
 * A NaN in goes through to the result: the optimiser refuses it by name. Losses over a whole batch
 * (InfoNCE, similarity) are in train/contrast.h.
 */
#ifndef TRAIN_LOSS_H
#define TRAIN_LOSS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether a target row teaches anything: a row of zeros stands where a set has no features of the
 * record, and counts in no loss. */
bool loss_is_taught(int64_t dim, const float *target);
/* weight * sum_i (1 - cos(x_i, t_i)); t_i of unit length; equally half the squared distance of the
 * unit vectors. A zero x_i counts 1 and has no gradient. // x, target, grad: (n, dim) */
double loss_embedding(int64_t n, int64_t dim, const float *x, const float *target, double weight,
                      float *grad);
/* SmoothL1 (Girshick 2015) of x against scale * t, mean over columns, summed over rows:
 * |d| < beta: d^2 / (2 beta), otherwise |d| - beta / 2. `scale` brings unit vectors to unit
 * variance: sqrt(dim). // (n, dim) */
double loss_smooth_l1(int64_t n, int64_t dim, const float *x, const float *target, double scale,
                      double beta, double weight, float *grad);
/* Softmax cross-entropy with class labels; label -1: the record has none and counts nothing.
 * *n_right += top-1 hits (may be NULL). // logits, grad: (n, classes) */
double loss_label(int64_t n, int64_t classes, const float *logits, const int32_t *label,
                  double weight, float *grad, int64_t *n_right);

/* u_i = x_i / |x_i| (a zero row stays zero); norm may be NULL. // x, unit: (n, dim), norm: (n) */
void loss_normalise(int64_t n, int64_t dim, const float *x, float *unit, float *norm);
/* Backward of loss_normalise: dx_i += (du_i - (du_i . u_i) u_i) / |x_i|. */
void loss_normalise_backward(int64_t n, int64_t dim, const float *unit, const float *norm,
                             const float *d_unit, float *dx);

#endif
