/* The chunks of a PNG, judged as Pillow 9.4's Python code judges them.
 *
 *     struct pngchunk c;
 *     pngchunk_open(&c, bytes, n);
 *     pngchunk_head(&c, err);                         // IHDR ... up to the first IDAT
 *     while (pngchunk_data(&c, &block, &n_block) > 0) // blocks of deflated pixels
 *         ...                                         // until the pixels are complete
 *     pngchunk_tail(&c, err);                         // what stands behind them
 *     pngchunk_close(&c);
 *
 * Every one of them may refuse: c.why is then a static sentence part, c.is_cut tells a file that ends too
 * early. Where this differs from the standard it is on purpose: checksums count before the pixels and
 * nowhere else, a text that inflates to more than 1 MiB is an error, a chunk whose name no one knows is
 * skipped, whatever its case. Nothing is inflated beyond a bound on the whole file.
 * Threading: one user. Format: PNG (third edition) with its APNG chunks.
 */
#ifndef INGEST_PNGCHUNK_H
#define INGEST_PNGCHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ingest/pngtext.h"
#include "store/error.h"

/* Plain data, read-only for the caller after pngchunk_head. */
struct pngchunk {
    uint32_t width_px, height_px;
    uint8_t depth, colour; /* of IHDR; a pair that the standard knows */
    bool interlaced;
    const uint8_t *palette; /* (n_palette, 3); NULL when there is none */
    size_t n_palette;
    uint32_t box[4]; /* left, top, right, bottom of the pixels: all, but for animations */
    bool has_icc;
    bool is_text_transparency; /* a text poses as tRNS: fatal for grey and palettes */
    const char *why;           /* the file is refused: "broken PNG: %s"; static */
    bool is_cut;

    /* inside */
    const uint8_t *bytes;
    size_t n, at;
    uint64_t n_left;   /* of the pixel chunk that at stands in; may go beyond the file */
    bool has_type, has_frames, is_animated, has_box, is_text_box, has_sequence;
    uint32_t n_frames, sequence;
    struct pngtext texts;
};

void pngchunk_open(struct pngchunk *c, const uint8_t *bytes, size_t n);
void pngchunk_close(struct pngchunk *c);

/* 0; ERR_DATA with c->why set and err untouched; ERR_NOMEM. */
int pngchunk_head(struct pngchunk *c, struct error *err) MUST_CHECK;
int pngchunk_tail(struct pngchunk *c, struct error *err) MUST_CHECK;

/* 1 and the next block of at most 64 KiB; ERR_DATA when there is none. *block: borrowed from bytes. */
int pngchunk_data(struct pngchunk *c, const uint8_t **block, size_t *n_block) MUST_CHECK;

/* EXIF or XMP orientation, 1..8. before_pixels: when EXIF is known by then, nothing behind it counts.
 * Call it after pngchunk_head, and, if that gave 0, after pngchunk_tail. ERR_DATA as above, ERR_NOMEM. */
int pngchunk_orientation(struct pngchunk *c, bool before_pixels, struct error *err) MUST_CHECK;

#endif
