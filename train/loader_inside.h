/* What loader.c (opening, lists) and loaderfill.c (orders, batches) share. Private to them. */
#ifndef TRAIN_LOADER_INSIDE_H
#define TRAIN_LOADER_INSIDE_H

#include "train/loader.h"
#include "train/pixels.h"
#include "train/roster.h"
#include "train/subword.h"
#include "train/targets.h"

struct loader {
    uint64_t seed;
    bool augment, multi_positive;
    double token_drop, token_split;
    struct subword *subword; /* NULL without token_split */
    int max_tokens;
    struct corpus *corpus;
    struct roster roster;
    struct featureset *image_set[LOADER_MAX_SETS], *text_set[LOADER_MAX_SETS];
    struct targets *image_target[LOADER_MAX_SETS], *text_target[LOADER_MAX_SETS];
    int n_image_sets, n_text_sets;
    struct pixels *pixels; /* NULL: cached features stand for the pictures */
    struct preprocess preprocess;
    int side;
    int32_t *ids;                            // tokens of all captions
    uint32_t *offsets;                       // (n_captions + 1)
    int32_t *whole, *unknown;                // (n_captions) tokens before the cut, unknown ones
    struct pixels_want *want;                // (n_want)
    uint32_t *image_at, *caption_at, *views; // (n_want) positions of a batch
    int n_want;
    char digest[DIGEST_HEX];
};

#endif
