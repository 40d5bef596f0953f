/* clipstill import: features computed elsewhere become a feature set. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "store/transfer.h"

static struct transfer_source from;
static const char *storage;

static const struct option options[] = {
    {"npy", 0, OPTION_STRING, "FILE", "the vectors, one a row (f16, f32 or f64)", 0, 0, NULL,
     &from.npy},
    {"keys", 0, OPTION_STRING, "FILE",
     "one key a row: SHA-256 in hex, a source's image id, or a caption", 0, 0, NULL, &from.keys},
    {"identity", 0, OPTION_STRING, "FILE",
     "JSON: model, tower, tap, dimension, normalized, preprocessing", 0, 0, NULL, &from.identity},
    {"set", 0, OPTION_STRING, "NAME", "name of the feature set; the identity's tap when not given",
     0, 0, NULL, &from.name},
    {"store", 0, OPTION_STRING, "HOW", "f32, f16, bf16, or q1e-4: 1 - cos at most 1e-4", 0, 0, NULL,
     &storage},
    {"allow-missing", 0, OPTION_FLAG, NULL, "leave out rows whose record is not in the corpus", 0,
     0, NULL, &from.allow_missing},
};

static struct json *as_json(const struct transfer_counts *n)
{
    struct json *j = json_new_object();
    json_set_string(j, "set", n->set);
    json_set_int(j, "rows", (int64_t)n->n_rows);
    json_set_int(j, "new", (int64_t)n->n_new);
    json_set_int(j, "hits", (int64_t)n->n_hit);
    json_set_int(j, "duplicates", (int64_t)n->n_duplicate);
    json_set_int(j, "unknown", (int64_t)n->n_unknown);
    return j;
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct corpus *c = NULL;
    struct transfer_counts n = {0};
    if (!from.npy || !from.keys || !from.identity)
        return error_set(err, ERR_USAGE,
                         "import needs --npy FILE, --keys FILE and --identity FILE");
    int rc = codec_parse(storage, &from.storage, &from.epsilon, err);
    if (rc == 0) rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = transfer_import(c, cache, &from, progress_start(), &n, err);
    corpus_close(c);
    command_log_run(self, cache, as_json(&n), rc);
    if (rc < 0) return rc;
    if (option_globals.json) return command_print_json(self, as_json(&n), err);
    printf("%s: %" PRIu64 " vectors imported, %" PRIu64 " were there already", n.set, n.n_new,
           n.n_hit);
    if (n.n_duplicate) printf(", %" PRIu64 " repeated rows", n.n_duplicate);
    if (n.n_unknown) printf(", %" PRIu64 " rows of unknown records left out", n.n_unknown);
    printf("\n");
    return 0;
}

static void defaults(void)
{
    transfer_source_defaults(&from);
    storage = "q1e-4";
}

struct command cmd_import = {
    .name = "import",
    .summary = "Make a feature set of vectors computed elsewhere (.npy, keys file, identity)",
    .usage = "CACHE --npy FILE --keys FILE --identity FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .defaults = defaults,
    .run = run,
};
