/* clipstill stat: what a cache holds. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/statfresh.h"
#include "cli/statleaks.h"
#include "cli/stattext.h"
#include "store/corpus.h"
#include "store/featureset.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/transfer.h"

static bool leaks, texts;
static const char *tokenizer;
static int max_tokens;
static struct featurize_options teacher;
static const char *numerics, *jitter;
static bool no_orientation;

static const struct option options[] = {
    {"leaks", 0, OPTION_FLAG, NULL, "near-duplicate pictures, and those in different splits", 0, 0,
     NULL, &leaks},
    {"text", 0, OPTION_FLAG, NULL,
     "characters, scripts, tokens, unknown and cut ones of the captions by language", 0, 0, NULL,
     &texts},
    {"tokenizer", 0, OPTION_STRING, "FILE",
     "of --text: a SentencePiece model instead of the cached teacher's", 0, 0, NULL, &tokenizer},
    {"max-tokens", 0, OPTION_INT, "N",
     "of --text and --teacher: where captions are cut; 0 = as the cached set or 77, and the "
     "teacher's own",
     0, 100000, NULL, &max_tokens},
    {"teacher", 0, OPTION_STRING, "DIR",
     "compare every set with what this teacher's folder would give now", 0, 0, NULL,
     &teacher.teacher},
    {"prefix", 0, OPTION_STRING, "NAME", "of --teacher: only the sets NAME.TAP", 0, 0, NULL,
     &teacher.prefix},
    {"numerics", 0, OPTION_CHOICE, "HOW", "of --teacher: as featurize has it; auto: as the set", 0,
     0, "auto|f32|bf16|int8", &numerics},
    {"store", 0, OPTION_STRING, "HOW",
     "of --teacher: as featurize has it; the set's own when not given", 0, 0, NULL, &teacher.store},
    {"no-exif", 0, OPTION_FLAG, NULL, "of --teacher: as featurize has it", 0, 0, NULL,
     &no_orientation},
    {"jitter", 0, OPTION_STRING, "B,C,S,H[,P]", "of --teacher: as featurize has it", 0, 0, NULL,
     &jitter},
};

/* Adds one to object[key]. */
static void count_one(struct json *object, const char *key)
{
    json_set_int(object, key, json_int(json_get(object, key), 0) + 1);
}

static int count_reject(void *context, uint64_t number, const char *text)
{
    (void)number;
    struct json *reject = json_read(text, strlen(text), "quarantine", NULL);
    count_one(context, json_text(json_get(reject, "reason"), "unknown"));
    json_free(reject);
    return 0;
}

/* {"en": {"train": 10, "val": 2}, ...} for one kind of name. */
static struct json *count_pairs(struct corpus *c, enum corpus_name_kind kind,
                                const struct corpus_pair *pairs, size_t n, struct error *err)
{
    static const char *const split[SPLIT_N] = {"train", "val", "test"};
    uint16_t n_names = corpus_n_names(c, kind);
    uint64_t(*count)[SPLIT_N] = memory_array((uint64_t)n_names + 1, sizeof *count, MEMORY_MAX_SMALL,
                                             err);
    if (!count) return NULL;
    for (size_t i = 0; i < n; i++) {
        uint16_t id = kind == NAME_LANGUAGE ? pairs[i].language
                      : kind == NAME_SOURCE ? pairs[i].source
                                            : pairs[i].label;
        count[id < n_names ? id : n_names][pairs[i].split]++;
    }
    struct json *out = json_new_object();
    for (uint16_t id = 0; id < n_names; id++) {
        struct json *row = json_new_object();
        for (int s = 0; s < SPLIT_N; s++)
            if (count[id][s]) json_set_int(row, split[s], (int64_t)count[id][s]);
        if (json_size(row))
            json_set(out, corpus_name(c, kind, id), row);
        else
            json_free(row);
    }
    memory_free(count);
    return out;
}

