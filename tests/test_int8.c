/* Integer layers against the arithmetic that int8.h states, in plain loops and with equal bits; the
 * promise that a row depends on nothing but itself; what is not finite; sums at their limit.
 *
 * covers: calibration
 */
#include "tests/check.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "featurize/calibration.h"
#include "featurize/gemm.h"
#include "featurize/int8.h"
#include "store/memory.h"

#define MAX_ROWS 500

static uint64_t state = 7;

static float uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

static float *random_array(size_t n)
{
    float *x = memory_array(n, sizeof *x, MEMORY_MAX_TENSOR, NULL);
    if (!x) abort();
    for (size_t i = 0; i < n; i++) x[i] = uniform();
    return x;
}

/* A layer that int8 covers, with columns of very different sizes. */
struct layer {
    struct params p;
    int64_t n, k;
    struct observed *seen;
    struct calibration *c;
    struct packed *packed;
    float *x, *y;
};

static void layer_init(struct layer *l, int64_t n, int64_t k)
{
    struct error err = {0};
    *l = (struct layer){.n = n, .k = k};
    int w = params_add(&l->p, "encoder.layer.0.fc.weight", PARAM_DECAY, 2, (int64_t[]){n, k}, &err);
    int b = params_add(&l->p, "encoder.layer.0.fc.bias", PARAM_NO_DECAY, 1, &n, &err);
    if (w != 0 || b != 1 || params_allocate(&l->p, &err) < 0) abort();
    for (size_t i = 0; i < l->p.n_floats; i++) l->p.w[i] = uniform();
    l->x = random_array(MAX_ROWS * (size_t)k);
    l->y = random_array(MAX_ROWS * (size_t)n);
    for (int64_t i = 0; i < MAX_ROWS; i++)
        for (int64_t j = 0; j < k; j += 5) l->x[i * k + j] *= 40;
    l->seen = observed_new(&l->p, &err);
    if (!l->seen) abort();
    observed_add(l->seen, 0, MAX_ROWS, k, l->x);
    l->c = calibration_new(&l->p, l->seen, &err);
    l->packed = l->c ? packed_new_int8(&l->p, l->c, &err) : NULL;
    if (!l->packed) puts(err.text), abort();
}

static void layer_release(struct layer *l)
{
    packed_free(l->packed);
    calibration_free(l->c);
    observed_free(l->seen);
    memory_free(l->x);
    memory_free(l->y);
    params_release(&l->p);
}

static int run(struct gemm *g, const struct layer *l, int64_t m, const float *x, bool bias,
               enum act act, bool add, float *y, struct error *err)
{
    struct gemm_layer layer = {.numerics = NUMERICS_INT8,
                               .packed = l->packed,
                               .n = l->n,
                               .k = l->k,
                               .w = params_at(&l->p, 0),
                               .b = bias ? params_at(&l->p, 1) : NULL,
                               .act = act,
                               .add = add};
    return gemm_linear(g, &layer, m, (struct rows){.x = (float *)x}, (struct rows){.x = y}, err);
}

static int linear(struct gemm *g, const struct layer *l, int64_t m, const float *x, bool bias,
                  float *y, struct error *err)
{
    return run(g, l, m, x, bias, ACT_NONE, false, y, err);
}

/* One row in units of its own largest, rounded half to even; returns the unit. */
static float reference_row(int64_t k, const float *x, const int8_t *shift, int sign, int *q)
{
    float most = 0;
    for (int64_t j = 0; j < k; j++) most = fmaxf(most, fabsf(ldexpf(x[j], sign * shift[j])));
    for (int64_t j = 0; j < k; j++)
        q[j] = most > 0 ? (int)nearbyintf(ldexpf(x[j], sign * shift[j]) * (127.0f / most)) : 0;
    return most / 127.0f;
}

static float reference(const struct layer *l, const float *x, int64_t o, bool bias)
{
    const int8_t *shift = calibration_shift(l->c, 0);
    static int qx[INT8_MAX_COLUMNS], qw[INT8_MAX_COLUMNS];
    float sx = reference_row(l->k, x, shift, -1, qx);
    float sw = reference_row(l->k, params_at(&l->p, 0) + o * l->k, shift, 1, qw);
    int64_t sum = 0;
    for (int64_t j = 0; j < l->k; j++) sum += (int64_t)qx[j] * qw[j];
    float y = (float)sum * (sw * sx);
    return bias ? y + params_at(&l->p, 1)[o] : y;
}

