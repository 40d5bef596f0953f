/* Which captions a teacher is asked about, where several teachers share a corpus: those that stand in
 * one of its languages, under a picture or as a class prompt.
 *
 *     route_captions(corpus, (const char *[]){"zh", "ja"}, 2, &wanted, &err);
 *     if (wanted[number]) ...
 *     memory_free(wanted);
 *
 * A text that stands in several languages goes to the teachers of all of them. Tags are compared as they
 * stand in the corpus. Errors: ERR_USAGE names a language of which the corpus has nothing.
 */
#ifndef FEATURIZE_ROUTE_H
#define FEATURIZE_ROUTE_H

#include <stddef.h>
#include <stdint.h>

#include "store/corpus.h"

/* *wanted is owned: memory_free. // wanted: (corpus_n_captions) 0 or 1 */
int route_captions(struct corpus *c, const char *const *languages, size_t n, uint8_t **wanted,
                   struct error *err) MUST_CHECK;

#endif
