/* The search of near-duplicates; see twins.h. Called by eval and prune on all pictures of a corpus.
 * Serial: equal signatures become one node, nodes are sorted into the buckets of one band after the
 * other. Parallel: workers compare buckets with their neighbours and fill buffers of fixed size.
 * Serial again: the buffers, in an order that no thread has a part in, go to the forest. */
#include "ingest/twins.h"

#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/forest.h"
#include "store/memory.h"

enum {
    BANDS = 4,
    BAND_BITS = 16,
    BUCKETS = 1 << BAND_BITS,
    MAX_RADIUS = (TWINS_MAX_DISTANCE / 2 + BANDS) / BANDS - 1,
    MAX_MASKS = 1 + 16 + 120 + 560, /* words of 16 bits with at most MAX_RADIUS = 3 set */
    SHARES = 64,                    /* of a turn: what a worker takes at once */
    SHARE_NODES = 256,
    SHARE_EDGES = 1024
};

/* A picture's signature, as it is sorted. */
struct entry {
    uint64_t hash, colour; /* colour: its bytes as a word, for order and equality alone */
    uint32_t picture;
};

/* Different signatures, in order of (hash, colour). */
struct nodes {
    uint32_t n;
    uint32_t *first;  // (n + 1) their entries; those of one node in order of pictures
    uint64_t *hash;   // (n) in the order of the band that is being searched
    uint32_t *number; // (n) the node that stands there
    uint32_t *start;  // (BUCKETS + 1) where a value of the band begins
};

/* A run of nodes whose neighbours a worker looks up; where it stopped when its buffer was full. */
struct share {
    uint32_t place, end; /* in the order of the band */
    int mask;            /* the neighbour in hand ... */
    uint32_t candidate;  /* ... and where in its bucket; 0: at the beginning */
    uint32_t n_edges;
    struct forest_edge *edges; // (SHARE_EDGES); borrowed
};

struct search {
    const struct likeness *l;
    const struct entry *entries;
    struct nodes nodes;
    struct forest forest;
    struct share share[SHARES];
    struct forest_edge *buffers; // (SHARES, SHARE_EDGES); owned
    uint16_t mask[MAX_MASKS];    /* by number of bits */
    int n_masks[MAX_RADIUS + 1]; /* with at most so many bits */
    int radius[BANDS];           /* differing bits looked up; -1: none needed */
    int max_distance, n_threads;
    uint64_t n_pairs;
};

struct twins_options twins_defaults(void)
{
    return (struct twins_options){.max_distance = 18};
}

/* __builtin_popcountll calls a function unless the machine is known to have the instruction. */
static inline int popcount(uint64_t x)
{
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (int)((x * 0x0101010101010101u) >> 56);
}

static inline uint16_t band_of(uint64_t hash, int band)
{
    return (uint16_t)(hash >> (BAND_BITS * band));
}

/* With r + 1 summing up to one more than the differing bits, some band has at most its r of them. */
static void plan(struct search *s)
{
    int n = 0, share = s->max_distance / 2 + 1;
    for (int r = 0; r <= MAX_RADIUS; r++) {
        for (int m = 0; m < BUCKETS; m++)
            if (popcount((uint64_t)m) == r) s->mask[n++] = (uint16_t)m;
        s->n_masks[r] = n;
    }
    for (int b = 0; b < BANDS; b++) s->radius[b] = share / BANDS + (b < share % BANDS) - 1;
}

static int by_signature(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    if (x->colour != y->colour) return x->colour < y->colour ? -1 : 1;
    return x->picture < y->picture ? -1 : 1;
}

static int sort_entries(const struct likeness *l, const uint8_t *known, size_t n,
                        struct entry **entries, uint32_t *n_entries, struct error *err)
{
    uint32_t m = 0;
    struct entry *e = *entries = memory_array(n, sizeof *e, MEMORY_MAX_TENSOR, err);
    if (!e) return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        if (known && !known[i]) continue;
        e[m] = (struct entry){.hash = l[i].hash, .picture = (uint32_t)i};
        memcpy(&e[m++].colour, l[i].colour, sizeof l[i].colour);
    }
    qsort(e, m, sizeof *e, by_signature);
    *n_entries = m;
    return 0;
}

static int make_nodes(struct nodes *d, const struct entry *e, uint32_t n_entries, struct error *err)
{
    d->first = memory_array((uint64_t)n_entries + 1, sizeof *d->first, MEMORY_MAX_TENSOR, err);
    if (!d->first) return ERR_NOMEM;
    for (uint32_t i = 0; i < n_entries; i++)
        if (i == 0 || e[i].hash != e[i - 1].hash || e[i].colour != e[i - 1].colour)
            d->first[d->n++] = i;
    d->first[d->n] = n_entries;
    d->hash = memory_array(d->n, sizeof *d->hash, MEMORY_MAX_TENSOR, err);
    d->number = memory_array(d->n, sizeof *d->number, MEMORY_MAX_TENSOR, err);
    d->start = memory_array(BUCKETS + 1, sizeof *d->start, MEMORY_MAX_TENSOR, err);
    return d->hash && d->number && d->start ? 0 : ERR_NOMEM;
}

