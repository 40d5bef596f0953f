/* clipstill merge: feature shards and other caches into one. */
#include <inttypes.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "store/merge.h"

#define GAPS_PRINTED 8

static struct merge_options o;
static bool complete;

static const struct option options[] = {
    {"features-only", 0, OPTION_FLAG, NULL,
     "leave the corpus as it is; features of records it does not have stay out", 0, 0, NULL,
     &o.features_only},
    {"accept-numerics", 0, OPTION_FLAG, NULL,
     "unite sets of different numerics (f32, bf16, int8) that are equal otherwise; recorded in the "
     "set",
     0, 0, NULL, &o.accept_numerics},
    {"complete", 0, OPTION_FLAG, NULL, "exit 4 when a merged set still lacks vectors", 0, 0, NULL,
     &complete},
};

static struct json *set_json(const struct merge_set *s)
{
    struct json *j = json_new_object(), *gaps = json_new_array();
    json_set_string(j, "name", s->name);
    json_set_bool(j, "is_new", s->is_new);
    json_set_int(j, "new", (int64_t)s->counts.n_new);
    json_set_int(j, "equal", (int64_t)s->counts.n_equal);
    json_set_int(j, "left_out", (int64_t)s->counts.n_left_out);
    json_set_int(j, "missing", (int64_t)s->n_missing);
    for (size_t i = 0; i < s->n_gaps; i++) {
        struct json *gap = json_new_object();
        json_set_int(gap, "view", s->gaps[i].view);
        json_set_int(gap, "first", s->gaps[i].first);
        json_set_int(gap, "last", s->gaps[i].last);
        json_push(gaps, gap);
    }
    json_set(j, "gaps", gaps);
    return j;
}

static struct json *as_json(const struct merge_result *r)
{
    struct json *j = json_new_object(), *sets = json_new_array(), *corpus = json_new_object();
    json_set_int(corpus, "images", (int64_t)r->corpus.n_images);
    json_set_int(corpus, "captions", (int64_t)r->corpus.n_captions);
    json_set_int(corpus, "pairs", (int64_t)r->corpus.n_pairs);
    json_set_int(corpus, "changed", (int64_t)r->corpus.n_changed);
    json_set_int(corpus, "ids", (int64_t)r->corpus.n_ids);
    json_set_int(corpus, "rejects", (int64_t)r->corpus.n_rejects);
    json_set_bool(corpus, "classes", r->corpus.has_classes);
    json_set(j, "corpus", corpus);
    for (size_t i = 0; i < r->n_sets; i++) json_push(sets, set_json(&r->sets[i]));
    json_set(j, "sets", sets);
    json_set_int(j, "missing", (int64_t)r->n_missing);
    return j;
}

static void print_gaps(const struct merge_set *s)
{
    for (size_t i = 0; i < s->n_gaps && i < GAPS_PRINTED; i++)
        printf("  view %u lacks records %u to %u\n", s->gaps[i].view, s->gaps[i].first,
               s->gaps[i].last);
    if (s->n_gaps > GAPS_PRINTED)
        printf("  and %zu ranges more (--json has them all)\n", s->n_gaps - GAPS_PRINTED);
}

static void print_result(const char *cache, const struct merge_result *r)
{
    if (r->has_corpus) {
        printf("%s: %" PRIu64 " new images, %" PRIu64 " new captions, %" PRIu64
               " new pairs (%" PRIu64 " changed), %" PRIu64 " new ids, %" PRIu64
               " more in quarantine%s\n",
               cache, r->corpus.n_images, r->corpus.n_captions, r->corpus.n_pairs,
               r->corpus.n_changed, r->corpus.n_ids, r->corpus.n_rejects,
               r->corpus.has_classes ? ", and the class list" : "");
    }
    for (size_t i = 0; i < r->n_sets; i++) {
        const struct merge_set *s = &r->sets[i];
        printf("%-26s %8" PRIu64 " new vectors, %" PRIu64 " equal", s->name, s->counts.n_new,
               s->counts.n_equal);
        if (s->counts.n_left_out)
            printf(", %" PRIu64 " of records that the corpus does not have left out",
                   s->counts.n_left_out);
        printf(s->n_missing ? "; %" PRIu64 " still missing\n" : "; complete\n", s->n_missing);
        print_gaps(s);
    }
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    const struct report *report = progress_start();
    struct merge *m = NULL;
    int rc = merge_open(&m, cache, &o, err);
    if (rc < 0) return rc;
    for (int i = 1; rc == 0 && i < self->n_positional; i++)
        rc = merge_folder(m, self->positional[i], report, err);
    if (rc == 0) rc = merge_gaps(m, err);
    const struct merge_result *r = merge_result(m);
    int is_short = rc == 0 && complete && r->n_missing ? COMMAND_GATE : 0;
    command_log_run(self, cache, as_json(r), rc ? rc : is_short);
    progress_end();
    if (rc == 0 && option_globals.json)
        rc = command_print_json(self, as_json(r), err);
    else if (rc == 0)
        print_result(cache, r);
    merge_close(m);
    return rc ? rc : is_short;
}

struct command cmd_merge = {
    .name = "merge",
    .summary = "Unite a cache with feature shards and with other caches, by key",
    .usage = "CACHE DIR...",
    .min_positional = 2,
    .max_positional = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes = "DIR: a cache, or a folder with features/ alone, made from a snapshot of this cache. "
             "What is there with\n"
             "equal codes is skipped; other fingerprints and differing codes are refused before "
             "anything of a DIR is\n"
             "written, by the component's or the key's name; what sets still lack is listed. The "
             "same command goes on\n"
             "after a kill. Of a pair that both have, DIR gives split, weight and label; what this "
             "cache has "
             "forgotten comes back\n"
             "from a DIR that still has it (--features-only leaves the corpus as it is).",
    .run = run,
};
