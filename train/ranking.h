/* Where the right answers stand in a ranking by cosine.
 *
 * Convention (CLIP_benchmark, big_vision): a query is a hit at K if any of its positives is among
 * the top K. Ties go against the model: the rank of a query is 1 + the number of candidates that
 * are no positives and score at least as high as its best positive, so that a constant model hits
 * nothing. A NaN score ranks last. Equal results for any number of threads.
 */
#ifndef TRAIN_RANKING_H
#define TRAIN_RANKING_H

#include <stdint.h>

#include "store/error.h"

/* Positives of query i: candidate indices positive[offset[i]..offset[i + 1]), ascending.
 * // queries (n_queries, dim), candidates (n_candidates, dim), rank (n_queries): 1-based;
 * n_candidates + 1 for a query without positives */
int ranking_ranks(int64_t n_queries, const float *queries, int64_t n_candidates,
                  const float *candidates, int dim, const int64_t *offset, const int32_t *positive,
                  int32_t *rank, struct error *err) MUST_CHECK;
/* The k best candidates of each query by score, best first, equal scores in order of index. // top
 * (n_queries, k), score (n_queries, k) or NULL */
int ranking_top(int64_t n_queries, const float *queries, int64_t n_candidates,
                const float *candidates, int dim, int k, int32_t *top, float *score,
                struct error *err) MUST_CHECK;

#endif
