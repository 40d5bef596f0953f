/* JPEGs with segments put in, cut and broken: each is accepted or refused as Pillow 9.4 does with the same
 * bytes. */
#include "ingest/jpeghead.h"

#include "ingest/picture.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/check.h"

static char *base;
static size_t n_base;
static uint8_t file[1 << 18];
static size_t n;
static struct picture p;
static struct error err;

static void put(const void *bytes, size_t n_bytes)
{
    memcpy(file + n, bytes, n_bytes);
    n += n_bytes;
}

static void put_segment(uint8_t marker, const void *body, size_t n_body)
{
    put((uint8_t[]){0xff, marker, (uint8_t)((n_body + 2) >> 8), (uint8_t)(n_body + 2)}, 4);
    put(body, n_body);
}

#define SEGMENT(marker, literal) put_segment(marker, literal, sizeof literal - 1)

/* FFD8 of the base, which is 13 x 19 and has neither JFIF nor EXIF after without_apps. */
static void begin(void)
{
    if (!base)
        CHECK_OK(file_read("tests/seeds/picture/base.jpg", 1 << 20, &base, &n_base, &err), &err);
    n = 0;
    put(base, 2);
}

/* All of the base behind its APP segments. */
static void rest(void)
{
    size_t at = 2;
    while ((uint8_t)base[at + 1] >= 0xe0 && (uint8_t)base[at + 1] <= 0xef)
        at += 2 + ((size_t)(uint8_t)base[at + 2] << 8 | (uint8_t)base[at + 3]);
    put(base + at, n_base - at);
}

static int judge(void)
{
    struct picture_limits limits = picture_limits_default();
    return picture_decode(file, n, &limits, false, &p, &err);
}

/* Bytes between the start and the tables: accepted with this orientation, or refused (0). */
static void check_between(const void *bytes, size_t n_bytes, int want)
{
    begin();
    put(bytes, n_bytes);
    rest();
    int rc = judge();
    if ((rc == 0 ? p.orientation : 0) != want)
        CHECK_FAIL("with %zu bytes put in: %d, %s, and not %d", n_bytes, rc, err.text, want);
}

static void check_segment(uint8_t marker, const void *body, size_t n_body, int want)
{
    begin();
    size_t at = n;
    put_segment(marker, body, n_body);
    check_between(memcpy(file + sizeof file / 2, file + at, n - at), n - at, want);
}

#define BETWEEN(literal, want)            check_between(literal, sizeof literal - 1, want)
#define IS_SEGMENT(marker, literal, want) check_segment(marker, literal, sizeof literal - 1, want)

TEST(what_stands_between_markers)
{
    BETWEEN("", 1);
    BETWEEN("\xff\xff\xff", 1); /* fill bytes */
    BETWEEN("\xff\xfe\0\2\0\0rubbish", 1);
    BETWEEN("\xff\0", 1);
    BETWEEN("\xff\x01", 0); /* a marker without a segment, and no one knows it */
    BETWEEN("\xff\x50\0\2", 0);
    BETWEEN("\xff\xd0", 1);
    BETWEEN("\xff\xd8", 0);         /* libjpeg does not want another start */
    BETWEEN("\xff\xd9\xff\xd8", 1); /* tables alone, here none, end before the picture */
    BETWEEN("\xff\xf0\0\4ab", 0);
    BETWEEN("\xff\xfe\0\4ab", 1);
    BETWEEN("\xff\xdc\0\4\0\5", 1); /* a number of lines: passed over */
    BETWEEN("\xff\xc8\0\4ab", 0);
    BETWEEN("\xff\xe5\0\2", 1);
    BETWEEN("\xff\xe5\0\0", 1); /* a length below two: an empty one */
    BETWEEN("\xff\xdb\0\2", 1);
}

TEST(segments_that_are_cut)
{
    IS_SEGMENT(0xe0, "JFIF\0\1", 0);
    IS_SEGMENT(0xe0, "JFIF\0\1\1", 1);
    IS_SEGMENT(0xe0, "JFI", 1);
    IS_SEGMENT(0xee, "Adobe\0", 0);
    IS_SEGMENT(0xee, "Adobe\0d", 1);
    IS_SEGMENT(0xe2, "ICC_PROFILE\0", 0);
    IS_SEGMENT(0xe2, "ICC_PROFILE\0\1", 0);
    IS_SEGMENT(0xe2, "ICC_PROFILE\0\1\1", 1);
    IS_SEGMENT(0xed,
               "Photoshop 3.0\0"
               "8BIM",
               1);
    IS_SEGMENT(0xed,
               "Photoshop 3.0\0"
               "8BIM\3\xed",
               0);
    IS_SEGMENT(0xed,
               "Photoshop 3.0\0"
               "8BIM\3\xed\0\0\0\0\0\1",
               1);
    IS_SEGMENT(0xdb, "\0quantities", 0);
    IS_SEGMENT(0xc0, "\x08\0\5", 0);
    IS_SEGMENT(0xc0, "\x0c\0\5\0\5\1\1\x11\0", 0); /* 12 bits */
    IS_SEGMENT(0xc0, "\x08\0\5\0\5\2\1\x11\0", 0);
}

