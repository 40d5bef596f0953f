/* UTF-16 to UTF-8, in blocks of any size. */
#include "ingest/utf16.h"

#include "tests/check.h"

/* The text in one piece and a byte at a time, in both byte orders. */
static void is(const uint16_t *units, size_t n, const char *want, size_t n_want)
{
    for (int big = 0; big < 2; big++)
        for (size_t step = 1; step <= 2 * n; step += 2 * n - 1) {
            char in[64], out[UTF16_BYTES(64)];
            struct utf16 u;
            for (size_t i = 0; i < n; i++) {
                in[2 * i + (size_t)!big] = (char)(units[i] >> 8);
                in[2 * i + (size_t)big] = (char)units[i];
            }
            CHECK(utf16_begins(in, 2 * n, &u));
            size_t n_out = 0;
            for (size_t at = 0; at < 2 * n; at += step)
                n_out += utf16_decode(&u, in + at, step < 2 * n - at ? step : 2 * n - at,
                                      out + n_out);
            n_out += utf16_end(&u, out + n_out);
            CHECK_EQ(n_out, n_want);
            CHECK(!memcmp(out, want, n_want));
        }
}

#define IS(want, ...)                                                                              \
    is((const uint16_t[]){0xfeff, __VA_ARGS__},                                                    \
       sizeof((const uint16_t[]){0xfeff, __VA_ARGS__}) / 2, "\xef\xbb\xbf" want, sizeof want + 2)

TEST(code_points_of_every_length)
{
    IS("a", 'a');
    IS("\xc3\xa9", 0xe9);
    IS("\xd8\xa9", 0x629);
    IS("\xe4\xb8\xad", 0x4e2d);
    IS("\xf0\x9f\x98\x80x", 0xd83d, 0xde00, 'x');
}

TEST(halves_are_no_text)
{
    IS("a\xed\xa0\xbd", 'a', 0xd83d);
    IS("\xed\xa0\xbdz", 0xd83d, 'z');
    IS("\xed\xb8\x80", 0xde00);
    IS("\xed\xa0\xbd\xf0\x9f\x98\x80", 0xd83d, 0xd83d, 0xde00);
    char out[UTF16_BYTES(3)];
    struct utf16 u;
    CHECK(utf16_begins("\xff\xfe"
                       "a",
                       3, &u));
    CHECK_EQ(utf16_decode(&u,
                          "\xff\xfe"
                          "a",
                          3, out),
             3);
    CHECK_EQ(utf16_end(&u, out), 3);
    CHECK(!utf16_begins("\xef\xbb\xbf", 3, &u));
    CHECK(!utf16_begins("\xff", 1, &u));
}

TEST_MAIN
