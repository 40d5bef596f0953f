/* One stream of rows out of any kind of source: a table (TSV, CSV), JSON lines, or a folder of
 * pictures with .txt sidecars.
 *
 *     source_open(&s, "pairs.tsv", SOURCE_AUTO, false, report, &err);
 *     while ((rc = source_next(s, &row, &err)) > 0) use(&row);      // row.reason: a bad record
 *     source_close(s);
 *
 * Memory does not grow with the size of the source. A source that cannot be read at all (absent, no
 * header, a missing column) is an error of source_open; a bad record is a row with a reason. One
 * owner, one thread. Errors: ERR_NOT_FOUND, ERR_DATA, ERR_USAGE, ERR_IO, ERR_NOMEM.
 */
#ifndef INGEST_SOURCE_H
#define INGEST_SOURCE_H

#include <stdbool.h>

#include "ingest/row.h"
#include "store/error.h"
#include "store/report.h"

enum source_format { SOURCE_AUTO, SOURCE_TSV, SOURCE_CSV, SOURCE_JSONL, SOURCE_FOLDER };

/* "auto", "tsv", "csv", "jsonl", "dir" -> format; ERR_USAGE otherwise. */
int source_format_of(const char *word, enum source_format *format, struct error *err) MUST_CHECK;

struct source;
/* path is copied. folder_labels: the name of the sub-folder a picture lies in is its label. report
 * may be NULL (warnings about unknown columns). */
int source_open(struct source **s, const char *path, enum source_format format, bool folder_labels,
                const struct report *report, struct error *err) MUST_CHECK;
void source_close(struct source *s);
/* 1: *row is filled, borrowed until the next call; 0: the end; negative: the machine failed. */
int source_next(struct source *s, struct row *row, struct error *err) MUST_CHECK;

enum source_format source_kind(const struct source *s); /* what it was recognised as */
const char *source_path(const struct source *s);        /* as given */
const char *source_folder(const struct source *s);      /* what image paths are relative to */
/* The name pairs are filed under when none is given: the last part of the path; owned: memory_free. */
char *source_default_name(const char *path, struct error *err) MUST_CHECK;
/* Progress: bytes read and bytes in all (a folder: pictures; total 0: unknown). */
void source_progress(const struct source *s, uint64_t *done, uint64_t *total);

#endif
