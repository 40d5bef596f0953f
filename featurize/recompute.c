/* A sample of vectors, computed again; see recompute.h. Which vectors is recomputesample.c, how they
 * are computed recomputerun.c; here is what is compared with what. */
#include "featurize/recompute.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "featurize/calibrate.h"
#include "featurize/identity.h"
#include "featurize/recompute_inside.h"
#include "store/corpus.h"
#include "store/fingerprint.h"
#include "store/memory.h"

#define TOLERANCE_F32                                                                              \
    1e-5 /* of 1 - cos between two machines: DESIGN's measure against the reference */
#define TOLERANCE_BF16 1e-3
#define BOUND_F16      1e-6

struct recompute_options recompute_defaults(void)
{
    return (struct recompute_options){.share = 0.01, .seed = 1};
}

int recompute_parse(const char *text, struct recompute_options *o, struct error *err)
{
    char *end;
    errno = 0;
    double x = strtod(text, &end);
    bool is_share = end > text && !strcmp(end, "%");
    if (end > text && !errno && is_share && x > 0 && x <= 100) {
        o->share = x / 100;
        o->n = 0;
        return 0;
    }
    if (end > text && !errno && !*end && x >= 1 && x <= 1e15 && x == floor(x)) {
        o->share = 0;
        o->n = (uint64_t)x;
        return 0;
    }
    return error_set(err, ERR_USAGE,
                     "\"%.40s\" is no sample: a share as 1%%, or a number of vectors as 200", text);
}

/* Every set at once in one place: the teacher, its towers' identities, the corpus. */
struct check {
    const char *cache;
    const struct recompute_options *o;
    const struct report *report;
    struct corpus *corpus;
    char *caption_rule;
    struct model *model;
    bool orientation; /* as the teacher's own preprocessing has it */
    struct identity image, text;
    bool has_image, has_text; /* identities, made at first use */
};

static const char *text_of(const struct json *fingerprint, const char *name)
{
    return json_text(json_get(fingerprint, name), "");
}

/* The identity with the settings the set was made with. */
static int identity_as(struct check *c, const struct featureset_spec *spec, struct identity *id,
                       struct error *err)
{
    bool is_text = spec->tower == TOWER_TEXT;
    struct identity *known = is_text ? &c->text : &c->image;
    bool *has = is_text ? &c->has_text : &c->has_image;
    struct featurize_options o = featurize_defaults();
    const struct json *f = spec->fingerprint;
    if (is_text ? !c->model->text : !c->model->image)
        return error_set(err, ERR_DATA, "%s has no %s tower, but the cache has its features",
                         c->o->teacher, is_text ? "text" : "image");
    if (!*has) {
        int rc = identity_of(known, c->model, c->o->teacher, &o, is_text, c->caption_rule, err);
        if (rc < 0) return rc;
        *has = true;
    }
    *id = *known;
    int64_t max_tokens = json_int(json_get(f, "max_tokens"), 0);
    if (is_text && max_tokens >= 2 && max_tokens <= tower_max_tokens(&c->model->text->config))
        id->max_tokens = (int)max_tokens;
    if (is_text) return 0;
    int rc = view_plan_read(json_get(f, "view_plan"), spec->name, &id->plan, err);
    if (rc < 0) return rc;
    c->model->preprocess.apply_orientation =
        c->orientation &&
        json_bool(json_get(json_get(f, "preprocessing"), "apply_orientation"), true);
    return 0;
}

static enum numerics numerics_of(const struct featureset_spec *spec)
{
    return identity_numerics_of(text_of(spec->fingerprint, "numerics"));
}

/* What the bounds are, from storage and numerics. */
static int set_bounds(struct featureset *fs, struct recompute_set *set, struct error *err)
{
    const struct featureset_spec *spec = featureset_spec(fs);
    struct json *accepted = NULL;
    int rc = featureset_accepted(fs, &accepted, err);
    double e = spec->storage == STORAGE_Q     ? (double)spec->epsilon
               : spec->storage == STORAGE_F16 ? BOUND_F16
                                              : 0;
    bool rounds = numerics_of(spec) != NUMERICS_F32 || json_size(accepted);
    double t = rounds ? TOLERANCE_BF16 : TOLERANCE_F32, angle = sqrt(e) + sqrt(t);
    json_free(accepted);
    set->cos_bound = 1 - angle * angle;
    set->difference_bound = sqrt(2) * angle;
    set->norm_bound = sqrt(2 * t);
    set->drift_bound = t + e / 10;
    return rc;
}

/* Cosine and largest difference of two vectors as directions; zero is like zero alone. */
static double cosine(const float *u, const float *v, uint32_t dim, double *difference)
{
    double uv = 0, uu = 0, vv = 0;
    for (uint32_t j = 0; j < dim; j++) {
        uv += (double)u[j] * v[j];
        uu += (double)u[j] * u[j];
        vv += (double)v[j] * v[j];
    }
    double nu = sqrt(uu), nv = sqrt(vv);
    *difference = 0;
    if (nu == 0 || nv == 0) {
        *difference = nu == nv ? 0 : 1;
        return nu == nv ? 1 : 0;
    }
    for (uint32_t j = 0; j < dim; j++) {
        double d = fabs(u[j] / nu - v[j] / nv);
        if (d > *difference) *difference = d;
    }
    return uv / (nu * nv);
}

