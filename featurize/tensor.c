/* Views of tensors and tables of them; see tensor.h. */
#include "featurize/tensor.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "store/memory.h"

#define PAGE_BYTES 4096

static const struct {
    const char *name;
    size_t n_bytes;
} types[TENSOR_TYPES] = {
    [TENSOR_F64] = {"F64", 8},   [TENSOR_F32] = {"F32", 4}, [TENSOR_F16] = {"F16", 2},
    [TENSOR_BF16] = {"BF16", 2}, [TENSOR_I64] = {"I64", 8}, [TENSOR_I32] = {"I32", 4},
    [TENSOR_I16] = {"I16", 2},   [TENSOR_I8] = {"I8", 1},   [TENSOR_U8] = {"U8", 1},
    [TENSOR_BOOL] = {"BOOL", 1},
};

const char *tensor_type_name(enum tensor_type type)
{
    return types[type].name;
}

int tensor_type_of(const char *name)
{
    for (int i = 0; i < TENSOR_TYPES; i++)
        if (!strcmp(types[i].name, name)) return i;
    return -1;
}

size_t tensor_type_bytes(enum tensor_type type)
{
    return types[type].n_bytes;
}

bool tensor_is_float(const struct tensor *t)
{
    return t->type == TENSOR_F64 || t->type == TENSOR_F32 || t->type == TENSOR_F16 ||
           t->type == TENSOR_BF16;
}

const char *tensor_shape(int n_dims, const int64_t *shape, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < n_dims && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, i ? ", %lld" : "%lld", (long long)shape[i]);
    if (at < size) snprintf(out + at, size - at, "]");
    return out;
}

/* Both cases of the exponent are computed and one is taken, so that the loop becomes vector code. */
static void f16_values(const uint8_t *bytes, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, 2);
        uint32_t h = half, exponent = h >> 10 & 31, rest = (h & 0x7fff) << 13;
        float small = (float)(int32_t)(h & 1023) * 0x1p-24F; /* exact: subnormal, or zero */
        uint32_t bits;
        memcpy(&bits, &small, 4);
        uint32_t normal = rest + (exponent == 31 ? 224u << 23 : 112u << 23);
        bits = (exponent ? normal : bits) | (h & 0x8000) << 16;
        memcpy(out + i, &bits, 4);
    }
}

static void bf16_values(const uint8_t *bytes, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, 2);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(out + i, &bits, 4);
    }
}

static void f64_values(const uint8_t *bytes, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, bytes + 8 * i, 8);
        out[i] = (float)x;
    }
}

static void convert(const struct tensor *t, size_t first, size_t n, float *out)
{
    const uint8_t *bytes = t->bytes + first * types[t->type].n_bytes;
    switch (t->type) {
    case TENSOR_F32: memcpy(out, bytes, n * sizeof *out); break;
    case TENSOR_F64: f64_values(bytes, n, out); break;
    case TENSOR_F16: f16_values(bytes, n, out); break;
    case TENSOR_BF16: bf16_values(bytes, n, out); break;
    default: assert(!"integers are no weights");
    }
}

int tensor_f32(const struct tensor *t, float *out, struct error *err)
{
    if (!tensor_is_float(t))
        return error_set(err, ERR_DATA,
                         "tensor %s: type %s cannot be weights: F32, F16, BF16 or F64 expected",
                         t->name, types[t->type].name);
    convert(t, 0, t->n, out);
    return 0;
}

const float *tensor_values(const struct tensor *t, size_t first, size_t n, float *scratch)
{
    const void *bytes = t->bytes + first * types[t->type].n_bytes;
    if (t->type == TENSOR_F32 && (uintptr_t)bytes % _Alignof(float) == 0) return bytes;
    convert(t, first, n, scratch);
    return scratch;
}

/* Whole pages inside the tensor: a page shared with a neighbour may be in use. */
void tensor_drop(const struct tensor *t)
{
    if (!t->in_file) return;
    uintptr_t begin = ((uintptr_t)t->bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uintptr_t end = ((uintptr_t)t->bytes + t->n_bytes) / PAGE_BYTES * PAGE_BYTES;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

int tensor_table_add(struct tensor_table *table, const struct tensor *t, struct error *err)
{
    int rc = memory_grow(&table->list, &table->capacity, (uint64_t)table->n + 1,
                         sizeof *table->list, MEMORY_MAX_FILE, err);
    if (rc == 0) table->list[table->n++] = *t;
    return rc;
}

int tensor_table_finish(struct tensor_table *table, const char *where, struct error *err)
{
    if (table->n) qsort(table->list, table->n, sizeof *table->list, by_name);
    for (size_t i = 1; i < table->n; i++)
        if (!strcmp(table->list[i - 1].name, table->list[i].name))
            return error_set(err, ERR_DATA, "%s: tensor %.100s stands there twice", where,
                             table->list[i].name);
    return 0;
}

const struct tensor *tensor_table_find(const struct tensor_table *table, const char *name)
{
    struct tensor key = {.name = name};
    return table->n ? bsearch(&key, table->list, table->n, sizeof *table->list, by_name) : NULL;
}

void tensor_table_release(struct tensor_table *table)
{
    memory_free(table->list);
    *table = (struct tensor_table){0};
}
