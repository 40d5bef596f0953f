/* clipstill forget: records, what they led to and what was made of them leave the cache. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/witness.h"
#include "ingest/caption.h"
#include "ingest/classes.h"
#include "store/file.h"
#include "store/forget.h"
#include "store/memory.h"

static struct option_list images, captions, conditions;
static const char *list;
static bool dry_run;

static const struct option options[] = {
    {"image", 0, OPTION_REPEAT, "KEY|ID", "this picture, by its key or an id that a source gave it",
     0, 0, NULL, &images},
    {"caption", 0, OPTION_REPEAT, "KEY|TEXT", "this caption; its pictures stay", 0, 0, NULL,
     &captions},
    {"where", 0, OPTION_REPEAT, "KEY=VALUE",
     "pairs of this source, lang, label or split, and pictures that only they led to; a|b for "
     "several, != for the opposite",
     0, 0, NULL, &conditions},
    {"list", 0, OPTION_STRING, "FILE", "one key of a picture or caption, or id of a picture a line",
     0, 0, NULL, &list},
    {"dry-run", 0, OPTION_FLAG, NULL, "say what would go, change nothing", 0, 0, NULL, &dry_run},
};

#define MAX_LIST ((uint64_t)1 << 30)

/* A picture by its key or an id: ERR_NOT_FOUND for none. */
static int name_image(struct forget *f, const char *word, struct error *err)
{
    uint8_t key[DIGEST_BYTES];
    uint32_t number;
    struct corpus *c = forget_corpus(f);
    int rc = ERR_NOT_FOUND;
    if (digest_from_hex(word, key, NULL) == 0) rc = corpus_image_number(c, key, &number, err);
    if (rc == ERR_NOT_FOUND) rc = corpus_image_of_id(c, NULL, word, &number, err);
    return rc < 0 ? rc : forget_image(f, number, err);
}

static int name_caption_key(struct forget *f, const uint8_t key[DIGEST_BYTES], struct error *err)
{
    uint32_t number;
    int rc = corpus_caption_number(forget_corpus(f), key, &number, err);
    return rc < 0 ? rc : forget_caption(f, number, err);
}

/* A caption by its key or its text, normalised as the corpus does it. */
static int name_caption(struct forget *f, const char *word, struct error *err)
{
    uint8_t key[DIGEST_BYTES];
    char *rule_name = NULL;
    struct caption text = {0};
    struct caption_rule rule = caption_rule_defaults();
    int rc = ERR_NOT_FOUND;
    if (digest_from_hex(word, key, NULL) == 0) rc = name_caption_key(f, key, err);
    if (rc != ERR_NOT_FOUND) return rc;
    rc = corpus_caption_rule(forget_corpus(f), &rule_name, err);
    if (rc < 0) return rc;
    rule.nfkc = !strncmp(rule_name, "nfkc", 4);
    memory_free(rule_name);
    rc = caption_normalise(&rule, word, strlen(word), &text, NULL, err);
    if (rc < 0) return rc;
    digest_of(text.text, text.n, key);
    rc = name_caption_key(f, key, err);
    if (rc == ERR_NOT_FOUND)
        rc = error_set(err, rc, "no caption \"%.200s\" is in the corpus", text.text);
    caption_release(&text);
    return rc;
}

/* Prompts of the class list stay. */
static int keep_prompts(struct forget *f, struct error *err)
{
    char *text = NULL;
    struct classes *classes = NULL;
    int rc = corpus_classes(forget_corpus(f), &text, err);
    if (rc < 0 || !text) return rc;
    rc = classes_parse(&classes, text, strlen(text), "the class list of the corpus", err);
    for (size_t i = 0; rc == 0 && i < classes->n_prompts; i++) {
        uint8_t key[DIGEST_BYTES];
        uint32_t number;
        digest_of(classes->prompts[i], strlen(classes->prompts[i]), key);
        if (corpus_caption_number(forget_corpus(f), key, &number, NULL) == 0)
            forget_keep(f, number);
    }
    classes_free(classes);
    memory_free(text);
    return rc;
}

