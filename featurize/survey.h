/* What a run is about to do with one tower, before it does it: how much is missing, how many bytes and
 * seconds that will take.
 *
 *     struct survey s;
 *     survey_take(&s, &ts, &roll, o, model, &err);    // nothing is written, the sets are as they were
 *
 * Everything is counted, hits into the sets' results. Time is foreseen from a probe of the machine
 * (featurize/probe.h) and from a few of the pictures or captions that are missing, decoded or tokenised: under
 * 2% of what is foreseen, so that a run of a few seconds is not probed at all. Bytes: as the set has
 * them; for a new one as made-up vectors compress, which are less regular than a teacher's
 * (featurize/forecast.h). `featurize --dry-run` knows both better: it computes a batch.
 * Whether the run is to stop is not asked: the first question is the first batch's, from which a window of time
 * (cli/window.h) tells how long a batch takes.
 */
#ifndef FEATURIZE_SURVEY_H
#define FEATURIZE_SURVEY_H

#include "featurize/roll.h"
#include "featurize/tapset.h"

int survey_take(struct survey *s, struct tapsets *ts, const struct roll *roll,
                const struct featurize_options *o, const struct model *m, struct error *err) MUST_CHECK;

#endif
