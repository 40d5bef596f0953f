/* Do the two heads of an LMDB data file tell the truth about the commits they are of?
 *
 * LMDB follows the head with the larger number and believes it: one flipped bit in a number, and the last batch
 * is silently gone. What one head says can be held against the other and against the lists of free pages:
 * the numbers are of two commits in a row, each of its page's parity; the last page does not come down
 * from one commit to the next; and every commit but the first frees a page and names itself with the
 * list of them. (The one flip that remains: of the directory's root, to the page of an older one.) Both snapshots are whole at any time, whatever a writer does or was killed at.
 */
#ifndef STORE_PAGEHEAD_H
#define STORE_PAGEHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"

struct pages;

enum { PAGEHEAD_BYTES = 152 };
/* Heads as they stand in pages 0 and 1 of a mapped file. A list of free pages that is itself damaged says nothing. */
bool pagehead_agree(const struct pages *p, const uint8_t *a, const uint8_t *b);
/* ERR_CORRUPT where they do not agree. The caller holds a reading transaction, so that no writer uses again what the
 * heads lead to; commits meanwhile do no harm. folder stands in errors. */
int pagehead_check(const char *data_path, const char *folder, struct error *err) MUST_CHECK;

#endif
