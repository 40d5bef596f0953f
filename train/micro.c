/* One micro-batch of one tower: see the header. */
#include "train/micro.h"

#include <math.h>
#include <string.h>

#include "featurize/gemm.h"
#include "train/backward.h"
#include "train/loss.h"

int micro_init(struct micro *w, enum numerics numerics, struct error *err)
{
    w->train = exec_new(EXEC_TRAIN, numerics, err);
    if (!w->train) return ERR_NOMEM;
    w->infer = exec_new(EXEC_INFER, numerics, err);
    return w->infer ? 0 : ERR_NOMEM;
}

void micro_release(struct micro *w)
{
    exec_free(w->train);
    exec_free(w->infer);
    *w = (struct micro){0};
}

void micro_bind(struct micro *w, const struct tower *tower)
{
    exec_bind(w->train, &tower->params, NULL);
    exec_bind(w->infer, &tower->params, NULL);
}

/* Pixels scaled, or token offsets moved to the micro-batch's own. */
static void make_input(struct exec *e, const struct micro_job *job, struct tower_input *in)
{
    const struct loader_batch *b = job->batch;
    in->n = job->n;
    if (job->tower->config.arch != ARCH_TEXT) {
        int64_t side = job->tower->config.image_size, n_pixels = side * side * job->n;
        float *pixels = exec_alloc(e, (size_t)n_pixels * 3 * sizeof *pixels);
        if (pixels)
            preprocess_scale(job->preprocess, b->pixels + side * side * 3 * job->first, n_pixels,
                             pixels);
        in->pixels = pixels;
        return;
    }
    int32_t *offsets = exec_alloc(e, ((size_t)job->n + 1) * sizeof *offsets);
    for (int i = 0; offsets && i <= job->n; i++)
        offsets[i] = b->offsets[job->first + i] - b->offsets[job->first];
    in->offsets = offsets;
    in->ids = b->ids + b->offsets[job->first];
}

/* y = x A^T + b. // x (rows, width), y (rows, dim) */
static float *adapt(struct exec *e, const struct micro_job *job, const struct target *t,
                    const struct value *x)
{
    float *y = exec_alloc(e, (size_t)x->rows * (size_t)t->dim * sizeof *y);
    if (!y) return NULL;
    const float *bias = params_at(job->heads, t->adapter_bias);
    for (int64_t i = 0; i < x->rows; i++) memcpy(y + i * t->dim, bias, (size_t)t->dim * sizeof *y);
    struct error err;
    int rc = gemm_product(e->gemm, NUMERICS_F32, false, true, x->rows, t->dim, x->cols, 1, x->x,
                          x->cols, params_at(job->heads, t->adapter_weight), x->cols, 1, y, t->dim,
                          &err);
    if (rc < 0) exec_fail(e, rc, "%s", err.text);
    return rc < 0 ? NULL : y;
}

/* dA += dy^T x, db += column sums of dy, dx += dy A. */
static void adapt_backward(struct exec *e, const struct micro_job *job, const struct target *t,
                           struct value *x, const float *dy)
{
    float *heads = job->grad + job->tower->params.n_floats;
    float *d_weight = heads + job->heads->table[t->adapter_weight].offset;
    float *d_bias = heads + job->heads->table[t->adapter_bias].offset;
    struct error err;
    int rc = gemm_product(e->gemm, NUMERICS_F32, true, false, t->dim, x->cols, x->rows, 1, dy,
                          t->dim, x->x, x->cols, 1, d_weight, x->cols, &err);
    for (int64_t i = 0; i < x->rows; i++)
        for (int j = 0; j < t->dim; j++) d_bias[j] += dy[i * t->dim + j];
    float *dx = exec_grad(e, x);
    if (rc == 0 && dx)
        rc = gemm_product(e->gemm, NUMERICS_F32, false, false, x->rows, x->cols, t->dim, 1, dy,
                          t->dim, params_at(job->heads, t->adapter_weight), x->cols, 1, dx, x->cols,
                          &err);
    if (rc < 0) exec_fail(e, rc, "%s", err.text);
}

