/* The identity of a set: what changes its bytes makes it stale by name, and nothing else does.
 *
 * covers: identity
 */
#include "featurize/freshness.h"

#include <unistd.h>

#include "featurize/model.h"
#include "featurize/safetensors.h"
#include "featurize/weightfile.h"
#include "store/corpus.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/corpuskit.h"
#include "tests/scratch.h"

static const char golden[] = "tests/golden/altclip-tiny/model";
static const char *const files[] = {"config.json", "preprocessor_config.json", "model.safetensors",
                                    "sentencepiece.bpe.model", "tokenizer_config.json"};

static struct scratch scratch;
static struct error err;

#define must(call) check_must(call, &err)

static void copy(const char *from, const char *to, const char *was, const char *is)
{
    char *bytes = NULL, *whole;
    size_t n;
    must(file_read(from, 1 << 28, &bytes, &n, &err));
    char *at = was ? memmem(bytes, n, was, strlen(was)) : NULL;
    if (was && !at) abort();
    whole = memory_array(n + 100, 1, MEMORY_MAX_FILE, &err);
    size_t head = at ? (size_t)(at - bytes) : n, tail = at ? n - head - strlen(was) : 0;
    memcpy(whole, bytes, head);
    if (at) {
        memcpy(whole + head, is, strlen(is));
        memcpy(whole + head + strlen(is), at + strlen(was), tail);
    }
    must(file_write(to, whole, head + tail + (at ? strlen(is) : 0), &err));
    memory_free(bytes);
    memory_free(whole);
}

/* The teacher again, with `was` in one of its files replaced; file NULL: as it is. */
static const char *teacher(const char *name, const char *file, const char *was, const char *is)
{
    const char *dir = scratch_path(&scratch, name);
    char from[300], to[300];
    must(file_make_folder(dir, &err));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        bool changed = file && !strcmp(file, files[i]);
        snprintf(from, sizeof from, "%s/%s", golden, files[i]);
        snprintf(to, sizeof to, "%s/%s", dir, files[i]);
        copy(from, to, changed ? was : NULL, is);
    }
    return dir;
}

/* The teacher with its weights in two files of other names, tensors dealt out in turn; value: of one
 * weight of the pictures' tower, NAN: as it is. */
static const char *sharded(const char *name, float value)
{
    const char *dir = teacher(name, NULL, NULL, NULL);
    static const char *const shard[2] = {"weights-b.safetensors", "weights-a.safetensors"};
    char path[300];
    struct weightfile *s;
    struct tensor part[2][400];
    size_t n[2] = {0};
    struct json *index = json_new_object(), *map = json_new_object();
    must(weightfile_open(golden, &s, &err));
    const struct tensor *t;
    float *changed = NULL;
    for (size_t i = 0; (t = weightfile_at(s, i)); i++) {
        if (t->type != TENSOR_F32) continue; /* position_ids, which count for nothing */
        struct tensor *to = &part[i % 2][n[i % 2]++];
        *to = *t;
        json_set_string(map, t->name, shard[i % 2]);
        if (!isnan(value) && !strcmp(t->name, "visual_projection.weight")) {
            changed = memory_array(t->n_bytes, 1, MEMORY_MAX_FILE, &err);
            memcpy(changed, t->bytes, t->n_bytes);
            changed[3] = value;
            to->bytes = (const uint8_t *)changed;
        }
    }
    for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/%s", dir, shard[k]);
        must(safetensors_write(path, n[k], part[k], NULL, &err));
    }
    weightfile_close(s);
    memory_free(changed);
    json_set(index, "weight_map", map);
    char *text = json_write(index, JSON_LINE, &err);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    must(file_write(path, text, strlen(text), &err));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (unlink(path)) abort();
    memory_free(text);
    json_free(index);
    return dir;
}

static void make_corpus(const char *cache, const char *rule)
{
    struct corpus *c;
    uint32_t number;
    bool is_new;
    must(corpus_open(&c, cache, CORPUS_WRITE, &err));
    must(corpus_begin(c, &err));
    if (rule) must(corpus_set_caption_rule(c, rule, &err));
    for (int i = 0; i < 3; i++) {
        char text[40];
        kit_add_golden(c, i);
        int n_text = snprintf(text, sizeof text, "a dog, number %d", i);
        must(corpus_add_caption(c, text, (size_t)n_text, &number, &is_new, &err));
    }
    must(corpus_commit(c, &err));
    corpus_close(c);
}

static const char *const taps[] = {"image.final", "image.block2@2x2", "text.final",
                                   "text.block3.mean"};
