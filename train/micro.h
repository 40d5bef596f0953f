/* One micro-batch of one tower: forward, losses at the taps, and back into a gradient buffer. One thread.
 *
 *     micro_bind(w, tower);                                   // weights may have changed
 *     micro_run(w, &job, &err);
 *
 * A target's loss is taken on the tap itself, or on y = x A^T + b of an adapter (A, b in `heads`), whose gradient is formed here. SmoothL1 targets are unit vectors
 * scaled by sqrt(their length), so that a value has variance one whatever the teacher.
 */
#ifndef TRAIN_MICRO_H
#define TRAIN_MICRO_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/preprocess.h"
#include "featurize/tower.h"
#include "store/featureset.h"
#include "train/loader.h"

#define MICRO_MAX_TARGETS (LOADER_MAX_SETS + 1)

enum target_kind {
    TARGET_EMBEDDING, /* 1 - cos of the final embedding (through an adapter for a further teacher) */
    TARGET_FEATURE,   /* SmoothL1 of an adapted intermediate tap */
    TARGET_LABEL      /* softmax cross-entropy of a linear classifier on the embedding */
};

struct target {
    enum target_kind kind;
    char name[FEATURESET_NAME_MAX + 1]; /* the set, or "label": stands in curves and errors */
    struct tap tap;                     /* of the student */
    int set;                            /* index into loader_batch's targets; -1 for labels */
    int cells;                          /* rows a record: G*G of a grid, else 1 */
    int dim;                            /* columns a row of the teacher's vector; classes for labels */
    bool adapted;                       /* a linear adapter (with bias) from the student's width */
    double weight, beta;
    int adapter_weight, adapter_bias;   /* indices in the part's heads, set by student_add_target */
};

/* Sums over records. */
struct micro_sums {
    double loss[MICRO_MAX_TARGETS]; /* weighted, mean over the batch */
    double cosine;                  /* to the embedding target that is not adapted, summed over n_cosine records */
    int64_t n_cosine;
    int64_t n_right;                /* labels */
};

struct micro {
    struct exec *train, *infer;
    struct error error; /* of the job that failed */
    int rc;
};

struct micro_job {
    const struct tower *tower;
    const struct params *heads;
    const struct target *target;
    int n_targets;
    const struct preprocess *preprocess; /* pictures */
    const struct loader_batch *batch;
    int first, n;         /* records of the batch */
    bool training;        /* the micro-batch's statistics in batch norm */
    const float *d_unit;  // (batch, D) gradient on unit embeddings, or NULL
    float *grad;          /* tower's, then heads'; NULL: no backward pass */
    float *stats;         /* batch statistics by running parameter, in table order; NULL */
    float *unit;          // (batch, D) unit embeddings out, or NULL
    struct micro_sums *sums; /* NULL: no losses */
};

int micro_init(struct micro *w, enum numerics numerics, struct error *err) MUST_CHECK;
void micro_release(struct micro *w);
void micro_bind(struct micro *w, const struct tower *tower);
/* 0 or an error, also left in w. */
int micro_run(struct micro *w, const struct micro_job *job);

#endif
