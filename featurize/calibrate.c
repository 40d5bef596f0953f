/* Finding or making a calibration, and the gate; see calibrate.h. */
#include "featurize/calibrate.h"

#include <math.h>
#include <string.h>

#include "featurize/corpussample.h"
#include "featurize/gemm.h"
#include "store/memory.h"

#define SCHEMA         "clipstill.calibration.1"
#define MAX_FILE_BYTES ((size_t)64 << 20)

static struct tower *tower_of(const struct calibrator *c)
{
    return c->identity->is_text ? c->model->text : c->model->image;
}

static const char *part_of(bool is_text)
{
    return is_text ? "text" : "image";
}

int calibrate_of_set(const struct params *p, const struct featureset_spec *spec,
                     struct calibration **c, struct error *err)
{
    char name[CALIBRATION_NAME];
    const char *numerics = json_text(json_get(spec->fingerprint, "numerics"), "");
    *c = NULL;
    if (identity_numerics_of(numerics) != NUMERICS_INT8) return 0;
    *c = calibration_read(p, json_get(json_get(spec->replay, "int8"), "layers"), spec->name, err);
    if (!*c) return ERR_DATA;
    if (!strcmp(calibration_name(*c, p, name), numerics)) return 0;
    calibration_free(*c);
    *c = NULL;
    return error_set(err, ERR_CORRUPT, "%s keeps calibration %s, but its fingerprint says %s",
                     spec->name, name, numerics);
}

/* NULL without error when the file is not there. */
static int read_file(const char *path, struct json **j, struct error *err)
{
    struct error why = {0};
    *j = json_read_file(path, MAX_FILE_BYTES, &why);
    if (!*j) return why.code == ERR_NOT_FOUND ? 0 : error_set(err, why.code, "%s", why.text);
    if (!strcmp(json_text(json_get(*j, "schema"), ""), SCHEMA)) return 0;
    json_free(*j);
    *j = NULL;
    return error_set(err, ERR_DATA, "%s is no calibration: expected \"schema\": \"%s\"", path,
                     SCHEMA);
}

int calibrate_read_file(const char *path, const struct tower *t, const uint8_t *weights,
                        struct calibration **c, struct error *err)
{
    struct json *j = NULL;
    char hex[DIGEST_HEX];
    *c = NULL;
    int rc = read_file(path, &j, err);
    const struct json *part = json_get(j, part_of(t->config.arch == ARCH_TEXT));
    const char *made_for = json_text(json_get(part, "weights"), "");
    if (rc < 0 || !part) goto done;
    if (weights) digest_to_hex(weights, hex);
    if (weights && strcmp(made_for, hex)) {
        rc = error_set(err, ERR_INCOMPATIBLE,
                       "%s was calibrated for the weights %.12s..., the teacher's are %.12s...: "
                       "give another file, or one that is not there yet",
                       path, made_for, hex);
        goto done;
    }
    *c = calibration_read(&t->params, json_get(part, "layers"), path, err);
    if (!*c) rc = ERR_DATA;
done:
    json_free(j);
    return rc;
}

/* Beside what the file has of the other tower. */
static int write_file(const struct calibrator *c, const char *path, struct error *err)
{
    const struct tower *t = tower_of(c);
    struct json *j = NULL, *part = json_new_object();
    char hex[DIGEST_HEX];
    int rc = read_file(path, &j, err);
    if (!j) j = json_new_object();
    digest_to_hex(c->identity->weights, hex);
    json_set_string(part, "weights", hex);
    json_set(part, "layers", calibration_json(t->calibration, &t->params));
    json_set_string(j, "schema", SCHEMA);
    json_set(j, part_of(c->identity->is_text), part);
    if (rc == 0) rc = json_write_file(path, j, err);
    json_free(j);
    return rc;
}

/* Of the given set, if it is of this teacher's tower and in int8. */
static int take_from(struct calibrator *c, const struct featureset *fs, struct error *err)
{
    struct calibration *found = NULL;
    const struct featureset_spec *spec = featureset_spec(fs);
    char hex[DIGEST_HEX];
    digest_to_hex(c->identity->weights, hex);
    if (strcmp(json_text(json_get(spec->fingerprint, "weights"), ""), hex)) return 0;
    int rc = calibrate_of_set(&tower_of(c)->params, spec, &found, err);
    if (rc == 0 && found) tower_calibrate(tower_of(c), found);
    return rc;
}

