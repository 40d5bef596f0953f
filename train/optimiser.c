/* AdamW over several blocks: see the header. */
#include "train/optimiser.h"

#include <math.h>
#include <string.h>

#include "store/memory.h"

struct optimiser_config optimiser_config_default(void)
{
    return (struct optimiser_config){.lr = 1e-3,
                                     .lr_end = 0.01,
                                     .warmup = 0.05,
                                     .weight_decay = 0.05,
                                     .beta1 = 0.9,
                                     .beta2 = 0.98,
                                     .eps = 1e-6,
                                     .clip = 1,
                                     .n_steps = 1};
}

int optimiser_add(struct optimiser *o, const char *name, struct params *params, struct error *err)
{
    if (o->n_blocks == OPTIMISER_MAX_BLOCKS)
        return error_set(err, ERR_USAGE, "optimiser: more than %d blocks", OPTIMISER_MAX_BLOCKS);
    struct optimiser_block b = {.name = name, .params = params, .lr_factor = 1};
    b.grad = memory_array(params->n_floats, sizeof *b.grad, MEMORY_MAX_TENSOR, err);
    b.m = memory_array(params->n_floats, sizeof *b.m, MEMORY_MAX_TENSOR, err);
    b.v = memory_array(params->n_floats, sizeof *b.v, MEMORY_MAX_TENSOR, err);
    if (!b.grad || !b.m || !b.v) {
        memory_free(b.grad);
        memory_free(b.m);
        memory_free(b.v);
        return ERR_NOMEM;
    }
    o->block[o->n_blocks] = b;
    return o->n_blocks++;
}

void optimiser_release(struct optimiser *o)
{
    for (int i = 0; i < o->n_blocks; i++) {
        memory_free(o->block[i].grad);
        memory_free(o->block[i].m);
        memory_free(o->block[i].v);
    }
    o->n_blocks = 0;
}

void optimiser_zero_grad(struct optimiser *o)
{
    for (int i = 0; i < o->n_blocks; i++)
        memset(o->block[i].grad, 0, o->block[i].params->n_floats * sizeof *o->block[i].grad);
}

double optimiser_lr(const struct optimiser_config *c, uint64_t step)
{
    double warm = floor(c->warmup * (double)c->n_steps), at = (double)step;
    if (at < warm) return c->lr * (at + 1) / warm;
    double rest = (double)c->n_steps - warm, done = rest > 1 ? (at - warm) / (rest - 1) : 0;
    if (done > 1) done = 1;
    return c->lr * (c->lr_end + (1 - c->lr_end) * 0.5 * (1 + cos(M_PI * done)));
}

/* Sum of squares of n values in eight fixed lanes; a NaN or infinity shows in it. */
static double square_sum(const float *g, size_t n)
{
    double lane[8] = {0};
    size_t j = 0;
    for (; j + 8 <= n; j += 8)
        for (int l = 0; l < 8; l++) lane[l] += (double)g[j + l] * (double)g[j + l];
    double sum = 0;
    for (int l = 0; l < 8; l++) sum += lane[l];
    for (; j < n; j++) sum += (double)g[j] * (double)g[j];
    return sum;
}

/* Squared norms tensor by tensor, added in order. */
static int global_norm(const struct optimiser *o, double *norm, struct error *err)
{
    double sum = 0;
    for (int i = 0; i < o->n_blocks; i++) {
        const struct optimiser_block *b = &o->block[i];
        if (b->resting) continue;
        for (int k = 0; k < b->params->n; k++) {
            const struct param *p = &b->params->table[k];
            if (p->kind == PARAM_BUFFER) continue;
            double part = square_sum(b->grad + p->offset, p->n);
            if (!isfinite(part))
                return error_set(
                    err, ERR_DIVERGED,
                    "training diverged at step %llu: the gradient of %s tensor \"%s\" holds a NaN "
                    "or an infinity; lower the learning rate, or look at the data",
                    (unsigned long long)o->step + 1, b->name, p->name);
            sum += part;
        }
    }
    *norm = sqrt(sum);
    return 0;
}

/* w -= lr (m^ / (sqrt(v^) + eps) + decay w), m and v with bias correction. // w, g, m, v: (n) */
static void adamw(int64_t n, float *w, const float *g, float *m, float *v,
                  const struct optimiser_config *c, double lr, double clip, double decay,
                  uint64_t step)
{
    float beta1 = (float)c->beta1, beta2 = (float)c->beta2, eps = (float)c->eps, by = (float)clip;
    float rate = (float)(lr / (1 - pow(c->beta1, (double)step)));
    float root = (float)(1 / sqrt(1 - pow(c->beta2, (double)step)));
    float keep = (float)(1 - lr * decay);
#pragma omp parallel for default(none)                                                             \
    shared(n, w, g, m, v, beta1, beta2, eps, by, rate, root, keep) schedule(static) if (n > 32768)
    for (int64_t j = 0; j < n; j++) {
        float gj = g[j] * by;
        m[j] = beta1 * m[j] + (1 - beta1) * gj;
        v[j] = beta2 * v[j] + (1 - beta2) * gj * gj;
        w[j] = keep * w[j] - rate * m[j] / (sqrtf(v[j]) * root + eps);
    }
}

int optimiser_step(struct optimiser *o, double *norm, struct error *err)
{
    double length = 0;
    int rc = global_norm(o, &length, err);
    if (rc < 0) return rc;
    const struct optimiser_config *c = &o->config;
    double clip = c->clip > 0 && length > c->clip ? c->clip / length : 1;
    double lr = optimiser_lr(c, o->step);
    o->step++;
    for (int i = 0; i < o->n_blocks; i++) {
        struct optimiser_block *b = &o->block[i];
        if (b->resting) continue;
        for (int k = 0; k < b->params->n; k++) {
            const struct param *p = &b->params->table[k];
            if (p->kind == PARAM_BUFFER) continue;
            adamw((int64_t)p->n, b->params->w + p->offset, b->grad + p->offset, b->m + p->offset,
                  b->v + p->offset, c, lr * b->lr_factor, clip,
                  p->kind == PARAM_DECAY ? c->weight_decay : 0, o->step);
        }
    }
    if (norm) *norm = length;
    return 0;
}
