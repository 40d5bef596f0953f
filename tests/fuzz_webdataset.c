/* Any bytes as a tar of samples, packed or not; see fuzzsource.h. */
#include "tests/fuzzsource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_source(data, n, SOURCE_WEBDATASET);
    return 0;
}
