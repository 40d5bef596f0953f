/* A student under training: see the header. What happens inside a micro-batch is train/micro. */
#include "train/student.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "store/memory.h"
#include "train/random.h"

#define SLOT_BYTES          ((size_t)512 << 20) /* of all gradient slots of a tower */
#define MIN_SLOTS           2
#define MAX_SLOTS           16
#define BATCH_NORM_MOMENTUM 0.1F

static int make_scale(struct student *s, float log_scale, struct error *err)
{
    int rc = params_add(&s->scale, "logit_scale", PARAM_NO_DECAY, 0, NULL, err);
    if (rc >= 0) rc = params_allocate(&s->scale, err);
    if (rc >= 0) s->scale.w[0] = log_scale;
    return rc < 0 ? rc : 0;
}

static void attach(struct student *s)
{
    s->image = (struct student_part){
        .name = "image", .tower = s->model->image, .tower_block = -1, .heads_block = -1};
    s->text = (struct student_part){.name = "text",
                                    .is_text = true,
                                    .tower = s->model->text,
                                    .tower_block = -1,
                                    .heads_block = -1};
    s->scale_block = -1;
}

int student_new(struct student **out, const struct tower_config *image,
                const struct tower_config *text, enum numerics numerics, struct error *err)
{
    struct student *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return ERR_NOMEM;
    int rc = ERR_NOMEM;
    s->numerics = numerics;
    s->model = memory_array(1, sizeof *s->model, MEMORY_MAX_SMALL, err);
    if (!s->model) goto done;
    s->model->is_student = true;
    s->model->projection_dim = image ? image->projection_dim : text->projection_dim;
    if (image && !(s->model->image = tower_new(image, err))) goto done;
    if (text && !(s->model->text = tower_new(text, err))) goto done;
    if (text) s->model->max_tokens = tower_max_tokens(text);
    attach(s);
    rc = make_scale(s, logf(1 / 0.07F), err);
done:
    if (rc < 0)
        student_free(s);
    else
        *out = s;
    return rc;
}

int student_open(struct student **out, const char *dir, int parts, enum numerics numerics,
                 struct error *err)
{
    struct student *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return ERR_NOMEM;
    s->numerics = numerics;
    int rc = model_open(&s->model, dir, parts, err);
    if (rc == 0) {
        attach(s);
        rc = make_scale(s, logf(s->model->logit_scale), err);
    }
    if (rc < 0)
        student_free(s);
    else
        *out = s;
    return rc;
}

static void part_release(struct student_part *p)
{
    params_release(&p->heads);
    memory_free(p->slot_grad);
    memory_free(p->stats);
}

void student_free(struct student *s)
{
    if (!s) return;
    part_release(&s->image);
    part_release(&s->text);
    optimiser_release(&s->optimiser);
    for (int i = 0; i < s->n_workers; i++) micro_release(&s->worker[i]);
    memory_free(s->worker);
    params_release(&s->scale);
    model_free(s->model);
    memory_free(s);
}

int student_add_target(struct student *s, struct student_part *p, const struct target *target,
                       struct error *err)
{
    (void)s;
    if (p->n_targets == MICRO_MAX_TARGETS)
        return error_set(err, ERR_USAGE, "more than %d feature sets for the %s tower",
                         MICRO_MAX_TARGETS, p->name);
    struct target t = *target;
    int width = tower_tap_width(&p->tower->config, &t.tap);
    if (!t.adapted && width != t.dim)
        return error_set(err, ERR_INCOMPATIBLE,
                         "the %s student gives %d values at %s, the teacher's set has %d", p->name,
                         width, t.name, t.dim);
    if (t.adapted) {
        char name[PARAM_NAME_MAX + 1];
        snprintf(name, sizeof name, "%s.weight", t.name);
        t.adapter_weight = params_add(&p->heads, name, PARAM_DECAY, 2, (int64_t[]){t.dim, width},
                                      err);
        if (t.adapter_weight < 0) return t.adapter_weight;
        snprintf(name, sizeof name, "%s.bias", t.name);
        t.adapter_bias = params_add(&p->heads, name, PARAM_NO_DECAY, 1, (int64_t[]){t.dim}, err);
        if (t.adapter_bias < 0) return t.adapter_bias;
    }
    p->target[p->n_targets++] = t;
    return 0;
}

/* Adapters: uniform of variance 1 / width; biases zero. */
static void draw_heads(struct params *heads, uint64_t seed)
{
    for (int k = 0; k < heads->n; k++) {
        const struct param *p = &heads->table[k];
        if (p->n_dims != 2) continue;
        double reach = sqrt(3.0 / (double)p->shape[1]);
        for (size_t i = 0; i < p->n; i++)
            heads->w[p->offset + i] = (float)(reach *
                                              (2 * random_uniform(seed, (uint64_t)k, i) - 1));
    }
}

