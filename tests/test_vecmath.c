/* The polynomial functions against double libm over their whole range, and reductions against plain
 * double loops. */
#include "tests/check.h"

#include "featurize/vecmath.h"

static float buffer[100003], result[100003];

static double ramp(float from, float to)
{
    int n = (int)(sizeof buffer / sizeof *buffer);
    for (int i = 0; i < n; i++) buffer[i] = from + (to - from) * (float)i / (float)(n - 1);
    return n;
}

TEST(exp_is_within_2e_7_relative)
{
    int n = (int)ramp(-87.0f, 88.7f);
    vec_exp((size_t)n, buffer, result);
    double worst = 0;
    for (int i = 0; i < n; i++) {
        double want = exp((double)buffer[i]);
        worst = fmax(worst, fabs(result[i] - want) / want);
    }
    CHECK_NEAR(worst, 0, 2e-7);
    float edge[6] = {0.0f, -200.0f, 200.0f, NAN, -INFINITY, INFINITY};
    vec_exp(6, edge, edge);
    CHECK(edge[0] == 1.0f);
    CHECK(edge[1] == 0.0f);
    CHECK(isinf(edge[2]));
    CHECK(isnan(edge[3]));
    CHECK(edge[4] == 0.0f);
    CHECK(isinf(edge[5]));
}

TEST(erf_is_within_4e_7)
{
    int n = (int)ramp(-6.0f, 6.0f);
    vec_erf((size_t)n, buffer, result);
    double worst = 0;
    for (int i = 0; i < n; i++) worst = fmax(worst, fabs(result[i] - erf((double)buffer[i])));
    CHECK_NEAR(worst, 0, 4e-7);
    float nan = NAN;
    vec_erf(1, &nan, &nan);
    CHECK(isnan(nan));
}

