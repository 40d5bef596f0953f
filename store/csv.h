/* Comma-separated values (RFC 4180): records out of a file, and fields into one.
 *
 *     csv_open(&t, path, &err);
 *     while ((rc = csv_next(&t, &err)) > 0) use(t.fields, t.n_fields);   // borrowed until the next call
 *     csv_close(&t);
 *
 * A field in quotes may hold commas, newlines and "" for a quote; \n and \r\n end records; a BOM is
 * passed over. Manifests of ingest, which are larger and less regular, are read by ingest/table.h.
 * One thread.
 */
#ifndef STORE_CSV_H
#define STORE_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/outfile.h"

/* Zeroed at first. */
struct csv {
    char *path, *text; /* owned */
    char *p, *end;
    uint64_t line; /* where the record began, from 1 */
    uint64_t next_line;
    char **fields; // (n_fields), each with a NUL behind it
    size_t n_fields, capacity;
};

/* At most 2 GiB. To be closed also after an error. */
int csv_open(struct csv *t, const char *path, struct error *err) MUST_CHECK;
/* 1 with the next record, 0 at the end, or ERR_DATA naming the line. */
int csv_next(struct csv *t, struct error *err) MUST_CHECK;
/* The place of a column in the record at hand (the header), or -1. */
int csv_find(const struct csv *t, const char *name);
void csv_close(struct csv *t);

/* n bytes as one field, in quotes where it needs them. */
int csv_put(struct outfile *f, const char *text, size_t n, struct error *err) MUST_CHECK;

#endif
