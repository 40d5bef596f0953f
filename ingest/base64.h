/* Base64 (RFC 4648, sections 4 and 5: both alphabets), as Chinese-CLIP keeps its pictures. Pure. */
#ifndef INGEST_BASE64_H
#define INGEST_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that n characters decode to at most. */
#define BASE64_BYTES(n) ((n) / 4 * 3 + 3)

/* Decodes n characters into out, with or without padding at the end; bits left over in the last
 * character are not looked at. The number of bytes, or -1 - the offset of the first character that
 * does not belong (of the end, when one is missing). out may be the text itself. */
int64_t base64_decode(const char *text, size_t n, uint8_t *out);

#endif
