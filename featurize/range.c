/* mmap without swap reservation; see range.h. Transparent huge pages matter: with 4-KiB pages the
 * first touch of a training step's activations costs as much as computing them. */
#include "featurize/range.h"

#include <sys/mman.h>

int range_open(struct range *r, size_t n_bytes, struct error *err)
{
    for (size_t size = n_bytes; size >= n_bytes / 64 && size > 0; size /= 2) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) continue;
        madvise(p, size, MADV_HUGEPAGE); /* advice: smaller pages do as well */
        *r = (struct range){.base = p, .size = size};
        return 0;
    }
    *r = (struct range){0};
    return error_errno(
        err, "cannot reserve %zu bytes of address space for activations (see ulimit -v)", n_bytes);
}

void range_close(struct range *r)
{
    if (r->base) munmap(r->base, r->size);
    *r = (struct range){0};
}
