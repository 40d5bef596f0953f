/* Any bytes as the chunks of a PNG, whose checksums are made right first, so that what stands in them is
 * reached: the walk ends, and a refusal has its sentence. */
#include <stdlib.h>
#include <string.h>

#include "ingest/png.h"
#include "ingest/pngchunk.h"
#include "ingest/zstream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void mend(uint8_t *bytes, size_t n)
{
    for (uint64_t at = 8; at + 12 <= n;) {
        uint64_t length = (uint64_t)bytes[at] << 24 | (uint64_t)bytes[at + 1] << 16 |
                          (uint64_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (at + 12 + length > n) return;
        uint32_t crc = zstream_crc(0, bytes + at + 4, length + 4);
        for (int i = 0; i < 4; i++) bytes[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + length;
    }
}

static void walk(const uint8_t *bytes, size_t n)
{
    struct pngchunk c;
    struct error err = {0};
    pngchunk_open(&c, bytes, n);
    int rc = pngchunk_head(&c, &err);
    size_t n_data = 0, n_block = 0;
    const uint8_t *block;
    while (rc >= 0 && (rc = pngchunk_data(&c, &block, &n_block)) > 0)
        if ((n_data += n_block) > n || block < bytes || block + n_block > bytes + n) abort();
    rc = pngchunk_tail(&c, &err);
    if (rc >= 0) rc = pngchunk_orientation(&c, false, &err);
    if (rc > 8 || (rc == ERR_DATA && !c.why)) abort();
    pngchunk_close(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct picture_limits limits = picture_limits_default();
    struct picture p = {.orientation = 1};
    struct error err = {0};
    limits.max_pixels = 1 << 18; /* quick */
    uint8_t *bytes = malloc(n + 1);
    if (!bytes) return 0;
    if (n) memcpy(bytes, data, n);
    mend(bytes, n);
    walk(bytes, n);
    int rc = png_decode(bytes, n, &limits, &p, &err);
    if (rc == ERR_DATA && (!p.reason || !err.text[0])) abort();
    if (rc == 0 && (p.orientation < 1 || p.orientation > 8 || !p.rgb)) abort();
    picture_release(&p);
    free(bytes);
    return 0;
}
