/* Any bytes as a WebP whose size is made right first: pixels or a reason. */
#include <stdlib.h>
#include <string.h>

#include "ingest/webp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct picture_limits limits = picture_limits_default();
    struct picture p = {.orientation = 1};
    struct error err = {0};
    limits.max_pixels = 1 << 18; /* quick */
    uint8_t *bytes = malloc(n + 1);
    if (!bytes) return 0;
    if (n) memcpy(bytes, data, n);
    for (unsigned i = 0; n >= 8 && i < 4; i++) bytes[4 + i] = (uint8_t)((n - 8) >> (8 * i));
    int rc = webp_decode(bytes, n, &limits, &p, &err);
    if (rc == 0 && (!p.rgb || p.orientation < 1 || p.orientation > 8)) abort();
    if (rc == ERR_DATA && (!p.reason || !err.text[0])) abort();
    picture_release(&p);
    free(bytes);
    return 0;
}
