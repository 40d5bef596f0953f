/* How fast a pass went and what held it back, as featurize says it at its end.
 *
 *     pace_print("pictures", &result.pictures);   // pictures: 120 in 13.2 s, 9.1/s, 1480 GFLOP/s; ...
 *     json_set(j, "pictures", pace_json(&result.pictures));
 *
 * Nothing for a pass that had nothing to do. After a dry run: the time that all would take.
 */
#ifndef CLI_PACE_H
#define CLI_PACE_H

#include "featurize/effort.h"
#include "store/json.h"

/* One line on stdout. */
void pace_print(const char *what, const struct effort *e);
struct json *pace_json(const struct effort *e); /* owned */

#endif
