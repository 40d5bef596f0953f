/* Planes back to rows, the half that every reader waits for; see planes.h. Values by 16 rows are turned on
 * their side in registers: three rounds of interleaving make 8 x 8 numbers of 2 bytes from what stands
 * value by value, two make 4 x 4 of 4 bytes. A strip of 32 values fills whole lines of the cache in each row
 * and stays in the nearest one. What does not divide is done by tiles that overlap, which write the same
 * bytes twice; too few rows or values for one go number by number. Written with vectors of 16 bytes, which
 * every CPU has: compiled for AVX-512 they were no faster. */
#include <string.h>

#include "store/planes.h"

#define INLINE static inline __attribute__((always_inline))
#define ROWS   16
#define STRIP  32 /* values */

typedef uint8_t bytes __attribute__((vector_size(16)));
typedef uint16_t halves __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(16)));
typedef uint64_t longs __attribute__((vector_size(16)));

/* Of two vectors, in turn: the first halves, the second halves. */
#define LOW_BYTES(a, b)                                                                            \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_BYTES(a, b)                                                                           \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOW_HALVES(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_HALVES(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LOW_WORDS(a, b)   __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH_WORDS(a, b)  __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LOW_LONGS(a, b)   __builtin_shufflevector(a, b, 0, 2)
#define HIGH_LONGS(a, b)  __builtin_shufflevector(a, b, 1, 3)

/* A block on its way: n rows of dim numbers; means of q, or NULL. */
struct shape {
    const uint8_t *planes, *means;
    uint32_t n, dim, width, period;
    size_t plane;
    uint8_t *out;
};

INLINE bytes bytes_at(const struct shape *s, uint32_t k, uint32_t value, uint32_t row)
{
    bytes b;
    memcpy(&b, s->planes + k * s->plane + (size_t)value * s->n + row, sizeof b);
    return b;
}

INLINE uint16_t unzigzag(uint16_t z)
{
    return (uint16_t)(z >> 1 ^ (0u - (z & 1u)));
}

INLINE uint16_t mean_of(const struct shape *s, uint32_t value)
{
    const uint8_t *p = s->means + value % s->period;
    return unzigzag((uint16_t)(p[0] | p[s->period] << 8));
}

/* 8 values of 8 rows, given by value, to rows. */
INLINE void put_halves(const struct shape *s, const halves v[8], uint32_t value, uint32_t row)
{
    words near[4], far[4]; /* rows 0..3 and 4..7 of values 2 i, 2 i + 1 */
    for (int i = 0; i < 4; i++) {
        near[i] = (words)LOW_HALVES(v[2 * i], v[2 * i + 1]);
        far[i] = (words)HIGH_HALVES(v[2 * i], v[2 * i + 1]);
    }
    uint8_t *out = s->out + ((size_t)row * s->dim + value) * 2;
    size_t stride = (size_t)s->dim * 2;
    for (int half = 0; half < 2; half++) {
        const words *p = half ? far : near;
        const longs a = (longs)LOW_WORDS(p[0], p[1]), b = (longs)LOW_WORDS(p[2], p[3]);
        const longs c = (longs)HIGH_WORDS(p[0], p[1]), d = (longs)HIGH_WORDS(p[2], p[3]);
        const longs rows[4] = {LOW_LONGS(a, b), HIGH_LONGS(a, b), LOW_LONGS(c, d),
                               HIGH_LONGS(c, d)};
        for (int i = 0; i < 4; i++) memcpy(out + (4 * half + i) * stride, &rows[i], 16);
    }
}

/* 8 values of 16 rows of 2 bytes. mean: of these values, or NULL. */
INLINE void tile_of_halves(const struct shape *s, uint32_t value, uint32_t row,
                           const uint16_t *mean)
{
    halves low[8], high[8];
    for (uint32_t i = 0; i < 8; i++) {
        bytes a = bytes_at(s, 0, value + i, row), b = bytes_at(s, 1, value + i, row);
        low[i] = (halves)LOW_BYTES(a, b);
        high[i] = (halves)HIGH_BYTES(a, b);
        if (!mean) continue;
        low[i] = (low[i] >> 1 ^ -(low[i] & 1)) + mean[i];
        high[i] = (high[i] >> 1 ^ -(high[i] & 1)) + mean[i];
    }
    put_halves(s, low, value, row);
    put_halves(s, high, value, row + 8);
}

