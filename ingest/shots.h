/* The picture files of a batch: each is read, hashed and decoded once, however many rows name it.
 *
 *     shots_get(s, path, corpus, &index, &err);      // serial: reads the file, looks its key up
 *     shots_hold(s, name, bytes, n, corpus, &index, &err);   // the same for bytes that a source holds
 *     shots_decode(s, &err);                         // parallel: whatever the corpus does not know yet
 *     struct shot *shot = shots_at(s, index);        // reason != NULL: it cannot be used
 *     shots_settle(s);                               // after the rows are stored: lets the bytes go
 *
 * Paths are remembered over batches, up to SHOTS_MAX of them, because the rows of a picture stand
 * near each other. A file that is known to the corpus by content is not decoded again. One owner,
 * one thread; shots_decode uses threads inside, and its result does not depend on their number.
 */
#ifndef INGEST_SHOTS_H
#define INGEST_SHOTS_H

#include "ingest/picture.h"

#define SHOTS_MAX 16384

struct shot {
    char *path;               /* owned */
    char *bytes;              /* what is to be stored; owned; NULL once stored or refused */
    size_t n;
    struct corpus_image image; /* key is set as soon as the file was read */
    /* why it is refused: "missing-file", "unreadable-file", or picture.reason; static */
    const char *reason;
    char *message;            /* the sentence; owned */
    uint32_t number;          /* in the corpus, when stored */
    bool stored;              /* in the corpus, or in its open batch */
    bool counted;             /* for the caller: it stands in the result */
};

struct shots;
/* max_side_px: larger pictures are reduced; 0: none. */
struct shots *shots_new(const struct picture_limits *limits, uint32_t max_side_px, int n_threads,
                        struct error *err) MUST_CHECK;
void shots_free(struct shots *s);
/* *index is valid until shots_settle. A file that cannot be read is a shot with a reason; negative:
 * the machine failed. */
int shots_get(struct shots *s, const char *path, struct corpus *corpus, size_t *index,
              struct error *err) MUST_CHECK;
/* The same for a picture whose bytes (borrowed for the call) stand in the source itself; name tells
 * one picture of the run from another. */
int shots_hold(struct shots *s, const char *name, const void *bytes, size_t n, struct corpus *corpus,
               size_t *index, struct error *err) MUST_CHECK;
int shots_decode(struct shots *s, struct error *err) MUST_CHECK;
struct shot *shots_at(struct shots *s, size_t index);
uint64_t shots_bytes(const struct shots *s); /* of files held */
void shots_settle(struct shots *s);

#endif
