/* General products of gemm.h in bf16: primitives kept by shape. For gemm.c alone, which does the
 * f32 ones by itself. */
#ifndef FEATURIZE_PRODUCT_H
#define FEATURIZE_PRODUCT_H

#include "featurize/onednn.h"

/* Both operands row-major with leading dimensions; op(A) is m x k. */
struct product_shape {
    bool transpose_a, transpose_b;
    int64_t m, n, k, lda, ldb, ldc;
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
    size_t last; /* used last: from there on it is looked for, as the heads of a sequence come in turn */
};

void products_release(struct products *p);
/* C = op(A) op(B) + beta C of matrices in bf16. Between onednn_enter and onednn_leave, as the next. */
int product_half(struct onednn *o, struct products *all, const struct product_shape *s,
                 const uint16_t *a, const uint16_t *b, float *c, struct error *err) MUST_CHECK;
/* The same of alpha A and B rounded to compact copies in scratch; s->lda, s->ldb are the copies',
 * lda and ldb those of A and B. */
int product_bf16(struct onednn *o, struct products *all, const struct product_shape *s, float alpha,
                 const float *a, int64_t lda, const float *b, int64_t ldb, float *c,
                 struct error *err) MUST_CHECK;

#endif
