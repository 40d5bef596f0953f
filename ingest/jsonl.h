/* JSON lines: one object a line, as ingest/jsonrow.h reads it. Blank lines are skipped. Bad rows: those
 * of jsonrow, "line-too-long", ROW_BROKEN.
 */
#ifndef INGEST_JSONL_H
#define INGEST_JSONL_H

#include "ingest/fields.h"
#include "ingest/row.h"
#include "ingest/stream.h"

struct jsonl;
/* stream is taken, also on an error; path stands in errors; path and fields must outlive it. */
int jsonl_open(struct jsonl **j, struct stream *stream, const char *path, const struct fields *fields,
               struct error *err) MUST_CHECK;
void jsonl_close(struct jsonl *j);
int jsonl_next(struct jsonl *j, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t jsonl_position(const struct jsonl *j); /* bytes of the file read */

#endif
