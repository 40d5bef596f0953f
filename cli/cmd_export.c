/* clipstill export: a feature set for other programs, or the corpus as WebDataset tars. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "store/corpustar.h"
#include "store/transfer.h"

static const char *npy, *safetensors, *clip_retrieval, *webdataset, *dtype;
static uint64_t view, shard_bytes;
static struct option_list sets, conditions;

static const struct option options[] = {
    {"set", 0, OPTION_LIST, "NAME", "the feature set; for --clip-retrieval one of either tower", 0,
     0, NULL, &sets},
    {"npy", 0, OPTION_STRING, "PREFIX",
     "writes PREFIX.npy, PREFIX.keys.txt and PREFIX.identity.json", 0, 0, NULL, &npy},
    {"safetensors", 0, OPTION_STRING, "FILE", "one file: unit vectors, norms, keys, identity", 0, 0,
     NULL, &safetensors},
    {"clip-retrieval", 0, OPTION_STRING, "DIR",
     "img_emb/, text_emb/ and metadata/ of unit vectors, a row an image-caption pair", 0, 0, NULL,
     &clip_retrieval},
    {"dtype", 0, OPTION_CHOICE, "TYPE", "of the numbers; f32, for --clip-retrieval f16", 0, 0,
     "f16|f32", &dtype},
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

/* At most one set of either tower, by enum featureset_tower. */
static int open_sets(const char *cache, struct featureset *fs[2], struct error *err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < sets.n; i++) {
        struct featureset *one = NULL;
        rc = featureset_open(&one, cache, sets.items[i], FEATURESET_READ, err);
        if (rc < 0) break;
        enum featureset_tower tower = featureset_spec(one)->tower;
        if (!fs[tower]) {
            fs[tower] = one;
            continue;
        }
        rc = error_set(err, ERR_USAGE, "%s and %s are both sets of %s: one of either tower",
                       featureset_spec(fs[tower])->name, sets.items[i],
                       tower == TOWER_IMAGE ? "pictures" : "texts");
        featureset_close(one);
    }
    return rc;
}

static int print_set(const struct command *self, const struct transfer_counts *n, struct error *err)
{
    if (option_globals.json) {
        struct json *j = json_new_object();
        if (!clip_retrieval) json_set_string(j, "set", sets.items[0]);
        json_set_int(j, "rows", (int64_t)n->n_rows);
        if (clip_retrieval) json_set_int(j, "left_out", (int64_t)n->n_unknown);
        return command_print_json(self, j, err);
    }
    if (npy)
        printf("%s: %" PRIu64 " vectors written to %s.npy, with %s.keys.txt and %s.identity.json\n",
               sets.items[0], n->n_rows, npy, npy, npy);
    else
        printf("%s: %" PRIu64 " %s written", clip_retrieval ? clip_retrieval : safetensors,
               n->n_rows, sets.n > 1 ? "pairs" : "vectors");
    if (!npy && n->n_unknown)
        printf(", %" PRIu64 " pairs left out: a vector of one side is missing", n->n_unknown);
    if (!npy) printf("\n");
    return 0;
}

static int export_set(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct corpus *c = NULL;
    struct featureset *fs[2] = {NULL, NULL};
    struct transfer_counts n = {0};
    struct transfer_target to = {.npy = npy, .safetensors = safetensors, .view = (uint32_t)view};
    to.half = dtype ? !strcmp(dtype, "f16") : clip_retrieval != NULL;
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = open_sets(cache, fs, err);
    if (rc == 0 && clip_retrieval)
        rc = transfer_export_clip(c, fs[TOWER_IMAGE], fs[TOWER_TEXT], clip_retrieval, &to,
                                  progress_start(), &n, err);
    else if (rc == 0)
        rc = transfer_export(c, fs[TOWER_IMAGE] ? fs[TOWER_IMAGE] : fs[TOWER_TEXT], &to,
                             progress_start(), &n, err);
    featureset_close(fs[TOWER_IMAGE]);
    featureset_close(fs[TOWER_TEXT]);
    corpus_close(c);
    if (rc < 0) return rc;
    progress_end();
    return print_set(self, &n, err);
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
    int n_targets = !!npy + !!safetensors + !!clip_retrieval;
    if (webdataset && (sets.n || n_targets))
        return error_set(err, ERR_USAGE,
                         "--webdataset exports the corpus, --set a feature set: one at a time");
    if (!webdataset && (!sets.n || n_targets != 1))
        return error_set(err, ERR_USAGE,
                         "export needs --set NAME with one of --npy PREFIX, --safetensors FILE and "
                         "--clip-retrieval DIR, or --webdataset DIR");
    if (!webdataset && conditions.n)
        return error_set(err, ERR_USAGE, "--where goes with --webdataset");
    if (sets.n > 1 && !clip_retrieval)
        return error_set(err, ERR_USAGE, "several sets go with --clip-retrieval alone");
    return webdataset ? export_corpus(self, err) : export_set(self, err);
}

static void defaults(void)
{
    shard_bytes = 1000000000;
}

struct command cmd_export = {
    .name = "export",
    .summary = "Write a feature set, or the corpus, for other programs",
    .usage = "CACHE --set NAME --npy|--safetensors|--clip-retrieval WHERE | --webdataset WHERE",
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
