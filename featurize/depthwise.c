/* See depthwise.h. Forward and the gradient of the input gather, pixel by pixel, the taps that exist there, in tap order; the gradient of the weights goes tap by
 * tap along a row, sixteen channels at a time. Whole pixels and rows are done inside one vectorised function: calls cost as much as the work. */
#include "featurize/depthwise.h"

#include <string.h>

#include "featurize/vecmath.h"

int depthwise_out(int length, int stride)
{
    return (length - 1) / stride + 1;
}

void depthwise_taps(int channels, const float *w, float *taps)
{
    for (int t = 0; t < 9; t++)
        for (int c = 0; c < channels; c++) taps[t * channels + c] = w[c * 9 + t];
}

void depthwise_untap(int channels, const float *dtaps, float *dw)
{
    for (int t = 0; t < 9; t++)
        for (int c = 0; c < channels; c++) dw[c * 9 + t] += dtaps[t * channels + c];
}

#define LANES 16

/* The terms of one pixel: weights and the pixels they meet. */
struct terms {
    int n;
    const float *w[9], *at[9]; // (C) each
};

/* y += nine products, or fewer one after the other. */
VEC_CLONES static void add_terms(size_t channels, int n, const float *const w[9],
                                 const float *const at[9], float *restrict y)
{
    if (n == 9) {
        for (size_t c = 0; c < channels; c++) {
            float sum = 0;
            for (int k = 0; k < 9; k++) sum += w[k][c] * at[k][c];
            y[c] += sum;
        }
        return;
    }
    for (int k = 0; k < n; k++) {
        const float *wk = w[k], *from = at[k];
        for (size_t c = 0; c < channels; c++) y[c] += wk[c] * from[c];
    }
}

/* Output (i, j) of x. */
static void forward_terms(const struct depthwise_shape *s, int i, int j, const float *x,
                          const float *taps, struct terms *t)
{
    t->n = 0;
    for (int k = 0; k < 9; k++) {
        int row = i * s->stride + k / 3 - 1, column = j * s->stride + k % 3 - 1;
        if (row < 0 || row >= s->height || column < 0 || column >= s->width) continue;
        t->w[t->n] = taps + (size_t)k * (size_t)s->channels;
        t->at[t->n++] = x + ((size_t)row * (size_t)s->width + (size_t)column) * (size_t)s->channels;
    }
}

void depthwise_forward(const struct depthwise_shape *s, const float *x, const float *taps, float *y)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride);
    size_t channels = (size_t)s->channels,
           picture = (size_t)s->height * (size_t)s->width * channels;
    struct terms t;
    for (int b = 0; b < s->batch; b++, x += picture)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++, y += channels) {
                forward_terms(s, i, j, x, taps, &t);
                memset(y, 0, channels * sizeof *y);
                add_terms(channels, t.n, t.w, t.at, y);
            }
}

/* The outputs of dy that input (i, j) went into: tap (u, v) of output ((i - u + 1) / stride, (j - v + 1) / stride). */
static void backward_terms(const struct depthwise_shape *s, int i, int j, const float *dy,
                           const float *taps, struct terms *t)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride);
    t->n = 0;
    for (int k = 0; k < 9; k++) {
        int row = i - k / 3 + 1, column = j - k % 3 + 1;
        if (row < 0 || column < 0 || row % s->stride || column % s->stride) continue;
        row /= s->stride;
        column /= s->stride;
        if (row >= height || column >= width) continue;
        t->w[t->n] = taps + (size_t)k * (size_t)s->channels;
        t->at[t->n++] = dy + ((size_t)row * (size_t)width + (size_t)column) * (size_t)s->channels;
    }
}

void depthwise_backward_data(const struct depthwise_shape *s, const float *dy, const float *taps,
                             float *dx)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride);
    size_t channels = (size_t)s->channels, picture = (size_t)height * (size_t)width * channels;
    struct terms t;
    for (int b = 0; b < s->batch; b++, dy += picture)
        for (int i = 0; i < s->height; i++)
            for (int j = 0; j < s->width; j++, dx += channels) {
                backward_terms(s, i, j, dy, taps, &t);
                add_terms(channels, t.n, t.w, t.at, dx);
            }
}

/* sum[c] += sum over j of x[j * step + c] dy[j * channels + c], n terms. */
VEC_CLONES static void row_products(size_t channels, int n, size_t step, const float *x,
                                    const float *dy, float *sum)
{
    size_t c = 0;
    for (; c + LANES <= channels; c += LANES) {
        float lane[LANES] = {0};
        for (size_t j = 0; j < (size_t)n; j++)
            for (size_t l = 0; l < LANES; l++)
                lane[l] += x[j * step + c + l] * dy[j * channels + c + l];
        for (size_t l = 0; l < LANES; l++) sum[c + l] += lane[l];
    }
    for (; c < channels; c++) {
        float lane = 0;
        for (size_t j = 0; j < (size_t)n; j++) lane += x[j * step + c] * dy[j * channels + c];
        sum[c] += lane;
    }
}

void depthwise_backward_weights(const struct depthwise_shape *s, const float *x, const float *dy,
                                float *dtaps, float *sum)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride);
    size_t channels = (size_t)s->channels,
           picture = (size_t)s->height * (size_t)s->width * channels;
    for (int b = 0; b < s->batch; b++, x += picture) {
        memset(sum, 0, 9 * channels * sizeof *sum);
        for (int i = 0; i < height; i++, dy += (size_t)width * channels)
            for (int k = 0; k < 9; k++) {
                int row = i * s->stride + k / 3 - 1, shift = k % 3 - 1;
                int first = shift < 0 ? 1 : 0, end = (s->width - 1 - shift) / s->stride +
                                                     1; /* columns whose tap lies inside */
                if (end > width) end = width;
                if (row < 0 || row >= s->height || first >= end) continue;
                const float *from = x + ((size_t)row * (size_t)s->width +
                                         (size_t)(first * s->stride + shift)) *
                                            channels;
                row_products(channels, end - first, (size_t)s->stride * channels, from,
                             dy + (size_t)first * channels, sum + (size_t)k * channels);
            }
        vec_add(9 * channels, sum, dtaps);
    }
}