static const char *const taps_again[] = {"text.block3.mean", "image.block2@2x2", "text.final",
                                         "image.final"};

static struct featurize_options options(const char *dir)
{
    struct featurize_options o = featurize_defaults();
    o.teacher = dir;
    o.numerics = FEATURIZE_F32;
    o.taps = taps;
    o.n_taps = 4;
    return o;
}

static const char *set_up(void)
{
    scratch_make(&scratch);
    const char *cache = scratch_path(&scratch, "c");
    struct featurize_options o = options(golden);
    struct featurize_result r;
    make_corpus(cache, NULL);
    must(featurize_run(cache, &o, NULL, &r, &err));
    featurize_result_release(&r);
    return cache;
}

static void all_hits(const char *cache, const struct featurize_options *o, const char *what)
{
    struct featurize_result r;
    struct json *list;
    memset(&err, 0, sizeof err);
    if (featurize_run(cache, o, NULL, &r, &err) < 0) CHECK_FAIL("%s: %s", what, err.text);
    if (r.n_hits != 12 || r.n_computed)
        CHECK_FAIL("%s: %llu hits, %llu computed", what, (unsigned long long)r.n_hits,
                   (unsigned long long)r.n_computed);
    featurize_result_release(&r);
    CHECK_OK(freshness_list(cache, o, NULL, &list, &err), &err);
    CHECK_EQ(json_size(list), 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK_STR(json_text(json_get(json_at(list, i), "state"), ""), "fresh");
        CHECK_EQ(json_size(json_get(json_at(list, i), "differences")), 0);
    }
    json_free(list);
}

TEST(what_does_not_count_stays_a_hit)
{
    const char *cache = set_up();
    struct featurize_options o = options(golden);
    all_hits(cache, &o, "the same");
    o = options(teacher("elsewhere", NULL, NULL, NULL));
    all_hits(cache, &o, "another folder");
    o = options(sharded("sharded", NAN));
    all_hits(cache, &o, "sharded weights under other names");
    o.taps = taps_again;
    all_hits(cache, &o, "another order of taps");
    for (int n = 1; n <= 3; n += 2) {
        o.n_threads = n;
        all_hits(cache, &o, "another -j");
    }
    if (rename(cache, scratch_path(&scratch, "moved"))) abort();
    cache = scratch_path(&scratch, "moved");
    all_hits(cache, &o, "the cache's folder moved");
    scratch_remove(&scratch);
}

/* State and components of a set, "stale weights preprocessing.resample". */
static const char *state(const struct json *list, const char *name)
{
    static char text[400];
    for (size_t i = 0; i < json_size(list); i++) {
        const struct json *j = json_at(list, i), *d = json_get(j, "differences");
        if (strcmp(json_text(json_get(j, "name"), ""), name)) continue;
        int n = snprintf(text, sizeof text, "%s", json_text(json_get(j, "state"), ""));
        for (size_t k = 0; k < json_size(d); k++)
            n += snprintf(text + n, sizeof text - (size_t)n, " %s",
                          json_text(json_get(json_at(d, k), "component"), ""));
        return text;
    }
    return "none";
}

