/* The gradients of every operation of featurize/op.h: walks the tape of an exec from its end to its
 * beginning.
 *
 *     struct value *y = tower_forward...;     // EXEC_TRAIN
 *     float *dy = exec_grad(e, y);            // losses add their gradients, to several values if they like
 *     backward(e, NULL, grads, &err);         // grads: params->n_floats floats, zeroed by the caller
 *     ... all micro-batches of a step, their grads summed in index order ...
 *     exec_reset(e);
 *
 * One thread, a fixed order of sums: the same tape gives the same bits. Parameters marked
 * PARAM_BUFFER get no gradient. Matrix products follow e->numerics (bf16: operands rounded, sums in
 * f32), everything else is f32.
 */
#ifndef TRAIN_BACKWARD_H
#define TRAIN_BACKWARD_H

#include <stdint.h>

#include "featurize/exec.h"

/* Adds the gradients of all parameters to grads (offsets as in e->params) and leaves those of
 * values in value->dx. `trainable`: one byte a parameter, 0 = frozen (NULL: all are trained); no
 * work is done for frozen weights, nor below the lowest trained one. Errors: out of arena, oneDNN
 * refuses. */
int backward(struct exec *e, const uint8_t *trainable, float *grads, struct error *err) MUST_CHECK;

#endif
