/* SHA-256 against the vectors of FIPS 180-2, hex, and the streaming form. */
#include "store/digest.h"

#include "tests/check.h"

static void check_hex(const void *bytes, size_t n, const char *expected)
{
    uint8_t d[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    digest_of(bytes, n, d);
    digest_to_hex(d, hex);
    CHECK_STR(hex, expected);
}

TEST(digest_known_vectors)
{
    check_hex("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_hex(NULL, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_hex("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(digest_short_is_the_first_bytes_little_endian)
{
    CHECK(digest_short("abc", 3) == 0xeacf018fbf1678baull);
}

TEST(digest_streaming_is_the_same)
{
    struct error err;
    uint8_t bytes[1000], one[DIGEST_BYTES], two[DIGEST_BYTES];
    for (int i = 0; i < 1000; i++) bytes[i] = (uint8_t)(i * 7);
    digest_of(bytes, sizeof bytes, one);
    struct digest *d = digest_new(&err);
    for (size_t at = 0, step = 0; at < sizeof bytes; at += step++) {
        size_t n = step < sizeof bytes - at ? step : sizeof bytes - at;
        digest_add(d, bytes + at, n);
    }
    digest_finish(d, two);
    CHECK(!memcmp(one, two, DIGEST_BYTES));
}

TEST(digest_hex_is_strict)
{
    struct error err;
    uint8_t d[DIGEST_BYTES], same[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    digest_of("x", 1, d);
    digest_to_hex(d, hex);
    CHECK_OK(digest_from_hex(hex, same, &err), &err);
    CHECK(!memcmp(d, same, DIGEST_BYTES));
    for (char *p = hex; *p; p++)
        if (*p >= 'a') *p = (char)(*p - 32);
    CHECK_OK(digest_from_hex(hex, same, &err), &err);
    CHECK(!memcmp(d, same, DIGEST_BYTES));
    hex[63] = 'g';
    CHECK_EQ(digest_from_hex(hex, same, &err), ERR_DATA);
    hex[63] = 0;
    CHECK_EQ(digest_from_hex(hex, same, &err), ERR_DATA);
    char longer[] = "00000000000000000000000000000000000000000000000000000000000000000";
    CHECK_EQ(digest_from_hex(longer, same, &err), ERR_DATA);
    CHECK_HAS(err.text, "64 hex digits");
    CHECK_EQ(digest_from_hex("", same, &err), ERR_DATA);
    CHECK(!memcmp(d, same, DIGEST_BYTES)); /* untouched by failures */
}

TEST_MAIN
