/* The 3 x 3 depthwise convolution and its gradients, channels-last, zero padding 1: loops of our
 * own, vectorised over channels.
 *
 *     y[b, i, j, c] = sum over u, v in 0..2 of w[u, v, c] x[b, i s + u - 1, j s + v - 1, c]
 *
 * The weights come as (9, C), tap by tap: depthwise_taps turns PyTorch's [C, 1, 3, 3] into that,
 * depthwise_untap adds a gradient back. All sums run in a fixed order, so results are the same for
 * any caller; a picture's result does not depend on its neighbours.
 */
#ifndef FEATURIZE_DEPTHWISE_H
#define FEATURIZE_DEPTHWISE_H

#include <stddef.h>

struct depthwise_shape {
    int batch, height, width, channels, stride;
};

int depthwise_out(int length, int stride);
/* taps (9, C) = w [C, 1, 3, 3] transposed */
void depthwise_taps(int channels, const float *w, float *taps);
/* dw += dtaps transposed */
void depthwise_untap(int channels, const float *dtaps, float *dw);
void depthwise_forward(const struct depthwise_shape *s, const float *x, const float *taps,
                       float *y);
/* dx += */
void depthwise_backward_data(const struct depthwise_shape *s, const float *dy, const float *taps,
                             float *dx);
/* dtaps += ; picture (9, C) is scratch for the sum over one picture */
void depthwise_backward_weights(const struct depthwise_shape *s, const float *x, const float *dy,
                                float *dtaps, float *picture);

#endif
