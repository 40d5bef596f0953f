/* JPEG to RGB as stored, pixel for pixel what Pillow 9.4 gives, called by picture.c alone; and RGB to JPEG,
 * called by reduce.c. Library: libjpeg-turbo. Pure; any thread.
 */
#ifndef INGEST_JPEG_H
#define INGEST_JPEG_H

#include "ingest/picture.h"

/* target_side_px: 0, or see picture_decode_towards. Fills p->rgb, width_px and height_px, not turned. ERR_DATA with p->reason when the file is bad or
 * beyond the limits, ERR_NOMEM when memory is out; p->rgb may be set in both cases and is released
 * by the caller. */
int jpeg_decode(const uint8_t *bytes, size_t n, const struct picture_limits *limits,
                uint32_t target_side_px, struct picture *p, struct error *err) MUST_CHECK;

struct jpeg_source {
    const uint8_t *rgb; // (height_px, width_px, 3)
    uint32_t width_px, height_px;
    int quality;           /* 1..100 of libjpeg's scale; chroma is not subsampled */
    uint8_t orientation;   /* written as EXIF unless 1 */
    const uint8_t *icc_of; /* a JPEG whose ICC profile is written too; or NULL */
    size_t n_icc_of;
};

/* out: scratch of the caller, grown as needed, freed by him with memory_free; the file is its first *n
 * bytes. ERR_NOMEM; ERR_DATA for sides that JPEG has not. */
int jpeg_encode(const struct jpeg_source *s, struct picture_buffer *out, size_t *n,
                struct error *err) MUST_CHECK;

#endif
