/* Untrusted pictures to upright RGB.
 *
 *     struct picture p = {0};                                  // once a thread
 *     picture_decode(bytes, n, &limits, true, &p, &err);       // p.rgb (h, w, 3); again and again
 *     picture_release(&p);
 *
 * Recognised by content, never by name: JPEG, PNG, WebP; another known format is refused by name.
 * A file is accepted or refused as Pillow 9.4 does with Image.open, ImageOps.exif_transpose and
 * convert("RGB"), with equal pixels: cut files are refused, damage that libjpeg forgives is forgiven
 * and counted, alpha is dropped and not blended, CMYK/YCCK is taken as inverted (Adobe), profiles are
 * not applied, the first frame of an animation or MPO counts. It differs on purpose in this:
 * - 16-bit grey keeps its high byte (Pillow clips it to 255);
 * - the limits below are checked before anything is decoded or allocated; scans times pixels of a
 *   JPEG, and texts and profiles of a PNG beyond 256 MiB in all, are limited as well;
 * - a picture that is to be turned is read even if another tag of its EXIF has a type that it must not
 *   have (a resolution as text, say): Pillow fails to write the EXIF block anew;
 * - frame headers that contradict each other (two IHDR, two SOF) are refused where Pillow mixes them.
 *
 * A struct picture keeps its buffers from one picture to the next, so that a loop over files neither
 * allocates nor touches fresh memory once they have grown to the largest (128 MiB are kept at most).
 * Threading: any thread, one struct picture each. Errors: ERR_DATA with err.text, and a stable reason word
 * in picture.reason.
 */
#ifndef INGEST_PICTURE_H
#define INGEST_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/corpus.h"
#include "store/error.h"

struct picture_limits {
    uint64_t max_pixels; /* width * height */
    uint32_t max_side_px;
    uint64_t max_bytes;  /* of the file */
};
struct picture_limits picture_limits_default(void); /* 178,956,970 pixels (Pillow's), 65,500, 256 MiB */

struct picture_buffer {
    uint8_t *bytes; /* owned */
    size_t capacity;
};

/* Zeroed once by the caller. After a failure rgb is NULL and both sides are 0; what names the file
 * (format, has_icc, ...) is only as far known as it was read. */
struct picture {
    uint8_t *rgb; // (height_px, width_px, 3) upright; borrowed: valid until the next decode or release
    uint32_t width_px, height_px;
    uint32_t stored_width_px, stored_height_px; /* as the file says, not turned and not shrunk */
    uint8_t format;      /* enum corpus_image_format */
    uint8_t orientation; /* EXIF, 1..8; already applied unless told otherwise */
    bool has_icc;        /* the file carries an ICC profile; it is not applied */
    uint32_t n_warnings; /* what the decoder saw and went on from: corrupt data, strange markers */
    /* set on failure: "empty-file", "not-a-picture", "unsupported-format", "too-large", "truncated",
     * "broken-jpeg", "broken-png", "broken-webp"; static */
    const char *reason;
    struct picture_buffer pixels, spare; /* rgb stands in the first; they change places in turning */
};

/* May be called on the same p again: its buffers are used again, all else is forgotten.
 * apply_orientation false: as stored (Hugging Face processors without a loader). */
int picture_decode(const void *bytes, size_t n, const struct picture_limits *limits,
                   bool apply_orientation, struct picture *p, struct error *err) MUST_CHECK;
/* For pictures that are judged whole and then made smaller, or only looked at: not turned, and a JPEG may
 * come out shrunk to 1/2, 1/4 or 1/8, as long as its longer side keeps twice the target; where the
 * picture is no longer than the target, twice PICTURE_LOOK_PX. All of the file is read and judged all
 * the same: what is left out, transforms and upsampling, cannot fail. */
#define PICTURE_LOOK_PX 64
int picture_decode_towards(const void *bytes, size_t n, const struct picture_limits *limits,
                           uint32_t target_side_px, struct picture *p,
                           struct error *err) MUST_CHECK;
/* Applies an orientation that decoding left alone; p->orientation goes on to say what the file says. */
int picture_turn(struct picture *p, struct error *err) MUST_CHECK;
void picture_release(struct picture *p);
/* For the decoders: checks the size that the file claims against the limits, and keeps it. Comes before
 * anything is allocated. */
int picture_check(struct picture *p, uint64_t width_px, uint64_t height_px,
                  const struct picture_limits *limits, struct error *err) MUST_CHECK;
/* For the decoders: makes p->rgb, whose content is anything. */
int picture_allocate(struct picture *p, uint32_t width_px, uint32_t height_px,
                     struct error *err) MUST_CHECK;
/* For the decoders: sets p->reason and err; returns ERR_DATA. */
int picture_refuse(struct picture *p, const char *reason, struct error *err, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* name: "JPEG", "GIF", ...; static; NULL when unknown */
enum corpus_image_format picture_sniff(const void *bytes, size_t n, const char **name);

#endif