/* Loss of one target on y; grad (NULL: none) is added to. */
static double loss_of(const struct micro_job *job, const struct target *t, const float *y,
                      float *grad)
{
    const struct loader_batch *b = job->batch;
    double weight = t->weight / b->n;
    if (t->kind == TARGET_LABEL)
        return loss_label(job->n, t->dim, y, b->label + job->first, weight, grad,
                          &job->sums->n_right);
    bool is_text = job->tower->config.arch == ARCH_TEXT;
    int64_t row = (int64_t)t->cells * t->dim;
    const float *want = (is_text ? b->text_target : b->image_target)[t->set] + row * job->first;
    if (t->kind == TARGET_EMBEDDING) {
        double loss = loss_embedding(job->n, t->dim, y, want, weight, grad);
        if (!t->adapted && weight > 0) {
            int64_t n = 0;
            for (int i = 0; i < job->n; i++) n += loss_is_taught(t->dim, want + i * row);
            job->sums->cosine += (double)n - loss / weight;
            job->sums->n_cosine += n;
        }
        return loss;
    }
    return loss_smooth_l1((int64_t)job->n * t->cells, t->dim, y, want, sqrt((double)row), t->beta,
                          weight / t->cells, grad);
}

static void run_target(struct exec *e, const struct micro_job *job, int k, struct value *x)
{
    const struct target *t = &job->target[k];
    if (t->weight == 0) return;
    float *y = t->adapted ? adapt(e, job, t, x) : x->x, *grad = NULL;
    if (!y) return;
    if (job->grad && t->adapted) {
        size_t n = (size_t)x->rows * (size_t)t->dim * sizeof *grad;
        grad = exec_alloc(e, n);
        if (!grad) return;
        memset(grad, 0, n);
    } else if (job->grad) {
        grad = exec_grad(e, x);
    }
    job->sums->loss[k] += loss_of(job, t, y, grad);
    if (job->grad && t->adapted) adapt_backward(e, job, t, x, grad);
}

/* The unit embeddings, and the outer loss's gradient on them. */
static void run_final(struct exec *e, const struct micro_job *job, struct value *final)
{
    int64_t dim = final->cols;
    size_t n = (size_t)job->n * (size_t)dim;
    float *unit = job->unit ? job->unit + job->first * dim : exec_alloc(e, n * sizeof *unit);
    float *norm = exec_alloc(e, (size_t)job->n * sizeof *norm);
    if (!unit || !norm) return;
    loss_normalise(job->n, dim, final->x, unit, norm);
    float *dx = job->grad && job->d_unit ? exec_grad(e, final) : NULL;
    if (dx) loss_normalise_backward(job->n, dim, unit, norm, job->d_unit + job->first * dim, dx);
}

/* Mean and unbiased variance of every batch norm, where the parameter table has the running ones. */
static void keep_statistics(const struct exec *e, const struct micro_job *job)
{
    const struct params *p = &job->tower->params;
    size_t at = 0;
    for (int k = 0; k < p->n; k++) {
        if (p->table[k].kind != PARAM_BUFFER) continue;
        for (int i = 0; i < e->n_nodes; i++) {
            const struct node *node = &e->nodes[i];
            if (node->kind != OP_BATCH_NORM || (node->aux[0] != k && node->aux[1] != k)) continue;
            int64_t cols = node->out->cols, rows = node->out->rows;
            bool is_var = node->aux[1] == k;
            float unbiased = is_var && rows > 1 ? (float)rows / (float)(rows - 1) : 1;
            for (int64_t c = 0; c < cols; c++)
                job->stats[at + (size_t)c] = node->saved[is_var * cols + c] * unbiased;
        }
        at += p->table[k].n;
    }
}

int micro_run(struct micro *w, const struct micro_job *job)
{
    struct exec *e = job->training ? w->train : w->infer;
    exec_reset(e);
    struct tap taps[MICRO_MAX_TARGETS + 1] = {{.kind = TAP_FINAL}};
    struct value *out[MICRO_MAX_TARGETS + 1] = {NULL};
    int n_targets = job->sums ? job->n_targets : 0;
    for (int k = 0; k < n_targets; k++) taps[k + 1] = job->target[k].tap;
    struct tower_input in = {0};
    make_input(e, job, &in);
    w->rc = exec_failed(e, &w->error);
    if (w->rc == 0) w->rc = tower_forward(job->tower, e, &in, taps, n_targets + 1, out, &w->error);
    if (w->rc < 0) return w->rc;
    for (int k = 0; k < n_targets; k++) run_target(e, job, k, out[k + 1]);
    if (job->unit || job->d_unit) run_final(e, job, out[0]);
    w->rc = exec_failed(e, &w->error);
    if (w->rc == 0 && job->grad) w->rc = backward(e, NULL, job->grad, &w->error);
    if (w->rc == 0 && job->stats) keep_statistics(e, job);
    return w->rc;
}
