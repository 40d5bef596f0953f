/* clipstill import: features computed elsewhere become a feature set. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "store/clipfolder.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/transfer.h"

static struct transfer_source from;
static const char *storage;
static struct transfer_counts counts[2]; /* one a set: of clip-retrieval there may be two */
static int n_sets;

static const struct option options[] = {
    {"npy", 0, OPTION_STRING, "FILE", "the vectors, one a row (f16, f32 or f64)", 0, 0, NULL,
     &from.npy},
    {"safetensors", 0, OPTION_STRING, "FILE",
     "instead of the three: tensors features, keys, norms, and the identity in its metadata", 0, 0,
     NULL, &from.safetensors},
    {"clip-retrieval", 0, OPTION_STRING, "DIR",
     "instead of the three: img_emb/, text_emb/, and metadata/ as CSV; both towers, or the "
     "identity's",
     0, 0, NULL, &from.clip_retrieval},
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

static struct json *one_json(const struct transfer_counts *n)
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

static struct json *as_json(void)
{
    if (!from.clip_retrieval) return one_json(&counts[0]);
    struct json *j = json_new_object(), *list = json_new_array();
    for (int i = 0; i < n_sets; i++) json_push(list, one_json(&counts[i]));
    json_set(j, "sets", list);
    return j;
}

/* One of three layouts, and what it needs. */
static int check_options(struct error *err)
{
    int n_layouts = !!from.npy + !!from.safetensors + !!from.clip_retrieval;
    if (n_layouts != 1 || (from.npy && (!from.keys || !from.identity)))
        return error_set(err, ERR_USAGE,
                         "import needs --npy FILE with --keys FILE and --identity FILE, or "
                         "--safetensors FILE, or --clip-retrieval DIR");
    if (from.clip_retrieval && from.keys)
        return error_set(err, ERR_USAGE, "the keys of --clip-retrieval stand in its metadata");
    if (from.clip_retrieval && from.name && !from.identity)
        return error_set(err, ERR_USAGE,
                         "--set names one set, and --clip-retrieval may have two: say which with "
                         "--identity %s/image.identity.json",
                         from.clip_retrieval);
    return 0;
}

/* The towers whose identity stands in a clip-retrieval folder, one after the other. */
static int import_towers(struct corpus *c, const char *cache, struct error *err)
{
    static const char *const towers[] = {"image", "text"};
    int rc = 0;
    for (int i = 0; rc == 0 && i < 2; i++) {
        char *path = clipfolder_identity(from.clip_retrieval, towers[i], err);
        if (!path) return ERR_NOMEM;
        from.tower = towers[i];
        if (file_exists(path))
            rc = transfer_import(c, cache, &from, progress_start(), &counts[n_sets++], err);
        memory_free(path);
    }
    if (rc == 0 && n_sets == 0)
        rc = error_set(err, ERR_DATA,
                       "%s has neither image.identity.json nor text.identity.json: say with "
                       "--identity FILE which network made the vectors",
                       from.clip_retrieval);
    return rc;
}

static void print_counts(const struct transfer_counts *n)
{
    printf("%s: %" PRIu64 " vectors imported, %" PRIu64 " were there already", n->set, n->n_new,
           n->n_hit);
    if (n->n_duplicate) printf(", %" PRIu64 " repeated rows", n->n_duplicate);
    if (n->n_unknown) printf(", %" PRIu64 " rows of unknown records left out", n->n_unknown);
    printf("\n");
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct corpus *c = NULL;
    int rc = check_options(err);
    if (rc < 0) return rc;
    rc = codec_parse(storage, &from.storage, &from.epsilon, err);
    if (rc == 0) rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0 && from.clip_retrieval && !from.identity)
        rc = import_towers(c, cache, err);
    else if (rc == 0)
        rc = transfer_import(c, cache, &from, progress_start(), &counts[n_sets++], err);
    corpus_close(c);
    command_log_run(self, cache, as_json(), rc);
    if (rc < 0) return rc;
    if (option_globals.json) return command_print_json(self, as_json(), err);
    for (int i = 0; i < n_sets; i++) print_counts(&counts[i]);
    return 0;
}

static void defaults(void)
{
    transfer_source_defaults(&from);
    storage = "q1e-4";
}

struct command cmd_import = {
    .name = "import",
    .summary = "Make a feature set of vectors computed elsewhere",
    .usage =
        "CACHE --npy FILE --keys FILE --identity FILE | --safetensors FILE | --clip-retrieval DIR",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .defaults = defaults,
    .run = run,
};
