/* Sets, fingerprints and what is missing in them; see tapset.h. */
#include "featurize/tapset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "featurize/gemm.h"
#include "store/file.h"
#include "store/fingerprint.h"
#include "store/memory.h"

/* Final vectors are compared with each other: 1e-4 is below any rank that matters. Intermediate
 * ones are targets of an adapter whose own residue is a hundred times 1e-3. Measured on 1,534
 * photos and image.block3@4x4 of the golden teacher (1,024 values), bytes against f32: f16 2.3
 * times smaller, q1e-4 4.8, q1e-3 6.4. */
#define STORE_FINAL "q1e-4"
#define STORE_INNER "q1e-3"

/* Owned. */
static struct json *replay_of(const struct tapsets *ts, const struct model *m)
{
    struct json *j = json_new_object();
    const char *name = json_text(json_get(m->config, "_name_or_path"), "");
    json_set_string(j, "teacher",
                    *name ? name : json_text(json_get(m->config, "model_type"), "unknown"));
    json_set_number(j, "logit_scale", m->logit_scale);
    json_set_int(j, "projection_dim", m->projection_dim);
    json_set_int(j, "blocks", tower_n_blocks(&(ts->is_text ? m->text : m->image)->config));
    if (ts->is_text) {
        json_set_int(j, "max_tokens", ts->identity->max_tokens);
    } else {
        json_set(j, "preprocessing", preprocess_json(&m->preprocess));
        json_set(j, "view_plan", view_plan_json(&ts->identity->plan));
    }
    return j;
}

/* The set where there is one; *fs NULL otherwise. */
static int open_existing(const char *cache, const char *name, enum featureset_mode mode,
                         struct featureset **fs, struct error *err)
{
    char path[2 * FEATURESET_NAME_MAX];
    snprintf(path, sizeof path, "features/%s", name);
    char *folder = file_join(cache, path, err);
    if (!folder) return ERR_NOMEM;
    bool is_there = file_is_folder(folder);
    memory_free(folder);
    return is_there ? featureset_open(fs, cache, name, mode, err) : 0;
}

static int open_both(struct tapset *t, const char *cache, const struct featurize_options *o,
                     struct error *err)
{
    const char *name = t->result->name;
    int rc = open_existing(o->out ? o->out : cache, name,
                           o->dry_run ? FEATURESET_READ : FEATURESET_WRITE, &t->fs, err);
    if (rc == 0 && o->out) rc = open_existing(cache, name, FEATURESET_READ, &t->base, err);
    t->result->is_new = !t->fs && !t->base;
    return rc;
}

/* The set that says what further features of it must be like; NULL for a new one. */
static struct featureset *model_of(const struct tapset *t)
{
    return t->base ? t->base : t->fs;
}

/* What was not asked for is taken from the sets that are there. */
static void settle_numerics(struct tapsets *ts, const struct featurize_options *o)
{
    if (o->numerics != FEATURIZE_AUTO) {
        ts->numerics = o->numerics == FEATURIZE_INT8   ? NUMERICS_INT8
                       : o->numerics == FEATURIZE_BF16 ? NUMERICS_BF16
                                                       : NUMERICS_F32;
        return;
    }
    ts->numerics = gemm_bf16_is_fast() ? NUMERICS_BF16 : NUMERICS_F32;
    for (int k = ts->n - 1; k >= 0 && !o->accept_numerics; k--) {
        struct featureset *fs = model_of(&ts->list[k]);
        if (!fs) continue;
        const char *was = json_text(json_get(featureset_spec(fs)->fingerprint, "numerics"), "");
        if (*was) ts->numerics = identity_numerics_of(was);
    }
}

/* int8: the calibration, and how well it does. The sets that are there say so themselves. */
static int settle_int8(struct tapsets *ts, const char *cache, struct calibrator *c,
                       struct error *err)
{
    struct featureset *sets[RUNNER_MAX_TAPS];
    struct tap taps[RUNNER_MAX_TAPS];
    for (int k = 0; k < ts->n; k++) {
        sets[k] = model_of(&ts->list[k]);
        taps[k] = ts->list[k].tap;
    }
    int rc = calibrate_sets(c, cache, sets, taps, ts->n, err);
    for (int k = 0; k < ts->n && rc == 0; k++) {
        struct featurize_set *r = ts->list[k].result;
        const struct json *was = sets[k] ? json_get(featureset_spec(sets[k])->replay, "int8")
                                         : NULL;
        r->n_sample = sets[k] ? (int)json_int(json_get(was, "sample"), 0) : c->agreement[k].n;
        r->cosine_mean = sets[k] ? json_number(json_get(was, "cosine_mean"), 0)
                                 : c->agreement[k].mean;
        r->cosine_min = sets[k] ? json_number(json_get(was, "cosine_min"), 0) : c->agreement[k].min;
    }
    return rc;
}

