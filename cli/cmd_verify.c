/* clipstill verify: finds every flipped bit, says which records it touches. */
#include <string.h>

#include "cli/command.h"
#include "cli/keyof.h"
#include "cli/progress.h"
#include "cli/repair.h"
#include "cli/verifydrift.h"
#include "store/featureset.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/sandbox.h"

static const char *subset;
static bool repair, discard;
static struct recompute_options again;
static const char *sample;

static const struct option options[] = {
    {"subset", 0, OPTION_STRING, "N/T",
     "check the contents of a T-th of the records only, the Nth; T nights see them all", 0, 0, NULL,
     &subset},
    {"repair", 0, OPTION_FLAG, NULL, "replace what is damaged by all that can be salvaged of it", 0,
     0, NULL, &repair},
    {"discard", 0, OPTION_FLAG, NULL, "with --repair: do not keep the damaged files", 0, 0, NULL,
     &discard},
    {"recompute", 0, OPTION_STRING, "1%|N",
     "compute a sample of every set's vectors again, with the teacher", 0, 0, NULL, &sample},
    {"teacher", 0, OPTION_STRING, "DIR", "of --recompute: the folder that the features came from",
     0, 0, NULL, &again.teacher},
    {"prefix", 0, OPTION_STRING, "NAME", "of --recompute: only the sets NAME.TAP", 0, 0, NULL,
     &again.prefix},
    {"seed", 0, OPTION_COUNT, "N", "of --recompute: another sample", 0, 0, NULL, &again.seed},
};

/* The corpus, or a feature set. */
struct target {
    const char *cache, *set; /* set: NULL for the corpus */
};

/* What both callbacks of a walk get. */
struct findings {
    struct keyof key; /* first: keyof_number sees a struct keyof */
    struct json *list;
    struct json *repairs;
    struct json *recomputed; /* NULL: nothing was */
    const char *where;
    struct part part;
    size_t n_mended; /* findings in what was repaired since */
};

/* "table images, record 17, key 9f..." of "corpus: table images, record 17, key 9f...: why". */
static void set_touched(struct json *j, const char *text)
{
    char touched[400];
    const char *from = strstr(text, ": "), *to = from ? strstr(from + 2, ": ") : NULL;
    if (!to) return;
    snprintf(touched, sizeof touched, "%.*s", (int)(to - from - 2), from + 2);
    json_set_string(j, "touches", touched);
}

static void on_finding(void *context, const char *text)
{
    struct findings *f = context;
    struct json *j = json_new_object();
    json_set_string(j, "where", f->where);
    set_touched(j, text);
    json_set_string(j, "finding", text);
    json_push(f->list, j);
    if (option_globals.json) return;
    printf("%s: %s\n", f->where, text);
    fflush(stdout); /* whatever the next record does to us */
}

/* An error that means damage is a finding too; others end the command. */
static int as_finding(struct findings *f, int rc, struct error *err)
{
    if (rc != ERR_CORRUPT && rc != ERR_INCOMPATIBLE) return rc < 0 ? rc : 0;
    on_finding(f, err->text);
    return 0;
}

static bool is_there(const char *cache, const char *set)
{
    char **names = NULL;
    size_t n = 0;
    bool found = false;
    if (featureset_list(cache, &names, &n, NULL) < 0) n = 0;
    for (size_t i = 0; i < n; i++) found |= !strcmp(names[i], set);
    memory_free(names);
    return found;
}

/* What is opened before the walk; in a child, since a damaged page can end the process that reads it. */
static int open_part(void *context, struct sandbox *box, struct error *err)
{
    const struct target *p = context;
    struct corpus *c = NULL;
    struct featureset *fs = NULL;
    (void)box;
    int rc = p->set ? featureset_open(&fs, p->cache, p->set, FEATURESET_READ, err)
                    : corpus_open(&c, p->cache, CORPUS_READ, err);
    (void)rc; /* an error is found again, and told, by the parent */
    featureset_close(fs);
    corpus_close(c);
    return 0;
}

/* 1 when the part cannot even be opened without a crash, which is then a finding. */
static int crashes(const char *cache, const char *set, struct findings *f, struct error *err)
{
    struct target p = {cache, set};
    return sandbox_run(open_part, &p, on_finding, f, progress_start(), err);
}

static int verify_set(const char *cache, const char *name, struct corpus *c, struct findings *f,
                      struct error *err)
{
    struct featureset *fs = NULL;
    f->where = name;
    int rc = crashes(cache, name, f, err);
    bool opens = rc == 0;
    if (opens) rc = featureset_open(&fs, cache, name, FEATURESET_READ, err);
    opens &= rc == 0;
    rc = as_finding(f, rc, err);
    if (rc == 0 && !opens)
        rc = featureset_verify_file(cache, name, on_finding, f, progress_start(), err);
    if (rc == 0 && opens) {
        f->key = (struct keyof){c, featureset_spec(fs)->tower == TOWER_TEXT};
        rc = featureset_verify_part(fs, f->part, c ? keyof_number : NULL, on_finding, f,
                                    progress_start(), err);
    }
    featureset_close(fs);
    return as_finding(f, rc, err);
}

/* *c: open afterwards where it can be opened. */
static int verify_corpus(const char *cache, struct corpus **c, struct findings *f,
                         struct error *err)
{
    f->where = "corpus";
    int rc = crashes(cache, NULL, f, err);
    bool opens = rc == 0;
    if (opens) rc = corpus_open(c, cache, CORPUS_READ, err);
    opens &= rc == 0;
    rc = as_finding(f, rc, err);
    if (rc == 0 && !opens) rc = corpus_verify_file(cache, on_finding, f, progress_start(), err);
    if (rc == 0 && opens)
        rc = corpus_verify_part(*c, f->part, on_finding, f, progress_start(), err);
    return as_finding(f, rc, err);
}

