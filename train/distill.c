/* Stage 1: see the header. */
#include "train/distill.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/memory.h"
#include "train/setup.h"

#define VALIDATION_BATCH 64

struct distill_options distill_options_default(void)
{
    return (struct distill_options){.init = "random",
                                    .weight_final = 1,
                                    .weight_feature = 0.5,
                                    .beta = 1,
                                    .epochs_image = 20,
                                    .epochs_text = 20,
                                    .batch_image = 64,
                                    .batch_text = 128,
                                    .lr_image = 1e-3,
                                    .lr_text = 1e-3,
                                    .optimiser = optimiser_config_default(),
                                    .keep_best = true,
                                    .checkpoint_every = 200,
                                    .seed = 1};
}

/* One tower in work. */
struct tower_run {
    struct setup *setup;
    struct student_part *part;
    enum loader_kind kind;
    bool by_label;
    struct loader_batch val;
    char curve_name[MICRO_MAX_TARGETS][FEATURESET_NAME_MAX + 16];
};

static struct json *settings_of(const struct distill_options *o)
{
    struct json *j = json_new_object();
    json_set_string(j, "command", "distill");
    json_set_string(j, "loss", o->loss == DISTILL_LABEL ? "label" : "features");
    json_set_number(j, "weight_final", o->weight_final);
    json_set_number(j, "weight_feature", o->weight_feature);
    json_set_number(j, "weight_label", o->weight_label);
    json_set_number(j, "beta", o->beta);
    json_set_bool(j, "no_intermediate", o->no_intermediate);
    json_set_int(j, "epochs_image", o->epochs_image);
    json_set_int(j, "epochs_text", o->epochs_text);
    json_set_int(j, "max_steps", (int64_t)o->max_steps);
    json_set_int(j, "batch_image", o->batch_image);
    json_set_int(j, "batch_text", o->batch_text);
    json_set_number(j, "lr_image", o->lr_image);
    json_set_number(j, "lr_text", o->lr_text);
    setup_schedule(j, &o->optimiser, o->patience, o->keep_best);
    return j;
}

/* What one set asks of the student: its tap is matched in proportion of depth. */
static struct target target_of(const struct setup *s, const struct distill_options *o,
                               const struct student_part *p, const struct teacher_set *set,
                               int index, int n_features)
{
    struct target t = {
        .set = index, .cells = set->cells, .dim = set->dim, .beta = o->beta, .tap = set->tap};
    snprintf(t.name, sizeof t.name, "%s", set->name);
    if (set->is_final) {
        t.kind = TARGET_EMBEDDING;
        t.adapted = !set->is_primary;
        t.weight = o->weight_final;
        return t;
    }
    t.kind = TARGET_FEATURE;
    t.adapted = true;
    t.weight = o->weight_feature / n_features;
    t.tap.block = teacher_match_block(&s->teacher, set, tower_n_blocks(&p->tower->config));
    return t;
}

/* A linear classifier of the pairs' labels on the embedding; dropped at the end. */
static int add_label(struct setup *s, struct student_part *p, double weight, struct error *err)
{
    struct target t = {.kind = TARGET_LABEL,
                       .name = "label",
                       .set = -1,
                       .cells = 1,
                       .adapted = true,
                       .weight = weight};
    t.tap.kind = TAP_FINAL;
    t.dim = loader_n_labels(s->loader);
    if (t.dim < 2)
        return error_set(
            err, ERR_DATA,
            "%s: the train pairs have %d class labels; two are needed to train by label",
            s->o->cache, t.dim);
    return student_add_target(s->student, p, &t, err);
}

static int add_targets(struct setup *s, const struct distill_options *o, struct student_part *p,
                       struct error *err)
{
    if (!p->tower) return 0;
    if (o->loss == DISTILL_LABEL) return add_label(s, p, 1, err);
    const struct teacher_set **set = p->is_text ? s->text_set : s->image_set;
    int n = p->is_text ? s->n_text_sets : s->n_image_sets, n_features = 0, rc = 0;
    for (int i = 0; i < n; i++) n_features += !set[i]->is_final;
    for (int i = 0; i < n && rc == 0; i++) {
        if (o->weight_feature == 0 && !set[i]->is_final) continue;
        struct target t = target_of(s, o, p, set[i], i, n_features);
        rc = student_add_target(s->student, p, &t, err);
    }
    if (rc == 0 && o->weight_label > 0 && !p->is_text) rc = add_label(s, p, o->weight_label, err);
    return rc;
}

static int step(void *context, struct loader_batch *b, struct run_values *values, struct error *err)
{
    struct tower_run *t = context;
    struct micro_sums sums;
    int rc = student_gradients(t->setup->student, t->part, b, NULL, &sums, err);
    for (int k = 0; rc == 0 && k < t->part->n_targets; k++)
        run_value(values, t->curve_name[k], sums.loss[k]);
    return rc;
}

/* Mean cosine to the primary teacher over what it has of split val (the loss when it has nothing), or accuracy when
 * trained by label. */
