/* clipstill export: a feature set as .npy, keys and identity. */
#include <inttypes.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "store/transfer.h"

static const char *npy, *set;
static uint64_t view;

static const struct option options[] = {
    {"set", 0, OPTION_STRING, "NAME", "the feature set", 0, 0, NULL, &set},
    {"npy", 0, OPTION_STRING, "PREFIX",
     "writes PREFIX.npy, PREFIX.keys.txt and PREFIX.identity.json", 0, 0, NULL, &npy},
    {"view", 0, OPTION_COUNT, "K", "which view", 0, 1e6, NULL, &view},
};

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct corpus *c = NULL;
    struct featureset *fs = NULL;
    struct transfer_counts n = {0};
    if (!set || !npy) return error_set(err, ERR_USAGE, "export needs --set NAME and --npy PREFIX");
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = featureset_open(&fs, cache, set, FEATURESET_READ, err);
    if (rc == 0) rc = transfer_export(c, fs, (uint32_t)view, npy, progress_start(), &n, err);
    featureset_close(fs);
    corpus_close(c);
    if (rc < 0) return rc;
    if (option_globals.json) {
        struct json *j = json_new_object();
        json_set_string(j, "set", set);
        json_set_int(j, "rows", (int64_t)n.n_rows);
        return command_print_json(self, j, err);
    }
    printf("%s: %" PRIu64 " vectors written to %s.npy, with %s.keys.txt and %s.identity.json\n",
           set, n.n_rows, npy, npy, npy);
    return 0;
}

struct command cmd_export = {
    .name = "export",
    .summary = "Write a feature set as .npy with keys and identity",
    .usage = "CACHE --set NAME --npy PREFIX",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
