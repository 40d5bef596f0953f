/* Vectors <-> codes; see codec.h for the method. The ladder is searched from its coarsest rung, so that
 * the first rung that holds is the smallest code. A rung that surely misses is seen by sums in f32,
 * sixteen lanes wide; the others are judged by exact ones, so that the outcome is theirs alone. */
#include "store/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define KERNEL __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define KERNEL
#endif
#define LANES 8
#define WIDE  16
/* Lanes as the compiler's vectors: it splits them where the CPU has narrower ones, with equal results. */
typedef double lanes __attribute__((vector_size(8 * LANES)));
typedef float wide __attribute__((vector_size(4 * WIDE)));
typedef float half_wide __attribute__((vector_size(4 * LANES)));
#define RUNG_FIRST       (-16)
#define RUNGS_PER_OCTAVE 32
#define CODE_MAX         32767.0f
/* Rounding u and the decoded vector to f32 may move 1 - cos by this part of the smallest epsilon. */
#define MARGIN 1e-3
/* Adding and taking away 1.5 * 2^23 rounds |x| < 2^22 to the nearest integer, ties to even. */
#define ROUNDER 12582912.0f

int codec_init(struct codec *c, enum codec_storage storage, uint32_t dim, float epsilon,
               struct error *err)
{
    if (dim < 1 || dim > CODEC_MAX_DIM)
        return error_set(err, ERR_USAGE, "feature dimension %u: expected 1 to %u", dim,
                         CODEC_MAX_DIM);
    if (storage < STORAGE_F32 || storage > STORAGE_BF16)
        return error_set(err, ERR_USAGE, "feature storage %d is unknown", (int)storage);
    if (storage == STORAGE_Q && !(epsilon >= CODEC_MIN_EPSILON && epsilon <= CODEC_MAX_EPSILON))
        return error_set(err, ERR_USAGE, "feature storage q: epsilon %g is not between %g and %g",
                         (double)epsilon, (double)CODEC_MIN_EPSILON, (double)CODEC_MAX_EPSILON);
    *c = (struct codec){.storage = storage, .dim = dim};
    if (storage == STORAGE_Q) {
        c->epsilon = epsilon;
        c->step = sqrt(24.0 * (double)epsilon / dim);
        for (int i = 0; i < CODEC_RUNGS; i++)
            c->scale[i] = (float)(exp2((double)(RUNG_FIRST + i) / RUNGS_PER_OCTAVE) / c->step);
    }
    return 0;
}

int codec_parse(const char *text, enum codec_storage *storage, float *epsilon, struct error *err)
{
    struct codec probe;
    char *end = NULL;
    float e = 0;
    enum codec_storage s = !strcmp(text, "f32")    ? STORAGE_F32
                           : !strcmp(text, "f16")  ? STORAGE_F16
                           : !strcmp(text, "bf16") ? STORAGE_BF16
                                                   : STORAGE_Q;
    if (s == STORAGE_Q)
        e = text[0] == 'q' && text[1] >= '0' && text[1] <= '9' ? strtof(text + 1, &end) : 0;
    if (s == STORAGE_Q && (!end || *end || codec_init(&probe, s, 1, e, NULL) < 0))
        return error_set(
            err, ERR_USAGE,
            "\"%.40s\" is no feature storage: expected f32, f16, bf16, or q and a bound "
            "from %g to %g such as q1e-4",
            text, (double)CODEC_MIN_EPSILON, (double)CODEC_MAX_EPSILON);
    *storage = s;
    *epsilon = e;
    return 0;
}

/* Removes what "%e" pads its exponent with: "1e-04" -> "1e-4". */
static void shorten_exponent(char *text)
{
    char *e = strchr(text, 'e');
    if (e && e[1] == '-' && e[2] == '0') memmove(e + 2, e + 3, strlen(e + 3) + 1);
}

void codec_spell(enum codec_storage storage, float epsilon, char text[CODEC_TEXT])
{
    snprintf(text, CODEC_TEXT, "%s",
             storage == STORAGE_F32   ? "f32"
             : storage == STORAGE_F16 ? "f16"
                                      : "bf16");
    if (storage != STORAGE_Q) return;
    for (int digits = 0; digits < 9; digits++) {
        snprintf(text, CODEC_TEXT, "q%.*e", digits, (double)epsilon);
        if (strtof(text + 1, NULL) == epsilon) break;
    }
    shorten_exponent(text);
}

size_t codec_bytes(const struct codec *c, enum codec_kind kind)
{
    if (kind == CODEC_ZERO) return 0;
    return (size_t)c->dim * (kind == CODEC_RAW || c->storage == STORAGE_F32 ? 4 : 2);
}

size_t codec_capacity(const struct codec *c)
{
    return (size_t)c->dim * 4;
}

static double add_lanes(const double lane[LANES])
{
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) +
           ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

/* Sum of squares of n floats. */
KERNEL static double square_sum(const float *x, uint32_t n)
{
    lanes sum = {0};
    double lane[LANES];
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        half_wide narrow;
        memcpy(&narrow, x + i, sizeof narrow);
        lanes v = __builtin_convertvector(narrow, lanes);
        sum += v * v;
    }
    memcpy(lane, &sum, sizeof lane);
    for (int l = 0; i < n; i++, l++) lane[l] += (double)x[i] * (double)x[i];
    return add_lanes(lane);
}

