/* TSV and CSV tables with a header line.
 *
 * Columns by name (ingest/fields.h), in any order: image and/or id, caption; optional lang, label,
 * split, weight. Others are ignored, with a warning that names them. TSV has no quoting; CSV quotes
 * as RFC 4180 (a quoted field may hold delimiters, "" and line breaks), and its delimiter is the one
 * of , ; | that the header holds. Blank lines are skipped. Bad rows: "wrong-field-count",
 * "bad-quoting", "line-too-long", "bad-weight", ROW_BROKEN; after one, reading goes on at the next
 * line.
 */
#ifndef INGEST_TABLE_H
#define INGEST_TABLE_H

#include "ingest/fields.h"
#include "ingest/row.h"
#include "ingest/stream.h"
#include "store/error.h"
#include "store/report.h"

struct table;
/* is_csv: else TSV. ERR_DATA when a needed column is missing; the sentence names those found. stream
 * is taken, also on an error; path stands in errors and must outlive the table. */
int table_open(struct table **t, struct stream *stream, const char *path, bool is_csv,
               const struct fields *fields, const struct report *report,
               struct error *err) MUST_CHECK;
void table_close(struct table *t);
int table_next(struct table *t, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t table_position(const struct table *t); /* bytes of the file read */

#endif
