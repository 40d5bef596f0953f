/* Drift that no checksum sees: a sample of a cache's vectors, computed again by the teacher.
 *
 *     struct recompute_options o = recompute_defaults();
 *     o.teacher = "AltCLIP"; o.share = 0.01;
 *     struct recompute_result r;
 *     rc = recompute_run(cache, &o, report, &r, &err);
 *     // r.sets[i]: n, min_cos, mean_cos, max_difference against its bound, worst_key, is_drifted
 *     recompute_result_release(&r);
 *
 * The sample is a pure function of the seed and of each vector's key and view: a vector belongs to a
 * share when its hash lies below it, and N are those with the N least hashes; at least one a set.
 * Settings are the set's own (max_tokens, view plan, EXIF, numerics). A set whose fingerprint the
 * teacher cannot give is stale, by component, and not computed.
 *
 * A vector u as it is stored is held against v as it is computed now. Where v is the vector that was
 * stored, 1 - cos(u, v) is at most the storage's bound e (q: epsilon; f16: 1e-6; f32: 0). Another
 * machine of the same numerics moves v by up to t (f32: 1e-5; bf16 and int8, also where they
 * were accepted: 1e-3). Angles add up, so that 1 - cos <= (sqrt(e) + sqrt(t))^2, no value of the unit vectors is
 * further apart than sqrt(2) (sqrt(e) + sqrt(t)), and norms agree within sqrt(2 t). A drift that
 * hides below e shows in the mean: what 1 - cos(u, v) exceeds that of v's own code by is drift, and
 * over the sample must be at most t + e / 10 (two rungs of the codec's ladder are a tenth of e).
 * Errors: as featurize has them; that a set has drifted is no error.
 * Threading: one thread; parallel inside. Results do not depend on the number of threads.
 */
#ifndef FEATURIZE_RECOMPUTE_H
#define FEATURIZE_RECOMPUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/digest.h"
#include "store/error.h"
#include "store/featureset.h"
#include "store/report.h"

struct recompute_options {
    const char *teacher;
    const char *prefix; /* only the sets PREFIX.TAP; NULL: all */
    double share;       /* of each set's vectors, 0..1; 0: n of them */
    uint64_t n;
    uint64_t seed;
    int n_threads; /* 0: as OpenMP has it */
};
struct recompute_options recompute_defaults(void); /* share 0.01, seed 1 */
/* "1%", "0.5%" or "200" into share or n; ERR_USAGE. */
int recompute_parse(const char *text, struct recompute_options *o, struct error *err) MUST_CHECK;

enum recompute_state { RECOMPUTE_DONE, RECOMPUTE_STALE, RECOMPUTE_IMPORTED, RECOMPUTE_OTHER };

struct recompute_set {
    char name[FEATURESET_NAME_MAX + 1];
    enum recompute_state state;
    uint64_t n;       /* vectors computed again */
    uint64_t n_equal; /* that give the stored code bit for bit */
    double min_cos, mean_cos;
    double max_difference; /* of two values of the unit vectors */
    double max_norm;       /* relative difference of norms */
    double mean_drift;     /* what 1 - cos exceeds that of the vector's own code by */
    double cos_bound, difference_bound, norm_bound, drift_bound;
    char worst_key[DIGEST_HEX]; /* of min_cos */
    uint32_t worst_view;
    bool is_drifted;
    char why[700]; /* what is stale or beyond its bound */
};

struct recompute_result {
    struct recompute_set *sets; /* owned: recompute_result_release */
    size_t n_sets;
};

int recompute_run(const char *cache, const struct recompute_options *o, const struct report *report,
                  struct recompute_result *result, struct error *err) MUST_CHECK;
void recompute_result_release(struct recompute_result *result);

#endif
