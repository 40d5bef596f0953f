/* A student sees what its teacher saw: through the loader's pixels the teacher gives the features that the
 * cache has, view by view, and at another side they are the same view, jitter and all. */
#include "train/pixels.h"

#include <omp.h>

#include "featurize/featurize.h"
#include "featurize/model.h"
#include "featurize/runner.h"
#include "tests/check.h"
#include "tests/traincache.h"
#include "train/loader.h"

static const char teacher[] = "tests/golden/altclip-tiny/model";
enum { VIEWS = 5, DIM = 40, SIDE = 56 };

static struct error err;
static struct traincache cache;

/* The golden teacher's own features of the photos, in PREFIX.image.final. */
static void featurise(const char *prefix, const char *jitter)
{
    struct featurize_options o = featurize_defaults();
    struct featurize_result r;
    o.teacher = teacher;
    o.taps = (const char *const[]){"image.final"};
    o.n_taps = 1;
    o.n_views = VIEWS;
    o.numerics = FEATURIZE_F32;
    o.store = "f32";
    o.prefix = prefix;
    if ((jitter && jitter_parse(jitter, &o.plan.jitter, &err) < 0) ||
        featurize_run(cache.cache, &o, NULL, &r, &err) < 0)
        tc_die("featurize", &err);
    featurize_result_release(&r);
}

/* The largest difference between the teacher's unit vectors of a batch's pixels and the batch's targets. */
static double difference(struct model *m, const struct loader_batch *b)
{
    struct runner *r;
    struct tap tap = {.kind = TAP_FINAL};
    static float out[TC_TRAIN][DIM];
    float *rows = &out[0][0];
    double worst = 0;
    if (runner_open(&r, m->image, NUMERICS_F32, 0, &err) < 0 ||
        runner_pictures(r, &m->preprocess, b->n, b->pixels, &tap, 1, &rows, &err) < 0)
        tc_die("runner", &err);
    runner_close(r);
    for (int i = 0; i < b->n; i++) {
        double norm = 0;
        for (int j = 0; j < DIM; j++) norm += (double)out[i][j] * (double)out[i][j];
        for (int j = 0; j < DIM; j++) {
            double d = (double)out[i][j] / sqrt(norm) - (double)b->image_target[0][i * DIM + j];
            worst = fmax(worst, fabs(d));
        }
    }
    return worst;
}

/* Of every view: train's epochs go through them all. */
static double worst_of(struct loader *l, struct model *m)
{
    struct loader_batch b = {0};
    uint32_t all[TC_TRAIN];
    double worst = 0;
    for (uint32_t i = 0; i < TC_TRAIN; i++) all[i] = i;
    for (uint32_t epoch = 0; epoch < VIEWS; epoch++) {
        if (loader_fill(l, SPLIT_TRAIN, LOADER_IMAGES, epoch, all, TC_TRAIN, &b, &err) < 0)
            tc_die("fill", &err);
        worst = fmax(worst, difference(m, &b));
    }
    loader_batch_release(&b);
    return worst;
}

/* Unit vectors of f32 numbers, rounded once more: 1e-6. What another jitter would make of them is
 * thousands of times that. */
TEST(the_teacher_gives_the_cached_features_of_the_students_pixels)
{
    for (int with = 0; with < 2; with++) {
        struct loader *l;
        struct model *m;
        traincache_make(&cache);
        featurise("t", with ? "0.4,0.4,0.2,0.1" : NULL);
        struct loader_options o = {.cache = cache.cache,
                                   .image_sets = {"t.image.final"},
                                   .n_image_sets = 1,
                                   .want_pixels = true,
                                   .side = SIDE};
        CHECK_OK(model_open(&m, teacher, MODEL_IMAGE, &err), &err);
        CHECK_OK(loader_open(&l, &o, &err), &err);
        CHECK_EQ(loader_n_views(l), VIEWS);
        CHECK_EQ(preprocess_side(loader_preprocess(l)), preprocess_side(&m->preprocess));
        CHECK(worst_of(l, m) < 1e-6);
        loader_close(l);
        model_free(m);
        traincache_remove(&cache);
    }
}

