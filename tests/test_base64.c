/* Base64: the vectors of RFC 4648, both alphabets, padding or none, and the place of what is bad. */
#include "ingest/base64.h"

#include "tests/check.h"

static void is(const char *text, const char *want)
{
    uint8_t out[64];
    int64_t n = base64_decode(text, strlen(text), out);
    CHECK_EQ(n, strlen(want));
    if (n > 0 && memcmp(out, want, (size_t)n)) CHECK_FAIL("%s: %.*s", text, (int)n, out);
}

TEST(vectors_of_rfc_4648)
{
    const char *vectors[][2] = {{"", ""},
                                {"Zg==", "f"},
                                {"Zm8=", "fo"},
                                {"Zm9v", "foo"},
                                {"Zm9vYg==", "foob"},
                                {"Zm9vYmE=", "fooba"},
                                {"Zm9vYmFy", "foobar"},
                                {"Zg", "f"},
                                {"Zm9vYmE", "fooba"},
                                {"+/-_", "\xfb\xff\xbf"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) is(vectors[i][0], vectors[i][1]);
}

static void is_bad_at(const char *text, int64_t at)
{
    uint8_t out[64];
    CHECK_EQ(base64_decode(text, strlen(text), out), -1 - at);
}

TEST(what_does_not_belong)
{
    is_bad_at("A", 1); /* the end: a character is missing */
    is_bad_at("AAAAA", 5);
    is_bad_at("====", 0);
    is_bad_at("AA==AA==", 2);
    is_bad_at("AAAA BBBB", 4);
    is_bad_at("AAAA\nBBBB", 4);
    is_bad_at("AAAAAAA.", 7);
    is_bad_at("AAAA\xff"
              "AAA",
              4);
    CHECK_EQ(base64_decode("AA\0A", 4, (uint8_t[8]){0}), -3);
}

/* Every byte value at every place, against the alphabet spelled out. */
TEST(every_character_at_every_place)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int c = 0; c < 256; c++)
        for (int place = 0; place < 7; place++) {
            char text[8] = "AAAAAAAA";
            uint8_t out[8];
            text[place] = (char)c;
            char canonical = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
            const char *hit = c ? strchr(plain, canonical) : NULL;
            int64_t n = base64_decode(text, 8, out);
            CHECK_EQ(n, hit ? 6 : -1 - place);
            if (!hit || n != 6) continue;
            uint64_t bits = 0, want = (uint64_t)(hit - plain) << (6 * (7 - place));
            for (int i = 0; i < 6; i++) bits = bits << 8 | out[i];
            CHECK_EQ(bits, want);
        }
}

TEST(in_place_and_long)
{
    enum { N = 100000 };
    static char text[N];
    static uint8_t out[BASE64_BYTES(N)];
    unsigned x = 3;
    for (int i = 0; i < N; i++)
        text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            [(x = x * 1664525 + 1013904223) >> 26];
    for (size_t n = N - 4; n <= N; n++) {
        int64_t k = base64_decode(text, n, out);
        if (n % 4 == 1) {
            CHECK_EQ(k, -1 - (int64_t)n);
            continue;
        }
        CHECK_EQ(k, n / 4 * 3 + (n % 4 ? n % 4 - 1 : 0));
        CHECK((size_t)k <= BASE64_BYTES(n));
    }
    int64_t k = base64_decode(text, N, (uint8_t *)text);
    CHECK(!memcmp(text, out, (size_t)k));
}

TEST_MAIN