/* 4 values of 16 rows of 4 bytes. */
INLINE void tile_of_words(const struct shape *s, uint32_t value, uint32_t row)
{
    words v[4][4]; /* by value, rows 4 i .. 4 i + 3 */
    for (uint32_t i = 0; i < 4; i++) {
        bytes a = bytes_at(s, 0, value + i, row), b = bytes_at(s, 1, value + i, row);
        bytes c = bytes_at(s, 2, value + i, row), d = bytes_at(s, 3, value + i, row);
        halves ab = (halves)LOW_BYTES(a, b), cd = (halves)LOW_BYTES(c, d);
        v[i][0] = (words)LOW_HALVES(ab, cd);
        v[i][1] = (words)HIGH_HALVES(ab, cd);
        ab = (halves)HIGH_BYTES(a, b);
        cd = (halves)HIGH_BYTES(c, d);
        v[i][2] = (words)LOW_HALVES(ab, cd);
        v[i][3] = (words)HIGH_HALVES(ab, cd);
    }
    uint8_t *out = s->out + ((size_t)row * s->dim + value) * 4;
    size_t stride = (size_t)s->dim * 4;
    for (int i = 0; i < 4; i++) {
        const longs a = (longs)LOW_WORDS(v[0][i], v[1][i]), b = (longs)LOW_WORDS(v[2][i], v[3][i]);
        const longs c = (longs)HIGH_WORDS(v[0][i], v[1][i]);
        const longs d = (longs)HIGH_WORDS(v[2][i], v[3][i]);
        const longs rows[4] = {LOW_LONGS(a, b), HIGH_LONGS(a, b), LOW_LONGS(c, d),
                               HIGH_LONGS(c, d)};
        for (int k = 0; k < 4; k++) memcpy(out + (4 * i + k) * stride, &rows[k], 16);
    }
}

/* Values first .. first + n - 1 of all rows, by tiles; n is at least one tile's. */
INLINE void strip(const struct shape *s, uint32_t first, uint32_t n)
{
    uint32_t step = s->width == 2 ? 8 : 4;
    uint16_t mean[STRIP];
    for (uint32_t i = 0; i < n && s->means; i++) mean[i] = mean_of(s, first + i);
    for (uint32_t r = 0; r < s->n; r += ROWS) {
        uint32_t row = s->n - r < ROWS ? s->n - ROWS : r;
        for (uint32_t i = 0; i < n; i += step) {
            uint32_t at = n - i < step ? n - step : i;
            if (s->width == 2)
                tile_of_halves(s, first + at, row, s->means ? mean + at : NULL);
            else
                tile_of_words(s, first + at, row);
        }
    }
}

INLINE void one_by_one(const struct shape *s)
{
    for (uint32_t j = 0; j < s->dim; j++) {
        uint16_t mean = s->means ? mean_of(s, j) : 0;
        for (uint32_t r = 0; r < s->n; r++) {
            const uint8_t *p = s->planes + (size_t)j * s->n + r;
            uint8_t *to = s->out + ((size_t)r * s->dim + j) * s->width;
            uint16_t v = (uint16_t)(p[0] | p[s->plane] << 8);
            if (s->means) v = (uint16_t)(unzigzag(v) + mean);
            memcpy(to, &v, 2);
            for (uint32_t k = 2; k < s->width; k++) to[k] = p[k * s->plane];
        }
    }
}

INLINE void all(const struct shape *s)
{
    uint32_t step = s->width == 2 ? 8 : 4;
    if (s->n < ROWS || s->dim < step) {
        one_by_one(s);
        return;
    }
    for (uint32_t j = 0; j < s->dim; j += STRIP) {
        uint32_t first = s->dim - j < step ? s->dim - step : j, n = s->dim - first;
        strip(s, first, n < STRIP ? n : STRIP);
    }
}

void planes_to_rows(const uint8_t *planes, uint32_t n_rows, uint32_t dim, uint32_t width,
                    uint8_t *out)
{
    struct shape s = {.planes = planes, .n = n_rows, .dim = dim, .plane = (size_t)n_rows * dim};
    s.out = out;
    if (width == 2) {
        s.width = 2;
        all(&s);
    } else {
        s.width = 4;
        all(&s);
    }
}

void planes_to_codes(const uint8_t *planes, uint32_t n_rows, uint32_t dim, uint32_t period,
                     uint8_t *out)
{
    struct shape s = {.planes = planes, .n = n_rows, .dim = dim, .plane = (size_t)n_rows * dim};
    s.out = out;
    s.width = 2;
    s.period = period;
    s.means = planes + 2 * s.plane;
    all(&s);
}
