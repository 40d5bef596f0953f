/* Drift that no checksum sees: sets that claim a fingerprint and hold what another teacher gave are
 * found and named, honest ones are not, and the sample is a pure function of seed and keys.
 *
 * covers: recomputesample recomputerun
 */
#include "featurize/recompute.h"

#include <omp.h>

#include "featurize/featurize.h"
#include "featurize/model.h"
#include "featurize/recompute_inside.h"
#include "store/corpus.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/transfer.h"
#include "tests/corpuskit.h"
#include "tests/scratch.h"

static const char teacher[] = "tests/golden/altclip-tiny/model";

static struct scratch scratch;
static struct error err;

#define must(call) check_must(call, &err)

#define N_IMAGES   6
#define N_CAPTIONS 300

static void make_corpus(const char *cache)
{
    struct corpus *c;
    uint32_t number;
    bool is_new;
    must(corpus_open(&c, cache, CORPUS_WRITE, &err));
    must(corpus_begin(c, &err));
    for (int i = 0; i < N_IMAGES; i++) kit_add_golden(c, i);
    for (int i = 0; i < N_CAPTIONS; i++) {
        char text[60];
        int n = snprintf(text, sizeof text, "a dog, number %d of %d", i * 37 % 1000, i);
        must(corpus_add_caption(c, text, (size_t)n, &number, &is_new, &err));
    }
    must(corpus_commit(c, &err));
    corpus_close(c);
}

static const char *const taps[] = {"image.final", "image.block2@2x2", "text.final"};

static void featurise(const char *cache, const char *dir, enum featurize_numerics numerics,
                      const char *store)
{
    struct featurize_options o = featurize_defaults();
    struct featurize_result r;
    o.teacher = dir;
    o.numerics = numerics;
    o.taps = taps;
    o.n_taps = 3;
    o.n_views = 2;
    o.store = store;
    must(featurize_run(cache, &o, NULL, &r, &err));
    featurize_result_release(&r);
}

static const char *set_up(void)
{
    scratch_make(&scratch);
    const char *cache = scratch_path(&scratch, "c");
    make_corpus(cache);
    return cache;
}

/* The vectors of `from`'s set, each scaled and turned by an angle of about `turn`, into `into`'s
 * under the fingerprint that `into` has. */
static void plant(const char *into, const char *from, const char *name, float scale, float turn)
{
    struct featureset *theirs, *ours, *planted;
    struct corpus *c;
    char path[300];
    must(corpus_open(&c, into, CORPUS_READ, &err));
    must(featureset_open(&theirs, from, name, FEATURESET_READ, &err));
    must(featureset_open(&ours, into, name, FEATURESET_READ, &err));
    struct featureset_spec spec = *featureset_spec(ours);
    strcpy(spec.name, "planted");
    must(featureset_create(&planted, into, &spec, &err));
    struct featureset_cursor *cur = featureset_cursor_new(theirs, &err);
    float *x = memory_array(spec.dim, sizeof *x, MEMORY_MAX_FILE, &err);
    for (uint32_t v = 0; v < featureset_n_views(theirs); v++)
        for (uint32_t i = 0; i < featureset_n_vectors(theirs, v); i++) {
            uint8_t key[1][DIGEST_BYTES];
            float norm;
            must(transfer_key(c, spec.tower, i, key[0], &err));
            must(featureset_get(cur, v, i, key[0], x, &norm, &err));
            for (uint32_t j = 0; j < spec.dim; j++)
                x[j] = norm * scale * (x[j] + (j % 2 ? turn : -turn) / sqrtf((float)spec.dim));
            must(featureset_put(planted, v, 1, &i, (const uint8_t(*)[DIGEST_BYTES])key, x, &err));
        }
    memory_free(x);
    featureset_cursor_free(cur);
    featureset_close(planted);
    featureset_close(ours);
    featureset_close(theirs);
    corpus_close(c);
    snprintf(path, sizeof path, "%s/features/%s", into, name);
    must(file_remove_folder(path, &err));
    char made[300];
    snprintf(made, sizeof made, "%s/features/planted", into);
    if (rename(made, path)) abort();
}

static struct recompute_result result;

static struct recompute_options all(void)
{
    struct recompute_options o = recompute_defaults();
    o.teacher = teacher;
    o.share = 1;
    return o;
}

static const struct recompute_set *run(const char *cache, const struct recompute_options *o,
                                       const char *name)
{
    static const struct recompute_set none;
    recompute_result_release(&result);
    memset(&err, 0, sizeof err);
    if (recompute_run(cache, o, NULL, &result, &err) < 0) CHECK_FAIL("%s", err.text);
    for (size_t i = 0; i < result.n_sets; i++)
        if (!strcmp(result.sets[i].name, name)) return &result.sets[i];
    CHECK_FAIL("no set %s", name);
    return &none;
}

