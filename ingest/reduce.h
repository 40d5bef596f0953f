/* Pictures looked at whole, and made smaller, before they are stored.
 *
 *     struct reducer *r = reducer_new(&err);                       // once a thread
 *     struct reduced out;
 *     reducer_run(r, bytes, n, &limits, 1024, &out, &err);
 *     store(out.bytes ? out.bytes : bytes, ...);                   // NULL: small enough as it is
 *     reduced_release(&out);
 *     reducer_free(r);
 *
 * A picture whose longer side exceeds max_side becomes a JPEG whose longer side is max_side; the other
 * is scaled alike, rounded to the nearest pixel (halves up), and 1 at least. Turning is not applied
 * but carried on as EXIF, so that the small file is shown and decoded as the large one; nothing else of
 * EXIF is kept. The ICC profile of a JPEG in three planes is carried on; alpha is dropped.
 *
 * The pixels are resampled with the antialiased bicubic filter that the towers' own preprocessing
 * uses, and stored with quality 95 and full chroma: what a tower sees changes least that way. A JPEG is
 * first shrunk to 1/2, 1/4 or 1/8 while it is decoded, as far as it stays twice the target.
 *
 * A file is accepted or refused exactly as picture_decode does, large or small. The result depends on
 * the bytes and max_side alone. Threading: one reducer a thread.
 */
#ifndef INGEST_REDUCE_H
#define INGEST_REDUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ingest/likeness.h"
#include "ingest/picture.h"

struct reduced {
    /* the picture as given */
    uint32_t width_px, height_px; /* upright */
    uint8_t format, orientation;
    bool has_icc;
    uint32_t n_warnings;
    const char *reason; /* set on ERR_DATA, see picture.h; static */
    struct likeness likeness;     /* of the pixels as they were decoded, perhaps shrunk; upright */
    /* the picture as made; NULL and the sides above when it was small enough */
    uint8_t *bytes; /* owned: reduced_release */
    size_t n;
    uint32_t new_width_px, new_height_px; /* upright */
};

struct reducer;
struct reducer *reducer_new(struct error *err) MUST_CHECK;
void reducer_free(struct reducer *r);

/* *out need not be initialised. max_side_px: 0 means no limit. After an error out->bytes is NULL.
 * ERR_DATA with out->reason; ERR_NOMEM. */
int reducer_run(struct reducer *r, const void *bytes, size_t n, const struct picture_limits *limits,
                uint32_t max_side_px, struct reduced *out, struct error *err) MUST_CHECK;
void reduced_release(struct reduced *out);

#endif
