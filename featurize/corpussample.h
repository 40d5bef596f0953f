/* A fixed sample of a corpus, ready to be run through a tower: the records with the least keys,
 * which are digests, so that the choice is random but the same for everyone with this corpus.
 *
 *     struct corpussample s;
 *     corpussample_take(&s, corpus, identity, options, &err);   // decodes, or tokenises
 *     corpussample_run(&s, model, tower, numerics, n_threads, taps, n_taps, out, &err);
 *     corpussample_release(&s);
 *
 * Pictures by the teacher's own preprocessing (view 0), without those that cannot be decoded;
 * captions of the languages in options, cut at the identity's max_tokens.
 * Threading: one caller; parallel inside.
 */
#ifndef FEATURIZE_CORPUSSAMPLE_H
#define FEATURIZE_CORPUSSAMPLE_H

#include "featurize/identity.h"
#include "featurize/runner.h"
#include "store/corpus.h"

#define CORPUSSAMPLE_PICTURES 64
#define CORPUSSAMPLE_CAPTIONS 256

struct corpussample {
    bool is_text;
    int n;
    uint8_t *pixels; // (n, S, S, 3)
    int32_t *ids;    // concatenated
    int32_t offsets[CORPUSSAMPLE_CAPTIONS + 1];
};

/* ERR_USAGE when the corpus has nothing to take. Valid (and to be released) after every return. */
int corpussample_take(struct corpussample *s, struct corpus *c, const struct identity *id,
                      const struct featurize_options *o, struct error *err) MUST_CHECK;
void corpussample_release(struct corpussample *s);
/* out[k]: (n, runner_width of tap k). The tower is packed for `numerics`. */
int corpussample_run(const struct corpussample *s, const struct model *m, enum numerics numerics,
                     int n_threads, const struct tap *taps, int n_taps, float *const *out,
                     struct error *err) MUST_CHECK;

#endif
