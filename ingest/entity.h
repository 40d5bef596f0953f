/* HTML character references in captions that were scraped: "&amp;" "&#39;" "&#x1F600;" "&nbsp;".
 *
 *     uint32_t c;
 *     size_t k = entity_decode(text + i, n - i, &c);   // text[i] is '&'
 *     if (k == 0) ...                                  // just an ampersand
 *
 * Names are the 253 of HTML 4 (libxml2's table) with exact case; numbers follow the HTML standard:
 * 0, surrogates and what is above U+10FFFF give U+FFFD, 0x80-0x9F are windows-1252. The semicolon is
 * required. Caller: ingest/caption.c. Pure; any thread.
 */
#ifndef INGEST_ENTITY_H
#define INGEST_ENTITY_H

#include <stddef.h>
#include <stdint.h>

/* The reference that text (n > 0 bytes) begins with: *c its code point, the result its length in
 * bytes with '&' and ';'. 0, with *c untouched: none stands there. */
size_t entity_decode(const char *text, size_t n, uint32_t *c);

#endif
