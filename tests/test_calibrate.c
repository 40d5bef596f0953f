/* int8 on the bundled trained teacher over the bundled corpus: how near it comes to f32, vector by
 * vector and as a search sees it; and that a calibration is a function of the corpus's keys, stays
 * with the sets it made, and lets nothing pass that is worse than asked for.
 *
 * covers: corpussample
 */
#include "tests/scratch.h"

#include <omp.h>
#include <stdlib.h>

#include "featurize/calibrate.h"
#include "featurize/corpussample.h"
#include "featurize/featurize.h"
#include "featurize/gemm.h"
#include "featurize/model.h"
#include "store/corpus.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/transfer.h"

#define CORPUS       "samples/corpus/"
#define N_PICTURES   400
#define MAX_CAPTIONS 1200
#define TOP          10

static const char teacher[] = "samples/teacher";
static struct scratch scratch;
static struct error err;

#define must(call) check_must(call, &err)

/* Pictures first, last of the folder, from one end or the other: the order of arrival. */
static void add_pictures(struct corpus *c, char *const *names, int first, int end, int step)
{
    for (int i = first; i != end; i += step) {
        char *path = file_join(CORPUS "images", names[i], &err), *bytes;
        size_t n;
        uint32_t number;
        bool is_new;
        must(file_read(path, 1 << 24, &bytes, &n, &err));
        struct corpus_image image = {.width_px = 1, .height_px = 1, .format = 1, .orientation = 1};
        must(corpus_add_image(c, &image, bytes, n, &number, &is_new, &err));
        memory_free(bytes);
        memory_free(path);
    }
}

/* The third column of public.tsv, up to n lines. */
static void add_captions(struct corpus *c, int n)
{
    char *text, *line;
    size_t n_text;
    uint32_t number;
    bool is_new;
    must(file_read(CORPUS "public.tsv", 1 << 24, &text, &n_text, &err));
    line = strchr(text, '\n');
    for (int i = 0; i < n && line; i++) {
        char *caption = strchr(line + 1, '\t'), *end;
        caption = caption ? strchr(caption + 1, '\t') : NULL;
        line = strchr(line + 1, '\n');
        if (!caption || !line || caption > line) continue;
        end = strchr(++caption, '\t');
        if (!end || end > line || end == caption) continue;
        must(corpus_add_caption(c, caption, (size_t)(end - caption), &number, &is_new, &err));
    }
    memory_free(text);
}

static void make_corpus(const char *cache, int first, int end, int n_captions)
{
    struct corpus *c;
    char **names;
    size_t n;
    must(file_list(CORPUS "images", &names, &n, &err));
    must(corpus_open(&c, cache, CORPUS_WRITE, &err));
    must(corpus_begin(c, &err));
    add_pictures(c, names, first, end, first < end ? 1 : -1);
    add_captions(c, n_captions);
    must(corpus_commit(c, &err));
    corpus_close(c);
    memory_free(names);
}

static struct featurize_options options(enum featurize_numerics numerics, const char *prefix)
{
    struct featurize_options o = featurize_defaults();
    o.teacher = teacher;
    o.numerics = numerics;
    o.prefix = prefix;
    o.store = "f32";
    return o;
}

static void featurise(const char *cache, const struct featurize_options *o,
                      struct featurize_set sets[2])
{
    struct featurize_result r;
    must(featurize_run(cache, o, NULL, &r, &err));
    for (size_t i = 0; i < r.n_sets && i < 2; i++) sets[i] = r.sets[i];
    featurize_result_release(&r);
}

