/* clipstill featurize: a teacher's features, computed once. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/pace.h"
#include "cli/progress.h"
#include "cli/rank.h"
#include "featurize/featurize.h"
#include "store/file.h"
#include "store/memory.h"

static struct featurize_options o;
static struct option_list taps, languages;
static const char *numerics, *jitter, *shard;
static int n_views;
static bool no_orientation;

static const struct option options[] = {
    {"teacher", 0, OPTION_STRING, "DIR",
     "a Hugging Face folder of AltCLIP, Chinese-CLIP, CLIP or M-CLIP", 0, 0, NULL, &o.teacher},
    {"taps", 0, OPTION_LIST, "TAP",
     "image.final, image.blockN@GxG, text.final, text.blockN.mean; both finals when not given", 0,
     0, NULL, &taps},
    {"views", 0, OPTION_INT, "K", "views a picture: the teacher's own, and K - 1 random crops", 1,
     1000, NULL, &n_views},
    {"jitter", 0, OPTION_STRING, "B,C,S,H[,P]",
     "of the random views: brightness, contrast, saturation and hue, as torchvision's ColorJitter, "
     "with probability P (0.8); often 0.4,0.4,0.2,0.1",
     0, 0, NULL, &jitter},
    {"numerics", 0, OPTION_CHOICE, "HOW",
     "arithmetic of matrix products; auto: as the set, or bf16 where it is fast", 0, 0,
     "auto|f32|bf16|int8", &numerics},
    {"calibration", 0, OPTION_STRING, "FILE",
     "int8: read from FILE, or made and written there; not given: the cache's own", 0, 0, NULL,
     &o.calibration},
    {"min-cosine", 0, OPTION_NUMBER, "C",
     "int8: refuse a new set unless every vector of a sample has this cosine to f32's", -1, 1, NULL,
     &o.min_cosine},
    {"store", 0, OPTION_STRING, "HOW",
     "f32, f16, bf16 or q1e-4; q1e-4 for final taps and q1e-3 for others when not given", 0, 0,
     NULL, &o.store},
    {"prefix", 0, OPTION_STRING, "NAME", "sets are named NAME.TAP: for a second teacher", 0, 0,
     NULL, &o.prefix},
    {"lang", 0, OPTION_LIST, "TAG",
     "captions and class prompts in these languages only: each teacher its own", 0, 0, NULL,
     &languages},
    {"max-tokens", 0, OPTION_INT, "N", "texts are cut here; 0 = the teacher's own limit", 0,
     1000000, NULL, &o.max_tokens},
    {"no-exif", 0, OPTION_FLAG, NULL, "do not turn pictures upright by EXIF", 0, 0, NULL,
     &no_orientation},
    {"accept-numerics", 0, OPTION_FLAG, NULL,
     "complete a set that was made in other numerics, in those of this run; recorded in the set", 0,
     0, NULL, &o.accept_numerics},
    {"shard", 0, OPTION_STRING, "I/N",
     "this machine's share, for --out; that of the Slurm array task or MPI rank when not given", 0,
     0, NULL, &shard},
    {"out", 0, OPTION_STRING, "DIR",
     "write the features into DIR, for merge, and the cache not at all", 0, 0, NULL, &o.out},
    {"dry-run", 0, OPTION_FLAG, NULL,
     "say what would be computed, how many bytes and how long, write nothing", 0, 0, NULL,
     &o.dry_run},
};

static struct json *as_json(const struct featurize_result *r, bool complete)
{
    struct json *j = json_new_object(), *sets = json_new_array();
    json_set_bool(j, "dry_run", o.dry_run);
    json_set_bool(j, "complete", complete);
    json_set_string(j, "numerics", r->numerics);
    json_set_int(j, "computed", (int64_t)r->n_computed);
    json_set_int(j, "hits", (int64_t)r->n_hits);
    json_set_int(j, "skipped", (int64_t)r->n_skipped);
    for (size_t i = 0; i < r->n_sets; i++) {
        const struct featurize_set *s = &r->sets[i];
        struct json *set = json_new_object();
        json_set_string(set, "name", s->name);
        json_set_bool(set, "new", s->is_new);
        json_set_int(set, "computed", (int64_t)s->n_computed);
        json_set_int(set, "hits", (int64_t)s->n_hits);
        json_set_int(set, "bytes", (int64_t)s->stored_bytes);
        json_set_int(set, "bytes_as_f32", (int64_t)s->as_f32_bytes);
        if (s->n_sample) {
            json_set_int(set, "sample", s->n_sample);
            json_set_number(set, "cosine_mean", s->cosine_mean);
            json_set_number(set, "cosine_min", s->cosine_min);
        }
        json_push(sets, set);
    }
    json_set(j, "sets", sets);
    json_set(j, "pictures", pace_json(&r->pictures));
    json_set(j, "captions", pace_json(&r->texts));
    return j;
}

static void print_result(const struct featurize_result *r)
{
    for (size_t i = 0; i < r->n_sets; i++) {
        const struct featurize_set *s = &r->sets[i];
        printf("%-26s %8" PRIu64 " vectors %s, %" PRIu64 " hits, %.2f MB%s\n", s->name,
               s->n_computed, o.dry_run ? "to compute" : "computed", s->n_hits,
               (double)s->stored_bytes / 1e6, command_saving(s->stored_bytes, s->as_f32_bytes));
        if (s->n_sample)
            printf("  int8 against f32 over %d when it was made: cosine %.5f, least %.5f\n",
                   s->n_sample, s->cosine_mean, s->cosine_min);
    }
    pace_print("pictures", &r->pictures);
    pace_print("captions", &r->texts);
    if (r->n_skipped)
        printf("%" PRIu64 " pictures cannot be decoded and have no features\n", r->n_skipped);
}

/* Under mpirun: a share and a folder for each process. *folder: owned. */
static int choose_rank(char **folder, struct error *err)
{
    char name[32];
    struct shard s;
    if (!rank_of_job(&s)) return 0;
    if (s.count > 1 && (shard || !o.out))
        return error_set(
            err, ERR_USAGE,
            "under mpirun featurize needs --out DIR, for a folder a process, and takes "
            "no --shard: the processes are the shards");
    if (s.count == 1) return 0;
    snprintf(name, sizeof name, "rank-%u", s.index);
    if (!(*folder = file_join(o.out, name, err))) return ERR_NOMEM;
    int rc = file_make_folder(o.out, err);
    o.out = *folder;
    o.shard = s;
    return rc;
}

