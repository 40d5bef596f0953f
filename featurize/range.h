/* A reserved range of address space that becomes memory as it is touched: growing needs no malloc
 * and moves nothing.
 *
 *     struct range r;
 *     range_open(&r, (size_t)16 << 30, &err);      // r.base .. r.base + r.size, zero until written
 *     range_close(&r);
 *
 * Huge pages are asked for, and pages once touched stay. A range belongs to one thread.
 */
#ifndef FEATURIZE_RANGE_H
#define FEATURIZE_RANGE_H

#include <stddef.h>

#include "store/error.h"

struct range {
    char *base; /* page-aligned; NULL when closed */
    size_t size;
};

/* Reserves n_bytes, or half as much and so on down to a 64th where the system limits address space.
 * ERR_NOMEM names the size. */
int range_open(struct range *r, size_t n_bytes, struct error *err) MUST_CHECK;
void range_close(struct range *r);

#endif