KERNEL static void scale_to(const float *x, uint32_t n, double by, float *out)
{
    for (uint32_t i = 0; i < n; i++) out[i] = (float)((double)x[i] * by);
}

static inline float round_even(float x)
{
    return (x + ROUNDER) - ROUNDER;
}

/* 1 - cos between u and its codes at this scale; 1 when all codes are 0. // u: (n) */
KERNEL static double miss_at(const float *u, uint32_t n, float scale, double norm_of_u)
{
    lanes dots = {0}, squares = {0};
    double dot[LANES], square[LANES];
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        half_wide v;
        memcpy(&v, u + i, sizeof v);
        lanes code = __builtin_convertvector((v * scale + ROUNDER) - ROUNDER, lanes);
        dots += code * __builtin_convertvector(v, lanes);
        squares += code * code;
    }
    memcpy(dot, &dots, sizeof dot);
    memcpy(square, &squares, sizeof square);
    for (int l = 0; i < n; i++, l++) {
        float code = round_even(u[i] * scale);
        dot[l] += (double)code * (double)u[i];
        square[l] += (double)code * (double)code;
    }
    double length = sqrt(add_lanes(square)) * norm_of_u;
    return length > 0 ? 1.0 - add_lanes(dot) / length : 1.0;
}

/* Whether 1 - cos at this scale is above epsilon beyond the errors of f32 sums. With v = u * scale, d =
 * v - code, e = d.d and p = d.v: 1 - cos^2 = (e v.v - p^2) / (v.v (v.v - 2p + e)). A sum of at most
 * 2^16 terms a lane is off by 0.4% of its terms' sizes: e by that of itself, p by that of sqrt(e
 * v.v). // u: (n) */
KERNEL static bool surely_misses(const float *u, uint32_t n, float scale, double square_of_u,
                                 double epsilon)
{
    wide ees = {0}, pps = {0};
    float ee[WIDE], pp[WIDE];
    uint32_t i = 0;
    for (; i + WIDE <= n; i += WIDE) {
        wide v;
        memcpy(&v, u + i, sizeof v);
        v *= scale;
        wide d = v - ((v + ROUNDER) - ROUNDER);
        ees += d * d;
        pps += d * v;
    }
    memcpy(ee, &ees, sizeof ee);
    memcpy(pp, &pps, sizeof pp);
    for (int l = 0; i < n; i++, l++) {
        float v = u[i] * scale, d = v - round_even(v);
        ee[l] += d * d;
        pp[l] += d * v;
    }
    double e = 0, p = 0, vv = square_of_u * (double)scale * (double)scale;
    for (int l = 0; l < WIDE; l++) {
        e += (double)ee[l];
        p += (double)pp[l];
    }
    double along = fabs(p) + 0.005 * sqrt(e * vv);
    double least = (0.995 * e * vv - along * along) / (vv * (vv + 2 * along + 1.005 * e));
    return least > 0 && 1 - sqrt(1 - fmin(least, 1)) > epsilon;
}

/* Of finite values: the bits of |x| are in the order of |x|. */
KERNEL static float largest(const float *x, uint32_t n)
{
    int32_t top = 0;
    float value;
    for (uint32_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], 4);
        bits &= 0x7fffffff;
        top = bits > top ? bits : top;
    }
    memcpy(&value, &top, 4);
    return value;
}

/* The scale of the coarsest rung that holds the bound, or 0. // u: (n) */
static float find_scale(const struct codec *c, const float *u)
{
    float top = largest(u, c->dim);
    double square = square_sum(u, c->dim), norm_of_u = sqrt(square);
    double limit = (double)c->epsilon * (1.0 - MARGIN);
    for (int i = 0; i < CODEC_RUNGS; i++) {
        float scale = c->scale[i];
        if (top * scale > CODE_MAX) return 0;
        if (surely_misses(u, c->dim, scale, square, limit)) continue;
        if (miss_at(u, c->dim, scale, norm_of_u) <= limit) return scale;
    }
    return 0;
}

/* Whether all are; an infinity or a NaN has all bits of its exponent set. */
KERNEL static bool is_finite_row(const float *x, uint32_t n)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        bad |= (bits & 0x7f800000) == 0x7f800000;
    }
    return !bad;
}

/* Codes written over u, front to back. // u: (dim) at the place of code */
KERNEL static void round_to_codes(uint8_t *code, uint32_t dim, float scale)
{
    for (uint32_t i = 0; i < dim; i++) {
        float v;
        memcpy(&v, code + 4 * (size_t)i, 4);
        uint16_t bits = (uint16_t)(int16_t)(int32_t)round_even(v * scale);
        memcpy(code + 2 * (size_t)i, &bits, 2);
    }
}

