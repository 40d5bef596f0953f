/* Any bytes as a picture: no crash, no read outside, pixels or a reason, and never both. */
#include <stdlib.h>

#include "ingest/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct picture_limits limits = picture_limits_default();
    struct picture p = {0};
    struct error err = {0};
    limits.max_pixels = 1 << 20; /* quick */
    int rc = picture_decode(data, n, &limits, true, &p, &err);
    if (rc == 0 && (!p.rgb || p.reason || (uint64_t)p.width_px * p.height_px > limits.max_pixels))
        abort();
    if (rc < 0 && (p.rgb || (rc == ERR_DATA && (!p.reason || !err.text[0])))) abort();
    unsigned sum = 0; /* every pixel may be read */
    for (size_t i = 0; p.rgb && i < (size_t)p.width_px * p.height_px * 3; i++) sum += p.rgb[i];
    picture_release(&p);
    return sum == 1 && n == SIZE_MAX;
}
