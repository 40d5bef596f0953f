/* `stat`: whether the sets are still what they say.
 */
#ifndef CLI_STATFRESH_H
#define CLI_STATFRESH_H

#include "featurize/freshness.h"

/* Adds "state", "against" and "differences" of freshness_list to the set's object, and "accepted";
 * what is stale is no hit. */
int statfresh_add(struct json *set, struct featureset *fs, const struct json *list,
                  struct error *err) MUST_CHECK;
/* The lines below a set's own; nothing where there is nothing to say. */
void statfresh_print(const struct json *set);

#endif
