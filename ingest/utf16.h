/* UTF-16 text, as spreadsheets export it, to UTF-8, block by block.
 *
 *     struct utf16 u;
 *     if (utf16_begins(head, n, &u))                          // a byte order mark
 *         n_out = utf16_decode(&u, block, n, out);            // out: UTF16_BYTES(n)
 *
 * What a block leaves half (a byte, a high surrogate) waits for the next one; utf16_end gives what is
 * left at the end of the text. A surrogate without its other half becomes three bytes that are no
 * UTF-8, so that the record is refused as such where it stands. Plain data; one owner.
 */
#ifndef INGEST_UTF16_H
#define INGEST_UTF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that a block of n bytes decodes to at most. */
#define UTF16_BYTES(n) ((n) / 2 * 3 + 9)

struct utf16 {
    bool is_big_endian, has_odd;
    uint8_t odd;   /* the first byte of a unit */
    uint16_t high; /* a surrogate that waits for its low one; 0: none */
};

/* Does the text begin with a mark of UTF-16? The mark is part of what is decoded: U+FEFF. */
bool utf16_begins(const char *head, size_t n, struct utf16 *u);
size_t utf16_decode(struct utf16 *u, const char *in, size_t n, char *out);
size_t utf16_end(struct utf16 *u, char *out);

#endif
