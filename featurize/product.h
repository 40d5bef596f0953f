/* General products of gemm.h in bf16: primitives kept by shape. For gemm.c alone, which does the
 * f32 ones by itself. */
#ifndef FEATURIZE_PRODUCT_H
#define FEATURIZE_PRODUCT_H

#include "featurize/onednn.h"

/* Both operands row-major with leading dimensions; op(A) is m x k. */
struct product_shape {
    bool transpose_a, transpose_b;
    int64_t m, n, k, ldc;
    float beta;
};

struct product {
    struct product_shape shape;
    struct onednn_matmul matmul;
};

/* The primitives made so far. Zero to begin with. */
struct products {
    struct product *list;
    size_t n, capacity;
};

void products_release(struct products *p);
/* C = alpha op(A) op(B) + beta C; alpha A and B are rounded to bf16 in scratch. Between
 * onednn_enter and onednn_leave. */
int product_bf16(struct onednn *o, struct products *all, const struct product_shape *s, float alpha,
                 const float *a, int64_t lda, const float *b, int64_t ldb, float *c,
                 struct error *err) MUST_CHECK;

#endif
