/* Pictures: every decoded pixel against the golden digests (equal, no tolerance), truncation at every kind of
 * length, headers that lie, orientation, recognition.
 *
 * covers: jpeg
 */
#include "ingest/picture.h"

#include "store/digest.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"
#include "tests/check.h"

#define MADE   "tests/golden/preprocess"
#define SHARED "../shared/golden/preprocess"

static struct picture_limits limits;

static int decode_file(const char *folder, const char *name, bool upright, struct picture *p,
                       struct error *err)
{
    char path[512], *bytes = NULL;
    size_t n = 0;
    limits = picture_limits_default();
    snprintf(path, sizeof path, "%s/inputs/%s", folder, name);
    int rc = file_read(path, (uint64_t)1 << 28, &bytes, &n, err);
    if (rc == 0) rc = picture_decode(bytes, n, &limits, upright, p, err);
    memory_free(bytes);
    return rc;
}

static void hex_of(const struct picture *p, char hex[DIGEST_HEX])
{
    uint8_t digest[DIGEST_BYTES];
    digest_of(p->rgb, (size_t)p->width_px * p->height_px * 3, digest);
    digest_to_hex(digest, hex);
}

static void check_case(const char *folder, const struct json *c)
{
    const char *name = json_text(json_get(c, "file"), "?");
    const struct json *size = json_get(c, "size"), *alternative = json_get(c, "alternative");
    const struct json *stored = json_get(c, "untransposed_rgb_sha256");
    struct picture p = {0};
    struct error err = {0};
    char hex[DIGEST_HEX];
    if (decode_file(folder, name, true, &p, &err) < 0) {
        CHECK_FAIL("%s: %s", name, err.text);
        return;
    }
    hex_of(&p, hex);
    const char *want = json_text(json_get(alternative ? alternative : c, "rgb_sha256"), "");
    if (strcmp(hex, want)) CHECK_FAIL("%s: pixels differ from the golden ones", name);
    CHECK_EQ(p.width_px, json_int(json_at(size, 0), -1));
    CHECK_EQ(p.height_px, json_int(json_at(size, 1), -1));
    CHECK_EQ(p.orientation, json_int(json_get(c, "exif_orientation"), 1));
    picture_release(&p);
    if (!stored) return;
    if (decode_file(folder, name, false, &p, &err) < 0) CHECK_FAIL("%s: %s", name, err.text);
    hex_of(&p, hex);
    CHECK_STR(hex, json_text(stored, ""));
    picture_release(&p);
}

static void check_set(const char *folder)
{
    char path[512];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    struct json *manifest = json_read_file(path, 1 << 22, &err);
    if (!manifest) CHECK_FAIL("%s", err.text);
    const struct json *cases = json_get(manifest, "cases");
    CHECK_EQ(json_size(cases), 73);
    for (size_t i = 0; i < json_size(cases); i++) check_case(folder, json_at(cases, i));
    json_free(manifest);
}

TEST(golden_pixels_of_drawn_pictures)
{
    check_set(MADE);
}

TEST(golden_pixels_of_photos)
{
    if (!file_exists(SHARED "/manifest.json")) SKIP("../shared/golden/preprocess is not here");
    check_set(SHARED);
}

/* Kinds that the golden set lacks: orientation in PNG and WebP, an animation. The digests are
 * Pillow 9.4's. */
TEST(small_pictures_as_pillow_has_them)
{
    static const struct {
        const char *name;
        unsigned w, h;
        const char *hex;
    } known[] = {
        {"alpha.webp", 19, 13, "cf0dcf4143cf3368b0cae963853cafc7fd40c8659fe49f6bec295a81b9a6ed5e"},
        {"animated.webp", 19, 13,
         "52a6bc8754984d3d36c22742c4ea4a8d0f5896b259810470b5e89f3d5c324edb"},
        {"base.jpg", 13, 19, "d81b48d67a311b8fc0b8c5936eb4a51d6e78e6ac76171c88236a6ef3870c521d"},
        {"cmyk.jpg", 19, 13, "e8abbe6070d75280f9df175aa71adc51aa7dbc54a3b2b4b3ffb69a33f52354ef"},
        {"la.png", 19, 13, "d62be7a8246c57e8b71edc9b6217674ae912b38de1bfc74d7040213c08dae615"},
        {"lossy.webp", 13, 19, "f3a6b2b7da39f62aed2b9c47dd0d4ceb1f7818b78c57467cf92bac493d2395e3"},
        {"palette.png", 19, 13, "ed4415c2d21bda06503bcfd15dbb06bcb01680ebaf648963ee328e7341beddcb"},
        {"rgb.png", 13, 19, "54f4a917fa83316620d1ab002e30be8dfdc6f9b3dcb777cfca7d3cfab43fb057"},
    };
    struct picture_limits l = picture_limits_default();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char path[512], hex[DIGEST_HEX], *bytes = NULL;
        size_t n = 0;
        struct picture p = {0};
        struct error err = {0};
        snprintf(path, sizeof path, "tests/seeds/picture/%s", known[i].name);
        CHECK_OK(file_read(path, 1 << 20, &bytes, &n, &err), &err);
        CHECK_OK(picture_decode(bytes, n, &l, true, &p, &err), &err);
        hex_of(&p, hex);
        CHECK_STR(hex, known[i].hex);
        CHECK_EQ(p.width_px, known[i].w);
        CHECK_EQ(p.height_px, known[i].h);
        picture_release(&p);
        memory_free(bytes);
    }
}

