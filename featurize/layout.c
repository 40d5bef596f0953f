/* Adding tensors to a tower's table; see layout.h. Weights of linears and convolutions decay in
 * training; norms, biases and embeddings (whose rows are mostly not touched in a step) do not. */
#include "featurize/layout.h"

#include <assert.h>
#include <stdio.h>

#include "store/memory.h"

#define MAX_SLOTS 65536
#define BASE_SIZE (PARAM_NAME_MAX + 1 - (int)sizeof ".normalization.running_mean")

static void add(struct layout *l, enum param_kind kind, int n_dims, const int64_t *shape,
                const char *base, const char *suffix)
{
    if (l->rc < 0) return;
    struct tower *t = l->tower;
    char name[PARAM_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s%s", base, suffix);
    int index = params_add(&t->params, name, kind, n_dims, shape, l->err);
    if (index >= 0)
        l->rc = memory_grow(&t->slot, &l->capacity, (uint64_t)t->n_slots + 1, sizeof *t->slot,
                            MAX_SLOTS * sizeof *t->slot, l->err);
    else
        l->rc = index;
    if (l->rc >= 0) t->slot[t->n_slots++] = index;
}

/* `base` is a full name, or one that leaves room for the longest suffix. */
#define FORMAT_NAME(base, fmt)                                                                     \
    char base[BASE_SIZE];                                                                          \
    va_list ap;                                                                                    \
    va_start(ap, fmt);                                                                             \
    int length = vsnprintf(base, sizeof base, fmt, ap);                                            \
    va_end(ap);                                                                                    \
    assert(length > 0 && length < BASE_SIZE)

void layout_tensor(struct layout *l, enum param_kind kind, int n_dims, const int64_t *shape,
                   const char *fmt, ...)
{
    FORMAT_NAME(base, fmt);
    add(l, kind, n_dims, shape, base, "");
}

void layout_linear(struct layout *l, int64_t out, int64_t in, bool bias, const char *fmt, ...)
{
    FORMAT_NAME(base, fmt);
    add(l, PARAM_DECAY, 2, (int64_t[]){out, in}, base, ".weight");
    if (bias) add(l, PARAM_NO_DECAY, 1, &out, base, ".bias");
}

void layout_norm(struct layout *l, int64_t width, const char *fmt, ...)
{
    FORMAT_NAME(base, fmt);
    add(l, PARAM_NO_DECAY, 1, &width, base, ".weight");
    add(l, PARAM_NO_DECAY, 1, &width, base, ".bias");
}

void layout_conv(struct layout *l, int64_t out, int64_t in, int64_t k, bool norm, const char *fmt,
                 ...)
{
    FORMAT_NAME(base, fmt);
    add(l, PARAM_DECAY, 4, (int64_t[]){out, in, k, k}, base, ".convolution.weight");
    if (!norm) return;
    add(l, PARAM_NO_DECAY, 1, &out, base, ".normalization.weight");
    add(l, PARAM_NO_DECAY, 1, &out, base, ".normalization.bias");
    add(l, PARAM_BUFFER, 1, &out, base, ".normalization.running_mean");
    add(l, PARAM_BUFFER, 1, &out, base, ".normalization.running_var");
}
