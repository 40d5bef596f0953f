/* Compression: what goes in comes out, the same bytes every time, and every damage is refused. */
#include "store/compress.h"

#include "tests/check.h"

#define N 5000

static uint8_t plain[N], packed[2 * N], again[2 * N], out[N];

/* Bytes with some order in them; the seed is fixed. */
static void fill(void)
{
    uint32_t x = 12345;
    for (int i = 0; i < N; i++) {
        x = x * 1664525 + 1013904223;
        plain[i] = (uint8_t)(x >> 29);
    }
}

TEST(round_trip)
{
    struct error err = {0};
    struct compress *z = compress_new(&err), *other = compress_new(&err);
    CHECK(z && other);
    fill();
    CHECK(compress_bound(N) >= N && compress_bound(N) <= sizeof packed);
    int64_t n = compress_pack(z, COMPRESS_CODES, packed, sizeof packed, plain, N, &err);
    CHECK(n > 0 && n < N);
    CHECK_EQ(compress_pack(other, COMPRESS_CODES, again, sizeof again, plain, N, &err), n);
    CHECK(!memcmp(packed, again, (size_t)n));
    CHECK_OK(compress_unpack(z, out, N, packed, (size_t)n, &err), &err);
    CHECK(!memcmp(plain, out, N));
    n = compress_pack(z, COMPRESS_CODES, packed, sizeof packed, plain, 0, &err);
    CHECK(n > 0);
    CHECK_OK(compress_unpack(z, out, 0, packed, (size_t)n, &err), &err);
    compress_free(z);
    compress_free(other);
    compress_free(NULL);
}

TEST(another_size_cut_or_trailed)
{
    struct error err = {0};
    struct compress *z = compress_new(&err);
    CHECK(z);
    fill();
    int64_t n = compress_pack(z, COMPRESS_CODES, packed, sizeof packed, plain, N, &err);
    CHECK(n > 0);
    packed[n] = packed[0];
    CHECK_EQ(compress_unpack(z, out, N - 1, packed, (size_t)n, &err), ERR_CORRUPT);
    CHECK_EQ(compress_unpack(z, out, N, packed, (size_t)n - 1, &err), ERR_CORRUPT);
    CHECK_EQ(compress_unpack(z, out, N, packed, (size_t)n + 1, &err), ERR_CORRUPT);
    CHECK_EQ(compress_unpack(z, out, N, packed, 0, &err), ERR_CORRUPT);
    CHECK_EQ(compress_unpack(z, out, N, plain, N, &err), ERR_CORRUPT);
    CHECK(compress_pack(z, COMPRESS_CODES, packed, 3, plain, N, &err) <
          0); /* no room: an error, no overrun */
    compress_free(z);
}

TEST_MAIN
