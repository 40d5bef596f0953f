/* Fuzz target: any bytes as a vocab.txt, and their end as a text. */
#include "featurize/wordpiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct wordpiece *w;
    struct words_rule rule = {true, true, true};
    int32_t ids[16];
    int unknown;
    if (wordpiece_new((const char *)bytes, n, "fuzz", &rule, &w, NULL) < 0) return 0;
    size_t n_text = n < 300 ? n : 300;
    int64_t rc = wordpiece_encode(w, (const char *)bytes + n - n_text, n_text, ids, 16, &unknown,
                                  NULL);
    for (int64_t i = 0; i < rc && i < 16; i++)
        if (ids[i] < 0 || ids[i] >= lexicon_n_ids(w->lexicon)) __builtin_trap();
    wordpiece_free(w);
    return 0;
}
