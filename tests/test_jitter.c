/* Colour jitter: the pixels of Pillow, for all colours; amounts as a pure function of the bits, within
 * their range, in every order; texts read and refused. */
#include "featurize/jitter.h"

#include "store/digest.h"
#include "store/memory.h"
#include "tests/check.h"

/* Made by tests/make_jitter.py with Pillow 9.4.0. Equal, no tolerance: n colours, the i-th i * step, after
 * these steps; the last two hold every colour there is. */
static const struct {
    uint32_t step, n;
    struct jitter jitter;
    const char *digest; /* its first half */
} pillow[] = {
    {97, 100000, {1, {0}, {0}}, "886715e4051e827f4fe215df3053af3f"},
    {97, 100000, {1, {0}, {9830}}, "b72935c67a821cd77d2f38926a374e20"},
    {97, 100000, {1, {0}, {16383}}, "64560d8608d37e73a46849af2569d9ce"},
    {97, 100000, {1, {0}, {16384}}, "fe34013e3966b00cbb28755f67bb185a"},
    {97, 100000, {1, {0}, {22938}}, "cb9464b8005bb9098c737f0011354b85"},
    {97, 100000, {1, {0}, {32768}}, "8c2163eb5f33357839483293e006c111"},
    {97, 100000, {1, {1}, {0}}, "be3712ade55e2bff0f2e2b718234bf55"},
    {97, 100000, {1, {1}, {9830}}, "d4c2564206f395e11cbbd69ef9fb5dd7"},
    {97, 100000, {1, {1}, {16383}}, "53d12dd615fce3dda22b04b9d8c76b5a"},
    {97, 100000, {1, {1}, {16384}}, "fe34013e3966b00cbb28755f67bb185a"},
    {97, 100000, {1, {1}, {22938}}, "527ce0eb12b3c116b3b082605f8377d5"},
    {97, 100000, {1, {1}, {32768}}, "1e327e213254b0e30fe51db8d4d01646"},
    {97, 100000, {1, {2}, {0}}, "49934c59b408b02fb5e24a59bf99a1de"},
    {97, 100000, {1, {2}, {9830}}, "ba850e8ef792ea5d7052b9bb4cdc8ec8"},
    {97, 100000, {1, {2}, {16383}}, "481a04564defbc9125b41b57152275d9"},
    {97, 100000, {1, {2}, {16384}}, "fe34013e3966b00cbb28755f67bb185a"},
    {97, 100000, {1, {2}, {22938}}, "9d65a797a94ab430dd8025c86c61f333"},
    {97, 100000, {1, {2}, {32768}}, "f8eebc72b209452c3375507bfd27c3b8"},
    {97, 100000, {1, {3}, {-127}}, "ff587a4beb3e853cb1feab0ab9a40079"},
    {97, 100000, {1, {3}, {-25}}, "d77c9cf2d688ec8d7b315516d3e28001"},
    {97, 100000, {1, {3}, {0}}, "04414035bd9b0a07a6a4f295032e1bc6"},
    {97, 100000, {1, {3}, {25}}, "d938877c426568c053b8241f2570c190"},
    {97, 100000, {1, {3}, {127}}, "59dcbe067b973eff55931254688a19a0"},
    {97, 100000, {4, {0, 1, 2, 3}, {20000, 12000, 18000, 13}}, "ca46db1ea3c449eb47fdc000b0eb23a4"},
    {97, 100000, {4, {3, 2, 1, 0}, {-7, 30000, 25000, 14000}}, "c34d8e8883120c3c834225ead72a05fb"},
    {1, 16777216, {1, {3}, {0}}, "117f7237e5d272e10db1172e862e8238"},
    {1, 16777216, {1, {3}, {-25}}, "02e28d28d6cce01c2f416388ba141dc2"},
};

static bool has_digest(const uint8_t *rgb, size_t n_bytes, const char *half)
{
    uint8_t digest[DIGEST_BYTES];
    char found[DIGEST_HEX];
    digest_of(rgb, n_bytes, digest);
    digest_to_hex(digest, found);
    return !strncmp(found, half, strlen(half));
}

