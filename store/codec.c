/* Vectors <-> codes; see codec.h for the method. The ladder is searched from its coarsest rung, so that
 * the first rung that holds is the smallest code; each try is one pass of round, dot and square. */
#include "store/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES            8
#define RUNG_FIRST       (-16)
#define RUNG_LAST        8
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
    if (storage < STORAGE_F32 || storage > STORAGE_Q)
        return error_set(err, ERR_USAGE, "feature storage %d is unknown", (int)storage);
    if (storage == STORAGE_Q && !(epsilon >= CODEC_MIN_EPSILON && epsilon <= CODEC_MAX_EPSILON))
        return error_set(err, ERR_USAGE, "feature storage q: epsilon %g is not between %g and %g",
                         (double)epsilon, (double)CODEC_MIN_EPSILON, (double)CODEC_MAX_EPSILON);
    *c = (struct codec){.storage = storage, .dim = dim};
    if (storage == STORAGE_Q) {
        c->epsilon = epsilon;
        c->step = sqrt(24.0 * (double)epsilon / dim);
    }
    return 0;
}

int codec_parse(const char *text, enum codec_storage *storage, float *epsilon, struct error *err)
{
    struct codec probe;
    char *end = NULL;
    float e = 0;
    enum codec_storage s = !strcmp(text, "f32")   ? STORAGE_F32
                           : !strcmp(text, "f16") ? STORAGE_F16
                                                  : STORAGE_Q;
    if (s == STORAGE_Q)
        e = text[0] == 'q' && text[1] >= '0' && text[1] <= '9' ? strtof(text + 1, &end) : 0;
    if (s == STORAGE_Q && (!end || *end || codec_init(&probe, s, 1, e, NULL) < 0))
        return error_set(err, ERR_USAGE,
                         "\"%.40s\" is no feature storage: expected f32, f16, or q and a bound "
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
    snprintf(text, CODEC_TEXT, "%s", storage == STORAGE_F32 ? "f32" : "f16");
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
static double square_sum(const float *x, uint32_t n)
{
    double lane[LANES] = {0};
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i < n; i++, l++) lane[l] += (double)x[i] * (double)x[i];
    return add_lanes(lane);
}

static void scale_to(const float *x, uint32_t n, double by, float *out)
{
    for (uint32_t i = 0; i < n; i++) out[i] = (float)((double)x[i] * by);
}

static float round_even(float x)
{
    return (x + ROUNDER) - ROUNDER;
}

/* 1 - cos between u and its codes at this scale; 1 when all codes are 0. // u: (n) */
static double miss_at(const float *u, uint32_t n, float scale, double norm_of_u)
{
    double dot[LANES] = {0}, square[LANES] = {0};
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float code = round_even(u[i + l] * scale);
            dot[l] += (double)code * (double)u[i + l];
            square[l] += (double)code * (double)code;
        }
    for (int l = 0; i < n; i++, l++) {
        float code = round_even(u[i] * scale);
        dot[l] += (double)code * (double)u[i];
        square[l] += (double)code * (double)code;
    }
    double length = sqrt(add_lanes(square)) * norm_of_u;
    return length > 0 ? 1.0 - add_lanes(dot) / length : 1.0;
}

/* The scale of the coarsest rung that holds the bound, or 0. // u: (n) */
static float find_scale(const struct codec *c, const float *u)
{
    float top = 0;
    for (uint32_t i = 0; i < c->dim; i++) top = fabsf(u[i]) > top ? fabsf(u[i]) : top;
    double norm_of_u = sqrt(square_sum(u, c->dim));
    for (int rung = RUNG_FIRST; rung <= RUNG_LAST; rung++) {
        float scale = (float)(exp2((double)rung / RUNGS_PER_OCTAVE) / c->step);
        if (top * scale > CODE_MAX) return 0;
        if (miss_at(u, c->dim, scale, norm_of_u) <= (double)c->epsilon * (1.0 - MARGIN))
            return scale;
    }
    return 0;
}

int codec_encode(const struct codec *c, const float *x, uint8_t *code, float *norm,
                 struct error *err)
{
    for (uint32_t i = 0; i < c->dim; i++)
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
    for (uint32_t i = 0; i < c->dim; i++) {
        float v;
        memcpy(&v, code + 4 * (size_t)i, 4);
        uint16_t bits = c->storage == STORAGE_F16 ? codec_half_of(v)
                                                  : (uint16_t)(int16_t)round_even(v * scale);
        memcpy(code + 2 * (size_t)i, &bits, 2);
    }
    return CODEC_CODED;
}

static bool is_finite_row(const float *x, uint32_t n)
{
    bool ok = true;
    for (uint32_t i = 0; i < n; i++) ok &= isfinite(x[i]) != 0;
    return ok;
}

static bool decode_half(const struct codec *c, const uint8_t *code, float *out)
{
    for (uint32_t i = 0; i < c->dim; i++) {
        uint16_t bits;
        memcpy(&bits, code + 2 * (size_t)i, 2);
        out[i] = codec_float_of(bits);
    }
    double length = sqrt(square_sum(out, c->dim));
    if (!isfinite(length) || length == 0) return false;
    scale_to(out, c->dim, 1.0 / length, out);
    return true;
}

static bool decode_q(const struct codec *c, const uint8_t *code, float *out)
{
    int64_t square = 0; /* at most 2^20 * 2^30 */
    for (uint32_t i = 0; i < c->dim; i++) {
        int16_t v;
        memcpy(&v, code + 2 * (size_t)i, 2);
        square += (int32_t)v * v;
        out[i] = v;
    }
    if (square == 0) return false;
    scale_to(out, c->dim, 1.0 / sqrt((double)square), out);
    return true;
}

bool codec_decode(const struct codec *c, enum codec_kind kind, const uint8_t *code, float *out)
{
    if (kind == CODEC_ZERO) {
        memset(out, 0, (size_t)c->dim * sizeof *out);
        return true;
    }
    if (kind == CODEC_RAW || c->storage == STORAGE_F32) {
        memcpy(out, code, (size_t)c->dim * sizeof *out);
        return is_finite_row(out, c->dim);
    }
    return c->storage == STORAGE_F16 ? decode_half(c, code, out) : decode_q(c, code, out);
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
