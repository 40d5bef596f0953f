/* clipstill export: a feature set for other programs, or the corpus as WebDataset tars. */
#include <inttypes.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "store/corpustar.h"
#include "store/transfer.h"

static const char *npy, *set, *webdataset;
static uint64_t view, shard_bytes;
static struct option_list conditions;

static const struct option options[] = {
    {"set", 0, OPTION_STRING, "NAME", "the feature set", 0, 0, NULL, &set},
    {"npy", 0, OPTION_STRING, "PREFIX",
     "writes PREFIX.npy, PREFIX.keys.txt and PREFIX.identity.json", 0, 0, NULL, &npy},
    {"view", 0, OPTION_COUNT, "K", "which view", 0, 1e6, NULL, &view},
    {"webdataset", 0, OPTION_STRING, "DIR|FILE",
     "the corpus as DIR/000000.tar, ... or as one FILE that ends in .tar", 0, 0, NULL, &webdataset},
    {"where", 0, OPTION_REPEAT, "KEY=VALUE",
     "of --webdataset: only pairs of this source, lang, label or split; a|b for several, != for "
     "the "
     "opposite",
     0, 0, NULL, &conditions},
    {"shard-bytes", 0, OPTION_COUNT, "N", "of --webdataset DIR: most bytes of a tar; 0 = no limit",
     0, 0, NULL, &shard_bytes},
};

static int export_set(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct corpus *c = NULL;
    struct featureset *fs = NULL;
    struct transfer_counts n = {0};
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = featureset_open(&fs, cache, set, FEATURESET_READ, err);
    if (rc == 0) rc = transfer_export(c, fs, (uint32_t)view, npy, progress_start(), &n, err);
    featureset_close(fs);
    corpus_close(c);
    if (rc < 0) return rc;
    progress_end();
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

static int print_corpus(const struct command *self, const struct corpustar_counts *n,
                        struct error *err)
{
    if (option_globals.json) {
        struct json *j = json_new_object();
        json_set_int(j, "shards", (int64_t)n->n_shards);
        json_set_int(j, "samples", (int64_t)n->n_samples);
        json_set_int(j, "images", (int64_t)n->n_images);
        json_set_int(j, "pairs", (int64_t)n->n_pairs);
        json_set_int(j, "bytes", (int64_t)n->n_bytes);
        json_set_int(j, "without_bytes", (int64_t)n->n_without_bytes);
        json_set_int(j, "reduced", (int64_t)n->n_reduced);
        return command_print_json(self, j, err);
    }
    printf("%s: %" PRIu64 " pictures and %" PRIu64 " pairs in %" PRIu64 " samples, %" PRIu64
           " tars of %.1f MB",
           webdataset, n->n_images, n->n_pairs, n->n_samples, n->n_shards,
           (double)n->n_bytes / 1e6);
    if (n->n_reduced)
        printf(", %" PRIu64 " of the pictures are smaller JPEGs with a key of their own",
               n->n_reduced);
    if (n->n_without_bytes)
        printf(", %" PRIu64 " pictures left out: they were registered without their files",
               n->n_without_bytes);
    printf("\n");
    return 0;
}

static int export_corpus(const struct command *self, struct error *err)
{
    struct corpus *c = NULL;
    struct where where = {0};
    struct corpustar_counts n = {0};
    struct corpustar_options o = {.path = webdataset, .shard_bytes = shard_bytes, .where = &where};
    int rc = where_parse(&where, conditions.items, (size_t)conditions.n, err);
    if (rc == 0) rc = corpus_open(&c, self->positional[0], CORPUS_READ, err);
    if (rc == 0) rc = where_bind(&where, c, err);
    if (rc == 0) rc = corpustar_export(c, &o, progress_start(), &n, err);
    where_release(&where);
    corpus_close(c);
    if (rc < 0) return rc;
    progress_end();
    return print_corpus(self, &n, err);
}

static int run(const struct command *self, struct error *err)
{
    if (webdataset && (set || npy))
        return error_set(err, ERR_USAGE,
                         "--webdataset exports the corpus, --set a feature set: one at a time");
    if (!webdataset && (!set || !npy))
        return error_set(err, ERR_USAGE,
                         "export needs --set NAME with --npy PREFIX, or --webdataset DIR");
    if (!webdataset && conditions.n)
        return error_set(err, ERR_USAGE, "--where goes with --webdataset");
    return webdataset ? export_corpus(self, err) : export_set(self, err);
}

static void defaults(void)
{
    shard_bytes = 1000000000;
}

struct command cmd_export = {
    .name = "export",
    .summary = "Write a feature set, or the corpus, for other programs",
    .usage = "CACHE --set NAME --npy PREFIX | --webdataset DIR|FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes = "--webdataset: KEY.jpg, .png or .webp and KEY.json a sample, KEY the picture's "
             "SHA-256. A picture whose\n"
             "pairs differ in source, split, label or weight comes as KEY, KEY-1, ... Ingest gives "
             "the corpus again, with the\n"
             "same --nfkc, --html and --max-chars, --source NAME after --where source=NAME, and "
             "--classes DIR/classes.json; ids,\n"
             "rejects, captions without pairs, pictures without bytes, and the keys of reduced "
             "pictures are not carried.\n",
    .defaults = defaults,
    .run = run,
};
