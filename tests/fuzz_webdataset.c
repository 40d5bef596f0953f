/* Any bytes as a tar of samples, packed or not; then the same bytes with the checksums of their headers
 * mended, so that what is inside is reached. See fuzzsource.h. */
#include "tests/fuzzsource.h"

#define UNIT 512

static void mend(uint8_t *tar, size_t n)
{
    for (size_t at = 0; n - at >= UNIT;) {
        uint8_t *h = tar + at;
        unsigned sum = 0;
        char size[13] = "";
        memcpy(size, h + 124, 12);
        memset(h + 148, ' ', 8);
        for (size_t i = 0; i < UNIT; i++) sum += h[i];
        if (sum > 8 * ' ') snprintf((char *)h + 148, 8, "%06o", sum & 0777777);
        if (sum == 8 * ' ') memset(h + 148, 0, 8); /* zeros stay zeros */
        unsigned long content = strtoul(size, NULL, 8), left = n - at - UNIT;
        if (content > left) return;
        at += UNIT + (content + UNIT - 1) / UNIT * UNIT;
        if (at > n) return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *tar = malloc(n ? n : 1);
    if (!tar) abort();
    memcpy(tar, data, n);
    fuzz_source(data, n, SOURCE_WEBDATASET);
    mend(tar, n);
    fuzz_source(tar, n, SOURCE_WEBDATASET);
    free(tar);
    return 0;
}