static int settle_storage(struct tapset *t, const struct featurize_options *o, struct error *err)
{
    if (!o->store && model_of(t)) {
        t->storage = featureset_spec(model_of(t))->storage;
        t->epsilon = featureset_spec(model_of(t))->epsilon;
        return 0;
    }
    const char *store = o->store ? o->store : t->tap.kind == TAP_FINAL ? STORE_FINAL : STORE_INNER;
    return codec_parse(store, &t->storage, &t->epsilon, err);
}

static int create(struct tapsets *ts, struct tapset *t, const char *cache, const struct model *m,
                  const struct json *fingerprint, struct json *int8, struct error *err)
{
    struct json *replay = replay_of(ts, m);
    if (int8) json_set(replay, "int8", int8);
    struct featureset_spec spec = {.tower = ts->is_text ? TOWER_TEXT : TOWER_IMAGE,
                                   .dim = (uint32_t)t->dim,
                                   .grid = t->tap.kind == TAP_GRID ? (uint32_t)t->tap.grid : 0,
                                   .storage = t->storage,
                                   .epsilon = t->epsilon,
                                   .fingerprint = fingerprint,
                                   .replay = replay};
    snprintf(spec.name, sizeof spec.name, "%s", t->result->name);
    tap_name(&t->tap, ts->is_text, spec.tap, sizeof spec.tap);
    if (ts->is_text) spec.tokenizer = tokenizer_model(m->tokenizer, &spec.n_tokenizer);
    int rc = featureset_create(&t->fs, cache, &spec, err);
    json_free(replay);
    return rc;
}

/* What else can be done about a set that differs, after the sentence of featureset_check. */
static int refuse(const struct featureset *fs, const struct json *differences, int rc,
                  const struct error *why, struct error *err)
{
    const struct json *was = featureset_spec(fs)->fingerprint;
    char hint[120] = "";
    if (fingerprint_only(differences, "numerics"))
        snprintf(hint, sizeof hint,
                 ", or complete it in this precision with --accept-numerics, which is recorded");
    if (fingerprint_only(differences, "max_tokens"))
        snprintf(hint, sizeof hint, ", or give --max-tokens %lld as it was made with",
                 (long long)json_int(json_get(was, "max_tokens"), 0));
    if (fingerprint_only(differences, "storage"))
        snprintf(hint, sizeof hint, ", or leave out --store: its own is taken");
    if (fingerprint_only(differences, "preprocessing.apply_orientation"))
        snprintf(hint, sizeof hint, ", or %s --no-exif: it was made %s",
                 json_bool(json_get(json_get(was, "preprocessing"), "apply_orientation"), true)
                     ? "leave out"
                     : "give",
                 json_bool(json_get(json_get(was, "preprocessing"), "apply_orientation"), true)
                     ? "without"
                     : "with it");
    const char *jitter = json_text(json_get(json_get(was, "view_plan"), "jitter"), NULL);
    bool by_jitter = fingerprint_only(differences, "view_plan.jitter");
    if (by_jitter && jitter)
        snprintf(hint, sizeof hint, ", or give --jitter %s as it was made with", jitter);
    if (by_jitter && !jitter)
        snprintf(hint, sizeof hint, ", or leave out --jitter: it was made without");
    return error_set(err, rc, "%.860s%s", why->text, hint);
}

/* The set's fingerprint against the one of this run. */
static int check(struct featureset *fs, const struct json *fingerprint,
                 const struct featurize_options *o, struct error *err)
{
    struct error why = {0};
    struct json *differences = fingerprint_compare(featureset_spec(fs)->fingerprint, fingerprint);
    int rc = o->accept_numerics && fingerprint_only(differences, "numerics")
                 ? 0
                 : featureset_check(fs, fingerprint, &why);
    if (rc < 0) rc = refuse(fs, differences, rc, &why, err);
    json_free(differences);
    return rc;
}

/* What a new set keeps of its calibration: as the cache's own has it, or as measured in this run. */
static struct json *int8_of(const struct tapset *t, const struct calibrator *c, int k)
{
    return t->base ? json_clone(json_get(featureset_spec(t->base)->replay, "int8"))
                   : calibrate_json(c, k);
}

