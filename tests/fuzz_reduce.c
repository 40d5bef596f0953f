/* Any bytes made smaller: the file is refused exactly when picture_decode refuses it, and what is made is a
 * whole JPEG of the right sides that stands as the original does. */
#include <stdlib.h>

#include "ingest/reduce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_small(const struct reduced *out, uint32_t max_side)
{
    struct picture_limits limits = picture_limits_default();
    struct picture p = {0};
    struct error err = {0};
    if (picture_decode(out->bytes, out->n, &limits, true, &p, &err) < 0) abort();
    if (p.width_px != out->new_width_px || p.height_px != out->new_height_px) abort();
    if (p.orientation != out->orientation || p.n_warnings) abort();
    if (p.width_px != max_side && p.height_px != max_side) abort();
    picture_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct picture_limits limits = picture_limits_default();
    struct error err = {0};
    struct picture p = {0};
    struct reducer *r = reducer_new(&err);
    struct reduced out;
    uint32_t max_side = n ? 1 + data[n - 1] % 32 : 1;
    limits.max_pixels = 1 << 18; /* quick */
    if (!r) abort();
    int full = picture_decode(data, n, &limits, true, &p, &err);
    int rc = reducer_run(r, data, n, &limits, max_side, &out, &err);
    if (rc != full) abort();
    if (rc == 0 && (out.width_px != p.width_px || out.height_px != p.height_px)) abort();
    if (rc == 0 && (out.n_warnings != p.n_warnings || out.has_icc != p.has_icc)) abort();
    if (rc < 0 && (out.bytes || out.reason != p.reason)) abort();
    if (rc == 0 && out.bytes) check_small(&out, max_side);
    reduced_release(&out);
    reducer_free(r);
    picture_release(&p);
    return 0;
}
