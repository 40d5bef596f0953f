/* Asking the kernel for mapped bytes before they are read, so that a disk answers many requests at
 * once instead of one page fault after the other.
 *
 *     for (i = 0; i < n; i++) readahead_ask(value[i].bytes, value[i].n);   // returns at once
 *     ... read them in any order
 *
 * A hint: it cannot fail, and without it nothing but time is different. Bytes must lie in a map of a
 * file (a value of store/kv.h does). Any thread.
 */
#ifndef STORE_READAHEAD_H
#define STORE_READAHEAD_H

#include <stddef.h>

void readahead_ask(const void *bytes, size_t n);

#endif
