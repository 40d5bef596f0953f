/* How fast a pass went and what held it back, as featurize says it at its end.
 *
 *     pace_print("pictures", &result.pictures);   // pictures: 120 in 13.2 s, 9.1/s, 1480 GFLOP/s; ...
 *     json_set(j, "pictures", pace_json(&result.pictures));
 *
 *     options.planned = pace_plan;                 // featurize: 120 of 500 pictures ... are missing; about 4 minutes
 *
 * Nothing for a pass that had nothing to do. After a dry run: the time that all would take.
 */
#ifndef CLI_PACE_H
#define CLI_PACE_H

#include "featurize/featurize.h"
#include "store/json.h"

/* What is about to be computed, its bytes and its time: a line on stderr, with --progress json as an object;
 * neither with --quiet or --progress none. */
void pace_plan(const struct featurize_plan *plan);
/* One line on stdout. */
void pace_print(const char *what, const struct effort *e);
struct json *pace_json(const struct effort *e); /* owned */

#endif
