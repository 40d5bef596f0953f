/* Which runs may have seen what is forgotten: manifests of CACHE/runs (store/runlog.h).
 *
 *     witness_runs(cache, names, n, &runs, &err);   // [{"run", "verb", "ended", "out", "before": true}]
 *
 * A manifest names its verb, its arguments and when it ended, and not each record. So all runs that
 * read the cache or made something of it are listed; "before" marks those that had ended before the
 * first recorded `ingest` of a source that led to the records. They cannot have seen them, unless an
 * ingest that was killed, and left no manifest, had brought them already.
 */
#ifndef CLI_WITNESS_H
#define CLI_WITNESS_H

#include <stddef.h>

#include "store/error.h"
#include "store/json.h"

/* sources: names as the corpus has them; *runs owned: json_free. A manifest that cannot be read is
 * listed with the verb of its name. */
int witness_runs(const char *cache, const char *const *sources, size_t n_sources, struct json **runs,
                 struct error *err) MUST_CHECK;

#endif
