/* A tiny cache for the tests of training: 20 golden photos, captions in three languages, made-up
 * teacher features.
 *
 *     struct traincache t; traincache_make(&t);   // t.cache, t.folder for outputs
 *     traincache_remove(&t);
 *
 * Photos 0..14 are train's, 15..19 val's. Every photo has a caption of its own in "en" and "de",
 * and shares one in "zh" with two others (a false negative if it were not masked). Features: a
 * common direction plus what the key says, so that a student learns something from every step.
 * Sets: image.final and image.block1@2x2 with two views, text.final and text.block1.mean; the text
 * sets keep the golden teacher's tokenizer.
 */
#ifndef TESTS_TRAINCACHE_H
#define TESTS_TRAINCACHE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ingest/picture.h"
#include "store/corpus.h"
#include "store/featureset.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"
#include "train/random.h"

enum { TC_IMAGES = 20, TC_TRAIN = 15, TC_DIM = 24, TC_VIEWS = 2, TC_HIDDEN = 8, TC_GRID = 2 };

struct traincache {
    char folder[64], cache[80];
};

static void tc_die(const char *what, const struct error *err)
{
    printf("# traincache: %s: %s\n", what, err->text);
    exit(1);
}

static int tc_pair(struct corpus *c, uint32_t image, const char *language, const char *text, int i,
                   struct error *err)
{
    struct corpus_pair pair = {.image = image, .split = i < TC_TRAIN ? SPLIT_TRAIN : SPLIT_VAL, .weight = 1};
    char label[16];
    bool is_new, changed;
    snprintf(label, sizeof label, "class %d", i % 3);
    int rc = corpus_add_caption(c, text, strlen(text), &pair.caption, &is_new, err);
    if (rc == 0) rc = corpus_intern(c, NAME_LANGUAGE, language, &pair.language, err);
    if (rc == 0) rc = corpus_intern(c, NAME_SOURCE, i % 4 ? "public" : "field", &pair.source, err);
    if (rc == 0) rc = corpus_intern(c, NAME_LABEL, label, &pair.label, err);
    return rc == 0 ? corpus_add_pair(c, &pair, NULL, 0, &is_new, &changed, err) : rc;
}

static int tc_photo(struct corpus *c, int i, struct error *err)
{
    char path[100], text[100], *bytes = NULL;
    size_t n;
    snprintf(path, sizeof path, "tests/golden/preprocess/inputs/photo_%02d.jpg", i);
    struct picture picture = {0};
    struct picture_limits limits = picture_limits_default();
    int rc = file_read(path, 1 << 24, &bytes, &n, err);
    if (rc == 0) rc = picture_decode(bytes, n, &limits, true, &picture, err);
    struct corpus_image image = {.width_px = picture.width_px,
                                 .height_px = picture.height_px,
                                 .format = IMAGE_JPEG,
                                 .orientation = 1};
    uint32_t number;
    bool is_new;
    if (rc == 0) rc = corpus_add_image(c, &image, bytes, n, &number, &is_new, err);
    snprintf(text, sizeof text, "A red flower number %d on a white wall", i);
    if (rc == 0) rc = tc_pair(c, number, "en", text, i, err);
    snprintf(text, sizeof text, "Bild %d mit einer roten Blume", i);
    if (rc == 0) rc = tc_pair(c, number, "de", text, i, err);
    snprintf(text, sizeof text, "一张红色的照片 %d", i / 3);
    if (rc == 0) rc = tc_pair(c, number, "zh", text, i, err);
    picture_release(&picture);
    memory_free(bytes);
    return rc;
}

/* Value j of a record's feature. */
static float tc_value(const uint8_t *key, uint32_t view, int j)
{
    uint64_t seed;
    memcpy(&seed, key, sizeof seed);
    return (float)(random_uniform(5, 0, (uint64_t)j) - 0.5 +
                   0.5 * (random_uniform(seed, view, (uint64_t)j) - 0.5));
}

static void tc_key(struct corpus *c, bool is_text, uint32_t i, uint8_t key[DIGEST_BYTES], struct error *err)
{
    struct corpus_image image;
    const char *text;
    size_t n;
    int rc = is_text ? corpus_caption_text(c, i, &text, &n, key, err) : corpus_get_image(c, i, &image, err);
    if (rc < 0) tc_die("key", err);
    if (!is_text) memcpy(key, image.key, DIGEST_BYTES);
}