/* Counting sort by the band's value; nodes of one value stay in order. */
static void sort_into_buckets(struct nodes *d, const struct entry *e, int band)
{
    memset(d->start, 0, (BUCKETS + 1) * sizeof *d->start);
    for (uint32_t k = 0; k < d->n; k++) d->start[band_of(e[d->first[k]].hash, band) + 1]++;
    for (int v = 0; v < BUCKETS; v++) d->start[v + 1] += d->start[v];
    for (uint32_t k = 0; k < d->n; k++) {
        uint64_t hash = e[d->first[k]].hash;
        uint32_t at = d->start[band_of(hash, band)]++;
        d->hash[at] = hash;
        d->number[at] = k;
    }
    memmove(d->start + 1, d->start, BUCKETS * sizeof *d->start);
    d->start[0] = 0;
}

static inline uint32_t picture_of(const struct search *s, uint32_t node)
{
    return s->entries[s->nodes.first[node]].picture;
}

/* The pair was met before: an earlier band has few enough of its differing bits. */
static bool met_before(const struct search *s, uint64_t differing, int band)
{
    for (int b = 0; b < band; b++)
        if (popcount(band_of(differing, b)) <= s->radius[b]) return true;
    return false;
}

/* Compares node `place` with places from..to; returns where the buffer was full, or `to`. */
static uint32_t compare(const struct search *s, struct share *w, int band, uint32_t from,
                        uint32_t to)
{
    const uint64_t *hash = s->nodes.hash, mine = hash[w->place];
    int max_bits = s->max_distance / 2;
    for (uint32_t q = from; q < to; q++) {
        uint64_t differing = mine ^ hash[q];
        if (popcount(differing) > max_bits || met_before(s, differing, band)) continue;
        uint32_t a = s->nodes.number[w->place], b = s->nodes.number[q];
        int distance = likeness_distance(s->l + picture_of(s, a), s->l + picture_of(s, b));
        if (distance > s->max_distance) continue;
        if (w->n_edges == SHARE_EDGES) return q;
        w->edges[w->n_edges++] = (struct forest_edge){a, b, (uint8_t)distance};
    }
    return to;
}

/* Goes on with a share until it is done or its buffer is full. Each pair of buckets is looked at
 * from the smaller value, each pair in a bucket from the earlier place. */
static void work(const struct search *s, struct share *w, int band)
{
    const uint32_t *start = s->nodes.start;
    for (; w->place < w->end; w->place++, w->mask = 0) {
        uint16_t value = band_of(s->nodes.hash[w->place], band);
        for (; w->mask < s->n_masks[s->radius[band]]; w->mask++, w->candidate = 0) {
            uint16_t other = value ^ s->mask[w->mask];
            if (other < value) continue;
            uint32_t from = other == value ? w->place + 1 : start[other], to = start[other + 1];
            if (w->candidate) from = w->candidate;
            uint32_t stop = compare(s, w, band, from, to);
            if (stop == to) continue;
            w->candidate = stop;
            return;
        }
    }
}

static uint64_t copies(const struct search *s, uint32_t node)
{
    return s->nodes.first[node + 1] - s->nodes.first[node];
}

static void search_band(struct search *s, int band)
{
    uint32_t next = 0, n = s->nodes.n;
    int n_threads = s->n_threads;
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < SHARES; i++) {
            struct share *w = &s->share[i];
            w->n_edges = 0;
            if (w->place < w->end) continue;
            w->place = next;
            w->end = next = n - next < SHARE_NODES ? n : next + SHARE_NODES;
            w->mask = 0, w->candidate = 0;
        }
#pragma omp parallel for default(none) num_threads(n_threads) schedule(dynamic) shared(s, band)
        for (int i = 0; i < SHARES; i++) work(s, &s->share[i], band);
        for (int i = 0; i < SHARES; i++) {
            struct share *w = &s->share[i];
            busy |= w->place < w->end;
            for (uint32_t k = 0; k < w->n_edges; k++) {
                s->n_pairs += copies(s, w->edges[k].a) * copies(s, w->edges[k].b);
                forest_add(&s->forest, w->edges[k]);
            }
        }
        busy |= next < n;
    }
}

/* Labels by the smallest picture and counts; size: (nodes) zero, pictures of the tree of a root. */
static void label(struct search *s, uint32_t *smallest, uint64_t *size, uint32_t *group,
                  struct twins_counts *c)
{
    for (uint32_t k = 0; k < s->nodes.n; k++) {
        uint32_t root = forest_root(&s->forest, k), picture = picture_of(s, k);
        if (!size[root] || picture < smallest[root]) smallest[root] = picture;
        size[root] += copies(s, k);
        c->n_pairs += copies(s, k) * (copies(s, k) - 1) / 2;
    }
    for (uint32_t k = 0; k < s->nodes.n; k++) {
        uint32_t root = forest_root(&s->forest, k);
        for (uint32_t i = s->nodes.first[k]; i < s->nodes.first[k + 1]; i++)
            group[s->entries[i].picture] = smallest[root];
        if (size[k] < 2) continue;
        c->n_groups++;
        c->n_grouped += size[k];
        if (size[k] > c->n_largest) c->n_largest = size[k];
    }
}