static int open_one(struct tapsets *ts, int k, const char *cache, const struct featurize_options *o,
                    const struct calibrator *calibrator, struct error *err)
{
    struct tapset *t = &ts->list[k];
    char name[FEATURESET_NAME_MAX + 1];
    int rc = settle_storage(t, o, err);
    if (rc < 0) return rc;
    tap_name(&t->tap, ts->is_text, name, sizeof name);
    struct json *fingerprint = identity_fingerprint(ts->identity, name, t->storage, t->epsilon,
                                                    ts->says);
    if (t->base) rc = check(t->base, fingerprint, o, err);
    if (rc == 0 && t->fs) rc = check(t->fs, fingerprint, o, err);
    if (rc == 0 && !t->fs && !o->dry_run)
        rc = create(ts, t, o->out ? o->out : cache, ts->identity->model, fingerprint,
                    ts->numerics == NUMERICS_INT8 ? int8_of(t, calibrator, k) : NULL, err);
    json_free(fingerprint);
    return rc;
}

static int add_tap(struct tapsets *ts, const char *name, const struct featurize_options *o,
                   const struct tower *tower, struct featurize_set *result, struct error *err)
{
    struct tapset *t = &ts->list[ts->n];
    bool is_text;
    *t = (struct tapset){.result = result};
    int rc = tap_parse(name, &t->tap, &is_text, err);
    if (rc < 0) return rc;
    t->dim = t->tap.block > tower_n_blocks(&tower->config) ? 0 : runner_width(tower, &t->tap);
    if (t->dim == 0 && t->tap.kind == TAP_HIDDEN)
        return error_set(
            err, ERR_USAGE,
            "tap %s has all tokens of an input and cannot be kept: take .mean or a grid", name);
    if (t->dim == 0)
        return error_set(err, ERR_USAGE, "tap %s: the teacher's tower has blocks 0 to %d", name,
                         tower_n_blocks(&tower->config));
    int n = snprintf(result->name, sizeof result->name, "%s%s%s", o->prefix ? o->prefix : "",
                     o->prefix ? "." : "", name);
    if (n >= (int)sizeof result->name)
        return error_set(err, ERR_USAGE,
                         "the set's name \"%.40s...%s\" is longer than %d characters", o->prefix,
                         name, FEATURESET_NAME_MAX);
    ts->n++;
    return 0;
}

int tapsets_open(struct tapsets *ts, const char *cache, const struct featurize_options *o,
                 const struct identity *id, struct calibrator *calibrator,
                 struct featurize_set *results, struct error *err)
{
    int rc = 0;
    bool is_text = id->is_text;
    *ts = (struct tapsets){.is_text = is_text, .is_dry = o->dry_run, .identity = id};
    for (size_t i = 0; i < o->n_taps && rc == 0; i++)
        if (!strncmp(o->taps[i], is_text ? "text." : "image.", is_text ? 5 : 6))
            rc = add_tap(ts, o->taps[i], o, is_text ? id->model->text : id->model->image,
                         &results[ts->n], err);
    for (int k = 0; k < ts->n && rc == 0; k++) rc = open_both(&ts->list[k], cache, o, err);
    settle_numerics(ts, o);
    if (rc == 0 && ts->numerics == NUMERICS_INT8) rc = settle_int8(ts, cache, calibrator, err);
    identity_numerics(id, ts->numerics, ts->says);
    for (int k = 0; k < ts->n && rc == 0; k++) rc = open_one(ts, k, cache, o, calibrator, err);
    if (rc < 0) tapsets_close(ts);
    return rc;
}

void tapsets_close(struct tapsets *ts)
{
    for (int k = 0; k < ts->n; k++) {
        featureset_close(ts->list[k].fs);
        featureset_close(ts->list[k].base);
    }
    ts->n = 0;
}

/* Sets bit k of missing where neither set of tap k has the record. */
static int mark_missing(struct tapset *t, int k, uint32_t view, size_t n, const uint32_t *numbers,
                        const uint8_t (*keys)[DIGEST_BYTES], uint64_t *missing, uint8_t *has,
                        struct error *err)
{
    struct featureset *const sets[] = {t->fs, t->base};
    for (size_t i = 0; i < n; i++) missing[i] |= (uint64_t)1 << k;
    for (int s = 0; s < 2; s++) {
        if (!sets[s]) continue;
        int rc = featureset_has(sets[s], view, n, numbers, keys, has, err);
        if (rc < 0) return rc;
        for (size_t i = 0; i < n; i++)
            if (has[i]) missing[i] &= ~((uint64_t)1 << k);
    }
    for (size_t i = 0; i < n; i++) t->result->n_hits += !(missing[i] >> k & 1);
    return 0;
}

int tapsets_missing(struct tapsets *ts, uint32_t view, int n, const uint32_t *numbers,
                    const uint8_t (*keys)[DIGEST_BYTES], uint64_t *missing, uint8_t *has,
                    struct error *err)
{
    int rc = 0;
    memset(missing, 0, (size_t)n * sizeof *missing);
    for (int k = 0; k < ts->n && rc == 0; k++)
        rc = mark_missing(&ts->list[k], k, view, (size_t)n, numbers, keys, missing, has, err);
    return rc;
}

