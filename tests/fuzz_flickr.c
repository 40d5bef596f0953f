/* Any bytes as a Flickr token file; see fuzzsource.h. */
#include "tests/fuzzsource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_source(data, n, SOURCE_FLICKR);
    return 0;
}
