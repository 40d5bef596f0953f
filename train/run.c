/* The training loop: see the header. */
#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/memory.h"

void run_value(struct run_values *v, const char *name, double value)
{
    int i = 0;
    while (i < v->n && strcmp(v->name[i], name)) i++;
    if (i == RUN_MAX_VALUES) return;
    if (i == v->n) {
        v->name[v->n++] = name;
        v->value[i] = 0;
    }
    v->value[i] += value;
}

static int add_block(struct run *r, const char *what, const char *name, float *at, size_t n_floats,
                     struct error *err)
{
    char text[64];
    snprintf(text, sizeof text, "%s %s", what, name);
    return checkpoint_add(r->checkpoint, text, at, n_floats * sizeof *at, err);
}

static int add_part(struct run *r, struct student_part *p, float **best, bool keep_best,
                    struct error *err)
{
    if (!p->tower) return 0;
    size_t n = p->tower->params.n_floats;
    int rc = add_block(r, "weights", p->name, p->tower->params.w, n, err);
    if (rc == 0 && p->heads.n)
        rc = add_block(r, "adapters", p->name, p->heads.w, p->heads.n_floats, err);
    if (rc == 0 && keep_best && !p->frozen) {
        *best = memory_array(n, sizeof **best, MEMORY_MAX_TENSOR, err);
        rc = *best ? add_block(r, "best", p->name, *best, n, err) : ERR_NOMEM;
    }
    return rc;
}

/* Numbers of the state. Doubles survive JSON: they are written with 17 digits. */
static void read_progress(struct run *r, const struct json *j)
{
    r->stage = (int)json_int(json_get(j, "stage"), 0);
    r->step = (uint64_t)json_int(json_get(j, "step"), 0);
    r->best = json_number(json_get(j, "best"), -INFINITY);
    r->best_step = (uint64_t)json_int(json_get(j, "best_step"), 0);
    r->n_worse = (int)json_int(json_get(j, "n_worse"), 0);
    r->n_sums = (uint64_t)json_int(json_get(j, "n_sums"), 0);
    r->student->optimiser.step = r->step;
    r->done = json_clone(json_get(j, "done"));
    const char *name;
    const struct json *value;
    const struct json *sums = json_get(
        j, "sums"); /* borrowed from the checkpoint, which outlives the run */
    for (size_t i = 0; json_member(sums, i, &name, &value); i++)
        run_value(&r->sums, name, json_number(value, 0));
}

static int save(struct run *r, struct error *err)
{
    struct json *j = json_new_object(), *sums = json_new_object();
    json_set_int(j, "stage", r->stage);
    json_set_int(j, "step", (int64_t)r->step);
    if (isfinite(r->best)) json_set_number(j, "best", r->best);
    json_set_int(j, "best_step", (int64_t)r->best_step);
    json_set_int(j, "n_worse", r->n_worse);
    json_set_int(j, "n_sums", (int64_t)r->n_sums);
    for (int i = 0; i < r->sums.n; i++) json_set_number(sums, r->sums.name[i], r->sums.value[i]);
    json_set(j, "sums", sums);
    json_set(j, "done", json_clone(r->done));
    json_set_string(j, "digest", loader_digest(r->loader));
    int rc = checkpoint_save(r->checkpoint, j, err);
    json_free(j);
    return rc;
}

