/* Rows of numbers to planes, by tiles; see planes.h, and planes_rows.c for the way back. A tile holds its numbers as u32 whatever their
 * width, so that one set of loops serves all storages. The loops over rows are vectorised by the
 * compiler; where they turn a tile on its side they run inside the nearest cache. */
#include "store/planes.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define KERNEL __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define KERNEL
#endif
#define INLINE static inline __attribute__((always_inline))
#define VALUES 16

/* Values first .. first + n_values - 1 of all rows. 16 rows more than there are, so that the lines of a
 * tile do not fall on each other in the cache. */
struct tile {
    uint32_t first, n_values;
    uint32_t at[VALUES][PLANES_MAX_ROWS + 16];
};

/* A block on its way through: n rows of dim numbers of `width` bytes. */
struct shape {
    uint32_t n, dim, width;
    size_t plane;
};

INLINE uint32_t number_at(const uint8_t *p, uint32_t i, uint32_t width)
{
    uint32_t v = 0;
    memcpy(&v, p + (size_t)i * width, width);
    return v;
}

INLINE void rows_into(struct tile *t, const struct shape *s, const uint8_t *const *rows)
{
    uint32_t n_rows = s->n, n_values = t->n_values, width = s->width;
    for (uint32_t r = 0; r < n_rows; r++) {
        const uint8_t *p = rows[r] + (size_t)t->first * width;
        if (n_values == VALUES)
            for (uint32_t i = 0; i < VALUES; i++) t->at[i][r] = number_at(p, i, width);
        else
            for (uint32_t i = 0; i < n_values; i++) t->at[i][r] = number_at(p, i, width);
    }
}

INLINE void planes_out_of(const struct tile *t, const struct shape *s, uint8_t *planes)
{
    uint32_t n_rows = s->n, n_values = t->n_values;
    for (uint32_t i = 0; i < n_values; i++)
        for (uint32_t k = 0; k < s->width; k++) {
            uint8_t *restrict p = planes + k * s->plane + (size_t)(t->first + i) * n_rows;
            const uint32_t *restrict v = t->at[i];
            for (uint32_t r = 0; r < n_rows; r++) p[r] = (uint8_t)(v[r] >> 8 * k);
        }
}

INLINE void move(struct tile *t, uint32_t first, uint32_t end)
{
    t->first = first;
    t->n_values = end - first < VALUES ? end - first : VALUES;
}

INLINE size_t from_rows(const uint8_t *const *rows, uint32_t n, uint32_t dim, uint32_t width,
                        uint8_t *out)
{
    struct shape s = {n, dim, width, (size_t)n * dim};
    struct tile t;
    for (uint32_t j = 0; j < dim; j += VALUES) {
        move(&t, j, dim);
        rows_into(&t, &s, rows);
        planes_out_of(&t, &s, out);
    }
    return s.plane * width;
}

KERNEL size_t planes_from_rows(const uint8_t *const *rows, uint32_t n_rows, uint32_t dim,
                               uint32_t width, uint8_t *out)
{
    return width == 2 ? from_rows(rows, n_rows, dim, 2, out) : from_rows(rows, n_rows, dim, 4, out);
}

/* 0, -1, 1, -2, ... as 0, 1, 2, 3, ...; on the low 16 bits. */
INLINE uint32_t zigzag(uint32_t v)
{
    return (v << 1 ^ (0u - (v >> 15 & 1))) & 0xffff;
}

/* floor of the average + 1/2 */
INLINE uint32_t rounded_average(int64_t sum, int64_t count)
{
    int64_t twice = 2 * sum + count, q = twice / (2 * count);
    return (uint32_t)(q - (twice % (2 * count) < 0)) & 0xffff;
}

KERNEL size_t planes_from_codes(const uint8_t *const *rows, uint32_t n_rows, uint32_t dim,
                                uint32_t period, uint8_t *out)
{
    struct shape s = {n_rows, dim, 2, (size_t)n_rows * dim};
    struct tile t;
    uint8_t *means = out + 2 * s.plane;
    for (uint32_t c = 0; c < period && n_rows; c += VALUES) {
        int64_t sum[VALUES] = {0};
        uint32_t mean[VALUES];
        for (uint32_t cell = 0; cell < dim; cell += period) {
            move(&t, cell + c, cell + period);
            rows_into(&t, &s, rows);
            for (uint32_t i = 0; i < t.n_values; i++) {
                int32_t part = 0; /* at most 256 * 2^15 */
                for (uint32_t r = 0; r < n_rows; r++) part += (int16_t)t.at[i][r];
                sum[i] += part;
            }
        }
        for (uint32_t i = 0; i < t.n_values; i++) {
            mean[i] = rounded_average(sum[i], (int64_t)n_rows * (dim / period));
            means[c + i] = (uint8_t)zigzag(mean[i]);
            means[c + i + period] = (uint8_t)(zigzag(mean[i]) >> 8);
        }
        for (uint32_t cell = 0; cell < dim; cell += period) {
            move(&t, cell + c, cell + period);
            if (period < dim) rows_into(&t, &s, rows); /* else it is there still */
            for (uint32_t i = 0; i < t.n_values; i++)
                for (uint32_t r = 0; r < n_rows; r++) t.at[i][r] = zigzag(t.at[i][r] - mean[i]);
            planes_out_of(&t, &s, out);
        }
    }
    return n_rows ? 2 * s.plane + 2 * (size_t)period : 0;
}