static int validate(void *context, double *score, struct run_values *values, struct error *err)
{
    struct tower_run *t = context;
    uint32_t n = loader_n(t->setup->loader, SPLIT_VAL, t->kind), index[VALIDATION_BATCH];
    if (n == 0) return 0;
    double cosine = 0, loss = 0;
    int64_t right = 0, n_cosine = 0;
    for (uint32_t at = 0; at < n; at += VALIDATION_BATCH) {
        int k = n - at < VALIDATION_BATCH ? (int)(n - at) : VALIDATION_BATCH;
        for (int i = 0; i < k; i++) index[i] = at + (uint32_t)i;
        struct micro_sums sums;
        int rc = loader_fill(t->setup->loader, SPLIT_VAL, t->kind, 0, index, k, &t->val, err);
        if (rc == 0) rc = student_judge(t->setup->student, t->part, &t->val, &sums, err);
        if (rc < 0) return rc;
        cosine += sums.cosine;
        n_cosine += sums.n_cosine;
        right += sums.n_right;
        for (int i = 0; i < t->part->n_targets; i++) loss += sums.loss[i] * k;
    }
    run_value(values, "val_loss", loss / n);
    *score = t->by_label ? (double)right / n : n_cosine ? cosine / (double)n_cosine : -loss / n;
    run_value(values, t->by_label ? "val_accuracy" : "val_cosine", *score);
    return 0;
}

static int train_tower(struct setup *s, const struct distill_options *o, struct student_part *p,
                       int index, struct error *err)
{
    if (!p->tower) return 0;
    struct tower_run t = {.setup = s,
                          .part = p,
                          .kind = p->is_text ? LOADER_CAPTIONS : LOADER_IMAGES,
                          .by_label = o->loss == DISTILL_LABEL};
    for (int k = 0; k < p->n_targets; k++)
        snprintf(t.curve_name[k], sizeof t.curve_name[k], "loss_%s", p->target[k].name);
    struct run_stage stage = {.name = p->name,
                              .kind = t.kind,
                              .batch = p->is_text ? o->batch_text : o->batch_image,
                              .epochs = p->is_text ? o->epochs_text : o->epochs_image,
                              .max_steps = o->max_steps,
                              .lr = p->is_text ? o->lr_text : o->lr_image,
                              .patience = o->patience,
                              .keep_best = o->keep_best,
                              .part = {p},
                              .context = &t,
                              .step = step,
                              .validate = validate};
    int rc = run_stage(&s->run, index, &stage, err);
    loader_batch_release(&t.val);
    return rc;
}

static int check_options(const struct distill_options *o, struct error *err)
{
    if (!o->cache || !o->out)
        return error_set(err, ERR_USAGE, "distill needs a cache and an output folder");
    if (o->batch_image < 1 || o->batch_text < 1 || o->epochs_image < 1 || o->epochs_text < 1)
        return error_set(err, ERR_USAGE, "distill: batches and epochs must be at least 1");
    if (!(o->weight_final >= 0) || !(o->weight_feature >= 0) || !(o->weight_label >= 0) ||
        !(o->beta > 0))
        return error_set(err, ERR_USAGE,
                         "distill: weights must not be negative, and beta must be positive");
    return 0;
}

int distill_run(const struct distill_options *o, const struct report *report,
                struct distill_result *result, struct error *err)
{
    *result = (struct distill_result){0};
    struct setup_options so = {.cache = o->cache,
                               .out = o->out,
                               .init = o->init,
                               .image_arch = o->image_arch,
                               .text_arch = o->text_arch,
                               .no_image = o->no_image,
                               .no_text = o->no_text || o->loss == DISTILL_LABEL,
                               .no_intermediate = o->no_intermediate || o->loss == DISTILL_LABEL,
                               .sets = o->sets,
                               .n_sets = o->n_sets,
                               .languages = o->languages,
                               .n_languages = o->n_languages,
                               .keep_vocab = o->keep_vocab,
                               .tokenizer = o->tokenizer,
                               .n_views = o->n_views,
                               .augment = o->augment,
                               .token_drop = o->token_drop,
                               .token_split = o->token_split,
                               .seed = o->seed,
                               .pixel_bytes = o->pixel_bytes,
                               .numerics = o->numerics};
    struct setup s = {0};
    int rc = check_options(o, err);
    if (rc < 0) return rc;
    rc = setup_begin(&s, &so, settings_of(o), report, err);
    if (rc == 0 && s.done) {
        result->was_done = true;
        result->summary = json_clone(s.checkpoint.summary);
        goto done;
    }
    if (rc == 0) rc = add_targets(&s, o, &s.student->image, err);
    if (rc == 0) rc = add_targets(&s, o, &s.student->text, err);
    if (rc == 0) rc = student_prepare(s.student, &o->optimiser, false, o->seed, err);
    if (rc == 0) rc = setup_resume(&s, o->keep_best, o->checkpoint_every, err);
    if (rc == 0 && s.teacher.logit_scale > 0)
        s.student->scale.w[0] = logf((float)s.teacher.logit_scale);
    if (rc == 0) rc = train_tower(&s, o, &s.student->image, 0, err);
    if (rc == 0) rc = train_tower(&s, o, &s.student->text, 1, err);
    if (rc == 0) rc = setup_end(&s, &result->summary, err);
done:
    setup_release(&s);
    return rc;
}