int run_begin(struct run *r, bool keep_best, struct error *err)
{
    struct student *s = r->student;
    int rc = add_part(r, &s->image, &r->best_weights[0], keep_best, err);
    if (rc == 0) rc = add_part(r, &s->text, &r->best_weights[1], keep_best, err);
    if (rc == 0) rc = add_block(r, "weights", "temperature", s->scale.w, s->scale.n_floats, err);
    r->best_scale = s->scale.w[0];
    if (rc == 0 && keep_best) rc = add_block(r, "best", "temperature", &r->best_scale, 1, err);
    for (int i = 0; i < s->optimiser.n_blocks && rc == 0; i++) {
        struct optimiser_block *b = &s->optimiser.block[i];
        rc = add_block(r, "moment 1", b->name, b->m, b->params->n_floats, err);
        if (rc == 0) rc = add_block(r, "moment 2", b->name, b->v, b->params->n_floats, err);
    }
    if (rc < 0) return rc;
    r->best = -INFINITY;
    if (!r->checkpoint->progress) {
        r->done = json_new_array();
        return save(r, err);
    }
    const char *digest = json_text(json_get(r->checkpoint->progress, "digest"), "");
    if (strcmp(digest, loader_digest(r->loader)))
        return error_set(err, ERR_EXISTS,
                         "%s was begun with other data: the digest of its records and feature sets "
                         "was %.16s and is "
                         "%.16s now; restore the sets, or choose another folder",
                         r->checkpoint->out, digest, loader_digest(r->loader));
    read_progress(r, r->checkpoint->progress);
    return checkpoint_restore(r->checkpoint, err);
}

void run_release(struct run *r)
{
    memory_free(r->best_weights[0]);
    memory_free(r->best_weights[1]);
    memory_free(r->order);
    loader_batch_release(&r->batch);
    json_free(r->done);
    *r = (struct run){0};
}

static void copy_best(struct run *r, const struct run_stage *stage, bool back)
{
    float *scale = r->student->scale.w;
    *(back ? scale : &r->best_scale) = *(back ? &r->best_scale : scale);
    for (int i = 0; i < 2; i++) {
        struct student_part *p = stage->part[i];
        float *best = p ? r->best_weights[p->is_text] : NULL;
        if (!best || p->frozen) continue;
        struct params *w = &p->tower->params;
        memcpy(back ? w->w : best, back ? best : w->w, w->n_floats * sizeof *best);
    }
}

/* Closes an epoch: validation, the curve's point, best weights. *stop: patience is at its end. */
static int end_epoch(struct run *r, const struct run_stage *stage, uint64_t epoch, bool *stop,
                     struct error *err)
{
    struct run_values val = {.n = 0};
    double score = NAN;
    int rc = stage->validate(stage->context, &score, &val, err);
    if (rc < 0) return rc;
    struct json *point = json_new_object();
    json_set_string(point, "stage", stage->name);
    json_set_int(point, "epoch", (int64_t)epoch + 1);
    json_set_int(point, "step", (int64_t)r->step);
    json_set_number(point, "lr", optimiser_lr(&r->student->optimiser.config, r->step - 1));
    for (int i = 0; i < r->sums.n; i++)
        json_set_number(point, r->sums.name[i], r->sums.value[i] / (double)r->n_sums);
    for (int i = 0; i < val.n; i++) json_set_number(point, val.name[i], val.value[i]);
    bool better = score > r->best;
    if (better) {
        r->best = score;
        r->best_step = r->step;
        r->n_worse = 0;
        copy_best(r, stage, false);
    } else if (isfinite(score)) {
        r->n_worse++;
    }
    *stop = stage->patience > 0 && r->n_worse >= stage->patience;
    rc = checkpoint_curve(r->checkpoint, point, err);
    char *text = json_write(point, JSON_LINE, NULL);
    if (text) report_curve(r->report, text);
    memory_free(text);
    json_free(point);
    r->sums = (struct run_values){.n = 0};
    r->n_sums = 0;
    return rc;
}

static int one_step(struct run *r, const struct run_stage *stage, uint32_t epoch,
                    const uint32_t *index, int n, struct error *err)
{
    struct optimiser *o = &r->student->optimiser;
    int rc = loader_fill(r->loader, SPLIT_TRAIN, stage->kind, epoch, index, n, &r->batch, err);
    if (rc < 0) return rc;
    optimiser_zero_grad(o);
    struct run_values values = {.n = 0};
    rc = stage->step(stage->context, &r->batch, &values, err);
    for (int i = 0; rc == 0 && i < values.n; i++) {
        if (!isfinite(values.value[i]))
            rc = error_set(err, ERR_DIVERGED,
                           "training diverged at step %llu of stage %s: %s is %g; lower the "
                           "learning rate, or look at the data",
                           (unsigned long long)r->step + 1, stage->name, values.name[i],
                           values.value[i]);
        run_value(&r->sums, values.name[i], values.value[i]);
    }
    double norm = 0;
    if (rc == 0) rc = optimiser_step(o, &norm, err);
    if (rc < 0) return rc;
    run_value(&r->sums, "gradient_norm", norm);
    r->n_sums++;
    r->step++;
    return 0;
}

