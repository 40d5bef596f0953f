/* clipstill snapshot: publishes a copy of one moment, and a link that leads to the newest. */
#include <inttypes.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "store/snapshot.h"

static uint64_t keep;

static const struct option options[] = {
    {"keep", 0, OPTION_COUNT, "N",
     "remove all but the newest N, the new one among them; 0 = keep all", 0, 1000000, NULL, &keep},
};

static struct json *as_json(const struct snapshot_result *r)
{
    struct json *j = json_new_object();
    json_set_string(j, "name", *r->name ? r->name : NULL);
    json_set_int(j, "sets", (int64_t)r->n_sets);
    json_set_int(j, "bytes", (int64_t)r->n_bytes);
    json_set_int(j, "removed", (int64_t)r->n_removed);
    return j;
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0], *dest = self->positional[1];
    struct snapshot_result r;
    int rc = snapshot_publish(cache, dest, keep, progress_start(), &r, err);
    command_log_run(self, cache, as_json(&r), rc);
    progress_end();
    if (rc < 0) return rc;
    if (option_globals.json) return command_print_json(self, as_json(&r), err);
    printf("%s/%s: the corpus and %" PRIu64 " sets, %" PRIu64 " bytes; %s/current leads to it",
           dest, r.name, r.n_sets, r.n_bytes, dest);
    if (r.n_removed) printf("; %" PRIu64 " older ones removed", r.n_removed);
    printf("\n");
    return 0;
}

struct command cmd_snapshot = {
    .name = "snapshot",
    .summary = "Publish a whole copy of one moment of a cache, and lead DEST/current to it",
    .usage = "CACHE DEST",
    .min_positional = 2,
    .max_positional = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes =
        "A snapshot is a cache of its own, DEST/TIME, for readers; ingest and featurize may go "
        "on meanwhile. Who must see one\n"
        "moment through a long run gives the folder that the link leads to (readlink -f "
        "DEST/current) and keeps more than one.",
    .run = run,
};
