/* A student under training: towers, adapters and heads, and one step of gradients over fixed micro-batches.
 *
 *     student_new(&s, &image_config, &text_config, &err);     // either may be NULL
 *     student_add_target(s, &s->image, &target, &err);
 *     student_gradients(s, &s->image, &batch, d_unit, sums, &err);  // adds into the optimiser's gradient blocks
 *     optimiser_step(&s->optimiser, NULL, &err);
 *     student_save(s, out, extra, &err);                      // adapters and heads are dropped
 *
 * A batch is cut into fixed micro-batches (STUDENT_PICTURES, STUDENT_CAPTIONS); micro-batch i adds into gradient slot i mod n_slots, and
 * the slots are summed in index order. n_slots follows from the network's size alone. So gradients have the same bits for any number of threads.
 * Losses over a whole batch (InfoNCE) take two passes: student_embed keeps unit embeddings only, then student_gradients runs forward again with
 * the gradient of each embedding and goes back: memory does not grow with the batch.
 * Batch norm: running averages (momentum 0.1) are updated in micro-batch order by student_gradients.
 */
#ifndef TRAIN_STUDENT_H
#define TRAIN_STUDENT_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/model.h"
#include "train/loader.h"
#include "train/micro.h"
#include "train/optimiser.h"

#define STUDENT_PICTURES 8
#define STUDENT_CAPTIONS 16

struct student_part {
    const char *name; /* "image", "text" */
    bool is_text, frozen;
    struct tower *tower; /* owned by the student's model */
    struct params heads; /* adapters, classifier */
    struct target target[MICRO_MAX_TARGETS];
    int n_targets;
    int tower_block, heads_block; /* in the optimiser; -1 */
    int n_slots;
    float *slot_grad; // (n_slots, tower floats, then head floats)
    size_t n_stats;   /* floats of running statistics */
    float *stats;     // (n_micro, n_stats) of the batch in work
    int max_micro;
};

struct student {
    struct model *model;             /* owned */
    struct student_part image, text; /* tower NULL when absent */
    struct params scale;             /* "logit_scale", one value: its logarithm */
    int scale_block;
    struct optimiser optimiser;
    enum numerics numerics;
    struct micro *worker; /* one a thread */
    int n_workers;
};

int student_new(struct student **s, const struct tower_config *image, const struct tower_config *text, enum numerics numerics, struct error *err) MUST_CHECK;
/* From a student's folder. parts: MODEL_IMAGE | MODEL_TEXT. */
int student_open(struct student **s, const char *dir, int parts, enum numerics numerics, struct error *err) MUST_CHECK;
void student_free(struct student *s);
int student_add_target(struct student *s, struct student_part *p, const struct target *target, struct error *err) MUST_CHECK;
/* After the last target: adapters (drawn by seed), gradients, moments, slots, one worker a thread. Frozen parts get none. train_scale: logit_scale is learned. */
int student_prepare(struct student *s, const struct optimiser_config *config, bool train_scale, uint64_t seed, struct error *err) MUST_CHECK;

/* Adds gradients of all targets, and of d_unit (gradient on the unit embedding, (n, dim); may be NULL), to the optimiser's blocks. Frozen parts: nothing. */
int student_gradients(struct student *s, struct student_part *p, const struct loader_batch *b, const float *d_unit, struct micro_sums *sums, struct error *err) MUST_CHECK;
/* Unit embeddings. training: batch norm as in student_gradients (the same bits); otherwise running statistics. // unit: (n, dim) */
int student_embed(struct student *s, struct student_part *p, const struct loader_batch *b, bool training, float *unit, struct error *err) MUST_CHECK;
/* Losses without gradients, running statistics: validation. */
int student_judge(struct student *s, struct student_part *p, const struct loader_batch *b, struct micro_sums *sums, struct error *err) MUST_CHECK;

/* Writes the folder; extra (borrowed) becomes "clipstill" in config.json. */
int student_save(struct student *s, const char *dir, const struct json *extra, struct error *err) MUST_CHECK;

#endif
