/* Stage 2: see the header. */
#include "train/align.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/memory.h"
#include "train/contrast.h"
#include "train/setup.h"

#define DEFAULT_LOG_SCALE 2.6592600369327783 /* ln(1 / 0.07) */

struct align_options align_options_default(void)
{
    return (struct align_options){.init = "random",
                                  .weight_contrast = 1,
                                  .weight_keep = 1,
                                  .log_scale = NAN,
                                  .vocab_size = 8000,
                                  .epochs = 10,
                                  .batch = 128,
                                  .lr = 5e-4,
                                  .lr_image = 1,
                                  .optimiser = optimiser_config_default(),
                                  .keep_best = true,
                                  .checkpoint_every = 200,
                                  .seed = 1};
}

/* The run in work. Embeddings of one batch; a frozen image set is its own embedding. */
struct alignment {
    struct setup *setup;
    const struct align_options *o;
    int dim, max_n;
    float *image, *text, *d_image, *d_text; // (max_n, dim)
    struct loader_batch val;
};

static struct json *settings_of(const struct align_options *o)
{
    struct json *j = json_new_object();
    json_set_string(j, "command", "align");
    json_set_bool(j, "freeze_image", o->freeze_image);
    json_set_bool(j, "freeze_text", o->freeze_text);
    json_set_number(j, "weight_contrast", o->weight_contrast);
    json_set_number(j, "weight_keep", o->weight_keep);
    json_set_number(j, "weight_similarity", o->weight_similarity);
    if (!isnan(o->log_scale)) json_set_number(j, "log_scale", o->log_scale);
    json_set_bool(j, "fixed_scale", o->fixed_scale);
    json_set_bool(j, "multi_positive", o->multi_positive);
    json_set_int(j, "epochs", o->epochs);
    json_set_int(j, "max_steps", (int64_t)o->max_steps);
    json_set_int(j, "batch", o->batch);
    json_set_number(j, "lr", o->lr);
    json_set_number(j, "lr_image", o->lr_image);
    setup_schedule(j, &o->optimiser, o->patience, o->keep_best);
    return j;
}

/* The cached final embedding keeps a tower in the teacher's space. */
static int add_keep(struct alignment *a, struct student_part *p, struct error *err)
{
    struct setup *s = a->setup;
    int n = p->is_text ? s->n_text_sets : s->n_image_sets;
    if (!p->tower || p->frozen || n == 0 || a->o->weight_keep == 0) return 0;
    const struct teacher_set *set = p->is_text ? s->text_set[0] : s->image_set[0];
    struct target t = {.kind = TARGET_EMBEDDING,
                       .tap = {.kind = TAP_FINAL},
                       .cells = 1,
                       .dim = set->dim,
                       .weight = a->o->weight_keep};
    snprintf(t.name, sizeof t.name, "%s", set->name);
    return student_add_target(s->student, p, &t, err);
}

static int embed(struct alignment *a, const struct loader_batch *b, bool training,
                 struct error *err)
{
    struct student *s = a->setup->student;
    size_t n = (size_t)b->n * (size_t)a->dim * sizeof(float);
    int rc = 0;
    if (s->image.tower)
        rc = student_embed(s, &s->image, b, training && !s->image.frozen, a->image, err);
    else
        memcpy(a->image, b->image_target[0], n);
    return rc == 0 ? student_embed(s, &s->text, b, training && !s->text.frozen, a->text, err) : rc;
}

/* Losses over the batch and their gradients on the unit embeddings. */
static int batch_losses(struct alignment *a, const struct loader_batch *b,
                        struct run_values *values, struct error *err)
{
    const struct align_options *o = a->o;
    struct setup *s = a->setup;
    size_t n = (size_t)b->n * (size_t)a->dim * sizeof(float);
    memset(a->d_image, 0, n);
    memset(a->d_text, 0, n);
    struct contrast_result r;
    int rc = contrast_infonce(b->n, a->dim, a->image, a->text, b->cells, NULL,
                              s->student->scale.w[0], o->weight_contrast, &r, a->d_image, a->d_text,
                              err);
    if (rc < 0) return rc;
    run_value(values, "loss_contrast", r.loss);
    run_value(values, "logit_scale", exp(s->student->scale.w[0]));
    if (s->student->scale_block >= 0)
        s->student->optimiser.block[s->student->scale_block].grad[0] += (float)r.d_log_scale;
    if (o->weight_similarity == 0) return 0;
    double loss;
    /* Without the teacher's texts, its pictures stand for their captions: a caption is as near to another picture as its own picture is. */
    const float *text_target = s->n_text_sets ? b->text_target[0] : b->image_target[0];
    rc = contrast_similarity(
        b->n, a->dim, a->image, a->text, s->image_set[0]->dim, b->image_target[0], text_target,
        s->teacher.logit_scale > 0 ? s->teacher.logit_scale : exp(DEFAULT_LOG_SCALE),
        o->weight_similarity, &loss, a->d_image, a->d_text, err);
    if (rc == 0) run_value(values, "loss_similarity", loss);
    return rc;
}

