/* CACHE/runs/<time>-<verb>.json: one manifest a command, written when it ends.
 *
 *     runlog_write(cache, "ingest", CLIPSTILL_VERSION, settings, counts, 3, &err);
 *
 * Shape: {"schema": "clipstill-run-1", "verb", "version", "ended" (UTC, ISO 8601), "settings",
 * "counts", "exit"}; what is not given is null. Written atomically; two commands that end in the
 * same second get different names. Threading: any.
 */
#ifndef STORE_RUNLOG_H
#define STORE_RUNLOG_H

#include "store/error.h"
#include "store/json.h"

/* verb: [a-z]+. settings: effective, defaults included. settings and counts are borrowed and may be NULL. */
int runlog_write(const char *cache, const char *verb, const char *version, const struct json *settings,
                 const struct json *counts, int exit_code, struct error *err) MUST_CHECK;

#endif
