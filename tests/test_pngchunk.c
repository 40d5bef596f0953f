/* PNGs made chunk by chunk: each is accepted or refused as Pillow 9.4 does with the same bytes, and what is
 * accepted has its pixels. Pixels are deflated as stored blocks, so that every byte is known here.
 *
 * covers: png pngtext zstream
 */
#include "ingest/pngchunk.h"

#include "ingest/picture.h"
#include "ingest/zstream.h"
#include "tests/check.h"

enum { GREY, RGB = 2, INDEXED };

static uint8_t file[1 << 21];
static size_t n;
static struct picture p;
static struct error err;

static void put(const void *bytes, size_t n_bytes)
{
    memcpy(file + n, bytes, n_bytes);
    n += n_bytes;
}

static void put32(uint32_t x)
{
    put((uint8_t[]){(uint8_t)(x >> 24), (uint8_t)(x >> 16), (uint8_t)(x >> 8), (uint8_t)x}, 4);
}

static void chunk(const char *name, const void *body, size_t n_body)
{
    put32((uint32_t)n_body);
    put(name, 4);
    put(body, n_body);
    put32(zstream_crc(0, file + n - n_body - 4, n_body + 4));
}

#define CHUNK(name, literal) chunk(name, literal, sizeof literal - 1)

static void signature(void)
{
    n = 0;
    put("\x89PNG\r\n\x1a\n", 8);
}

static void header(uint32_t w, uint32_t h, int depth, int colour)
{
    uint8_t body[13] = {0, 0, (uint8_t)(w >> 8), (uint8_t)w, 0, 0, (uint8_t)(h >> 8), (uint8_t)h};
    body[8] = (uint8_t)depth;
    body[9] = (uint8_t)colour;
    chunk("IHDR", body, 13);
}

/* A zlib stream of stored blocks; returns its length. */
static size_t deflate(uint8_t *out, const uint8_t *raw, size_t n_raw)
{
    size_t at = 0;
    uint32_t a = 1, b = 0;
    out[at++] = 0x78;
    out[at++] = 0x01;
    for (size_t i = 0; i < n_raw; i++) {
        a = (a + raw[i]) % 65521;
        b = (b + a) % 65521;
    }
    for (size_t i = 0; i < n_raw || i == 0; i += 65535) {
        size_t k = n_raw - i < 65535 ? n_raw - i : 65535;
        out[at++] = i + k == n_raw;
        out[at++] = (uint8_t)k;
        out[at++] = (uint8_t)(k >> 8);
        out[at++] = (uint8_t)~k;
        out[at++] = (uint8_t)(~k >> 8);
        memcpy(out + at, raw + i, k);
        at += k;
    }
    for (int shift = 8; shift >= 0; shift -= 8) out[at++] = (uint8_t)(b >> shift);
    for (int shift = 8; shift >= 0; shift -= 8) out[at++] = (uint8_t)(a >> shift);
    return at;
}

/* Rows of 2 x 2 RGB pixels: 1 2 3 4 5 6 above 7 8 9 10 11 12. */
static const uint8_t rows[] = {0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12};

static void pixels_of(const uint8_t *raw, size_t n_raw)
{
    uint8_t z[200];
    chunk("IDAT", z, deflate(z, raw, n_raw));
}

static void begin(void)
{
    signature();
    header(2, 2, 8, RGB);
}

static void pixels(void)
{
    pixels_of(rows, sizeof rows);
}

static int judge(void)
{
    struct picture_limits limits = picture_limits_default();
    memset(p.pixels.bytes ? p.pixels.bytes : file + sizeof file - 1, 0xee, p.pixels.capacity);
    return picture_decode(file, n, &limits, false, &p, &err);
}

#define IS_ACCEPTED() CHECK_OK(judge(), &err)
#define IS_REFUSED(words)                                                                          \
    do {                                                                                           \
        CHECK_EQ(judge(), ERR_DATA);                                                               \
        CHECK_HAS(err.text, words);                                                                \
    } while (0)
#define RGB_IS(...)                                                                                \
    CHECK(p.rgb &&                                                                                 \
          !memcmp(p.rgb, (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__}))

TEST(checksums_count_before_the_pixels_alone)
{
    begin();
    CHUNK("gAMA", "\0\0\xb1\x8f");
    pixels();
    file[n - 1] ^= 1; /* of IDAT */
    CHUNK("tIME", "1234567");
    file[n - 1] ^= 1;
    CHUNK("IEND", "");
    IS_ACCEPTED();
    RGB_IS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    CHECK_EQ(p.n_warnings, 0);
    begin();
    CHUNK("gAMA", "\0\0\xb1\x8f");
    file[n - 1] ^= 1;
    pixels();
    IS_REFUSED("checksum");
}

