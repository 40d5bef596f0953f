/* The featurise stage: options, order of work, counts; see featurize.h. What happens a picture is
 * imagepass.c, a caption textpass.c, a set tapset.c. */
#include "featurize/featurize.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "featurize/imagepass.h"
#include "featurize/model.h"
#include "featurize/strangers.h"
#include "featurize/survey.h"
#include "featurize/tapset.h"
#include "featurize/textpass.h"
#include "store/corpus.h"
#include "store/memory.h"

static const char *const default_taps[] = {"image.final", "text.final"};

struct featurize_options featurize_defaults(void)
{
    return (struct featurize_options){.taps = default_taps,
                                      .n_taps = 2,
                                      .n_views = 1,
                                      .plan = view_plan_default(),
                                      .numerics = FEATURIZE_AUTO,
                                      .shard = {0, 1},
                                      .min_cosine = 0.99,
                                      .apply_orientation = true};
}

int featurize_parse_numerics(const char *text, enum featurize_numerics *numerics, struct error *err)
{
    static const char *const names[] = {"auto", "f32", "bf16", "int8"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(text, names[i])) return *numerics = (enum featurize_numerics)i, 0;
    return error_set(err, ERR_USAGE, "numerics \"%s\": expected auto, f32, bf16 or int8", text);
}

/* The towers that the taps ask for; every tap once. */
static int parts_of(const struct featurize_options *o, int *parts, struct error *err)
{
    for (size_t i = 0; i < o->n_taps; i++) {
        struct tap tap;
        bool is_text;
        int rc = tap_parse(o->taps[i], &tap, &is_text, err);
        if (rc < 0) return rc;
        *parts |= is_text ? MODEL_TEXT : MODEL_IMAGE;
        for (size_t k = 0; k < i; k++)
            if (!strcmp(o->taps[i], o->taps[k]))
                return error_set(err, ERR_USAGE, "tap %s is asked for twice", o->taps[i]);
    }
    return 0;
}

static int check_options(const struct featurize_options *o, int *parts, struct error *err)
{
    enum codec_storage storage;
    float epsilon;
    if (!o->teacher) return error_set(err, ERR_USAGE, "featurize needs a teacher's folder");
    if (o->n_taps < 1 || o->n_taps > RUNNER_MAX_TAPS)
        return error_set(err, ERR_USAGE, "%zu taps: 1 to %d expected", o->n_taps, RUNNER_MAX_TAPS);
    if (o->n_views < 1 || o->n_views > FEATURESET_MAX_VIEWS)
        return error_set(err, ERR_USAGE, "%u views: 1 to %d expected", o->n_views,
                         FEATURESET_MAX_VIEWS);
    if (o->store) {
        int rc = codec_parse(o->store, &storage, &epsilon, err);
        if (rc < 0) return rc;
    }
    int rc = view_plan_check(&o->plan, err);
    return rc < 0 ? rc : parts_of(o, parts, err);
}

static int check_model(const struct featurize_options *o, const struct model *m, int parts,
                       struct error *err)
{
    if ((parts & MODEL_IMAGE && !m->image) || (parts & MODEL_TEXT && !m->text))
        return error_set(err, ERR_USAGE, "%s has no %s tower, but a tap asks for it", o->teacher,
                         m->image ? "text" : "image");
    if (parts & MODEL_TEXT && o->max_tokens > tower_max_tokens(&m->text->config))
        return error_set(err, ERR_USAGE, "max_tokens %d: this teacher takes at most %d",
                         o->max_tokens, tower_max_tokens(&m->text->config));
    if (o->max_tokens < 0 || o->max_tokens == 1)
        return error_set(
            err, ERR_USAGE,
            "max_tokens %d: at least 2 expected (<s> and </s>), or 0 for the teacher's own limit",
            o->max_tokens);
    return 0;
}

static void finish_counts(struct tapsets *ts, const struct featurize_options *o,
                          const struct model *m, struct featurize_result *r)
{
    size_t n_tokenizer = 0;
    if (ts->is_text && m->tokenizer) (void)tokenizer_model(m->tokenizer, &n_tokenizer);
    for (int k = 0; k < ts->n; k++) {
        struct tapset *t = &ts->list[k];
        if (o->dry_run) {
            t->result->stored_bytes = tapset_estimate(t, t->result->n_computed,
                                                      ts->is_text ? 1 : o->n_views, n_tokenizer);
            t->result->as_f32_bytes = t->result->n_computed * (uint64_t)t->dim * sizeof(float);
        } else if (t->fs) {
            featureset_bytes(t->fs, &t->result->stored_bytes, &t->result->as_f32_bytes);
        }
        r->n_computed += t->result->n_computed;
        r->n_hits += t->result->n_hits;
    }
    r->n_sets += (size_t)ts->n;
    if (!*r->numerics) snprintf(r->numerics, sizeof r->numerics, "%.4s", ts->says);
}