TEST(honest_sets_hold_their_bounds)
{
    static const char *const stores[] = {"q1e-4", "f16", "f32"};
    for (int numerics = FEATURIZE_F32; numerics <= FEATURIZE_BF16; numerics++)
        for (int i = 0; i < 3; i++) {
            const char *cache = set_up();
            struct recompute_options o = all();
            featurise(cache, teacher, (enum featurize_numerics)numerics, stores[i]);
            for (int k = 0; k < 3; k++) {
                const struct recompute_set *s = run(cache, &o, taps[k]);
                CHECK_EQ(s->state, RECOMPUTE_DONE);
                CHECK_EQ(s->n, k == 2 ? N_CAPTIONS : 2 * N_IMAGES);
                CHECK_EQ(s->n_equal, s->n);
                CHECK(!s->is_drifted);
                CHECK(s->min_cos <= s->mean_cos && s->mean_cos <= 1 + 1e-12);
                CHECK_NEAR(s->mean_drift, 0, 1e-12);
                CHECK(s->max_difference <= s->difference_bound);
            }
            scratch_remove(&scratch);
        }
    recompute_result_release(&result);
}

/* The teacher with one weight of its pictures changed by a factor. */
static const char *changed_teacher(const char *tensor, float factor)
{
    struct model *m;
    const char *dir = scratch_path(&scratch, "changed");
    must(model_open(&m, teacher, MODEL_IMAGE | MODEL_TEXT, &err));
    struct tower *t = !strncmp(tensor, "text", 4) ? m->text : m->image;
    int i = params_find(&t->params, tensor);
    size_t n = (size_t)t->params.table[i].shape[0] * (size_t)t->params.table[i].shape[1];
    for (size_t k = 0; k < n / 20; k++) params_at(&t->params, i)[k] *= factor;
    must(model_save(m, dir, NULL, &err));
    model_free(m);
    return dir;
}

TEST(another_resampling_is_found)
{
    const char *cache = set_up(), *other = scratch_path(&scratch, "o");
    struct recompute_options o = all();
    struct model *m;
    featurise(cache, teacher, FEATURIZE_F32, NULL);
    make_corpus(other);
    must(model_open(&m, teacher, MODEL_IMAGE | MODEL_TEXT, &err));
    m->preprocess.resample = RESAMPLE_BILINEAR;
    must(model_save(m, scratch_path(&scratch, "bilinear"), NULL, &err));
    model_free(m);
    featurise(other, scratch_path(&scratch, "bilinear"), FEATURIZE_F32, NULL);
    plant(cache, other, "image.final", 1, 0);
    const struct recompute_set *s = run(cache, &o, "image.final");
    CHECK_EQ(s->state, RECOMPUTE_DONE);
    CHECK(s->is_drifted);
    CHECK(s->n_equal < s->n);
    CHECK(*s->why);
    CHECK_HAS(s->why, s->worst_key);
    CHECK(!run(cache, &o, "image.block2@2x2")->is_drifted);
    CHECK(!run(cache, &o, "text.final")->is_drifted);
    recompute_result_release(&result);
    scratch_remove(&scratch);
}

TEST(a_changed_weight_is_found)
{
    const char *cache = set_up(), *other = scratch_path(&scratch, "o");
    struct recompute_options o = all();
    featurise(cache, teacher, FEATURIZE_F32, NULL);
    make_corpus(other);
    featurise(other, changed_teacher("text_projection.weight", 1.1f), FEATURIZE_F32, NULL);
    plant(cache, other, "text.final", 1, 0);
    const struct recompute_set *s = run(cache, &o, "text.final");
    CHECK(s->is_drifted);
    CHECK(!run(cache, &o, "image.final")->is_drifted);
    /* the same cache, held against the changed teacher itself: stale by its fingerprint */
    o.teacher = scratch_path(&scratch, "changed");
    s = run(cache, &o, "text.final");
    CHECK_EQ(s->state, RECOMPUTE_STALE);
    CHECK_HAS(s->why, "weights (expected");
    CHECK_EQ(s->n, 0);
    recompute_result_release(&result);
    scratch_remove(&scratch);
}

/* Directions are the same: the cosine is blind to it. */
TEST(norms_that_drift_are_found)
{
    const char *cache = set_up(), *other = scratch_path(&scratch, "o");
    struct recompute_options o = all();
    featurise(cache, teacher, FEATURIZE_F32, "f32");
    make_corpus(other);
    featurise(other, teacher, FEATURIZE_F32, "f32");
    plant(cache, other, "text.final", 1.01f, 0);
    const struct recompute_set *s = run(cache, &o, "text.final");
    CHECK(s->min_cos >= s->cos_bound);
    CHECK_NEAR(s->max_norm, 0.0099, 0.0002);
    CHECK(s->is_drifted);
    CHECK_HAS(s->why, "norm");
    recompute_result_release(&result);
    scratch_remove(&scratch);
}

/* 1 - cos is 3e-5 more than the storage's own: every vector keeps its bound, their mean does not. */
TEST(a_drift_below_the_bound_shows_in_the_mean)
{
    const char *cache = set_up(), *other = scratch_path(&scratch, "o");
    struct recompute_options o = all();
    featurise(cache, teacher, FEATURIZE_F32, NULL);
    make_corpus(other);
    featurise(other, teacher, FEATURIZE_F32, "f32");
    plant(cache, other, "image.final", 1, sqrtf(2 * 3e-5f));
    const struct recompute_set *s = run(cache, &o, "image.final");
    CHECK(s->min_cos >= s->cos_bound);
    CHECK_NEAR(s->mean_drift, 3e-5, 1e-5); /* the turn is not quite at right angles to the vector */
    CHECK(s->is_drifted);
    CHECK_HAS(s->why, "mean drift");
    recompute_result_release(&result);
    scratch_remove(&scratch);
}

