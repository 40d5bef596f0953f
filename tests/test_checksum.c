/* XXH64 against published values, and against libzstd, which ends a frame with its low half. */
#include "store/checksum.h"

#include <zstd.h>

#include "tests/check.h"

TEST(published_values)
{
    CHECK(checksum_of("", 0) == 0xef46db3751d8e999u);
    CHECK(checksum_of("a", 1) == 0xd24ec4f1a98c6e5bu);
    CHECK(checksum_of("abc", 3) == 0x44bc2cf5ad770999u);
}

TEST(every_length_as_libzstd_has_it)
{
    static uint8_t bytes[4099], frame[1 << 13];
    ZSTD_CCtx *z = ZSTD_createCCtx();
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * i * 31 >> 3);
    ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
    for (size_t n = 0; n < sizeof bytes; n += n < 300 ? 1 : 131) {
        uint32_t low;
        size_t got = ZSTD_compress2(z, frame, sizeof frame, bytes + n % 7, n - n % 7);
        CHECK(!ZSTD_isError(got));
        memcpy(&low, frame + got - 4, 4);
        CHECK_EQ((uint32_t)checksum_of(bytes + n % 7, n - n % 7), low);
    }
    ZSTD_freeCCtx(z);
}

TEST(every_flipped_bit_changes_it)
{
    uint8_t bytes[203];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37);
    uint64_t sum = checksum_of(bytes, sizeof bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(checksum_of(bytes, sizeof bytes) != sum);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

TEST_MAIN
