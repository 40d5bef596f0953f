/* Convolutions on oneDNN, channels-last, one thread a call: forward per picture, so that a
 * picture's result does not depend on its neighbours, and the two gradients over a micro-batch.
 *
 *     struct conv_shape s = {.height = 32, .width = 32, .in = 16, .out = 32,
 *                            .kernel = 3, .stride = 2};
 *     conv_forward(c, &s, batch, x, w, key, y, &err);
 *
 * Zero padding (kernel - 1) / 2; weights as PyTorch has them, [out, in, k, k]. A `struct conv`
 * belongs to one thread; primitives are made on first use of a shape and kept.
 * Library: oneDNN, through featurize/onednn.h.
 */
#ifndef FEATURIZE_CONV_H
#define FEATURIZE_CONV_H

#include "store/error.h"

struct conv;

struct conv_shape {
    int height, width, in, out, kernel, stride;
};

struct conv *conv_new(struct error *err) MUST_CHECK;
void conv_free(struct conv *c);
/* Drops the reordered weights kept under keys: the weights have changed. */
void conv_forget(struct conv *c);

int conv_out_height(const struct conv_shape *s);
int conv_out_width(const struct conv_shape *s);
/* key >= 0: the weights' reordered copy is kept under it until conv_forget; -1: reordered in each
 * call. // x (batch, H, W, in), y (batch, H', W', out) */
int conv_forward(struct conv *c, const struct conv_shape *s, int batch, const float *x,
                 const float *w, int key, float *y, struct error *err) MUST_CHECK;
/* dx = the transposed convolution of dy (overwritten). */
int conv_backward_data(struct conv *c, const struct conv_shape *s, int batch, const float *dy,
                       const float *w, float *dx, struct error *err) MUST_CHECK;
/* dw += the correlation of x with dy. // dw [out, in, k, k] */
int conv_backward_weights(struct conv *c, const struct conv_shape *s, int batch, const float *x,
                          const float *dy, float *dw, struct error *err) MUST_CHECK;

#endif
