/* OUT/checkpoint: what a killed run needs to go on with equal bits.
 *
 *     checkpoint_open(&k, out, settings, &err);               // compares settings with a run that is there
 *     if (k.found) checkpoint_restore(&k, &err);
 *     checkpoint_save(&k, progress, &err);                    // one file, atomic
 *     checkpoint_finish(&k, summary, &err);                   // OUT/run.json, then the folder goes
 *
 *   OUT/checkpoint/pinned   the run's record lists, written once before the first state
 *   OUT/checkpoint/state    "CLIPCKPT", u32 version, u64 JSON length, JSON, blocks, SHA-256 of all
 *                           before it
 *   OUT/checkpoint/writer.lock   held while the run lives: a second run into OUT is ERR_LOCKED
 *   OUT/curve.jsonl         the learning curve; cut back to the checkpoint's point on resume
 *   OUT/run.json            settings and summary of a finished run: the same command again is a hit
 *
 * A block is a named array of bytes that the caller registers once and that is read from and
 * written to its own memory. State keeps no random generator: draws are functions of seed, epoch
 * and index (train/random.h). A run with other settings, data or networks in the same OUT is
 * refused (ERR_EXISTS) and every difference named.
 */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/json.h"

#define CHECKPOINT_MAX_BLOCKS 48

struct lock;

struct checkpoint {
    char *out, *folder, *state_path, *pinned_path, *curve_path, *run_path; /* owned */
    const struct json *settings; /* borrowed */
    struct lock *lock;           /* on folder */
    struct json *progress;       /* of the state found; NULL when none */
    struct json *summary;        /* of a finished run; NULL when none */
    char *bytes;                 /* the state found, until restored */
    size_t n_bytes;
    uint64_t n_curve_bytes;      /* the curve's length up to now */
    struct {
        char name[64];
        void *at;
        size_t n;
    } block[CHECKPOINT_MAX_BLOCKS];
    int n_blocks;
};

/* Reads what is there. k->summary != NULL: finished with these settings, nothing to do. k->progress
 * != NULL: to be resumed. Other settings: ERR_EXISTS. A damaged state: ERR_CORRUPT. Another process
 * at work in OUT: ERR_LOCKED. OUT with a model but without our files: ERR_EXISTS. */
int checkpoint_open(struct checkpoint *k, const char *out, const struct json *settings,
                    struct error *err) MUST_CHECK;
void checkpoint_close(struct checkpoint *k);
/* Names memory that belongs to the state; at stays the caller's. */
int checkpoint_add(struct checkpoint *k, const char *name, void *at, size_t n_bytes,
                   struct error *err) MUST_CHECK;
/* A block of the state found, wherever it is registered or not; borrowed until checkpoint_restore.
 * NULL when absent. */
const void *checkpoint_block(const struct checkpoint *k, const char *name, size_t *n_bytes);
/* Copies every registered block back (a missing one or another size: ERR_CORRUPT), cuts the curve back. */
int checkpoint_restore(struct checkpoint *k, struct error *err) MUST_CHECK;
int checkpoint_save(struct checkpoint *k, const struct json *progress, struct error *err) MUST_CHECK;
int checkpoint_write_pinned(struct checkpoint *k, const void *bytes, size_t n, struct error *err) MUST_CHECK;
int checkpoint_read_pinned(struct checkpoint *k, char **bytes, size_t *n, struct error *err) MUST_CHECK;
/* Adds one line to curve.jsonl. */
int checkpoint_curve(struct checkpoint *k, const struct json *point, struct error *err) MUST_CHECK;
/* After the model's folder is written. */
int checkpoint_finish(struct checkpoint *k, const struct json *summary, struct error *err) MUST_CHECK;

#endif
