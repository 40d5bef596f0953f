/* Polynomial exp and erf, activations and lane-wise reductions; see vecmath.h for why they are
 * ours.
 *
 * exp: x = n ln2 + r with |r| <= ln2/2 (Cody and Waite's two-part ln2), a degree-6 polynomial for
 * e^r, and 2^n built in the exponent. erf: the odd rational approximation x P(x^2) / Q(x^2) on [-4,
 * 4], beyond which erf is 1 in f32. All helpers are static inline and branch-free; the loops around
 * them are the only loops. */
#include "featurize/vecmath.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16

/* e^c = 2^n * what this returns, for the integer n that lies in the low bits of *shifted. */
static inline __attribute__((always_inline)) float exp_rest(float c, float *shifted)
{
    *shifted = c * 1.44269504f + 12582912.0f; /* 1.5 * 2^23 */
    float n = *shifted - 12582912.0f;
    float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * r) * r + r + 1.0f;
}

static inline __attribute__((always_inline)) float exp_one(float x)
{
    const float low = -87.33654f, high = 88.72283f;
    float c = x < low ? low : x, shifted;
    c = c > high ? high : c;
    float p = exp_rest(c, &shifted);
    /* 2^n in two factors, so that n = 128 does not overflow before the product does. */
    union {
        float f;
        int32_t i;
        uint32_t u;
    } bits = {.f = shifted}, half, rest;
    int32_t power = bits.i - 0x4b400000;
    int32_t h = power >> 1;
    half.u = (uint32_t)(h + 127) << 23;
    rest.u = (uint32_t)(power - h + 127) << 23;
    float y = (p * half.f) * rest.f;
    y = x < low ? 0.0f : y;
    return x > high ? INFINITY : y;
}

/* e^x for x <= 0, never below 2^-126: exp_one without what larger numbers need. */
static inline __attribute__((always_inline)) float exp_below(float x)
{
    const float low = -87.33654f;
    float shifted, p = exp_rest(x < low ? low : x, &shifted);
    union {
        float f;
        uint32_t u;
    } power = {.f = shifted};
    power.u = (power.u - 0x4b400000u + 127) << 23;
    return p * power.f;
}

static inline __attribute__((always_inline)) float erf_one(float x)
{
    float c = x < -4.0f ? -4.0f : x;
    c = c > 4.0f ? 4.0f : c;
    float s = c * c;
    float p = -2.72614225801306e-10f;
    p = p * s + 2.77068142495902e-08f;
    p = p * s + -2.10102402082508e-06f;
    p = p * s + -5.69250639462346e-05f;
    p = p * s + -7.34990630326855e-04f;
    p = p * s + -2.95459980854025e-03f;
    p = p * s + -1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * s + -2.13374055278905e-04f;
    q = q * s + -1.68282697438203e-03f;
    q = q * s + -7.37332916720468e-03f;
    q = q * s + -1.42647390514189e-02f;
    return c * p / q;
}

static inline __attribute__((always_inline)) float tanh_one(float x)
{
    return 1.0f - 2.0f / (exp_one(2.0f * x) + 1.0f);
}

VEC_CLONES void vec_exp(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = exp_one(x[i]);
}

VEC_CLONES void vec_erf(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = erf_one(x[i]);
}

#define SQRT_HALF      0.70710678f
#define INV_SQRT_2PI   0.39894228f
#define SQRT_2_OVER_PI 0.79788456f

VEC_CLONES void vec_gelu(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1.0f + erf_one(x[i] * SQRT_HALF));
}

/* gelu'(x) = Phi(x) + x phi(x) */
VEC_CLONES void vec_gelu_backward(size_t n, const float *x, const float *dy, float *dx)
{
    for (size_t i = 0; i < n; i++) {
        float cdf = 0.5f * (1.0f + erf_one(x[i] * SQRT_HALF));
        float pdf = INV_SQRT_2PI * exp_one(-0.5f * x[i] * x[i]);
        dx[i] += dy[i] * (cdf + x[i] * pdf);
    }
}

VEC_CLONES void vec_swish(size_t n, float slope, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] / (1.0f + exp_one(-slope * x[i]));
}

/* s = sigmoid(a x); (x s)' = s + a x s (1 - s) */
VEC_CLONES void vec_swish_backward(size_t n, float slope, const float *x, const float *dy,
                                   float *dx)
{
    for (size_t i = 0; i < n; i++) {
        float s = 1.0f / (1.0f + exp_one(-slope * x[i]));
        dx[i] += dy[i] * (s + slope * x[i] * s * (1.0f - s));
    }
}

/* 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3) */
VEC_CLONES void vec_gelu_tanh(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) {
        float u = SQRT_2_OVER_PI * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        y[i] = 0.5f * x[i] * (1.0f + tanh_one(u));
    }
}

VEC_CLONES void vec_gelu_tanh_backward(size_t n, const float *x, const float *dy, float *dx)
{
    for (size_t i = 0; i < n; i++) {
        float u = SQRT_2_OVER_PI * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        float t = tanh_one(u), du = SQRT_2_OVER_PI * (1.0f + 3.0f * 0.044715f * x[i] * x[i]);
        dx[i] += dy[i] * (0.5f * (1.0f + t) + 0.5f * x[i] * (1.0f - t * t) * du);
    }
}

