/* Deflated bytes: the one file that knows zlib.
 *
 *     struct zstream *z = zstream_new(err);
 *     while (span.n && state == ZSTREAM_MORE) state = zstream_run(z, &span, &out);
 *     zstream_free(z);
 *
 * Threading: one user a stream. Format: RFC 1950, RFC 1951.
 */
#ifndef INGEST_ZSTREAM_H
#define INGEST_ZSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct zstream;

enum zstream_state { ZSTREAM_MORE, ZSTREAM_END, ZSTREAM_BROKEN, ZSTREAM_NOMEM };

struct zstream *zstream_new(struct error *err) MUST_CHECK; /* owned: zstream_free */
void zstream_free(struct zstream *z);

/* Inflates from *in to *out until one of them is used up or the stream ends, and moves both on. */
enum zstream_state zstream_run(struct zstream *z, const uint8_t **in, size_t *n_in, uint8_t **out,
                               size_t *n_out);

/* A whole stream of at most max bytes, of which the first max are written to out (NULL: nowhere).
 * *n_out: how many there are, also when they are broken off. False when there would be more. */
bool zstream_whole(struct zstream *z, const uint8_t *in, size_t n_in, size_t max, uint8_t *out,
                   size_t *n_out, enum zstream_state *state);

uint32_t zstream_crc(uint32_t crc, const uint8_t *bytes, size_t n); /* CRC-32; 0 at first */

#endif
