/* Tensors as weight files hold them: views of somebody's bytes, and tables of them by name.
 *
 *     struct tensor_table table = {0};
 *     tensor_table_add(&table, &t, &err); ...
 *     tensor_table_finish(&table, "model.safetensors", &err);  // sorts, refuses a name twice
 *     const struct tensor *t = tensor_table_find(&table, "text_projection.weight");
 *     tensor_f32(t, w, &err);                                  // converts f16, bf16, f64
 *     tensor_table_release(&table);
 *
 * Values are little-endian, row-major, at any alignment. A table owns neither names nor bytes.
 * Threading: reading is free for any thread once a table is finished.
 */
#ifndef FEATURIZE_TENSOR_H
#define FEATURIZE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define TENSOR_MAX_DIMS 8

enum tensor_type {
    TENSOR_F64, TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_I64, TENSOR_I32,
    TENSOR_I16, TENSOR_I8, TENSOR_U8, TENSOR_BOOL, TENSOR_TYPES
};

struct tensor {
    const char *name; /* borrowed from the file's handle */
    enum tensor_type type;
    int n_dims; /* 0 for a scalar */
    int64_t shape[TENSOR_MAX_DIMS];
    size_t n;             /* values */
    const uint8_t *bytes; /* borrowed; any alignment */
    size_t n_bytes;
    bool in_file;         /* bytes lie in a read-only map of a file: tensor_drop may forget them */
};

const char *tensor_type_name(enum tensor_type type); /* "F32", ... */
/* The type of that name, or -1. */
int tensor_type_of(const char *name);
size_t tensor_type_bytes(enum tensor_type type); /* of one value */
/* Whether tensor_f32 converts it. */
bool tensor_is_float(const struct tensor *t);
/* "[768, 1024]"; returns out. */
const char *tensor_shape(int n_dims, const int64_t *shape, char *out, size_t size);
/* // out: (t->n). ERR_DATA for integer types. */
int tensor_f32(const struct tensor *t, float *out, struct error *err) MUST_CHECK;
/* n values from the first-th on, of a tensor of floats: in place where they stand as aligned f32,
 * else converted into scratch. // scratch, result (n) */
const float *tensor_values(const struct tensor *t, size_t first, size_t n, float *scratch);
/* The pages of its bytes need not stay in memory; they are read again when looked at. */
void tensor_drop(const struct tensor *t);

struct tensor_table {
    struct tensor *list; // (n) sorted by name once finished
    size_t n, capacity;
};

int tensor_table_add(struct tensor_table *table, const struct tensor *t, struct error *err) MUST_CHECK;
/* ERR_DATA when a name stands twice; `where` begins the message. */
int tensor_table_finish(struct tensor_table *table, const char *where, struct error *err) MUST_CHECK;
const struct tensor *tensor_table_find(const struct tensor_table *table, const char *name); /* or NULL */
void tensor_table_release(struct tensor_table *table);

#endif