/* Whether this run has the set of that name open, which may be for writing. */
static bool is_open(struct featureset *const *sets, int n, const char *name)
{
    for (int k = 0; k < n; k++)
        if (sets[k] && !strcmp(featureset_spec(sets[k])->name, name)) return true;
    return false;
}

/* Of any set but those that are open, which have been asked. */
static int find_in_cache(struct calibrator *c, const char *cache, struct featureset *const *sets,
                         int n_sets, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = featureset_list(cache, &names, &n, err);
    for (size_t i = 0; rc == 0 && !tower_of(c)->calibration && i < n; i++) {
        struct featureset *fs = NULL;
        if (is_open(sets, n_sets, names[i])) continue;
        rc = featureset_open(&fs, cache, names[i], FEATURESET_READ, err);
        if (rc == 0) rc = take_from(c, fs, err);
        featureset_close(fs);
    }
    memory_free(names);
    return rc;
}

static int find(struct calibrator *c, const char *cache, struct featureset *const *sets, int n,
                struct error *err)
{
    struct calibration *found = NULL;
    const char *path = c->options->calibration;
    int rc = path ? calibrate_read_file(path, tower_of(c), c->identity->weights, &found, err) : 0;
    if (found) tower_calibrate(tower_of(c), found);
    for (int k = 0; rc == 0 && k < n && !tower_of(c)->calibration; k++)
        if (sets[k]) rc = take_from(c, sets[k], err);
    if (rc == 0) rc = find_in_cache(c, cache, sets, n, err);
    return rc == 0 && c->options->out ? find_in_cache(c, c->options->out, sets, n, err) : rc;
}

/* Vectors of the taps to be measured, in both numerics. */
struct measure {
    struct corpussample sample;
    struct tap taps[RUNNER_MAX_TAPS + 1];
    int which[RUNNER_MAX_TAPS + 1], n;  /* index of the caller's tap, or -1 */
    float *out[2][RUNNER_MAX_TAPS + 1]; // (sample.n, width) f32, then int8
};

static void measure_free(struct measure *m)
{
    if (!m) return;
    for (int k = 0; k < m->n; k++) {
        memory_free(m->out[0][k]);
        memory_free(m->out[1][k]);
    }
    corpussample_release(&m->sample);
    memory_free(m);
}

static int measure_init(struct measure *m, const struct calibrator *c, struct error *err)
{
    int rc = corpussample_take(&m->sample, c->corpus, c->identity, c->options, err);
    for (int k = 0; rc == 0 && k < m->n; k++)
        for (int i = 0; i < 2 && rc == 0; i++) {
            uint64_t width = (uint64_t)runner_width(tower_of(c), &m->taps[k]);
            m->out[i][k] = memory_array((uint64_t)m->sample.n, width * sizeof(float),
                                        MEMORY_MAX_TENSOR, err);
            if (!m->out[i][k]) rc = ERR_NOMEM;
        }
    return rc;
}

/* The f32 tower over the sample; without a calibration it is observed, and gets one. */
static int run_f32(struct calibrator *c, struct measure *m, struct error *err)
{
    struct tower *t = tower_of(c);
    struct observed *seen = t->calibration ? NULL : observed_new(&t->params, err);
    if (!seen && !t->calibration) return ERR_NOMEM;
    int rc = tower_pack(t, NUMERICS_F32, err);
    if (rc == 0) packed_observe(t->packed, seen);
    if (rc == 0)
        rc = corpussample_run(&m->sample, c->model, NUMERICS_F32, c->options->n_threads, m->taps,
                              m->n, m->out[0], err);
    if (rc == 0 && seen) {
        tower_calibrate(t, calibration_new(&t->params, seen, err));
        rc = t->calibration ? 0 : ERR_DATA;
    }
    if (t->packed) packed_observe(t->packed, NULL);
    observed_free(seen);
    return rc;
}

