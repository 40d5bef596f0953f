/* Pictures to signatures; see likeness.h. Called by ingest's workers on every new picture, right
 * after decoding, so the pass over the pixels is all that may cost: rows are added up 16 bits wide
 * in strips that stay in the first cache, and only sums are weighed, divided and transformed. */
#include "ingest/likeness.h"

#include <stdlib.h>
#include <string.h>

enum {
    SIDE =
        32, /* areas a side; a pixel is SIDE units wide, an area as many as the picture has pixels */
    N_AREAS = SIDE * SIDE,
    FREQUENCIES = 8, /* 1..8 */
    N_COEFFICIENTS = FREQUENCIES * FREQUENCIES,
    STRIP_PX = 512,
    FULL_ROWS = 8, /* rows of weight SIDE that 16 bits hold: 8 * 32 * 255 < 65536 */
    FRACTION = 256 /* means are kept in 256ths of a level */
};

/* The least sum of magnitudes of a picture with a shape. A coefficient of size 1 (orthonormal) is
 * SIDE / 2 * FRACTION * 2^28 here. */
static const int64_t plain_below = (int64_t)LIKENESS_PLAIN * N_COEFFICIENTS * (SIDE / 2) *
                                   FRACTION * (1 << 28);

/* cos(k * pi / 64) * 2^14 */
static const int16_t cosine[33] = {16384, 16364, 16305, 16207, 16069, 15893, 15679, 15426, 15137,
                                   14811, 14449, 14053, 13623, 13160, 12665, 12140, 11585, 11003,
                                   10394, 9760,  9102,  8423,  7723,  7005,  6270,  5520,  4756,
                                   3981,  3196,  2404,  1606,  804,   0};

static uint32_t overlap(uint32_t a0, uint32_t a1, uint32_t b0, uint32_t b1)
{
    uint32_t from = a0 > b0 ? a0 : b0, to = a1 < b1 ? a1 : b1;
    return to > from ? to - from : 0;
}

/* column[i] = the sum over the rows of area row `ay`, weighed by the units that lie in it. */
static void sum_rows(const uint8_t *rgb, uint32_t w, uint32_t h, uint32_t ay, uint32_t x0, size_t n,
                     uint32_t *column)
{
    uint16_t part[STRIP_PX * 3];
    uint32_t top = ay * h, end = top + h; /* units */
    memset(column, 0, n * sizeof *column);
    for (uint32_t y = top / SIDE; y * SIDE < end;) {
        memset(part, 0, n * sizeof *part);
        for (int k = 0; k < FULL_ROWS && y * SIDE < end; k++, y++) {
            const uint8_t *row = rgb + ((size_t)y * w + x0) * 3;
            uint16_t weight = (uint16_t)overlap(y * SIDE, (y + 1) * SIDE, top, end);
            for (size_t i = 0; i < n; i++) part[i] = (uint16_t)(part[i] + weight * row[i]);
        }
        for (size_t i = 0; i < n; i++) column[i] += part[i];
    }
}

/* Adds the columns x0 .. x0 + n_px to the areas of one area row, weighed by the units in each. */
static void sum_columns(const uint32_t *column, uint32_t w, uint32_t x0, uint32_t n_px,
                        uint64_t area[SIDE][3])
{
    uint32_t from = x0 * SIDE, to = from + n_px * SIDE; /* units of the strip */
    for (uint32_t ax = from / w; ax < SIDE && ax * w < to; ax++) {
        uint32_t lo = ax * w > from ? ax * w : from, hi = ax * w + w < to ? ax * w + w : to;
        const uint32_t *first = column + (size_t)(lo / SIDE - x0) * 3;
        const uint32_t *last = column + (size_t)((hi - 1) / SIDE - x0) * 3;
        uint64_t r = 0, g = 0, b = 0;
        for (const uint32_t *c = first; c <= last; c += 3) r += c[0], g += c[1], b += c[2];
        uint32_t before = lo % SIDE, after = (SIDE - hi % SIDE) % SIDE; /* units of other areas */
        area[ax][0] += r * SIDE - (uint64_t)before * first[0] - (uint64_t)after * last[0];
        area[ax][1] += g * SIDE - (uint64_t)before * first[1] - (uint64_t)after * last[1];
        area[ax][2] += b * SIDE - (uint64_t)before * first[2] - (uint64_t)after * last[2];
    }
}

/* mean: (SIDE, SIDE, 3) in FRACTIONs of a level */
static void average(const uint8_t *rgb, uint32_t w, uint32_t h, int32_t mean[N_AREAS][3])
{
    uint32_t column[STRIP_PX * 3];
    uint64_t size = (uint64_t)w * h; /* units of an area */
    for (uint32_t ay = 0; ay < SIDE; ay++) {
        uint64_t area[SIDE][3] = {{0}};
        for (uint32_t x0 = 0; x0 < w; x0 += STRIP_PX) {
            uint32_t n_px = w - x0 < STRIP_PX ? w - x0 : STRIP_PX;
            sum_rows(rgb, w, h, ay, x0, (size_t)n_px * 3, column);
            sum_columns(column, w, x0, n_px, area);
        }
        for (uint32_t ax = 0; ax < SIDE; ax++)
            for (int c = 0; c < 3; c++)
                mean[ay * SIDE + ax][c] = (int32_t)((area[ax][c] * FRACTION + size / 2) / size);
    }
}

/* cos(k * pi / 64) * 2^14 for any k >= 0 */
static int64_t cosine_at(int k)
{
    k %= 4 * SIDE;
    if (k > 2 * SIDE) k = 4 * SIDE - k;
    return k <= SIDE ? cosine[k] : -cosine[2 * SIDE - k];
}

