/* Compaction of a cache: every store of it made anew, without free pages and without the bytes of what
 * was forgotten.
 *
 *     rc = gc_run(cache, report, &result, &err);
 *
 * Numbers stay: a tombstone keeps its place, at about 20 bytes, and blocks of features keep their
 * addresses. (Giving new numbers would have to change the corpus and all sets in one step, which two
 * LMDB environments cannot do, and would pull the numbers from under every pinned run.) What goes is
 * all else. Vectors whose record is a tombstone, of a `featurize` that ran while it was forgotten, go
 * first.
 * Each store is a generation of its own (store/generation.h): readers go on with the old one, killed at
 * any moment each is whole, the old one or the new. The writer's lock of one store at a time is held;
 * a store that somebody writes to is left as it is, the others are done, and the end is ERR_LOCKED.
 */
#ifndef STORE_GC_H
#define STORE_GC_H

#include "store/error.h"
#include "store/report.h"

struct gc_result {
    uint64_t bytes_before, bytes_after; /* of the data files of the stores that were done */
    uint64_t n_stores, n_locked;        /* done; left because somebody writes to them */
    uint64_t n_vectors;                 /* of forgotten records that were still there */
};

int gc_run(const char *cache, const struct report *report, struct gc_result *r, struct error *err) MUST_CHECK;

#endif
