/* What one pass over a corpus costs and where its time goes: the bottleneck that featurize names.
 *
 *     double since = effort_now();
 *     ...decode...   effort_add(&e, EFFORT_PREPARE, &since);
 *     ...forward...  effort_add(&e, EFFORT_COMPUTE, &since); e.flop += n * effort_flop(...);
 *     ...store...    effort_add(&e, EFFORT_STORE, &since);
 *
 * Time on the wall, for people only: it enters no result. The phases follow one another, so that their
 * sum is the time of the pass but for the opening of the tower.
 */
#ifndef FEATURIZE_EFFORT_H
#define FEATURIZE_EFFORT_H

#include <stdint.h>

#include "featurize/tower.h"

enum effort_phase {
    EFFORT_PREPARE, /* pictures: read, decode, resize; captions: read, tokenise */
    EFFORT_COMPUTE, /* the forward pass */
    EFFORT_STORE,   /* code, compress, commit */
    EFFORT_PHASES
};

struct effort {
    uint64_t n_inputs; /* pictures, of every view, or captions that went through the tower */
    double flop;       /* of their products, as effort_flop counts */
    double seconds[EFFORT_PHASES];
    /* In a dry run: what all that is missing would take, after the first batch of it. */
    double forecast_s;
};

/* Seconds on a clock that only goes forward. */
double effort_now(void);
/* Adds the time since *since to a phase, and moves *since to now. */
void effort_add(struct effort *e, enum effort_phase phase, double *since);
double effort_total_s(const struct effort *e);
/* The phase that took longest. */
enum effort_phase effort_limit(const struct effort *e);

/* Multiplications and additions of the matrix products of one input, attention included, up to the last
 * block that a tap asks for. n_tokens: of a text; of a picture they follow from the configuration. 0 for
 * MobileViT, whose time is not in its products. */
double effort_flop(const struct tower_config *c, int n_tokens, const struct tap *taps, int n_taps);

#endif
