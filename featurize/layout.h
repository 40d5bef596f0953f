/* The parameter table of a tower while it is laid out: private to tower.c and the architectures.
 *
 *     void vit_layout(struct layout *l) { layout_norm(l, width, "vision_model.pre_layrnorm"); ... }
 *
 * Each call adds tensors to tower->params and their indices to tower->slot, in the order in which
 * the forward pass takes them (featurize/pass.h: pass_linear takes what layout_linear added). So a
 * tower's table, its names and its forward pass read side by side. Errors are sticky in `rc`: after
 * one, further calls do nothing.
 */
#ifndef FEATURIZE_LAYOUT_H
#define FEATURIZE_LAYOUT_H

#include <stdbool.h>

#include "featurize/tower.h"

struct layout {
    struct tower *tower;
    size_t capacity; /* of tower->slot */
    int rc;
    struct error *err;
};

/* One tensor of any shape; `fmt` gives its full name. */
void layout_tensor(struct layout *l, enum param_kind kind, int n_dims, const int64_t *shape,
                   const char *fmt, ...) PRINTF_LIKE(5, 6);
/* NAME.weight [out, in], and NAME.bias [out] when asked for. */
void layout_linear(struct layout *l, int64_t out, int64_t in, bool bias, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* NAME.weight and NAME.bias [width] of a layer norm. */
void layout_norm(struct layout *l, int64_t width, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* NAME.convolution.weight [out, in, k, k] and, when `norm`, NAME.normalization.{weight, bias,
 * running_mean, running_var} [out]. */
void layout_conv(struct layout *l, int64_t out, int64_t in, int64_t k, bool norm, const char *fmt,
                 ...) PRINTF_LIKE(6, 7);

#endif