/* A file cut anywhere before its last bytes is refused as truncated or broken, and leaves no pixels. */
static void check_cuts(const char *name)
{
    char path[512], *bytes = NULL;
    size_t n = 0;
    struct error err = {0};
    snprintf(path, sizeof path, MADE "/inputs/%s", name);
    CHECK_OK(file_read(path, 1 << 24, &bytes, &n, &err), &err);
    for (size_t i = 0; i < 40; i++) {
        size_t cut = i < 16 ? i : (n - 40) * (i - 15) / 24;
        char *part = memory_copy(bytes, cut, &err);
        struct picture p = {0};
        int rc = picture_decode(part, cut, &limits, true, &p, &err);
        if (rc != ERR_DATA)
            CHECK_FAIL("%s cut to %zu of %zu bytes gives %s", name, cut, n, error_word(rc));
        CHECK(p.rgb == NULL && p.reason != NULL && p.width_px == 0);
        if (i >= 30) CHECK_STR(p.reason, "truncated");
        picture_release(&p);
        memory_free(part);
    }
    memory_free(bytes);
}

TEST(truncated_pictures_are_refused)
{
    limits = picture_limits_default();
    const char *names[] = {"photo_00.jpg",    "jpeg_progressive.jpg", "jpeg_cmyk.jpg",
                           "jpeg_gray.jpg",   "gray8_320x240.png",    "rgb_interlaced.png",
                           "webp_lossy.webp", "webp_lossless.webp",   "webp_lossy_alpha.webp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_cuts(names[i]);
}

static void check_refused(const void *bytes, size_t n, const char *reason, const char *text)
{
    struct picture p = {0};
    struct error err = {0};
    struct picture_limits l = picture_limits_default();
    CHECK_EQ(picture_decode(bytes, n, &l, true, &p, &err), ERR_DATA);
    CHECK_STR(p.reason, reason);
    CHECK_HAS(err.text, text);
    CHECK(p.rgb == NULL);
    picture_release(&p);
}

TEST(hostile_headers_are_refused_before_allocation)
{
    static const uint8_t jpeg[] = {
        0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0xff, 0xdc, 0xff, 0xdc, 3, 1,    0x22, 0,  2, 0x11, 1, 3,
        0x11, 1,    0xff, 0xda, 0, 12, 3, 1,    0,    2,    0x11, 3, 0x11, 0,    63, 0, 1,    2, 3};
    static const uint8_t png[] = {0x89, 'P',  'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0,    0,
                                  13,   'I',  'H', 'D', 'R',  0,    0,    0xff, 0xdc, 0,    0,
                                  0xff, 0xdc, 8,   2,   0,    0,    0,    0x1c, 0x35, 0x81, 0x4c,
                                  0,    0,    0,   9,   'I',  'D',  'A',  'T'};
    check_refused(jpeg, sizeof jpeg, "too-large", "65500 x 65500");
    check_refused(png, sizeof png, "too-large", "65500 x 65500");
    struct picture p = {0};
    struct error err = {0};
    struct picture_limits l = picture_limits_default();
    l.max_bytes = 10;
    CHECK_EQ(picture_decode(jpeg, sizeof jpeg, &l, true, &p, &err), ERR_DATA);
    CHECK_STR(p.reason, "too-large");
    CHECK_HAS(err.text, "the limit is 10");
}

TEST(a_limit_counts_pixels_and_sides)
{
    char *bytes = NULL;
    size_t n = 0;
    struct error err = {0};
    const char *names[] = {"photo_07.jpg", "rgb_225x224.png", "webp_lossy.webp"};
    for (int i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, MADE "/inputs/%s", names[i]);
        CHECK_OK(file_read(path, 1 << 24, &bytes, &n, &err), &err);
        struct picture_limits small = picture_limits_default();
        struct picture p = {0};
        small.max_pixels = 50399;
        CHECK_EQ(picture_decode(bytes, n, &small, true, &p, &err), ERR_DATA);
        CHECK_STR(p.reason, "too-large");
        small = picture_limits_default();
        small.max_side_px = 224;
        CHECK_EQ(picture_decode(bytes, n, &small, true, &p, &err), ERR_DATA);
        CHECK_STR(p.reason, "too-large");
        memory_free(bytes);
    }
}

