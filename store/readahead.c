/* madvise on whole pages; see readahead.h. Asking alone is not enough: a fault that comes before its bytes
 * reads what the disk reads ahead (8 MiB here) around it, and throws out of a small memory what was asked
 * for. */
#include "store/readahead.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void readahead_ask(const void *bytes, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)bytes & ~(page - 1);
    if (!n) return;
    /* refused where the map cannot be read ahead: no matter */
    (void)!madvise((void *)from, (uintptr_t)bytes + n - from, MADV_WILLNEED);
}

void readahead_at_random(const void *from, const void *end, bool is_random)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)from & ~(page - 1);
    if (end <= from) return;
    (void)!madvise((void *)first, (uintptr_t)end - first, is_random ? MADV_RANDOM : MADV_NORMAL);
}
