/* A new environment out of what is left of a damaged one.
 *
 *     struct salvage how = {.cache = cache, .lost = lost, .context = context, .suffix = "damaged-20260102T030405"};
 *     rc = salvage_corpus(&how, &result, &err);
 *     rc = salvage_featureset(&how, "text.final", key_of, n_numbers, &result, &err);
 *
 * The damaged file is read with store/pages.h in a child process: records that its newest commit leads
 * to, then those of pages that nothing leads to any more. Found by the walk: all but what lies on
 * damaged pages. Found by the scan alone: leaves below a damaged branch or directory, everything
 * behind a damaged head, feature blocks ("CSFB") and pictures whose place in a leaf is gone (a block
 * names itself; a picture is recognised by its key, the digest of its bytes).
 *
 * A record is believed under its own checksum and key alone, so that nothing is invented; first come,
 * first kept, so that nothing is there twice. Pairs, rejects and the class list change in time, and
 * those of a page that nothing leads to are taken only when the list of free pages is sound: else
 * they might be old. What refers to a record that is lost is lost with it (a pair to its picture,
 * caption, language, source): the same ingest brings back all of it. Numbers stay dense: where an
 * image or caption is lost, later ones move up, and each vector of a feature set is put under the number
 * that the corpus now gives its key, with the code it had. A vector whose record is lost goes too.
 *
 * The new environment is made whole in CACHE/.repair and takes the old one's place in one exchange of
 * names; the old one is kept as CACHE/<name>.<suffix>, or removed when suffix is NULL. Killed at any
 * moment, the cache has one of the two; a repeated repair goes on. A set whose meta is beyond
 * repair is moved away without a new one: featurize makes it again.
 *
 * Errors: ERR_LOCKED (a writer is at work), ERR_NOSPACE, ERR_CORRUPT (the reading process died);
 * after one the damaged environment is where it was.
 */
#ifndef STORE_SALVAGE_H
#define STORE_SALVAGE_H

#include "store/corpus.h"
#include "store/featureset.h"
#include "store/report.h"

struct salvage {
    const char *cache;
    const char *suffix; /* NULL: the damaged one is removed */
    void (*lost)(void *context, const char *text); /* one sentence a loss */
    void *context;
    const struct report *report;
};

struct salvage_counts {
    uint64_t n_images, n_captions, n_pairs, n_ids, n_rejects, n_vectors;
};

struct salvage_result {
    struct salvage_counts kept, lost; /* lost: as far as it is known */
    bool is_gone; /* a set of which nothing could be kept: there is none now */
};

int salvage_corpus(const struct salvage *how, struct salvage_result *result, struct error *err) MUST_CHECK;
/* key_of: of the corpus as it is now, for numbers below n_numbers; NULL: numbers are kept as they are. */
int salvage_featureset(const struct salvage *how, const char *name, featureset_key_of *key_of,
                       void *key_context, uint32_t n_numbers, struct salvage_result *result,
                       struct error *err) MUST_CHECK;

#endif