static int step(void *context, struct loader_batch *b, struct run_values *values, struct error *err)
{
    struct alignment *a = context;
    struct student *s = a->setup->student;
    int rc = embed(a, b, true, err);
    if (rc == 0) rc = batch_losses(a, b, values, err);
    struct student_part *part[2] = {&s->image, &s->text};
    const float *d_unit[2] = {a->d_image, a->d_text};
    for (int i = 0; i < 2 && rc == 0; i++) {
        if (!part[i]->tower || part[i]->frozen) continue;
        struct micro_sums sums;
        rc = student_gradients(s, part[i], b, d_unit[i], &sums, err);
        if (rc == 0 && part[i]->n_targets)
            run_value(values, i ? "loss_keep_text" : "loss_keep_image", sums.loss[0]);
    }
    /* The scale must not leave the range in which its gradient means something. */
    if (s->scale.w[0] > (float)CONTRAST_MAX_LOG_SCALE)
        s->scale.w[0] = (float)CONTRAST_MAX_LOG_SCALE;
    return rc;
}

/* Less the mean InfoNCE over split val, in batches of a fixed order: pairs are strided so that a
 * batch holds many images. */
static int validate(void *context, double *score, struct run_values *values, struct error *err)
{
    struct alignment *a = context;
    struct loader *l = a->setup->loader;
    uint32_t n = loader_n(l, SPLIT_VAL, LOADER_PAIRS);
    if (n < 2) return 0;
    uint32_t *index = memory_array((uint64_t)a->max_n, sizeof *index, MEMORY_MAX_SMALL, err);
    if (!index) return ERR_NOMEM;
    uint32_t n_batches = (n + (uint32_t)a->max_n - 1) / (uint32_t)a->max_n;
    double loss = 0, right = 0;
    int rc = 0;
    for (uint32_t k = 0; k < n_batches && rc == 0; k++) {
        int m = 0;
        for (uint32_t i = k; i < n; i += n_batches) index[m++] = i;
        struct contrast_result r = {0};
        rc = loader_fill(l, SPLIT_VAL, LOADER_PAIRS, 0, index, m, &a->val, err);
        if (rc == 0) rc = embed(a, &a->val, false, err);
        if (rc == 0)
            rc = contrast_infonce(m, a->dim, a->image, a->text, a->val.cells, NULL,
                                  a->setup->student->scale.w[0], 1, &r, NULL, NULL, err);
        loss += r.loss * m;
        right += (double)r.n_right;
    }
    memory_free(index);
    if (rc < 0) return rc;
    run_value(values, "val_contrast", loss / n);
    run_value(values, "val_batch_top1", right / n);
    *score = -loss / n;
    return 0;
}

static int check_options(const struct align_options *o, struct error *err)
{
    if (!o->cache || !o->out)
        return error_set(err, ERR_USAGE, "align needs a cache and an output folder");
    if (o->batch < 2 || o->epochs < 1)
        return error_set(err, ERR_USAGE, "align: the batch must be at least 2, epochs at least 1");
    if (o->freeze_image && o->freeze_text)
        return error_set(err, ERR_USAGE, "align: both towers are frozen, nothing is left to train");
    if (o->freeze_image && o->freeze_image_set)
        return error_set(
            err, ERR_USAGE,
            "align: either the image tower is frozen or a feature set stands for it, not both");
    return 0;
}

