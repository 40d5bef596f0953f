/* Near-duplicates among n pictures, found exactly.
 *
 *     struct twins_options o = twins_defaults();
 *     int rc = twins_find(likenesses, NULL, n, &o, group, &counts, NULL, NULL, &err);
 *     // group[i] == group[j]: i and j are twins, or joined by a chain of twins
 *
 * Two pictures are twins when their hashes differ in at most max_bits bits and their colours by at
 * most max_colour. All such pairs are found: 64 bits in 4 bands leave one band with at most
 * max_bits/4 differing bits, and every band is looked up with all its neighbours of that distance
 * (Manku, Jain, Das Sarma, "Detecting Near-Duplicates for Web Crawling", 2007, with bands probed
 * instead of permuted). Equal signatures are one before the search, so that any number of copies
 * costs nothing; time grows with the sum of squares of the sizes of the bands' buckets.
 *
 * Groups are the connected parts. group[i] is the smallest number of i's group; alone: i. Chains are
 * allowed, because the parts alone do not depend on the order of the pictures; counts says how long
 * they are. The result depends on neither threads nor order (up to the numbering).
 * Threading: one call uses o->n_threads threads; calls are independent.
 */
#ifndef INGEST_TWINS_H
#define INGEST_TWINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ingest/likeness.h"
#include "store/error.h"

#define TWINS_MAX_BITS 15 /* of max_bits: three differing bits in a band */

struct twins_options {
    int max_bits;   /* of the hashes, 0..TWINS_MAX_BITS */
    int max_colour; /* of the colours, 0..255 */
    int n_threads;  /* 0: as many as OpenMP gives */
};
struct twins_options twins_defaults(void);

struct twins_counts {
    uint64_t n_known;    /* pictures with a likeness */
    uint64_t n_distinct; /* different likenesses among them */
    uint64_t n_pairs;    /* pairs of twins, without chains */
    uint32_t n_groups;   /* of two pictures or more */
    uint32_t n_grouped;  /* pictures in them */
    uint32_t n_largest;  /* pictures in the largest; 0 when there is none */
};

/* An edge between twins, a < b, `bits` apart; negative: stop and return that. */
typedef int twins_edge(void *ctx, uint32_t a, uint32_t b, int bits);

bool twins_near(const struct likeness *a, const struct likeness *b, const struct twins_options *o);

/* known: (n) or NULL; a picture whose byte is 0 has no likeness and stays alone. n < 2^32 - 1.
 * group: (n), out. counts may be NULL. edge may be NULL; it is called from this thread for the edges
 * of a spanning tree of each group that joins by the smallest distances, sorted by (a, b): one edge
 * fewer than the group has pictures, each of them a pair of twins, never a chain.
 * Needs about 100 bytes a picture while it runs. ERR_USAGE (a threshold out of range), ERR_NOMEM;
 * after an error group and counts mean nothing. */
int twins_find(const struct likeness *l, const uint8_t *known, size_t n,
               const struct twins_options *o, uint32_t *group, struct twins_counts *counts,
               twins_edge *edge, void *ctx, struct error *err) MUST_CHECK;

#endif
