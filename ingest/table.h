/* TSV and CSV tables with a header line.
 *
 * Columns by name, in any order: image and/or id, caption; optional lang (or language), label,
 * split, weight. Others are ignored, with a warning that names them. TSV has no quoting; CSV quotes
 * as RFC 4180 (a quoted field may hold commas, "" and line breaks). Blank lines are skipped. Bad
 * rows: "wrong-field-count", "bad-quoting", "line-too-long", "bad-weight"; after one, reading goes
 * on at the next line.
 */
#ifndef INGEST_TABLE_H
#define INGEST_TABLE_H

#include "ingest/row.h"
#include "store/error.h"
#include "store/report.h"

struct table;
/* delimiter: '\t' or ','. ERR_DATA when a needed column is missing; the sentence names those found.
 * path must outlive the table. */
int table_open(struct table **t, const char *path, char delimiter, const struct report *report,
               struct error *err) MUST_CHECK;
void table_close(struct table *t);
int table_next(struct table *t, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t table_position(const struct table *t); /* bytes read */

#endif