static uint16_t bfloat_of(float x) /* finite */
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int codec_encode(const struct codec *c, const float *x, uint8_t *code, float *norm,
                 struct error *err)
{
    for (uint32_t i = 0; i < c->dim && !is_finite_row(x, c->dim); i++)
        if (!isfinite(x[i]))
            return error_set(err, ERR_DATA, "value %u of the vector is %s", i,
                             isnan(x[i]) ? "not a number" : "infinite");
    double length = sqrt(square_sum(x, c->dim));
    *norm = (float)length;
    if (!isfinite(*norm))
        return error_set(err, ERR_DATA, "the length of the vector, %g, does not fit f32", length);
    if (length == 0) return CODEC_ZERO;

    float *u = (float *)(void *)code; /* the code is written over it, front to back */
    scale_to(x, c->dim, 1.0 / length, u);
    if (c->storage == STORAGE_F32) return CODEC_CODED;
    float scale = c->storage == STORAGE_Q ? find_scale(c, u) : 0;
    if (c->storage == STORAGE_Q && scale == 0) return CODEC_RAW;
    if (c->storage == STORAGE_Q) {
        round_to_codes(code, c->dim, scale);
        return CODEC_CODED;
    }
    for (uint32_t i = 0; i < c->dim; i++) {
        float v;
        memcpy(&v, code + 4 * (size_t)i, 4);
        uint16_t bits = c->storage == STORAGE_F16 ? codec_half_of(v) : bfloat_of(v);
        memcpy(code + 2 * (size_t)i, &bits, 2);
    }
    return CODEC_CODED;
}

KERNEL static void widen_bfloats(const uint8_t *code, uint32_t dim, float *out)
{
    for (uint32_t i = 0; i < dim; i++) {
        uint16_t bits;
        memcpy(&bits, code + 2 * (size_t)i, 2);
        uint32_t whole = (uint32_t)bits << 16;
        memcpy(&out[i], &whole, 4);
    }
}

static void widen_halves(const uint8_t *code, uint32_t dim, float *out)
{
    for (uint32_t i = 0; i < dim; i++) {
        uint16_t bits;
        memcpy(&bits, code + 2 * (size_t)i, 2);
        out[i] = codec_float_of(bits);
    }
}

static bool to_unit_length(float *out, uint32_t dim)
{
    double length = sqrt(square_sum(out, dim));
    if (!isfinite(length) || length == 0) return false;
    scale_to(out, dim, 1.0 / length, out);
    return true;
}

static inline int16_t code_at(const uint8_t *code, uint32_t i)
{
    int16_t v;
    memcpy(&v, code + 2 * (size_t)i, 2);
    return v;
}

/* c / |c|. The sum of squares, at most 2^20 * 2^30, is exact. Each value goes to out once: that is what
 * takes the time. */
KERNEL static bool decode_q(const uint8_t *restrict code, uint32_t dim, float *restrict out)
{
    int64_t square = 0;
    for (uint32_t i = 0; i < dim; i++) {
        int32_t v = code_at(code, i);
        square += v * v;
    }
    if (square == 0) return false;
    double by = 1.0 / sqrt((double)square);
    for (uint32_t i = 0; i < dim; i++) out[i] = (float)((double)code_at(code, i) * by);
    return true;
}

/* Floats as they are; whether all are finite. */
KERNEL static bool decode_floats(const uint8_t *restrict code, uint32_t dim, float *restrict out)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < dim; i++) {
        uint32_t bits;
        memcpy(&bits, code + 4 * (size_t)i, 4);
        bad |= (bits & 0x7f800000) == 0x7f800000;
        memcpy(&out[i], &bits, 4);
    }
    return !bad;
}

bool codec_decode(const struct codec *c, enum codec_kind kind, const uint8_t *code, float *out)
{
    if (kind == CODEC_ZERO) {
        memset(out, 0, (size_t)c->dim * sizeof *out);
        return true;
    }
    if (kind == CODEC_RAW || c->storage == STORAGE_F32) return decode_floats(code, c->dim, out);
    if (c->storage == STORAGE_Q) return decode_q(code, c->dim, out);
    if (c->storage == STORAGE_F16)
        widen_halves(code, c->dim, out);
    else
        widen_bfloats(code, c->dim, out);
    return to_unit_length(out, c->dim);
}

uint16_t codec_half_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7e00;
    if (bits >= 0x477ff000) return sign | 0x7c00; /* 65520 and more round to infinity */
    if (bits < 0x38800000) {                      /* below 2^-14: a subnormal half */
        float shifted; /* adding 0.5 aligns the half's last bit with the float's last, and rounds */
        memcpy(&shifted, &bits, 4);
        shifted += 0.5f;
        memcpy(&bits, &shifted, 4);
        return sign | (uint16_t)(bits - 0x3f000000);
    }
    uint32_t odd = bits >> 13 & 1;
    return sign | (uint16_t)((bits + 0xfff + odd - 0x38000000) >> 13);
}

float codec_float_of(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff, bits;
    if (rest < 0x0400) { /* zero and subnormal: exact in f32 */
        float small = (float)rest * 0x1p-24f;
        memcpy(&bits, &small, 4);
    } else {
        bits = (rest << 13) + (rest >= 0x7c00 ? 0x70000000 : 0x38000000);
    }
    bits |= sign;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
