/* Signatures of pictures against their definition in plain floating point, and what must not change
 * them, on drawn pictures. Re-encodings of real photos are measured in README.md. */
#include "tests/check.h"

#include "ingest/likeness.h"
#include "ingest/twins.h"
#include "store/memory.h"

static uint8_t *make(uint32_t w, uint32_t h)
{
    struct error err = {0};
    uint8_t *rgb = memory_array((uint64_t)w * h, 3, MEMORY_MAX_TENSOR, &err);
    if (!rgb) abort();
    return rgb;
}

static uint8_t level(double x)
{
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x + 0.5);
}

/* A scene at any size: blobs of colour on a sky of two tones; `seed` moves them. light: factor. */
static uint8_t *scene(uint32_t w, uint32_t h, int seed, double light, double crop)
{
    uint8_t *rgb = make(w, h);
    for (uint32_t y = 0; y < h; y++)
        for (uint32_t x = 0; x < w; x++) {
            double u = crop + (1 - 2 * crop) * (x + 0.5) / w;
            double v = crop + (1 - 2 * crop) * (y + 0.5) / h;
            double c[3] = {90 + 60 * v, 120, 160 - 50 * u};
            for (int b = 0; b < 7; b++) {
                double bx = fmod(0.37 * (b + 1) * (seed + 3), 1),
                       by = fmod(0.53 * b * seed + 0.2, 1);
                double d = hypot(u - bx, v - by), r = 0.08 + 0.03 * ((b + seed) % 4);
                double a = 1 / (1 + exp((d - r) * 60));
                for (int k = 0; k < 3; k++)
                    c[k] += a * (fmod(97.0 * (b + 2) * (k + seed + 1), 240) - c[k]);
            }
            for (int k = 0; k < 3; k++) rgb[((size_t)y * w + x) * 3 + k] = level(c[k] * light);
        }
    return rgb;
}

static struct likeness likeness_of_scene(uint32_t w, uint32_t h, int seed, double light,
                                         double crop)
{
    struct likeness l;
    uint8_t *rgb = scene(w, h, seed, light, crop);
    likeness_of(rgb, w, h, &l);
    memory_free(rgb);
    return l;
}

static struct likeness likeness_of_colour(uint32_t w, uint32_t h, uint8_t r, uint8_t g, uint8_t b)
{
    struct likeness l;
    uint8_t *rgb = make(w, h);
    for (size_t i = 0; i < (size_t)w * h; i++)
        rgb[3 * i] = r, rgb[3 * i + 1] = g, rgb[3 * i + 2] = b;
    likeness_of(rgb, w, h, &l);
    memory_free(rgb);
    return l;
}

static int bits(struct likeness a, struct likeness b)
{
    return __builtin_popcountll(a.hash ^ b.hash);
}

/* What share of pixel x lies in area a of 32, of `of` pixels. */
static double share(int x, int a, int of)
{
    double from = fmax(x, (double)a * of / 32), to = fmin(x + 1, (double)(a + 1) * of / 32);
    return to > from ? to - from : 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct likeness by_definition(const uint8_t *rgb, int w, int h)
{
    static double mean[32][32][3];
    double z[64], sorted[64], magnitude = 0, part[4][3] = {{0}}, n[4] = {0};
    struct likeness l = {0};
    memset(mean, 0, sizeof mean);
    for (int row = 0; row < 256; row++) {
        int y = (int)((row + 0.5) * h / 256);
        for (int ax = 0; ax < 32; ax++)
            for (int x = 0; x < w; x++)
                for (int c = 0; c < 3; c++)
                    mean[row / 8][ax][c] += share(x, ax, w) * 32 / w / 8 *
                                            rgb[((size_t)y * w + x) * 3 + c];
    }
    for (int u = 1; u <= 8; u++)
        for (int v = 1; v <= 8; v++) {
            double s = 0;
            for (int y = 0; y < 32; y++)
                for (int x = 0; x < 32; x++)
                    s += cos((2 * y + 1) * u * M_PI / 64) * cos((2 * x + 1) * v * M_PI / 64) *
                         (0.299 * mean[y][x][0] + 0.587 * mean[y][x][1] + 0.114 * mean[y][x][2]);
            z[(u - 1) * 8 + v - 1] = sorted[(u - 1) * 8 + v - 1] = s / 16;
            magnitude += fabs(s / 16) / 64;
        }
    qsort(sorted, 64, sizeof *sorted, by_value);
    for (int i = 0; i < 64; i++)
        if (z[i] > (sorted[31] + sorted[32]) / 2 + magnitude / 8) l.hash |= (uint64_t)1 << i;
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++) {
            int p = y < 8 ? 1 : y > 23 ? 2 : x < 8 || x > 23 ? 3 : 0;
            for (int c = 0; c < 3; c++) part[p][c] += mean[y][x][c];
            n[p]++;
        }
    for (int p = 0; p < 4; p++) {
        double r = part[p][0] / n[p], g = part[p][1] / n[p], b = part[p][2] / n[p];
        l.colour[2 * p] = level(128 - 0.168736 * r - 0.331264 * g + 0.5 * b);
        l.colour[2 * p + 1] = level(128 + 0.5 * r - 0.418688 * g - 0.081312 * b);
    }
    return l;
}

