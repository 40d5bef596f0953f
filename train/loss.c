/* Losses of single records and their gradients: see the header. Sums are double, row after row, column
 * after column in eight fixed lanes, so that gcc vectorises them without reordering anything.
 */
#include "train/loss.h"

#include <math.h>
#include <stddef.h>

enum { LANES = 8 };

/* sum_j a_j b_j in LANES fixed partial sums. // a, b: (n) */
static double dot(int64_t n, const float *a, const float *b)
{
    double lane[LANES] = {0};
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)a[j + l] * (double)b[j + l];
    double sum = 0;
    for (int l = 0; l < LANES; l++) sum += lane[l];
    for (; j < n; j++) sum += (double)a[j] * (double)b[j];
    return sum;
}

bool loss_is_taught(int64_t dim, const float *target)
{
    for (int64_t j = 0; j < dim; j++)
        if (target[j] != 0) return true; /* a NaN is none of ours to hide */
    return false;
}

double loss_embedding(int64_t n, int64_t dim, const float *x, const float *target, double weight,
                      float *grad)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const float *xi = x + i * dim, *ti = target + i * dim;
        if (!loss_is_taught(dim, ti)) continue;
        double norm = sqrt(dot(dim, xi, xi));
        if (norm == 0) {
            sum += 1;
            continue;
        }
        double cosine = dot(dim, xi, ti) / norm;
        sum += 1 - cosine;
        if (!grad) continue;
        /* d(1 - cos)/dx = -(t - cos * x / |x|) / |x| */
        float a = (float)(-weight / norm), b = (float)(weight * cosine / (norm * norm));
        float *gi = grad + i * dim;
        for (int64_t j = 0; j < dim; j++) gi[j] += a * ti[j] + b * xi[j];
    }
    return weight * sum;
}

double loss_smooth_l1(int64_t n, int64_t dim, const float *x, const float *target, double scale,
                      double beta, double weight, float *grad)
{
    double sum = 0, factor = weight / (double)dim;
    float s = (float)scale, b = (float)beta, half = (float)(beta / 2), f = (float)factor;
    float inverse = (float)(1 / beta), f_inverse = (float)(factor / beta);
    for (int64_t i = 0; i < n; i++) {
        const float *xi = x + i * dim, *ti = target + i * dim;
        if (!loss_is_taught(dim, ti)) continue;
        double row = 0;
        for (int64_t j = 0; j < dim; j++) {
            float d = xi[j] - s * ti[j], a = fabsf(d);
            row += a < b ? 0.5F * d * d * inverse : a - half;
        }
        sum += row;
        if (!grad) continue;
        float *gi = grad + i * dim;
        for (int64_t j = 0; j < dim; j++) {
            float d = xi[j] - s * ti[j];
            gi[j] += fabsf(d) < b ? d * f_inverse : copysignf(f, d);
        }
    }
    return factor * sum;
}

double loss_label(int64_t n, int64_t classes, const float *logits, const int32_t *label,
                  double weight, float *grad, int64_t *n_right)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (label[i] < 0) continue;
        const float *z = logits + i * classes;
        int64_t best = 0;
        for (int64_t c = 1; c < classes; c++)
            if (!(z[c] <= z[best])) best = c;
        double total = 0, top = z[best];
        for (int64_t c = 0; c < classes; c++) total += exp(z[c] - top);
        sum += log(total) + top - z[label[i]];
        if (n_right) *n_right += best == label[i];
        if (!grad) continue;
        for (int64_t c = 0; c < classes; c++) /* dz = softmax(z) - onehot */
            grad[i * classes + c] += (float)(weight * (exp(z[c] - top) / total - (c == label[i])));
    }
    return weight * sum;
}

void loss_normalise(int64_t n, int64_t dim, const float *x, float *unit, float *norm)
{
    for (int64_t i = 0; i < n; i++) {
        double length = sqrt(dot(dim, x + i * dim, x + i * dim));
        float inverse = length == 0 ? 0 : (float)(1 / length);
        for (int64_t j = 0; j < dim; j++) unit[i * dim + j] = x[i * dim + j] * inverse;
        if (norm) norm[i] = (float)length;
    }
}

void loss_normalise_backward(int64_t n, int64_t dim, const float *unit, const float *norm,
                             const float *d_unit, float *dx)
{
    for (int64_t i = 0; i < n; i++) {
        if (norm[i] == 0) continue;
        const float *u = unit + i * dim, *d = d_unit + i * dim;
        float along = (float)dot(dim, u, d), inverse = 1 / norm[i];
        float *out = dx + i * dim;
        for (int64_t j = 0; j < dim; j++) out[j] += (d[j] - along * u[j]) * inverse;
    }
}
