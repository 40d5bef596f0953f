/* `clipstill stat --text`; see stattext.h. */
#include "cli/stattext.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/progress.h"
#include "featurize/textstat.h"
#include "store/featureset.h"
#include "store/file.h"
#include "store/memory.h"

#define MAX_MODEL          ((uint64_t)64 << 20)
#define DEFAULT_MAX_TOKENS 77 /* what the published evaluation of AltCLIP cuts at */
#define SHOWN_SCRIPTS      3

/* The tokenizer of the first text set that keeps one: *bytes owned, n = 0 when there is none. */
static int cached_tokenizer(const char *cache, char **bytes, size_t *n, int *max_tokens,
                            struct error *err)
{
    char **names = NULL;
    size_t n_names = 0;
    int rc = featureset_list(cache, &names, &n_names, err);
    for (size_t i = 0; rc == 0 && *n == 0 && i < n_names; i++) {
        struct featureset *fs = NULL;
        rc = featureset_open(&fs, cache, names[i], FEATURESET_READ, err);
        if (rc == 0) rc = featureset_tokenizer(fs, bytes, n, err);
        if (rc == 0 && *n && *max_tokens == 0)
            *max_tokens = (int)json_int(json_get(featureset_spec(fs)->replay, "max_tokens"), 0);
        if (*n == 0) { /* a set of pictures keeps none, and gives an empty block */
            memory_free(*bytes);
            *bytes = NULL;
        }
        featureset_close(fs);
    }
    memory_free(names);
    return rc;
}

static struct json *language_json(const struct textstat_language *l, bool has_tokens)
{
    struct json *j = json_new_object(), *scripts = json_new_object();
    json_set_string(j, "language", l->name);
    json_set_int(j, "captions", (int64_t)l->n_captions);
    json_set_int(j, "characters", (int64_t)l->measure.n_clusters);
    json_set_int(j, "code_points", (int64_t)l->measure.n_code_points);
    for (int s = 0; s < CAPTION_MAX_SCRIPTS; s++)
        if (l->measure.n_script[s] && caption_script_code(s))
            json_set_int(scripts, caption_script_code(s), (int64_t)l->measure.n_script[s]);
    json_set(j, "scripts", scripts);
    if (!has_tokens) return j;
    json_set_int(j, "tokens", (int64_t)l->n_tokens);
    json_set_int(j, "unknown", (int64_t)l->n_unknown);
    json_set_int(j, "truncated", (int64_t)l->n_truncated);
    return j;
}

int stattext_add(struct json *answer, const char *cache, const char *path, int max_tokens,
                 struct error *err)
{
    struct corpus *c = NULL;
    struct tokenizer *tokenizer = NULL;
    struct textstat t = {0};
    char *bytes = NULL;
    size_t n = 0;
    int rc = path ? file_read(path, MAX_MODEL, &bytes, &n, err)
                  : cached_tokenizer(cache, &bytes, &n, &max_tokens, err);
    if (max_tokens == 0) max_tokens = DEFAULT_MAX_TOKENS;
    if (rc == 0 && n)
        rc = tokenizer_new(bytes, n, path ? path : "the cached tokenizer", &tokenizer, err);
    if (rc == 0) rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = textstat_run(&t, c, tokenizer, max_tokens, progress_start(), err);
    progress_end();
    if (rc == 0) {
        struct json *text = json_new_object(), *languages = json_new_array();
        if (tokenizer) json_set_int(text, "max_tokens", max_tokens);
        for (size_t i = 0; i < t.n; i++)
            json_push(languages, language_json(&t.languages[i], tokenizer));
        json_set(text, "languages", languages);
        json_set(answer, "text", text);
    }
    textstat_release(&t);
    corpus_close(c);
    tokenizer_free(tokenizer);
    memory_free(bytes);
    return rc;
}

/* "Latn 82%, Hani 3%": the largest, as shares of the code points; not spaces, digits and marks, which
 * belong to no script. */
static void print_scripts(const struct json *language)
{
    const struct json *scripts = json_get(language, "scripts"), *count;
    double all = json_number(json_get(language, "code_points"), 1);
    int64_t below = INT64_MAX;
    for (int shown = 0; shown < SHOWN_SCRIPTS; shown++) {
        const char *name, *best = NULL;
        int64_t most = 0;
        for (size_t i = 0; json_member(scripts, i, &name, &count); i++) {
            bool is_none = !strcmp(name, "Zyyy") || !strcmp(name, "Zinh");
            if (is_none || json_int(count, 0) <= most || json_int(count, 0) >= below) continue;
            most = json_int(count, 0);
            best = name;
        }
        if (!best) break;
        printf("%s%s %.0f%%", shown ? ", " : "", best, 100.0 * (double)most / all);
        below = most;
    }
}

void stattext_print(const struct json *answer)
{
    const struct json *text = json_get(answer, "text"), *languages = json_get(text, "languages");
    if (!text) return;
    int64_t max_tokens = json_int(json_get(text, "max_tokens"), 0);
    printf("%-14s %10s %10s %8s", "captions", "number", "characters", "a text");
    if (max_tokens) printf(" %10s %8s %9s %9s", "tokens", "a text", "unknown", "cut");
    printf("  scripts\n");
    for (size_t i = 0; i < json_size(languages); i++) {
        const struct json *l = json_at(languages, i);
        double n = json_number(json_get(l, "captions"), 1),
               tokens = json_number(json_get(l, "tokens"), 0);
        int64_t characters = json_int(json_get(l, "characters"), 0);
        printf("  %-12s %10.0f %10" PRId64 " %8.1f", json_text(json_get(l, "language"), ""), n,
               characters, (double)characters / n);
        if (max_tokens)
            printf(" %10.0f %8.1f %8.2f%% %9" PRId64, tokens, tokens / n,
                   tokens > 0 ? 100 * json_number(json_get(l, "unknown"), 0) / tokens : 0,
                   json_int(json_get(l, "truncated"), 0));
        printf("  ");
        print_scripts(l);
        printf("\n");
    }
    if (max_tokens)
        printf("  cut: captions of more than %" PRId64 " tokens, <s> and </s> among them\n",
               max_tokens);
    else
        printf("  tokens are counted once a text set is cached, or with --tokenizer FILE\n");
}
