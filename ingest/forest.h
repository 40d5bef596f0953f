/* A spanning forest of least distances, of edges that come one by one.
 *
 *     forest_init(&f, n_nodes, &err);
 *     forest_add(&f, (struct forest_edge){a, b, distance});   // any number of times
 *     forest_settle(&f);                                      // f.edges, f.n_edges; forest_root(&f, a)
 *     forest_release(&f);
 *
 * Holds little more than n_nodes edges: when it is full it settles, that is, keeps those edges that
 * Kruskal's algorithm would (in order of distance, then of arrival) and forgets the others, which no
 * later edge can make needed again. Threading: one owner.
 */
#ifndef INGEST_FOREST_H
#define INGEST_FOREST_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define FOREST_MAX_DISTANCE 255

struct forest_edge {
    uint32_t a, b;
    uint8_t distance;
};

struct forest {
    struct forest_edge *edges, *sorted; // (capacity) each; owned
    size_t n_edges, capacity;
    uint32_t *root; // (n_nodes) parents; the smallest node of a tree is its root; owned
    uint32_t n_nodes;
};

/* ERR_NOMEM; f may be released after an error. */
int forest_init(struct forest *f, uint32_t n_nodes, struct error *err) MUST_CHECK;
void forest_release(struct forest *f);
void forest_add(struct forest *f, struct forest_edge e);
/* Leaves the spanning forest of all edges so far in edges, sorted by distance, and its trees in root. */
void forest_settle(struct forest *f);
/* The smallest node of the tree of a, as of the last forest_settle. */
uint32_t forest_root(struct forest *f, uint32_t a);

#endif
