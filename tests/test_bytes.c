/* Numbers in byte strings: exact bytes, and a reader that stops at the end. */
#include "store/bytes.h"

#include "tests/check.h"

TEST(bytes_are_little_endian_and_keys_big_endian)
{
    uint8_t b[64], *p = b;
    p = bytes_put_u8(p, 0xab);
    p = bytes_put_u16(p, 0x0102);
    p = bytes_put_u32(p, 0x01020304);
    p = bytes_put_u64(p, 0x0102030405060708);
    p = bytes_put_f32(p, -2.5f);
    p = bytes_put_key_u16(p, 0x0102);
    p = bytes_put_key_u32(p, 0x01020304);
    p = bytes_put_key_u64(p, 0x0102030405060708);
    p = bytes_put(p, "xy", 2);
    static const char want[] =
        "\xab\2\1\4\3\2\1\x8\7\6\5\4\3\2\1\0\0\x20\xc0\1\2\1\2\3\4\1\2\3\4\5\6\7\x8xy";
    CHECK_EQ(p - b, sizeof want - 1);
    CHECK(!memcmp(b, want, sizeof want - 1));
    struct bytes_reader r = bytes_reader(b, (size_t)(p - b));
    CHECK_EQ(bytes_u8(&r), 0xab);
    CHECK_EQ(bytes_u16(&r), 0x0102);
    CHECK_EQ(bytes_u32(&r), 0x01020304);
    CHECK_EQ(bytes_u64(&r), 0x0102030405060708);
    CHECK(bytes_f32(&r) == -2.5f);
    CHECK_EQ(bytes_key_u16(&r), 0x0102);
    CHECK_EQ(bytes_key_u32(&r), 0x01020304);
    CHECK_EQ(bytes_key_u64(&r), 0x0102030405060708);
    CHECK(!bytes_at_end(&r));
    CHECK_EQ(bytes_left(&r), 2);
    CHECK(!memcmp(bytes_take(&r, 2), "xy", 2));
    CHECK(bytes_at_end(&r));
}

TEST(bytes_reader_stops_at_the_end)
{
    static const uint8_t b[] = {1, 2, 3, 4, 5};
    struct bytes_reader r = bytes_reader(b, sizeof b);
    CHECK_EQ(bytes_u32(&r), 0x04030201);
    CHECK_EQ(bytes_u16(&r), 0); /* one byte is left */
    CHECK(r.failed && !bytes_at_end(&r));
    CHECK_EQ(bytes_u8(&r), 0); /* failed for good */
    CHECK(!bytes_take(&r, 0));
    r = bytes_reader(b, sizeof b);
    CHECK(!bytes_take(&r, SIZE_MAX) && r.failed);
    r = bytes_reader(NULL, 0);
    CHECK(bytes_at_end(&r));
}

TEST_MAIN