static const int64_t SHAPES[][2] = {{48, 64}, {7, 13}, {192, 100}, {1, 5}, {130, 257}, {64, 1024}};
#define N_SHAPES (sizeof SHAPES / sizeof *SHAPES)

#define NEEDS_VNNI()                                                                               \
    do {                                                                                           \
        if (!gemm_int8_is_exact()) SKIP("this CPU adds 8-bit products with saturation");           \
    } while (0)

TEST(linear_has_the_bits_of_plain_loops)
{
    struct error err = {0};
    NEEDS_VNNI();
    struct gemm *g = gemm_new(&err);
    for (size_t s = 0; s < N_SHAPES; s++)
        for (int bias = 0; bias < 2; bias++) {
            struct layer l;
            layer_init(&l, SHAPES[s][0], SHAPES[s][1]);
            CHECK_OK(linear(g, &l, 77, l.x, bias, l.y, &err), &err);
            for (int64_t i = 0; i < 77; i++)
                for (int64_t o = 0; o < l.n; o++)
                    CHECK_EQ(l.y[i * l.n + o], reference(&l, l.x + i * l.k, o, bias));
            layer_release(&l);
        }
    gemm_free(g);
}

/* Smoothing pays: with columns of very different sizes the error is less than without. Half a unit
 * of 127 a value, on both sides, adds up like a random walk over k = 1024 products. */
TEST(smoothing_helps_where_columns_differ)
{
    struct error err = {0};
    NEEDS_VNNI();
    struct gemm *g = gemm_new(&err);
    struct layer l;
    layer_init(&l, 64, 1024);
    double worst[2] = {0, 0};
    for (int plain = 0; plain < 2; plain++) {
        if (plain) {
            packed_free(l.packed);
            calibration_free(l.c);
            l.c = calibration_plain(&l.p, &err);
            l.packed = packed_new_int8(&l.p, l.c, &err);
            CHECK(l.packed);
        }
        CHECK_OK(linear(g, &l, 50, l.x, false, l.y, &err), &err);
        for (int64_t i = 0; i < 50; i++)
            for (int64_t o = 0; o < l.n; o++) {
                double sum = 0;
                for (int64_t j = 0; j < l.k; j++)
                    sum += (double)l.x[i * l.k + j] * params_at(&l.p, 0)[o * l.k + j];
                worst[plain] = fmax(worst[plain], fabs(sum - l.y[i * l.n + o]));
            }
    }
    printf("# largest error: smoothed %.3f, plain %.3f\n", worst[0], worst[1]);
    CHECK(worst[0] < 5);
    CHECK(worst[0] < 0.8 * worst[1]);
    layer_release(&l);
    gemm_free(g);
}

TEST(a_row_has_the_same_bits_wherever_it_stands)
{
    struct error err = {0};
    NEEDS_VNNI();
    struct gemm *g = gemm_new(&err);
    for (size_t s = 0; s < N_SHAPES; s++) {
        struct layer l;
        layer_init(&l, SHAPES[s][0], SHAPES[s][1]);
        float *alone = random_array((size_t)l.n);
        CHECK_OK(linear(g, &l, MAX_ROWS, l.x, true, l.y, &err), &err);
        for (int64_t i = 0; i < MAX_ROWS; i += 7) {
            CHECK_OK(linear(g, &l, 1, l.x + i * l.k, true, alone, &err), &err);
            CHECK(!memcmp(alone, l.y + i * l.n, (size_t)l.n * sizeof *alone));
        }
        memory_free(alone);
        layer_release(&l);
    }
    gemm_free(g);
}

TEST(threads_do_not_change_a_bit)
{
    enum { THREADS = 3 };
    struct error err = {0};
    NEEDS_VNNI();
    struct layer l;
    layer_init(&l, 96, 120);
    struct gemm *g[THREADS];
    float *y[THREADS];
    for (int t = 0; t < THREADS; t++) g[t] = gemm_new(&err), y[t] = random_array(300 * 96);
    int failures = 0;
#pragma omp parallel for num_threads(THREADS) schedule(static) default(none)                      \
    shared(l, g, y) reduction(+ : failures)
    for (int t = 0; t < THREADS; t++)
        for (int again = 0; again < 3; again++)
            failures += linear(g[t], &l, 300, l.x, true, y[t], NULL) < 0;
    CHECK_EQ(failures, 0);
    for (int t = 1; t < THREADS; t++) CHECK(!memcmp(y[0], y[t], 300 * 96 * sizeof(float)));
    for (int t = 0; t < THREADS; t++) gemm_free(g[t]), memory_free(y[t]);
    layer_release(&l);
}