static double cosine(const float *a, const float *b, int64_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

/* A NaN is the least of all. */
static struct agreement compare(const float *a, const float *b, int n, int64_t width)
{
    struct agreement g = {.n = n, .min = 1};
    for (int i = 0; i < n; i++) {
        double cos = cosine(a + i * width, b + i * width, width);
        g.mean += cos / n;
        if (!(cos >= g.min)) g.min = cos;
    }
    return g;
}

static int judge(struct calibrator *c, const struct measure *m, struct error *err)
{
    double least = c->options->min_cosine;
    for (int k = 0; k < m->n; k++) {
        char name[64];
        struct agreement g = compare(m->out[0][k], m->out[1][k], m->sample.n,
                                     runner_width(tower_of(c), &m->taps[k]));
        if (m->which[k] >= 0) c->agreement[m->which[k]] = g;
        if (g.min >= least) continue;
        tap_name(&m->taps[k], c->identity->is_text, name, sizeof name);
        return error_set(
            err, ERR_BUDGET,
            "%s: over %d %s the least cosine of int8 to f32 is %.5f (mean %.5f), below %.9g, and "
            "nothing was made: take bf16 or f32, or say what you accept with --min-cosine",
            name, g.n, c->identity->is_text ? "captions" : "pictures", g.min, g.mean, least);
    }
    return 0;
}

static int measure_all(struct calibrator *c, struct measure *m, struct error *err)
{
    const char *what = c->identity->is_text ? "calibrate captions" : "calibrate images";
    bool make = !tower_of(c)->calibration;
    int rc = measure_init(m, c, err);
    report_progress(c->report, what, 0, 2, 0, 0);
    if (rc == 0) rc = run_f32(c, m, err);
    report_progress(c->report, what, 1, 2, 0, 0);
    if (rc == 0 && report_stopped(c->report))
        rc = error_set(err, ERR_STOPPED, "stopped while int8 was calibrated; nothing was made");
    if (rc == 0) rc = tower_pack(tower_of(c), NUMERICS_INT8, err);
    if (rc == 0)
        rc = corpussample_run(&m->sample, c->model, NUMERICS_INT8, c->options->n_threads, m->taps,
                              m->n, m->out[1], err);
    if (rc == 0) rc = judge(c, m, err);
    report_progress(c->report, what, 2, 2, 0, 0);
    if (rc == 0 && make && c->options->calibration && !c->options->dry_run)
        rc = write_file(c, c->options->calibration, err);
    return rc;
}

/* The taps that are new, or all of them when sets of other numerics are to be completed in int8 with
 * a calibration of a file that is not there yet; and where one is to be made the whole tower must be
 * seen. */
static void list_taps(const struct calibrator *c, struct featureset *const *sets,
                      const struct tap *taps, int n, struct measure *m)
{
    bool final = false, make = !tower_of(c)->calibration,
         all = make && c->options->accept_numerics && c->options->calibration;
    for (int k = 0; k < n; k++) {
        if ((sets[k] && !all) || c->agreement[k].n) continue;
        m->which[m->n] = k;
        m->taps[m->n++] = taps[k];
        final |= taps[k].kind == TAP_FINAL;
    }
    if (m->n == 0 || final || !make) return;
    m->which[m->n] = -1;
    m->taps[m->n++] = (struct tap){.kind = TAP_FINAL};
}

int calibrate_sets(struct calibrator *c, const char *cache, struct featureset *const *sets,
                   const struct tap *taps, int n, struct error *err)
{
    int rc = tower_of(c)->calibration ? 0 : find(c, cache, sets, n, err);
    if (rc < 0) return rc;
    struct measure *m = memory_array(1, sizeof *m, MEMORY_MAX_SMALL, err);
    if (!m) return ERR_NOMEM;
    list_taps(c, sets, taps, n, m);
    if (m->n) rc = measure_all(c, m, err);
    measure_free(m);
    return rc;
}

struct json *calibrate_json(const struct calibrator *c, int k)
{
    const struct tower *t = tower_of(c);
    struct json *j = json_new_object();
    json_set(j, "layers", calibration_json(t->calibration, &t->params));
    json_set_int(j, "sample", c->agreement[k].n);
    json_set_number(j, "cosine_mean", c->agreement[k].mean);
    json_set_number(j, "cosine_min", c->agreement[k].min);
    json_set_number(j, "min_cosine", c->options->min_cosine);
    return j;
}
