/* See backnorm.h. Sums over rows run in chunks of 64 rows, so that a small addend never meets a
 * large sum. */
#include "train/backnorm.h"

#include <math.h>
#include <string.h>

#include "featurize/vecmath.h"

#define CHUNK_ROWS 64
#define LANES      16

/* gh = sums of g and of g h over a row; adds dy h and dy to the chunk's sums. */
VEC_CLONES static void layer_row_sums(size_t n, const float *x, const float *dy, const float *gamma,
                                      float mean, float r, float *chunk_gamma, float *chunk_beta,
                                      float gh[2])
{
    float lane_g[LANES] = {0}, lane_h[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            float h = (x[i + j] - mean) * r, g = dy[i + j] * gamma[i + j];
            lane_g[j] += g;
            lane_h[j] += g * h;
        }
    for (size_t j = 0; i < n; i++, j++) {
        float h = (x[i] - mean) * r, g = dy[i] * gamma[i];
        lane_g[j] += g;
        lane_h[j] += g * h;
    }
    for (size_t c = 0; c < n; c++) chunk_gamma[c] += dy[c] * ((x[c] - mean) * r);
    for (size_t c = 0; c < n; c++) chunk_beta[c] += dy[c];
    gh[0] = vec_sum(LANES, lane_g);
    gh[1] = vec_sum(LANES, lane_h);
}

VEC_CLONES static void layer_row_dx(size_t n, const float *x, const float *dy, const float *gamma,
                                    float mean, float r, float mean_g, float mean_gh, float *dx)
{
    for (size_t i = 0; i < n; i++) {
        float h = (x[i] - mean) * r;
        dx[i] += r * (dy[i] * gamma[i] - mean_g - h * mean_gh);
    }
}

void backnorm_layer(int64_t rows, size_t cols, const float *x, const float *dy, const float *gamma,
                    const float *saved, float *sums, float *dx, float *dgamma, float *dbeta)
{
    for (int64_t start = 0; start < rows; start += CHUNK_ROWS) {
        int64_t end = start + CHUNK_ROWS < rows ? start + CHUNK_ROWS : rows;
        memset(sums, 0, 2 * cols * sizeof *sums);
        for (int64_t i = start; i < end; i++) {
            const float *xi = x + (size_t)i * cols, *dyi = dy + (size_t)i * cols;
            float mean = saved[2 * i], r = saved[2 * i + 1], gh[2];
            layer_row_sums(cols, xi, dyi, gamma, mean, r, sums, sums + cols, gh);
            if (dx)
                layer_row_dx(cols, xi, dyi, gamma, mean, r, gh[0] / (float)cols,
                             gh[1] / (float)cols, dx + (size_t)i * cols);
        }
        if (dgamma) vec_add(cols, sums, dgamma);
        if (dbeta) vec_add(cols, sums + cols, dbeta);
    }
}

VEC_CLONES static void batch_sums(int64_t rows, size_t n, const float *x, const float *dy,
                                  const float *mean, const float *r, float *gamma_sum,
                                  float *beta_sum)
{
    for (int64_t i = 0; i < rows; i++, x += n, dy += n) {
        for (size_t c = 0; c < n; c++) gamma_sum[c] += dy[c] * ((x[c] - mean[c]) * r[c]);
        for (size_t c = 0; c < n; c++) beta_sum[c] += dy[c];
    }
}

VEC_CLONES static void batch_dx(int64_t rows, size_t n, const float *x, const float *dy,
                                const float *gamma, const float *mean, const float *r,
                                const float *mean_dyh, const float *mean_dy, float *restrict dx)
{
    for (int64_t i = 0; i < rows; i++, x += n, dy += n, dx += n)
        for (size_t c = 0; c < n; c++) {
            float h = (x[c] - mean[c]) * r[c];
            dx[c] += gamma[c] * r[c] * (dy[c] - mean_dy[c] - h * mean_dyh[c]);
        }
}

void backnorm_batch(int64_t rows, size_t cols, const float *x, const float *dy, const float *gamma,
                    const float *saved, float eps, float *sums, double *totals, float *dx,
                    float *dgamma, float *dbeta)
{
    const float *mean = saved, *var = saved + cols;
    float *r = sums + 2 * cols;
    for (size_t c = 0; c < cols; c++) r[c] = 1.0f / sqrtf(var[c] + eps);
    memset(totals, 0, 2 * cols * sizeof *totals);
    for (int64_t start = 0; start < rows; start += CHUNK_ROWS) {
        int64_t end = start + CHUNK_ROWS < rows ? start + CHUNK_ROWS : rows;
        memset(sums, 0, 2 * cols * sizeof *sums);
        size_t at = (size_t)start * cols;
        batch_sums(end - start, cols, x + at, dy + at, mean, r, sums, sums + cols);
        for (size_t c = 0; c < 2 * cols; c++) totals[c] += sums[c];
    }
    for (size_t c = 0; c < cols; c++) {
        if (dgamma) dgamma[c] += (float)totals[c];
        if (dbeta) dbeta[c] += (float)totals[cols + c];
    }
    for (size_t c = 0; c < 2 * cols; c++) sums[c] = (float)(totals[c] / (double)rows);
    if (dx) batch_dx(rows, cols, x, dy, gamma, mean, r, sums, sums + cols, dx);
}

void backnorm_column_sums(int64_t rows, size_t cols, const float *x, float *sum)
{
    for (int64_t start = 0; start < rows; start += CHUNK_ROWS) {
        int64_t end = start + CHUNK_ROWS < rows ? start + CHUNK_ROWS : rows;
        vec_column_sums((size_t)(end - start), cols, x + (size_t)start * cols, sum);
    }
}