static int by_pictures(const void *a, const void *b)
{
    const struct forest_edge *x = a, *y = b;
    if (x->a != y->a) return x->a < y->a ? -1 : 1;
    return x->b < y->b ? -1 : x->b > y->b;
}

static int tell_edges(const struct search *s, uint64_t n_edges, twins_edge *edge, void *ctx,
                      struct error *err)
{
    struct forest_edge *e = memory_array(n_edges, sizeof *e, MEMORY_MAX_TENSOR, err);
    size_t n = 0;
    int rc = e ? 0 : ERR_NOMEM;
    if (!e) return rc;
    for (size_t i = 0; i < s->forest.n_edges; i++) {
        uint32_t a = picture_of(s, s->forest.edges[i].a), b = picture_of(s, s->forest.edges[i].b);
        e[n++] = (struct forest_edge){a < b ? a : b, a < b ? b : a, s->forest.edges[i].distance};
    }
    for (uint32_t k = 0; k < s->nodes.n; k++)
        for (uint32_t i = s->nodes.first[k] + 1; i < s->nodes.first[k + 1]; i++)
            e[n++] = (struct forest_edge){picture_of(s, k), s->entries[i].picture, 0};
    qsort(e, n, sizeof *e, by_pictures);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = edge(ctx, e[i].a, e[i].b, e[i].distance);
        if (rc > 0) rc = 0;
    }
    memory_free(e);
    return rc;
}

static int check(const struct twins_options *o, size_t n, struct error *err)
{
    if (o->max_distance < 0 || o->max_distance > TWINS_MAX_DISTANCE)
        return error_set(err, ERR_USAGE,
                         "a distance of twins of at most %d makes no sense; 0 to %d do",
                         o->max_distance, TWINS_MAX_DISTANCE);
    if (n >= UINT32_MAX)
        return error_set(err, ERR_USAGE, "%zu pictures; twins are found among at most %u", n,
                         UINT32_MAX - 1);
    return 0;
}

/* Makes room; s may be released after an error. */
static int search_init(struct search *s, const struct twins_options *o, uint32_t n_entries,
                       struct error *err)
{
    s->max_distance = o->max_distance;
    s->n_threads = o->n_threads > 0 ? o->n_threads : omp_get_max_threads();
    plan(s);
    s->buffers = memory_array(SHARES * SHARE_EDGES, sizeof *s->buffers, MEMORY_MAX_SMALL, err);
    if (!s->buffers) return ERR_NOMEM;
    for (int i = 0; i < SHARES; i++) s->share[i].edges = s->buffers + (size_t)i * SHARE_EDGES;
    int rc = make_nodes(&s->nodes, s->entries, n_entries, err);
    return rc < 0 ? rc : forest_init(&s->forest, s->nodes.n, err);
}

static void search_release(struct search *s)
{
    if (!s) return;
    forest_release(&s->forest);
    memory_free(s->nodes.first);
    memory_free(s->nodes.hash);
    memory_free(s->nodes.number);
    memory_free(s->nodes.start);
    memory_free(s->buffers);
    memory_free(s);
}

int twins_find(const struct likeness *l, const uint8_t *known, size_t n,
               const struct twins_options *o, uint32_t *group, struct twins_counts *counts,
               twins_edge *edge, void *ctx, struct error *err)
{
    struct entry *entries = NULL;
    struct search *s = NULL;
    uint32_t *smallest = NULL, n_entries = 0;
    uint64_t *size = NULL;
    int rc = check(o, n, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < n; i++) group[i] = (uint32_t)i;
    rc = sort_entries(l, known, n, &entries, &n_entries, err);
    if (rc < 0) goto done;
    rc = ERR_NOMEM;
    if (!(s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err))) goto done;
    s->l = l, s->entries = entries;
    if (search_init(s, o, n_entries, err) < 0) goto done;
    for (int b = 0; b < BANDS; b++) {
        if (s->radius[b] < 0) continue;
        sort_into_buckets(&s->nodes, entries, b);
        search_band(s, b);
    }
    forest_settle(&s->forest);
    smallest = memory_array(s->nodes.n, sizeof *smallest, MEMORY_MAX_TENSOR, err);
    size = memory_array(s->nodes.n, sizeof *size, MEMORY_MAX_TENSOR, err);
    if (!smallest || !size) goto done;
    struct twins_counts c = {.n_known = n_entries, .n_distinct = s->nodes.n, .n_pairs = s->n_pairs};
    label(s, smallest, size, group, &c);
    rc = edge ? tell_edges(s, c.n_grouped - c.n_groups, edge, ctx, err) : 0;
    if (rc == 0 && counts) *counts = c;
done:
    search_release(s);
    memory_free(smallest);
    memory_free(size);
    memory_free(entries);
    return rc;
}
