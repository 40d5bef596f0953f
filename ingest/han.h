/* Simplified or traditional characters, for the tags "zh" and "zh-Hant".
 *
 * GB 2312 (1980) lists what is written in simplified Chinese, Big5 (1984) in traditional; the
 * characters that were never simplified stand in both. So a text with a character that GB 2312 lacks
 * and Big5 has is traditional, unless it also has one of the other kind. Caller: ingest/langid.c.
 * Pure; any thread. Library: ICU's converters.
 */
#ifndef INGEST_HAN_H
#define INGEST_HAN_H

#include <stdbool.h>
#include <stddef.h>

/* n bytes of UTF-8; what is no Han character says nothing. False also when ICU lacks its tables. */
bool han_is_traditional(const char *text, size_t n);

#endif
