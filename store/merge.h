/* `merge`: what another folder holds, into a cache.
 *
 *     struct merge *m;
 *     merge_open(&m, cache, &err);
 *     for (...) merge_folder(m, folders[i], report, &err);   // each is checked whole, then united
 *     merge_gaps(m, &err);                                   // what the sets still lack
 *     const struct merge_result *r = merge_result(m);
 *     merge_close(m);
 *
 * A folder is a cache (corpus/, features/) or a shard of features (features/ alone, whose sets carry
 * the numbers and keys of the cache's corpus: made from a snapshot of it on another machine). With a
 * corpus of its own, corpora are united by key and its features are renumbered by key; without one,
 * every vector is held against the key that the cache's corpus has for its number. Sets of equal
 * name are united when their fingerprints are equal; codes are moved, never decoded.
 *
 * Invariants: of a folder that is refused nothing was written. What is there with equal codes is
 * skipped, so that merging is idempotent and a killed merge goes on with the same command.
 * Errors: ERR_NOT_FOUND (the folder holds neither), ERR_USAGE (it is the cache itself),
 * ERR_INCOMPATIBLE (a component of a fingerprint, the caption rule, another corpus's numbers),
 * ERR_EXISTS (differing codes, ids or class lists), ERR_CORRUPT, ERR_LOCKED, ERR_STOPPED.
 * Threading: one thread; packing is parallel inside.
 */
#ifndef STORE_MERGE_H
#define STORE_MERGE_H

#include "store/corpus.h"
#include "store/featureset.h"

struct merge_options {
    bool features_only;   /* leave the corpus as it is; features of records it does not have stay out */
    bool accept_numerics; /* unite sets that differ in their numerics alone; recorded in the set */
};

/* Numbers first..last that a view of a set lacks although the corpus has them. */
struct merge_gap {
    uint32_t view, first, last;
};

struct merge_set {
    char name[FEATURESET_NAME_MAX + 1];
    bool is_new;
    struct featureset_merge_counts counts; /* of all folders together */
    uint32_t n_views;
    uint64_t n_missing;     /* vectors, in all views that the set has */
    struct merge_gap *gaps; // (n_gaps) owned by the result
    size_t n_gaps;
};

struct merge_result {
    bool has_corpus; /* some folder had one and it was united */
    struct corpus_merge_counts corpus;
    struct merge_set *sets; // (n_sets) those that some folder had
    size_t n_sets;
    uint64_t n_missing;
};

struct merge;

int merge_open(struct merge **m, const char *cache, const struct merge_options *options,
               struct error *err) MUST_CHECK;
void merge_close(struct merge *m);
int merge_folder(struct merge *m, const char *folder, const struct report *report,
                 struct error *err) MUST_CHECK;
/* After the last folder. */
int merge_gaps(struct merge *m, struct error *err) MUST_CHECK;
/* Borrowed: valid until merge_close; also after an error. */
const struct merge_result *merge_result(const struct merge *m);

#endif
