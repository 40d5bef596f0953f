/* The parameters of one network: one table from which sizes, names, order in files, weight decay
 * and gradients derive.
 *
 *     int w = params_add(&p, "vision_model.pre_layrnorm.weight", PARAM_NO_DECAY, 1,
 *                        (int64_t[]){width}, &err);
 *     params_allocate(&p, &err);           // one block for all; p.w + p.table[w].offset is the tensor
 *
 * All values are f32, each tensor 64-byte aligned inside one block. Gradients and optimiser moments
 * are further blocks of p.n_floats floats with the same offsets. Names are Hugging Face tensor
 * names; [out, in] for linear weights, [out, in, kh, kw] for convolutions as PyTorch has them.
 * PARAM_BUFFER marks what is saved but not trained (batch-norm running statistics).
 * Threading: read-only once training or packing has begun, except by the optimiser (serial).
 */
#ifndef FEATURIZE_PARAMS_H
#define FEATURIZE_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define PARAM_MAX_DIMS 4
#define PARAM_NAME_MAX 127

enum param_kind { PARAM_DECAY, PARAM_NO_DECAY, PARAM_BUFFER };

struct param {
    char name[PARAM_NAME_MAX + 1];
    enum param_kind kind;
    int n_dims; /* 0 for a scalar */
    int64_t shape[PARAM_MAX_DIMS];
    size_t n;      /* values */
    size_t offset; /* floats from params.w */
};

struct params {
    struct param *table;
    int n;
    size_t capacity;
    float *w;        /* owned; NULL before params_allocate */
    size_t n_floats; /* length of w with alignment gaps (gaps are zero) */
};

/* The index of the new parameter, or a negative error (duplicate name, absurd shape: ERR_DATA). */
int params_add(struct params *p, const char *name, enum param_kind kind, int n_dims,
               const int64_t *shape, struct error *err) MUST_CHECK;
int params_allocate(struct params *p, struct error *err) MUST_CHECK;
void params_release(struct params *p);
/* Index by name, or -1. */
int params_find(const struct params *p, const char *name);
static inline float *params_at(const struct params *p, int i) { return p->w + p->table[i].offset; }
/* Trained values (without buffers). */
uint64_t params_count(const struct params *p);

#endif
