/* Any bytes as one of Chinese-CLIP's files; see fuzzsource.h. */
#include "tests/fuzzsource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_source(data, n, SOURCE_CNCLIP);
    return 0;
}