/* --shard, or the place of this task in its Slurm array (sbatch --array=1-16, any first number and step). */
static int choose_shard(struct error *err)
{
    char text[64];
    const char *id = getenv("SLURM_ARRAY_TASK_ID"), *count = getenv("SLURM_ARRAY_TASK_COUNT"),
               *min = getenv("SLURM_ARRAY_TASK_MIN"), *step = getenv("SLURM_ARRAY_TASK_STEP");
    if (!o.out && shard)
        return error_set(err, ERR_USAGE,
                         "featurize --shard %s needs --out DIR: one cache has one writer", shard);
    if (!o.out || o.shard.count > 1 || (!shard && (!id || !count))) return 0;
    if (shard) return shard_parse(shard, &o.shard, err);
    long every = step && atol(step) > 0 ? atol(step) : 1;
    snprintf(text, sizeof text, "%ld/%ld", (atol(id) - (min ? atol(min) : 1)) / every + 1,
             atol(count));
    int rc = shard_parse(text, &o.shard, err);
    if (rc < 0) error_prefix(err, "SLURM_ARRAY_TASK_ID and _COUNT: ");
    return rc;
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    char *folder = NULL;
    struct featurize_result r = {0};
    if (!o.teacher) return error_set(err, ERR_USAGE, "featurize needs --teacher DIR");
    if (taps.n) {
        o.taps = taps.items;
        o.n_taps = (size_t)taps.n;
    }
    if (languages.n) {
        o.languages = languages.items;
        o.n_languages = (size_t)languages.n;
    }
    o.n_views = (uint32_t)n_views;
    o.apply_orientation = !no_orientation;
    o.planned = pace_plan;
    int rc = featurize_parse_numerics(numerics, &o.numerics, err);
    if (rc == 0 && jitter) rc = jitter_parse(jitter, &o.plan.jitter, err);
    if (rc == 0) rc = choose_rank(&folder, err);
    if (rc == 0) rc = choose_shard(err);
    if (rc < 0) goto done;
    rc = featurize_run(cache, &o, progress_start(), &r, err);
    if (!o.dry_run) command_log_run(self, o.out ? o.out : cache, as_json(&r, rc == 0), rc);
    progress_end();
    /* stopped: what was done is told as well */
    if ((rc == 0 || rc == ERR_STOPPED) && option_globals.json) {
        int printed = command_print_json(self, as_json(&r, rc == 0), err);
        if (rc == 0) rc = printed;
    } else if (rc == 0 || rc == ERR_STOPPED) {
        print_result(&r);
    }
done:
    featurize_result_release(&r);
    memory_free(folder);
    return rc;
}

static void defaults(void)
{
    o = featurize_defaults();
    n_views = (int)o.n_views;
    numerics = "auto";
    no_orientation = !o.apply_orientation;
}

struct command cmd_featurize = {
    .name = "featurize",
    .summary = "Compute a teacher's features once and keep them, compressed, in feature sets",
    .usage = "CACHE --teacher DIR",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes = "Running the same command again computes only what is missing. Features of another "
             "teacher, preprocessing or\n"
             "storage are refused, never mixed.",
    .defaults = defaults,
    .run = run,
};
