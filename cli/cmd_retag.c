/* clipstill retag: language, split, label and weight of pairs, without their files. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "ingest/retag.h"

static struct retag_options o;
static struct where where;
static struct option_list conditions;
static const char *split, *shares;

static const struct option options[] = {
    {"where", 0, OPTION_REPEAT, "KEY=VALUE",
     "only pairs of this source, lang, label or split; a|b for several, != for the opposite", 0, 0,
     NULL, &conditions},
    {"set-lang", 0, OPTION_STRING, "TAG", "BCP 47; auto: detected from each caption", 0, 0, NULL,
     &o.language},
    {"set-split", 0, OPTION_CHOICE, "NAME", "of all of them", 0, 0, "train|val|test", &split},
    {"set-label", 0, OPTION_STRING, "NAME", "class label; an empty one takes it away", 0, 0, NULL,
     &o.label},
    {"set-weight", 0, OPTION_NUMBER, "W", "sampling weight", 1e-6, 1e6, NULL, &o.weight},
    {"assign-splits", 0, OPTION_STRING, "A/B/C",
     "train, val and test by chance, near-duplicates together, e.g. 80/10/10", 0, 0, NULL, &shares},
    {"seed", 0, OPTION_COUNT, "N", "of --assign-splits", 0, 0, NULL, &o.seed},
    {"dry-run", 0, OPTION_FLAG, NULL, "say what would change, write nothing", 0, 0, NULL,
     &o.dry_run},
};

static struct json *as_json(const struct retag_result *r)
{
    struct json *j = json_new_object();
    json_set_int(j, "pairs", (int64_t)r->n_pairs);
    json_set_int(j, "changed", (int64_t)r->n_changed);
    json_set_int(j, "merged", (int64_t)r->n_merged);
    json_set_int(j, "train", (int64_t)r->n_split[SPLIT_TRAIN]);
    json_set_int(j, "val", (int64_t)r->n_split[SPLIT_VAL]);
    json_set_int(j, "test", (int64_t)r->n_split[SPLIT_TEST]);
    json_set_int(j, "undetermined", (int64_t)r->n_und);
    return j;
}

static int run(const struct command *self, struct error *err)
{
    struct retag_result r = {0};
    enum corpus_split s;
    o.where = &where;
    int rc = where_parse(&where, conditions.items, (size_t)conditions.n, err);
    if (rc == 0 && shares) rc = retag_parse_shares(shares, o.share, err);
    o.assign = shares != NULL;
    if (rc == 0 && split && where_split(split, &s) == 0) o.split = (int)s;
    if (rc == 0) rc = retag_run(self->positional[0], &o, progress_start(), &r, err);
    where_release(&where);
    if (rc < 0) return rc;
    command_log_run(self, self->positional[0], as_json(&r), 0);
    progress_end();
    if (option_globals.json) return command_print_json(self, as_json(&r), err);
    printf("%s: %" PRIu64 " pairs meant, %" PRIu64 " %s", self->positional[0], r.n_pairs,
           r.n_changed, o.dry_run ? "would change" : "changed");
    if (r.n_merged) printf(" (%" PRIu64 " became one with another)", r.n_merged);
    if (r.n_und) printf(", %" PRIu64 " of undetermined language", r.n_und);
    printf("; now %" PRIu64 " train, %" PRIu64 " val, %" PRIu64 " test\n", r.n_split[SPLIT_TRAIN],
           r.n_split[SPLIT_VAL], r.n_split[SPLIT_TEST]);
    return 0;
}

static void defaults(void)
{
    o = retag_defaults();
}

struct command cmd_retag = {
    .name = "retag",
    .summary =
        "Change language, split, label or weight of pairs, without reading their files again",
    .usage = "CACHE [--where KEY=VALUE]... --set-...|--assign-splits",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes =
        "Features belong to pictures and captions and stay as they are. `clipstill stat --leaks` "
        "shows near-duplicates that\n"
        "stand in different splits; --assign-splits puts each group of them into one.",
    .defaults = defaults,
    .run = run,
};
