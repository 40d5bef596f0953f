/* clipstill ingest: sources in, a corpus out. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "ingest/ingest.h"
#include "store/where.h"

static struct ingest_options o;
static const char *format, *split, *max_bad;
static struct option_list maps;
static uint64_t max_chars, max_side;

static const struct option options[] = {
    {"format", 0, OPTION_CHOICE, "NAME", "of the sources", 0, 0, SOURCE_WORDS, &format},
    {"lang", 0, OPTION_STRING, "TAG",
     "language of captions that name none (BCP 47); auto: told from the text; und when not given",
     0, 0, NULL, &o.language},
    {"split", 0, OPTION_CHOICE, "NAME", "of rows that name none; train when not given", 0, 0,
     "train|val|test", &split},
    {"source", 0, OPTION_STRING, "NAME",
     "name to file pairs and ids under; the source's file name when not given", 0, 0, NULL,
     &o.source_name},
    {"classes", 0, OPTION_STRING, "FILE", "class names and prompt templates by language (JSON)", 0,
     0, NULL, &o.classes},
    {"no-images", 0, OPTION_FLAG, NULL,
     "register images by id, without their files (for imported features)", 0, 0, NULL,
     &o.no_images},
    {"folder-labels", 0, OPTION_FLAG, NULL, "image folders: the sub-folder's name is the label", 0,
     0, NULL, &o.source.folder_labels},
    {"images", 0, OPTION_STRING, "DIR",
     "what image paths are relative to; the manifest's folder when not given", 0, 0, NULL,
     &o.source.pictures},
    {"map", 0, OPTION_LIST, "OURS=THEIRS",
     "a column or member's name in the source, e.g. caption=title", 0, 0, NULL, &maps},
    {"nfkc", 0, OPTION_FLAG, NULL,
     "normalise captions to NFKC instead of NFC: half-width kana, full-width Latin; for a new "
     "cache",
     0, 0, NULL, &o.rule.nfkc},
    {"html", 0, OPTION_FLAG, NULL, "decode HTML entities (&amp; &#39;) in captions", 0, 0, NULL,
     &o.rule.entities},
    {"max-chars", 0, OPTION_COUNT, "N",
     "cut captions to so many characters, as a reader counts them; 0 = none", 0, 65535, NULL,
     &max_chars},
    {"max-side", 0, OPTION_COUNT, "N",
     "keep larger pictures as a JPEG whose longer side has N pixels; 0 = as they are", 0, 65500,
     NULL, &max_side},
    {"retry-failed", 0, OPTION_FLAG, NULL, "only the records that stand in quarantine", 0, 0, NULL,
     &o.retry_failed},
    {"max-bad", 0, OPTION_STRING, "N|P%", "stop with exit 4 when more records are bad", 0, 0, NULL,
     &max_bad},
};

static struct json *as_json(const struct ingest_result *r)
{
    struct json *j = json_new_object(), *reasons = json_new_object();
    json_set_int(j, "rows", (int64_t)r->n_rows);
    json_set_int(j, "images_new", (int64_t)r->n_images_new);
    json_set_int(j, "images_known", (int64_t)r->n_images_old);
    json_set_int(j, "image_bytes", (int64_t)r->n_image_bytes);
    json_set_int(j, "images_with_warnings", (int64_t)r->n_warned);
    json_set_int(j, "images_reduced", (int64_t)r->n_reduced);
    json_set_int(j, "captions_new", (int64_t)r->n_captions_new);
    json_set_int(j, "captions_cut", (int64_t)r->n_cut);
    json_set_int(j, "pairs_undetermined", (int64_t)r->n_undetermined);
    json_set_int(j, "prompts_new", (int64_t)r->n_prompts_new);
    json_set_int(j, "pairs_new", (int64_t)r->n_pairs_new);
    json_set_int(j, "pairs_changed", (int64_t)r->n_pairs_changed);
    json_set_int(j, "pairs_known", (int64_t)r->n_pairs_old);
    json_set_int(j, "rejects", (int64_t)r->n_rejects);
    json_set_int(j, "rejects_new", (int64_t)r->n_rejects_new);
    json_set_int(j, "rejects_gone", (int64_t)r->n_rejects_gone);
    json_set_int(j, "passed", (int64_t)r->n_passed);
    for (size_t i = 0; i < r->n_reasons; i++)
        json_set_int(reasons, r->reasons[i].word, (int64_t)r->reasons[i].n);
    json_set(j, "reasons", reasons);
    return j;
}

static void print_result(const char *cache, const struct ingest_result *r)
{
    printf("%s: %" PRIu64 " records read: %" PRIu64 " new images (%.1f MB) and %" PRIu64
           " known, %" PRIu64 " new captions, %" PRIu64 " new pairs",
           cache, r->n_rows, r->n_images_new, (double)r->n_image_bytes / 1e6, r->n_images_old,
           r->n_captions_new, r->n_pairs_new);
    if (r->n_pairs_old || r->n_pairs_changed)
        printf(" (%" PRIu64 " known, %" PRIu64 " changed)", r->n_pairs_old, r->n_pairs_changed);
    if (r->n_prompts_new) printf(", %" PRIu64 " new class prompts", r->n_prompts_new);
    printf("\n");
    if (r->n_passed)
        printf("  %" PRIu64 " records that are not in quarantine were passed over\n", r->n_passed);
    if (r->n_reduced)
        printf("  %" PRIu64 " new images were larger than --max-side and are kept smaller\n",
               r->n_reduced);
    if (r->n_warned)
        printf("  %" PRIu64 " new images had decoder warnings (kept; `dump` shows which)\n",
               r->n_warned);
    if (r->n_cut) printf("  %" PRIu64 " captions were cut at --max-chars\n", r->n_cut);
    if (r->n_undetermined)
        printf("  %" PRIu64 " pairs are of undetermined language (und)\n", r->n_undetermined);
    if (r->n_rejects)
        printf("  %" PRIu64 " rejected, %" PRIu64
               " of them new; `clipstill dump --quarantine %s` tells each\n",
               r->n_rejects, r->n_rejects_new, cache);
    if (r->n_rejects_gone)
        printf("  %" PRIu64 " earlier rejects are good now, or gone, and left the quarantine\n",
               r->n_rejects_gone);
    for (size_t i = 0; i < r->n_reasons; i++)
        printf("    %-24s %" PRIu64 "\n", r->reasons[i].word, r->reasons[i].n);
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct ingest_result r = {0};
    o.sources = self->positional + 1;
    o.n_sources = (size_t)self->n_positional - 1;
    o.rule.max_chars = (uint32_t)max_chars;
    o.max_side_px = (uint32_t)max_side;
    enum corpus_split s;
    if (split && where_split(split, &s) == 0) o.split = (int)s;
    int rc = source_format_of(format, &o.source.format, err);
    for (int i = 0; rc == 0 && i < maps.n; i++)
        rc = fields_map(&o.source.fields, maps.items[i], err);
    if (rc == 0 && max_bad) rc = ingest_parse_max_bad(max_bad, &o, err);
    if (rc < 0) return rc;
    rc = ingest_run(cache, &o, progress_start(), &r, err);
    command_log_run(self, cache, as_json(&r), rc < 0 ? rc : r.n_rejects_new ? COMMAND_REJECTS : 0);
    if (rc < 0 && rc != ERR_BUDGET) return rc;
    progress_end();
    if (option_globals.json) {
        int printed = command_print_json(self, as_json(&r), err);
        if (printed < 0) return printed;
    } else {
        print_result(cache, &r);
    }
    return rc < 0 ? rc : r.n_rejects_new ? COMMAND_REJECTS : 0;
}

static void defaults(void)
{
    o = ingest_defaults();
    format = "auto";
}

struct command cmd_ingest = {
    .name = "ingest",
    .summary = "Read image-caption sources into CACHE/corpus, validating every picture and caption",
    .usage = "CACHE SOURCE...",
    .min_positional = 2,
    .max_positional = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes =
        "A SOURCE is a file, a pattern ('shards/*.tar'), - for standard input, or a folder of "
        "pictures "
        "with .txt sidecars:\n"
        "tables (TSV, CSV with , ; or |) with a header that has image and caption, and may have "
        "id, lang, label, split, weight;\n"
        "JSON lines or an array of the same names; COCO captions, Karpathy's splits, Flickr token "
        "files, "
        "Chinese-CLIP's imgs.tsv and\n"
        "texts.jsonl, WebDataset tars; plain, .gz, .zst or .bz2. Formats are told by content. Bad "
        "records are quarantined,\n"
        "with file, line or member, offset and reason, and leave the quarantine when a later run "
        "finds them good.",
    .defaults = defaults,
    .run = run,
};