static int stat_corpus(const char *cache, struct json *answer, struct error *err)
{
    struct corpus *c = NULL;
    struct corpus_pair *pairs = NULL;
    struct corpus_counts n;
    size_t n_pairs = 0;
    struct json *j = json_new_object();
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = corpus_counts(c, &n, err);
    if (rc == 0) rc = corpus_pairs(c, &pairs, &n_pairs, err);
    if (rc < 0) goto done;
    json_set_int(j, "images", (int64_t)n.n_images);
    json_set_int(j, "image_bytes", (int64_t)n.n_image_bytes);
    json_set_int(j, "captions", (int64_t)n.n_captions);
    json_set_int(j, "prompts", (int64_t)n.n_prompts);
    json_set_int(j, "pairs", (int64_t)n.n_pairs);
    json_set_int(j, "rejects", (int64_t)n.n_rejects);
    json_set_int(j, "forgotten", (int64_t)n.n_forgotten);
    json_set(j, "languages", count_pairs(c, NAME_LANGUAGE, pairs, n_pairs, err));
    json_set(j, "sources", count_pairs(c, NAME_SOURCE, pairs, n_pairs, err));
    json_set(j, "labels", count_pairs(c, NAME_LABEL, pairs, n_pairs, err));
    struct json *reasons = json_new_object();
    json_set(j, "reject_reasons", reasons);
    rc = corpus_each_reject(c, count_reject, reasons, err);
    json_set(answer, "corpus", j);
    j = NULL;
done:
    json_free(j);
    memory_free(pairs);
    corpus_close(c);
    return rc;
}

#define COVERAGE_BATCH 4096 /* records asked for at once: their blocks are read and checked once */

/* Records of the corpus that a set has in view 0, misses, or holds under another key. */
static int count_coverage(struct corpus *c, struct featureset *fs, struct json *j,
                          struct error *err)
{
    static uint32_t number[COVERAGE_BATCH];
    static uint8_t key[COVERAGE_BATCH][DIGEST_BYTES], has[COVERAGE_BATCH];
    enum featureset_tower tower = featureset_spec(fs)->tower;
    uint32_t n = tower == TOWER_TEXT ? corpus_n_captions(c) : corpus_n_images(c);
    uint64_t n_hit = 0, n_live = 0;
    for (uint32_t first = 0; first < n; first += COVERAGE_BATCH) {
        uint32_t end = n - first < COVERAGE_BATCH ? n : first + COVERAGE_BATCH, m = 0;
        int rc = 0;
        for (uint32_t i = first; i < end && rc == 0; i++) {
            number[m] = i;
            rc = transfer_key(c, tower, i, key[m], err);
            m += rc == 0;
            if (rc == ERR_NOT_FOUND) rc = 0; /* forgotten */
        }
        if (rc == 0)
            rc = featureset_has(fs, 0, m, number, (const uint8_t(*)[DIGEST_BYTES])key, has, err);
        if (rc < 0) return rc;
        for (uint32_t i = 0; i < m; i++) n_hit += has[i];
        n_live += m;
    }
    json_set_int(j, "hit", (int64_t)n_hit);
    json_set_int(j, "missing", (int64_t)(n_live - n_hit));
    return 0;
}

static int stat_set(const char *cache, const char *name, const struct json *fresh,
                    struct json *sets, struct error *err)
{
    struct featureset *fs = NULL;
    struct corpus *c = NULL;
    struct json *j = json_new_object(), *views = json_new_array();
    char storage[CODEC_TEXT];
    uint64_t stored, as_f32, n = 0;
    json_set(j, "views", views);
    int rc = featureset_open(&fs, cache, name, FEATURESET_READ, err);
    if (rc < 0) goto done;
    const struct featureset_spec *spec = featureset_spec(fs);
    json_set_string(j, "name", name);
    json_set_string(j, "tower", spec->tower == TOWER_TEXT ? "text" : "image");
    json_set_string(j, "tap", spec->tap);
    json_set_int(j, "dimension", spec->dim);
    codec_spell(spec->storage, spec->epsilon, storage);
    json_set_string(j, "storage", storage);
    for (uint32_t v = 0; v < featureset_n_views(fs); v++) {
        json_push_int(views, (int64_t)featureset_n_vectors(fs, v));
        n += featureset_n_vectors(fs, v);
    }
    featureset_bytes(fs, &stored, &as_f32);
    json_set_int(j, "vectors", (int64_t)n);
    json_set_int(j, "bytes", (int64_t)stored);
    json_set_int(j, "bytes_as_f32", (int64_t)as_f32);
    json_set(j, "fingerprint", json_clone(spec->fingerprint));
    rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = count_coverage(c, fs, j, err);
    if (rc == 0) rc = statfresh_add(j, fs, fresh, err);
    json_push(sets, j);
    j = NULL;
done:
    json_free(j);
    corpus_close(c);
    featureset_close(fs);
    return rc;
}

