/* Other ways to spell a token: every cut of its piece into two pieces of the vocabulary.
 *
 *     struct subword *s = subword_new(tokenizer, &err);
 *     if (subword_cut(s, id, draw, pair)) ...             // pair: two ids that together spell id
 *
 * Subword regularisation (Kudo 2018; BPE-dropout, Provilkov et al. 2020) shows a student the same word in several spellings, so that what it learns of one
 * word serves its relatives: it helps most where captions are few and words have many forms. Immutable; any thread.
 */
#ifndef TRAIN_SUBWORD_H
#define TRAIN_SUBWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/tokenizer.h"

struct subword;
struct subword *subword_new(const struct tokenizer *t, struct error *err) MUST_CHECK;
void subword_free(struct subword *s);
/* One of the cuts of id, chosen by draw in [0, 1); false when it has none. */
bool subword_cut(const struct subword *s, int32_t id, double draw, int32_t pair[2]);

#endif
