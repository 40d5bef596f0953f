/* What gemm.c, tiles.c, product.c, packed.c, int8.c and conv.c share of oneDNN 2.6: the only file
 * that includes its header; nothing else includes this one.
 *
 * One thread: a primitive remembers the number of threads it was made for, so every call that makes
 * or runs one stands between onednn_enter() and onednn_leave(), which set OpenMP's count to 1 for
 * the calling thread alone. A primitive under the library's own scratchpad is wrong when two
 * threads use it, so scratchpads are ours: a range that grows as it is touched.
 *
 *     int threads = onednn_enter();
 *     size_t mark = o->scratch_used;
 *     void *p = onednn_scratch(o, n_bytes, err);
 *     o->scratch_used = mark;                    // gives back what was taken since
 *     onednn_leave(threads);
 */
#ifndef FEATURIZE_ONEDNN_H
#define FEATURIZE_ONEDNN_H

#include <dnnl.h>

#include "featurize/activation.h"
#include "featurize/exec.h"
#include "featurize/range.h"
#include "store/error.h"

struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct range scratch;
    size_t scratch_used;
};

int onednn_open(struct onednn *o, struct error *err) MUST_CHECK;
void onednn_close(struct onednn *o);
int onednn_enter(void);
void onednn_leave(int threads);
/* 64-byte aligned; NULL with ERR_NOMEM. */
void *onednn_scratch(struct onednn *o, size_t n_bytes, struct error *err);
/* Translates a status that is not success: ERR_NOMEM, or ERR_USAGE "oneDNN cannot do <what> on this
 * CPU". */
int onednn_failed(dnnl_status_t status, struct error *err, const char *fmt, ...) PRINTF_LIKE(3, 4);

size_t onednn_size(enum numerics numerics); /* bytes of one operand value */

/* What a product does to its sum before it writes it: c = act(a b + bias) + beta c. */
struct onednn_after {
    enum act act;
    float beta;
};

/* Whether `act` is done in the product itself. In f32 nothing is: vecmath's bits are the same on
 * every machine. relu is not, as oneDNN's makes a NaN 0. */
bool onednn_fuses(enum numerics numerics, enum act act);

/* c = act(a b + bias) + beta c, matrices of fixed shapes and layouts. */
struct onednn_matmul {
    dnnl_primitive_t run;
    dnnl_memory_t a, b, c, bias, scratchpad;
    size_t scratchpad_bytes;
};

/* Fills p; *taken (may be NULL) gets the layout chosen for b where that was left open. On failure p
 * is zero. */
dnnl_status_t onednn_matmul_make(struct onednn *o, const dnnl_memory_desc_t *a,
                                 const dnnl_memory_desc_t *b, const dnnl_memory_desc_t *c,
                                 const dnnl_memory_desc_t *bias, struct onednn_after after,
                                 struct onednn_matmul *p, dnnl_memory_desc_t *taken);
int onednn_matmul_run(struct onednn *o, const struct onednn_matmul *p, const void *a, const void *b,
                      const float *bias, void *c, struct error *err) MUST_CHECK;
void onednn_matmul_release(struct onednn_matmul *p);

/* A linear layer: y (m, n) = x (m, k) W^T. */
struct onednn_linear {
    enum numerics numerics; /* of x and W */
    bool bias, half;        /* half: y is bf16, not f32 */
    struct onednn_after after;
    int64_t n, k;
};

/* W [n, k] of layout *weights, or of any layout when NULL; see onednn_matmul_make. */
dnnl_status_t onednn_linear_make(struct onednn *o, const struct onednn_linear *l, int64_t m,
                                 const dnnl_memory_desc_t *weights, struct onednn_matmul *p,
                                 dnnl_memory_desc_t *taken);
/* The layout that oneDNN chooses for W [n, k] with m rows of x; takes milliseconds. */
dnnl_status_t onednn_linear_layout(struct onednn *o, enum numerics numerics, int64_t n, int64_t k,
                                   int64_t m, dnnl_memory_desc_t *layout);
/* W [n, k] row-major, seen as the (k, n) matrix that a linear layer multiplies by. */
dnnl_status_t onednn_plain_weights(enum numerics numerics, int64_t n, int64_t k,
                                   dnnl_memory_desc_t *desc);
/* The same matrix in another layout. */
dnnl_status_t onednn_reorder(struct onednn *o, const dnnl_memory_desc_t *from_desc, const void *from,
                             const dnnl_memory_desc_t *to_desc, void *to);

#endif