/* What follows a product inside the layer has the bits of what follows it outside. */
TEST(activation_and_sum)
{
    struct error err = {0};
    NEEDS_VNNI();
    struct gemm *g = gemm_new(&err);
    struct layer l;
    layer_init(&l, 130, 100);
    for (int m = 7; m <= 192; m += 185)
        for (int add = 0; add < 2; add++)
            for (enum act act = ACT_NONE; act <= ACT_GELU_TANH; act++) {
                size_t n = (size_t)m * 130;
                float *want = random_array(n), *before = random_array(n), *got = random_array(n);
                CHECK_OK(linear(g, &l, m, l.x, true, want, &err), &err);
                activation_run(act, n, want, want);
                memcpy(got, before, n * sizeof *got);
                CHECK_OK(run(g, &l, m, l.x, true, act, add, got, &err), &err);
                for (size_t i = 0; i < n; i++)
                    CHECK_EQ(got[i], add ? before[i] + want[i] : want[i]);
                memory_free(want);
                memory_free(before);
                memory_free(got);
            }
    layer_release(&l);
    gemm_free(g);
}

/* A row that is not finite gives NaN and leaves its neighbours alone; a row of zeros gives the bias. */
TEST(odd_rows)
{
    struct error err = {0};
    NEEDS_VNNI();
    struct gemm *g = gemm_new(&err);
    struct layer l;
    layer_init(&l, 48, 64);
    float *want = random_array(MAX_ROWS * (size_t)l.n);
    CHECK_OK(linear(g, &l, 6, l.x, true, want, &err), &err);
    l.x[1 * 64 + 63] = NAN;
    l.x[3 * 64] = INFINITY;
    memset(l.x + 4 * 64, 0, 64 * sizeof *l.x);
    CHECK_OK(linear(g, &l, 6, l.x, true, l.y, &err), &err);
    for (int64_t i = 0; i < 6; i++)
        for (int64_t o = 0; o < l.n; o++)
            if (i == 1 || i == 3)
                CHECK(isnan(l.y[i * l.n + o]));
            else
                CHECK_EQ(l.y[i * l.n + o], i == 4 ? params_at(&l.p, 1)[o] : want[i * l.n + o]);
    memory_free(want);
    layer_release(&l);
    gemm_free(g);
}

/* All products at 127 * 127 and k = 4096: what adds pairs in 16 bits, or halves a weight, gives
 * itself away here. */
TEST(no_sum_saturates)
{
    struct error err = {0};
    NEEDS_VNNI();
    struct gemm *g = gemm_new(&err);
    for (int sign = -1; sign <= 1; sign += 2) {
        struct layer l;
        layer_init(&l, 20, 4096);
        for (size_t i = 0; i < l.p.table[0].n; i++) l.p.w[i] = 1;
        for (int64_t i = 0; i < 20 * l.k; i++) l.x[i] = (float)sign;
        packed_free(l.packed);
        calibration_free(l.c);
        l.c = calibration_plain(&l.p, &err);
        l.packed = packed_new_int8(&l.p, l.c, &err);
        CHECK(l.packed);
        CHECK_OK(linear(g, &l, 20, l.x, false, l.y, &err), &err);
        float unit = 1.0f / 127.0f;
        for (int64_t i = 0; i < 20 * l.n; i++)
            CHECK_EQ(l.y[i], (float)(sign * 127 * 127 * 4096) * (unit * unit));
        layer_release(&l);
    }
    gemm_free(g);
}

