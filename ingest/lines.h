/* A text line by line, in constant memory: for manifests of any size, plain or compressed.
 *
 *     while ((rc = lines_next(l, &err)) > 0) use(l->text, l->n, l->line, l->byte_offset);
 *
 * A line ends at LF; a CR before it and a byte order mark at the start of the text are dropped. A
 * line above LINES_MAX_BYTES is skipped and says too_long. A stream that is cut off or broken ends
 * with one line more, which says why in `broken` and is empty: what was read of the line in which the
 * stream breaks is not given for a whole one. One owner, one thread.
 */
#ifndef INGEST_LINES_H
#define INGEST_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "ingest/stream.h"
#include "store/error.h"

#define LINES_MAX_BYTES ((size_t)16 << 20)

struct lines {
    const char *text;     /* the line without its end, NUL-terminated; borrowed until the next call */
    size_t n;             /* bytes; NULs may be among them */
    uint64_t line;        /* 1-based */
    uint64_t byte_offset; /* of its first byte in the text, unpacked and in UTF-8 */
    bool too_long;        /* text holds the beginning only */
    const char *broken;   /* NULL, or the sentence: the text ends here, and not as it should */
    /* the rest is the reader's own */
    struct stream *stream; /* owned */
    char *buffer;          /* owned; the unread text lies in begin..end */
    size_t capacity, begin, end;
    uint64_t offset;       /* of buffer[begin] in the text */
    size_t kept;           /* LINES_NONE, or where in the buffer the text behind lines_keep starts */
    uint64_t kept_line, kept_offset;
    size_t cut;            /* LINES_NONE, or where a NUL stands for `saved` */
    char saved;
    bool has_mark, at_end, has_failed;
    struct error why;
};
#define LINES_NONE SIZE_MAX

/* Opens a file, or standard input for "-". Folders and tars are refused (ERR_DATA, ERR_USAGE). */
int lines_open(struct lines *l, const char *path, struct error *err) MUST_CHECK;
/* The same over an open stream, which is taken, also on an error. path stands in errors. */
int lines_of_stream(struct lines *l, struct stream *stream, const char *path,
                    struct error *err) MUST_CHECK;
void lines_close(struct lines *l); /* a zeroed struct is fine */
/* 1: a line; 0: the end; negative: ERR_IO, ERR_NOMEM. */
int lines_next(struct lines *l, struct error *err) MUST_CHECK;
/* What is read from here on is kept in memory, until lines_drop forgets it, or lines_rewind makes it
 * the next that is read; not over a line that is too long. */
void lines_keep(struct lines *l);
void lines_drop(struct lines *l);
void lines_rewind(struct lines *l);
/* Progress, in bytes of the file as it lies. */
uint64_t lines_position(const struct lines *l);

#endif