/* Makes the summary of a stage, and the state that of the next. */
static int end_stage(struct run *r, int index, const struct run_stage *stage, struct error *err)
{
    if (stage->keep_best && isfinite(r->best)) copy_best(r, stage, true);
    struct json *j = json_new_object();
    json_set_string(j, "stage", stage->name);
    json_set_int(j, "steps", (int64_t)r->step);
    if (isfinite(r->best)) {
        json_set_number(j, "best_validation", r->best);
        json_set_int(j, "best_step", (int64_t)r->best_step);
    }
    json_push(r->done, j);
    r->stage = index + 1;
    r->step = 0;
    r->student->optimiser.step = 0;
    r->best = -INFINITY;
    r->best_step = 0;
    r->n_worse = 0;
    return save(r, err);
}

/* Only the blocks of the stage's parts are trained. */
static void choose_blocks(struct run *r, const struct run_stage *stage)
{
    struct optimiser *o = &r->student->optimiser;
    for (int i = 0; i < o->n_blocks; i++) o->block[i].resting = i != r->student->scale_block;
    for (int i = 0; i < 2; i++) {
        struct student_part *p = stage->part[i];
        if (p && p->tower_block >= 0) o->block[p->tower_block].resting = false;
        if (p && p->heads_block >= 0) o->block[p->heads_block].resting = false;
    }
}

int run_stage(struct run *r, int index, const struct run_stage *stage, struct error *err)
{
    if (r->stage > index) return 0;
    uint32_t n = loader_n(r->loader, SPLIT_TRAIN, stage->kind), batch = (uint32_t)stage->batch;
    if (n == 0)
        return error_set(
            err, ERR_DATA,
            "no %s of split train has features in every set of this run; featurize first",
            stage->kind == LOADER_IMAGES     ? "picture"
            : stage->kind == LOADER_CAPTIONS ? "caption"
                                             : "image-text pair");
    if (batch > n) batch = n;
    uint64_t an_epoch = n / batch, n_steps = an_epoch * (uint64_t)stage->epochs;
    if (stage->max_steps && n_steps > stage->max_steps) n_steps = stage->max_steps;
    struct optimiser_config *config = &r->student->optimiser.config;
    config->lr = stage->lr;
    config->n_steps = n_steps;
    choose_blocks(r, stage);
    memory_free(r->order);
    loader_batch_release(&r->batch);
    r->order = memory_array(n, sizeof *r->order, MEMORY_MAX_TENSOR, err);
    if (!r->order) return ERR_NOMEM;
    bool stop = stage->patience > 0 && r->n_worse >= stage->patience;
    uint64_t ordered = UINT64_MAX;
    while (r->step < n_steps && !stop) {
        uint64_t epoch = r->step / an_epoch, at = r->step % an_epoch;
        if (report_stopped(r->report)) {
            int rc = save(r, err);
            return rc < 0
                       ? rc
                       : error_set(
                             err, ERR_STOPPED,
                             "stopped at step %llu of %llu of stage %s; the same command goes on",
                             (unsigned long long)r->step, (unsigned long long)n_steps, stage->name);
        }
        if (epoch != ordered) loader_order(r->loader, stage->kind, (uint32_t)epoch, r->order);
        ordered = epoch;
        int rc = one_step(r, stage, (uint32_t)epoch, r->order + at * batch, (int)batch, err);
        bool end = r->step % an_epoch == 0 || r->step == n_steps;
        if (rc == 0 && end) rc = end_epoch(r, stage, epoch, &stop, err);
        if (rc == 0 && (r->checkpoint_every && r->step % r->checkpoint_every == 0))
            rc = save(r, err);
        if (rc < 0) return rc;
        report_progress(r->report, stage->name, r->step, n_steps, 0, 0);
    }
    return end_stage(r, index, stage, err);
}
