/* EXIF orientation; see exif.h. Each container is walked here and not by its decoder library, so that one
 * small bounds-checked reader serves all three and the decoders need not keep metadata. */
#include "ingest/exif.h"

#include <string.h>

#define TAG_ORIENTATION 0x0112
enum { TIFF_BYTE = 1, TIFF_SHORT = 3, TIFF_LONG = 4 };

struct span {
    const uint8_t *at;
    size_t n;
};

static uint32_t number(const uint8_t *p, int n_bytes, bool big_endian)
{
    uint32_t v = 0;
    for (int i = 0; i < n_bytes; i++) v = v << 8 | p[big_endian ? i : n_bytes - 1 - i];
    return v;
}

/* The value of one 12-byte entry of the orientation tag; 0 when it is no single integer. */
static uint32_t entry_value(const uint8_t *entry, bool big_endian)
{
    if (number(entry + 4, 4, big_endian) != 1) return 0;
    switch (number(entry + 2, 2, big_endian)) {
    case TIFF_BYTE: return entry[8];
    case TIFF_SHORT: return number(entry + 8, 2, big_endian);
    case TIFF_LONG: return number(entry + 8, 4, big_endian);
    default: return 0;
    }
}

/* The first folder of a TIFF block; of a repeated tag the last counts, as in Pillow. */
static uint8_t orientation_of_tiff(struct span t)
{
    if (t.n > 6 && !memcmp(t.at, "Exif\0", 5)) t = (struct span){t.at + 6, t.n - 6};
    if (t.n < 8) return 1;
    bool big_endian = t.at[0] == 'M';
    if (memcmp(t.at, "II*\0", 4) && memcmp(t.at, "MM\0*", 4)) return 1;
    uint64_t at = number(t.at + 4, 4, big_endian);
    if (at + 2 > t.n) return 1;
    uint32_t n_entries = number(t.at + at, 2, big_endian), value = 1;
    at += 2;
    for (uint32_t i = 0; i < n_entries && at + 12 <= t.n; i++, at += 12)
        if (number(t.at + at, 2, big_endian) == TAG_ORIENTATION)
            value = entry_value(t.at + at, big_endian);
    return value >= 1 && value <= 8 ? (uint8_t)value : 1;
}

/* Segments of a JPEG before its first scan: the first of that marker that begins with so many bytes
 * of name; gives its whole body. */
static struct span find_jpeg(const uint8_t *bytes, size_t n, uint8_t wanted, const char *name,
                             size_t n_name)
{
    size_t at = 2;
    while (at + 4 <= n) {
        if (bytes[at] != 0xff) {
            at++; /* rubbish between segments: decoders skip it as well */
            continue;
        }
        uint8_t marker = bytes[at + 1];
        if (marker == 0xff || marker == 0 || (marker >= 0xd0 && marker <= 0xd8) || marker == 1) {
            at += marker == 0xff ? 1 : 2;
            continue;
        }
        if (marker == 0xda || marker == 0xd9) break;
        size_t length = number(bytes + at + 2, 2, true);
        if (length < 2 || at + 2 + length > n) break;
        struct span body = {bytes + at + 4, length - 2};
        if (marker == wanted && body.n > n_name && !memcmp(body.at, name, n_name)) return body;
        at += 2 + length;
    }
    return (struct span){0};
}

/* Chunks of a PNG or RIFF file named `name`; the last one in a PNG, the first in a WebP. */
static struct span find_chunk(const uint8_t *bytes, size_t n, const char *name, bool png)
{
    struct span found = {0};
    uint64_t at = png ? 8 : 12;
    while (at + 8 <= n) {
        const uint8_t *tag = bytes + at + (png ? 4 : 0);
        uint64_t length = number(bytes + at + (png ? 0 : 4), 4, png);
        if (at + 8 + length > n) break;
        if (!memcmp(tag, name, 4)) {
            found = (struct span){bytes + at + 8, length};
            if (!png) break;
        }
        at += 8 + length + (png ? 4 : length % 2);
    }
    return found;
}

bool exif_has_icc(const uint8_t *bytes, size_t n, enum corpus_image_format format)
{
    if (format == IMAGE_JPEG) return find_jpeg(bytes, n, 0xe2, "ICC_PROFILE", 12).n > 0;
    if (format == IMAGE_PNG) return find_chunk(bytes, n, "iCCP", true).n > 0;
    return format == IMAGE_WEBP && find_chunk(bytes, n, "ICCP", false).n > 0;
}

uint8_t exif_orientation(const uint8_t *bytes, size_t n, enum corpus_image_format format)
{
    struct span tiff = {0};
    if (format == IMAGE_JPEG) tiff = find_jpeg(bytes, n, 0xe1, "Exif", 5);
    if (format == IMAGE_PNG) tiff = find_chunk(bytes, n, "eXIf", true);
    if (format == IMAGE_WEBP) tiff = find_chunk(bytes, n, "EXIF", false);
    return tiff.n ? orientation_of_tiff(tiff) : 1;
}
