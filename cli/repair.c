/* Repairing, and saying what came of it; see repair.h. */
#include "cli/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cli/option.h"
#include "cli/progress.h"
#include "store/salvage.h"

/* What is counted, by its word. */
struct line {
    const char *word;
    uint64_t kept, lost;
};

static void on_lost(void *context, const char *text)
{
    struct json *list = context;
    if (option_globals.json)
        json_push_string(list, text);
    else
        printf("  %s\n", text);
}

static void print(const char *name, const char *suffix, const struct salvage_result *r,
                  const struct line *lines, int n)
{
    if (r->is_gone)
        printf("%s: nothing could be kept, and the set is gone; featurize makes it again", name);
    else
        printf("%s: repaired: kept", name);
    for (int i = 0; i < n && !r->is_gone; i++)
        printf("%s %" PRIu64 " %s", i ? "," : "", lines[i].kept, lines[i].word);
    bool any = false;
    for (int i = 0; i < n; i++) {
        if (!lines[i].lost) continue;
        printf("%s %" PRIu64 " %s", any ? "," : "; lost", lines[i].lost, lines[i].word);
        any = true;
    }
    if (!any && !r->is_gone) printf("; nothing is lost");
    if (suffix) printf("; the damaged one is kept as %s.%s", name, suffix);
    printf("\n");
    fflush(stdout);
}

static struct json *as_json(const char *name, const struct salvage_result *r,
                            const struct line *lines, int n)
{
    struct json *j = json_new_object(), *kept = json_new_object(), *lost = json_new_object();
    json_set_string(j, "where", name);
    json_set_bool(j, "gone", r->is_gone);
    for (int i = 0; i < n; i++) {
        json_set_int(kept, lines[i].word, (int64_t)lines[i].kept);
        json_set_int(lost, lines[i].word, (int64_t)lines[i].lost);
    }
    json_set(j, "kept", kept);
    json_set(j, "lost", lost);
    return j;
}

static void tell(const char *name, bool is_set, const char *suffix, const struct salvage_result *r,
                 struct json *lost, struct json *answers)
{
    const struct salvage_counts *k = &r->kept, *l = &r->lost;
    const struct line lines[] = {
        {"images", k->n_images, l->n_images},    {"captions", k->n_captions, l->n_captions},
        {"pairs", k->n_pairs, l->n_pairs},       {"ids", k->n_ids, l->n_ids},
        {"rejects", k->n_rejects, l->n_rejects}, {"vectors", k->n_vectors, l->n_vectors}};
    const struct line *from = is_set ? lines + 5 : lines;
    int n = is_set ? 1 : 5;
    if (!option_globals.json) {
        print(name, suffix, r, from, n);
        return;
    }
    struct json *j = as_json(name, r, from, n);
    json_set(j, "losses", lost);
    json_push(answers, j);
}

int repair_run(const char *cache, const char *set, struct keyof *key, bool discard,
               struct json *answers, struct error *err)
{
    char suffix[40];
    time_t now = time(NULL);
    struct tm utc;
    struct salvage_result result = {0};
    struct json *lost = json_new_array();
    strftime(suffix, sizeof suffix, "damaged-%Y%m%dT%H%M%S", gmtime_r(&now, &utc));
    struct salvage how = {.cache = cache,
                          .suffix = discard ? NULL : suffix,
                          .lost = on_lost,
                          .context = lost,
                          .report = progress_start()};
    uint32_t n = !key           ? 0
                 : key->is_text ? corpus_n_captions(key->corpus)
                                : corpus_n_images(key->corpus);
    int rc = set ? salvage_featureset(&how, set, key ? keyof_number : NULL, key, n, &result, err)
                 : salvage_corpus(&how, &result, err);
    progress_end();
    if (rc < 0)
        json_free(lost);
    else
        tell(set ? set : "corpus", set, how.suffix, &result, lost, answers);
    if (rc >= 0 && !option_globals.json) json_free(lost);
    return rc;
}
