/* Publishing a cache: a whole copy of one moment, and a link that leads to the newest.
 *
 *     rc = snapshot_publish(cache, dest, keep, report, &result, &err);
 *
 *     DEST/20261125T093000Z/corpus, DEST/20261125T093000Z/features/SET    a cache, to be read
 *     DEST/current -> 20261125T093000Z
 *
 * One moment: a transaction is opened on every set, and then one on the corpus, so that every vector
 * has its record; when something was forgotten meanwhile, all of them are opened again. Nobody is kept
 * from writing, and nobody's lock is needed.
 * Built as DEST/.new-NAME, synced, renamed; then the link is exchanged by a rename. Killed at any
 * moment, `current` leads to a whole snapshot; what is left behind is swept away by the next run. A
 * reader that has an older one open keeps it, also when keep removes it. Readers that open corpus and
 * sets one after the other want the folder and not the link, which may change in between.
 * The copies hold no byte of what was forgotten before (store/generation.h). Data files are made
 * read-only.
 * Errors: ERR_LOCKED (another one publishes there), ERR_NOSPACE, ERR_USAGE (DEST/current is no link).
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "store/error.h"
#include "store/report.h"

struct snapshot_result {
    char name[40];      /* of the new folder in DEST */
    uint64_t n_bytes;   /* of its data files */
    uint64_t n_sets, n_removed;
};

/* keep: snapshots that stay, the new one among them; 0: all. */
int snapshot_publish(const char *cache, const char *dest, uint64_t keep, const struct report *report,
                     struct snapshot_result *r, struct error *err) MUST_CHECK;

#endif
