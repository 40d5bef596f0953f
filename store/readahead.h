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

#include <stdbool.h>
#include <stddef.h>

void readahead_ask(const void *bytes, size_t n);

/* What lies between is touched at random and asked for beforehand: a page of it that is not in memory is read
 * alone, without the megabytes around it (read_ahead_kb of the disk). false: as any file again. Advice. */
void readahead_at_random(const void *from, const void *end, bool is_random);

#endif