TEST(the_end_may_be_missing_but_no_part_of_a_chunk)
{
    begin();
    pixels();
    size_t whole = n;
    IS_ACCEPTED();
    n = whole - 4; /* no checksum, no end */
    IS_ACCEPTED();
    n = whole;
    CHUNK("tEXt", "key\0value");
    for (size_t to = n; n > whole + 8; n--) { /* within its body */
        int want = n >= to - 4 ? 0 : ERR_DATA;
        CHECK_EQ(judge(), want);
        if (want) CHECK_STR(p.reason, "truncated");
    }
    for (n = whole + 7; n > whole; n--) IS_ACCEPTED(); /* no chunk yet */
    n = whole - 9;                                     /* within the pixels */
    IS_REFUSED("ends after");
    begin();
    CHUNK("IEND", "");
    IS_REFUSED("no pixels");
}

TEST(streams_that_end_early_or_late)
{
    begin();
    pixels_of(rows, 7);
    IS_ACCEPTED();
    RGB_IS(1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0);
    CHECK_EQ(p.n_warnings, 1);
    begin();
    pixels_of(rows, 8); /* within a row */
    IS_REFUSED("ends after");
    begin();
    uint8_t z[100];
    size_t n_z = deflate(z, rows, 7);
    chunk("IDAT", z, n_z - 2); /* the same end, in a block of its own */
    chunk("IDAT", z + n_z - 2, 2);
    IS_REFUSED("ends after");
    begin();
    uint8_t more[30] = {0};
    memcpy(more, rows, sizeof rows);
    pixels_of(more, sizeof more);
    IS_ACCEPTED();
    RGB_IS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    begin();
    n_z = deflate(z, rows, sizeof rows);
    z[n_z - 1] ^= 1; /* of Adler's checksum: not reached */
    chunk("IDAT", z, n_z - 1);
    IS_ACCEPTED();
    begin();
    z[0] = 0x79;
    chunk("IDAT", z, n_z);
    IS_REFUSED("cannot be inflated");
    begin();
    pixels_of((const uint8_t[]){0, 1, 2, 3, 4, 5, 6, 5, 7, 8, 9, 10, 11, 12}, 14);
    IS_REFUSED("unknown filter");
}

TEST(empty_and_strange_chunks)
{
    signature();
    CHUNK("IDAT", "nothing yet");
    header(2, 2, 8, RGB);
    CHUNK("ABCD", "critical, and no one knows it");
    CHUNK("IDAT", "");
    pixels();
    IS_ACCEPTED();
    RGB_IS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    begin();
    CHUNK("ab d", "");
    pixels();
    IS_REFUSED("no name");
    begin();
    pixels();
    CHUNK("ab d", "");
    IS_ACCEPTED();
    signature();
    CHUNK("IHDR", "\0\0\0\2\0\0\0\2\x08\2\1\0\0"); /* an unknown compression */
    pixels();
    IS_ACCEPTED();
    signature();
    CHUNK("IHDR", "\0\0\0\2\0\0\0\2\x08\2\0\1\0");
    pixels();
    IS_REFUSED("filters");
    signature();
    header(2, 2, 3, RGB);
    pixels();
    CHUNK("IEND", "");
    IS_REFUSED("colour type");
    signature();
    header(0, 2, 8, RGB);
    pixels();
    CHECK_EQ(judge(), ERR_DATA);
}

static void check_cut_chunk(const char *name, size_t n_body, int want)
{
    begin();
    chunk(name, "\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", n_body);
    pixels();
    if (judge() != want) CHECK_FAIL("%s of %zu bytes: not %d", name, n_body, want);
}

TEST(chunks_that_are_cut)
{
    check_cut_chunk("gAMA", 3, ERR_DATA);
    check_cut_chunk("gAMA", 4, 0);
    check_cut_chunk("cHRM", 31, ERR_DATA);
    check_cut_chunk("cHRM", 4, 0);
    check_cut_chunk("sRGB", 0, ERR_DATA);
    check_cut_chunk("pHYs", 8, ERR_DATA);
    check_cut_chunk("pHYs", 9, 0);
    check_cut_chunk("tRNS", 5, ERR_DATA);
    check_cut_chunk("tRNS", 6, 0);
    check_cut_chunk("acTL", 7, ERR_DATA);
    check_cut_chunk("acTL", 8, 0);
    check_cut_chunk("fcTL", 25, ERR_DATA);
    check_cut_chunk("IHDR", 12, ERR_DATA);
}

