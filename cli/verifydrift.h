/* `verify --recompute`: the answer of featurize/recompute.h as text, JSON and findings.
 */
#ifndef CLI_VERIFYDRIFT_H
#define CLI_VERIFYDRIFT_H

#include "featurize/recompute.h"
#include "store/json.h"

/* Computes the sample; one line a set (not under --json), one object a set into *sets (owned:
 * json_free), one call of finding for each set that is stale or has drifted, with its name. */
int verifydrift_run(const char *cache, const struct recompute_options *o,
                    void (*finding)(void *context, const char *set, const char *text),
                    void *context, struct json **sets, struct error *err) MUST_CHECK;

#endif
