/* Products against double loops, and the promise of gemm.h: a row's bits do not depend on where it
 * stands or beside whom.
 *
 * covers: onednn packed blocks product
 */
#include "tests/check.h"

#include <fcntl.h>
#include <omp.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "featurize/gemm.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

#define MAX_ROWS 700

static uint64_t state = 1;

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

static float bf16(float x)
{
    uint16_t half;
    vec_bf16(1, &x, &half);
    union {
        uint32_t u;
        float f;
    } back = {.u = (uint32_t)half << 16};
    return back.f;
}

/* One layer: weights and bias inside a parameter table, so that they can be packed. */
struct layer {
    struct params p;
    int weight, bias;
    int64_t n, k;
};

static void layer_init(struct layer *l, int64_t n, int64_t k)
{
    struct error err = {0};
    *l = (struct layer){.n = n, .k = k};
    l->weight = params_add(&l->p, "layer.weight", PARAM_DECAY, 2, (int64_t[]){n, k}, &err);
    l->bias = params_add(&l->p, "layer.bias", PARAM_NO_DECAY, 1, (int64_t[]){n}, &err);
    if (l->weight < 0 || l->bias < 0 || params_allocate(&l->p, &err) < 0) abort();
    for (size_t i = 0; i < l->p.n_floats; i++) l->p.w[i] = uniform();
}

static int linear(struct gemm *g, enum numerics numerics, const struct packed *packed,
                  const struct layer *l, int64_t m, const float *x, float *y, struct error *err)
{
    struct gemm_layer layer = {.numerics = numerics,
                               .packed = packed,
                               .weight = l->weight,
                               .n = l->n,
                               .k = l->k,
                               .w = params_at(&l->p, l->weight),
                               .b = params_at(&l->p, l->bias)};
    return gemm_linear(g, &layer, m, (struct rows){.x = (float *)x}, (struct rows){.x = y}, err);
}

static double worst_linear_error(const struct layer *l, enum numerics numerics, int64_t m,
                                 const float *x, const float *y)
{
    double worst = 0;
    const float *w = params_at(&l->p, l->weight), *b = params_at(&l->p, l->bias);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < l->n; j++) {
            double sum = b[j];
            for (int64_t c = 0; c < l->k; c++) {
                float xv = x[i * l->k + c], wv = w[j * l->k + c];
                sum += numerics == NUMERICS_BF16 ? (double)bf16(xv) * bf16(wv) : (double)xv * wv;
            }
            worst = fmax(worst, fabs(sum - y[i * l->n + j]));
        }
    return worst;
}

/* The last one's weights are more than one block of wide.c, the second of which is not full. */
static const int64_t SHAPES[][2] = {{48, 64}, {7, 13}, {192, 100}, {1, 5}, {130, 257}, {70, 4200}};

/* Sums of k products of values below 1 in f32: an error of about k * 2^-24 * sqrt(k) / 3, but for
 * luck, stays below 2e-5 for k <= 257; operands rounded to bf16 have exact products, so the same
 * bound holds against the rounded reference. */
static double bound(int64_t k)
{
    return k <= 257 ? 2e-5 : 2e-5 * (double)k / 257;
}

TEST(linear_equals_double_loops)
{
    struct error err = {0};
    struct gemm *g = gemm_new(&err);
    CHECK(g);
    for (size_t s = 0; s < sizeof SHAPES / sizeof *SHAPES; s++)
        for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++) {
            struct layer l;
            layer_init(&l, SHAPES[s][0], SHAPES[s][1]);
            struct packed *packed = packed_new(&l.p, numerics, &err);
            CHECK(packed);
            float *x = random_array(77 * (size_t)l.k), *y = random_array(77 * (size_t)l.n);
            CHECK_OK(linear(g, numerics, packed, &l, 77, x, y, &err), &err);
            CHECK_NEAR(worst_linear_error(&l, numerics, 77, x, y), 0, bound(l.k));
            CHECK_OK(linear(g, numerics, NULL, &l, 77, x, y, &err), &err);
            CHECK_NEAR(worst_linear_error(&l, numerics, 77, x, y), 0, bound(l.k));
            memory_free(x);
            memory_free(y);
            packed_free(packed);
            params_release(&l.p);
        }
    gemm_free(g);
}

TEST(linear_without_bias_and_without_rows)
{
    struct error err = {0};
    struct gemm *g = gemm_new(&err);
    float x[3] = {1, 2, 3}, w[6] = {1, 0, 0, 1, 1, 1}, y[2] = {9, 9};
    struct gemm_layer l = {.n = 2, .k = 3, .w = w, .weight = -1};
    struct rows in = {.x = x}, out = {.x = y};
    CHECK_OK(gemm_linear(g, &l, 0, in, out, &err), &err);
    CHECK_EQ(y[0], 9);
    CHECK_OK(gemm_linear(g, &l, 1, in, out, &err), &err);
    CHECK_EQ(y[0], 1);
    CHECK_EQ(y[1], 6);
    gemm_free(g);
}