TEST(texts_and_profiles)
{
    static uint8_t body[1200000] = "k\0", raw[1100000];
    begin();
    chunk("zTXt", body, 3 + deflate(body + 3, raw, sizeof raw));
    pixels();
    IS_REFUSED("1 MiB");
    begin();
    pixels();
    chunk("zTXt", body, 3 + deflate(body + 3, raw, sizeof raw)); /* also behind the pixels */
    IS_REFUSED("1 MiB");
    begin();
    chunk("zTXt", body, 3 + deflate(body + 3, raw, 1000000));
    CHUNK("zTXt", "k\0\0broken");
    CHUNK("tEXt", "no value");
    CHUNK("iTXt", "k\0\1\1en\0\0unknown");
    CHUNK("iTXt", "k\0\1\0en\0\0broken");
    CHUNK("iTXt", "k\0\0\0en\0\0\xff");
    CHUNK("iCCP", "name\0\0broken");
    pixels();
    IS_ACCEPTED();
    CHECK(p.has_icc);
    begin();
    CHUNK("zTXt", "k\0\1...");
    pixels();
    IS_REFUSED("unknown way");
    begin();
    CHUNK("iCCP", "nameless");
    pixels();
    IS_REFUSED("no name");
}

TEST(palettes)
{
    static const uint8_t indices[] = {0, 0, 1, 0, 2, 200};
    static uint8_t colours[772];
    signature();
    header(2, 2, 8, INDEXED);
    CHUNK("PLTE", "abcdef");
    pixels_of(indices, 6);
    IS_ACCEPTED();
    RGB_IS('a', 'b', 'c', 'd', 'e', 'f', 2, 2, 2, 200, 200, 200);
    signature();
    header(2, 2, 8, INDEXED);
    pixels_of(indices, 6);
    IS_ACCEPTED();
    RGB_IS(0, 0, 0, 1, 1, 1, 2, 2, 2, 200, 200, 200);
    for (size_t size = 770; size <= 771; size++) {
        signature();
        header(2, 2, 8, INDEXED);
        chunk("PLTE", colours, size);
        pixels_of(indices, 6);
        CHECK_EQ(judge(), size == 770 ? 0 : ERR_DATA);
    }
    signature();
    header(2, 2, 8, INDEXED);
    CHUNK("PLTE", "abcdef");
    pixels_of(indices, 3); /* the second row is index 0, not black */
    IS_ACCEPTED();
    RGB_IS('a', 'b', 'c', 'd', 'e', 'f', 'a', 'b', 'c', 'a', 'b', 'c');
}

struct bits {
    uint8_t *out;
    size_t n;
};

/* count bits, the highest first: a Huffman code. */
static void put_code(struct bits *b, unsigned code, int count)
{
    for (int i = count - 1; i >= 0; i--, b->n++)
        b->out[b->n / 8] |= (uint8_t)((code >> i & 1) << (b->n % 8));
}

/* A stream of n_runs * 258 + 1 zeros, 159 times as small; its checksum is missing, which no one minds. */
static size_t deflate_zeros(uint8_t *out, int n_runs)
{
    memset(out, 0, 7000);
    out[0] = 0x78;
    out[1] = 0x01;
    struct bits b = {out, 16};
    put_code(&b, 6, 3);    /* the last block, with fixed codes */
    put_code(&b, 0x30, 8); /* a zero */
    for (int i = 0; i < n_runs; i++) {
        put_code(&b, 0xc5, 8); /* 258 times what stands */
        put_code(&b, 0, 5);    /* one back */
    }
    put_code(&b, 0, 7);
    return (b.n + 7) / 8;
}

/* Profiles are no texts, whose sum Pillow limits; a file of 2 MB could ask for hours of inflating. */
TEST(profiles_are_bounded_in_all)
{
    uint8_t body[8000] = "n\0";
    size_t n_body = 3 + deflate_zeros(body + 3, 4064);
    for (int count = 200; count <= 280; count += 80) {
        begin();
        for (int i = 0; i < count; i++) chunk("iCCP", body, n_body);
        pixels();
        CHECK_EQ(judge(), count == 200 ? 0 : ERR_DATA);
    }
    CHECK_HAS(err.text, "256 MiB");
    begin();
    chunk("iCCP", body, 3 + deflate_zeros(body + 3, 4065));
    pixels();
    IS_REFUSED("1 MiB");
}

/* Pixels are inflated no further than the last row. */
TEST(pixels_are_bounded_by_the_picture)
{
    uint8_t body[8000];
    signature();
    header(60000, 2, 8, GREY);
    chunk("IDAT", body, deflate_zeros(body, 4064));
    IS_ACCEPTED();
    CHECK_EQ(p.rgb[60000 * 2 * 3 - 1], 0);
    signature();
    chunk("IHDR", "\0\0\xff\xdc\0\0\xff\xdc\x08\2\0\0\0", 13);
    chunk("IDAT", body, deflate_zeros(body, 4064));
    IS_REFUSED("65500 x 65500");
    CHECK_STR(p.reason, "too-large");
}

