/* A store's folder made anew: whole copies of an LMDB environment, and the exchange of one for
 * another under running readers. gc and snapshot stand on it.
 *
 *     kv_begin_read(kv, &txn, &err);
 *     generation_copy(txn, "dest/corpus", report, "snapshot corpus", &err);   // one moment, durable
 *     kv_abort(txn);
 *
 *     kv_open(&kv, folder, &(struct kv_config){.mode = KV_WRITE, ...}, &err); // the writer's lock
 *     generation_replace(kv, report, "gc corpus", &bytes, &err);
 *     kv_close(kv);                                                           // of the old one
 *
 * A copy is written record by record, in the order of keys, into full pages: it holds what the
 * transaction sees and not a byte besides. (A page of LMDB keeps what was deleted from it until its
 * place is needed. LMDB's own compacting copy happens to leave such gaps out, in 0.9.24, and promises
 * nothing; what `forget` owes must not hang on that.)
 *
 * generation_replace builds the copy beside the folder, as PARENT/.gc-NAME, and exchanges the two
 * names in one step (renameat2): kill -9 at any moment leaves the old or the new one whole under the
 * store's name. Who has the old one open keeps it, whole, until closing; who opens next sees the new one.
 * What a killed one leaves, a copy half made or the old generation, is swept away by the next writer
 * (generation_sweep, under the writer's lock).
 *
 * Errors: ERR_NOSPACE before anything is written when the disk has less than the records take;
 * ERR_USAGE where the file system cannot exchange two names; those of kv.h. After any of them the
 * store is as it was.
 */
#ifndef STORE_GENERATION_H
#define STORE_GENERATION_H

#include "store/kv.h"
#include "store/report.h"

/* Folder must be absent or empty. what: for the progress line. */
int generation_copy(struct kv_txn *from, const char *folder, const struct report *report,
                    const char *what, struct error *err) MUST_CHECK;

struct generation_bytes {
    uint64_t before, after; /* of the data file */
};

/* kv: a writer's handle without a transaction; afterwards it reads the old generation, until kv_close. */
int generation_replace(struct kv *kv, const struct report *report, const char *what,
                       struct generation_bytes *bytes, struct error *err) MUST_CHECK;

/* Removes what a killed generation_replace left beside the folder. The caller holds its writer's lock. */
int generation_sweep(const char *folder, struct error *err) MUST_CHECK;

#endif