/* Coefficients u, v = 1..8 of the DCT-II, exact; z[(u - 1) * 8 + v - 1], u down and v across. */
static void transform(const int32_t grey[N_AREAS], int64_t z[N_COEFFICIENTS])
{
    int64_t basis[FREQUENCIES][SIDE], across[SIDE][FREQUENCIES];
    for (int u = 0; u < FREQUENCIES; u++)
        for (int x = 0; x < SIDE; x++) basis[u][x] = cosine_at((2 * x + 1) * (u + 1));
    for (int y = 0; y < SIDE; y++)
        for (int v = 0; v < FREQUENCIES; v++) {
            int64_t s = 0;
            for (int x = 0; x < SIDE; x++) s += grey[y * SIDE + x] * basis[v][x];
            across[y][v] = s;
        }
    for (int u = 0; u < FREQUENCIES; u++)
        for (int v = 0; v < FREQUENCIES; v++) {
            int64_t s = 0;
            for (int y = 0; y < SIDE; y++) s += across[y][v] * basis[u][y];
            z[u * FREQUENCIES + v] = s;
        }
}

/* Sorts a copy by insertion: 64 numbers. */
static int64_t median(const int64_t z[N_COEFFICIENTS])
{
    int64_t s[N_COEFFICIENTS];
    for (int i = 0; i < N_COEFFICIENTS; i++) {
        int k = i;
        for (; k > 0 && s[k - 1] > z[i]; k--) s[k] = s[k - 1];
        s[k] = z[i];
    }
    return (s[N_COEFFICIENTS / 2 - 1] + s[N_COEFFICIENTS / 2]) / 2;
}

/* The mean of some areas, rows y0..y1 and columns x0..x1, times their number. */
static int64_t sum_of(const int32_t grey[N_AREAS], int y0, int y1, int x0, int x1)
{
    int64_t s = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) s += grey[y * SIDE + x];
    return s;
}

/* 4x2 areas of 8 steps of 32 levels; the steps of each area begin 4 levels after those of the one
 * before, so that a change by 4 levels everywhere is one bit and not now none, now eight. */
static uint64_t plain_hash(const int32_t grey[N_AREAS])
{
    uint64_t hash = 0;
    for (int a = 0; a < 8; a++) {
        int y = a / 2 * 8, x = a % 2 * 16;
        int64_t sum = sum_of(grey, y, y + 8, x, x + 16);
        for (int step = 0; step < 8; step++)
            if (sum > (int64_t)(32 * step + 4 * a + 2) * FRACTION * 8 * 16)
                hash |= (uint64_t)1 << (8 * a + step);
    }
    return hash;
}

static uint64_t hash_of(const int32_t grey[N_AREAS])
{
    int64_t z[N_COEFFICIENTS], magnitude = 0;
    transform(grey, z);
    for (int i = 0; i < N_COEFFICIENTS; i++) magnitude += llabs(z[i]);
    if (magnitude < plain_below) return plain_hash(grey);
    int64_t threshold = median(z) + magnitude / (8 * N_COEFFICIENTS);
    uint64_t hash = 0;
    for (int i = 0; i < N_COEFFICIENTS; i++) hash |= (uint64_t)(z[i] > threshold) << i;
    return hash;
}

/* x / (of * 10^6), rounded, on 128; x is a weighed sum of `of` levels. */
static uint8_t chroma(int64_t x, int64_t of)
{
    of *= 1000000;
    int64_t level = (x + 128 * of + of / 2) / of; /* the sum is never negative: chroma >= -127.5 */
    return level > 255 ? 255 : (uint8_t)level;
}

/* Parts of the picture: the middle half both ways, the quarter above, the quarter below, both sides.
 * Cb and Cr are JFIF's. */
static void colour_of(const int32_t mean[N_AREAS][3], uint8_t colour[8])
{
    int64_t sum[4][3] = {{0}}, n[4] = {0};
    for (int i = 0; i < N_AREAS; i++) {
        int y = i / SIDE, x = i % SIDE;
        int part = y < 8 ? 1 : y >= 24 ? 2 : x < 8 || x >= 24 ? 3 : 0;
        for (int c = 0; c < 3; c++) sum[part][c] += mean[i][c];
        n[part] += FRACTION;
    }
    for (int part = 0; part < 4; part++) {
        const int64_t *s = sum[part];
        colour[2 * part] = chroma(-168736 * s[0] - 331264 * s[1] + 500000 * s[2], n[part]);
        colour[2 * part + 1] = chroma(500000 * s[0] - 418688 * s[1] - 81312 * s[2], n[part]);
    }
}

void likeness_of(const uint8_t *rgb, uint32_t w, uint32_t h, struct likeness *out)
{
    int32_t mean[N_AREAS][3], grey[N_AREAS];
    average(rgb, w, h, mean);
    for (int i = 0; i < N_AREAS; i++)
        grey[i] = (299 * mean[i][0] + 587 * mean[i][1] + 114 * mean[i][2] + 500) / 1000;
    *out = (struct likeness){.hash = hash_of(grey)};
    colour_of(mean, out->colour);
}

int likeness_distance(const struct likeness *a, const struct likeness *b)
{
    int colour = 0;
    for (int i = 0; i < 8; i++) {
        int d = abs(a->colour[i] - b->colour[i]);
        if (d > colour) colour = d;
    }
    return 2 * __builtin_popcountll(a->hash ^ b->hash) + colour;
}