/* All vectors of a set by number; *x owned. */
static int read_set(const char *cache, const char *name, float **x, int *dim)
{
    struct featureset *fs;
    struct corpus *c;
    must(corpus_open(&c, cache, CORPUS_READ, &err));
    must(featureset_open(&fs, cache, name, FEATURESET_READ, &err));
    int n = (int)featureset_n_vectors(fs, 0);
    *dim = (int)featureset_spec(fs)->dim;
    *x = memory_array((uint64_t)n, (uint64_t)*dim * sizeof **x, MEMORY_MAX_FILE, &err);
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    for (int i = 0; i < n; i++) {
        uint8_t key[DIGEST_BYTES];
        must(transfer_key(c, featureset_spec(fs)->tower, (uint32_t)i, key, &err));
        must(featureset_get(cur, 0, (uint32_t)i, key, *x + i * *dim, NULL, &err));
    }
    featureset_cursor_free(cur);
    featureset_close(fs);
    corpus_close(c);
    return n;
}

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void check_cosines(const float *a, const float *b, int n, int dim, const char *name)
{
    double least = 1, mean = 0;
    for (int i = 0; i < n; i++) {
        double cos = dot(a + i * dim, b + i * dim, dim);
        mean += cos / n;
        least = cos < least ? cos : least;
    }
    printf("# %s: %d vectors, cosine to f32 %.6f, least %.6f\n", name, n, mean, least);
    CHECK(least >= 0.999);
}

/* The TOP nearest of n rows to q. */
static void nearest(const float *q, const float *rows, int n, int dim, int best[TOP])
{
    double score[TOP];
    for (int k = 0; k < TOP; k++) score[k] = -2;
    for (int i = 0; i < n; i++) {
        double s = dot(q, rows + i * dim, dim);
        int at = TOP;
        while (at > 0 && s > score[at - 1]) at--;
        if (at == TOP) continue;
        memmove(score + at + 1, score + at, (size_t)(TOP - 1 - at) * sizeof *score);
        memmove(best + at + 1, best + at, (size_t)(TOP - 1 - at) * sizeof *best);
        score[at] = s;
        best[at] = i;
    }
}

/* The share of the ten nearest pictures of every text that both numerics find. */
static double overlap(const float *text[2], int n_texts, const float *image[2], int n_images,
                      int dim)
{
    int common = 0;
    for (int i = 0; i < n_texts; i++) {
        int best[2][TOP];
        for (int k = 0; k < 2; k++) nearest(text[k] + i * dim, image[k], n_images, dim, best[k]);
        for (int a = 0; a < TOP; a++)
            for (int b = 0; b < TOP; b++) common += best[0][a] == best[1][b];
    }
    return (double)common / n_texts / TOP;
}

/* Measured over all 2,160 pictures and 11,272 captions: the least cosine 0.9998, overlap 0.98. */
TEST(int8_agrees_with_f32_on_the_bundled_teacher)
{
    if (!gemm_int8_is_exact()) SKIP("this CPU adds 8-bit products with saturation");
    scratch_make(&scratch);
    const char *cache = scratch_path(&scratch, "c");
    struct featurize_set sets[2];
    struct featurize_options f32 = options(FEATURIZE_F32, "f"), int8 = options(FEATURIZE_INT8, "i");
    make_corpus(cache, 0, N_PICTURES, MAX_CAPTIONS);
    featurise(cache, &f32, sets);
    CHECK_EQ(sets[0].n_sample, 0);
    featurise(cache, &int8, sets);
    CHECK_EQ(sets[0].n_sample, CORPUSSAMPLE_PICTURES);
    CHECK_EQ(sets[1].n_sample, CORPUSSAMPLE_CAPTIONS);
    float *image[2], *text[2];
    int dim, n_images = read_set(cache, "f.image.final", &image[0], &dim),
             n_texts = read_set(cache, "f.text.final", &text[0], &dim);
    CHECK_EQ(read_set(cache, "i.image.final", &image[1], &dim), n_images);
    CHECK_EQ(read_set(cache, "i.text.final", &text[1], &dim), n_texts);
    check_cosines(image[0], image[1], n_images, dim, "pictures");
    check_cosines(text[0], text[1], n_texts, dim, "captions");
    double share = overlap((const float *[]){text[0], text[1]}, n_texts,
                           (const float *[]){image[0], image[1]}, n_images, dim);
    printf("# of the %d nearest pictures of %d captions, both find %.4f\n", TOP, n_texts, share);
    CHECK(share >= 0.95);
    for (int k = 0; k < 2; k++) memory_free(image[k]), memory_free(text[k]);
    scratch_remove(&scratch);
}

