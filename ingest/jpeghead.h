/* The markers of a JPEG up to its first scan, read as Pillow 9.4's Python code reads them.
 *
 *     struct jpeghead head;
 *     const char *why = jpeghead_read(bytes, n, &head);   // NULL: go on with libjpeg
 *
 * Pillow opens a file with a marker reader of its own and decodes it with libjpeg: a file must please
 * both. This one is stricter about odd segments (a JFIF, Adobe or table segment that is cut, a marker
 * that has no name) and laxer about others, which libjpeg then refuses. It also finds what libjpeg is
 * not asked for: EXIF, the ICC profile, the index of an MPO.
 * Pure; any thread. Format: ITU-T T.81 annex B, JFIF 1.02, EXIF 2.3, CIPA DC-007.
 */
#ifndef INGEST_JPEGHEAD_H
#define INGEST_JPEGHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jpeghead {
    uint32_t width_px, height_px; /* of the last frame header */
    uint8_t n_planes;             /* 1, 3 or 4 */
    uint8_t orientation;          /* EXIF, 1..8 */
    bool has_icc;
    bool is_cut; /* set on failure: the bytes end too early, and are not otherwise wrong */
};

/* NULL, or a static sentence part that says what Pillow refuses. */
const char *jpeghead_read(const uint8_t *bytes, size_t n, struct jpeghead *head);

/* The next ICC segment at or after *at (0 at first): its body, "ICC_PROFILE\0" and all, for whoever
 * writes it into another file. False when there is no more. For files that jpeghead_read accepted. */
bool jpeghead_next_icc(const uint8_t *bytes, size_t n, size_t *at, const uint8_t **body,
                       size_t *n_body);

#endif