TEST(pixels_equal_pillow)
{
    struct error err = {0};
    uint8_t *rgb = memory_array(1 << 24, 3, MEMORY_MAX_FILE, &err);
    for (size_t k = 0; k < sizeof pillow / sizeof *pillow; k++) {
        size_t n = pillow[k].n;
        for (size_t i = 0; i < n; i++) {
            uint32_t colour = (uint32_t)i * pillow[k].step;
            for (int c = 0; c < 3; c++) rgb[3 * i + (size_t)c] = (uint8_t)(colour >> (16 - 8 * c));
        }
        jitter_apply(&pillow[k].jitter, rgb, n);
        if (!has_digest(rgb, 3 * n, pillow[k].digest))
            CHECK_FAIL("case %zu: kind %d, amount %d: other pixels than Pillow's", k,
                       pillow[k].jitter.kind[0], pillow[k].jitter.amount[0]);
    }
    memory_free(rgb);
}

/* Bits as view.c draws them: any uniform numbers do. */
static void bits_of(uint32_t i, uint64_t bits[JITTER_BITS])
{
    uint32_t counter[2] = {i, 0};
    for (; counter[1] < JITTER_BITS; counter[1]++)
        bits[counter[1]] = digest_short(counter, sizeof counter);
}

/* Written down once: a change of these numbers orphans every cached view with jitter. */
TEST(draws_never_change)
{
    struct jitter_strength s = {400, 400, 200, 100, 1000};
    const uint64_t bits[JITTER_BITS] = {0,     1ull << 63,     1ull << 62, 3ull << 62,
                                        ~0ull, 0x123ull << 52, 1ull << 63, 5ull << 60};
    struct jitter j = jitter_draw(&s, bits);
    CHECK_EQ(j.n, 4);
    const int kinds[] = {JITTER_SATURATION, JITTER_CONTRAST, JITTER_BRIGHTNESS, JITTER_HUE},
              amounts[] = {16384, 10761, 22938, -9};
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(j.kind[i], kinds[i]);
        CHECK_EQ(j.amount[i], amounts[i]);
    }
}

/* 20,000 draws. Means of uniform ones have a standard error below 0.005 of their reach, each of 24
 * orders comes 833 times with one of 28. */
TEST(draws_are_uniform_in_range_and_order)
{
    struct jitter_strength s = {400, 300, 200, 100, 1000};
    const double reach[] = {0.4, 0.3, 0.2, 0.1};
    const int n = 20000;
    double mean[JITTER_KINDS] = {0}, least[JITTER_KINDS] = {9, 9, 9, 9}, most[JITTER_KINDS] = {0};
    int orders[256] = {0}, n_orders = 0;
    for (int i = 0; i < n; i++) {
        uint64_t bits[JITTER_BITS];
        bits_of((uint32_t)i, bits);
        struct jitter j = jitter_draw(&s, bits);
        CHECK_EQ(j.n, JITTER_KINDS);
        int order = 0;
        for (int k = 0; k < j.n; k++) {
            int kind = j.kind[k];
            double x = kind == JITTER_HUE ? 1 + j.amount[k] / 255.0
                                          : (double)j.amount[k] / JITTER_ONE;
            order = order * 4 + kind;
            mean[kind] += x / n;
            least[kind] = fmin(least[kind], x);
            most[kind] = fmax(most[kind], x);
        }
        orders[order]++;
    }
    for (int k = 0; k < JITTER_KINDS; k++) {
        CHECK_NEAR(mean[k], 1, 0.02 * reach[k]);
        CHECK_NEAR(least[k], 1 - reach[k], 0.01 * reach[k] + 1 / 255.0 * (k == JITTER_HUE));
        CHECK_NEAR(most[k], 1 + reach[k], 0.01 * reach[k] + 1 / 255.0 * (k == JITTER_HUE));
        CHECK(least[k] >= 1 - reach[k] - 1e-4 && most[k] <= 1 + reach[k] + 1e-4);
    }
    for (int i = 0; i < 256; i++) {
        n_orders += orders[i] > 0;
        CHECK(orders[i] == 0 || abs(orders[i] - n / 24) < 140);
    }
    CHECK_EQ(n_orders, 24);
}

