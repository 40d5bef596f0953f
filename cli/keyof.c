/* Record numbers to keys; see keyof.h. */
#include "cli/keyof.h"

#include <string.h>

bool keyof_number(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    const struct keyof *k = context;
    if (k->is_text) {
        const char *text;
        size_t n;
        return number < corpus_n_captions(k->corpus) &&
               corpus_caption_text(k->corpus, number, &text, &n, key, NULL) == 0;
    }
    struct corpus_image image;
    if (number >= corpus_n_images(k->corpus) || corpus_get_image(k->corpus, number, &image, NULL) < 0)
        return false;
    memcpy(key, image.key, DIGEST_BYTES);
    return true;
}
