/* What transfer_export.c and transfer_clip.c share. Nobody else includes this. */
#ifndef STORE_TRANSFER_INSIDE_H
#define STORE_TRANSFER_INSIDE_H

#include "store/transfer.h"

struct transfer_row {
    uint8_t key[DIGEST_BYTES];
    uint32_t number;
};

/* The records of the corpus that have a vector in the view, sorted by key; at least one, else
 * ERR_NOT_FOUND. *rows owned: memory_free, also after an error. */
int transfer_rows(struct corpus *c, struct featureset *fs, uint32_t view, struct transfer_row **rows,
                  size_t *n, struct error *err) MUST_CHECK;
/* The identity that came with an imported set, or what the set knows of itself. Owned: json_free. */
struct json *transfer_identity(const struct featureset_spec *spec);

#endif