static int prepare_part(struct student *s, struct student_part *p, uint64_t seed, struct error *err)
{
    if (!p->tower) return 0;
    if (p->heads.n) {
        int rc = params_allocate(&p->heads, err);
        if (rc < 0) return rc;
        draw_heads(&p->heads, seed);
    }
    if (p->frozen) return 0;
    p->tower_block = optimiser_add(&s->optimiser, p->name, &p->tower->params, err);
    if (p->tower_block < 0) return p->tower_block;
    if (p->heads.n) {
        p->heads_block = optimiser_add(
            &s->optimiser, p->is_text ? "text adapters" : "image adapters", &p->heads, err);
        if (p->heads_block < 0) return p->heads_block;
    }
    size_t stride = p->tower->params.n_floats + p->heads.n_floats;
    size_t fit = SLOT_BYTES / (stride * sizeof *p->slot_grad);
    p->n_slots = fit < MIN_SLOTS ? MIN_SLOTS : fit > MAX_SLOTS ? MAX_SLOTS : (int)fit;
    p->slot_grad = memory_array((uint64_t)p->n_slots * stride, sizeof *p->slot_grad,
                                MEMORY_MAX_TENSOR, err);
    for (int k = 0; k < p->tower->params.n; k++)
        if (p->tower->params.table[k].kind == PARAM_BUFFER)
            p->n_stats += p->tower->params.table[k].n;
    return p->slot_grad ? 0 : ERR_NOMEM;
}

int student_prepare(struct student *s, const struct optimiser_config *config, bool train_scale,
                    uint64_t seed, struct error *err)
{
    s->optimiser.config = *config;
    int rc = prepare_part(s, &s->image, seed, err);
    if (rc == 0) rc = prepare_part(s, &s->text, seed + 1, err);
    if (rc == 0 && train_scale) {
        s->scale_block = optimiser_add(&s->optimiser, "temperature", &s->scale, err);
        if (s->scale_block < 0) rc = s->scale_block;
    }
    int n = omp_get_max_threads();
    s->worker = memory_array((uint64_t)n, sizeof *s->worker, MEMORY_MAX_SMALL, err);
    if (!s->worker) rc = ERR_NOMEM;
    for (; rc == 0 && s->n_workers < n; s->n_workers++)
        rc = micro_init(&s->worker[s->n_workers], s->numerics, err);
    return rc;
}

static int micro_size(const struct student_part *p)
{
    return p->is_text ? STUDENT_CAPTIONS : STUDENT_PICTURES;
}

/* All micro-batches of a batch: slot by slot in parallel, inside a slot in order. */
static int run_all(struct student *s, struct student_part *p, const struct micro_job *common,
                   int n_slots, struct micro_sums *sums, struct error *err)
{
    int size = micro_size(p), n = common->batch->n, n_micro = (n + size - 1) / size;
    if (n_slots > n_micro) n_slots = n_micro;
    for (int t = 0; t < s->n_workers; t++) {
        micro_bind(&s->worker[t], p->tower);
        s->worker[t].rc = 0;
    }
    size_t stride = p->tower->params.n_floats + p->heads.n_floats, n_stats = p->n_stats;
    struct micro *worker = s->worker;
    float *slots = common->grad, *stats = common->stats;
    int n_workers = s->n_workers;
#pragma omp parallel for default(none) num_threads(n_workers) schedule(dynamic, 1)                 \
    shared(common, n_slots, sums, size, n, n_micro, stride, n_stats, worker, slots, stats)
    for (int slot = 0; slot < n_slots; slot++) {
        struct micro *w = &worker[omp_get_thread_num()];
        if (slots) memset(slots + (size_t)slot * stride, 0, stride * sizeof *slots);
        for (int i = slot; i < n_micro && w->rc == 0; i += n_slots) {
            struct micro_job job = *common;
            job.first = i * size;
            job.n = n - job.first < size ? n - job.first : size;
            if (slots) job.grad = slots + (size_t)slot * stride;
            if (stats) job.stats = stats + (size_t)i * n_stats;
            if (sums) job.sums = &sums[i];
            micro_run(w, &job);
        }
    }
    for (int t = 0; t < s->n_workers; t++) {
        if (worker[t].rc == 0) continue;
        if (err) *err = worker[t].error;
        return worker[t].rc;
    }
    return 0;
}

/* grad += slots, in index order at every place. */
static void add_slots(const float *slots, int n_slots, size_t stride, size_t from, int64_t n,
                      float *grad)
{
#pragma omp parallel for default(none) shared(slots, n_slots, stride, from, n, grad)               \
    schedule(static)
    for (int64_t block = 0; block < n; block += 4096) {
        int64_t end = block + 4096 < n ? block + 4096 : n;
        for (int k = 0; k < n_slots; k++) {
            const float *slot = slots + (size_t)k * stride + from;
            for (int64_t j = block; j < end; j++) grad[j] += slot[j];
        }
    }
}

