/* A vocabulary: texts of tokens and their ids.
 *
 *     lexicon_add(l, text, n, id, &err); ...; lexicon_finish(l);
 *     int32_t id = lexicon_find(l, text, n);
 *
 * Sorted, not hashed: the files are foreign, and no choice of tokens makes a search slow. A text
 * that comes twice keeps its last id, as in the dictionaries of the reference code. Read-only once
 * finished: any thread. Caller: featurize/wordpiece.c.
 */
#ifndef FEATURIZE_LEXICON_H
#define FEATURIZE_LEXICON_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define LEXICON_MAX_IDS (1 << 22)

struct lexicon;
struct lexicon *lexicon_new(struct error *err) MUST_CHECK;
void lexicon_free(struct lexicon *l);
/* The bytes are copied. ERR_DATA for an id outside of 0 .. LEXICON_MAX_IDS - 1. */
int lexicon_add(struct lexicon *l, const char *text, size_t n, int32_t id,
                struct error *err) MUST_CHECK;
void lexicon_finish(struct lexicon *l);
int lexicon_n_ids(const struct lexicon *l); /* the largest id + 1 */
size_t lexicon_longest(const struct lexicon *l); /* bytes of the longest text */
int32_t lexicon_find(const struct lexicon *l, const char *text, size_t n); /* -1: none */

#endif
