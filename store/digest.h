/* Digests: SHA-256 keys of content, and short checksums of our own records.
 *
 * An image's key is the SHA-256 of its file's bytes, a caption's of its normalised text: keys must
 * hold against a hostile corpus. A record checksum is the first 8 bytes of the SHA-256 of its
 * bytes, read as a little-endian u64; a set digest is the wrapping sum of record checksums, so that
 * it can be kept up to date when one record is added or taken away. Pure functions; any thread.
 * Library: libcrypto.
 */
#ifndef STORE_DIGEST_H
#define STORE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define DIGEST_BYTES 32
#define DIGEST_HEX 65 /* 64 hex digits and a NUL */

void digest_of(const void *bytes, size_t n, uint8_t out[DIGEST_BYTES]);

/* The record checksum described above. */
uint64_t digest_short(const void *bytes, size_t n);

void digest_to_hex(const uint8_t digest[DIGEST_BYTES], char hex[DIGEST_HEX]);

/* 0, or ERR_DATA unless hex is exactly 64 hex digits. */
int digest_from_hex(const char *hex, uint8_t digest[DIGEST_BYTES], struct error *err) MUST_CHECK;

/* Streaming form. d = digest_new(err); digest_add(d, ...); digest_finish(d, out) frees d. */
struct digest;
struct digest *digest_new(struct error *err) MUST_CHECK;
void digest_add(struct digest *d, const void *bytes, size_t n);
void digest_finish(struct digest *d, uint8_t out[DIGEST_BYTES]);

#endif