TEST(a_signature_is_what_its_header_says)
{
    /* means of 1/256 level and cosines of 14 bits move a bit that lies on the threshold, if any;
     * sizes: no multiple of 32, less than 32, wider than a strip, one pixel a side */
    const int sizes[][2] = {{333, 257}, {64, 96}, {31, 5}, {7, 190}, {1100, 40}, {32, 32}};
    for (int k = 0; k < 6; k++)
        for (int seed = 1; seed <= 3; seed++) {
            int w = sizes[k][0], h = sizes[k][1];
            uint8_t *rgb = scene((uint32_t)w, (uint32_t)h, seed, 1, 0);
            struct likeness l, want = by_definition(rgb, w, h);
            likeness_of(rgb, (uint32_t)w, (uint32_t)h, &l);
            CHECK(bits(l, want) <= 1);
            for (int c = 0; c < 8; c++) CHECK(abs(l.colour[c] - want.colour[c]) <= 1);
            memory_free(rgb);
        }
}

TEST(a_signature_stays_what_it_was)
{
    /* corpora keep signatures: if this one changes, so must the format's version. The picture is
     * made of integers alone, so that nothing else can be the cause. */
    struct likeness l;
    uint8_t *rgb = make(211, 157);
    for (uint32_t y = 0; y < 157; y++)
        for (uint32_t x = 0; x < 211; x++)
            for (uint32_t c = 0; c < 3; c++)
                rgb[(y * 211 + x) * 3 + c] =
                    (uint8_t)((x * x / 97 + y * (c + 2) + (x / 50 * 31 ^ y / 40 * 77)) & 255);
    likeness_of(rgb, 211, 157, &l);
    memory_free(rgb);
    char got[40];
    snprintf(got, sizeof got, "%016llx", (unsigned long long)l.hash);
    CHECK_STR(got, "673b674c48d858d0");
    for (int i = 0; i < 8; i++) snprintf(got + 2 * i, 3, "%02x", l.colour[i]);
    CHECK_STR(got, "7d7f847d7a767087");
}

TEST(size_hardly_matters)
{
    for (int seed = 1; seed <= 8; seed++) {
        struct likeness l = likeness_of_scene(640, 480, seed, 1, 0);
        const uint32_t sizes[][2] = {{320, 240}, {160, 120}, {1280, 960}, {224, 224}, {401, 263}};
        for (int k = 0; k < 5; k++) {
            struct likeness m = likeness_of_scene(sizes[k][0], sizes[k][1], seed, 1, 0);
            CHECK(likeness_distance(&l, &m) <= 6);
        }
    }
}

TEST(light_and_a_slight_crop_hardly_matter)
{
    int max = twins_defaults().max_distance;
    for (int seed = 1; seed <= 8; seed++) {
        struct likeness l = likeness_of_scene(400, 300, seed, 1, 0);
        struct likeness dark = likeness_of_scene(400, 300, seed, 0.85, 0);
        struct likeness crop = likeness_of_scene(400, 300, seed, 1, 0.01);
        CHECK(likeness_distance(&l, &dark) <= max);
        CHECK(likeness_distance(&l, &crop) <= max);
    }
}

TEST(other_pictures_are_far)
{
    struct likeness l[8];
    for (int i = 0; i < 8; i++) l[i] = likeness_of_scene(200, 200, i + 1, 1, 0);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < i; j++) CHECK(likeness_distance(&l[i], &l[j]) > 40);
}

TEST(one_shape_in_two_colours_is_two_pictures)
{
    /* a disc of one brightness: red or blue */
    struct likeness l[2];
    for (int k = 0; k < 2; k++) {
        uint8_t *rgb = make(100, 100);
        for (int y = 0; y < 100; y++)
            for (int x = 0; x < 100; x++) {
                uint8_t *p = rgb + (y * 100 + x) * 3;
                bool in = hypot(x - 40, y - 55) < 30;
                p[0] = in ? k ? 20 : 160 : 255, p[1] = in ? k ? 60 : 30 : 255;
                p[2] = in ? k ? 221 : 7 : 255;
            }
        likeness_of(rgb, 100, 100, &l[k]);
        memory_free(rgb);
    }
    CHECK(bits(l[0], l[1]) <= 2);
    CHECK(likeness_distance(&l[0], &l[1]) > 2 * twins_defaults().max_distance);
}

