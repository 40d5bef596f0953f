/* The rows of the option tables that both stages of training have, in one place, so that their words
 * and ranges agree.
 *
 *     static const struct option options[] = {..., TRAINING_OPTIONS(o, numerics, pixel_mb, last)};
 *
 * o: the stage's struct options; numerics (const char *), pixel_mb (uint64_t) and last (bool): static
 * variables of the command.
 */
#ifndef CLI_TRAINING_H
#define CLI_TRAINING_H

#include "cli/option.h"

/* clang-format off */
#define TRAINING_OPTIONS(o, numerics, pixel_mb, last)                                              \
    {"warmup", 0, OPTION_NUMBER, "F", "fraction of the steps", 0, 1, NULL, &o.optimiser.warmup},   \
    {"weight-decay", 0, OPTION_NUMBER, "W", "decoupled (AdamW)", 0, 10, NULL,                      \
     &o.optimiser.weight_decay},                                                                   \
    {"clip", 0, OPTION_NUMBER, "N", "limit of the gradient's norm; 0 = none", 0, 1e9, NULL,        \
     &o.optimiser.clip},                                                                           \
    {"views", 0, OPTION_INT, "K", "views to learn from; 0 = all that are cached", 0, 1000, NULL,   \
     &o.n_views},                                                                                  \
    {"augment", 0, OPTION_FLAG, NULL,                                                              \
     "flip and crop the student's pixels against view 0's feature", 0, 0, NULL, &o.augment},       \
    {"token-drop", 0, OPTION_NUMBER, "P",                                                          \
     "chance that a token of a train caption is left out, anew every epoch", 0, 0.9, NULL,         \
     &o.token_drop},                                                                               \
    {"token-split", 0, OPTION_NUMBER, "P",                                                         \
     "chance that one is spelled with two other pieces, anew every epoch", 0, 0.9, NULL,           \
     &o.token_split},                                                                              \
    {"patience", 0, OPTION_INT, "N",                                                               \
     "stop after N epochs without better validation; 0 = never", 0, 1e6, NULL, &o.patience},       \
    {"last", 0, OPTION_FLAG, NULL, "keep the last weights instead of the best on validation", 0,   \
     0, NULL, &last},                                                                              \
    {"checkpoint-every", 0, OPTION_COUNT, "N", "steps between checkpoints", 1, 1e9, NULL,          \
     &o.checkpoint_every},                                                                         \
    {"numerics", 0, OPTION_CHOICE, "HOW", "arithmetic of matrix products", 0, 0,                   \
     "auto|f32|bf16", &numerics},                                                                  \
    {"pixel-cache", 0, OPTION_COUNT, "MB", "memory for reduced pixels", 1, 1e6, NULL, &pixel_mb},  \
    {"seed", 0, OPTION_COUNT, "N", "of weights, order and augmentation", 0, 0, NULL, &o.seed}
/* clang-format on */

#endif