/* A NaN stays a NaN. */
VEC_CLONES void vec_relu(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

VEC_CLONES void vec_relu_backward(size_t n, const float *x, const float *dy, float *dx)
{
    for (size_t i = 0; i < n; i++) dx[i] += x[i] > 0.0f ? dy[i] : 0.0f;
}

static inline __attribute__((always_inline)) float fold_sum(float *lane)
{
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) lane[j] += lane[j + width];
    return lane[0];
}

/* What is left of a row after its whole blocks is read under a condition a lane, which becomes one
 * masked load. */
static inline __attribute__((always_inline)) float sum(size_t n, const float *x)
{
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += x[i + j];
    for (size_t j = 0; j < LANES; j++)
        if (j < n - i) lane[j] += x[i + j];
    return fold_sum(lane);
}

VEC_CLONES float vec_sum(size_t n, const float *x)
{
    return sum(n, x);
}

VEC_CLONES float vec_sum_squares(size_t n, const float *x, float mean)
{
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (size_t j = 0; j < LANES; j++)
        if (j < n - i) lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    return fold_sum(lane);
}

static inline __attribute__((always_inline)) float dot(size_t n, const float *a, const float *b)
{
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += a[i + j] * b[i + j];
    for (size_t j = 0; j < LANES; j++)
        if (j < n - i) lane[j] += a[i + j] * b[i + j];
    return fold_sum(lane);
}

VEC_CLONES float vec_dot(size_t n, const float *a, const float *b)
{
    return dot(n, a, b);
}

/* The largest value that is a number. Written in vectors: of lanes in an array gcc 12 makes scalar
 * code here, which took half of a softmax's time. */
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t masks __attribute__((vector_size(4 * LANES), aligned(4)));

static inline __attribute__((always_inline)) float largest(size_t n, const float *x)
{
    lanes most = (lanes){0} - INFINITY;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes here;
        memcpy(&here, x + i, sizeof here);
        masks more = here > most;
        most = (lanes)(((masks)here & more) | ((masks)most & ~more));
    }
    float lane[LANES];
    memcpy(lane, &most, sizeof lane);
    for (size_t j = 0; i < n; i++, j++) lane[j] = x[i] > lane[j] ? x[i] : lane[j];
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t j = 0; j < width; j++)
            lane[j] = lane[j + width] > lane[j] ? lane[j + width] : lane[j];
    return lane[0];
}

/* A NaN among the scores makes the sum and so every result a NaN. */
VEC_CLONES void vec_softmax(size_t n, float *x)
{
    float max = largest(n, x);
    for (size_t i = 0; i < n; i++) x[i] = exp_one(x[i] - max);
    float scale = 1.0f / sum(n, x);
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

VEC_CLONES void vec_softmax_backward(size_t n, float scale, const float *p, float *dp)
{
    float total = dot(n, p, dp);
    for (size_t i = 0; i < n; i++) dp[i] = scale * p[i] * (dp[i] - total);
}

/* Blocks of columns stay in registers while the rows go by. */
VEC_CLONES void vec_column_sums(size_t rows, size_t n, const float *x, float *sum)
{
    size_t c = 0;
    for (; c + LANES <= n; c += LANES) {
        float lane[LANES] = {0};
        for (size_t i = 0; i < rows; i++)
            for (int j = 0; j < LANES; j++) lane[j] += x[i * n + c + (size_t)j];
        for (int j = 0; j < LANES; j++) sum[c + (size_t)j] += lane[j];
    }
    for (; c < n; c++) {
        float lane = 0;
        for (size_t i = 0; i < rows; i++) lane += x[i * n + c];
        sum[c] += lane;
    }
}

static inline __attribute__((always_inline)) uint16_t bf16_one(float x)
{
    union {
        float f;
        uint32_t u;
    } bits = {.f = x};
    uint32_t rounded = (bits.u + 0x7fff + ((bits.u >> 16) & 1)) >> 16;
    uint32_t quiet = bits.u >> 16 | 0x40;
    return (uint16_t)((bits.u & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

VEC_CLONES void vec_bf16(size_t n, const float *x, uint16_t *y)
{
    for (size_t i = 0; i < n; i++) y[i] = bf16_one(x[i]);
}

static inline __attribute__((always_inline)) float from_bf16_one(uint16_t x)
{
    union {
        uint32_t u;
        float f;
    } bits = {.u = (uint32_t)x << 16};
    return bits.f;
}

VEC_CLONES void vec_round_bf16(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = from_bf16_one(bf16_one(x[i]));
}

VEC_CLONES void vec_from_bf16(size_t n, const uint16_t *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = from_bf16_one(x[i]);
}

VEC_CLONES void vec_scale_bf16(size_t n, float scale, const float *x, uint16_t *y)
{
    for (size_t i = 0; i < n; i++) y[i] = bf16_one(scale * x[i]);
}

VEC_CLONES float vec_exp_bf16(size_t n, float scale, float *x, uint16_t *y)
{
    float max = largest(n, x);
    for (size_t i = 0; i < n; i++) x[i] = exp_below(scale * (x[i] - max));
    for (size_t i = 0; i < n; i++) y[i] = bf16_one(x[i]);
    return sum(n, x);
}

VEC_CLONES void vec_sum_of_two(size_t n, const float *a, const float *b, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

VEC_CLONES void vec_add(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

VEC_CLONES void vec_axpy(size_t n, float scale, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] += scale * x[i];
}
