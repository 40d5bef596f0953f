/* InfoNCE and similarity distillation over one batch: see the header.
 *
 * The (n, n) matrix of similarities is written out: n is a training batch, hundreds, not thousands.
 * Row softmaxes and column softmaxes are each computed by one thread a row or a column; the
 * gradient of the similarities G is then carried to the embeddings as d_image = scale G text and
 * d_text = scale G^T image, one thread an output row.
 */
#include "train/contrast.h"

#include <math.h>
#include <stdbool.h>

#include "featurize/vecmath.h"
#include "store/memory.h"

static inline float dot(int64_t n, const float *a, const float *b)
{
    float lane[16] = {0};
    int64_t j = 0;
    for (; j + 16 <= n; j += 16)
        for (int l = 0; l < 16; l++) lane[l] += a[j + l] * b[j + l];
    float sum = 0;
    for (int l = 0; l < 16; l++) sum += lane[l];
    for (; j < n; j++) sum += a[j] * b[j];
    return sum;
}

/* s_j = a . b_j // a: (dim), b: (n, dim), s: (n) */
VEC_CLONES static void dots(int64_t n, int64_t dim, const float *a, const float *b, float *s)
{
    for (int64_t j = 0; j < n; j++) s[j] = dot(dim, a, b + j * dim);
}

/* s_ij = a_i . b_j // a, b: (n, dim), s: (n, n) */
static void similarities(int64_t n, int64_t dim, const float *a, const float *b, float *s)
{
#pragma omp parallel for default(none) shared(n, dim, a, b, s) schedule(static)
    for (int64_t i = 0; i < n; i++) dots(n, dim, a + i * dim, b, s + i * n);
}

/* d_a += sum_j g(j) b_j, where g(j) stands at g[j * col]. // d_a: (dim), b: (n, dim) */
VEC_CLONES static void carry_row(int64_t n, int64_t dim, const float *g, int64_t col,
                                 const float *b, float *d_a)
{
    for (int64_t j = 0; j < n; j++) {
        float gj = g[j * col];
        if (gj == 0) continue;
        for (int64_t k = 0; k < dim; k++) d_a[k] += gj * b[j * dim + k];
    }
}

/* The same for every i, where g(i, j) stands at g[i * row + j * col]. */
static void carry(int64_t n, int64_t dim, const float *g, int64_t row, int64_t col, const float *b,
                  float *d_a)
{
#pragma omp parallel for default(none) shared(n, dim, g, row, col, b, d_a) schedule(static)
    for (int64_t i = 0; i < n; i++) carry_row(n, dim, g + i * row, col, b, d_a + i * dim);
}

/* One row (or column) of InfoNCE: cross-entropy of the positives among the unmasked cells. Cell j
 * stands at [j * step]. Adds weight * dloss/dz to g; returns the loss, and whether a positive is on
 * top (ties count against it). */
static double infonce_line(int64_t n, int64_t i, int64_t step, const float *s, const uint8_t *cells,
                           double scale, double weight, float *g, int64_t *right)
{
    double top = -INFINITY, best_positive = -INFINITY, best_other = -INFINITY;
    int64_t n_positive = 0;
    for (int64_t j = 0; j < n; j++) {
        enum contrast_cell cell = i == j ? CELL_POSITIVE : cells[j * step];
        if (cell == CELL_MASKED) continue;
        double z = scale * s[j * step];
        if (!(z <= top)) top = z;
        if (cell == CELL_POSITIVE) n_positive++;
        double *best = cell == CELL_POSITIVE ? &best_positive : &best_other;
        if (z > *best) *best = z;
    }
    double total = 0, mean_positive = 0;
    for (int64_t j = 0; j < n; j++) {
        enum contrast_cell cell = i == j ? CELL_POSITIVE : cells[j * step];
        if (cell == CELL_MASKED) continue;
        total += exp(scale * s[j * step] - top);
        if (cell == CELL_POSITIVE) mean_positive += scale * s[j * step] / (double)n_positive;
    }
    for (int64_t j = 0; j < n; j++) {
        enum contrast_cell cell = i == j ? CELL_POSITIVE : cells[j * step];
        if (cell == CELL_MASKED) continue;
        double p = exp(scale * s[j * step] - top) / total;
        double share = cell == CELL_POSITIVE ? 1 / (double)n_positive : 0;
        g[j * step] += (float)(weight * (p - share));
    }
    *right = best_positive > best_other;
    return weight * (log(total) + top - mean_positive);
}

/* Weights of the pairs that sum to 1. */
static void spread_weight(int64_t n, const float *pair_weight, double weight, double *w)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pair_weight ? pair_weight[i] : 1;
    for (int64_t i = 0; i < n; i++) w[i] = weight * (pair_weight ? pair_weight[i] : 1) / sum;
}

/* G scaled by `scale` goes to the embeddings. // s (spent), g: (n, n) */
static void gradients(int64_t n, int64_t dim, const float *image, const float *text, float *g,
                      double scale, float *d_image, float *d_text)
{
    for (int64_t k = 0; k < n * n; k++) g[k] = (float)(g[k] * scale);
    if (d_image) carry(n, dim, g, n, 1, text, d_image);
    if (d_text) carry(n, dim, g, 1, n, image, d_text);
}

