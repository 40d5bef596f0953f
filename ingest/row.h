/* One record of a manifest, as every reader hands it out: raw text, not yet cleaned.
 *
 * A record that cannot be read is a row too, with `reason` set: the stage quarantines it and goes
 * on. All pointers are borrowed from the reader until its next call. Plain data.
 */
#ifndef INGEST_ROW_H
#define INGEST_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct row {
    const char *image;     /* path, relative to the manifest's folder; NULL or "": not given */
    const void *picture;   /* the picture file itself, where the source holds it; NULL: it does not */
    size_t n_picture;      /* bytes */
    /* foreign id; alone it names an image that is already known; NULL or "": not given */
    const char *id;
    bool is_own_id;        /* it means a picture of this source alone, not of any other */
    const char *caption;   /* NULL: a picture without a caption (folders only) */
    size_t n_caption;      /* bytes; a NUL may be among them */
    const char *lang;      /* NULL or "": the default */
    const char *label;     /* NULL or "": none */
    const char *split;     /* NULL or "": the default */
    double weight;         /* 1 when not given */
    bool says_weight;
    uint64_t line;         /* 1-based, where the record starts; 0: the source has no lines */
    uint64_t byte_offset;  /* of that line, or of the member's header */
    const char *member;    /* of a tar, where the record stands; NULL: none */
    const char *reason;    /* NULL, or the stable word of a reject; the fields above may then be empty */
    const char *message;   /* with reason: the sentence */
    const char *record;    /* with reason: what was read, maybe cut */
};

#define ROW_SHOWN 200 /* bytes of a bad record that are kept */

/* What a reader says when its source ends before its time, e.g. a cut .gz: reason "broken-source". */
#define ROW_BROKEN "broken-source"

/* Makes *r a reject; line and byte_offset stay. */
void row_reject(struct row *r, const char *reason, const char *message, const char *record);
/* A copy of `from` whose strings lie in one block: owned, memory_free(*block). The picture is not
 * copied: to->picture is NULL. */
int row_copy(const struct row *from, struct row *to, char **block, struct error *err) MUST_CHECK;
/* A weight as text: 0, or ERR_DATA unless it is a finite number above 0 (then *weight is untouched). */
int row_weight(const char *text, double *weight);

#endif
