/* Linear layers on oneDNN, cut into tiles of rows so that a row's bits do not depend on its
 * neighbours; for gemm.c alone, between onednn_enter and onednn_leave. Zero to begin with. */
#ifndef FEATURIZE_TILES_H
#define FEATURIZE_TILES_H

#include "featurize/gemm.h"
#include "featurize/onednn.h"

struct tiles {
    struct tile_family *families;
    size_t n_families, capacity;
};

void tiles_release(struct tiles *t);
/* The layer over m rows. `weights` are of layout *packed or, when that is NULL, row-major and of
 * the numerics' type. */
int tiles_run(struct tiles *t, struct onednn *o, const struct gemm_layer *l,
              const dnnl_memory_desc_t *packed, const void *weights, int64_t m, struct rows x,
              struct rows y, struct error *err) MUST_CHECK;

#endif