int contrast_infonce(int64_t n, int64_t dim, const float *image, const float *text,
                     const uint8_t *cells, const float *pair_weight, double log_scale,
                     double weight, struct contrast_result *result, float *d_image, float *d_text,
                     struct error *err)
{
    int rc = ERR_NOMEM;
    float *s = memory_array((uint64_t)n * (uint64_t)n, sizeof *s, MEMORY_MAX_TENSOR, err);
    float *g_row = memory_array((uint64_t)n * (uint64_t)n, sizeof *s, MEMORY_MAX_TENSOR, err);
    float *g_col = memory_array((uint64_t)n * (uint64_t)n, sizeof *s, MEMORY_MAX_TENSOR, err);
    double *loss = memory_array((uint64_t)n * 2, sizeof *loss, MEMORY_MAX_TENSOR, err);
    double *w = memory_array((uint64_t)n, sizeof *w, MEMORY_MAX_TENSOR, err);
    int64_t *right = memory_array((uint64_t)n * 2, sizeof *right, MEMORY_MAX_TENSOR, err);
    if (!s || !g_row || !g_col || !loss || !w || !right) goto done;
    bool clamped = log_scale > CONTRAST_MAX_LOG_SCALE;
    double scale = exp(clamped ? CONTRAST_MAX_LOG_SCALE : log_scale);
    similarities(n, dim, image, text, s);
    spread_weight(n, pair_weight, weight / 2, w);
#pragma omp parallel for default(none) shared(n, s, cells, scale, w, g_row, g_col, loss, right)    \
    schedule(static)
    for (int64_t i = 0; i < n; i++) {
        loss[i] = infonce_line(n, i, 1, s + i * n, cells + i * n, scale, w[i], g_row + i * n,
                               right + i);
        loss[n + i] = infonce_line(n, i, n, s + i, cells + i, scale, w[i], g_col + i,
                                   right + n + i);
    }
    double sum = 0, d_scale = 0;
    int64_t n_right = 0;
    for (int64_t i = 0; i < 2 * n; i++) sum += loss[i];
    for (int64_t i = 0; i < n; i++) n_right += right[i];
    for (int64_t k = 0; k < n * n; k++) {
        g_row[k] += g_col[k];
        d_scale += (double)g_row[k] * s[k]; /* dz/d(log scale) = scale * s */
    }
    gradients(n, dim, image, text, g_row, scale, d_image, d_text);
    *result = (struct contrast_result){sum, d_scale * scale, n_right};
    if (log_scale >= CONTRAST_MAX_LOG_SCALE && result->d_log_scale < 0) result->d_log_scale = 0;
    rc = 0;
done:
    memory_free(right);
    memory_free(w);
    memory_free(loss);
    memory_free(g_col);
    memory_free(g_row);
    memory_free(s);
    return rc;
}

/* One row (or column): CE(softmax(scale * t), softmax(scale * s)) less the entropy of the teacher. */
static double similarity_line(int64_t n, int64_t step, const float *s, const float *t, double scale,
                              double weight, float *g)
{
    double top_s = -INFINITY, top_t = -INFINITY, sum_s = 0, sum_t = 0, loss = 0;
    for (int64_t j = 0; j < n; j++) {
        if (!(scale * s[j * step] <= top_s)) top_s = scale * s[j * step];
        if (!(scale * t[j * step] <= top_t)) top_t = scale * t[j * step];
    }
    for (int64_t j = 0; j < n; j++) {
        sum_s += exp(scale * s[j * step] - top_s);
        sum_t += exp(scale * t[j * step] - top_t);
    }
    double log_s = log(sum_s) + top_s, log_t = log(sum_t) + top_t;
    for (int64_t j = 0; j < n; j++) {
        double ls = scale * s[j * step] - log_s, lt = scale * t[j * step] - log_t;
        double p = exp(lt);
        loss += p * (lt - ls);
        g[j * step] += (float)(weight * (exp(ls) - p));
    }
    return weight * loss;
}

int contrast_similarity(int64_t n, int64_t dim, const float *image, const float *text,
                        int64_t teacher_dim, const float *teacher_image, const float *teacher_text,
                        double scale, double weight, double *loss, float *d_image, float *d_text,
                        struct error *err)
{
    int rc = ERR_NOMEM;
    uint64_t cells = (uint64_t)n * (uint64_t)n;
    float *s = memory_array(cells, sizeof *s, MEMORY_MAX_TENSOR, err);
    float *t = memory_array(cells, sizeof *s, MEMORY_MAX_TENSOR, err);
    float *g_row = memory_array(cells, sizeof *s, MEMORY_MAX_TENSOR, err);
    float *g_col = memory_array(cells, sizeof *s, MEMORY_MAX_TENSOR, err);
    double *line = memory_array((uint64_t)n * 2, sizeof *line, MEMORY_MAX_TENSOR, err);
    if (!s || !t || !g_row || !g_col || !line) goto done;
    similarities(n, dim, image, text, s);
    similarities(n, teacher_dim, teacher_image, teacher_text, t);
    double w = weight / 2 / (double)n;
#pragma omp parallel for default(none) shared(n, s, t, scale, w, g_row, g_col, line)               \
    schedule(static)
    for (int64_t i = 0; i < n; i++) {
        line[i] = similarity_line(n, 1, s + i * n, t + i * n, scale, w, g_row + i * n);
        line[n + i] = similarity_line(n, n, s + i, t + i, scale, w, g_col + i);
    }
    double sum = 0;
    for (int64_t i = 0; i < 2 * n; i++) sum += line[i];
    for (int64_t k = 0; k < n * n; k++) g_row[k] += g_col[k];
    gradients(n, dim, image, text, g_row, scale, d_image, d_text);
    *loss = sum;
    rc = 0;
done:
    memory_free(line);
    memory_free(g_col);
    memory_free(g_row);
    memory_free(t);
    memory_free(s);
    return rc;
}