/* One vector: stored (unit, norm) against computed. */
static int compare_one(struct comparison *c, const struct sampled *s, const uint8_t *key,
                       const float *computed, struct error *err)
{
    struct recompute_set *set = c->set;
    float norm, own_norm;
    double difference, unused;
    int rc = featureset_get(c->cursor, s->view, s->number, key, c->stored, &norm, err);
    if (rc < 0) return rc;
    int kind = codec_encode(&c->codec, computed, c->code, &own_norm, err);
    if (kind < 0) return kind;
    if (!codec_decode(&c->codec, (enum codec_kind)kind, c->code, c->own))
        return error_set(err, ERR_CORRUPT, "a code that was just made is none");
    uint32_t dim = c->codec.dim;
    double cos = cosine(c->stored, computed, dim, &difference);
    double drift = cosine(c->own, computed, dim, &unused) - cos;
    bool equal = norm == own_norm && !memcmp(c->own, c->stored, dim * sizeof *c->own);
    double larger = norm > own_norm ? norm : own_norm;
    double norms = larger > 0 ? fabs((double)norm - own_norm) / larger : 0;
    if (set->n == 0 || cos < set->min_cos) {
        set->min_cos = cos;
        set->worst_view = s->view;
        digest_to_hex(key, set->worst_key);
    }
    set->n++;
    set->n_equal += equal;
    set->mean_cos += cos; /* sums until the end */
    set->mean_drift += drift;
    if (difference > set->max_difference) set->max_difference = difference;
    if (norms > set->max_norm) set->max_norm = norms;
    return 0;
}

int comparison_rows(struct comparison *c, size_t n, const struct sampled *s,
                    const uint8_t (*keys)[DIGEST_BYTES], const float *computed, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = compare_one(c, &s[i], keys[i], computed + i * c->codec.dim, err);
        if (rc < 0)
            error_prefix(err, "recomputing record %u, view %u of %s: ", s[i].number, s[i].view,
                         c->set->name);
    }
    return rc;
}

/* Means out of sums, and the verdict. */
static void conclude(struct recompute_set *set)
{
    if (set->n == 0) {
        snprintf(set->why, sizeof set->why, "it has no vectors");
        return;
    }
    set->mean_cos /= (double)set->n;
    set->mean_drift /= (double)set->n;
    if (!(set->min_cos >= set->cos_bound))
        snprintf(set->why, sizeof set->why,
                 "cosine %.9f of record %s, view %u, is below its bound %.9f", set->min_cos,
                 set->worst_key, set->worst_view, set->cos_bound);
    else if (!(set->max_norm <= set->norm_bound))
        snprintf(set->why, sizeof set->why, "a norm differs by %.3g of itself, its bound is %.3g",
                 set->max_norm, set->norm_bound);
    else if (!(set->mean_drift <= set->drift_bound))
        snprintf(set->why, sizeof set->why,
                 "the mean drift is %.3g of 1 - cos beyond the storage's own, its bound is %.3g; "
                 "worst is record %s, view %u",
                 set->mean_drift, set->drift_bound, set->worst_key, set->worst_view);
    set->is_drifted = *set->why != 0;
}

static int comparison_init(struct comparison *c, struct featureset *fs, struct recompute_set *set,
                           struct error *err)
{
    const struct featureset_spec *spec = featureset_spec(fs);
    *c = (struct comparison){.set = set};
    int rc = codec_init(&c->codec, spec->storage, spec->dim, spec->epsilon, err);
    if (rc < 0) return rc;
    c->cursor = featureset_cursor_new(fs, err);
    if (c->cursor) c->stored = memory_array(spec->dim, sizeof *c->stored, MEMORY_MAX_FILE, err);
    if (c->stored) c->own = memory_array(spec->dim, sizeof *c->own, MEMORY_MAX_FILE, err);
    if (c->own) c->code = memory_array(codec_capacity(&c->codec), 1, MEMORY_MAX_FILE, err);
    return c->code ? 0 : ERR_NOMEM;
}

static void comparison_release(struct comparison *c)
{
    featureset_cursor_free(c->cursor);
    memory_free(c->stored);
    memory_free(c->own);
    memory_free(c->code);
}

static bool has_prefix(const struct featureset_spec *spec, const char *prefix)
{
    size_t n = strlen(prefix);
    return !strncmp(spec->name, prefix, n) && spec->name[n] == '.' &&
           !strcmp(spec->name + n + 1, spec->tap);
}

