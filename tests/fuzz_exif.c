/* Any bytes as a TIFF block, an MPO index and XMP text: every answer is in range. */
#include <stdlib.h>

#include "ingest/exif.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct exif e;
    enum exif_verdict verdict = exif_read(data, n, &e);
    if (e.orientation < 1 || e.orientation > 8) abort();
    if (!e.has_orientation && e.orientation != 1) abort();
    if (verdict != EXIF_GOOD && e.has_orientation) abort();
    if (exif_xmp_orientation(data, n) > 9) abort();
    return exif_mpf_is_cut(data, n) && n == 0;
}
