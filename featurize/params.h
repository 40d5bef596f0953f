/* The parameters of one network: one table from which sizes, names, order in files, weight decay
 * and gradients derive.
 *
 *     int w = params_add(&p, "vision_model.pre_layrnorm.weight", PARAM_NO_DECAY, 1,
 *                        (int64_t[]){width}, &err);
 *     params_allocate(&p, &err);           // one block for all; p.w + p.table[w].offset is the tensor
 *     params_map(&p, sources, &err);       // or, for inference alone, views of a weight file
 *
 * Allocated: all values are f32, each tensor 64-byte aligned inside one block. Gradients and
 * optimiser moments are further blocks of p.n_floats floats with the same offsets. Names are
 * Hugging Face tensor names; [out, in] for linear weights, [out, in, kh, kw] for convolutions as
 * PyTorch has them. PARAM_BUFFER marks what is saved but not trained (batch-norm running
 * statistics).
 *
 * Mapped: w holds only what is small (biases, norms, class tokens, full convolutions). Linear
 * weights and tables of embeddings stay in the file, of whatever float type: params_at gives NULL
 * for them, params_values and params_row give f32. A linear weight is looked at once, when it is
 * packed (featurize/gemm.h), and its pages are then let go; of a table only the rows that a text
 * names come into memory.
 * Threading: read-only once training or packing has begun, except by the optimiser (serial).
 */
#ifndef FEATURIZE_PARAMS_H
#define FEATURIZE_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "featurize/tensor.h"
#include "store/error.h"

#define PARAM_MAX_DIMS 4
#define PARAM_NAME_MAX 127
#define PARAM_IN_FILE SIZE_MAX /* offset of a tensor that is not in w */

enum param_kind { PARAM_DECAY, PARAM_NO_DECAY, PARAM_BUFFER };

struct param {
    char name[PARAM_NAME_MAX + 1];
    enum param_kind kind;
    int n_dims; /* 0 for a scalar */
    int64_t shape[PARAM_MAX_DIMS];
    size_t n;      /* values */
    size_t offset; /* floats from params.w, or PARAM_IN_FILE */
};

struct params {
    struct param *table;
    int n;
    size_t capacity;
    float *w;        /* owned; NULL before params_allocate or params_map */
    size_t n_floats; /* length of w with alignment gaps (gaps are zero) */
    struct tensor *source; /* (n) owned; NULL unless mapped */
};

/* The index of the new parameter, or a negative error (duplicate name, absurd shape: ERR_DATA). */
int params_add(struct params *p, const char *name, enum param_kind kind, int n_dims,
               const int64_t *shape, struct error *err) MUST_CHECK;
int params_allocate(struct params *p, struct error *err) MUST_CHECK;
/* sources[i]: the tensor of table[i], of the same number of values; its bytes and name are borrowed
 * for p's life. ERR_DATA for a tensor of integers. */
int params_map(struct params *p, const struct tensor *const *sources, struct error *err) MUST_CHECK;
void params_release(struct params *p);
/* Index by name, or -1. */
int params_find(const struct params *p, const char *name);
/* The i-th tensor; NULL when it is in the file. */
static inline float *params_at(const struct params *p, int i)
{
    return p->table[i].offset == PARAM_IN_FILE ? NULL : p->w + p->table[i].offset;
}
/* Wherever they are: all values of tensor i, or one row of it (n / shape[0] values). In place where
 * they stand as f32, else converted into scratch. // scratch: table[i].n, or one row */
const float *params_values(const struct params *p, int i, float *scratch);
const float *params_row(const struct params *p, int i, int64_t row, float *scratch);
/* Lets the pages of a tensor in the file go; nothing for others. */
void params_drop(const struct params *p, int i);
/* What packed_new packs: *.weight that are matrices, 1 x 1 convolutions or patch embeddings, no
 * tables. */
bool param_is_linear(const struct param *p);
/* Trained values (without buffers). */
uint64_t params_count(const struct params *p);

#endif