/* Both sets of pictures and both of texts must say so, and featurize must refuse what is stale. */
static void expect(const char *cache, const struct featurize_options *o, const char *image,
                   const char *text)
{
    struct json *list;
    struct featurize_result r;
    CHECK_OK(freshness_list(cache, o, NULL, &list, &err), &err);
    CHECK_STR(state(list, "image.final"), image);
    CHECK_STR(state(list, "image.block2@2x2"), image);
    CHECK_STR(state(list, "text.final"), text);
    CHECK_STR(state(list, "text.block3.mean"), text);
    json_free(list);
    if (!o->teacher) return;
    CHECK_EQ(featurize_run(cache, o, NULL, &r, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, strchr(strcmp(image, "fresh") ? image : text, ' ') + 1);
    CHECK_EQ(r.n_computed, 0);
    featurize_result_release(&r);
}

TEST(every_component_is_named)
{
    const char *cache = set_up();
    struct featurize_options o = options(sharded("weight", 0.25f));
    expect(cache, &o, "stale weights", "fresh");
    o = options(
        teacher("resample", "preprocessor_config.json", "\"resample\": 3", "\"resample\": 2"));
    expect(cache, &o, "stale preprocessing.resample", "fresh");
    o = options(teacher("tokens", "tokenizer_config.json", "\"model_max_length\": 64",
                        "\"model_max_length\": 32"));
    expect(cache, &o, "fresh", "stale max_tokens");
    o = options(golden);
    o.numerics = FEATURIZE_BF16;
    expect(cache, &o, "stale numerics", "stale numerics");
    o = options(golden);
    o.store = "f16";
    expect(cache, &o, "stale storage", "stale storage");
    o = options(golden);
    o.plan.flip = false;
    expect(cache, &o, "stale view_plan.flip", "fresh");
    o = options(golden);
    o.plan.jitter = (struct jitter_strength){400, 400, 200, 100, 800};
    expect(cache, &o, "stale view_plan.jitter", "fresh");
    o = options(golden);
    o.apply_orientation = false;
    expect(cache, &o, "stale preprocessing.apply_orientation", "fresh");
    scratch_remove(&scratch);
}

TEST(a_changed_tokenizer_and_config_are_named)
{
    const char *cache = set_up();
    struct featurize_options o;
    struct json *list;
    /* a field that no reader knows, behind the model's own: other bytes, the same pieces */
    const char *dir = teacher("tokenizer", NULL, NULL, NULL);
    char path[300], *bytes, *longer;
    size_t n;
    snprintf(path, sizeof path, "%s/sentencepiece.bpe.model", dir);
    CHECK_OK(file_read(path, 1 << 28, &bytes, &n, &err), &err);
    longer = memory_array(n + 3, 1, MEMORY_MAX_FILE, &err);
    memcpy(longer, bytes, n);
    memcpy(longer + n, "\xc0\x0c\x01", 3);
    CHECK_OK(file_write(path, longer, n + 3, &err), &err);
    memory_free(bytes);
    memory_free(longer);
    o = options(dir);
    expect(cache, &o, "fresh", "stale tokenizer");
    o = options(
        teacher("eps", "config.json", "\"layer_norm_eps\": 1e-05", "\"layer_norm_eps\": 1e-06"));
    /* the first of two: config.json's text part */
    CHECK_OK(freshness_list(cache, &o, NULL, &list, &err), &err);
    CHECK_STR(state(list, "image.final"), "fresh");
    CHECK_STR(state(list, "text.final"), "stale config.layer_norm_eps");
    json_free(list);
    scratch_remove(&scratch);
}

TEST(without_a_teacher_sets_are_held_against_corpus_and_each_other)
{
    const char *cache = set_up(), *other = scratch_path(&scratch, "other");
    struct featurize_options none = featurize_defaults(), o = options(sharded("w2", 0.25f));
    struct featurize_result r;
    char from[200], to[200];
    expect(cache, &none, "unasked", "unasked");
    /* a set of another teacher under this teacher's names */
    o.taps = (const char *const[]){"image.block1@2x2"};
    o.n_taps = 1;
    CHECK_OK(featurize_run(cache, &o, NULL, &r, &err), &err);
    featurize_result_release(&r);
    struct json *list;
    CHECK_OK(freshness_list(cache, &none, NULL, &list, &err), &err);
    CHECK_STR(state(list, "image.block1@2x2"), "unasked"); /* the first of them */
    CHECK_STR(state(list, "image.final"), "odd weights");
    CHECK_STR(state(list, "text.final"), "unasked");
    json_free(list);
    /* with a prefix it is a second teacher's, and all is well */
    o.prefix = "w2";
    CHECK_OK(featurize_run(cache, &o, NULL, &r, &err), &err);
    featurize_result_release(&r);
    snprintf(from, sizeof from, "%s/features/image.block1@2x2", cache);
    CHECK_OK(file_remove_folder(from, &err), &err);
    CHECK_OK(freshness_list(cache, &none, NULL, &list, &err), &err);
    CHECK_STR(state(list, "image.final"), "unasked");
    CHECK_STR(state(list, "w2.image.block1@2x2"), "unasked");
    json_free(list);
    CHECK_OK(freshness_list(cache, &o, "w2", &list, &err), &err);
    CHECK_STR(state(list, "image.final"), "other");
    CHECK_STR(state(list, "w2.image.block1@2x2"), "fresh");
    json_free(list);
    /* features under a corpus whose captions are normalised otherwise */
    make_corpus(other, "nfkc-space-1");
    snprintf(from, sizeof from, "%s/features", cache);
    snprintf(to, sizeof to, "%s/features", other);
    if (rename(from, to)) abort();
    expect(other, &none, "unasked", "stale caption_rule");
    o = options(golden);
    expect(other, &o, "fresh", "stale caption_rule");
    scratch_remove(&scratch);
}

TEST_MAIN