/* For every M from 1 to 70 and some larger ones, rows taken from anywhere give the bits they have
 * among MAX_ROWS. */
static void check_invariance(struct gemm *g, enum numerics numerics, const struct packed *packed,
                             const struct layer *l)
{
    struct error err = {0};
    float *x = random_array(MAX_ROWS * (size_t)l->k),
          *whole = random_array(MAX_ROWS * (size_t)l->n);
    float *part = random_array(MAX_ROWS * (size_t)l->n);
    CHECK_OK(linear(g, numerics, packed, l, MAX_ROWS, x, whole, &err), &err);
    for (int64_t m = 1; m <= 400; m += m < 70 ? 1 : 61) {
        int64_t at = m * 37 % (MAX_ROWS - m);
        CHECK_OK(linear(g, numerics, packed, l, m, x + at * l->k, part, &err), &err);
        size_t n_bytes = (size_t)m * (size_t)l->n * sizeof *part;
        if (memcmp(part, whole + at * l->n, n_bytes))
            CHECK_FAIL("numerics %d, packed %d, N %lld, K %lld: %lld rows at %lld differ from "
                       "those among %d",
                       numerics, packed != NULL, (long long)l->n, (long long)l->k, (long long)m,
                       (long long)at, MAX_ROWS);
    }
    memory_free(x);
    memory_free(whole);
    memory_free(part);
}

TEST(a_row_has_the_same_bits_alone_and_among_others)
{
    struct error err = {0};
    struct gemm *g = gemm_new(&err);
    for (size_t s = 0; s < sizeof SHAPES / sizeof *SHAPES; s++)
        for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++) {
            struct layer l;
            layer_init(&l, SHAPES[s][0], SHAPES[s][1]);
            struct packed *packed = packed_new(&l.p, numerics, &err);
            CHECK(packed);
            check_invariance(g, numerics, packed, &l);
            check_invariance(g, numerics, NULL, &l);
            packed_free(packed);
            params_release(&l.p);
        }
    gemm_free(g);
}

/* This program's test `name` with no newer instructions than `isa`, which oneDNN reads once. */
static void run_with(const char *isa, const char *name)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        setenv("DNNL_MAX_CPU_ISA", isa, 1);
        execl("/proc/self/exe", "test_gemm", "--only", name, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        CHECK_FAIL("%s with %s: status %d", name, isa, status);
}

/* With AVX2 oneDNN's kernels do treat some rows differently: this test fails when the tiles of
 * tiles.c are not proved before use. And there bf16 has no instructions: all its products are f32
 * ones of rounded operands. */
TEST(older_instruction_sets_do_it_too)
{
    static const char *const sets[] = {"SSE41", "AVX2", "AVX512_CORE"};
    static const char *const names[] = {"linear_equals_double_loops",
                                        "a_row_has_the_same_bits_alone_and_among_others",
                                        "product_equals_double_loops"};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) run_with(sets[i], names[k]);
}

TEST(threads_and_their_number_do_not_change_a_bit)
{
    enum { ROWS = 300, THREADS = 3 };
    struct error err = {0};
    for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++) {
        struct layer l;
        layer_init(&l, 96, 120);
        struct packed *packed = packed_new(&l.p, numerics, &err);
        struct gemm *g[THREADS];
        float *x = random_array(ROWS * 120), *y[THREADS];
        for (int t = 0; t < THREADS; t++) g[t] = gemm_new(&err), y[t] = random_array(ROWS * 96);
        int failures = 0, before = omp_get_max_threads();
#pragma omp parallel for num_threads(THREADS) schedule(static) default(none)                 \
    shared(numerics, packed, l, g, x, y) reduction(+ : failures)
        for (int t = 0; t < THREADS; t++)
            for (int again = 0; again < 3; again++)
                failures += linear(g[t], numerics, packed, &l, ROWS, x, y[t], NULL) < 0;
        CHECK_EQ(failures, 0);
        CHECK_EQ(omp_get_max_threads(), before);
        float *serial = random_array(ROWS * 96);
        CHECK_OK(linear(g[0], numerics, packed, &l, ROWS, x, serial, &err), &err);
        for (int t = 0; t < THREADS; t++) CHECK(!memcmp(serial, y[t], ROWS * 96 * sizeof *serial));
        for (int t = 0; t < THREADS; t++) gemm_free(g[t]), memory_free(y[t]);
        memory_free(x);
        memory_free(serial);
        packed_free(packed);
        params_release(&l.p);
    }
}

