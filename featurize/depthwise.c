/* See depthwise.h. Along the inside of a row, where all nine taps exist, pixels are done in one
 * vectorised function with three row pointers; pixels at the border, and the gradient of the input
 * at stride 2, list the taps that exist there, in tap order. */
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
#define PIXELS                                                                                     \
    16 /* of a row at a time: with many channels more would not stay in the first cache */

/* Sixteen channels, and the same at any address of a float array. GNU C's vector type because gcc
 * does not keep arrays of sixteen sums in registers here. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float lanes_anywhere
    __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));
#define AT(x) (*(const lanes_anywhere *)(x))

/* The terms of one pixel: weights and the pixels they meet. */
struct terms {
    int n;
    const float *w[9], *at[9]; // (C) each
};

/* y += the terms, one after the other. */
VEC_CLONES static void add_terms(size_t channels, const struct terms *t, float *restrict y)
{
    for (int k = 0; k < t->n; k++) {
        const float *w = t->w[k], *at = t->at[k];
        for (size_t c = 0; c < channels; c++) y[c] += w[c] * at[c];
    }
}

/* n pixels of a row: y += sum over u, v of w[3 u + v] row[u][v]; rows move on by step floats a
 * pixel. Sixteen channels at a time go along the row, so that their weights stay in registers. */
VEC_CLONES static void add_inner_pixels(int n, size_t channels, size_t step,
                                        const float *const row[3], const float *const w[9],
                                        float *y)
{
    size_t c = 0;
    for (; c + LANES <= channels; c += LANES) {
        const float *a = row[0] + c, *b = row[1] + c, *d = row[2] + c;
        float *to = y + c;
        lanes taps[9];
        for (int k = 0; k < 9; k++) taps[k] = AT(w[k] + c);
        for (int j = 0; j < n; j++, a += step, b += step, d += step, to += channels) {
            lanes sum = taps[0] * AT(a) + taps[1] * AT(a + channels) +
                        taps[2] * AT(a + 2 * channels);
            lanes sum_b = taps[3] * AT(b) + taps[4] * AT(b + channels) +
                          taps[5] * AT(b + 2 * channels);
            lanes sum_d = taps[6] * AT(d) + taps[7] * AT(d + channels) +
                          taps[8] * AT(d + 2 * channels);
            *(lanes_anywhere *)to += sum + sum_b + sum_d;
        }
    }
    for (; c < channels; c++)
        for (int j = 0; j < n; j++) {
            float sum[3] = {0};
            for (size_t k = 0; k < 9; k++)
                sum[k / 3] += w[k][c] * row[k / 3][(size_t)j * step + k % 3 * channels + c];
            y[(size_t)j * channels + c] += sum[0] + sum[1] + sum[2];
        }
}

static void add_inner_row(int n, size_t channels, size_t step, const float *row[3],
                          const float *const w[9], float *y)
{
    for (int j = 0; j < n; j += PIXELS) {
        add_inner_pixels(n - j < PIXELS ? n - j : PIXELS, channels, step, row, w,
                         y + (size_t)j * channels);
        for (int u = 0; u < 3; u++) row[u] += PIXELS * step;
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

/* Row i of the output of one picture. Its inside begins at output 1 and ends before the tap on the
 * right leaves the picture. */
static void forward_row(const struct depthwise_shape *s, int i, const float *x, const float *taps,
                        float *y)
{
    int width = depthwise_out(s->width, s->stride), top = i * s->stride - 1;
    size_t channels = (size_t)s->channels, line = (size_t)s->width * channels;
    int inside = top >= 0 && top + 2 < s->height ? (s->width - 2) / s->stride
                                                 : 0; /* last inner output */
    struct terms t;
    memset(y, 0, (size_t)width * channels * sizeof *y);
    for (int j = 0; j < width; j++) {
        if (j >= 1 && j <= inside) continue;
        forward_terms(s, i, j, x, taps, &t);
        add_terms(channels, &t, y + (size_t)j * channels);
    }
    if (inside < 1) return;
    const float *w[9], *row[3];
    for (int k = 0; k < 9; k++) w[k] = taps + (size_t)k * channels;
    for (int u = 0; u < 3; u++)
        row[u] = x + (size_t)(top + u) * line + (size_t)(s->stride - 1) * channels;
    add_inner_row(inside, channels, (size_t)s->stride * channels, row, w, y + channels);
}

void depthwise_forward(const struct depthwise_shape *s, const float *x, const float *taps, float *y)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride);
    size_t channels = (size_t)s->channels,
           picture = (size_t)s->height * (size_t)s->width * channels;
    for (int b = 0; b < s->batch; b++, x += picture)
        for (int i = 0; i < height; i++, y += (size_t)width * channels)
            forward_row(s, i, x, taps, y);
}