/* One line of --list; what is not there is remembered, and is no error: a list that was gone through
 * already, or half, can be given again. */
static int name_line(struct forget *f, const char *line, uint64_t number, struct json *unknown,
                     struct error *err)
{
    uint8_t key[DIGEST_BYTES];
    int rc = name_image(f, line, err);
    if (rc == ERR_NOT_FOUND && digest_from_hex(line, key, NULL) == 0)
        rc = name_caption_key(f, key, err);
    if (rc != ERR_NOT_FOUND) return rc;
    struct json *j = json_new_object();
    json_set_int(j, "line", (int64_t)number);
    json_set_string(j, "text", line);
    json_push(unknown, j);
    return 0;
}

static int name_list(struct forget *f, struct json *unknown, struct error *err)
{
    char *text = NULL;
    size_t n = 0;
    uint64_t number = 0;
    int rc = file_read(list, MAX_LIST, &text, &n, err);
    for (char *line = text, *next; rc == 0 && line && line < text + n; line = next) {
        char *end = memchr(line, '\n', (size_t)(text + n - line));
        next = end ? end + 1 : text + n;
        if (!end) end = text + n;
        if (end > line && end[-1] == '\r') end--;
        *end = '\0';
        number++;
        if (*line) rc = name_line(f, line, number, unknown, err);
        if (rc < 0) error_prefix(err, "%s, line %" PRIu64 ": ", list, number);
    }
    memory_free(text);
    return rc;
}

static int name_all(struct forget *f, struct where *where, struct json *unknown, struct error *err)
{
    int rc = keep_prompts(f, err);
    for (int i = 0; rc == 0 && i < images.n; i++) rc = name_image(f, images.items[i], err);
    for (int i = 0; rc == 0 && i < captions.n; i++) rc = name_caption(f, captions.items[i], err);
    if (rc == 0 && list) rc = name_list(f, unknown, err);
    if (rc == 0 && conditions.n) rc = forget_where(f, where, err);
    return rc;
}

/* Runs that may have seen what goes; owned. */
static int find_runs(struct forget *f, const char *cache, struct json **runs, struct error *err)
{
    struct corpus *c = forget_corpus(f);
    uint16_t n_names = corpus_n_names(c, NAME_SOURCE);
    const char **sources = memory_array(n_names, sizeof *sources, MEMORY_MAX_SMALL, err);
    size_t n = 0;
    if (!sources) return ERR_NOMEM;
    for (uint16_t i = 0; i < n_names; i++)
        if (forget_touches(f, i)) sources[n++] = corpus_name(c, NAME_SOURCE, i);
    int rc = witness_runs(cache, sources, n, runs, err);
    memory_free(sources);
    return rc;
}

static struct json *as_json(const struct forget_result *r)
{
    struct json *j = json_new_object();
    json_set_int(j, "images", (int64_t)r->n_images);
    json_set_int(j, "image_bytes", (int64_t)r->n_image_bytes);
    json_set_int(j, "captions", (int64_t)r->n_captions);
    json_set_int(j, "pairs", (int64_t)r->n_pairs);
    json_set_int(j, "ids", (int64_t)r->n_ids);
    json_set_int(j, "rejects", (int64_t)r->n_rejects);
    json_set_int(j, "vectors", (int64_t)r->n_vectors);
    json_set_int(j, "sets", (int64_t)r->n_sets);
    return j;
}

#define TOLD 10 /* lines of --list that name nothing, at most */