/* Computes the sample of a set whose fingerprint the teacher gives. */
static int recompute(struct check *c, struct featureset *fs, const struct identity *id,
                     struct recompute_set *set, struct error *err)
{
    struct sampled *sample = NULL;
    struct comparison compare = {0};
    size_t n = 0;
    const struct featureset_spec *spec = featureset_spec(fs);
    struct recompute_job job = {.corpus = c->corpus,
                                .model = c->model,
                                .identity = id,
                                .numerics = numerics_of(spec),
                                .n_threads = c->o->n_threads,
                                .report = c->report};
    bool is_text;
    struct calibration *calibration = NULL;
    int rc = tap_parse(spec->tap, &job.tap, &is_text, err);
    struct tower *tower = id->is_text ? c->model->text : c->model->image;
    if (rc == 0) rc = calibrate_of_set(&tower->params, spec, &calibration, err);
    if (rc == 0) tower_calibrate(tower, calibration);
    if (rc == 0) rc = set_bounds(fs, set, err);
    if (rc == 0) rc = sample_of(c->corpus, fs, c->o, &sample, &n, err);
    if (rc == 0) rc = comparison_init(&compare, fs, set, err);
    if (rc == 0 && n) rc = recompute_job_run(&job, spec->dim, sample, n, &compare, err);
    if (rc == 0) conclude(set);
    comparison_release(&compare);
    memory_free(sample);
    return rc;
}

static int check_set(struct check *c, const char *name, struct recompute_set *set,
                     struct error *err)
{
    struct featureset *fs = NULL;
    struct identity id;
    char text[CALIBRATION_NAME];
    snprintf(set->name, sizeof set->name, "%s", name);
    int rc = featureset_open(&fs, c->cache, name, FEATURESET_READ, err);
    if (rc < 0) return rc;
    const struct featureset_spec *spec = featureset_spec(fs);
    if (!json_get(spec->fingerprint, "weights"))
        set->state = RECOMPUTE_IMPORTED;
    else if (c->o->prefix && !has_prefix(spec, c->o->prefix))
        set->state = RECOMPUTE_OTHER;
    if (set->state != RECOMPUTE_DONE) goto done;
    rc = identity_as(c, spec, &id, err);
    if (rc < 0) goto done;
    struct json *now = identity_fingerprint(&id, spec->tap, spec->storage, spec->epsilon,
                                            numerics_of(spec) == NUMERICS_INT8
                                                ? text_of(spec->fingerprint, "numerics")
                                                : identity_numerics(&id, numerics_of(spec), text));
    struct json *differences = fingerprint_compare(now, spec->fingerprint);
    if (json_size(differences)) {
        set->state = RECOMPUTE_STALE;
        fingerprint_say(differences, set->why, sizeof set->why);
    } else {
        rc = recompute(c, fs, &id, set, err);
    }
    json_free(differences);
    json_free(now);
done:
    featureset_close(fs);
    return rc;
}

/* The towers that the cache has sets of. */
static int parts_of(const char *cache, char *const *names, size_t n, int *parts, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct featureset *fs;
        rc = featureset_open(&fs, cache, names[i], FEATURESET_READ, err);
        if (rc < 0) break;
        const struct featureset_spec *spec = featureset_spec(fs);
        if (json_get(spec->fingerprint, "weights"))
            *parts |= spec->tower == TOWER_TEXT ? MODEL_TEXT : MODEL_IMAGE;
        featureset_close(fs);
    }
    return rc;
}

int recompute_run(const char *cache, const struct recompute_options *o, const struct report *report,
                  struct recompute_result *result, struct error *err)
{
    struct check c = {.cache = cache, .o = o, .report = report};
    char **names = NULL;
    size_t n = 0;
    int parts = 0;
    *result = (struct recompute_result){0};
    if (!o->teacher) return error_set(err, ERR_USAGE, "to recompute needs a teacher's folder");
    int rc = corpus_open(&c.corpus, cache, CORPUS_READ, err);
    if (rc == 0) rc = corpus_caption_rule(c.corpus, &c.caption_rule, err);
    if (rc == 0) rc = featureset_list(cache, &names, &n, err);
    if (rc == 0) rc = parts_of(cache, names, n, &parts, err);
    if (rc == 0) rc = model_open(&c.model, o->teacher, parts | MODEL_MAPPED, err);
    if (rc < 0) goto done;
    c.orientation = c.model->preprocess.apply_orientation;
    result->sets = memory_array(n, sizeof *result->sets, MEMORY_MAX_FILE, err);
    if (!result->sets) rc = ERR_NOMEM;
    for (size_t i = 0; i < n && rc == 0; i++) {
        result->n_sets++;
        rc = check_set(&c, names[i], &result->sets[i], err);
    }
done:
    memory_free(names);
    memory_free(c.caption_rule);
    model_free(c.model);
    corpus_close(c.corpus);
    return rc;
}

void recompute_result_release(struct recompute_result *result)
{
    memory_free(result->sets);
    *result = (struct recompute_result){0};
}
