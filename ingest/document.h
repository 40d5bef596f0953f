/* One JSON document of any size, element by element, in constant memory.
 *
 *     document_open(&d, stream, path, &err);
 *     if (document_array(d, "annotations", &err) == 1)
 *         while (document_next(d, &value, &offset, &why)) { use(value); json_free(value); }
 *     document_close(d);
 *
 * The file is mapped; one that is compressed or comes through a pipe is unpacked into a temporary
 * file (ingest/scrap.h) first. Only elements are parsed; what lies between them is
 * walked over. One owner, one thread.
 * The file must not be cut while it is read.
 * Errors: ERR_DATA (the document is not JSON, or cut off), ERR_IO, ERR_NOSPACE, ERR_NOMEM.
 */
#ifndef INGEST_DOCUMENT_H
#define INGEST_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#include "ingest/stream.h"
#include "store/error.h"

#define DOCUMENT_MAX_ELEMENT ((size_t)16 << 20) /* bytes of one element */

struct document;
struct json;

/* stream is taken, also on an error; path stands in errors and must outlive d. */
int document_open(struct document **d, struct stream *stream, const char *path,
                  struct error *err) MUST_CHECK;
void document_close(struct document *d);
/* Goes to the array that is a member of the top object. 1; 0: there is no such array; ERR_DATA: the
 * document ends before one was found, and not with its last bracket. */
int document_array(struct document *d, const char *name, struct error *err) MUST_CHECK;
/* The same where the document itself is an array; ERR_DATA when it is none. */
int document_list(struct document *d, struct error *err) MUST_CHECK;
/* The next element of the array: 1, or 0 behind the last. *value is owned (json_free), or NULL when
 * the element is bad: *why (borrowed until the next call) says how, and the one after it can be asked
 * for. An array that breaks off ends with a bad element. *offset: of the element. */
int document_next(struct document *d, struct json **value, uint64_t *offset, const char **why);
/* The element at an offset that document_next gave. Owned, or NULL: out of memory, or bad. */
struct json *document_at(const struct document *d, uint64_t offset);
/* Progress: where the walk is, and the bytes in all. */
uint64_t document_position(const struct document *d);
uint64_t document_size(const struct document *d);

#endif
