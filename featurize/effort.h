/* What one pass over a corpus costs and where its time goes: the bottleneck that featurize names.
 *
 *     double since = effort_now();
 *     ...decode...   effort_add(&e, EFFORT_PREPARE, &since);
 *     ...forward...  effort_add(&e, EFFORT_COMPUTE, &since); e.flop += n * effort_flop(...);
 *     ...what a batch gave is put beside the next one (featurize/scribe.h): EFFORT_STORE, and waited_s
 *
 * Time on the wall, for people only: it enters no result. Preparing, computing and waiting for the store
 * follow one another, so that their sum is the time of the pass but for the opening of the tower.
 */
#ifndef FEATURIZE_EFFORT_H
#define FEATURIZE_EFFORT_H

#include <stdint.h>

#include "featurize/tower.h"

enum effort_phase {
    EFFORT_PREPARE, /* pictures: read, decode, resize; captions: read, tokenise */
    EFFORT_COMPUTE, /* the forward pass */
    EFFORT_STORE,   /* code, compress, commit; beside the other two */
    EFFORT_PHASES
};

struct effort {
    uint64_t n_inputs; /* pictures, of every view, or captions that went through the tower */
    double flop;       /* of their products, as effort_flop counts */
    double seconds[EFFORT_PHASES];
    double waited_s; /* for what was being stored, with nothing else to do */
    /* In a dry run: what all that is missing would take, after the first batch of it. */
    double forecast_s;
};

/* Seconds on a clock that only goes forward. */
double effort_now(void);
/* Adds the time since *since to a phase, and moves *since to now. */
void effort_add(struct effort *e, enum effort_phase phase, double *since);
double effort_total_s(const struct effort *e);
/* Sets forecast_s after a part of the pass, when so many records are to be prepared and so many inputs to go
 * through the tower in all of it. */
void effort_foresee(struct effort *e, uint64_t n_records, uint64_t n_inputs);
/* What made the pass as long as it was: storing when it took longer than the two others, beside which it
 * goes, or else the longer one of these. */
enum effort_phase effort_limit(const struct effort *e);

/* Multiplications and additions of the matrix products of one input, attention included, up to the last
 * block that a tap asks for. n_tokens: of a text; of a picture they follow from the configuration. 0 for
 * MobileViT, whose time is not in its products. */
double effort_flop(const struct tower_config *c, int n_tokens, const struct tap *taps, int n_taps);

#endif
