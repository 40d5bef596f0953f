/* Pictures to signatures; see likeness.h. Called by ingest's workers on every new picture, right
 * after decoding, so the pass over the pixels is all that may cost: rows are added up 16 bits wide
 * in strips that stay in the first cache, and only sums are weighed, divided and transformed.
 * Sums and products are integers, also where they are kept in doubles, and below 2^53: exact. */
#include "ingest/likeness.h"

#include <math.h>
#include <stdlib.h>

enum {
    SIDE = 32, /* areas a side */
    N_AREAS = SIDE * SIDE,
    ROWS = 8, /* of an area; sums of so many bytes fit 16 bits */
    STRIP_PX = 512,
    FREQUENCIES = 8, /* 1..8 */
    N_COEFFICIENTS = FREQUENCIES * FREQUENCIES,
    FRACTION = 256, /* means are kept in 256ths of a level */
    GREY = 128 * FRACTION
};

/* The least sum of magnitudes of a picture with a shape. A coefficient of size 1 (orthonormal) is
 * SIDE / 2 * FRACTION * 2^28 here. */
static const double plain_below = (double)LIKENESS_PLAIN * N_COEFFICIENTS * (SIDE / 2) * FRACTION *
                                  (1 << 28);

/* cos(k * pi / 64) * 2^14 */
static const int16_t cosine[33] = {16384, 16364, 16305, 16207, 16069, 15893, 15679, 15426, 15137,
                                   14811, 14449, 14053, 13623, 13160, 12665, 12140, 11585, 11003,
                                   10394, 9760,  9102,  8423,  7723,  7005,  6270,  5520,  4756,
                                   3981,  3196,  2404,  1606,  804,   0};

/* sum[i] = byte i of the ROWS rows of area row `ay`, added up. */
static void sum_rows(const uint8_t *rgb, uint32_t w, uint32_t h, uint32_t ay, uint32_t x0,
                     size_t n_bytes, uint16_t *sum)
{
    const uint8_t *row[ROWS];
    for (uint32_t k = 0; k < ROWS; k++) {
        uint32_t y = (2 * (ay * ROWS + k) + 1) * h / (2 * SIDE * ROWS);
        row[k] = rgb + ((size_t)y * w + x0) * 3;
    }
    for (size_t i = 0; i < n_bytes; i++)
        sum[i] = (uint16_t)(row[0][i] + row[1][i] + row[2][i] + row[3][i] + row[4][i] + row[5][i] +
                            row[6][i] + row[7][i]);
}

/* Adds pixels x0 .. x0 + n_px of the summed rows to the areas that they lie in. Across, a pixel is
 * SIDE units wide and an area w, so that nothing needs to be rounded. */
static void sum_columns(const uint16_t *sum, uint32_t w, uint32_t x0, uint32_t n_px,
                        int64_t area[SIDE][3])
{
    uint32_t from = x0 * SIDE, to = from + n_px * SIDE; /* units of the strip */
    for (uint32_t ax = from / w; ax < SIDE && ax * w < to; ax++) {
        uint32_t lo = ax * w > from ? ax * w : from, hi = ax * w + w < to ? ax * w + w : to;
        const uint16_t *first = sum + (size_t)(lo / SIDE - x0) * 3;
        const uint16_t *last = sum + (size_t)((hi - 1) / SIDE - x0) * 3;
        uint32_t r = 0, g = 0, b = 0;
        for (const uint16_t *c = first; c <= last; c += 3) r += c[0], g += c[1], b += c[2];
        int64_t before = lo % SIDE, after = (SIDE - hi % SIDE) % SIDE; /* units of other areas */
        area[ax][0] += (int64_t)r * SIDE - before * first[0] - after * last[0];
        area[ax][1] += (int64_t)g * SIDE - before * first[1] - after * last[1];
        area[ax][2] += (int64_t)b * SIDE - before * first[2] - after * last[2];
    }
}

/* mean: (SIDE, SIDE, 3) in FRACTIONs of a level */
static void average(const uint8_t *rgb, uint32_t w, uint32_t h, int32_t mean[N_AREAS][3])
{
    uint16_t sum[STRIP_PX * 3];
    double scale = (double)FRACTION / ((double)ROWS * w);
    for (uint32_t ay = 0; ay < SIDE; ay++) {
        int64_t area[SIDE][3] = {{0}};
        for (uint32_t x0 = 0; x0 < w; x0 += STRIP_PX) {
            uint32_t n_px = w - x0 < STRIP_PX ? w - x0 : STRIP_PX;
            sum_rows(rgb, w, h, ay, x0, (size_t)n_px * 3, sum);
            sum_columns(sum, w, x0, n_px, area);
        }
        for (uint32_t ax = 0; ax < SIDE; ax++)
            for (int c = 0; c < 3; c++)
                mean[ay * SIDE + ax][c] = (int32_t)((double)area[ax][c] * scale + 0.5);
    }
}