TEST(foreign_files_are_refused_by_name)
{
    check_refused("", 0, "empty-file", "empty");
    check_refused("GIF89a.......", 13, "unsupported-format", "GIF");
    check_refused("II*\0........", 12, "unsupported-format", "TIFF");
    check_refused("\0\0\0\x1c"
                  "ftypavif....",
                  16, "unsupported-format", "AVIF");
    check_refused("8BPS\0\1........", 14, "unsupported-format", "Photoshop");
    check_refused("P6\n1 1\n255\n...", 14, "unsupported-format", "PPM");
    check_refused(".........TRUEVISION-XFILE.", 27, "unsupported-format", "TGA");
    check_refused("RIFF....WAVEfmt ", 16, "not-a-picture", "no known picture format");
    check_refused("RIFF\x0c\0\0\0WEBPjunk\0\0\0\0", 20, "broken-webp", "first chunk");
    check_refused("hello, world", 12, "not-a-picture", "no known picture format");
    check_refused("<html><body>404", 15, "unsupported-format", "HTML");
    check_refused("\xff\xd8\xff", 3, "truncated", "ends after 3 bytes");
}

TEST(sniffing_looks_at_content)
{
    const char *name;
    struct picture p = {0};
    struct error err = {0};
    CHECK_EQ(picture_sniff("RIFF....WEBPVP8 ", 16, &name), IMAGE_WEBP);
    CHECK_STR(name, "WebP");
    CHECK_EQ(picture_sniff("RIFX....WEBPVP8 ", 16, &name), IMAGE_NONE);
    CHECK(name == NULL);
    CHECK_EQ(picture_sniff("BM", 2, NULL), IMAGE_NONE);
    CHECK_OK(decode_file(MADE, "webp_named.jpg", true, &p, &err), &err);
    CHECK_EQ(p.format, IMAGE_WEBP);
    picture_release(&p);
}

/* One struct picture through pictures of many kinds and failures between them: each is as it is alone. */
TEST(a_picture_is_used_again)
{
    const char *names[] = {"photo_07.jpg", "exif_6.jpg",    "broken",       "webp_lossy.webp",
                           "exif_5.jpg",   "jpeg_cmyk.jpg", "palette4.png", "photo_00.jpg"};
    struct picture again = {0};
    struct error err = {0};
    for (int i = 0; i < 32; i++) {
        const char *name = names[i * 5 % 8];
        if (!strcmp(name, "broken")) {
            CHECK_EQ(picture_decode("\xff\xd8\xff", 3, &limits, true, &again, &err), ERR_DATA);
            CHECK(again.rgb == NULL && again.width_px == 0 && again.n_warnings == 0);
            continue;
        }
        struct picture alone = {0};
        char hex[2][DIGEST_HEX];
        CHECK_OK(decode_file(MADE, name, true, &alone, &err), &err);
        CHECK_OK(decode_file(MADE, name, true, &again, &err), &err);
        hex_of(&alone, hex[0]);
        hex_of(&again, hex[1]);
        CHECK_STR(hex[0], hex[1]);
        CHECK(again.reason == NULL && again.width_px == alone.width_px);
        CHECK_EQ(again.orientation, alone.orientation);
        picture_release(&alone);
    }
    picture_release(&again);
    CHECK(again.rgb == NULL && again.pixels.capacity == 0);
}

/* Every allocation may fail; nothing leaks and nothing but ERR_NOMEM comes back. */
TEST(a_failed_allocation_is_reported)
{
    const char *names[] = {"exif_6.jpg", "palette4.png", "webp_lossy.webp"};
    for (int i = 0; i < 3; i++) {
        char path[512], *bytes = NULL;
        size_t n = 0;
        struct error err = {0};
        snprintf(path, sizeof path, MADE "/inputs/%s", names[i]);
        CHECK_OK(file_read(path, 1 << 24, &bytes, &n, &err), &err);
        struct picture_limits l = picture_limits_default();
        int n_failed = 0, rc = ERR_NOMEM;
        for (long nth = 1; rc == ERR_NOMEM && nth < 20; nth++) {
            struct picture p = {0};
            memory_fail_at(nth);
            rc = picture_decode(bytes, n, &l, true, &p, &err);
            memory_fail_at(0);
            n_failed += rc == ERR_NOMEM;
            if (rc < 0) CHECK(p.rgb == NULL);
            picture_release(&p);
        }
        CHECK_EQ(rc, 0);
        CHECK(n_failed >= 1);
        memory_free(bytes);
    }
}

TEST_MAIN