/* What does not act is said, and what cannot work is refused. */
static int prepare(struct alignment *a, const struct report *report, struct error *err)
{
    struct setup *s = a->setup;
    const struct align_options *o = a->o;
    struct student *student = s->student;
    if (!student->text.tower)
        return error_set(err, ERR_DATA, "align needs a text tower; %s has none", o->init);
    if (!student->image.tower && !o->freeze_image_set)
        return error_set(err, ERR_DATA,
                         "align needs an image tower, or --freeze-image SET whose cached features "
                         "stand for one");
    student->image.frozen = o->freeze_image;
    student->text.frozen = o->freeze_text;
    if (o->weight_keep > 0 && s->n_text_sets == 0)
        report_warn(report, "align: the cache has no text features of the teacher; nothing keeps "
                            "the text tower in its space");
    if (o->weight_keep > 0 && s->n_image_sets == 0)
        report_warn(report, "align: the cache has no image features of the teacher; nothing keeps "
                            "the image tower in its space");
    if (o->weight_similarity > 0 && s->n_image_sets == 0)
        return error_set(err, ERR_USAGE,
                         "align: similarity distillation needs image features of the teacher in %s",
                         o->cache);
    a->dim = student->model->projection_dim;
    if (!student->image.tower && s->image_set[0]->dim != a->dim)
        return error_set(err, ERR_INCOMPATIBLE, "the text student gives %d values, set %s has %d",
                         a->dim, s->image_set[0]->name, s->image_set[0]->dim);
    a->max_n = o->batch;
    uint64_t n = (uint64_t)a->max_n * (uint64_t)a->dim;
    a->image = memory_array(n, sizeof(float), MEMORY_MAX_TENSOR, err);
    a->text = memory_array(n, sizeof(float), MEMORY_MAX_TENSOR, err);
    a->d_image = memory_array(n, sizeof(float), MEMORY_MAX_TENSOR, err);
    a->d_text = memory_array(n, sizeof(float), MEMORY_MAX_TENSOR, err);
    if (!a->image || !a->text || !a->d_image || !a->d_text) return ERR_NOMEM;
    int rc = add_keep(a, &student->image, err);
    if (rc == 0) rc = add_keep(a, &student->text, err);
    if (rc == 0) rc = student_prepare(student, &o->optimiser, !o->fixed_scale, o->seed, err);
    if (rc < 0) return rc;
    if (student->image.tower_block >= 0)
        student->optimiser.block[student->image.tower_block].lr_factor = o->lr_image;
    bool from_init = o->init && strcmp(o->init, "random");
    if (!isnan(o->log_scale))
        student->scale.w[0] = (float)o->log_scale;
    else if (s->teacher.logit_scale > 0)
        student->scale.w[0] = logf((float)s->teacher.logit_scale);
    else if (!from_init)
        student->scale.w[0] = (float)DEFAULT_LOG_SCALE;
    loader_multi_positive(s->loader, o->multi_positive);
    return 0;
}

static struct setup_options setup_of(const struct align_options *o)
{
    return (struct setup_options){.cache = o->cache,
                                  .out = o->out,
                                  .init = o->init,
                                  .image_arch = o->image_arch,
                                  .text_arch = o->text_arch,
                                  .need_text = true,
                                  .need_image = !o->freeze_image_set,
                                  .freeze_image_set = o->freeze_image_set,
                                  .languages = o->languages,
                                  .n_languages = o->n_languages,
                                  .source_names = o->source_names,
                                  .source_weights = o->source_weights,
                                  .n_source_weights = o->n_source_weights,
                                  .keep_vocab = o->keep_vocab,
                                  .tokenizer = o->tokenizer,
                                  .vocab_size = o->vocab_size,
                                  .n_views = o->n_views,
                                  .augment = o->augment,
                                  .token_drop = o->token_drop,
                                  .token_split = o->token_split,
                                  .seed = o->seed,
                                  .pixel_bytes = o->pixel_bytes,
                                  .numerics = o->numerics,
                                  .no_intermediate = true,
                                  .need_primary = o->weight_similarity > 0};
}

int align_run(const struct align_options *o, const struct report *report,
              struct align_result *result, struct error *err)
{
    *result = (struct align_result){0};
    struct setup_options so = setup_of(o);
    struct setup s = {0};
    struct alignment a = {.setup = &s, .o = o};
    int rc = check_options(o, err);
    if (rc < 0) return rc;
    rc = setup_begin(&s, &so, settings_of(o), report, err);
    if (rc == 0 && s.done) {
        result->was_done = true;
        result->summary = json_clone(s.checkpoint.summary);
        goto done;
    }
    if (rc == 0) rc = prepare(&a, report, err);
    if (rc == 0) rc = setup_resume(&s, o->keep_best, o->checkpoint_every, err);
    if (rc < 0) goto done;
    struct run_stage stage = {.name = "align",
                              .kind = LOADER_PAIRS,
                              .batch = o->batch,
                              .epochs = o->epochs,
                              .max_steps = o->max_steps,
                              .lr = o->lr,
                              .patience = o->patience,
                              .keep_best = o->keep_best,
                              .part = {&s.student->image, &s.student->text},
                              .context = &a,
                              .step = step,
                              .validate = validate};
    rc = run_stage(&s.run, 0, &stage, err);
    if (rc == 0) rc = setup_end(&s, &result->summary, err);
done:
    loader_batch_release(&a.val);
    memory_free(a.image);
    memory_free(a.text);
    memory_free(a.d_image);
    memory_free(a.d_text);
    setup_release(&s);
    return rc;
}
