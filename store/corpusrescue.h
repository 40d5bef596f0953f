/* What corpussalvage.c finds and corpusrescue.c adds to the new corpus. The two alone include this. */
#ifndef STORE_CORPUSRESCUE_H
#define STORE_CORPUSRESCUE_H

#include "store/corpusrecord.h"
#include "store/salvage_inside.h"

#define RESCUE_NO_NUMBER UINT32_MAX

enum { RESCUE_IMAGES, RESCUE_CAPTIONS };

struct rescue {
    const char *cache, *folder; /* folder: the damaged one */
    struct corpus *c;           /* the new one */
    struct found_list found[TABLE_N], loose; /* bodies; loose: values without a key */
    bool takes_old; /* records of tables that change may be taken from pages that nothing leads to */
    uint32_t *new_of[2]; /* images, captions: old number -> new, or RESCUE_NO_NUMBER */
    uint64_t n_old[2];   /* how many there were */
    uint16_t name_of[NAME_KINDS][CORPUS_NO_NAME + 1];
    struct salvage_result *result;
    struct sandbox *box;
    uint64_t n_told;
};

/* The first found record of meta, or NULL. */
const struct found *rescue_meta(const struct rescue *r, const char *key);
/* The count of records that meta keeps of a table ("table:pairs"), 0 when it is lost. */
uint64_t rescue_count(const struct rescue *r, const char *key);
/* Of a record of images or captions; false when the key is none. */
bool rescue_number(const struct found *f, uint32_t *number);
/* Adds all that was found, sorted, to r->c, in one batch after the other; tells and counts losses. */
int rescue_put_all(struct rescue *r, struct error *err) MUST_CHECK;

#endif
