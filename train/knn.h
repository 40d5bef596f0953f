/* k-nearest-neighbour accuracy by cosine: how much of a teacher's geometry a student kept, without
 * any training on top.
 *
 * Majority of the k nearest; among equal counts the class with the larger sum of similarities, then
 * the smaller label. Deterministic; threads do not matter.
 */
#ifndef TRAIN_KNN_H
#define TRAIN_KNN_H

#include <stdint.h>

#include "store/error.h"

/* // train (n_train, dim) and query (n_query, dim) unit vectors; labels in [0, n_labels); hit
 * (n_query): 1 or 0 */
int knn_hits(int64_t n_train, const float *train, const uint16_t *train_label, int64_t n_query,
             const float *query, const uint16_t *query_label, int dim, int k, int n_labels,
             float *hit, struct error *err) MUST_CHECK;

#endif
