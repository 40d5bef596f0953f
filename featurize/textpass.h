/* The featurise stage over all captions of a corpus, for one teacher's text tower;
 * featurize/featurize.c calls it.
 *
 * Windows of whole blocks; in a window the missing captions are cut into ids, ordered by length and
 * run in ragged micro-batches without padding; then one transaction a tap. A caption is its
 * normalised text, so a text that stands under many pictures is run once.
 */
#ifndef FEATURIZE_TEXTPASS_H
#define FEATURIZE_TEXTPASS_H

#include "featurize/effort.h"
#include "featurize/roll.h"
#include "featurize/tapset.h"

int textpass_run(struct tapsets *ts, const struct roll *roll, const struct featurize_options *o,
                 struct model *m, const struct report *report, struct effort *effort,
                 struct error *err) MUST_CHECK;

#endif
