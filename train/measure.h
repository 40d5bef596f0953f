/* A number with what it takes to believe it: n, a 95% interval, the chance level.
 *
 * The interval is a percentile bootstrap over clusters (all captions of one picture are drawn
 * together, since they are not independent), with a fixed seed; an accuracy of a few hundred
 * queries is worth little without it. Pure functions; deterministic; any thread.
 */
#ifndef TRAIN_MEASURE_H
#define TRAIN_MEASURE_H

#include <stdint.h>

#include "store/error.h"

struct measure {
    double value;     /* mean of the hits, 0..1; NaN when n == 0 */
    double low, high; /* 95% interval */
    double chance;    /* expectation of a random ranking */
    int64_t n;        /* queries */
};

#define MEASURE_RESAMPLES 1000

/* Queries that are averaged by themselves before the parts are averaged: the directions of a mean
 * recall, the classes of a mean accuracy. */
struct measure_part {
    int64_t n;
    const float *hit;       // (n)
    const int32_t *cluster; // (n) in [0, n_clusters): which queries are drawn together
};

/* The mean over the parts of the mean of each (parts without queries do not count). */
int measure_parts(int n_parts, const struct measure_part *parts, int32_t n_clusters, uint64_t seed,
                  double chance, struct measure *m, struct error *err) MUST_CHECK;
/* Mean of hit[0..n). cluster NULL: each query alone. */
int measure_mean(int64_t n, const float *hit, const int32_t *cluster, int32_t n_clusters,
                 uint64_t seed, double chance, struct measure *m, struct error *err) MUST_CHECK;
/* Probability that a random ranking of n_candidates puts one of n_positives into the top k. */
double measure_chance_at(int64_t n_candidates, int64_t n_positives, int64_t k);

#endif
