/* See depthwise.h. Every output pixel lists the taps that fall inside the picture, in tap order; the inner loops run over channels. */
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

/* The taps of output (i, j) that lie inside the picture: their numbers, and the input pixel of each as an offset in pixels. */
static int taps_inside(const struct depthwise_shape *s, int i, int j, int tap[9], int pixel[9])
{
    int n = 0;
    for (int t = 0; t < 9; t++) {
        int y = i * s->stride + t / 3 - 1, x = j * s->stride + t % 3 - 1;
        if (y < 0 || y >= s->height || x < 0 || x >= s->width) continue;
        tap[n] = t;
        pixel[n++] = y * s->width + x;
    }
    return n;
}

VEC_CLONES static void full_pixel(size_t n, const float *const x[9], const float *w,
                                  float *restrict y)
{
    for (size_t c = 0; c < n; c++) {
        float sum = 0;
        for (int t = 0; t < 9; t++) sum += w[(size_t)t * n + c] * x[t][c];
        y[c] = sum;
    }
}

VEC_CLONES static void add_products(size_t n, const float *a, const float *b, float *y)
{
    for (size_t c = 0; c < n; c++) y[c] += a[c] * b[c];
}

void depthwise_forward(const struct depthwise_shape *s, const float *x, const float *taps, float *y)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride),
        tap[9], pixel[9];
    size_t channels = (size_t)s->channels,
           picture = (size_t)s->height * (size_t)s->width * channels;
    for (int b = 0; b < s->batch; b++, x += picture)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++, y += channels) {
                int n = taps_inside(s, i, j, tap, pixel);
                if (n == 9) {
                    const float *at[9];
                    for (int t = 0; t < 9; t++) at[t] = x + (size_t)pixel[t] * channels;
                    full_pixel(channels, at, taps, y);
                    continue;
                }
                memset(y, 0, channels * sizeof *y);
                for (int t = 0; t < n; t++)
                    add_products(channels, taps + (size_t)tap[t] * channels,
                                 x + (size_t)pixel[t] * channels, y);
            }
}

void depthwise_backward_data(const struct depthwise_shape *s, const float *dy, const float *taps,
                             float *dx)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride),
        tap[9], pixel[9];
    size_t channels = (size_t)s->channels,
           picture = (size_t)s->height * (size_t)s->width * channels;
    for (int b = 0; b < s->batch; b++, dx += picture)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++, dy += channels) {
                int n = taps_inside(s, i, j, tap, pixel);
                for (int t = 0; t < n; t++)
                    add_products(channels, taps + (size_t)tap[t] * channels, dy,
                                 dx + (size_t)pixel[t] * channels);
            }
}

void depthwise_backward_weights(const struct depthwise_shape *s, const float *x, const float *dy,
                                float *dtaps, float *sum)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride),
        tap[9], pixel[9];
    size_t channels = (size_t)s->channels,
           picture = (size_t)s->height * (size_t)s->width * channels;
    for (int b = 0; b < s->batch; b++, x += picture) {
        memset(sum, 0, 9 * channels * sizeof *sum);
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++, dy += channels) {
                int n = taps_inside(s, i, j, tap, pixel);
                for (int t = 0; t < n; t++)
                    add_products(channels, x + (size_t)pixel[t] * channels, dy,
                                 sum + (size_t)tap[t] * channels);
            }
        vec_add(9 * channels, sum, dtaps);
    }
}
