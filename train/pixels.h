/* The pixels a student sees: decoded, preprocessed at the student's side, kept in a bounded cache.
 *
 *     pixels_open(&p, corpus, &preprocess, &plan, side, augment, limit_bytes, n_images, n_views, &err);
 *     pixels_fill(p, n, want, out, &err);                     // out (n, side, side, 3)
 *
 * View 0 is the teacher's preprocessing at `side`, view k the box and jitter replayed from the set's
 * plan.
 * With augmentation the cache holds a larger picture (5/4 of the side) of view 0, from which a mild
 * random crop and flip is drawn by (seed, epoch, image). Slots are given to (image, view) in order
 * until limit_bytes is used; what has no slot is decoded every time. What comes out does not depend
 * on the cache. Parallel over pictures; encoded bytes are fetched before the parallel region.
 */
#ifndef TRAIN_PIXELS_H
#define TRAIN_PIXELS_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/preprocess.h"
#include "featurize/view.h"
#include "store/corpus.h"

struct pixels;

struct pixels_options {
    struct corpus *corpus; /* borrowed */
    struct preprocess preprocess;
    struct view_plan plan;
    int side;
    bool augment;
    uint64_t seed, limit_bytes;
    uint32_t n_images, n_views;
};

struct pixels_want {
    uint32_t position; /* in the run's image table: names the slot */
    uint32_t number;   /* in the corpus */
    const uint8_t *key;
    uint32_t view;
    bool augment; /* a train picture of an augmented run */
    uint32_t epoch;
};

int pixels_open(struct pixels **p, const struct pixels_options *o, struct error *err) MUST_CHECK;
void pixels_close(struct pixels *p);
int pixels_fill(struct pixels *p, int n, const struct pixels_want *want, uint8_t *out,
                struct error *err) MUST_CHECK;

#endif
