/* The feature sets of one tower in one run: which tap goes into which set, opened, checked or made.
 *
 *     tapsets_open(&ts, cache, o, &identity, results, &err);       // numerics are settled here
 *     featureset_has(ts.list[i].fs, ...); tapset_put(&ts.list[i], ...)
 *     tapsets_close(&ts);
 *
 * The fingerprint is featurize/identity.h's; `replay` holds what training needs once the teacher's folder is gone. Only featurize/featurize.c
 * and its two passes use this.
 */
#ifndef FEATURIZE_TAPSET_H
#define FEATURIZE_TAPSET_H

#include "featurize/calibrate.h"
#include "featurize/featurize.h"
#include "featurize/forecast.h"
#include "featurize/identity.h"
#include "featurize/runner.h"

struct tapset {
    struct tap tap;
    struct featurize_set *result; /* borrowed: counts */
    struct featureset *base;      /* the cache's own, when the set lies elsewhere; NULL */
    struct featureset *fs;        /* NULL in a dry run when the set is not there yet */
    bool numerics_noted;          /* featureset_accept was called in this run */
    int64_t dim;
    enum codec_storage storage;
    float epsilon;
    struct forecast forecast; /* of a dry run */
};

struct tapsets {
    struct tapset list[RUNNER_MAX_TAPS];
    int n;
    bool is_text;
    bool is_dry; /* nothing is stored: what is put is a sample for the forecast */
    enum numerics numerics;
    char says[CALIBRATION_NAME];     /* the same, as the fingerprint has it */
    const struct identity *identity; /* borrowed */
};

/* Opens or makes the sets of the taps in o that belong to id's tower; results: one element a tap of
 * the tower, in order. calibrator: of this tower, for int8. ERR_INCOMPATIBLE names the component. In a dry run nothing is made. */
int tapsets_open(struct tapsets *ts, const char *cache, const struct featurize_options *o,
                 const struct identity *id, struct calibrator *calibrator,
                 struct featurize_set *results, struct error *err) MUST_CHECK;
void tapsets_close(struct tapsets *ts);
/* missing[i] = 1 where a set of this view lacks record i, per tap in bits (bit k: tap k). Counts hits. */
int tapsets_missing(struct tapsets *ts, uint32_t view, int n, const uint32_t *numbers,
                    const uint8_t (*keys)[DIGEST_BYTES], uint64_t *missing, uint8_t *scratch,
                    struct error *err) MUST_CHECK;
/* Stores what bit k of missing asks for; in a dry run codes a block of it and forgets it. // vectors: (n,
 * dim), compacted in place */
int tapset_put(struct tapsets *ts, int k, uint32_t view, int n, const uint32_t *numbers,
               const uint8_t (*keys)[DIGEST_BYTES], const uint64_t *missing, float *vectors,
               struct error *err) MUST_CHECK;
/* Before anything is computed: what tapset_estimate says of a new set rests on made-up vectors. */
int tapset_presume(struct tapset *t, struct error *err) MUST_CHECK;
/* Bytes that n vectors in so many views will take on disk: as those that are there, or as the
 * sample. n_fixed_bytes: of a tokenizer, for a new set. */
uint64_t tapset_estimate(const struct tapset *t, uint64_t n, uint32_t n_views, uint64_t n_fixed_bytes);

#endif