struct product_case {
    bool ta, tb;
    int64_t m, n, k;
    float alpha, beta;
};

static double worst_product_error(enum numerics numerics, const struct product_case *t,
                                  const float *a, int64_t lda, const float *b, int64_t ldb,
                                  const float *before, const float *c, int64_t ldc)
{
    double worst = 0;
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < t->k; l++) {
                float av = t->ta ? a[l * lda + i] : a[i * lda + l],
                      bv = t->tb ? b[j * ldb + l] : b[l * ldb + j];
                sum += numerics == NUMERICS_BF16 ? (double)bf16(t->alpha * av) * bf16(bv)
                                                 : (double)t->alpha * av * bv;
            }
            double want = sum + (t->beta == 0 ? 0 : (double)t->beta * before[i * ldc + j]);
            worst = fmax(worst, fabs(want - c[i * ldc + j]));
        }
    return worst;
}

TEST(product_equals_double_loops)
{
    struct error err = {0};
    struct gemm *g = gemm_new(&err);
    static const struct product_case CASES[] = {
        {false, false, 5, 7, 9, 1, 0},       {true, false, 33, 20, 65, 1, 1},
        {false, true, 17, 17, 24, 0.25f, 0}, {true, true, 12, 31, 8, 2, 0.5f},
        {false, true, 1, 1, 64, 1, 0},       {false, false, 100, 70, 130, 1, 1},
        {true, false, 257, 64, 257, 1, 0},   {false, false, 3, 4, 0, 1, 0.5f}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++) {
            const struct product_case *t = &CASES[i];
            int64_t lda = (t->ta ? t->m : t->k) + 3, ldb = (t->tb ? t->k : t->n) + 1,
                    ldc = t->n + 2;
            size_t c_size = (size_t)(t->m * ldc);
            float *a = random_array((size_t)((t->ta ? t->k : t->m) * lda) + 1);
            float *b = random_array((size_t)((t->tb ? t->n : t->k) * ldb) + 1);
            float *c = random_array(c_size), *before = random_array(c_size);
            memcpy(before, c, c_size * sizeof *c);
            CHECK_OK(gemm_product(g, numerics, t->ta, t->tb, t->m, t->n, t->k, t->alpha, a, lda, b,
                                  ldb, t->beta, c, ldc, &err),
                     &err);
            CHECK_NEAR(worst_product_error(numerics, t, a, lda, b, ldb, before, c, ldc), 0, 2e-5);
            for (int64_t row = 0; row < t->m; row++) /* what lies between the rows is untouched */
                CHECK(!memcmp(c + row * ldc + t->n, before + row * ldc + t->n, 2 * sizeof *c));
            memory_free(a);
            memory_free(b);
            memory_free(c);
            memory_free(before);
        }
    gemm_free(g);
}

TEST(product_does_not_depend_on_alignment)
{
    struct error err = {0};
    struct gemm *g = gemm_new(&err);
    enum { T = 50, D = 40 };
    float *a = random_array(T * D), *b = random_array(T * D), *want = random_array(T * T);
    float *moved = random_array(T * T + 2 * T * D + 64);
    CHECK_OK(gemm_product(g, NUMERICS_F32, false, true, T, T, D, 1, a, D, b, D, 0, want, T, &err),
             &err);
    for (int shift = 1; shift < 16; shift += 3) {
        float *a2 = moved + shift, *b2 = a2 + T * D + 1, *c = b2 + T * D + 3;
        memcpy(a2, a, T * D * sizeof *a);
        memcpy(b2, b, T * D * sizeof *b);
        CHECK_OK(
            gemm_product(g, NUMERICS_F32, false, true, T, T, D, 1, a2, D, b2, D, 0, c, T, &err),
            &err);
        CHECK(!memcmp(c, want, T * T * sizeof *c));
    }
    memory_free(a);
    memory_free(b);
    memory_free(want);
    memory_free(moved);
    gemm_free(g);
}

/* More shapes than are kept: the cache is dropped and made anew. */
TEST(bf16_products_of_many_shapes)
{
    struct error err = {0};
    struct gemm *g = gemm_new(&err);
    float *a = random_array(600), one = 1, c = 0;
    for (int64_t k = 1; k <= 600; k++)
        CHECK_OK(
            gemm_product(g, NUMERICS_BF16, false, false, 1, 1, k, 1, a, k, a, 1, 0, &c, 1, &err),
            &err);
    CHECK_OK(
        gemm_product(g, NUMERICS_BF16, false, false, 1, 1, 1, 3, &one, 1, &one, 1, 0, &c, 1, &err),
        &err);
    CHECK_EQ(c, 3);
    memory_free(a);
    gemm_free(g);
}

TEST_MAIN
