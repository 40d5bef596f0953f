/* A tower over many inputs: the same bits for any number of threads and of inputs, whether
 * micro-batches are shared out or a pass borrows all threads; taps; failures. */
#include "tests/towerkit.h"

#include "featurize/gemm.h"
#include "featurize/runner.h"

enum { N = 11, SIDE = 40, DIM = 10 };

static const struct tower_config VIT = {.arch = ARCH_VIT,
                                        .width = 24,
                                        .layers = 2,
                                        .heads = 3,
                                        .mlp = 40,
                                        .act = ACT_QUICK_GELU,
                                        .eps = 1e-5f,
                                        .projection_dim = DIM,
                                        .image_size = SIDE,
                                        .patch = 8};
static const struct tower_config TEXT = {.arch = ARCH_TEXT,
                                         .width = 24,
                                         .layers = 2,
                                         .heads = 4,
                                         .mlp = 32,
                                         .act = ACT_GELU,
                                         .eps = 1e-5f,
                                         .projection_dim = DIM,
                                         .vocab = 50,
                                         .max_positions = 80,
                                         .pad_id = 1,
                                         .eos_id = 2,
                                         .head_dim = 14};

static uint8_t pixels[N * SIDE * SIDE * 3];
static int32_t ids[N * 70], offsets[N + 1];
static struct error err;

static void make_inputs(void)
{
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(128 + 120 * kit_noise(i));
    for (int i = 0; i < N; i++)
        offsets[i + 1] = offsets[i] + 1 + i * 29 % 67; /* 304: two micro-batches */
    for (int i = 0; i < offsets[N]; i++) ids[i] = 4 + i * 31 % 45;
}

static const struct tap TAPS[2] = {{TAP_FINAL, 0, 0}, {TAP_MEAN, 1, 0}};

/* Inputs first to first + n on that many threads. // out (n, DIM + width) */
static int run(const struct tower *t, enum numerics numerics, int threads, int first, int n,
               float *final, float *mean)
{
    struct preprocess p = {.rescale = 1 / 255.0, .mean = {0.5F, 0.5F, 0.5F}, .std = {1, 1, 1}};
    struct runner *r;
    float *out[2] = {final, mean};
    int rc = runner_open(&r, t, numerics, threads, &err);
    if (rc < 0) return rc;
    int32_t mine[N + 1];
    for (int i = 0; i <= n; i++) mine[i] = offsets[first + i] - offsets[first];
    rc = t->config.arch == ARCH_TEXT
             ? runner_texts(r, n, ids + offsets[first], mine, TAPS, 2, out, &err)
             : runner_pictures(r, &p, n, pixels + (size_t)first * SIDE * SIDE * 3, TAPS, 2, out,
                               &err);
    runner_close(r);
    return rc;
}

static void check_bits(const struct tower_config *c, enum numerics numerics)
{
    struct tower *t = kit_tower(c, 4);
    CHECK_OK(tower_pack(t, numerics, &err), &err);
    float final[N * DIM], mean[N * 24], part[N * DIM], part_mean[N * 24];
    CHECK_OK(run(t, numerics, 1, 0, N, final, mean), &err);
    for (int threads = 1; threads <= 5; threads++)
        for (int n = 1; n <= N; n += n < 5 ? 1 : 3) {
            int first = (N - n) / 2;
            CHECK_OK(run(t, numerics, threads, first, n, part, part_mean), &err);
            CHECK(!memcmp(part, final + first * DIM, (size_t)n * DIM * sizeof *part));
            CHECK(!memcmp(part_mean, mean + first * 24, (size_t)n * 24 * sizeof *part));
        }
    tower_free(t);
}

TEST(threads_and_neighbours_change_no_bit)
{
    make_inputs();
    for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++) {
        check_bits(&VIT, numerics);
        check_bits(&TEXT, numerics);
    }
}

TEST(a_failure_of_any_thread_is_told)
{
    make_inputs();
    struct tower *t = kit_tower(&TEXT, 4);
    float final[N * DIM], mean[N * 24];
    ids[2] = 50; /* outside of the vocabulary */
    CHECK_EQ(run(t, NUMERICS_F32, 3, 0, N, final, mean), ERR_DATA);
    CHECK_HAS(err.text, "row 50 is asked for");
    ids[2] = 5;
    int rc = ERR_NOMEM, n_failed = 0;
    for (int nth = 1; rc < 0 && nth < 200; nth++) {
        memory_fail_at(nth);
        rc = run(t, NUMERICS_F32, 3, 0, 1, final, mean);
        memory_fail_at(0);
        CHECK(rc == 0 || rc == ERR_NOMEM);
        n_failed += rc < 0;
    }
    CHECK_EQ(rc, 0);
    CHECK(n_failed > 10);
    tower_free(t);
}

TEST(what_has_no_width_is_refused)
{
    make_inputs();
    struct tower *t = kit_tower(&TEXT, 4);
    struct runner *r;
    float x[N * 24], *out[1] = {x};
    CHECK_OK(runner_open(&r, t, NUMERICS_F32, 1, &err), &err);
    CHECK_EQ(runner_texts(r, 1, ids, offsets, &(struct tap){TAP_HIDDEN, 1, 0}, 1, out, &err),
             ERR_USAGE);
    CHECK_HAS(err.text, "no fixed width");
    runner_close(r);
    tower_free(t);
}

TEST_MAIN
