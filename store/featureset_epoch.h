/* Every vector of a view once, shuffled or in order, at the speed of unpacking: what training over a
 * set larger than memory reads.
 *
 *     struct featureset_epoch_options o = {.view = 0, .seed = 1, .epoch = 5};
 *     featureset_epoch_open(&e, fs, &o, &err);
 *     while ((n = featureset_epoch_next(e, 4096, numbers, checks, norms, rows, &err)) > 0) ...
 *     featureset_epoch_close(e);                                  // n < 0: an error
 *
 * The shuffle: the view's blocks in an order drawn from (seed, epoch); each window of them, 64 by
 * default, is unpacked together and its vectors come in an order drawn from (seed, epoch, window).
 * So two neighbours of the corpus (the captions of a picture, say) may stay within one window but
 * not in one batch, the disk is read in pieces of whole blocks, and memory is that of a window. The
 * order is a pure function of (seed, epoch), the set's vectors and the window: not of threads, of
 * how many rows are asked for at once, or of how the set was written.
 *
 * Blocks are unpacked and rows decoded in parallel (OpenMP). While a window is unpacked, the next
 * one is asked of the disk (store/readahead.h); of a shuffled epoch nothing else is read, so that the
 * set's other readers through this handle meet single pages where it is not in memory.
 *
 * Memory: at most 1 MiB (or one vector) of codes a block of the window, as much of planes a thread, 1 MiB
 * of index: about 67 MiB at 64 blocks and two threads, whatever the size of the set.
 * Invariants: the list of blocks is that of the opening; a window is read in one short transaction,
 * so that no reader holds back the file's space. Threading: one thread; several epochs at once are
 * fine. The set stays open meanwhile, and nobody writes through its handle. Errors: ERR_CORRUPT,
 * ERR_NOMEM, ERR_NOT_FOUND (a block has gone since); afterwards only closing is allowed.
 */
#ifndef STORE_FEATURESET_EPOCH_H
#define STORE_FEATURESET_EPOCH_H

#include <stdbool.h>
#include <stdint.h>

#include "store/featureset.h"

#define FEATURESET_EPOCH_WINDOW 64
#define FEATURESET_EPOCH_MAX_WINDOW 4096

struct featureset_epoch_options {
    uint32_t view;
    uint64_t seed, epoch;
    bool in_order;     /* by ascending number, without a shuffle */
    uint32_t window;   /* blocks; 0: FEATURESET_EPOCH_WINDOW, in order one a thread */
};

struct featureset_epoch;

/* A view without vectors is an epoch of none. ERR_USAGE for a window that is too large. */
int featureset_epoch_open(struct featureset_epoch **e, struct featureset *fs,
                          const struct featureset_epoch_options *o, struct error *err) MUST_CHECK;
void featureset_epoch_close(struct featureset_epoch *e);

/* The next n vectors; returns their number, less than n only at the end, then 0. // numbers: (n) of
 * the corpus; checks: (n) first 8 bytes of their keys (block_check_of); norms: (n); rows: (n, dim)
 * unit vectors or zeros. numbers, checks and norms may be NULL. */
int64_t featureset_epoch_next(struct featureset_epoch *e, uint32_t n, uint32_t *numbers,
                              uint64_t *checks, float *norms, float *rows,
                              struct error *err) MUST_CHECK;

#endif
