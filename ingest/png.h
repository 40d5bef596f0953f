/* PNG to RGB as stored, pixel for pixel what Pillow 9.4 gives; called by picture.c alone. The chunks: pngchunk.h.
 * Pure; any thread.
 */
#ifndef INGEST_PNG_H
#define INGEST_PNG_H

#include "ingest/picture.h"

/* Fills p->rgb, width_px and height_px, not turned. ERR_DATA with p->reason when the file is bad or
 * beyond the limits, ERR_NOMEM when memory is out; p->rgb may be set in both cases and is released
 * by the caller. */
int png_decode(const uint8_t *bytes, size_t n, const struct picture_limits *limits,
               struct picture *p, struct error *err) MUST_CHECK;

#endif