/* For the child of the next test: the limit is read once, when oneDNN is first asked. */
TEST(what_the_cpu_cannot_do_is_refused)
{
    struct error err = {0};
    struct params p = {0};
    CHECK_EQ(params_add(&p, "encoder.layer.0.fc.weight", PARAM_DECAY, 2, (int64_t[]){8, 8}, &err),
             0);
    CHECK_OK(params_allocate(&p, &err), &err);
    struct calibration *c = calibration_plain(&p, &err);
    struct packed *packed = packed_new_int8(&p, c, &err);
    CHECK(!packed == !gemm_int8_is_exact());
    if (!packed) CHECK_EQ(err.code, ERR_USAGE);
    if (!packed) CHECK_HAS(err.text, "VNNI");
    if (getenv("DNNL_MAX_CPU_ISA")) CHECK(!packed);
    packed_free(packed);
    calibration_free(c);
    params_release(&p);
}

TEST(a_cpu_without_vnni)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("DNNL_MAX_CPU_ISA", "AVX2", 1);
        execl("/proc/self/exe", "test_int8", "--only", "what_the_cpu_cannot_do_is_refused",
              (char *)NULL);
        _exit(127);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(unpacked_weights_are_refused)
{
    struct error err = {0};
    struct gemm *g = gemm_new(&err);
    float x[2] = {1, 2}, y[1];
    struct gemm_layer l = {.numerics = NUMERICS_INT8, .n = 1, .k = 2, .w = x};
    CHECK_EQ(gemm_linear(g, &l, 1, (struct rows){.x = x}, (struct rows){.x = y}, &err), ERR_USAGE);
    gemm_free(g);
}

/* Written, read again, and every kind of damage named. */
TEST(calibration_comes_back_from_json)
{
    struct error err = {0};
    struct params p = {0};
    float x[12] = {1, -2, 3, 1024, 0, 1e-3f, -1, 2, 3, -4, 0, 0};
    CHECK_EQ(params_add(&p, "encoder.layers.0.fc.weight", PARAM_DECAY, 2, (int64_t[]){2, 6}, &err),
             0);
    CHECK_EQ(params_add(&p, "projection.weight", PARAM_DECAY, 2, (int64_t[]){2, 6}, &err), 1);
    CHECK_OK(params_allocate(&p, &err), &err);
    for (int i = 0; i < 12; i++) params_at(&p, 0)[i] = 0.25f;
    struct observed *seen = observed_new(&p, &err);
    CHECK(!calibration_new(&p, seen, &err)); /* nothing was seen */
    CHECK_EQ(err.code, ERR_DATA);
    observed_add(seen, 0, 2, 6, x);
    observed_add(seen, 1, 2, 6, x);
    struct calibration *c = calibration_new(&p, seen, &err);
    if (!c) CHECK_FAIL("%s", err.text);
    if (!c) return;
    CHECK(!calibration_shift(c, 1));
    /* sqrt(2 / 0.25) ~ 2^1.5, sqrt(1024 / 0.25) = 2^6, a column without values as 1 / 0.25 */
    static const int8_t want[6] = {1, 2, 2, 6, 1, 1};
    for (int j = 1; j < 6; j++) CHECK_EQ(calibration_shift(c, 0)[j], want[j]);
    struct json *j = calibration_json(c, &p);
    struct calibration *back = calibration_read(&p, j, "here", &err);
    CHECK(back);
    CHECK(!memcmp(calibration_shift(c, 0), calibration_shift(back, 0), 6));
    uint8_t a[DIGEST_BYTES], b[DIGEST_BYTES];
    calibration_digest(c, &p, a);
    calibration_digest(back, &p, b);
    CHECK(!memcmp(a, b, sizeof a));
    calibration_free(back);
    static const char *const bad[][2] = {{NULL, "lacks encoder.layers.0.fc.weight"},
                                         {"EEE", "has 3 columns, expected 6"},
                                         {"EEEEE[", "column 5 of encoder.layers.0.fc.weight"},
                                         {"EEEEEE", "has 2 layers, expected 1"}};
    for (size_t i = 0; i < 4; i++) {
        struct json *wrong = json_new_object();
        if (bad[i][0]) json_set_string(wrong, "encoder.layers.0.fc.weight", bad[i][0]);
        if (i == 3) json_set_string(wrong, "other", "E");
        CHECK(!calibration_read(&p, wrong, "here", &err));
        CHECK_HAS(err.text, bad[i][1]);
        json_free(wrong);
    }
    x[0] = NAN;
    observed_add(seen, 0, 1, 6, x);
    CHECK(!calibration_new(&p, seen, &err));
    json_free(j);
    calibration_free(c);
    observed_free(seen);
    params_release(&p);
}

TEST_MAIN