static struct json *fingerprint_of(const char *cache, const char *name)
{
    struct featureset *fs;
    must(featureset_open(&fs, cache, name, FEATURESET_READ, &err));
    struct json *j = json_clone(featureset_spec(fs)->fingerprint);
    featureset_close(fs);
    return j;
}

static bool same_fingerprints(const char *a, const char *b, const char *name)
{
    struct json *x = fingerprint_of(a, name), *y = fingerprint_of(b, name);
    bool same = json_same(x, y);
    json_free(x);
    json_free(y);
    return same;
}

/* The same records in another order and by other threads: the same calibration. More records, and a
 * sample that is no longer the same: the one that is there stays, for its sets and for new ones, and
 * so it does elsewhere, given the file; only a cache that begins anew gets another. */
TEST(a_calibration_is_of_the_keys_and_is_frozen)
{
    if (!gemm_int8_is_exact()) SKIP("this CPU adds 8-bit products with saturation");
    scratch_make(&scratch);
    struct featurize_set sets[2];
    const char *a = scratch_path(&scratch, "a"), *b = scratch_path(&scratch, "b"),
               *c = scratch_path(&scratch, "c"), *file = scratch_path(&scratch, "cal.json");
    struct featurize_options o = options(FEATURIZE_INT8, NULL);
    make_corpus(a, 0, 100, 400);
    make_corpus(b, 99, -1, 400);
    o.calibration = file;
    featurise(a, &o, sets);
    o.calibration = NULL;
    o.n_threads = 1;
    featurise(b, &o, sets);
    CHECK(same_fingerprints(a, b, "image.final"));
    CHECK(same_fingerprints(a, b, "text.final"));

    make_corpus(a, 100, 300, 1200); /* another night */
    make_corpus(c, 0, 300, 1200);
    o.numerics = FEATURIZE_AUTO;
    featurise(a, &o, sets);
    CHECK(same_fingerprints(a, b, "image.final"));
    o.numerics = FEATURIZE_INT8;
    o.taps = (const char *const[]){"image.block1@2x2", "text.block1.mean"};
    featurise(a, &o, sets);
    featurise(b, &o, sets);
    CHECK(same_fingerprints(a, b, "image.block1@2x2"));
    CHECK(same_fingerprints(a, b, "text.block1.mean"));
    featurise(c, &o, sets);
    CHECK(!same_fingerprints(a, c, "image.block1@2x2"));
    CHECK_OK(file_remove_folder(scratch_path(&scratch, "c/features"), &err), &err);
    o.calibration = file;
    featurise(c, &o, sets);
    CHECK(same_fingerprints(a, c, "image.block1@2x2"));
    CHECK(same_fingerprints(a, c, "text.block1.mean"));
    scratch_remove(&scratch);
}

TEST(what_is_worse_than_asked_for_is_refused)
{
    if (!gemm_int8_is_exact()) SKIP("this CPU adds 8-bit products with saturation");
    scratch_make(&scratch);
    struct featurize_result r;
    const char *cache = scratch_path(&scratch, "c"), *file = scratch_path(&scratch, "cal.json");
    char **names;
    size_t n;
    struct featurize_options o = options(FEATURIZE_INT8, NULL);
    make_corpus(cache, 0, 80, 100);
    o.min_cosine = 0.9999999;
    o.calibration = file;
    CHECK_EQ(featurize_run(cache, &o, NULL, &r, &err), ERR_BUDGET);
    CHECK_HAS(err.text, "text.final: over ");
    CHECK_HAS(err.text, "--min-cosine");
    featurize_result_release(&r);
    CHECK_OK(featureset_list(cache, &names, &n, &err), &err);
    CHECK_EQ(n, 0);
    memory_free(names);
    CHECK(!file_size(file));
    /* bf16 or f32 where nothing was said, though int8 would do */
    struct featurize_set sets[2];
    o = options(FEATURIZE_AUTO, NULL);
    featurise(cache, &o, sets);
    struct json *f = fingerprint_of(cache, "image.final");
    CHECK(strncmp(json_text(json_get(f, "numerics"), ""), "int8", 4));
    json_free(f);
    scratch_remove(&scratch);
}

TEST_MAIN
