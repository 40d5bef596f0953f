/* Near-duplicate pictures of a corpus: their groups, and those that stand on both sides of a split.
 *
 *     struct leaks l;
 *     leaks_open(&l, corpus, true, 0, &err);              // likenesses, groups, splits of every picture
 *     if (leaks_image(&l, image)) ...                     // its group stands in several splits
 *     l.group[image], l.n_leaking[SPLIT_TEST] ...
 *     leaks_close(&l);
 *
 * Two pictures are twins as ingest/twins.h says; a group is what twins join. A picture belongs to every
 * split that a pair of it has. Pictures without a likeness (they have no bytes, or came in when the corpus
 * was of version 1 and are not decoded for it now) stay alone, and are counted. 60 bytes a picture, and what twins_find needs while it
 * runs. One owner.
 */
#ifndef INGEST_LEAKS_H
#define INGEST_LEAKS_H

#include "ingest/twins.h"
#include "store/corpus.h"

struct leaks_edge {
    uint32_t a, b; /* images, twins of each other */
    int distance;  /* of their likenesses */
};

struct leaks {
    uint32_t n_images;
    uint32_t n_unknown;  /* without a likeness */
    uint32_t *group;     // (n_images) the smallest image of its group
    uint8_t *splits;     // (n_images) a bit a split
    uint32_t *n_in_group; // (n_images) pictures of the group, at its smallest image
    uint8_t *group_splits; // (n_images) the splits of the whole group, at its smallest image
    struct twins_counts counts;
    uint32_t n_leaking[SPLIT_N]; /* pictures of a split that leaks_image is true for */
    struct leaks_edge *edges;    // (n_edges) a spanning tree a group
    size_t n_edges, edges_capacity;
};

/* decode: make the likeness of pictures whose record has none out of their bytes; a millisecond or two
 * each. n_threads 0: as OpenMP has it. */
int leaks_open(struct leaks *l, struct corpus *c, bool decode, int n_threads,
               struct error *err) MUST_CHECK;
void leaks_close(struct leaks *l); /* a zeroed struct is fine */
/* Does the picture's group reach into this split? */
bool leaks_reaches(const struct leaks *l, uint32_t image, enum corpus_split split);
/* Does the picture's group, or the picture itself, stand in more than one split? */
bool leaks_image(const struct leaks *l, uint32_t image);

#endif
