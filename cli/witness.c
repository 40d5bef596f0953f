/* Runs that may have seen a record; see witness.h. */
#include "cli/witness.h"

#include <stdio.h>
#include <string.h>

#include "store/file.h"
#include "store/memory.h"

#define MAX_MANIFEST ((uint64_t)16 << 20)

/* Verbs that read records, or write what is made of them. */
static bool has_seen(const char *verb)
{
    static const char *const verbs[] = {
        "ingest",   "featurize", "shrink", "distill", "align",    "eval",   "export", "import",
        "snapshot", "merge",     "bench",  "compare", "classify", "search", "report", "refresh"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verb, verbs[i])) return true;
    return false;
}

/* "20261125T093000Z-distill-2.json" -> "distill" */
static void verb_of_name(const char *name, char verb[40])
{
    const char *dash = strchr(name, '-');
    size_t n = dash ? strspn(dash + 1, "abcdefghijklmnopqrstuvwxyz") : 0;
    snprintf(verb, 40, "%.*s", n < 39 ? (int)n : 39, dash ? dash + 1 : "");
}

/* An ingest of one of the sources: its arguments after the cache, by the last part of their paths. */
static bool brings(const struct json *run, const char *const *sources, size_t n)
{
    const struct json *words = json_get(json_get(run, "settings"), "arguments");
    const char *as = json_text(json_get(json_get(run, "settings"), "source"), NULL);
    for (size_t k = 0; k < n; k++) {
        if (as && !strcmp(as, sources[k])) return true;
        for (size_t i = 1; i < json_size(words); i++) {
            const char *word = json_text(json_at(words, i), ""), *slash = strrchr(word, '/');
            if (!strcmp(word, sources[k]) || (slash && !strcmp(slash + 1, sources[k]))) return true;
        }
    }
    return false;
}

static void push_run(struct json *runs, const char *name, const char *verb, const struct json *run,
                     bool is_before)
{
    const char *out = json_text(json_get(json_get(run, "settings"), "out"), NULL);
    struct json *j = json_new_object();
    char path[300];
    snprintf(path, sizeof path, "runs/%.280s", name);
    json_set_string(j, "run", path);
    json_set_string(j, "verb", verb);
    json_set_string(j, "ended", json_text(json_get(run, "ended"), NULL));
    if (out) json_set_string(j, "out", out);
    if (is_before) json_set_bool(j, "before", true);
    json_push(runs, j);
}

static struct json *read_manifest(const char *folder, const char *name)
{
    char *path = file_join(folder, name, NULL), *text = NULL;
    size_t n = 0;
    struct json *j = NULL;
    if (path && file_read(path, MAX_MANIFEST, &text, &n, NULL) == 0)
        j = json_read(text, n, name, NULL);
    memory_free(text);
    memory_free(path);
    return j;
}

#define STAMP 16 /* characters of a name that are its time, to the second */

/* The name of the first ingest of one of the sources; NULL when there is none. */
static const char *find_arrival(const char *folder, char *const *names, size_t n,
                                const char *const *sources, size_t n_sources)
{
    for (size_t i = 0; i < n; i++) {
        if (!strstr(names[i], "-ingest")) continue;
        struct json *run = read_manifest(folder, names[i]);
        bool found = run && brings(run, sources, n_sources);
        json_free(run);
        if (found) return names[i];
    }
    return NULL;
}

int witness_runs(const char *cache, const char *const *sources, size_t n_sources,
                 struct json **runs, struct error *err)
{
    char **names = NULL, *folder = file_join(cache, "runs", err);
    size_t n = 0;
    int rc = folder ? 0 : ERR_NOMEM;
    *runs = json_new_array();
    /* in order of time, which their names begin with */
    if (rc == 0 && file_is_folder(folder)) rc = file_list(folder, &names, &n, err);
    const char *arrival = rc == 0 ? find_arrival(folder, names, n, sources, n_sources) : NULL;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char verb[40];
        verb_of_name(names[i], verb);
        if (names[i][0] == '.' || !has_seen(verb)) continue;
        struct json *run = read_manifest(folder, names[i]);
        push_run(*runs, names[i], verb, run, arrival && strncmp(names[i], arrival, STAMP) < 0);
        json_free(run);
    }
    memory_free(names);
    memory_free(folder);
    return rc;
}
