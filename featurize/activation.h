/* The activations of all towers, by kind.
 *
 *     activation_run(ACT_QUICK_GELU, n, x, y); // y may be x
 *
 * Names in a config are read by act_of_name, featurize/op.h. A NaN stays a NaN. */
#ifndef FEATURIZE_ACTIVATION_H
#define FEATURIZE_ACTIVATION_H

#include <stddef.h>

enum act { ACT_NONE, ACT_GELU, ACT_QUICK_GELU, ACT_SILU, ACT_RELU, ACT_GELU_TANH };

void activation_run(enum act act, size_t n, const float *x, float *y);

#endif
