/* Forgetting: records, their pairs, their ids and every feature made of them leave a cache.
 *
 *     forget_open(&f, cache, false, &err);           // the writers' locks of the corpus and all sets
 *     forget_image(f, number, &err);                 // numbers from forget_corpus(f)
 *     forget_caption(f, number, &err);
 *     forget_where(f, &where, &err);
 *     forget_run(f, report, &result, &err);
 *     forget_close(f);
 *
 * What goes:
 * - an image that was named: its record, bytes, ids and pairs;
 * - a caption that was named: its record and pairs; its images stay;
 * - pairs that `where` means, and images that only they led to. Where every condition is on the source,
 *   the ids that it gave go too, with images that no other source names, and its rejects;
 * - captions that lose their last pair, but for prompts of the class list, which stay;
 * - rejects in quarantine that hold the text or an id of what was named;
 * - of all that goes: its vectors in every view of every set.
 * Names of sources, languages and labels stay. Numbers are never given again (store/corpus.h); the
 * bytes stay in free pages until `gc`.
 *
 * Order: the sets first, each in durable transactions, then the corpus in one. Killed before that one,
 * everything is still in the corpus, some features are missing and are computed again by
 * `featurize`, and the same call goes on; afterwards all is done. Memory: the pages of the
 * corpus's tables that change.
 * Errors: ERR_LOCKED when anybody writes to the corpus or to a set, before anything is changed;
 * ERR_USAGE for a caption that is a prompt of the class list.
 */
#ifndef STORE_FORGET_H
#define STORE_FORGET_H

#include "store/corpus.h"
#include "store/where.h"

struct forget;

struct forget_result {
    uint64_t n_images, n_image_bytes, n_captions, n_pairs, n_ids, n_rejects;
    uint64_t n_sets, n_vectors; /* sets that held any */
};

/* dry_run: takes no lock and changes nothing; forget_run counts. */
int forget_open(struct forget **f, const char *cache, bool dry_run, struct error *err) MUST_CHECK;
void forget_close(struct forget *f);
/* Borrowed, for look-ups. */
struct corpus *forget_corpus(struct forget *f);

/* A caption that no loss of pairs takes away, and that cannot be named. */
void forget_keep(struct forget *f, uint32_t caption);
/* Naming one twice is fine. ERR_NOT_FOUND when it is not there. */
int forget_image(struct forget *f, uint32_t number, struct error *err) MUST_CHECK;
int forget_caption(struct forget *f, uint32_t number, struct error *err) MUST_CHECK;
/* where is bound here; once at most, and after all that is named. */
int forget_where(struct forget *f, struct where *where, struct error *err) MUST_CHECK;

/* Whether what goes came from the source, by a pair or an id: after forget_run. */
bool forget_touches(const struct forget *f, uint16_t source);
int forget_run(struct forget *f, const struct report *report, struct forget_result *r,
               struct error *err) MUST_CHECK;

#endif
