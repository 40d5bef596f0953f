/* Which feature sets of a cache are still what they say: against a teacher, or among themselves.
 *
 *     struct json *list;
 *     freshness_list(cache, &options, prefix, &list, &err);   // options.teacher NULL: no teacher
 *     // [{"name": "text.final", "state": "stale", "against": "AltCLIP", "differences": [...]}, ...]
 *
 * With a teacher each set is held against the fingerprint that `featurize` would demand with these
 * options: "fresh", or "stale" with the components (expected: the teacher's; found: the set's).
 * Without one, a set of texts is stale when the corpus's captions are normalised by another rule;
 * and sets of one tower and prefix that were not made by the same teacher in the same way are each
 * "odd" against the first of them: nobody can say which one is right. A set that was imported is
 * "imported": no teacher's folder can be held against it. With a prefix only its sets are held
 * against the teacher, the others are "other".
 * Threading: one thread. The teacher's weights are read once a tower.
 */
#ifndef FEATURIZE_FRESHNESS_H
#define FEATURIZE_FRESHNESS_H

#include "featurize/featurize.h"

/* In the order of featureset_list. Owned: json_free. prefix: as featurize has it, or NULL. */
int freshness_list(const char *cache, const struct featurize_options *o, const char *prefix,
                   struct json **list, struct error *err) MUST_CHECK;

#endif