/* Running averages, micro-batch after micro-batch. */
static void update_statistics(struct student_part *p, int n_micro)
{
    struct params *params = &p->tower->params;
    for (int i = 0; i < n_micro; i++) {
        const float *at = p->stats + (size_t)i * p->n_stats;
        for (int k = 0; k < params->n; k++) {
            if (params->table[k].kind != PARAM_BUFFER) continue;
            float *running = params_at(params, k);
            for (size_t j = 0; j < params->table[k].n; j++, at++)
                running[j] += BATCH_NORM_MOMENTUM * (*at - running[j]);
        }
    }
}

static void add_sums(const struct micro_sums *part, int n, struct micro_sums *sums)
{
    *sums = (struct micro_sums){0};
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < MICRO_MAX_TARGETS; k++) sums->loss[k] += part[i].loss[k];
        sums->cosine += part[i].cosine;
        sums->n_cosine += part[i].n_cosine;
        sums->n_right += part[i].n_right;
    }
}

static int reserve_statistics(struct student_part *p, int n_micro, struct error *err)
{
    if (p->n_stats == 0 || n_micro <= p->max_micro) return 0;
    memory_free(p->stats);
    p->max_micro = 0;
    p->stats = memory_array((uint64_t)n_micro * p->n_stats, sizeof *p->stats, MEMORY_MAX_TENSOR,
                            err);
    if (!p->stats) return ERR_NOMEM;
    p->max_micro = n_micro;
    return 0;
}

static struct micro_job common_job(const struct student *s, const struct student_part *p,
                                   const struct loader_batch *b)
{
    return (struct micro_job){.tower = p->tower,
                              .heads = &p->heads,
                              .target = p->target,
                              .n_targets = p->n_targets,
                              .preprocess = &s->model->preprocess,
                              .batch = b};
}

static int n_micro_of(const struct student_part *p, const struct loader_batch *b)
{
    return (b->n + micro_size(p) - 1) / micro_size(p);
}

int student_gradients(struct student *s, struct student_part *p, const struct loader_batch *b,
                      const float *d_unit, struct micro_sums *sums, struct error *err)
{
    int n_micro = n_micro_of(p, b), rc = reserve_statistics(p, n_micro, err);
    if (rc < 0) return rc;
    struct micro_sums *part = memory_array((uint64_t)n_micro, sizeof *part, MEMORY_MAX_SMALL, err);
    if (!part) return ERR_NOMEM;
    struct micro_job job = common_job(s, p, b);
    job.training = true;
    job.d_unit = d_unit;
    job.grad = p->slot_grad;
    job.stats = p->n_stats ? p->stats : NULL;
    rc = run_all(s, p, &job, p->n_slots, part, err);
    if (rc == 0) {
        size_t n_tower = p->tower->params.n_floats, stride = n_tower + p->heads.n_floats;
        int used = p->n_slots < n_micro ? p->n_slots : n_micro;
        add_slots(p->slot_grad, used, stride, 0, (int64_t)n_tower,
                  s->optimiser.block[p->tower_block].grad);
        if (p->heads_block >= 0)
            add_slots(p->slot_grad, used, stride, n_tower, (int64_t)p->heads.n_floats,
                      s->optimiser.block[p->heads_block].grad);
        if (p->n_stats) update_statistics(p, n_micro);
        add_sums(part, n_micro, sums);
    }
    memory_free(part);
    return rc;
}

int student_embed(struct student *s, struct student_part *p, const struct loader_batch *b,
                  bool training, float *unit, struct error *err)
{
    struct micro_job job = common_job(s, p, b);
    job.training = training;
    job.unit = unit;
    return run_all(s, p, &job, n_micro_of(p, b), NULL, err);
}

int student_judge(struct student *s, struct student_part *p, const struct loader_batch *b,
                  struct micro_sums *sums, struct error *err)
{
    int n_micro = n_micro_of(p, b);
    struct micro_sums *part = memory_array((uint64_t)n_micro, sizeof *part, MEMORY_MAX_SMALL, err);
    if (!part) return ERR_NOMEM;
    struct micro_job job = common_job(s, p, b);
    int rc = run_all(s, p, &job, n_micro, part, err);
    if (rc == 0) add_sums(part, n_micro, sums);
    memory_free(part);
    return rc;
}

int student_save(struct student *s, const char *dir, const struct json *extra, struct error *err)
{
    s->model->logit_scale = expf(s->scale.w[0]);
    return model_save(s->model, dir, extra, err);
}
