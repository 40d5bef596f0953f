/* Orientation out of the three containers, and out of bytes that lie. */
#include "ingest/exif.h"

#include "tests/check.h"

/* A JPEG head with one APP1 segment. */
static uint8_t of_jpeg(const void *tiff, size_t n)
{
    uint8_t b[400] = {0xff,
                      0xd8,
                      0xff,
                      0xe0,
                      0,
                      4,
                      'x',
                      'x',
                      0xff,
                      0xe1,
                      (uint8_t)((n + 8) >> 8),
                      (uint8_t)(n + 8),
                      'E',
                      'x',
                      'i',
                      'f'};
    memcpy(b + 18, tiff, n);
    return exif_orientation(b, 18 + n, IMAGE_JPEG);
}

#define OF(tiff) of_jpeg(tiff, sizeof tiff - 1)

TEST(byte_orders_and_types)
{
    CHECK_EQ(OF("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"), 6);
    CHECK_EQ(OF("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"), 8);
    CHECK_EQ(OF("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x03"), 3);
    CHECK_EQ(OF("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x01\0\0\0\x01\x02\0\0\0"), 2);
}

TEST(what_cannot_be_understood_is_upright)
{
    CHECK_EQ(OF("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x02\0\0\0\x06\0\x06\0"), 1); /* two values */
    CHECK_EQ(OF("II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0\x06\0\0\0"), 1);   /* text */
    CHECK_EQ(OF("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0"), 1);   /* 9 */
    CHECK_EQ(OF("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x00\0\0\0"), 1);   /* 0 */
    CHECK_EQ(OF("IM*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"), 1);
    CHECK_EQ(OF("II*\0\xff\xff\xff\xff"), 1);                 /* a folder far away */
    CHECK_EQ(OF("II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0"), 1); /* cut in its entry */
    CHECK_EQ(OF("II*\0"), 1);
    CHECK_EQ(OF(""), 1);
}

TEST(containers_that_lie)
{
    static const uint8_t long_segment[] = {0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff,
                                           'E',  'x',  'i',  'f',  0,    0};
    static const uint8_t short_segment[] = {0xff, 0xd8, 0xff, 0xe1, 0, 1, 'E', 'x', 'i', 'f', 0, 0};
    static const uint8_t chunk[] = {0x89, 'P',  'N',  'G', 13,  10,  26,  10,  0xff,
                                    0xff, 0xff, 0xff, 'e', 'X', 'I', 'f', 'I', 'I'};
    static const uint8_t riff[] = {'R', 'I', 'F', 'F', 0,   0,    0,    0,    'W',  'E', 'B',
                                   'P', 'E', 'X', 'I', 'F', 0xff, 0xff, 0xff, 0xff, 'I'};
    CHECK_EQ(exif_orientation(long_segment, sizeof long_segment, IMAGE_JPEG), 1);
    CHECK_EQ(exif_orientation(short_segment, sizeof short_segment, IMAGE_JPEG), 1);
    CHECK_EQ(exif_orientation(chunk, sizeof chunk, IMAGE_PNG), 1);
    CHECK_EQ(exif_orientation(riff, sizeof riff, IMAGE_WEBP), 1);
    CHECK_EQ(exif_orientation((const uint8_t *)"", 0, IMAGE_JPEG), 1);
}

TEST_MAIN
