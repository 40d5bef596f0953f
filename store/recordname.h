/* What a person calls a record of a corpus, and a feature block: for findings.
 *
 *     char text[RECORDNAME_TEXT];
 *     recordname_of(TABLE_PAIRS, key, text);              // "the pair of image 17 and caption 40"
 *     recordname_between(TABLE_IMAGES, from, to, text);   // "records 30 to 59"
 */
#ifndef STORE_RECORDNAME_H
#define STORE_RECORDNAME_H

#include "store/corpusrecord.h"

#define RECORDNAME_TEXT 300

/* table: enum corpus_table. A key that cannot be one of the table's is shown in hex. */
void recordname_of(enum corpus_table table, struct kv_bytes key, char text[RECORDNAME_TEXT]);
/* Keys as in struct pages_damage: empty is the first or beyond the last, equal ones are one record. */
void recordname_between(enum corpus_table table, struct kv_bytes from, struct kv_bytes to,
                        char text[RECORDNAME_TEXT]);
/* The same for the blocks of a feature set of n_slots vectors a block; 0: not known. */
void recordname_block(struct kv_bytes key, uint32_t n_slots, char text[RECORDNAME_TEXT]);
void recordname_blocks(struct kv_bytes from, struct kv_bytes to, uint32_t n_slots,
                       char text[RECORDNAME_TEXT]);

#endif