static void frame(uint32_t sequence, uint32_t w, uint32_t h, uint32_t left, uint32_t top)
{
    uint8_t b[26] = {0};
    const uint32_t v[] = {sequence, w, h, left, top};
    for (int i = 0; i < 5; i++) b[4 * i + 3] = (uint8_t)v[i];
    chunk("fcTL", b, 26);
}

TEST(animations_give_their_first_frame)
{
    begin();
    CHUNK("acTL", "\0\0\0\2\0\0\0\0");
    frame(0, 1, 1, 1, 1);
    pixels_of((const uint8_t[]){0, 7, 8, 9}, 4);
    frame(9, 9, 9, 9, 9); /* the second frame is not looked at */
    IS_ACCEPTED();
    RGB_IS(0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9);
    begin();
    frame(0, 2, 2, 1, 1);
    pixels();
    IS_REFUSED("outside");
    begin();
    frame(1, 2, 2, 0, 0);
    pixels();
    IS_REFUSED("out of order");
    begin();
    frame(0, 0, 1, 1, 1);
    pixels();
    IS_REFUSED("no pixels");
    begin();
    pixels();
    CHUNK("fdAT", "\0\0\0\0....");
    IS_REFUSED("out of order");
    begin(); /* pixels in fdAT alone */
    frame(0, 2, 2, 0, 0);
    uint8_t z[100] = {0, 0, 0, 1};
    chunk("fdAT", z, 4 + deflate(z + 4, rows, sizeof rows));
    IS_ACCEPTED();
    RGB_IS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
}

#define TIFF6 "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
#define TIFF8 "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0"
#define HEX6  "49492a00080000000100120103000100000006000000"
#define XMP   "XML:com.adobe.xmp"

static void check_turn(const char *name, const void *body, size_t n_body, bool behind, int want)
{
    begin();
    if (behind) pixels();
    chunk(name, body, n_body);
    if (!behind) pixels();
    int rc = judge();
    if (rc == 0 && p.orientation != want)
        CHECK_FAIL("%s gives %d, not %d", name, p.orientation, want);
    CHECK_EQ(rc, want ? 0 : ERR_DATA);
}

TEST(orientations_and_where_they_stand)
{
#define TURN(name, body, want)                                                                     \
    for (int b = 0; b < 2; b++) check_turn(name, body, sizeof body - 1, b, want)
    TURN("eXIf", TIFF6, 6);
    TURN("eXIf", "", 1);
    TURN("eXIf", "junk", 0);
    TURN("eXIf", "Exif\0\0" TIFF6, 0); /* the name belongs to JPEG */
    TURN("tEXt", "exif\0Exif\0\0" TIFF6, 6);
    TURN("iTXt", "exif\0\0\0en\0\0text", 0);
    TURN("tEXt", "Raw profile type exif\0\nexif\n  22\n49492a0008000000\n" HEX6, 1);
    TURN("tEXt", "Raw profile type exif\0\nexif\n  22\n" HEX6 "\n", 6);
    TURN("tEXt", "Raw profile type exif\0\nexif\n  22\n4 9", 0);
    TURN("iTXt", XMP "\0\0\0\0\0<x tiff:Orientation=\"3\"/>", 3);
    TURN("iTXt", XMP "\0\0\0\0\0<x tiff:Orientation=\"9\"/>", 1);
    TURN("iTXt", "xmp\0\0\0\0\0<x tiff:Orientation=\"3\"/>", 1);
    begin();
    CHUNK("eXIf", TIFF6);
    CHUNK("iTXt", XMP "\0\0\0\0\0<x tiff:Orientation=\"3\"/>");
    pixels();
    CHUNK("eXIf", TIFF8);
    IS_ACCEPTED();
    CHECK_EQ(p.orientation, 6); /* the block before the pixels, and EXIF before XMP */
    begin();
    CHUNK("eXIf", TIFF6);
    pixels();
    CHUNK("eXIf", "junk"); /* read again after turning */
    IS_REFUSED("EXIF");
}

TEST(texts_that_pose_as_properties)
{
    begin();
    CHUNK("tEXt", "bbox\0x");
    pixels();
    IS_REFUSED("place");
    begin();
    CHUNK("tEXt", "interlace\0x"); /* Adam7: one pixel, one pixel, one row */
    pixels_of((const uint8_t[]){0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12}, 15);
    IS_ACCEPTED();
    RGB_IS(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    begin();
    CHUNK("tEXt", "transparency\0x");
    pixels();
    IS_ACCEPTED();
    signature();
    header(2, 2, 8, GREY);
    CHUNK("tEXt", "transparency\0x");
    pixels_of((const uint8_t[]){0, 1, 2, 0, 3, 4}, 6);
    IS_REFUSED("transparent colour");
    picture_release(&p);
}

TEST_MAIN
