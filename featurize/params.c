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

bool param_is_linear(const struct param *p)
{
    size_t length = strlen(p->name);
    if (p->kind == PARAM_BUFFER || length < 7 || strcmp(p->name + length - 7, ".weight"))
        return false;
    if (p->n_dims == 4)
        return strstr(p->name, "patch_embedding") || (p->shape[2] == 1 && p->shape[3] == 1);
    return p->n_dims == 2 && !strstr(p->name, "_embedding");
}

/* Rows that are looked up: *_embedding*, but for patches. */
static bool is_table(const struct param *p)
{
    return p->n_dims == 2 && strstr(p->name, "_embedding");
}

int params_map(struct params *p, const struct tensor *const *sources, struct error *err)
{
    p->source = memory_array((uint64_t)p->n, sizeof *p->source, MEMORY_MAX_FILE, err);
    if (!p->source) return ERR_NOMEM;
    p->n_floats = 0;
    for (int i = 0; i < p->n; i++) {
        struct param *t = &p->table[i];
        p->source[i] = *sources[i];
        t->offset = PARAM_IN_FILE;
        if (param_is_linear(t) || is_table(t)) continue;
        t->offset = p->n_floats;
        p->n_floats += (t->n + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    }
    int rc = params_allocate(p, err);
    for (int i = 0; i < p->n && rc == 0; i++)
        if (params_at(p, i))
            rc = tensor_f32(sources[i], params_at(p, i), err);
        else if (!tensor_is_float(sources[i]))
            rc = tensor_f32(sources[i], NULL, err); /* refuses it by name */
    return rc;
}

const float *params_values(const struct params *p, int i, float *scratch)
{
    const float *w = params_at(p, i);
    return w ? w : tensor_values(&p->source[i], 0, p->table[i].n, scratch);
}

const float *params_row(const struct params *p, int i, int64_t row, float *scratch)
{
    size_t n = p->table[i].n / (size_t)p->table[i].shape[0], first = (size_t)row * n;
    const float *w = params_at(p, i);
    return w ? w + first : tensor_values(&p->source[i], first, n, scratch);
}

void params_drop(const struct params *p, int i)
{
    if (p->table[i].offset == PARAM_IN_FILE) tensor_drop(&p->source[i]);
}

void params_release(struct params *p)
{
    memory_free(p->table);
    memory_free(p->source);
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
