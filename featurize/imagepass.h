/* The featurise stage over all pictures of a corpus, for one teacher's image tower;
 * featurize/featurize.c calls it.
 *
 * Batches of dense numbers: encoded bytes are fetched, decoded and cut to their views in parallel,
 * run through the tower in micro-batches, put into the sets, one transaction a tap and view, while
 * the next is under way.
 * Pictures that have everything are not even decoded.
 */
#ifndef FEATURIZE_IMAGEPASS_H
#define FEATURIZE_IMAGEPASS_H

#include "featurize/effort.h"
#include "featurize/roll.h"
#include "featurize/tapset.h"

int imagepass_run(struct tapsets *ts, const struct roll *roll, const struct featurize_options *o,
                  struct model *m, const struct report *report, struct effort *effort,
                  uint64_t *n_skipped, struct error *err) MUST_CHECK;

#endif