/* cos(k * pi / 64) * 2^14 for any k >= 0 */
static double cosine_at(int k)
{
    k %= 4 * SIDE;
    if (k > 2 * SIDE) k = 4 * SIDE - k;
    return k <= SIDE ? cosine[k] : -cosine[2 * SIDE - k];
}

/* Coefficients u, v = 1..8 of the DCT-II, exact; z[(u - 1) * 8 + v - 1], u down and v across.
 * |grey| <= GREY: the largest sum is 2^15 * (2^14 * 2^5)^2 = 2^53. */
static void transform(const int32_t grey[N_AREAS], double z[N_COEFFICIENTS])
{
    double basis[SIDE][FREQUENCIES];
    for (int x = 0; x < SIDE; x++)
        for (int u = 0; u < FREQUENCIES; u++) basis[x][u] = cosine_at((2 * x + 1) * (u + 1));
    for (int i = 0; i < N_COEFFICIENTS; i++) z[i] = 0;
    for (int y = 0; y < SIDE; y++) {
        double across[FREQUENCIES] = {0};
        for (int x = 0; x < SIDE; x++)
            for (int v = 0; v < FREQUENCIES; v++) across[v] += grey[y * SIDE + x] * basis[x][v];
        for (int u = 0; u < FREQUENCIES; u++)
            for (int v = 0; v < FREQUENCIES; v++) z[u * FREQUENCIES + v] += basis[y][u] * across[v];
    }
}

/* Sorts a copy by insertion: 64 numbers. */
static double median(const double z[N_COEFFICIENTS])
{
    double s[N_COEFFICIENTS];
    for (int i = 0; i < N_COEFFICIENTS; i++) {
        int k = i;
        for (; k > 0 && s[k - 1] > z[i]; k--) s[k] = s[k - 1];
        s[k] = z[i];
    }
    return (s[N_COEFFICIENTS / 2 - 1] + s[N_COEFFICIENTS / 2]) / 2;
}

/* Over the areas of rows y0..y1 and columns x0..x1. */
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
            if (sum > (int64_t)((32 * step + 4 * a + 2) * FRACTION - GREY) * 8 * 16)
                hash |= (uint64_t)1 << (8 * a + step);
    }
    return hash;
}

static uint64_t hash_of(const int32_t grey[N_AREAS])
{
    double z[N_COEFFICIENTS], magnitude = 0;
    transform(grey, z);
    for (int i = 0; i < N_COEFFICIENTS; i++) magnitude += fabs(z[i]);
    if (magnitude < plain_below) return plain_hash(grey);
    double threshold = median(z) + magnitude / (8 * N_COEFFICIENTS);
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

/* Parts of the picture: the middle half both ways, the quarter above, the quarter below, both sides
 * beside the middle. Cb and Cr are JFIF's. */
static void colour_of(const int32_t mean[N_AREAS][3], uint8_t colour[8])
{
    static const struct {
        uint8_t part, y0, y1, x0, x1;
    } block[5] = {{0, 8, 24, 8, 24},
                  {1, 0, 8, 0, 32},
                  {2, 24, 32, 0, 32},
                  {3, 8, 24, 0, 8},
                  {3, 8, 24, 24, 32}};
    int64_t sum[4][3] = {{0}};
    for (int k = 0; k < 5; k++)
        for (int y = block[k].y0; y < block[k].y1; y++)
            for (int x = block[k].x0; x < block[k].x1; x++)
                for (int c = 0; c < 3; c++) sum[block[k].part][c] += mean[y * SIDE + x][c];
    for (int part = 0; part < 4; part++) {
        const int64_t *s = sum[part], of = N_AREAS / 4 * FRACTION;
        colour[2 * part] = chroma(-168736 * s[0] - 331264 * s[1] + 500000 * s[2], of);
        colour[2 * part + 1] = chroma(500000 * s[0] - 418688 * s[1] - 81312 * s[2], of);
    }
}

void likeness_of(const uint8_t *rgb, uint32_t w, uint32_t h, struct likeness *out)
{
    int32_t mean[N_AREAS][3], grey[N_AREAS];
    average(rgb, w, h, mean);
    for (int i = 0; i < N_AREAS; i++)
        grey[i] = (299 * mean[i][0] + 587 * mean[i][1] + 114 * mean[i][2] + 500) / 1000 - GREY;
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
