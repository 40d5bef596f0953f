/* The key of a record number, for those that walk feature sets beside the corpus.
 */
#ifndef CLI_KEYOF_H
#define CLI_KEYOF_H

#include <stdbool.h>

#include "store/corpus.h"

struct keyof {
    struct corpus *corpus; /* borrowed */
    bool is_text;
};

/* featureset_verify's and featureset_dump's key_of; context begins with a struct keyof. */
bool keyof_number(void *context, uint32_t number, uint8_t key[DIGEST_BYTES]);

#endif
