/* Layer norm and batch norm of op.h. Statistics are our own sums in a fixed order (oneDNN's change
 * with the number of threads): over columns in sixteen lanes, over rows in f32 chunks of 64 rows
 * that are added up in double. In training a layer norm leaves mean and 1/sqrt(var + eps) of each
 * row in node->saved, a batch norm the mean and the biased variance of each column. */
#include <math.h>
#include <string.h>

#include "featurize/op.h"
#include "featurize/vecmath.h"

#define CHUNK_ROWS 64

VEC_CLONES static void normalise_row(size_t n, const float *x, float mean, float scale,
                                     const float *gamma, const float *beta, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
}

static bool norm_fits(struct exec *e, const struct value *x, int gamma, int beta)
{
    const struct param *table = e->params->table;
    if (gamma >= 0 && beta >= 0 && (int64_t)table[gamma].n == x->cols &&
        (int64_t)table[beta].n == x->cols)
        return true;
    exec_fail(e, ERR_DATA, "a norm over %lld columns has weights of another length (%s)",
              (long long)x->cols, gamma >= 0 ? table[gamma].name : "none");
    return false;
}

struct norm_job {
    const struct value *x, *y;
    const float *gamma, *beta;
    float *saved;
    float eps;
};

static int norm_part(void *ctx, struct gemm *g, int thread, int64_t first, int64_t end,
                     struct error *err)
{
    const struct norm_job *j = ctx;
    size_t cols = (size_t)j->x->cols;
    (void)g, (void)thread, (void)err;
    for (int64_t i = first; i < end; i++) {
        const float *row = j->x->x + i * j->x->cols;
        float *y = j->y->x + i * j->x->cols;
        float mean = vec_sum(cols, row) / (float)cols;
        float scale = 1.0f / sqrtf(vec_sum_squares(cols, row, mean) / (float)cols + j->eps);
        normalise_row(cols, row, mean, scale, j->gamma, j->beta, y);
        if (j->y->half) vec_bf16(cols, y, j->y->half + i * j->x->cols);
        if (j->saved) {
            j->saved[2 * i] = mean;
            j->saved[2 * i + 1] = scale;
        }
    }
    return 0;
}

struct value *op_layer_norm(struct exec *e, struct value *x, int gamma, int beta, float eps)
{
    if (!x || e->error.code || !norm_fits(e, x, gamma, beta)) return NULL;
    struct value *y = exec_value(e, x->rows, x->cols);
    if (!exec_add_half(e, y)) return NULL;
    float *saved = e->mode == EXEC_TRAIN ? exec_alloc(e, 2 * (size_t)x->rows * sizeof *saved)
                                         : NULL; // (rows, 2)
    struct norm_job job = {x,     y,  params_at(e->params, gamma), params_at(e->params, beta),
                           saved, eps};
    if (exec_split(e, x->rows, 1, norm_part, &job) < 0) return NULL;
    struct node *node = exec_record(e, OP_LAYER_NORM);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->weight = gamma;
        node->bias = beta;
        node->eps = eps;
        node->saved = saved;
    }
    return y;
}

/* sum[c] += sum over rows of (x - about), or of its square. */
VEC_CLONES static void add_rows(int64_t rows, size_t cols, const float *x, const float *about,
                                bool squares, float *sum)
{
    for (int64_t i = 0; i < rows; i++, x += cols)
        if (squares)
            for (size_t c = 0; c < cols; c++) sum[c] += (x[c] - about[c]) * (x[c] - about[c]);
        else
            for (size_t c = 0; c < cols; c++) sum[c] += x[c] - about[c];
}

/* out[c] = mean over rows of x - about[c], or of its square. // chunk (cols), total (cols) */
static void column_means(const struct value *x, const float *about, bool squares, float *chunk,
                         double *total, float *out)
{
    size_t cols = (size_t)x->cols;
    memset(total, 0, cols * sizeof *total);
    for (int64_t start = 0; start < x->rows; start += CHUNK_ROWS) {
        int64_t n = start + CHUNK_ROWS < x->rows ? CHUNK_ROWS : x->rows - start;
        memset(chunk, 0, cols * sizeof *chunk);
        add_rows(n, cols, x->x + start * x->cols, about, squares, chunk);
        for (size_t c = 0; c < cols; c++) total[c] += chunk[c];
    }
    for (size_t c = 0; c < cols; c++) out[c] = (float)(total[c] / (double)x->rows);
}

VEC_CLONES static void normalise_columns(int64_t rows, size_t cols, const float *x,
                                         const float *mean, const float *scale, const float *beta,
                                         float *y)
{
    for (int64_t i = 0; i < rows; i++, x += cols, y += cols)
        for (size_t c = 0; c < cols; c++) y[c] = (x[c] - mean[c]) * scale[c] + beta[c];
}

struct value *op_batch_norm(struct exec *e, struct value *x, int gamma, int beta, int running_mean,
                            int running_var, float eps)
{
    if (!x || e->error.code || !norm_fits(e, x, gamma, beta) ||
        !norm_fits(e, x, running_mean, running_var))
        return NULL;
    size_t cols = (size_t)x->cols;
    struct value *y = exec_value(e, x->rows, x->cols);
    float *saved = exec_alloc(e, 2 * cols * sizeof *saved); // (2, C)
    float *scale = exec_alloc(e, cols * sizeof *scale);
    double *total = exec_alloc(e, cols * sizeof *total);
    if (!y || !saved || !scale || !total) return NULL;
    const float *mean = params_at(e->params, running_mean),
                *var = params_at(e->params, running_var);
    if (e->mode == EXEC_TRAIN && x->rows > 0) {
        memset(scale, 0, cols * sizeof *scale);
        column_means(x, scale, false, saved + cols, total, saved);
        column_means(x, saved, true, scale, total, saved + cols);
        mean = saved;
        var = saved + cols;
    }
    const float *g = params_at(e->params, gamma);
    for (size_t c = 0; c < cols; c++) scale[c] = g[c] / sqrtf(var[c] + eps);
    normalise_columns(x->rows, cols, x->x, mean, scale, params_at(e->params, beta), y->x);
    struct node *node = exec_record(e, OP_BATCH_NORM);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->weight = gamma;
        node->bias = beta;
        node->aux[0] = running_mean;
        node->aux[1] = running_var;
        node->eps = eps;
        node->saved = saved;
    }
    return y;
}