static bool all_finite(const float *x, int64_t n)
{
    bool finite = true;
    for (int64_t i = 0; i < n; i++) finite &= isfinite(x[i]) != 0;
    return finite;
}

/* The vectors that bit k of missing asks for, coded as the set would; nothing else. */
static int try_out(struct tapsets *ts, int k, int n, const uint64_t *missing, float *vectors,
                   struct error *err)
{
    struct tapset *t = &ts->list[k];
    struct codec codec;
    uint32_t grid = t->tap.kind == TAP_GRID ? (uint32_t)t->tap.grid : 0;
    int n_kept = 0;
    for (int i = 0; i < n; i++) {
        const float *row = vectors + (size_t)i * (size_t)t->dim;
        if (!(missing[i] >> k & 1) || !all_finite(row, t->dim)) continue;
        memmove(vectors + (size_t)n_kept++ * (size_t)t->dim, row, (size_t)t->dim * sizeof *row);
    }
    int rc = codec_init(&codec, t->storage, (uint32_t)t->dim, t->epsilon, err);
    return rc < 0 ? rc : forecast_sample(&t->forecast, &codec, grid, vectors, n_kept, err);
}

int tapset_put(struct tapsets *ts, int k, uint32_t view, int n, const uint32_t *numbers,
               const uint8_t (*keys)[DIGEST_BYTES], const uint64_t *missing, float *vectors,
               struct error *err)
{
    struct tapset *t = &ts->list[k];
    int rc = ERR_NOMEM, n_kept = 0;
    if (ts->is_dry) return try_out(ts, k, n, missing, vectors, err);
    uint32_t *kept = memory_array((uint64_t)n, sizeof *kept, MEMORY_MAX_FILE, err);
    uint8_t(*kept_keys)[DIGEST_BYTES] = memory_array((uint64_t)n, sizeof *kept_keys,
                                                     MEMORY_MAX_FILE, err);
    if (!kept || !kept_keys) goto done;
    for (int i = 0; i < n; i++) {
        const float *row = vectors + (size_t)i * (size_t)t->dim;
        if (!(missing[i] >> k & 1)) continue;
        if (!all_finite(row, t->dim)) {
            char hex[DIGEST_HEX];
            digest_to_hex(keys[i], hex);
            rc = error_set(
                err, ERR_DATA,
                "the teacher gives a NaN or an infinity for %s %.16s... (number %u, view %u) at "
                "%s%s: nothing of this batch was kept",
                ts->is_text ? "caption" : "image", hex, numbers[i], view, t->result->name,
                ts->numerics == NUMERICS_F32 ? "" : "; try --numerics f32 under another set name");
            goto done;
        }
        kept[n_kept] = numbers[i];
        memcpy(kept_keys[n_kept], keys[i], DIGEST_BYTES);
        if (n_kept < i)
            memcpy(vectors + (size_t)n_kept * (size_t)t->dim, row, (size_t)t->dim * sizeof *row);
        n_kept++;
    }
    /* what the set says of its numerics, before the first vector of this run */
    rc = n_kept && !t->numerics_noted ? featureset_accept(t->fs, ts->says, err) : 0;
    if (rc < 0) goto done;
    t->numerics_noted |= n_kept > 0;
    rc = n_kept ? featureset_put(t->fs, view, (size_t)n_kept, kept,
                                 (const uint8_t(*)[DIGEST_BYTES])kept_keys, vectors, err)
                : 0;
    if (rc == 0) t->result->n_computed += (uint64_t)n_kept;
done:
    memory_free(kept);
    memory_free(kept_keys);
    return rc;
}

int tapset_presume(struct tapset *t, struct error *err)
{
    struct codec codec;
    uint32_t grid = t->tap.kind == TAP_GRID ? (uint32_t)t->tap.grid : 0;
    int rc = codec_init(&codec, t->storage, (uint32_t)t->dim, t->epsilon, err);
    return rc < 0 ? rc : forecast_made_up(&t->forecast, &codec, grid, err);
}

uint64_t tapset_estimate(const struct tapset *t, uint64_t n, uint32_t n_views,
                         uint64_t n_fixed_bytes)
{
    uint64_t stored = 0, as_f32 = 0;
    if (n == 0) return 0;
    if (t->fs) featureset_bytes(t->fs, &stored, &as_f32);
    if (as_f32 >= FORECAST_VECTORS * (uint64_t)t->dim * sizeof(float))
        return (uint64_t)((double)stored / (double)as_f32 * (double)n * (double)t->dim * 4);
    /* without a sample, of what cannot be seen: as f32, with norms and key checks */
    if (!t->forecast.n_slots) return n * ((uint64_t)t->dim * 4 + 12);
    return forecast_bytes(&t->forecast, n, n_views, t->result->is_new ? n_fixed_bytes : 0);
}
