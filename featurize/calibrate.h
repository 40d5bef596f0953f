/* int8 in one run of featurize: the calibration is found or made, and what is new is measured
 * against f32 before anything is computed with it.
 *
 *     struct calibrator c = {.corpus = corpus, .model = m, .identity = &id, .options = o};
 *     calibrate_sets(&c, cache, sets, taps, n, &err);   // sets[k] NULL: tap k is new
 *     // the tower has its calibration; c.agreement[k] is what a new set keeps
 *     struct json *j = calibrate_json(&c, k);
 *
 * A calibration is taken from, in this order: options->calibration when that file is there; a set
 * of this run, or any other int8 set of the cache (or of options->out), with the same weights; else it is made from a
 * sample of the corpus (featurize/corpussample.h) as the f32 tower sees it, and written to
 * options->calibration. So every set of a tower in a cache has the same one, another night finds it
 * whatever has come to the corpus, and other machines are given the file.
 *
 * The gate: over the same sample, every int8 vector of a new tap is compared with the f32 one. When
 * the least cosine is below options->min_cosine, ERR_BUDGET, and nothing is made.
 */
#ifndef FEATURIZE_CALIBRATE_H
#define FEATURIZE_CALIBRATE_H

#include "featurize/calibration.h"
#include "featurize/identity.h"
#include "featurize/runner.h"
#include "store/corpus.h"

/* Cosines of int8 and f32 vectors of one tap over the sample. */
struct agreement {
    int n; /* 0: not measured */
    double mean, min;
};

struct calibrator {
    struct corpus *corpus; /* borrowed, as all here */
    struct model *model;
    const struct identity *identity;
    const struct featurize_options *options;
    const struct report *report;
    struct agreement agreement[RUNNER_MAX_TAPS]; /* by tap, as first asked for */
};

/* Where nothing is new and no calibration is found none is made: the sets are of other numerics. */
int calibrate_sets(struct calibrator *c, const char *cache, struct featureset *const *sets,
                   const struct tap *taps, int n, struct error *err) MUST_CHECK;
/* {"layers", "sample", "cosine_mean", "cosine_min", "min_cosine"} for the meta of new set k. Owned. */
struct json *calibrate_json(const struct calibrator *c, int k);
/* The calibration that a set was made with; *c NULL when it is not in int8. ERR_CORRUPT when it is
 * not what the set's fingerprint says. Owned. */
int calibrate_of_set(const struct params *p, const struct featureset_spec *spec,
                     struct calibration **c, struct error *err) MUST_CHECK;
/* A tower's calibration out of a file, for weights with this digest (NULL: not looked at); *c NULL
 * when the file is not there, or has none of this tower. */
int calibrate_read_file(const char *path, const struct tower *t, const uint8_t *weights,
                        struct calibration **c, struct error *err) MUST_CHECK;

#endif