static void tc_set(const char *cache, struct corpus *c, const char *name, bool is_text, int dim, int grid)
{
    struct error err = {0};
    struct json *fingerprint = json_new_object(), *replay = json_new_object();
    char *tokenizer = NULL;
    size_t n_tokenizer = 0;
    json_set_string(fingerprint, "weights", is_text ? "tiny text" : "tiny image");
    json_set_string(fingerprint, "tap", name);
    static const char seen[] = "{\"resize\":\"shortest_edge\",\"size\":64,\"resample\":\"bicubic\","
                               "\"crop\":\"center\",\"crop_size\":64}";
    json_set(replay, "preprocessing", json_read(seen, sizeof seen - 1, "replay", &err));
    json_set_number(replay, "logit_scale", 20);
    json_set_int(replay, "max_tokens", 32);
    json_set_int(replay, "blocks", 2);
    if (is_text && file_read("tests/golden/altclip-tiny/model/sentencepiece.bpe.model", 1 << 24,
                             &tokenizer, &n_tokenizer, &err) < 0)
        tc_die("tokenizer", &err);
    struct featureset_spec spec = {.tower = is_text ? TOWER_TEXT : TOWER_IMAGE,
                                   .dim = (uint32_t)dim,
                                   .grid = (uint32_t)grid,
                                   .storage = STORAGE_F32,
                                   .fingerprint = fingerprint,
                                   .replay = replay,
                                   .tokenizer = tokenizer,
                                   .n_tokenizer = n_tokenizer};
    snprintf(spec.name, sizeof spec.name, "%s", name);
    snprintf(spec.tap, sizeof spec.tap, "%s", name);
    struct featureset *fs;
    if (featureset_create(&fs, cache, &spec, &err) < 0) tc_die(name, &err);
    uint32_t n = is_text ? corpus_n_captions(c) : corpus_n_images(c);
    float *x = memory_array((uint64_t)n * (uint64_t)dim, sizeof *x, MEMORY_MAX_TENSOR, &err);
    uint32_t *numbers = memory_array(n, sizeof *numbers, MEMORY_MAX_TENSOR, &err);
    uint8_t(*keys)[DIGEST_BYTES] = memory_array(n, DIGEST_BYTES, MEMORY_MAX_TENSOR, &err);
    for (uint32_t v = 0; v < (is_text ? 1 : TC_VIEWS); v++) {
        for (uint32_t i = 0; i < n; i++) {
            numbers[i] = i;
            tc_key(c, is_text, i, keys[i], &err);
            for (int j = 0; j < dim; j++) x[i * (uint32_t)dim + (uint32_t)j] = tc_value(keys[i], v, j);
        }
        if (featureset_put(fs, v, n, numbers, (const uint8_t(*)[DIGEST_BYTES])keys, x, &err) < 0)
            tc_die(name, &err);
    }
    featureset_close(fs);
    memory_free(x);
    memory_free(numbers);
    memory_free(keys);
    memory_free(tokenizer);
    json_free(fingerprint);
    json_free(replay);
}

/* Adds photo i to an existing cache, without features. */
static void __attribute__((unused))
traincache_add_pair(struct traincache *t, uint32_t image, const char *text)
{
    struct error err = {0};
    struct corpus *c;
    if (corpus_open(&c, t->cache, CORPUS_WRITE, &err) < 0 || corpus_begin(c, &err) < 0 ||
        tc_pair(c, image, "en", text, 0, &err) < 0 || corpus_commit(c, &err) < 0)
        tc_die("pair", &err);
    corpus_close(c);
}

static void traincache_make(struct traincache *t)
{
    struct error err = {0};
    struct corpus *c;
    snprintf(t->folder, sizeof t->folder, "/tmp/clipstill-train-XXXXXX");
    if (!mkdtemp(t->folder)) tc_die("mkdtemp", &err);
    snprintf(t->cache, sizeof t->cache, "%s/cache", t->folder);
    if (corpus_open(&c, t->cache, CORPUS_WRITE, &err) < 0 || corpus_begin(c, &err) < 0)
        tc_die("corpus", &err);
    for (int i = 0; i < TC_IMAGES; i++)
        if (tc_photo(c, i, &err) < 0) tc_die("photo", &err);
    if (corpus_commit(c, &err) < 0) tc_die("commit", &err);
    tc_set(t->cache, c, "image.final", false, TC_DIM, 0);
    tc_set(t->cache, c, "image.block1@2x2", false, TC_HIDDEN * TC_GRID * TC_GRID, TC_GRID);
    tc_set(t->cache, c, "text.final", true, TC_DIM, 0);
    tc_set(t->cache, c, "text.block1.mean", true, TC_HIDDEN, 0);
    corpus_close(c);
}

static void traincache_remove(struct traincache *t)
{
    struct error err;
    if (file_remove_folder(t->folder, &err) < 0) tc_die("remove", &err);
}

/* A path in the cache's folder; the last 64 asked for are kept. */
__attribute__((unused)) static const char *tc_path(const struct traincache *t, const char *name)
{
    static char text[64][120];
    static int k;
    k = (k + 1) % 64;
    snprintf(text[k], sizeof text[k], "%s/%s", t->folder, name);
    return text[k];
}

/* The file of this name is there in both folders, byte for byte. */
__attribute__((unused)) static bool tc_same_file(const char *a, const char *b, const char *name)
{
    struct error err;
    char p[200], q[200], *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    snprintf(p, sizeof p, "%s/%s", a, name);
    snprintf(q, sizeof q, "%s/%s", b, name);
    bool same = file_read(p, 1 << 28, &x, &n, &err) == 0 &&
                file_read(q, 1 << 28, &y, &m, &err) == 0 && n == m && !memcmp(x, y, n);
    memory_free(x);
    memory_free(y);
    return same;
}

/* First and last value of a key on the curve's lines of a stage. */
static void __attribute__((unused))
tc_curve_ends(const char *out, const char *stage, const char *key, double *first, double *last)
{
    struct error err;
    char name[200], *bytes, *save;
    size_t n;
    *first = *last = NAN;
    snprintf(name, sizeof name, "%s/curve.jsonl", out);
    if (file_read(name, 1 << 24, &bytes, &n, &err) < 0) return;
    for (char *line = strtok_r(bytes, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct json *j = json_read(line, strlen(line), "curve", &err);
        if (!strcmp(json_text(json_get(j, "stage"), ""), stage)) {
            *last = json_number(json_get(j, key), NAN);
            if (isnan(*first)) *first = *last;
        }
        json_free(j);
    }
    memory_free(bytes);
}

#endif