static void tell(const char *cache, const struct forget_result *r, const struct json *runs,
                 const struct json *unknown)
{
    printf("%s: %s %" PRIu64 " images (%" PRIu64 " bytes), %" PRIu64 " captions, %" PRIu64
           " pairs, %" PRIu64 " ids, %" PRIu64 " quarantined records, %" PRIu64
           " vectors of %" PRIu64 " sets\n",
           cache, dry_run ? "would forget" : "forgot", r->n_images, r->n_image_bytes, r->n_captions,
           r->n_pairs, r->n_ids, r->n_rejects, r->n_vectors, r->n_sets);
    if (json_size(runs)) printf("runs that may have seen them:\n");
    for (size_t i = 0; i < json_size(runs); i++) {
        const struct json *run = json_at(runs, i);
        const char *out = json_text(json_get(run, "out"), NULL);
        printf("  %s%s%s%s\n", json_text(json_get(run, "run"), ""), out ? ", out " : "",
               out ? out : "",
               json_get(run, "before") ? " (ended before the first recorded ingest of them)" : "");
    }
    for (size_t i = 0; i < json_size(unknown) && i < TOLD; i++)
        progress_say("clipstill: %s, line %" PRId64 ": \"%.200s\" names nothing in the corpus",
                     list, json_int(json_get(json_at(unknown, i), "line"), 0),
                     json_text(json_get(json_at(unknown, i), "text"), ""));
    if (json_size(unknown) > TOLD)
        progress_say("clipstill: %s: %zu more lines name nothing in the corpus", list,
                     json_size(unknown) - TOLD);
    if (!dry_run)
        printf("Their bytes leave the files with clipstill gc %s. Ingesting a source that still "
               "holds them brings them back.\n",
               cache);
}

/* The manifest says what went by its numbers: texts and ids that were to be forgotten stay out of it. */
static void log_run(const struct command *self, const char *cache, const struct forget_result *r,
                    int rc)
{
    if (dry_run) return;
    struct json *counts = as_json(r);
    json_set_int(counts, "named_images", images.n);
    json_set_int(counts, "named_captions", captions.n);
    images.n = captions.n = 0;
    command_log_run(self, cache, counts, rc);
}

static int answer(const struct command *self, const struct forget_result *r, struct json *runs,
                  struct json *unknown, struct error *err)
{
    const char *cache = self->positional[0];
    int rc = json_size(unknown) ? COMMAND_REJECTS : 0;
    if (!option_globals.json) {
        tell(cache, r, runs, unknown);
        return rc;
    }
    struct json *j = as_json(r);
    json_set_bool(j, "dry_run", dry_run);
    json_set(j, "runs", json_clone(runs));
    json_set(j, "unknown", json_clone(unknown));
    int printed = command_print_json(self, j, err);
    return printed < 0 ? printed : rc;
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct forget *f = NULL;
    struct where where = {0};
    struct forget_result r = {0};
    struct json *runs = NULL, *unknown;
    if (!images.n && !captions.n && !conditions.n && !list)
        return error_set(err, ERR_USAGE,
                         "nothing to forget was named: use --image, --caption, --where or --list");
    const struct report *report = progress_start();
    unknown = json_new_array();
    int rc = where_parse(&where, conditions.items, (size_t)conditions.n, err);
    if (rc == 0) rc = forget_open(&f, cache, dry_run, err);
    if (rc == 0) rc = name_all(f, &where, unknown, err);
    if (rc == 0) rc = forget_run(f, report, &r, err);
    if (rc == 0) rc = find_runs(f, cache, &runs, err);
    progress_end();
    if (f) log_run(self, cache, &r, rc < 0 ? rc : json_size(unknown) ? COMMAND_REJECTS : 0);
    if (rc == 0) rc = answer(self, &r, runs, unknown, err);
    forget_close(f);
    where_release(&where);
    json_free(unknown);
    json_free(runs);
    return rc;
}

struct command cmd_forget = {
    .name = "forget",
    .summary = "Take pictures, captions or a whole source out of a cache, with all that was made "
               "of them",
    .usage = "CACHE --image KEY|ID | --caption KEY|TEXT | --where KEY=VALUE | --list FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes =
        "A picture goes with its ids, its pairs, captions that only it had, and its vectors in all "
        "views of all sets; a source\n"
        "(--where source=NAME) also with pictures and rejects that only it brought. No reader that "
        "opens the cache afterwards\n"
        "sees them; `clipstill gc` takes their bytes out of the files. Students trained on them, "
        "exports and snapshots are files\n"
        "of their own: the runs that made them are listed. No list of refusals is kept: ingesting "
        "a "
        "source that still holds\n"
        "them brings them back. With --list, lines that name nothing are told and end in exit 3.",
    .run = run,
};
