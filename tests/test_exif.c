/* TIFF blocks: orientation of every type, blocks that lie, the index of an MPO, XMP. Each expectation is what
 * Pillow 9.4 does with the same bytes. */
#include "ingest/exif.h"

#include "tests/check.h"

static struct exif exif;

static int orientation(const char *block, size_t n)
{
    CHECK_EQ(exif_read((const uint8_t *)block, n, &exif), EXIF_GOOD);
    return exif.orientation;
}

#define OF(block)      orientation(block, sizeof block - 1)
#define VERDICT(block) exif_read((const uint8_t *)(block), sizeof block - 1, &exif)
#define II             "II*\0\x08\0\0\0\x01\0\x12\x01"
#define MM             "MM\0*\0\0\0\x08\0\x01\x01\x12"

TEST(byte_orders_and_types)
{
    CHECK_EQ(OF(II "\x03\0\x01\0\0\0\x06\0\0\0"), 6);
    CHECK_EQ(OF(MM "\0\x03\0\0\0\x01\0\x08\0\0"), 8);
    CHECK_EQ(OF("Exif\0\0" MM "\0\x03\0\0\0\x01\0\x08\0\0"), 8);
    CHECK_EQ(OF(MM "\0\x04\0\0\0\x01\0\0\0\x03"), 3);
    CHECK_EQ(OF(MM "\0\x0d\0\0\0\x01\0\0\0\x03"), 3);
    CHECK_EQ(OF(MM "\0\x06\0\0\0\x01\x05\0\0\0"), 5);
    CHECK_EQ(OF(MM "\0\x08\0\0\0\x01\0\x05\0\0"), 5);
    CHECK_EQ(OF(MM "\0\x09\0\0\0\x01\0\0\0\x05"), 5);
    CHECK_EQ(OF(MM "\0\x0b\0\0\0\x01\x40\xc0\0\0"), 6); /* 6.0f */
    CHECK_EQ(OF(MM "\0\x05\0\0\0\x01\0\0\0\x16\0\0\0\x0c\0\0\0\x02"), 6);
    CHECK_EQ(OF(MM "\0\x0a\0\0\0\x01\0\0\0\x16\xff\xff\xff\xfa\xff\xff\xff\xff"), 6);
    CHECK_EQ(OF(MM "\0\x0c\0\0\0\x01\0\0\0\x16\x40\x18\0\0\0\0\0\0"), 6);
    CHECK_EQ(OF(II "\x03\0\x02\0\0\0\x06\0\x08\0"), 6); /* two values: the first */
    CHECK_EQ(OF("MM*\0\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"), 8);
}

TEST(what_has_no_meaning_is_upright)
{
    CHECK_EQ(OF(II "\x02\0\x02\0\0\0\x36\0\0\0"), 1); /* text */
    CHECK_EQ(OF(MM "\0\x01\0\0\0\x01\x02\0\0\0"), 1); /* a byte */
    CHECK_EQ(OF(II "\x03\0\x01\0\0\0\x09\0\0\0"), 1);
    CHECK_EQ(OF(II "\x03\0\x01\0\0\0\x00\0\0\0"), 1);
    CHECK_EQ(OF(MM "\0\x05\0\0\0\x01\0\0\0\x16\0\0\0\x0d\0\0\0\x02"), 1); /* 6.5 */
    CHECK_EQ(OF(MM "\0\x05\0\0\0\x01\0\0\0\x16\0\0\0\x06\0\0\0\0"), 1);
    CHECK(exif.has_orientation);
    CHECK_EQ(OF(II "\x03\0\0\0\0\0\x06\0\0\0"), 1); /* no value */
    CHECK(!exif.has_orientation);
    CHECK_EQ(OF(II "\x63\0\x01\0\0\0\x06\0\0\0"), 1); /* an unknown type */
    CHECK_EQ(OF("II*\0\xff\xff\xff\xff"), 1);         /* a folder far away */
    CHECK_EQ(OF("II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0"), 1);
    CHECK_EQ(OF(""), 1);
}

/* An entry whose data lies outside ends the folder: what stands before it counts, what follows does not. */
TEST(a_folder_ends_where_its_data_does)
{
    CHECK_EQ(OF("II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\xff\0\0\0\x08\0\0\0"
                "\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"),
             1);
    CHECK_EQ(OF("II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
                "\x0f\x01\x02\0\xff\0\0\0\x08\0\0\0"),
             6);
}

TEST(blocks_that_are_no_tiff)
{
    CHECK_EQ(VERDICT("II*"), EXIF_NOT_TIFF);
    CHECK_EQ(VERDICT("IM*\0\x08\0\0\0"), EXIF_NOT_TIFF);
    CHECK_EQ(VERDICT("Exif\0\0Exif\0\0II*\0\x08\0\0\0"), EXIF_NOT_TIFF);
    CHECK_EQ(VERDICT("II*\0\x08\0\0"), EXIF_CUT);
    CHECK_EQ(VERDICT("II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"), EXIF_CUT);
}

TEST(resolutions_of_one_character)
{
#define UNIT "\x28\x01\x03\0\x01\0\0\0\x02\0\0\0"
#define TWO  "II*\0\x08\0\0\0\x02\0" UNIT "\x1a\x01"
    CHECK_EQ(OF(TWO "\x02\0\x02\0\0\0"
                    "7\0\0\0"),
             1);
    CHECK(exif.short_density);
    CHECK_EQ(OF(TWO "\x01\0\x01\0\0\0"
                    "7\0\0\0"),
             1);
    CHECK(exif.short_density);
    CHECK_EQ(OF(TWO "\x02\0\x03\0\0\0"
                    "72\0\0"),
             1);
    CHECK(!exif.short_density);
    CHECK_EQ(OF(TWO "\x03\0\x01\0\0\0"
                    "7\0\0\0"),
             1);
    CHECK(!exif.short_density);
}

TEST(an_mpo_index_that_is_cut)
{
#define COUNT(n)   "II*\0\x08\0\0\0\x02\0\x01\xb0\x04\0\x01\0\0\0" n "\0\0\0\x02\xb0\x07\0"
#define ENTRY      "\0\0\x03\0\x10\0\0\0\0\0\0\0\0\0\0\0"
#define IS_CUT(mp) exif_mpf_is_cut((const uint8_t *)(mp), sizeof mp - 1)
    CHECK(!IS_CUT(COUNT("\x02") "\x20\0\0\0\x22\0\0\0" ENTRY ENTRY));
    CHECK(IS_CUT(COUNT("\x03") "\x20\0\0\0\x22\0\0\0" ENTRY ENTRY));
    CHECK(!IS_CUT(COUNT("\x03") "\x20\0\0\0\x23\0\0\0" ENTRY ENTRY)); /* outside: a plain JPEG */
    CHECK(!IS_CUT("MM\0*"));
    CHECK(!IS_CUT(""));
}

TEST(orientation_in_xmp)
{
#define XMP(text) exif_xmp_orientation((const uint8_t *)(text), sizeof text - 1)
    CHECK_EQ(XMP("<x tiff:Orientation=\"6\"/>"), 6);
    CHECK_EQ(XMP("<tiff:Orientation>3</tiff:Orientation>"), 3);
    CHECK_EQ(XMP("tiff:Orientation='6' tiff:Orientation=\"x\" tiff:Orientation>8"), 8);
    CHECK_EQ(XMP("tiff:Orientation="), 0);
    CHECK_EQ(XMP("tiff:Orientation=\""), 0);
    CHECK_EQ(XMP(""), 0);
}

TEST_MAIN
