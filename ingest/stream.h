/* The bytes of a source: a file or standard input, plain or compressed (gzip, zstd, bzip2), and the
 * members of a tar in it. Library: libarchive.
 *
 *     stream_open(&s, "pairs.jsonl.zst", &err);
 *     if (stream_is_tar(s))
 *         while ((rc = stream_member(s, &m, &err)) > 0) stream_member_read(s, limit, &bytes, &n, &err);
 *     else
 *         while ((rc = stream_read(s, &block, &n, &err)) > 0) use(block, n);
 *     stream_close(s);
 *
 * What is compressed and what is a tar is told by the bytes, never by the name. Text in UTF-16, with its
 * byte order mark, is handed out as UTF-8. Memory is constant:
 * a stream that unpacks to a thousand times its size costs time only. Plain text is read without the
 * library. One owner, one thread.
 * Errors: ERR_NOT_FOUND, ERR_USAGE (a folder), ERR_IO, ERR_NOMEM; ERR_DATA when the file is packed in a
 * way that is not read (xz, zip, ...), or when the stream is cut off or broken: what was read before is
 * good, and nothing more can be had, not even what stands less than 128 KiB before the break. A
 * compressed stream with anything but zeros behind its end, and a tar without its end mark (blocks of
 * zeros), are taken for cut off.
 */
#ifndef INGEST_STREAM_H
#define INGEST_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define STREAM_STDIN "-"

struct stream;
/* path: "-" is standard input. Reads the first block, to see what it is. */
int stream_open(struct stream **s, const char *path, struct error *err) MUST_CHECK;
void stream_close(struct stream *s);
bool stream_is_tar(const struct stream *s);
/* The file can be mapped by its path: it is a regular one, not compressed, and not standard input. */
bool stream_is_plain(const struct stream *s);
/* The first bytes, unpacked, as many as the first block holds (at least 4 KiB of a longer stream),
 * without taking them; borrowed until stream_read. Not for a tar. */
void stream_peek(const struct stream *s, const char **bytes, size_t *n);
/* The next block, unpacked; borrowed until the next call. 1, 0 at the end. Not for a tar. */
int stream_read(struct stream *s, const char **bytes, size_t *n, struct error *err) MUST_CHECK;

struct stream_member {
    const char *name;     /* as it stands in the tar, any bytes but NUL; borrowed until the next member */
    uint64_t size;        /* as its header claims */
    uint64_t byte_offset; /* of its header in the unpacked tar, or of the zeros before it */
    bool is_file;         /* a regular file: no folder, link or device */
    bool is_folder;
};
/* 1: *m is filled; 0: the end. ERR_DATA: the tar is damaged or breaks off here; asked again, it goes on
 * with the next good header, or says that it is at the end. Tars one behind the other are read as one. */
int stream_member(struct stream *s, struct stream_member *m, struct error *err) MUST_CHECK;
/* The content of the member. ERR_DATA when it is larger than limit, and then the next member can be
 * asked for, or when the tar breaks off here, and then there is none. *bytes owned, a NUL behind. */
int stream_member_read(struct stream *s, uint64_t limit, char **bytes, size_t *n,
                       struct error *err) MUST_CHECK;

/* Progress: bytes read of the file as it lies, and its size; 0: not known (a pipe). */
uint64_t stream_position(const struct stream *s);
uint64_t stream_size(const struct stream *s);

#endif