/* What all towers of a run share. */
struct work {
    const char *cache;
    struct corpus *corpus;
    const struct featurize_options *o;
    struct model *model;
    const struct report *report;
    struct featurize_result *result;
    struct featurize_plan plan;
    struct identity id[2]; /* of each tower that a tap asks for */
    struct calibrator int8[2];
    int n;
};

/* Counts what is missing, if anybody wants to know it. */
static int look(struct work *w, struct tapsets *ts, const struct roll *roll, struct error *err)
{
    struct survey *s = ts->is_text ? &w->plan.texts : &w->plan.pictures;
    if (w->o->dry_run || !w->o->planned) return 0;
    int rc = survey_take(s, ts, roll, w->o, w->model, err);
    /* refused before it is announced, as it would be afterwards */
    struct tower *t = ts->is_text ? w->model->text : w->model->image;
    if (rc == 0 && s->n_missing && ts->numerics == NUMERICS_INT8 && !t->calibration)
        rc = tower_pack(t, NUMERICS_INT8, err);
    for (int k = 0; k < ts->n; k++)
        ts->list[k].result->n_hits = 0; /* the pass counts them itself */
    return rc;
}

static int pass(struct work *w, struct tapsets *ts, const struct roll *roll, struct error *err)
{
    struct featurize_result *r = w->result;
    int rc = ts->is_text ? textpass_run(ts, roll, w->o, w->model, w->report, &r->texts, err)
                         : imagepass_run(ts, roll, w->o, w->model, w->report, &r->pictures,
                                         &r->n_skipped, err);
    tower_unpack(ts->is_text ? w->model->text
                             : w->model->image); /* before the next one's are made */
    finish_counts(ts, w->o, w->model, r);
    return rc;
}

/* The sets of tower i, opened or made, and worked off. check_only: opened as a dry run does, so that a
 * set of another origin is found, and what is missing counted, before hours are spent on the first. */
static int run_tower(struct work *w, int i, bool check_only, struct error *err)
{
    struct featurize_options o = *w->o;
    struct roll roll = {0};
    o.dry_run |= check_only;
    struct tapsets *ts = memory_array(1, sizeof *ts, MEMORY_MAX_SMALL, err);
    if (!ts) return ERR_NOMEM;
    int rc = tapsets_open(ts, w->cache, &o, &w->id[i], &w->int8[i],
                          w->result->sets + w->result->n_sets, err);
    if (rc == 0) rc = roll_open(&roll, w->corpus, &o, ts->is_text, err);
    if (rc == 0 && (check_only || i == 0)) rc = look(w, ts, &roll, err);
    if (rc == 0 && !check_only) {
        if (i == 0 && w->plan.pictures.n_missing + w->plan.texts.n_missing) w->o->planned(&w->plan);
        rc = pass(w, ts, &roll, err);
    }
    roll_release(&roll);
    tapsets_close(ts);
    memory_free(ts);
    return rc;
}

static int run_towers(struct work *w, int parts, struct error *err)
{
    char *caption_rule = NULL;
    int rc = corpus_caption_rule(w->corpus, &caption_rule, err);
    for (int part = MODEL_IMAGE; part <= MODEL_TEXT && rc == 0; part++)
        if (parts & part)
            rc = identity_of(&w->id[w->n++], w->model, w->o->teacher, w->o, part == MODEL_TEXT,
                             caption_rule, err);
    for (int i = 0; i < w->n; i++)
        w->int8[i] = (struct calibrator){w->corpus, w->model, &w->id[i], w->o, w->report, {{0}}};
    for (int i = 1; i < w->n && rc == 0; i++) rc = run_tower(w, i, true, err);
    for (int i = 0; i < w->n && rc == 0; i++) rc = run_tower(w, i, false, err);
    memory_free(caption_rule);
    return rc;
}

int featurize_run(const char *cache, const struct featurize_options *o, const struct report *report,
                  struct featurize_result *result, struct error *err)
{
    struct corpus *c = NULL;
    struct model *m = NULL;
    int parts = 0;
    *result = (struct featurize_result){0};
    int rc = check_options(o, &parts, err);
    if (rc < 0) goto done;
    result->sets = memory_array(o->n_taps, sizeof *result->sets, MEMORY_MAX_SMALL, err);
    if (!result->sets) {
        rc = ERR_NOMEM;
        goto done;
    }
    rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = model_open(&m, o->teacher, parts | MODEL_MAPPED, err);
    if (rc == 0) strangers_warn(m, report);
    if (rc == 0) rc = check_model(o, m, parts, err);
    if (rc < 0) goto done;
    m->preprocess.apply_orientation &= o->apply_orientation;
    struct work w = {
        .cache = cache,
        .corpus = c,
        .o = o,
        .model = m,
        .report = report,
        .result = result,
        .plan = {.n_views = o->n_views,
                 .n_threads = o->n_threads > 0 ? o->n_threads : omp_get_max_threads()}};
    rc = run_towers(&w, parts, err);
done:
    model_free(m);
    corpus_close(c);
    return rc;
}

void featurize_result_release(struct featurize_result *result)
{
    memory_free(result->sets);
    *result = (struct featurize_result){0};
}