TEST(probability_and_strengths_of_0)
{
    struct jitter_strength s = {400, 0, 0, 100, 250}, none = {400, 400, 400, 100, 0};
    const int n = 4000;
    int with = 0;
    for (int i = 0; i < n; i++) {
        uint64_t bits[JITTER_BITS];
        bits_of((uint32_t)i, bits);
        struct jitter j = jitter_draw(&s, bits);
        CHECK(j.n == 0 || j.n == 2);
        with += j.n > 0;
        for (int k = 0; k < j.n; k++)
            CHECK(j.kind[k] == JITTER_BRIGHTNESS || j.kind[k] == JITTER_HUE);
        CHECK_EQ(jitter_draw(&none, bits).n, 0);
        CHECK_EQ(jitter_draw(&(struct jitter_strength){0, 0, 0, 0, 1000}, bits).n, 0);
    }
    CHECK_NEAR(with / (double)n, 0.25, 0.03); /* standard error 0.007 */
    uint8_t rgb[6] = {1, 2, 3, 200, 100, 0};
    jitter_apply(&(struct jitter){0}, rgb, 2);
    CHECK(!memcmp(rgb, (uint8_t[]){1, 2, 3, 200, 100, 0}, 6));
}

static void reads_as(const char *text, const char *spelled)
{
    struct error err = {0};
    struct jitter_strength s, again;
    char own[JITTER_TEXT];
    CHECK_OK(jitter_parse(text, &s, &err), &err);
    CHECK_OK(jitter_check(&s, &err), &err);
    CHECK_STR(jitter_spell(&s, own), spelled);
    CHECK_OK(jitter_parse(own, &again, &err), &err);
    CHECK(!memcmp(&s, &again, sizeof s));
}

static void refused(const char *text, const char *why)
{
    struct error err = {0};
    struct jitter_strength s = {7, 7, 7, 7, 7};
    CHECK_EQ(jitter_parse(text, &s, &err), ERR_USAGE);
    CHECK_HAS(err.text, why);
    CHECK_HAS(err.text, text);
    CHECK_EQ(s.hue_permille, 7);
}

TEST(texts_are_read_spelled_and_refused)
{
    reads_as("0.4,0.4,0.2,0.1", "0.4,0.4,0.2,0.1,0.8");
    reads_as("0.4,0.4,0.2,0.1,1", "0.4,0.4,0.2,0.1,1");
    reads_as(" 1, 0.125, 0, 0.5, 0.001", "1,0.125,0,0.5,0.001");
    reads_as("0,0,0,0", "0,0,0,0,0");
    reads_as("0.4,0.4,0.2,0.1,0", "0,0,0,0,0");
    refused("", "expected brightness,contrast,saturation,hue");
    refused("0.4", "expected brightness,contrast,saturation,hue");
    refused("0.4,0.4,0.2", "expected brightness,contrast,saturation,hue");
    refused("0.4,0.4,,0.1", "expected brightness,contrast,saturation,hue");
    refused("0.4,0.4,0.2,0.1,", "expected brightness,contrast,saturation,hue");
    refused("0.4,0.4,0.2,0.1,1,1", "expected brightness,contrast,saturation,hue");
    refused("0.4;0.4;0.2;0.1", "expected brightness,contrast,saturation,hue");
    refused("strong", "expected brightness,contrast,saturation,hue");
    refused("1.001,0,0,0", "brightness 1.001 is not within 0 to 1");
    refused("0,-1,0,0", "contrast -1 is not within 0 to 1");
    refused("0,0,nan,0", "saturation nan is not within 0 to 1");
    refused("0,0,0,0.6", "hue 0.6 is not within 0 to 0.5");
    refused("0,0,0,0,1e9", "probability 1e9 is not within 0 to 1");
    refused("0.1234,0,0,0", "brightness 0.1234 has more than three decimals");
    struct error err = {0};
    CHECK_EQ(jitter_check(&(struct jitter_strength){0, 0, 0, 501, 800}, &err), ERR_USAGE);
    CHECK_STR(err.text, "jitter: hue 501 permille is above 500");
}

TEST_MAIN