static void print_groups(const char *title, const struct json *groups)
{
    const char *name;
    const struct json *row;
    if (!json_size(groups)) return;
    printf("%-26s %10s %10s %10s\n", title, "train", "val", "test");
    for (size_t i = 0; json_member(groups, i, &name, &row); i++)
        printf("  %-24s %10" PRId64 " %10" PRId64 " %10" PRId64 "\n", name,
               json_int(json_get(row, "train"), 0), json_int(json_get(row, "val"), 0),
               json_int(json_get(row, "test"), 0));
}

static void print_stat(const char *cache, const struct json *answer)
{
    const struct json *c = json_get(answer, "corpus"), *sets = json_get(answer, "sets"), *value;
    const char *key;
    printf("%s: %" PRId64 " images (%.1f MB), %" PRId64 " captions, %" PRId64
           " class prompts that are no caption, %" PRId64 " pairs, %" PRId64 " in quarantine\n",
           cache, json_int(json_get(c, "images"), 0),
           (double)json_int(json_get(c, "image_bytes"), 0) / 1e6,
           json_int(json_get(c, "captions"), 0) - json_int(json_get(c, "prompts"), 0),
           json_int(json_get(c, "prompts"), 0), json_int(json_get(c, "pairs"), 0),
           json_int(json_get(c, "rejects"), 0));
    for (size_t i = 0; json_member(json_get(c, "reject_reasons"), i, &key, &value); i++)
        printf("  rejected: %-24s %10" PRId64 "\n", key, json_int(value, 0));
    print_groups("pairs by language", json_get(c, "languages"));
    print_groups("pairs by source", json_get(c, "sources"));
    for (size_t i = 0; i < json_size(sets); i++) {
        const struct json *s = json_at(sets, i);
        double stored = (double)json_int(json_get(s, "bytes"), 0);
        printf("set %-22s %s, %" PRId64 " values, %s; %" PRId64
               " vectors in %zu view%s, %.1f MB%s; %" PRId64 " hits, %" PRId64 " missing, %" PRId64
               " stale\n",
               json_text(json_get(s, "name"), ""), json_text(json_get(s, "tower"), ""),
               json_int(json_get(s, "dimension"), 0), json_text(json_get(s, "storage"), ""),
               json_int(json_get(s, "vectors"), 0), json_size(json_get(s, "views")),
               json_size(json_get(s, "views")) == 1 ? "" : "s", stored / 1e6,
               command_saving((uint64_t)stored, (uint64_t)json_int(json_get(s, "bytes_as_f32"), 0)),
               json_int(json_get(s, "hit"), 0), json_int(json_get(s, "missing"), 0),
               json_int(json_get(s, "stale"), 0));
        statfresh_print(s);
    }
}

static int run(const struct command *self, struct error *err)
{
    const char *cache = self->positional[0];
    char **names = NULL;
    size_t n = 0;
    struct json *answer = json_new_object(), *sets = json_new_array(), *fresh = NULL;
    teacher.max_tokens = max_tokens;
    teacher.apply_orientation = !no_orientation;
    int rc = featurize_parse_numerics(numerics, &teacher.numerics, err);
    if (rc == 0 && jitter) rc = jitter_parse(jitter, &teacher.plan.jitter, err);
    if (rc == 0) rc = stat_corpus(cache, answer, err);
    json_set(answer, "sets", sets);
    if (rc == 0) rc = featureset_list(cache, &names, &n, err);
    if (rc == 0) rc = freshness_list(cache, &teacher, teacher.prefix, &fresh, err);
    for (size_t i = 0; i < n && rc == 0; i++) rc = stat_set(cache, names[i], fresh, sets, err);
    if (rc == 0 && leaks) rc = statleaks_add(answer, cache, err);
    if (rc == 0 && texts) rc = stattext_add(answer, cache, tokenizer, max_tokens, err);
    if (rc == 0 && option_globals.json) {
        rc = command_print_json(self, answer, err);
        answer = NULL;
    } else if (rc == 0) {
        print_stat(cache, answer);
        statleaks_print(answer);
        stattext_print(answer);
    }
    memory_free(names);
    json_free(fresh);
    json_free(answer);
    return rc;
}

static void defaults(void)
{
    teacher = featurize_defaults();
    numerics = "auto";
}

struct command cmd_stat = {
    .name = "stat",
    .summary =
        "Say what a cache holds: images, captions, pairs by language, quarantine, feature sets",
    .usage = "CACHE",
    .min_positional = 1,
    .max_positional = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .notes =
        "A set is fresh, or stale with every component that changed (expected: what the teacher "
        "gives; found: what the\n"
        "set was made with). Without --teacher, sets are held against the corpus's caption rule "
        "and against each other.",
    .defaults = defaults,
    .run = run,
};
