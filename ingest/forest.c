/* Edges in, a spanning forest out; see forest.h. Called by the search of twins, whose edges may be
 * as many as the square of the pictures while the pictures fit in memory. */
#include "ingest/forest.h"

#include <string.h>

#include "store/memory.h"

#define SPARE 65536 /* edges beyond a forest's: settling is paid for by as many arrivals at least */

int forest_init(struct forest *f, uint32_t n_nodes, struct error *err)
{
    *f = (struct forest){.n_nodes = n_nodes, .capacity = (size_t)n_nodes + n_nodes / 2 + SPARE};
    f->edges = memory_array(f->capacity, sizeof *f->edges, MEMORY_MAX_TENSOR, err);
    if (f->edges) f->sorted = memory_array(f->capacity, sizeof *f->sorted, MEMORY_MAX_TENSOR, err);
    if (f->sorted) f->root = memory_array(n_nodes, sizeof *f->root, MEMORY_MAX_TENSOR, err);
    if (!f->root) return ERR_NOMEM;
    for (uint32_t i = 0; i < n_nodes; i++) f->root[i] = i;
    return 0;
}

void forest_release(struct forest *f)
{
    memory_free(f->edges);
    memory_free(f->sorted);
    memory_free(f->root);
    *f = (struct forest){0};
}

void forest_add(struct forest *f, struct forest_edge e)
{
    if (f->n_edges == f->capacity) forest_settle(f);
    f->edges[f->n_edges++] = e;
}

uint32_t forest_root(struct forest *f, uint32_t a)
{
    while (f->root[a] != a) a = f->root[a] = f->root[f->root[a]];
    return a;
}

void forest_settle(struct forest *f)
{
    size_t start[FOREST_MAX_DISTANCE + 2] = {0}, n = 0;
    for (size_t i = 0; i < f->n_edges; i++) start[f->edges[i].distance + 1]++;
    for (int d = 0; d <= FOREST_MAX_DISTANCE; d++) start[d + 1] += start[d];
    for (size_t i = 0; i < f->n_edges; i++) f->sorted[start[f->edges[i].distance]++] = f->edges[i];
    for (uint32_t i = 0; i < f->n_nodes; i++) f->root[i] = i;
    for (size_t i = 0; i < f->n_edges; i++) {
        uint32_t a = forest_root(f, f->sorted[i].a), b = forest_root(f, f->sorted[i].b);
        if (a == b) continue;
        if (a < b)
            f->root[b] = a;
        else
            f->root[a] = b;
        f->edges[n++] = f->sorted[i];
    }
    f->n_edges = n;
}