/* Whether a set is of texts, as far as its name tells: its meta may be what is damaged. */
static bool is_of_texts(const char *cache, const char *name)
{
    struct featureset *fs = NULL;
    bool is_text = strstr(name, "text.") != NULL;
    if (featureset_open(&fs, cache, name, FEATURESET_READ, NULL) == 0)
        is_text = featureset_spec(fs)->tower == TOWER_TEXT;
    featureset_close(fs);
    return is_text;
}

/* Repairs what was found since n_before, then looks again: set NULL is the corpus. */
static int mend(const char *cache, const char *set, struct corpus **c, struct findings *f,
                size_t n_before, struct error *err)
{
    size_t n_found = json_size(f->list) - n_before;
    if (!repair || n_found == 0) return 0;
    struct keyof key = {*c, set && is_of_texts(cache, set)};
    if (!set) {
        corpus_close(*c);
        *c = NULL;
    }
    int rc = repair_run(cache, set, set && *c ? &key : NULL, discard, f->repairs, err);
    n_before = json_size(f->list);
    if (rc == 0 && !set) rc = verify_corpus(cache, c, f, err);
    if (rc == 0 && set && is_there(cache, set)) rc = verify_set(cache, set, *c, f, err);
    if (rc == 0 && json_size(f->list) == n_before) f->n_mended += n_found;
    return rc;
}

static int print_answer(const struct command *self, struct findings *f, struct error *err)
{
    size_t n_findings = json_size(f->list);
    if (option_globals.json) {
        struct json *answer = json_new_object();
        json_set_bool(answer, "clean", n_findings == f->n_mended);
        json_set(answer, "findings", f->list);
        if (repair) json_set(answer, "repairs", f->repairs);
        if (f->recomputed) json_set(answer, "recomputed", f->recomputed);
        f->list = f->recomputed = NULL;
        if (repair) f->repairs = NULL;
        return command_print_json(self, answer, err);
    }
    if (n_findings == 0)
        printf("%s: clean\n", self->positional[0]);
    else if (n_findings == f->n_mended)
        printf("%s: %zu findings, and clean after the repair\n", self->positional[0], n_findings);
    else
        printf("%s: %zu findings\n", self->positional[0], n_findings - f->n_mended);
    return 0;
}

static void on_drift(void *context, const char *set, const char *text)
{
    struct findings *f = context;
    f->where = set;
    on_finding(f, text);
}

/* The sample, of what is sound. */
static int look_for_drift(const char *cache, struct findings *f, struct error *err)
{
    if (!sample) return 0;
    if (json_size(f->list) == f->n_mended)
        return verifydrift_run(cache, &again, on_drift, f, &f->recomputed, err);
    if (!option_globals.json) printf("nothing was recomputed: what is damaged comes first\n");
    return 0;
}

static int check_options(struct findings *f, struct error *err)
{
    if (discard && !repair) return error_set(err, ERR_USAGE, "--discard goes with --repair");
    if (!sample != !again.teacher)
        return error_set(err, ERR_USAGE, "--recompute 1%% and --teacher DIR belong together");
    int rc = subset ? part_parse(subset, &f->part, err) : 0;
    return rc == 0 && sample ? recompute_parse(sample, &again, err) : rc;
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    struct corpus *c = NULL;
    char **names = NULL;
    size_t n = 0;
    struct findings f = {.list = json_new_array(), .repairs = json_new_array()};
    int rc = check_options(&f, err);
    if (rc == 0) rc = verify_corpus(cache, &c, &f, err);
    if (rc == 0) rc = mend(cache, NULL, &c, &f, 0, err);
    bool is_sound = json_size(f.list) == f.n_mended; /* else keys cannot be compared with it */
    if (rc == 0) rc = featureset_list(cache, &names, &n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        size_t n_before = json_size(f.list);
        struct corpus *keys = is_sound ? c : NULL;
        rc = verify_set(cache, names[i], keys, &f, err);
        if (rc == 0) rc = mend(cache, names[i], &keys, &f, n_before, err);
    }
    if (rc == 0) rc = look_for_drift(cache, &f, err);
    size_t n_left = json_size(f.list) - f.n_mended;
    if (rc == 0) rc = print_answer(self, &f, err);
    if (rc == 0 && n_left) rc = COMMAND_CORRUPT;
    json_free(f.list);
    json_free(f.repairs);
    json_free(f.recomputed);
    memory_free(names);
    corpus_close(c);
    return rc;
}

static void defaults(void)
{
    again = recompute_defaults();
}

struct command cmd_verify = {
    .name = "verify",
    .summary = "Check every record of a cache against its checksum and key; exit 5 if any fails",
    .usage = "CACHE",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes =
        "--repair keeps all records that pass their own checksum, read from the damaged file page "
        "by "
        "page, in a new file\n"
        "that takes its place; the damaged one stays beside it as CACHE/<name>.damaged-<time>. "
        "What "
        "was lost is said; the\n"
        "same ingest and featurize as before bring back just that. Exit 0 when the cache is clean "
        "afterwards.\n"
        "--recompute finds drift that no checksum sees: features that a changed decoder, "
        "resampling or weight would now give\n"
        "otherwise. The bound of 1 - cos is (sqrt(e) + sqrt(t))^2, e the storage's own (q1e-4: "
        "1e-4), t what machines may\n"
        "differ by (f32 1e-5, bf16 and int8 1e-3); the mean over the sample must keep t + e/10 "
        "beyond "
        "the storage's own.",
    .defaults = defaults,
    .run = run,
};
