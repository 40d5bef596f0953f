/* What the fields of a record are called in a source: the columns of a table, the members of a JSON
 * object.
 *
 *     struct fields f = fields_defaults();
 *     fields_map(&f, "caption=title", &err);          // --map: ours=theirs
 *     fields_alias(&f, FIELD_IMAGE, 1);               // "file_name"
 *
 * A field answers to its own name and to a few that other tools use ("text" for caption, "file_name"
 * for image); once mapped, to the mapped name alone. A table's header is read without regard to case,
 * JSON as it is spelled. Plain data.
 */
#ifndef INGEST_FIELDS_H
#define INGEST_FIELDS_H

#include <stdbool.h>

#include "store/error.h"

enum field {
    FIELD_IMAGE,
    FIELD_ID,
    FIELD_CAPTION,
    FIELD_LANG,
    FIELD_LABEL,
    FIELD_SPLIT,
    FIELD_WEIGHT,
    FIELD_N
};

#define FIELDS_MAX_NAME 200 /* bytes of a mapped name */

struct fields {
    char mapped[FIELD_N][FIELDS_MAX_NAME + 1]; /* "": not mapped */
};

struct fields fields_defaults(void);
/* text: "caption=title". ERR_USAGE names what is wrong. A field is mapped once. */
int fields_map(struct fields *f, const char *text, struct error *err) MUST_CHECK;
/* The name in a source: the mapped one, or our own. */
const char *fields_name(const struct fields *f, enum field field);
/* The i-th name that the field answers to, the best first; NULL behind the last. */
const char *fields_alias(const struct fields *f, enum field field, int i);

#endif
