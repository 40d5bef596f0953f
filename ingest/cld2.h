/* The CLD2 library (Compact Language Detector 2, 83 languages) behind one C function.
 * ingest/langid.c is the only caller, and weighs the answer.
 *
 * No exception crosses. Threading: CLD2 reads constant tables and keeps its work on the stack; any
 * thread.
 *
 * Debian's libcld2_full (170 languages) was measured and left: it holds tables only, that replace
 * those of libcld2 when loaded before it, and is more often wrong about short texts (of the French
 * captions of samples/corpus that it names 83% are right, for 98%).
 */
#ifndef INGEST_CLD2_H
#define INGEST_CLD2_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CLD2's code ("en", "iw", "zh-Hant") for the language of a UTF-8 text when it calls itself reliable,
 * and how many percent of the text are in it; NULL: unsure or no UTF-8. Static. n <= INT_MAX. */
const char *cld2_name(const char *text, size_t n, int *percent);

#ifdef __cplusplus
}
#endif

#endif
