/* Linear layers in 8-bit integers: for packed.c and gemm.c alone.
 *
 *     int8_reserve(o, n, k, &weight, &err);                      // once a layer: layout and room
 *     int8_fill(o, n, k, w, shift, &weight, &err);               // values; allocates nothing
 *     int8_linear(o, &tiles, &weight, layer, m, x, y, &err);
 *     int8_release(&weight);
 *
 * Column j of x is divided, and column j of W multiplied, by 2^shift[j] (Xiao et al. 2022,
 * SmoothQuant, arXiv 2211.10438, with powers of two, so that this step rounds nothing): that takes
 * the few columns where a transformer's activations are large to where they do no harm. Then each
 * row of x and each row of W is divided by its own largest magnitude and rounded to -127..127:
 *
 *     y[i][o] = sx[i] * sw[o] * sum_j qx[i][j] qw[o][j] + b[o]
 *
 * The sums are exact integers. So a row's result is a pure function of that row: bits agree for any
 * batch, neighbour, tile or thread, and on every machine with gemm_int8_is_exact(). A row with a NaN or
 * an infinity gives NaN.
 * Threading: a weight is read-only and shared; tiles belong to one thread.
 */
#ifndef FEATURIZE_INT8_H
#define FEATURIZE_INT8_H

#include "featurize/blocks.h"
#include "featurize/gemm.h"
#include "featurize/onednn.h"

#define INT8_SHIFT_MAX 21 /* |shift| */
#define INT8_MAX_COLUMNS 65536 /* sums of 255 * 127 stay within 32 bits */
#define INT8_N_TILES 6

struct int8_weight {
    void *data; /* owned; NULL: this layer is not in int8 */
    struct block_layout layout;
    float *scale;    // (n) sw
    float *smooth;   // (k) 2^-shift
    int32_t *offset; // (n) 128 * sum of qw: rows of x are shifted to 1..255, as VNNI takes them
};

/* Primitives of one thread by weight shape. Zero to begin with. */
struct int8_tiles {
    struct int8_shape *list;
    size_t n, capacity;
};

int int8_reserve(struct onednn *o, int64_t n, int64_t k, struct int8_weight *out,
                 struct error *err) MUST_CHECK;
/* w [n, k] row-major; shift (k), each within INT8_SHIFT_MAX. */
int int8_fill(struct onednn *o, int64_t n, int64_t k, const float *w, const int8_t *shift,
              struct int8_weight *out, struct error *err) MUST_CHECK;
void int8_release(struct int8_weight *w);

void int8_tiles_release(struct int8_tiles *tiles);
/* The layer over m rows, with its bias, activation and sum. Between onednn_enter and
 * onednn_leave. // x (m, k), y (m, n) */
int int8_linear(struct onednn *o, struct int8_tiles *tiles, const struct int8_weight *w,
                const struct gemm_layer *l, int64_t m, const float *x, float *y,
                struct error *err) MUST_CHECK;

#endif
