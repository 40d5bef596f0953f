/* The records of a shard that a run is about, a stretch at a time: their numbers and keys.
 *
 *     roll_open(&r, corpus, o, is_text, &err);
 *     for (first = 0; first < r.n; first += 256)
 *         n = roll_list(&r, first, first + 256, number, key, &err);      // what was forgotten is left out
 *     roll_release(&r);
 *
 * Captions: those in the languages asked for (featurize/route.h). Pictures: opening refuses a corpus in which
 * one was registered without its file (ERR_USAGE): the teacher cannot see it.
 */
#ifndef FEATURIZE_ROLL_H
#define FEATURIZE_ROLL_H

#include "featurize/featurize.h"
#include "store/corpus.h"

struct roll {
    struct corpus *corpus; /* borrowed */
    struct shard shard;
    bool is_text;
    uint32_t n;      /* places, of which some may be empty */
    uint8_t *wanted; // (n_captions) by language; NULL: all
};

int roll_open(struct roll *r, struct corpus *c, const struct featurize_options *o, bool is_text,
              struct error *err) MUST_CHECK;
void roll_release(struct roll *r);
/* Of the places first .. end - 1, at most up to r->n, those with a record; returns how many. // number, key: (end - first) */
int roll_list(const struct roll *r, uint32_t first, uint32_t end, uint32_t *number,
              uint8_t (*key)[DIGEST_BYTES], struct error *err) MUST_CHECK;

#endif