static bool same_sample(const struct sampled *a, const struct sampled *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].number != b[i].number || a[i].view != b[i].view) return false;
    return true;
}

TEST(the_sample_is_a_function_of_seed_and_keys)
{
    const char *cache = set_up();
    struct recompute_options o = all();
    struct corpus *c;
    struct featureset *fs;
    struct sampled *a, *b;
    size_t n, m;
    featurise(cache, teacher, FEATURIZE_F32, NULL);
    must(corpus_open(&c, cache, CORPUS_READ, &err));
    must(featureset_open(&fs, cache, "text.final", FEATURESET_READ, &err));
    o.share = 0.1;
    CHECK_OK(sample_of(c, fs, &o, &a, &n, &err), &err);
    CHECK(n > 10 && n < 60); /* 30 of 300, six standard deviations */
    CHECK_OK(sample_of(c, fs, &o, &b, &m, &err), &err);
    CHECK_EQ(n, m);
    CHECK(same_sample(a, b, n));
    memory_free(b);
    o.seed = 2;
    CHECK_OK(sample_of(c, fs, &o, &b, &m, &err), &err);
    CHECK(n != m || !same_sample(a, b, n));
    memory_free(b);
    memory_free(a);
    /* N of them: exactly N, each within N + 1 of them */
    o.share = 0;
    o.n = 20;
    CHECK_OK(sample_of(c, fs, &o, &a, &n, &err), &err);
    CHECK_EQ(n, 20);
    o.n = 21;
    CHECK_OK(sample_of(c, fs, &o, &b, &m, &err), &err);
    CHECK_EQ(m, 21);
    size_t n_in = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m; k++) n_in += a[i].number == b[k].number;
    CHECK_EQ(n_in, 20);
    memory_free(a);
    memory_free(b);
    o.n = 1000000;
    CHECK_OK(sample_of(c, fs, &o, &a, &n, &err), &err);
    CHECK_EQ(n, N_CAPTIONS);
    memory_free(a);
    o.share = 1e-12; /* never nothing */
    CHECK_OK(sample_of(c, fs, &o, &a, &n, &err), &err);
    CHECK_EQ(n, 1);
    memory_free(a);
    featureset_close(fs);
    corpus_close(c);
    scratch_remove(&scratch);
}

TEST(threads_do_not_matter)
{
    const char *cache = set_up();
    struct recompute_options o = all();
    featurise(cache, teacher, FEATURIZE_F32, NULL);
    struct recompute_set one = {0};
    for (o.n_threads = 1; o.n_threads <= 3; o.n_threads += 2) {
        const struct recompute_set *s = run(cache, &o, "image.final");
        if (o.n_threads == 1) one = *s;
        CHECK_EQ(memcmp(&one.min_cos, &s->min_cos, sizeof one.min_cos), 0);
        CHECK_EQ(memcmp(&one.mean_cos, &s->mean_cos, sizeof one.mean_cos), 0);
        CHECK_STR(one.worst_key, s->worst_key);
    }
    recompute_result_release(&result);
    scratch_remove(&scratch);
}

TEST(memory_running_out_is_an_error)
{
    const char *cache = set_up();
    struct recompute_options o = all();
    featurise(cache, teacher, FEATURIZE_F32, NULL);
    int rc = ERR_NOMEM, n_failed = -1;
    for (long nth = 1; rc < 0 && nth < 100000; nth += 1 + nth / 4, n_failed++) {
        memory_fail_at(nth);
        rc = recompute_run(cache, &o, NULL, &result, &err);
        memory_fail_at(0);
        if (rc < 0) CHECK_EQ(rc, ERR_NOMEM);
        recompute_result_release(&result);
    }
    CHECK_EQ(rc, 0);
    CHECK(n_failed > 10);
    scratch_remove(&scratch);
}

static void parses(const char *text, double share, uint64_t n)
{
    struct recompute_options o = recompute_defaults();
    CHECK_EQ(recompute_parse(text, &o, &err), 0);
    CHECK_NEAR(o.share, share, 1e-15);
    CHECK_EQ(o.n, n);
}

TEST(samples_are_shares_or_numbers)
{
    static const char *const bad[] = {"",    "%", "0",   "0%",   "101%", "-1",
                                      "1.5", "x", "1%%", "1e99", "nan"};
    parses("1%", 0.01, 0);
    parses("0.5%", 0.005, 0);
    parses("100%", 1, 0);
    parses("200", 0, 200);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct recompute_options o = recompute_defaults();
        if (recompute_parse(bad[i], &o, &err) != ERR_USAGE) CHECK_FAIL("\"%s\" was taken", bad[i]);
    }
}

TEST_MAIN
