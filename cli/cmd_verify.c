/* clipstill verify: finds every flipped bit, says which records it touches. */
#include <string.h>

#include "cli/command.h"
#include "cli/keyof.h"
#include "cli/progress.h"
#include "store/featureset.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/sandbox.h"

static const char *subset;

static const struct option options[] = {
    {"subset", 0, OPTION_STRING, "N/T",
     "check the contents of a T-th of the records only, the Nth; T nights see them all", 0, 0, NULL,
     &subset},
};

/* The corpus, or a feature set. */
struct target {
    const char *cache, *set; /* set: NULL for the corpus */
};

/* What both callbacks of a walk get. */
struct findings {
    struct keyof key; /* first: keyof_number sees a struct keyof */
    struct json *list;
    const char *where;
    struct part part;
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
    if (rc != 0) return rc < 0 ? rc : 0;
    rc = featureset_open(&fs, cache, name, FEATURESET_READ, err);
    if (rc == 0) {
        f->key = (struct keyof){c, featureset_spec(fs)->tower == TOWER_TEXT};
        rc = featureset_verify_part(fs, f->part, c ? keyof_number : NULL, on_finding, f,
                                    progress_start(), err);
    }
    featureset_close(fs);
    return as_finding(f, rc, err);
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    const struct report *report = progress_start();
    struct corpus *c = NULL;
    char **names = NULL;
    size_t n = 0;
    struct findings f = {.list = json_new_array(), .where = "corpus"};
    int rc = subset ? part_parse(subset, &f.part, err) : 0;
    if (rc == 0) rc = crashes(cache, NULL, &f, err);
    if (rc == 0) {
        rc = corpus_open(&c, cache, CORPUS_READ, err);
        if (rc == 0) rc = corpus_verify_part(c, f.part, on_finding, &f, report, err);
    }
    rc = as_finding(&f, rc, err);
    bool is_sound = json_size(f.list) == 0; /* else keys cannot be compared with it */
    if (rc == 0) rc = featureset_list(cache, &names, &n, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = verify_set(cache, names[i], is_sound ? c : NULL, &f, err);
    size_t n_findings = json_size(f.list);
    if (rc == 0 && option_globals.json) {
        struct json *answer = json_new_object();
        json_set_bool(answer, "clean", n_findings == 0);
        json_set(answer, "findings", f.list);
        f.list = NULL;
        rc = command_print_json(self, answer, err);
    } else if (rc == 0) {
        printf(n_findings ? "%s: %zu findings\n" : "%s: clean\n", cache, n_findings);
    }
    if (rc == 0 && n_findings) rc = COMMAND_CORRUPT;
    json_free(f.list);
    memory_free(names);
    corpus_close(c);
    return rc;
}

struct command cmd_verify = {
    .name = "verify",
    .summary = "Check every record of a cache against its checksum and key; exit 5 if any fails",
    .usage = "CACHE",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