/* The outputs of dy that input (i, j) went into: tap (u, v) of output ((i - u + 1) / stride, (j - v
 * + 1) / stride). */
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

/* Row i of dx of one picture: at stride 1 the same convolution with the taps in reverse. */
static void backward_row(const struct depthwise_shape *s, int i, const float *dy, const float *taps,
                         float *dx)
{
    size_t channels = (size_t)s->channels, line = (size_t)s->width * channels;
    int inside = s->stride == 1 && i >= 1 && i + 1 < s->height ? s->width - 2 : 0;
    struct terms t;
    for (int j = 0; j < s->width; j++) {
        if (j >= 1 && j <= inside) continue;
        backward_terms(s, i, j, dy, taps, &t);
        add_terms(channels, &t, dx + (size_t)j * channels);
    }
    if (inside < 1) return;
    const float *w[9], *row[3];
    for (int k = 0; k < 9; k++) w[k] = taps + (size_t)(8 - k) * channels;
    for (int u = 0; u < 3; u++) row[u] = dy + (size_t)(i - 1 + u) * line;
    add_inner_row(inside, channels, channels, row, w, dx + channels);
}

void depthwise_backward_data(const struct depthwise_shape *s, const float *dy, const float *taps,
                             float *dx)
{
    int height = depthwise_out(s->height, s->stride), width = depthwise_out(s->width, s->stride);
    size_t channels = (size_t)s->channels, picture = (size_t)height * (size_t)width * channels;
    for (int b = 0; b < s->batch; b++, dy += picture)
        for (int i = 0; i < s->height; i++, dx += (size_t)s->width * channels)
            backward_row(s, i, dy, taps, dx);
}

/* For v = 0, 1, 2: sum[v * channels + c] += sum over j of x[j * step + v * channels + c] dy[j *
 * channels + c], n terms each. Three chains of sums at a time keep the adders busy. */
VEC_CLONES static void add_row_products(size_t channels, int n, size_t step, const float *x,
                                        const float *dy, float *sum)
{
    size_t c = 0;
    for (; c + LANES <= channels; c += LANES) {
        lanes total[3] = {{0}};
        const float *xj = x + c, *dyj = dy + c;
        for (int j = 0; j < n; j++, xj += step, dyj += channels) {
            lanes at = AT(dyj);
            for (size_t v = 0; v < 3; v++) total[v] += AT(xj + v * channels) * at;
        }
        for (size_t v = 0; v < 3; v++)
            for (size_t l = 0; l < LANES; l++) sum[v * channels + c + l] += total[v][l];
    }
    for (; c < channels; c++)
        for (size_t v = 0; v < 3; v++) {
            float lane = 0;
            for (size_t j = 0; j < (size_t)n; j++)
                lane += x[j * step + v * channels + c] * dy[j * channels + c];
            sum[v * channels + c] += lane;
        }
}

/* The products of one output pixel at the left or right border. */
VEC_CLONES static void add_border_products(const struct depthwise_shape *s, int row, int u, int j,
                                           const float *x, const float *dy, float *sum)
{
    size_t channels = (size_t)s->channels;
    for (int v = 0; v < 3; v++) {
        int column = j * s->stride + v - 1;
        if (column < 0 || column >= s->width) continue;
        const float *from = x + ((size_t)row * (size_t)s->width + (size_t)column) * channels,
                    *at = dy + (size_t)j * channels;
        float *to = sum + (size_t)(3 * u + v) * channels;
        for (size_t c = 0; c < channels; c++) to[c] += from[c] * at[c];
    }
}

static void weights_row(const struct depthwise_shape *s, int i, const float *x, const float *dy,
                        float *sum)
{
    int width = depthwise_out(s->width, s->stride),
        inside = (s->width - 2) / s->stride; /* last inner output */
    size_t channels = (size_t)s->channels;
    for (int u = 0; u < 3; u++) {
        int row = i * s->stride + u - 1;
        if (row < 0 || row >= s->height) continue;
        const float *from = x +
                            ((size_t)row * (size_t)s->width + (size_t)(s->stride - 1)) * channels;
        for (int j = 0; j < inside; j += PIXELS)
            add_row_products(channels, inside - j < PIXELS ? inside - j : PIXELS,
                             (size_t)s->stride * channels,
                             from + (size_t)(j * s->stride) * channels,
                             dy + (size_t)(j + 1) * channels, sum + (size_t)(3 * u) * channels);
        add_border_products(s, row, u, 0, x, dy, sum);
        for (int j = inside + 1 > 1 ? inside + 1 : 1; j < width; j++)
            add_border_products(s, row, u, j, x, dy, sum);
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
            weights_row(s, i, x, dy, sum);
        vec_add(9 * channels, sum, dtaps);
    }
}
