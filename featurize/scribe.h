/* What a batch gave is put into its sets while the next one is computed.
 *
 *     scribe_open(&s, ts, BATCH, effort, &err);
 *     for each batch:
 *         struct sheet *sheet = scribe_sheet(s);      // its view, n, number, key, missing are filled in
 *         n_taps = scribe_taps(s, taps, out);         // what the tower is asked for, and where to
 *         scribe_start(s);                            // the batch before: from here on, beside the caller
 *         runner_pictures(.., taps, n_taps, out, &err);
 *         rc = scribe_put(s, &err);                   // the batch before is put, or this is its error; this one is next
 *     rc = scribe_finish(s, rc, &err);                // nothing is left to put
 *     scribe_close(s);
 *
 * A thread for the length of a put: coding and compressing take their turn with the forward pass, and
 * nobody stands still until the disk has answered, once a set. There are two sheets, so that one batch
 * is written while one is computed, and no more: memory is bounded, and a pass that is faster than its
 * disk waits for it (effort.waited_s). Batches are committed in their order, the taps of a batch one
 * after the other.
 * From scribe_start until scribe_put or scribe_wait the sets are the scribe's: a writer's handle has
 * either one writing transaction or readers (store/kv.h), so that what is missing is looked up before
 * the start. Threading: one caller.
 * Errors: those of tapset_put; once there was one, it is every call's, and nothing more is put.
 */
#ifndef FEATURIZE_SCRIBE_H
#define FEATURIZE_SCRIBE_H

#include "featurize/effort.h"
#include "featurize/tapset.h"

struct sheet {
    uint32_t view;
    int n;
    uint32_t *number;             // (n)
    uint8_t (*key)[DIGEST_BYTES]; // (n)
    uint64_t *missing;            // (n) bit k: tap k
    float *out[RUNNER_MAX_TAPS];  // (n, dim) of tap k
};

struct scribe;

/* Room for `capacity` records a batch, twice. ts and effort, which gets EFFORT_STORE and waited_s, are borrowed. */
int scribe_open(struct scribe **s, struct tapsets *ts, int capacity, struct effort *effort,
                struct error *err) MUST_CHECK;
/* Waits for what is being put; what was not started is dropped. */
void scribe_close(struct scribe *s);
/* The sheet to fill; the caller's until scribe_put. */
struct sheet *scribe_sheet(struct scribe *s);
/* The taps that any of its records lacks, and where their vectors go; returns how many. */
int scribe_taps(struct scribe *s, struct tap *taps, float **out);
/* Takes the sheet, when the one before is put. */
int scribe_put(struct scribe *s, struct error *err) MUST_CHECK;
/* Begins to put what was taken; nothing when there is nothing. */
void scribe_start(struct scribe *s);
/* Puts what was taken, and waits for it. */
int scribe_wait(struct scribe *s, struct error *err) MUST_CHECK;
/* The same at the end of a pass that ended with rc, whatever that is: what was computed is put. An error of
 * the scribe came before any other, and is returned for it. */
int scribe_finish(struct scribe *s, int rc, struct error *err) MUST_CHECK;

#endif