static double gelu(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double quick_gelu(double x)
{
    return x / (1 + exp(-1.702 * x));
}

static void check_activation(double (*f)(double), const float *y, const float *dx, int n)
{
    double worst = 0, worst_slope = 0;
    for (int i = 0; i < n; i++) {
        double x = buffer[i], slope = (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;
        worst = fmax(worst, fabs(y[i] - f(x)) / fmax(1, fabs(x)));
        worst_slope = fmax(worst_slope, fabs(dx[i] - 2 - 0.5 * slope));
    }
    CHECK_NEAR(worst, 0, 5e-7);
    CHECK_NEAR(worst_slope, 0, 2e-6); /* dx began at 2 and adds dy f'(x) with dy = 0.5 */
}

TEST(activations_and_their_slopes)
{
    static float dx[100003], dy[100003];
    int n = (int)ramp(-12.0f, 12.0f);
    for (int i = 0; i < n; i++) dy[i] = 0.5f, dx[i] = 2.0f;
    vec_gelu((size_t)n, buffer, result);
    vec_gelu_backward((size_t)n, buffer, dy, dx);
    check_activation(gelu, result, dx, n);
    for (int i = 0; i < n; i++) dx[i] = 2.0f;
    vec_gelu_tanh((size_t)n, buffer, result);
    vec_gelu_tanh_backward((size_t)n, buffer, dy, dx);
    check_activation(gelu_tanh, result, dx, n);
    for (int i = 0; i < n; i++) dx[i] = 2.0f;
    vec_swish((size_t)n, 1.702f, buffer, result);
    vec_swish_backward((size_t)n, 1.702f, buffer, dy, dx);
    check_activation(quick_gelu, result, dx, n);
}

TEST(extreme_inputs_keep_activations_finite_and_nan_visible)
{
    float x[5] = {-1e30f, 1e30f, -100.0f, 100.0f, NAN}, y[5];
    void (*f[3])(size_t, const float *, float *) = {vec_gelu, vec_gelu_tanh, vec_relu};
    for (int k = 0; k < 3; k++) {
        f[k](5, x, y);
        CHECK(fabsf(y[0]) == 0.0f);
        CHECK(y[1] == 1e30f);
        CHECK(fabsf(y[2]) < 1e-5f);
        CHECK(y[3] == 100.0f);
        CHECK(isnan(y[4]));
    }
    vec_swish(5, 1.0f, x, y);
    CHECK(y[0] == 0.0f);
    CHECK(y[1] == 1e30f);
    CHECK(isnan(y[4]));
}

TEST(reductions_of_every_short_length)
{
    float a[70], b[70];
    for (int i = 0; i < 70; i++) a[i] = sinf((float)i), b[i] = cosf(3.0f * (float)i);
    for (int n = 0; n <= 70; n++) {
        double sum = 0, squares = 0, dot = 0;
        for (int i = 0; i < n; i++) {
            sum += a[i];
            squares += (a[i] - 0.25) * (a[i] - 0.25);
            dot += (double)a[i] * b[i];
        }
        CHECK_NEAR(vec_sum((size_t)n, a), sum, 1e-5);
        CHECK_NEAR(vec_sum_squares((size_t)n, a, 0.25f), squares, 1e-5);
        CHECK_NEAR(vec_dot((size_t)n, a, b), dot, 1e-5);
    }
}

TEST(softmax_of_every_short_length_with_large_scores)
{
    float x[72];
    for (int n = 1; n <= 70; n++) {
        double norm = 0, worst = 0;
        for (int i = 0; i < 72; i++)
            x[i] = i < n ? 1000.0f + 3.0f * sinf((float)i)
                         : 4000.0f; /* what lies behind is not ours */
        for (int i = 0; i < n; i++) norm += exp((double)x[i] - 1000);
        float want[70];
        for (int i = 0; i < n; i++) want[i] = (float)(exp((double)x[i] - 1000) / norm);
        vec_softmax((size_t)n, x);
        for (int i = 0; i < n; i++) worst = fmax(worst, fabs(x[i] - want[i]));
        CHECK_NEAR(worst, 0, 3e-7);
        CHECK(x[n] == 4000.0f);
    }
    float bad[20] = {0};
    bad[18] = NAN;
    vec_softmax(20, bad);
    for (int i = 0; i < 20; i++) CHECK(isnan(bad[i]));
}

TEST(softmax_backward)
{
    float p[21], dp[21], dot = 0;
    for (int i = 0; i < 21; i++) p[i] = sinf((float)i), dp[i] = cosf((float)i), dot += p[i] * dp[i];
    vec_softmax_backward(21, 0.5f, p, dp);
    for (int i = 0; i < 21; i++) CHECK_NEAR(dp[i], 0.5 * p[i] * (cos((double)i) - dot), 1e-6);
}

TEST(column_sums)
{
    float x[7 * 37], sum[37];
    for (int i = 0; i < 7 * 37; i++) x[i] = sinf((float)i);
    for (int c = 0; c < 37; c++) sum[c] = 1;
    vec_column_sums(7, 37, x, sum);
    for (int c = 0; c < 37; c++) {
        double want = 1;
        for (int i = 0; i < 7; i++) want += x[i * 37 + c];
        CHECK_NEAR(sum[c], want, 1e-6);
    }
}

TEST(bf16_rounds_to_nearest_even)
{
    union {
        uint32_t u;
        float f;
    } x[7] = {{0x3f800000}, {0x3f808000}, {0x3f818000}, {0x3f808001},
              {0x7f800000}, {0x7f800001}, {0xbf80ffff}};
    uint16_t want[7] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x7f80, 0x7fc0, 0xbf81}, y[7];
    float f[7];
    for (int i = 0; i < 7; i++) f[i] = x[i].f;
    vec_bf16(7, f, y);
    for (int i = 0; i < 7; i++) CHECK_EQ(y[i], want[i]);
    float widened[7], rounded[7];
    vec_from_bf16(7, want, widened);
    vec_round_bf16(7, f, rounded);
    CHECK(!memcmp(widened, rounded, sizeof rounded));
    CHECK_EQ(widened[2], 1.015625);
    CHECK(isnan(widened[5]));
}

/* The sum of f32 exponentials, and each of them rounded, whatever the length of the row. */
TEST(exponentials_in_bf16)
{
    for (int n = 1; n < 70; n++) {
        float x[70], e[70], sum = 0;
        uint16_t y[70], want[70];
        for (int i = 0; i < n; i++) x[i] = e[i] = 40 * sinf((float)(i * n));
        float max = e[0];
        for (int i = 1; i < n; i++) max = fmaxf(max, e[i]);
        for (int i = 0; i < n; i++) e[i] = 0.25f * (e[i] - max);
        vec_exp((size_t)n, e, e);
        for (int i = 0; i < n; i++) sum += e[i];
        CHECK_NEAR(vec_exp_bf16((size_t)n, 0.25f, x, y), sum, 1e-6 * n);
        vec_bf16((size_t)n, e, want);
        for (int i = 0; i < n; i++) CHECK_EQ(y[i], want[i]);
        vec_scale_bf16((size_t)n, 0.5f, x, y);
        for (int i = 0; i < n; i++) e[i] *= 0.5f;
        vec_bf16((size_t)n, e, want);
        for (int i = 0; i < n; i++) CHECK_EQ(y[i], want[i]);
    }
    float bad[3] = {1, NAN, -INFINITY}, far[2] = {0, -1e30f};
    uint16_t y[3];
    CHECK(isnan(vec_exp_bf16(3, 1, bad, y)));
    CHECK_NEAR(vec_exp_bf16(2, 1, far, y), 1, 0);
    CHECK_EQ(y[0], 0x3f80);
}

TEST_MAIN
