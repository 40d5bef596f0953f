/* WebPs with chunks put in and sizes that lie: each is accepted or refused as Pillow 9.4 does with the same bytes. */
#include "ingest/webp.h"

#include "store/file.h"
#include "store/memory.h"
#include "tests/check.h"

static uint8_t file[1 << 16];
static size_t n;
static struct picture p;
static struct error err;

static void load(const char *name)
{
    char path[100], *bytes = NULL;
    snprintf(path, sizeof path, "tests/seeds/picture/%s", name);
    CHECK_OK(file_read(path, sizeof file, &bytes, &n, &err), &err);
    memcpy(file, bytes, n);
    memory_free(bytes);
}

static void claim(size_t n_file)
{
    for (int i = 0; i < 4; i++) file[4 + i] = (uint8_t)((n_file - 8) >> (8 * i));
}

/* A chunk at the end. */
static void append(const char *name, const char *body, size_t n_body)
{
    memcpy(file + n, name, 4);
    for (int i = 0; i < 4; i++) file[n + 4 + (size_t)i] = (uint8_t)(n_body >> (8 * i));
    memcpy(file + n + 8, body, n_body);
    n += 8 + n_body + n_body % 2;
    claim(n);
}

static int judge(void)
{
    struct picture_limits limits = picture_limits_default();
    return picture_decode(file, n, &limits, false, &p, &err);
}

#define TIFF6 "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
enum { HAS_ICC = 0x20, HAS_EXIF = 0x08 };

/* What an EXIF chunk gives in a file whose header says so or does not; 0: refused. */
static int orientation_with(const char *body, size_t n_body, uint8_t flags)
{
    load("alpha.webp");
    file[20] |= flags;
    append("EXIF", body, n_body);
    return judge() < 0 ? 0 : p.orientation;
}

#define WITH(body, flags) orientation_with(body, sizeof body - 1, flags)

TEST(exif_counts_when_the_header_announces_it)
{
    CHECK_EQ(WITH(TIFF6, HAS_EXIF), 6);
    CHECK_EQ(WITH("Exif\0\0" TIFF6, HAS_EXIF), 6);
    CHECK_EQ(WITH(TIFF6, 0), 1);
    CHECK_EQ(WITH("junk", HAS_EXIF), 0);
    CHECK_HAS(err.text, "EXIF");
    CHECK_EQ(WITH("junk", 0), 1);
    CHECK_EQ(WITH("", HAS_EXIF), 1);
}

TEST(profiles_are_noticed)
{
    load("alpha.webp");
    CHECK_OK(judge(), &err);
    CHECK(!p.has_icc);
    file[20] |= HAS_ICC;
    append("ICCP", "profile", 7);
    CHECK_OK(judge(), &err);
    CHECK(p.has_icc);
}

TEST(sizes_that_lie)
{
    load("lossless.webp");
    memcpy(file + n, "behind the end", 14);
    n += 14;
    CHECK_OK(judge(), &err);
    load("lossless.webp");
    claim(n + 1);
    CHECK_EQ(judge(), ERR_DATA);
    CHECK_STR(p.reason, "truncated");
    load("lossless.webp");
    claim(n - 8);
    CHECK_EQ(judge(), ERR_DATA);
    load("lossless.webp");
    append("VP8 ", "", 0);
    memcpy(file + 12, "junk", 4);
    CHECK_EQ(judge(), ERR_DATA);
    CHECK_HAS(err.text, "first chunk");
}

TEST(every_cut)
{
    const char *names[] = {"alpha.webp", "lossless.webp", "animated.webp"};
    for (int i = 0; i < 3; i++) {
        load(names[i]);
        size_t whole = n;
        for (n = 0; n < whole; n++) {
            CHECK_EQ(judge(), ERR_DATA);
            CHECK(p.rgb == NULL);
        }
        CHECK_OK(judge(), &err);
    }
}

/* The canvas is larger than the first frame: what lies around it is zero, not the last picture. */
TEST(a_first_frame_smaller_than_its_canvas)
{
    load("animated.webp");
    CHECK_OK(judge(), &err);
    memset(p.pixels.bytes, 0xee, p.pixels.capacity);
    file[24] = 39; /* 40 x 30 */
    file[27] = 29;
    CHECK_OK(judge(), &err);
    CHECK_EQ(p.width_px, 40);
    CHECK_EQ(p.height_px, 30);
    int sum = 0;
    for (int y = 0; y < 30; y++)
        for (int x = y < 13 ? 19 : 0; x < 40; x++) sum |= p.rgb[(y * 40 + x) * 3];
    CHECK_EQ(sum, 0);
    picture_release(&p);
}

TEST_MAIN
