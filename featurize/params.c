/* The parameter table; see params.h. Offsets are multiples of sixteen floats, so that every tensor
 * starts on its own cache line and gradients of neighbours never share one. */
#include "featurize/params.h"

#include <string.h>

#include "store/memory.h"

#define ALIGN_FLOATS 16
#define MAX_PARAMS   100000
#define MAX_VALUES   ((uint64_t)1 << 34) /* of one network: 64 GiB of f32 */

/* Values of a shape, or 0 when a dimension is not positive or the product absurd. */
static uint64_t values_of(int n_dims, const int64_t *shape)
{
    uint64_t n = 1;
    for (int i = 0; i < n_dims; i++)
        if (shape[i] <= 0 || __builtin_mul_overflow(n, (uint64_t)shape[i], &n) || n > MAX_VALUES)
            return 0;
    return n;
}

int params_add(struct params *p, const char *name, enum param_kind kind, int n_dims,
               const int64_t *shape, struct error *err)
{
    if (strlen(name) > PARAM_NAME_MAX)
        return error_set(err, ERR_DATA, "parameter name \"%s\" is longer than %d bytes", name,
                         PARAM_NAME_MAX);
    if (params_find(p, name) >= 0)
        return error_set(err, ERR_DATA, "parameter \"%s\" is declared twice", name);
    if (n_dims < 0 || n_dims > PARAM_MAX_DIMS)
        return error_set(err, ERR_DATA, "parameter \"%s\" has %d dimensions, 0 to %d are possible",
                         name, n_dims, PARAM_MAX_DIMS);
    uint64_t n = values_of(n_dims, shape);
    if (!n || p->n_floats + n > MAX_VALUES)
        return error_set(err, ERR_DATA, "parameter \"%s\" has an empty or absurdly large shape",
                         name);
    int rc = memory_grow(&p->table, &p->capacity, (uint64_t)p->n + 1, sizeof *p->table,
                         MAX_PARAMS * sizeof *p->table, err);
    if (rc < 0) return rc;
    struct param *t = &p->table[p->n];
    *t = (struct param){.kind = kind, .n_dims = n_dims, .n = n, .offset = p->n_floats};
    memcpy(t->name, name, strlen(name));
    for (int i = 0; i < n_dims; i++) t->shape[i] = shape[i];
    p->n_floats += (n + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    return p->n++;
}

int params_allocate(struct params *p, struct error *err)
{
    p->w = memory_array(p->n_floats, sizeof *p->w, MEMORY_MAX_TENSOR, err);
    return p->w ? 0 : ERR_NOMEM;
}

void params_release(struct params *p)
{
    memory_free(p->table);
    memory_free(p->w);
    *p = (struct params){0};
}

int params_find(const struct params *p, const char *name)
{
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->table[i].name, name)) return i;
    return -1;
}

uint64_t params_count(const struct params *p)
{
    uint64_t n = 0;
    for (int i = 0; i < p->n; i++)
        if (p->table[i].kind != PARAM_BUFFER) n += p->table[i].n;
    return n;
}
