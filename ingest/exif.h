/* What a TIFF block says of a picture: its orientation out of EXIF, the pictures of an MPO's index.
 *
 *     struct exif e;
 *     if (exif_read(block, n, &e) != EXIF_GOOD) ...      // Pillow would raise an error here
 *     turn(e.orientation);                               // 1..8
 *
 * The blocks are found by the decoders (APP1 of a JPEG, eXIf and texts of a PNG, EXIF of a WebP). They are
 * judged as Pillow 9.4 judges them, good or bad, since what its exif_transpose() refuses is refused here.
 * Reads hostile bytes: every offset is checked, nothing is allocated. Pure; any thread.
 * Format: TIFF 6.0 section 2; CIPA DC-007 for the MPO index.
 */
#ifndef INGEST_EXIF_H
#define INGEST_EXIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exif_verdict {
    EXIF_GOOD,     /* read, as far as it goes: folders that are cut or far away count as empty */
    EXIF_NOT_TIFF, /* neither II nor MM stands in front */
    EXIF_CUT,      /* ends within its first eight bytes, or is a BigTIFF */
};

struct exif {
    bool has_orientation;
    uint8_t orientation; /* 1..8; 1 when absent or of no meaning */
    bool short_density;  /* a resolution of one character, over which Pillow's JPEG reader stumbles */
};

/* With or without "Exif\0\0" in front; no bytes at all are good. */
enum exif_verdict exif_read(const uint8_t *block, size_t n, struct exif *e);

/* The body of an MPF segment after its name: whether its list of pictures is shorter than it says,
 * where Pillow gives the whole file up. Other faults make it a plain JPEG. */
bool exif_mpf_is_cut(const uint8_t *block, size_t n);

/* The digit of the first tiff:Orientation in XMP text; 0 when there is none. */
uint8_t exif_xmp_orientation(const uint8_t *text, size_t n);

#endif
