/* Caption clean-up with ICU: the normalised text whose SHA-256 is the caption's key.
 *
 * Validates UTF-8 (byte offset of the first bad byte in the error), NFC, white space and line
 * breaks of any kind collapse to one space, trimmed; C0/C1 controls, BOM and bidi control
 * characters are dropped (ZWJ, ZWNJ and variation selectors stay: emoji and Indic scripts need
 * them). Pure; any thread. Library: ICU.
 */
#ifndef INGEST_CAPTION_H
#define INGEST_CAPTION_H

#include <stddef.h>

#include "store/error.h"

#define CAPTION_RULE "nfc-space-1" /* goes into fingerprints; bump when the rule changes */
#define CAPTION_MAX_BYTES 65535

/* *out owned (memory_free), NUL-terminated, *n_out bytes. ERR_DATA: "bad-utf8", "empty", "too-long"
 * in *reason (static). */
int caption_normalise(const char *text, size_t n, char **out, size_t *n_out, const char **reason,
                      struct error *err) MUST_CHECK;
/* A BCP 47 tag in canonical form ("zh-hans-CN" and "zh_hans_CN" -> "zh-Hans-CN", "iw" -> "he", ""
 * -> "und"); ERR_DATA for what is no tag. */
#define CAPTION_MAX_LANGUAGE 64 /* enough for out */
int caption_language(const char *tag, char *out, size_t size, struct error *err) MUST_CHECK;
/* text as valid UTF-8 without controls ('?' stands for each bad byte), cut to size - 1 bytes
 * between characters: for messages and quarantine. */
void caption_printable(const char *text, char *out, size_t size);

#endif
