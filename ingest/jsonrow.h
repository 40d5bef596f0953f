/* The rows of one JSON object: a line of a .jsonl, an element of an array, the .json of a tar's sample.
 *
 *     {"image": "a.jpg", "captions": {"en": ["a dog", "a brown dog"], "zh": "\u72d7"}, "label": "dog",
 *     "split": "train", "weight": 2}
 *
 *     rc = jsonrow_begin(&j, object, &fields, true, &row);    // 1: *row is a reject
 *     while (rc == 0 && jsonrow_next(&j, &row)) use(&row);
 *     jsonrow_end(&j);
 *
 * Members are found by the names of ingest/fields.h: image (path) and/or id (string or integer);
 * caption (or captions): a string, a list of strings, or an object language -> string or list; lang,
 * label (string or integer), split, weight. Others are ignored. An object gives one row a caption,
 * in the order of the file. Bad rows: "bad-json", "bad-member" (of a wrong kind), "missing-caption",
 * "bad-weight".
 * One owner, one thread.
 */
#ifndef INGEST_JSONROW_H
#define INGEST_JSONROW_H

#include <stdbool.h>

#include "ingest/fields.h"
#include "ingest/row.h"

struct json;

/* Zeroed at first; the fields are the reader's own. */
struct jsonrow {
    struct json *object;         /* owned; NULL between objects */
    const struct json *captions; /* borrowed from object */
    const struct json *group; /* the list, or the value of the language that is being handed out */
    const char *group_language;
    size_t next_group, next_text;
    bool needs_caption;       /* and none was handed out yet */
    const char *caption_name; /* static, or of the fields */
    struct row row; /* what all rows of the object share */
    char id[32], label[32];
    char message[FIELDS_MAX_NAME + 200];
};

/* object is taken, whatever the answer. shared: line, byte_offset, member, weight of its rows, and
 * what the object itself does not give. needs_caption: one without a caption is a reject, else it
 * has no rows. 0: ask for its rows; 1: *row is a reject (its record is not set). */
int jsonrow_begin(struct jsonrow *j, struct json *object, const struct fields *fields,
                  const struct row *shared, bool needs_caption, struct row *row) MUST_CHECK;
/* 1: *row, borrowed until jsonrow_end; it may be a reject. 0: there are no more. */
int jsonrow_next(struct jsonrow *j, struct row *row) MUST_CHECK;
void jsonrow_end(struct jsonrow *j);

/* An id, a string or a whole number, as text. False: it is neither, or empty, or longer than size - 1. */
bool jsonrow_id(const struct json *value, char *out, size_t size);

#endif