TEST(noise_does_not_toss_the_bits_of_a_symmetric_picture)
{
    for (int seed = 1; seed <= 8; seed++) {
        struct likeness l[2];
        uint8_t *rgb = scene(256, 256, seed, 1, 0);
        for (size_t y = 0; y < 256; y++)
            for (size_t x = 0; x < 128; x++)
                memcpy(rgb + (y * 256 + 255 - x) * 3, rgb + (y * 256 + x) * 3, 3);
        likeness_of(rgb, 256, 256, &l[0]);
        uint32_t state = 1;
        for (size_t i = 0; i < 256 * 256 * 3; i++) {
            state = state * 1664525 + 1013904223;
            rgb[i] = level(rgb[i] + (double)(state >> 28) - 7.5);
        }
        likeness_of(rgb, 256, 256, &l[1]);
        CHECK(likeness_distance(&l[0], &l[1]) <= 6);
        memory_free(rgb);
    }
}

TEST(flat_pictures_are_alike_when_their_colours_are)
{
    int max = twins_defaults().max_distance;
    struct likeness black = likeness_of_colour(64, 64, 0, 0, 0);
    struct likeness white = likeness_of_colour(10, 300, 255, 255, 255);
    CHECK_EQ(black.hash, 0);
    CHECK(white.hash == UINT64_MAX);
    for (int i = 0; i < 8; i++) CHECK_EQ(white.colour[i], 128);
    for (int a = 0; a < 256; a++) {
        uint8_t grey = (uint8_t)a;
        struct likeness l = likeness_of_colour(40, 30, grey, grey, grey);
        CHECK(abs(bits(l, black) - a / 4) <= 1);
        CHECK(abs(bits(l, white) - (255 - a) / 4) <= 1);
    }
    struct likeness red = likeness_of_colour(50, 50, 200, 30, 30);
    struct likeness green = likeness_of_colour(50, 50, 30, 132, 30); /* as bright */
    struct likeness redder = likeness_of_colour(99, 20, 204, 32, 30);
    CHECK(likeness_distance(&red, &green) > max);
    CHECK(likeness_distance(&red, &redder) <= max);
}

TEST(gradients_and_stripes_are_told_apart)
{
    /* up, down, left, right, stripes: none has a coefficient among 1..8 by 1..8 */
    struct likeness l[5], noisy;
    for (int k = 0; k < 5; k++) {
        uint8_t *rgb = make(160, 160);
        for (int y = 0; y < 160; y++)
            for (int x = 0; x < 160; x++) {
                int at[5] = {y, 159 - y, x, 159 - x, y / 40 % 2 * 159};
                memset(rgb + (y * 160 + x) * 3, 40 + at[k], 3);
            }
        likeness_of(rgb, 160, 160, &l[k]);
        for (int i = 0; i < 160 * 160 * 3; i++) rgb[i] = (uint8_t)(rgb[i] + i * 7 % 5 - 2);
        likeness_of(rgb, 160, 160, &noisy);
        CHECK(likeness_distance(&l[k], &noisy) <= 8);
        memory_free(rgb);
    }
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++)
            CHECK(likeness_distance(&l[i], &l[j]) > twins_defaults().max_distance);
}

TEST(one_pixel_and_long_thin_pictures)
{
    struct likeness one = likeness_of_colour(1, 1, 10, 200, 90);
    struct likeness flat = likeness_of_colour(500, 400, 10, 200, 90);
    struct likeness wide = likeness_of_colour(65535, 1, 10, 200, 90);
    struct likeness high = likeness_of_colour(1, 65535, 10, 200, 90);
    struct likeness row = likeness_of_colour(65535, 33, 255, 255, 255);
    struct likeness white = likeness_of_colour(1, 1, 255, 255, 255);
    CHECK(!memcmp(&one, &flat, sizeof one));
    CHECK(!memcmp(&one, &wide, sizeof one));
    CHECK(!memcmp(&one, &high, sizeof one));
    CHECK(!memcmp(&row, &white, sizeof row));
}

TEST(the_largest_sums_do_not_overflow)
{
    /* 65535 pixels down and three strips across, white: what could overflow is at its largest */
    struct likeness l = likeness_of_colour(1100, 65535, 255, 255, 255);
    CHECK(l.hash == UINT64_MAX);
    for (int i = 0; i < 8; i++) CHECK_EQ(l.colour[i], 128);
}

TEST(a_distance_is_bits_twice_and_the_largest_colour_difference)
{
    struct likeness a = {.hash = 0xff, .colour = {1, 2, 3, 4, 5, 6, 7, 8}};
    struct likeness b = {.hash = 0xf0, .colour = {1, 9, 3, 0, 5, 6, 7, 7}};
    CHECK_EQ(likeness_distance(&a, &b), 15);
    CHECK_EQ(likeness_distance(&b, &a), 15);
    CHECK_EQ(likeness_distance(&a, &a), 0);
    struct likeness c = {.hash = ~a.hash, .colour = {0}}, d = {.hash = a.hash, .colour = {255}};
    CHECK_EQ(likeness_distance(&c, &d), LIKENESS_MAX_DISTANCE);
}

TEST_MAIN
