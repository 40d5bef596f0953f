/* Fuzz target: any bytes as a tokenizer's block (a line of JSON and vocab.txt, or vocab.json and
 * merges.txt), and their end as a text. */
#include "featurize/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tokenizer *t;
    int32_t ids[16];
    if (n == 0 || bytes[0] != '{' || tokenizer_new(bytes, n, "fuzz", &t, NULL) < 0) return 0;
    size_t n_text = n < 300 ? n : 300;
    int rc = tokenizer_ids(t, (const char *)bytes + n - n_text, n_text, 16, ids, NULL, NULL, NULL);
    for (int i = 0; i < rc; i++)
        if (ids[i] < 0 || ids[i] >= tokenizer_vocab(t)) __builtin_trap();
    tokenizer_free(t);
    return 0;
}
