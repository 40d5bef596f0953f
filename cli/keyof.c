/* Record numbers to keys; see keyof.h. */
#include "cli/keyof.h"

#include "store/transfer.h"

bool keyof_number(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    const struct keyof *k = context;
    uint32_t n = k->is_text ? corpus_n_captions(k->corpus) : corpus_n_images(k->corpus);
    return number < n &&
           transfer_key(k->corpus, k->is_text ? TOWER_TEXT : TOWER_IMAGE, number, key, NULL) == 0;
}