#define TIFF6   "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
#define TIFF8   "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0"
#define JFIF    "\xff\xe0\0\x10JFIF\0\1\1\1\0H\0H\0\0" /* with a density */
#define EXIF(n) "\xff\xe1\0" n "Exif\0\0"

TEST(exif_and_where_it_stands)
{
    BETWEEN(EXIF("\x1e") TIFF6, 6);
    BETWEEN(EXIF("\x1e") TIFF6 EXIF("\x1e") TIFF8, 6); /* the first */
    BETWEEN("\xff\xe1\0\6XMP?" EXIF("\x1e") TIFF8, 8);
    BETWEEN(JFIF EXIF("\x1e") TIFF6, 6);
    BETWEEN(EXIF("\x1e") TIFF6 JFIF, 6);
    BETWEEN(EXIF("\x08"), 1);
    /* A block that is no TIFF is forgiven when EXIF was to give the density as well. */
    BETWEEN(EXIF("\x0c") "junk", 1);
    BETWEEN(JFIF EXIF("\x0c") "junk", 0);
    BETWEEN(EXIF("\x0c") "junk" JFIF, 1);
    BETWEEN(EXIF("\x0c") "II*\0", 0);
    BETWEEN("\xff\xe1\0\x1e"
            "Exif\0\1" TIFF6,
            1);
    BETWEEN(JFIF "\xff\xe1\0\x1e"
                 "Exif\0\1" TIFF6,
            0);
    BETWEEN(EXIF("\x2a") "II*\0\x08\0\0\0\x02\0\x28\x01\x03\0\x01\0\0\0\x02\0\0\0"
                         "\x1a\x01\x02\0\x02\0\0\0"
                         "7\0\0\0",
            0);
}

TEST(an_mpo_is_its_first_picture)
{
#define MPF(count)                                                                                 \
    "\xff\xe2\0\x48MPF\0II*\0\x08\0\0\0\x02\0\x01\xb0\x04\0\x01\0\0\0" count                       \
    "\0\0\0\x02\xb0\x07\0\x20\0\0\0\x22\0\0\0\0\0\3\0\x10\0\0\0\0\0\0\0\0\0\0\0"                   \
    "\0\0\3\0\x10\0\0\0\0\0\0\0\0\0\0\0"
    BETWEEN(MPF("\2"), 1);
    BETWEEN(MPF("\1"), 1);
    BETWEEN(MPF("\3"), 0);
}

TEST(what_libjpeg_forgives_is_counted)
{
    begin();
    rest();
    CHECK_OK(judge(), &err);
    CHECK_EQ(p.n_warnings, 0);
    CHECK(!p.has_icc);
    file[n - 30] ^= 0x55;
    file[n - 20] ^= 0x55;
    put("behind the end", 14);
    CHECK_OK(judge(), &err);
    BETWEEN("\xff\xfe\0\2\0\0rubbish", 1);
    CHECK(p.n_warnings > 0);
}

/* Here even the end marker is needed, without which the last bits could go on. */
TEST(every_cut)
{
    begin();
    rest();
    size_t whole = n;
    for (n = 3; n < whole; n++) {
        CHECK_EQ(judge(), ERR_DATA);
        CHECK_STR(p.reason, "truncated");
    }
    CHECK_OK(judge(), &err);
}

/* Three thousand scans over a large picture would take minutes; over a small one they are read. */
static void put_scans(uint16_t side, int n_scans)
{
    uint8_t frame[] = {
        8, (uint8_t)(side >> 8), (uint8_t)side, (uint8_t)(side >> 8), (uint8_t)side, 1, 1, 0x11, 0};
    n = 0;
    put("\xff\xd8", 2);
    put_segment(0xc2, frame, sizeof frame);
    uint8_t table[65] = {0};
    memset(table + 1, 1, 64);
    put_segment(0xdb, table, sizeof table);
    SEGMENT(0xc4, "\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    for (int i = 0; i < n_scans; i++) {
        SEGMENT(0xda, "\1\1\0\0\0\0");
        for (int k = 0; k < 8; k++) put("\0\0\0\0\0\0\0\0", 8);
    }
    put("\xff\xd9", 2);
}

TEST(scans_are_bounded_by_the_work_they_ask_for)
{
    put_scans(16, 3000);
    CHECK_OK(judge(), &err);
    put_scans(4000, 300);
    CHECK_EQ(judge(), ERR_DATA);
    CHECK_HAS(err.text, "more than 268 scans");
}

TEST(profiles_are_found_one_by_one)
{
    begin();
    SEGMENT(0xe2, "ICC_PROFILE\0\1\2one");
    SEGMENT(0xe2, "other");
    SEGMENT(0xe2, "ICC_PROFILE\0\2\2two");
    rest();
    CHECK_OK(judge(), &err);
    CHECK(p.has_icc);
    size_t at = 0, n_body;
    const uint8_t *body;
    CHECK(jpeghead_next_icc(file, n, &at, &body, &n_body) && n_body == 17 && body[14] == 'o');
    CHECK(jpeghead_next_icc(file, n, &at, &body, &n_body) && n_body == 17 && body[14] == 't');
    CHECK(!jpeghead_next_icc(file, n, &at, &body, &n_body));
    picture_release(&p);
    memory_free(base);
    base = NULL;
}

TEST_MAIN
