/* Any bytes as a table, with commas and with TABs; see fuzzsource.h. */
#include "tests/fuzzsource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_source(data, n, SOURCE_CSV);
    fuzz_source(data, n, SOURCE_TSV);
    return 0;
}
