/* A JSON array of objects in one document, each as ingest/jsonrow.h reads it. Bad rows: those of jsonrow,
 * and "bad-json" where the array breaks off.
 */
#ifndef INGEST_JSONLIST_H
#define INGEST_JSONLIST_H

#include "ingest/fields.h"
#include "ingest/row.h"
#include "ingest/stream.h"

struct jsonlist;
/* stream is taken, also on an error; path stands in errors; path and fields must outlive it. */
int jsonlist_open(struct jsonlist **j, struct stream *stream, const char *path,
                  const struct fields *fields, struct error *err) MUST_CHECK;
void jsonlist_close(struct jsonlist *j);
int jsonlist_next(struct jsonlist *j, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t jsonlist_position(const struct jsonlist *j);
uint64_t jsonlist_size(const struct jsonlist *j);

#endif
