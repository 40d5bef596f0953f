/* What follows a product inside gemm_linear: activation, sum, rounding; and that it, too, leaves a
 * row's bits independent of where the row stands.
 *
 * covers: activation
 */
#include "tests/check.h"

#include "featurize/gemm.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

enum { N = 80, K = 72, MAX_ROWS = 300, ACTS = ACT_GELU_TANH + 1 };

static float noise(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return (float)(int32_t)(z >> 32) * 0x1p-31f;
}

static float widen(uint16_t half)
{
    union {
        uint32_t u;
        float f;
    } bits = {.u = (uint32_t)half << 16};
    return bits.f;
}

static struct params net;
static struct gemm *g;
static struct packed *packed[2];
static float x[MAX_ROWS * K], base[MAX_ROWS * N];
static uint16_t x_half[MAX_ROWS * K];

static void set_up(void)
{
    struct error err = {0};
    if (params_add(&net, "layer.weight", PARAM_DECAY, 2, (int64_t[]){N, K}, &err) < 0 ||
        params_add(&net, "layer.bias", PARAM_NO_DECAY, 1, (int64_t[]){N}, &err) < 0 ||
        params_allocate(&net, &err) < 0)
        abort();
    for (size_t i = 0; i < net.n_floats; i++) net.w[i] = noise(i);
    for (size_t i = 0; i < MAX_ROWS * K; i++) x[i] = noise(i + 77777);
    for (size_t i = 0; i < MAX_ROWS * N; i++) base[i] = noise(i + 999999);
    vec_bf16(MAX_ROWS * K, x, x_half);
    g = gemm_new(&err);
    for (int k = 0; k < 2; k++) packed[k] = packed_new(&net, (enum numerics)k, &err);
    if (!g || !packed[0] || !packed[1]) abort();
}

static void tear_down(void)
{
    packed_free(packed[0]);
    packed_free(packed[1]);
    packed[0] = packed[1] = NULL;
    gemm_free(g);
    params_release(&net);
}

static struct gemm_layer layer_of(enum numerics numerics, bool pack, enum act act, bool add)
{
    return (struct gemm_layer){.numerics = numerics,
                               .packed = pack ? packed[numerics] : NULL,
                               .n = N,
                               .k = K,
                               .w = params_at(&net, 0),
                               .b = params_at(&net, 1),
                               .act = act,
                               .add = add};
}

/* The layer over rows first .. first + m: f32 or bf16 output, from f32 or bf16 rows. */
static void run(const struct gemm_layer *l, int first, int m, bool in_half, float *y,
                uint16_t *y_half)
{
    struct error err = {0};
    struct rows in = {.x = in_half ? NULL : x + first * K,
                      .half = in_half ? x_half + first * K : NULL};
    if (l->add) memcpy(y, base + first * N, (size_t)m * N * sizeof *y);
    CHECK_OK(gemm_linear(g, l, m, in, (struct rows){.x = y, .half = y_half}, &err), &err);
}

static float plain[MAX_ROWS * N], want[MAX_ROWS * N], got[MAX_ROWS * N], part[MAX_ROWS * N];
static uint16_t got_half[MAX_ROWS * N], part_half[MAX_ROWS * N];

/* oneDNN's polynomials against ours: both are within 1e-6 of the function where |x| < 10, as here,
 * and the product is the same; a rounded result is the nearest bf16, or its neighbour. */
TEST(activation_sum_and_rounding)
{
    set_up();
    for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++) {
        if (!packed[numerics]) continue;
        struct gemm_layer l = layer_of(numerics, true, ACT_NONE, false);
        run(&l, 0, MAX_ROWS, false, plain, NULL);
        for (int act = 0; act < ACTS; act++)
            for (int add = 0; add < 2; add++) {
                activation_run((enum act)act, MAX_ROWS * N, plain, want);
                if (add) vec_add(MAX_ROWS * N, base, want);
                l = layer_of(numerics, true, (enum act)act, add);
                run(&l, 0, MAX_ROWS, false, got, NULL);
                for (int i = 0; i < MAX_ROWS * N; i++)
                    CHECK_NEAR(got[i], want[i], numerics == NUMERICS_F32 ? 0 : 1e-5);
                if (add || numerics == NUMERICS_F32) continue;
                run(&l, 0, MAX_ROWS, false, NULL, got_half);
                for (int i = 0; i < MAX_ROWS * N; i++)
                    CHECK_NEAR(widen(got_half[i]), want[i], 1e-6 + fabs(want[i]) / 128);
            }
    }
    tear_down();
}

static void check_rows(const struct gemm_layer *l, bool half)
{
    run(l, 0, MAX_ROWS, false, half ? NULL : got, half ? got_half : NULL);
    for (int m = 1; m <= 250; m += m < 30 ? 1 : 44) {
        int first = m * 37 % (MAX_ROWS - m);
        run(l, first, m, false, half ? NULL : part, half ? part_half : NULL);
        size_t n = (size_t)m * N;
        if (half ? memcmp(part_half, got_half + first * N, n * sizeof *part_half)
                 : memcmp(part, got + first * N, n * sizeof *part))
            CHECK_FAIL(
                "numerics %d, act %d, add %d, half %d: %d rows at %d differ from those among "
                "%d",
                l->numerics, l->act, l->add, half, m, first, MAX_ROWS);
    }
}

TEST(a_row_has_the_same_bits_whatever_follows)
{
    set_up();
    for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++)
        for (int act = 0; act < ACTS && packed[numerics]; act++)
            for (int pack = 0; pack < 2; pack++) {
                struct gemm_layer l = layer_of(numerics, pack, (enum act)act, false);
                check_rows(&l, false);
                if (numerics == NUMERICS_BF16) check_rows(&l, true);
                l.add = true;
                check_rows(&l, false);
            }
    tear_down();
}

TEST(rows_in_bf16_are_rows_that_were_rounded)
{
    set_up();
    struct gemm_layer l = layer_of(NUMERICS_BF16, true, ACT_QUICK_GELU, false);
    for (int m = 1; m < MAX_ROWS; m += 59) {
        run(&l, 0, m, false, got, NULL);
        run(&l, 0, m, true, part, NULL);
        CHECK(!memcmp(got, part, (size_t)m * N * sizeof *got));
    }
    tear_down();
}

TEST(a_nan_stays_a_nan)
{
    set_up();
    x[5 * K + 3] = NAN;
    vec_bf16(MAX_ROWS * K, x, x_half);
    for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_BF16; numerics++)
        for (int act = 0; act < ACTS && packed[numerics]; act++) {
            struct gemm_layer l = layer_of(numerics, true, (enum act)act, false);
            run(&l, 0, 7, false, got, NULL);
            for (int i = 0; i < 7 * N; i++) CHECK_EQ(isnan(got[i]), i / N == 5);
            if (numerics == NUMERICS_F32) continue;
            run(&l, 0, 7, true, NULL, got_half);
            for (int i = 0; i < 7 * N; i++) CHECK_EQ(isnan(widen(got_half[i])), i / N == 5);
        }
    tear_down();
}

TEST_MAIN
