/* One block of towers timed: the figure is one that the whole tower comes near to. */
#include "featurize/probe.h"

#include <omp.h>

#include "featurize/effort.h"
#include "featurize/gemm.h"
#include "featurize/runner.h"
#include "store/memory.h"
#include "tests/check.h"

static const struct tap final = {.kind = TAP_FINAL};

static struct tower_config picture = {.arch = ARCH_VIT,
                                      .width = 128,
                                      .layers = 8,
                                      .heads = 4,
                                      .mlp = 512,
                                      .eps = 1e-5f,
                                      .projection_dim = 64,
                                      .image_size = 64,
                                      .patch = 8};
static struct tower_config text = {.arch = ARCH_TEXT,
                                   .width = 128,
                                   .layers = 8,
                                   .heads = 4,
                                   .mlp = 512,
                                   .eps = 1e-5f,
                                   .projection_dim = 64,
                                   .head_dim = 64,
                                   .vocab = 500000,
                                   .max_positions = 80,
                                   .pad_id = 1,
                                   .eos_id = 2};

static void must(int rc, const struct error *err)
{
    if (rc == 0) return;
    printf("Bail out! %s\n", err->text);
    exit(1);
}

/* Operations a second of the whole picture tower. */
static double rate_of_all(int n_threads, int n)
{
    struct error err = {0};
    struct runner *r = NULL;
    struct preprocess p = {.rescale = 1 / 255.0, .std = {1, 1, 1}};
    struct tower *t = tower_new(&picture, &err);
    uint8_t *pixels = memory_array((uint64_t)n, 64 * 64 * 3, MEMORY_MAX_FILE, &err);
    float *out = memory_array((uint64_t)n, 64 * sizeof *out, MEMORY_MAX_FILE, &err);
    if (!t || !pixels || !out) abort();
    tower_randomise(t, 1);
    must(tower_pack(t, NUMERICS_F32, &err), &err);
    must(runner_open(&r, t, NUMERICS_F32, n_threads, &err), &err);
    double since = 0;
    for (int i = 0; i < 2; i++) {
        since = effort_now();
        must(runner_pictures(r, &p, n, pixels, &final, 1, &out, &err), &err);
    }
    double rate = n * effort_flop(&picture, 0, &final, 1) / (effort_now() - since);
    runner_close(r);
    tower_free(t);
    memory_free(pixels);
    memory_free(out);
    return rate;
}

static double ratio(const struct probe *p)
{
    struct error err = {0};
    double rate = 0;
    must(probe_run(p, &rate, &err), &err);
    return rate / rate_of_all(p->n_threads, 16 * p->n_threads);
}

/* Neighbours on the machine may take either of the two by surprise: any of a few attempts will do. */
TEST(a_block_goes_as_fast_as_the_tower)
{
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        struct probe p = {&picture, NUMERICS_F32, n_threads, 0};
        double r = 0;
        for (int i = 0; i < 10 && !(r > 0.6 && r < 1.7); i++) r = ratio(&p);
        if (!(r > 0.6 && r < 1.7)) CHECK_FAIL("%d threads: %.2f of the tower's", n_threads, r);
    }
}

TEST(texts_need_no_vocabulary)
{
    struct error err = {0};
    struct probe p = {&text, NUMERICS_F32, 1, 17};
    double rate = 0;
    CHECK_OK(probe_run(&p, &rate, &err), &err);
    CHECK(rate > 1e8);
    p.n_tokens = 78; /* as many as positions allow */
    CHECK_OK(probe_run(&p, &rate, &err), &err);
    CHECK(rate > 1e8);
}

TEST(its_price_is_that_of_one_block)
{
    struct probe p = {&picture, NUMERICS_F32, 3, 0};
    struct tower_config one = picture;
    one.layers = 1;
    double block = effort_flop(&one, 0, &final, 1);
    CHECK_NEAR(probe_flop(&p), 2 * 3 * RUNNER_PICTURES * block, 1);
    one.arch = ARCH_MOBILEVIT;
    p = (struct probe){&one, NUMERICS_F32, 1, 0};
    CHECK(probe_flop(&p) == 0);
}

TEST(any_numerics_can_be_timed)
{
    struct error err = {0};
    for (enum numerics n = NUMERICS_F32; n <= NUMERICS_INT8; n++) {
        struct probe p = {&picture, n, 1, 0};
        double rate = 0;
        if (n == NUMERICS_INT8 && !gemm_int8_is_exact()) break;
        CHECK_OK(probe_run(&p, &rate, &err), &err);
        CHECK(rate > 1e8);
    }
}

TEST(memory_that_is_out_is_an_error)
{
    struct error err = {0};
    struct probe p = {&picture, NUMERICS_F32, 1, 0};
    double rate;
    for (long nth = 1; nth < 12; nth++) {
        memory_fail_at(nth);
        CHECK_EQ(probe_run(&p, &rate, &err), ERR_NOMEM);
        memory_fail_at(0);
    }
}

TEST_MAIN
