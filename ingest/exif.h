/* EXIF orientation out of a JPEG's APP1, a PNG's eXIf or a WebP's EXIF chunk.
 *
 * Reads hostile bytes: every offset is checked, nothing is allocated, and what cannot be understood
 * is "upright" (1), as in Pillow. Orientations that stand only in XMP are not looked for. Pure; any
 * thread. Formats: TIFF 6.0 section 2, PNG eXIf, RIFF.
 */
#ifndef INGEST_EXIF_H
#define INGEST_EXIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/corpus.h"

/* 1..8; 1 when absent, broken or out of range. bytes: the whole file. */
uint8_t exif_orientation(const uint8_t *bytes, size_t n, enum corpus_image_format format);

/* Whether the file carries an ICC profile, good or bad. */
bool exif_has_icc(const uint8_t *bytes, size_t n, enum corpus_image_format format);

#endif
