/* Vectors <-> codes: how one feature vector is kept, as pure functions.
 *
 *     struct codec codec;
 *     codec_init(&codec, STORAGE_Q, 768, 1e-4f, &err);
 *     int kind = codec_encode(&codec, x, code, &norm, &err);   // code: codec_capacity bytes
 *     codec_decode(&codec, kind, code, unit);                  // the unit vector back
 *
 * A vector is kept as its direction u = x / |x| and its norm |x| as f32. Directions:
 *
 *   f32   u as it is: 4 bytes a value.
 *   f16   IEEE half, rounded to nearest even: 2 bytes a value.
 *   bf16  the upper half of f32, likewise: 2 bytes that compress better; 1 - cos about 1.2e-6.
 *   q     int16 codes c = round(u / s), decoded as c / |c|: the direction needs no scale. s is the
 *         coarsest rung of the ladder s_k = sqrt(24 epsilon / dim) * 2^(-k/32), k = -16..8, for
 *         which 1 - cos(u, c) <= epsilon. On average uniform noise of step s gives
 *         1 - cos = dim s^2 / 24, so that s_0 alone would miss the bound for about half of all
 *         vectors; two or three rungs finer hold it at 0.3% of the size, and vectors with many
 *         exact zeros win from coarser rungs. A vector for which no rung holds, or whose codes
 *         leave int16, is kept RAW: as f32.
 *
 * The zero vector has norm 0 and no code. Decoded directions have unit length (f32 rounding),
 * whatever the storage.
 *
 * Invariants: code and norm are a function of (storage, dim, epsilon, x) alone: no neighbours, no
 * order, no state. All sums that decide run in eight fixed lanes of f64: every CPU gives the same
 * codes. Codes are little-endian. Any thread; nothing is allocated.
 */
#ifndef STORE_CODEC_H
#define STORE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

enum codec_storage { STORAGE_F32, STORAGE_F16, STORAGE_Q, STORAGE_BF16 }; /* as on disk */
enum codec_kind { CODEC_ZERO, CODEC_CODED, CODEC_RAW };

#define CODEC_RUNGS 25
#define CODEC_MAX_DIM ((uint32_t)1 << 20)
#define CODEC_MIN_EPSILON 1e-7f
#define CODEC_MAX_EPSILON 0.1f

struct codec {
    enum codec_storage storage;
    uint32_t dim;
    float epsilon; /* STORAGE_Q: bound on 1 - cos; 0 otherwise */
    double step;   /* STORAGE_Q: s_0 */
    float scale[CODEC_RUNGS]; /* STORAGE_Q: 1 / s_k, from the coarsest */
};

/* ERR_USAGE for a dimension or epsilon out of range. */
int codec_init(struct codec *c, enum codec_storage storage, uint32_t dim, float epsilon,
               struct error *err) MUST_CHECK;

/* "f32", "f16", "bf16", "q1e-4": the text of `--store` and of fingerprints. codec_parse: ERR_USAGE quotes a
 * text it does not know; codec_spell gives the shortest text that parses to the same storage and
 * epsilon. */
#define CODEC_TEXT 24
int codec_parse(const char *text, enum codec_storage *storage, float *epsilon, struct error *err) MUST_CHECK;
void codec_spell(enum codec_storage storage, float epsilon, char text[CODEC_TEXT]);

/* Bytes of the code of a vector of this kind (0 for CODEC_ZERO), and the most of any kind. */
size_t codec_bytes(const struct codec *c, enum codec_kind kind);
size_t codec_capacity(const struct codec *c);

/* The kind, or ERR_DATA when x holds a NaN or an infinity, or its length does not fit f32. code:
 * codec_capacity bytes, aligned as f32. // x: (dim) */
int codec_encode(const struct codec *c, const float *x, uint8_t *code, float *norm,
                 struct error *err) MUST_CHECK;

/* false when code is none that codec_encode can give (a NaN, no direction). // out: (dim), unit
 * length or zero */
bool codec_decode(const struct codec *c, enum codec_kind kind, const uint8_t *code, float *out) MUST_CHECK;

/* One value to and from IEEE half, round to nearest even; overflow gives infinity, NaN stays NaN. */
uint16_t codec_half_of(float x);
float codec_float_of(uint16_t half);

#endif
