/* A small tower out of a large one of the same family: which numbers of the teacher's tensors the
 * student's tensors are.
 *
 *     inherit_tower(student, teacher, old_of_new, seed, &err);
 *
 * Layer i comes from layer i * (Lt / Ls). Every dimension takes the front slice, attention's inner
 * dimension whole heads (the front of each, when the student's heads are narrower), the vocabulary
 * the rows old_of_new. A ViT's positions are bilinear where the grid differs, its patch kernel
 * likewise. A factorised word embedding is the uncentred-rank approximation of the inherited rows:
 * mean in the bias, principal axes in the mapping.
 */
#ifndef TRAIN_INHERIT_H
#define TRAIN_INHERIT_H

#include <stdint.h>

#include "featurize/tower.h"

/* Both towers of the same arch. old_of_new: (student's vocab) row of each id in the teacher, or
 * NULL. ERR_USAGE when the student is larger in some dimension. */
int inherit_tower(struct tower *student, const struct tower *teacher, const int32_t *old_of_new,
                  uint64_t seed, struct error *err) MUST_CHECK;

#endif
