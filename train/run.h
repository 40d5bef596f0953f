/* The loop that both stages share: batches, steps, validation, learning curve, checkpoints, early
 * stopping.
 *
 *     run_begin(&r, ...); // registers weights and moments with the checkpoint
 *     run_stage(&r, &stage, &err); // once a schedule: distill has one a tower, align has one
 *     run_end(&r, ...)
 *
 * A stage is a schedule of steps over one kind of records. Its state is (stage, step, best
 * validation): everything drawn at random follows from them and the seed. The last incomplete batch
 * of an epoch is left out (unless it is the only one); the order changes every epoch. The curve
 * gets a point an epoch: mean losses, gradient norm, learning rate, validation.
 */
#ifndef TRAIN_RUN_H
#define TRAIN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "store/json.h"
#include "store/report.h"
#include "train/checkpoint.h"
#include "train/loader.h"
#include "train/student.h"

#define RUN_MAX_VALUES 24

/* Named numbers that are averaged over an epoch. */
struct run_values {
    const char *name[RUN_MAX_VALUES]; /* borrowed for the run */
    double value[RUN_MAX_VALUES];
    int n;
};
void run_value(struct run_values *v, const char *name, double value);

struct run_stage {
    const char *name; /* "image", "text", "align" */
    enum loader_kind kind;
    int batch;
    int epochs;
    uint64_t max_steps; /* 0: no limit */
    double lr;
    int patience;       /* epochs without better validation; 0: never stops early */
    bool keep_best;
    struct student_part *part[2]; /* what is trained: kept as best, NULL where absent */
    void *context;
    /* Adds gradients of one batch, and the batch's losses to values. */
    int (*step)(void *context, struct loader_batch *b, struct run_values *values, struct error *err);
    /* Score of split val (higher is better) and its values; NAN when there is nothing to validate on. */
    int (*validate)(void *context, double *score, struct run_values *values, struct error *err);
};

struct run {
    struct student *student; /* borrowed */
    struct loader *loader;
    struct checkpoint *checkpoint;
    const struct report *report;
    uint64_t checkpoint_every;
    /* State, kept in the checkpoint: */
    int stage;               /* index of the stage in work */
    uint64_t step;           /* taken in it */
    double best;             /* validation score */
    uint64_t best_step;
    int n_worse;             /* epochs since */
    struct run_values sums;  /* of the epoch in work */
    uint64_t n_sums;
    struct json *done;       /* summaries of finished stages, an array */
    /* Private: */
    float *best_weights[2];  // image, text: the tower's floats
    float best_scale;        /* logit_scale beside them */
    uint32_t *order;
    struct loader_batch batch;
};

/* Names every block of the student in the checkpoint; restores it when one was found. */
int run_begin(struct run *r, bool keep_best, struct error *err) MUST_CHECK;
void run_release(struct run *r);
/* Stage `index`: returns at once when the checkpoint is past it. ERR_STOPPED after a checkpoint;
 * ERR_DIVERGED. */
int run_stage(struct run *r, int index, const struct run_stage *stage, struct error *err) MUST_CHECK;

#endif
