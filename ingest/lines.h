/* A text file line by line, in constant memory: for manifests of any size.
 *
 *     while ((rc = lines_next(l, &err)) > 0) use(l->text, l->n, l->line, l->byte_offset);
 *
 * A line ends at LF; a CR before it and a byte order mark at the start of the file are dropped. A
 * line above LINES_MAX_BYTES is skipped and says too_long. One owner, one thread.
 */
#ifndef INGEST_LINES_H
#define INGEST_LINES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "store/error.h"

#define LINES_MAX_BYTES ((size_t)16 << 20)

struct lines {
    const char *text;     /* the line without its end, NUL-terminated; borrowed until the next call */
    size_t n;             /* bytes; NULs may be among them */
    uint64_t line;        /* 1-based */
    uint64_t byte_offset; /* of its first byte in the file */
    bool too_long;        /* text holds the beginning only */
    FILE *file;           /* the rest is the reader's own */
    const char *path;     /* borrowed */
    char *buffer;         /* owned */
    size_t capacity;
    uint64_t position;    /* of the next line */
};

/* Opens a regular file; path must outlive l. UTF-16 is refused (ERR_DATA). */
int lines_open(struct lines *l, const char *path, struct error *err) MUST_CHECK;
void lines_close(struct lines *l); /* a zeroed struct is fine */
/* 1: a line; 0: the end; negative: ERR_IO, ERR_NOMEM. */
int lines_next(struct lines *l, struct error *err) MUST_CHECK;
/* The next line read is the one that starts at byte_offset and has number `line`. */
int lines_seek(struct lines *l, uint64_t byte_offset, uint64_t line, struct error *err) MUST_CHECK;

#endif
