/* Near-duplicates among n pictures, found exactly.
 *
 *     struct twins_options o = twins_defaults();
 *     int rc = twins_find(likenesses, NULL, n, &o, group, &counts, NULL, NULL, &err);
 *     // group[i] == group[j]: i and j are twins, or joined by a chain of twins
 *
 * Twins are two pictures whose likeness_distance is at most max_distance. All of them are found: a
 * distance d leaves d/2 differing bits, of which one of four bands of 16 bits has so few that all
 * its neighbours can be looked up (Manku, Jain, Das Sarma, "Detecting Near-Duplicates for Web
 * Crawling", 2007; bands are probed here instead of permuted). Equal signatures are one before the
 * search, so copies cost nothing, however many. Time grows with the sum of the squares of the bands'
 * buckets: a million distinct pictures take seconds, a hundred thousand that agree in a whole band
 * some more.
 *
 * The default, 18, was chosen by measuring (README.md): the largest at which the 2,160 drawn pictures
 * of samples/corpus have no false pair; 1,875 photos of clothes, many of one kind before one wall,
 * have 2 in 1.76 million pairs, and all are groups of two.
 *
 * Groups are the connected parts of the graph of twins: nothing else is independent of the order of
 * the pictures. Chains are thus possible, a ~ b ~ c without a ~ c; the threshold keeps them rare, and
 * counts.n_largest shows when they are not. The result depends on neither the number of threads nor
 * the order of the pictures (but for their numbers).
 * Threading: one call uses o->n_threads threads; calls are independent.
 */
#ifndef INGEST_TWINS_H
#define INGEST_TWINS_H

#include <stddef.h>
#include <stdint.h>

#include "ingest/likeness.h"
#include "store/error.h"

#define TWINS_MAX_DISTANCE 31 /* of max_distance: 15 bits, three in a band */

struct twins_options {
    int max_distance; /* 0..TWINS_MAX_DISTANCE */
    int n_threads;    /* 0: as many as OpenMP gives */
};
struct twins_options twins_defaults(void); /* 18, 0 */

struct twins_counts {
    uint64_t n_known;    /* pictures with a likeness */
    uint64_t n_distinct; /* different likenesses among them */
    uint64_t n_pairs;    /* pairs of twins, those between copies too, chains not */
    uint64_t n_groups;   /* of two pictures or more */
    uint64_t n_grouped;  /* pictures in them */
    uint64_t n_largest;  /* pictures in the largest; 0 when there is none */
};

/* An edge between twins a < b; a negative return stops the search, which returns it. */
typedef int twins_edge(void *ctx, uint32_t a, uint32_t b, int distance);

/* known: (n) or NULL; a picture whose byte is 0 has no likeness and stays alone. n < 2^32 - 1.
 * group: (n), out: the smallest number of i's group; alone: i. counts may be NULL.
 * edge may be NULL. It is called, from this thread, for the edges of a spanning tree of each group:
 * twins all, of the least distances that can join the group (copies of one signature are joined to
 * their first), in order of (a, b). These are n_grouped - n_groups edges, however many pairs there
 * are; the pairs are only counted.
 * Needs about 100 bytes a picture while it runs. ERR_USAGE (max_distance or n out of range),
 * ERR_NOMEM; after an error group and counts mean nothing. */
int twins_find(const struct likeness *l, const uint8_t *known, size_t n,
               const struct twins_options *o, uint32_t *group, struct twins_counts *counts,
               twins_edge *edge, void *ctx, struct error *err) MUST_CHECK;

#endif