/* One picture cannot be two teachers' view 1 at once; view 0 it can. */
TEST(sets_of_different_views_do_not_train_together)
{
    struct loader *l;
    traincache_make(&cache);
    featurise("t", "0.4,0.4,0.2,0.1");
    featurise("same", "0.4,0.4,0.2,0.1");
    featurise("other", "0.4,0.4,0.2,0.1,1");
    struct loader_options o = {.cache = cache.cache,
                               .image_sets = {"t.image.final", "same.image.final"},
                               .n_image_sets = 2,
                               .want_pixels = true,
                               .side = SIDE};
    CHECK_OK(loader_open(&l, &o, &err), &err);
    loader_close(l);
    o.image_sets[2] = "other.image.final";
    o.n_image_sets = 3;
    CHECK_EQ(loader_open(&l, &o, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "sets t.image.final and other.image.final hold other views");
    CHECK_HAS(err.text, "jitter (expected \"0.4,0.4,0.2,0.1,0.8\", found \"0.4,0.4,0.2,0.1,1\")");
    o.n_views = 1;
    CHECK_OK(loader_open(&l, &o, &err), &err);
    loader_close(l);
    traincache_remove(&cache);
}

/* Decodes picture `number` and cuts a view of it as the featurise stage does. */
static void cut(struct corpus *c, uint32_t number, const struct pixels_options *o,
                const uint8_t *key, uint32_t view, uint8_t *out)
{
    const uint8_t *bytes;
    size_t n;
    struct picture pic = {0};
    struct picture_limits limits = picture_limits_default();
    struct resizer *r = resizer_new(&err);
    if (!r || corpus_image_bytes(c, number, &bytes, &n, &err) < 0 ||
        picture_decode(bytes, n, &limits, true, &pic, &err) < 0)
        tc_die("decode", &err);
    struct view_box box = view_of(&o->plan, key, view, pic.width_px, pic.height_px);
    if (preprocess_u8(&o->preprocess, r, pic.rgb, (int)pic.width_px, (int)pic.height_px, &box,
                      o->side, out, &err) < 0)
        tc_die("preprocess", &err);
    picture_release(&pic);
    resizer_free(r);
}

/* With a pixel cache and without, first time and again, on one thread and three. */
TEST(a_view_is_the_same_at_another_side_from_cache_or_decoded)
{
    enum { N = 4, S = 48, BYTES = S * S * 3 };
    struct corpus *c;
    static uint8_t expected[N * VIEWS][BYTES], got[N * VIEWS][BYTES];
    struct pixels_want want[N * VIEWS];
    struct corpus_image image[N];
    traincache_make(&cache);
    CHECK_OK(corpus_open(&c, cache.cache, CORPUS_READ, &err), &err);
    struct pixels_options o = {.corpus = c,
                               .preprocess = {.shortest_edge = true,
                                              .size = S,
                                              .resample = RESAMPLE_BICUBIC,
                                              .do_crop = true,
                                              .crop_size = S,
                                              .apply_orientation = true},
                               .plan = view_plan_default(),
                               .side = S,
                               .n_images = N,
                               .n_views = VIEWS};
    CHECK_OK(jitter_parse("0.8,0.8,0.8,0.2,1", &o.plan.jitter, &err), &err);
    for (uint32_t i = 0; i < N * VIEWS; i++) {
        uint32_t k = i / VIEWS;
        CHECK_OK(corpus_get_image(c, k, &image[k], &err), &err);
        want[i] = (struct pixels_want){
            .position = k, .number = k, .key = image[k].key, .view = i % VIEWS};
        cut(c, k, &o, image[k].key, i % VIEWS, expected[i]);
    }
    for (int run = 0; run < 3; run++) {
        struct pixels *p;
        o.limit_bytes = run == 0 ? 1 : run == 1 ? 3 * BYTES : 0;
        omp_set_num_threads(run == 2 ? 3 : 1);
        CHECK_OK(pixels_open(&p, &o, &err), &err);
        for (int again = 0; again < 2; again++) {
            memset(got, 0, sizeof got);
            CHECK_OK(pixels_fill(p, N * VIEWS, want, got[0], &err), &err);
            CHECK(!memcmp(got, expected, sizeof got));
        }
        pixels_close(p);
    }
    corpus_close(c);
    traincache_remove(&cache);
}

TEST_MAIN
