/* Any bytes as a JPEG: the walk of the markers ends, what it finds lies inside, and decoding gives pixels of the
 * sides that it found or a reason. */
#include <stdlib.h>

#include "ingest/jpeg.h"
#include "ingest/jpeghead.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct picture_limits limits = picture_limits_default();
    struct picture p = {.orientation = 1};
    struct error err = {0};
    struct jpeghead head;
    if (n < 3) return 0;
    limits.max_pixels = 1 << 18; /* quick */
    const char *why = jpeghead_read(data, n, &head);
    if (!why && (head.orientation < 1 || head.orientation > 8)) abort();
    size_t at = 0, n_body;
    const uint8_t *body;
    while (jpeghead_next_icc(data, n, &at, &body, &n_body))
        if (body < data || body + n_body > data + n || n_body < 12 || at > n) abort();
    int rc = jpeg_decode(data, n, &limits, n % 2 ? 16 : 0, &p, &err);
    if (rc == 0 && (why || !p.rgb || p.stored_width_px != head.width_px)) abort();
    if (rc == ERR_DATA && (!p.reason || !err.text[0])) abort();
    picture_release(&p);
    return 0;
}
