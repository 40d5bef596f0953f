/* clipstill gc: a cache without free pages and without the bytes of what was forgotten. */
#include <inttypes.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "store/gc.h"

static struct json *as_json(const struct gc_result *r)
{
    struct json *j = json_new_object();
    json_set_int(j, "stores", (int64_t)r->n_stores);
    json_set_int(j, "locked", (int64_t)r->n_locked);
    json_set_int(j, "bytes_before", (int64_t)r->bytes_before);
    json_set_int(j, "bytes_after", (int64_t)r->bytes_after);
    json_set_int(j, "vectors", (int64_t)r->n_vectors);
    return j;
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct gc_result r;
    int rc = gc_run(cache, progress_start(), &r, err);
    command_log_run(self, cache, as_json(&r), rc);
    progress_end();
    if (rc < 0) return rc;
    if (option_globals.json) return command_print_json(self, as_json(&r), err);
    printf("%s: %" PRIu64 " stores made anew, %" PRIu64 " bytes of %" PRIu64 " stay", cache,
           r.n_stores, r.bytes_after, r.bytes_before);
    if (r.n_vectors) printf("; %" PRIu64 " vectors of forgotten records went", r.n_vectors);
    printf("\n");
    return 0;
}

struct command cmd_gc = {
    .name = "gc",
    .summary = "Make every store of a cache anew, without free pages and forgotten bytes",
    .usage = "CACHE",
    .min_positional = 1,
    .max_positional = 1,
    .notes =
        "Readers go on: who has a store open keeps the old one, who opens it next has the new "
        "one. Each store is copied beside\n"
        "itself first and needs that much free disk. One that somebody writes to is left as it "
        "is, and the end is exit 6.\n"
        "Stopped or killed at any moment, each store is the old one or the new one, whole.",
    .run = run,
};
