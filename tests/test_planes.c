/* Planes against their definition, number by number: the scalar twin of the tiles. Seeds are fixed.
 *
 * covers: planes_rows
 */
#include "store/planes.h"

#include <string.h>

#include "store/memory.h"
#include "tests/check.h"

#define MOST (PLANES_MAX_ROWS * 520 * 4)

static uint64_t state = 4;
static uint8_t codes[MOST], planes[MOST + 8192], twin[MOST + 8192], back[MOST];
static const uint8_t *rows[PLANES_MAX_ROWS];

static uint32_t next(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static void fill(uint32_t n, uint32_t dim, uint32_t width)
{
    for (size_t i = 0; i < (size_t)n * dim * width; i++) codes[i] = (uint8_t)next();
    for (uint32_t r = 0; r < n; r++) rows[r] = codes + (size_t)r * dim * width;
}

static uint16_t zigzag(int16_t v)
{
    return (uint16_t)(v < 0 ? -2 * v - 1 : 2 * v);
}

static int16_t code_at(uint32_t r, uint32_t j)
{
    int16_t v;
    memcpy(&v, rows[r] + 2 * (size_t)j, 2);
    return v;
}

static int16_t mean_of(uint32_t n, uint32_t dim, uint32_t period, uint32_t channel)
{
    double sum = 0, count = 0;
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t j = channel; j < dim; j += period, count++) sum += code_at(r, j);
    return (int16_t)floor(sum / count + 0.5);
}

static void twin_of_codes(uint32_t n, uint32_t dim, uint32_t period)
{
    size_t plane = (size_t)n * dim;
    for (uint32_t c = 0; c < period; c++) {
        int16_t mean = mean_of(n, dim, period, c);
        twin[2 * plane + c] = (uint8_t)zigzag(mean);
        twin[2 * plane + period + c] = (uint8_t)(zigzag(mean) >> 8);
        for (uint32_t j = c; j < dim; j += period)
            for (uint32_t r = 0; r < n; r++) {
                uint16_t z = zigzag((int16_t)(uint16_t)(code_at(r, j) - mean)); /* it wraps */
                twin[(size_t)j * n + r] = (uint8_t)z;
                twin[plane + (size_t)j * n + r] = (uint8_t)(z >> 8);
            }
    }
}

static const uint32_t SIZES[][2] = {{1, 1},     {1, 17},   {3, 15},   {255, 16}, {256, 33},
                                    {256, 512}, {64, 520}, {17, 100}, {16, 8},   {16, 4},
                                    {15, 7},    {31, 9},   {100, 6},  {255, 65}};

TEST(planes_of_rows_are_their_bytes_and_come_back)
{
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        for (uint32_t width = 2; width <= 4; width += 2) {
            uint32_t n = SIZES[i][0], dim = SIZES[i][1];
            size_t plane = (size_t)n * dim;
            fill(n, dim, width);
            memset(planes, 0xaa, sizeof planes);
            CHECK_EQ(planes_from_rows(rows, n, dim, width, planes), plane * width);
            CHECK_EQ(planes[plane * width], 0xaa);
            for (uint32_t r = 0; r < n; r++)
                for (uint32_t j = 0; j < dim; j++)
                    for (uint32_t k = 0; k < width; k++)
                        twin[k * plane + (size_t)j * n + r] = rows[r][(size_t)j * width + k];
            CHECK(!memcmp(planes, twin, plane * width));
            memset(back, 0xaa, sizeof back);
            planes_to_rows(planes, n, dim, width, back);
            CHECK(!memcmp(back, codes, plane * width));
            if (plane * width < sizeof back) CHECK_EQ(back[plane * width], 0xaa);
        }
}

TEST(residuals_and_means_are_as_drawn_and_come_back)
{
    static const uint32_t CELLS[] = {1, 4, 16};
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        for (size_t g = 0; g < 3; g++) {
            uint32_t n = SIZES[i][0], dim = SIZES[i][1], period = dim / CELLS[g];
            if (dim % CELLS[g]) continue;
            size_t bytes = 2 * (size_t)n * dim + 2 * (size_t)period;
            fill(n, dim, 2);
            memset(planes, 0xaa, sizeof planes);
            CHECK_EQ(planes_from_codes(rows, n, dim, period, planes), bytes);
            CHECK_EQ(planes[bytes], 0xaa);
            twin_of_codes(n, dim, period);
            CHECK(!memcmp(planes, twin, bytes));
            planes_to_codes(planes, n, dim, period, back);
            CHECK(!memcmp(back, codes, 2 * (size_t)n * dim));
        }
    CHECK_EQ(planes_from_codes(rows, 0, 512, 512, planes), 0);
}

TEST_MAIN
