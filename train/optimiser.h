/* AdamW (Loshchilov & Hutter 2019) over several parameter blocks, with warm-up, cosine decay and
 * global clipping.
 *
 *     optimiser_add(&o, "image", &tower->params, &err);       // moments and gradient of that block
 *     ... backward adds into optimiser_grad(&o, 0) ...
 *     optimiser_step(&o, &err);                               // ERR_DIVERGED names step and tensor
 *
 * Weight decay is decoupled and touches PARAM_DECAY only; PARAM_BUFFER is never touched. The
 * squared gradient norm is summed per tensor in double, tensor after tensor, so that neither
 * threads nor blocks change it. A NaN or infinity in any gradient stops the run before a weight is
 * changed.
 */
#ifndef TRAIN_OPTIMISER_H
#define TRAIN_OPTIMISER_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/params.h"
#include "store/error.h"

#define OPTIMISER_MAX_BLOCKS 8

struct optimiser_config {
    double lr;            /* peak */
    double lr_end;        /* fraction of lr at the last step, default 0.01 */
    double warmup;        /* fraction of all steps, default 0.05 */
    double weight_decay;  /* default 0.05 */
    double beta1, beta2, eps; /* 0.9, 0.98, 1e-6 */
    double clip;          /* global gradient norm; 0: never; default 1 */
    uint64_t n_steps;     /* of the whole run */
};

struct optimiser_block {
    const char *name;      /* borrowed; stands in errors */
    struct params *params; /* borrowed */
    float *grad, *m, *v;   // (params->n_floats) owned
    double lr_factor;      /* 1 by default */
    bool resting;          /* left as it is by optimiser_step, and not in the norm */
};

struct optimiser {
    struct optimiser_config config;
    struct optimiser_block block[OPTIMISER_MAX_BLOCKS];
    int n_blocks;
    uint64_t step; /* steps taken */
};

struct optimiser_config optimiser_config_default(void);
/* The block's index or a negative error. */
int optimiser_add(struct optimiser *o, const char *name, struct params *params, struct error *err) MUST_CHECK;
void optimiser_release(struct optimiser *o);
void optimiser_zero_grad(struct optimiser *o);
/* Learning rate of the step that comes after `step` steps. */
double optimiser_lr(const struct optimiser_config *c, uint64_t step);
/* Clips, steps, counts. *norm (may be NULL): the global gradient norm before clipping. */
int optimiser_step(struct optimiser *o, double *norm, struct error *err) MUST_CHECK;

#endif
