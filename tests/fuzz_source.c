/* Any bytes as whatever they look like; see fuzzsource.h. */
#include "tests/fuzzsource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_source(data, n, SOURCE_AUTO);
    return 0;
}
