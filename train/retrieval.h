/* Retrieval in both directions on one group of pairs (a language, a source, a label).
 *
 * Candidates are the pictures and captions of the group; a positive of a caption is every candidate
 * picture linked to it by any pair of the split, so that a caption shared by several pictures has
 * several right answers, and a duplicate is never punished. R@K: any positive in the top K
 * (train/ranking.h). MR: mean of the six R@1/5/10 of both directions (AltCLIP's convention).
 * Intervals draw pictures with all their captions (train/measure.h).
 */
#ifndef TRAIN_RETRIEVAL_H
#define TRAIN_RETRIEVAL_H

#include <stdbool.h>

#include "train/evalset.h"
#include "train/measure.h"

enum retrieval_direction { TEXT_TO_IMAGE, IMAGE_TO_TEXT, RETRIEVAL_DIRECTIONS };
enum { RETRIEVAL_KS = 3 };
extern const int retrieval_k[RETRIEVAL_KS]; /* 1, 5, 10 */

struct retrieval {
    int64_t n_images, n_captions; /* candidates */
    struct measure at[RETRIEVAL_DIRECTIONS][RETRIEVAL_KS];
    struct measure mean_recall;
};

/* in_group(context, pair) chooses. // image (s->n_images.., dim), text (s->n_captions.., dim): rows
 * of s. A group without pairs gives n_images == 0. */
int retrieval_judge(const struct evalset *s,
                    bool (*in_group)(const void *context, const struct corpus_pair *pair),
                    const void *context, const float *image, const float *text, int dim,
                    uint64_t seed, struct retrieval *r, struct error *err) MUST_CHECK;

#endif
