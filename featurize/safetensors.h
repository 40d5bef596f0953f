/* Weight files in the safetensors format: a u64 header length, a JSON header, tensors.
 *
 *     safetensors_open(dir, &s, &err); // model.safetensors, or the shards of model.safetensors.index.json
 *     const struct tensor *t = safetensors_find(s, "text_projection.weight");
 *     tensor_f32(t, w);                                       // converts f16, bf16, f64
 *     safetensors_close(s);
 *
 * Files are mapped, not read. Everything is checked on opening, before any tensor is touched: the
 * header is at most 100 MB, shapes and types agree with the bytes, tensors lie inside the file and
 * do not overlap. ERR_DATA names file and tensor.
 * Format: https://github.com/huggingface/safetensors (little-endian, row-major). Threading: an open
 * handle is read-only; any thread.
 */
#ifndef FEATURIZE_SAFETENSORS_H
#define FEATURIZE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"
#include "store/json.h"

#define SAFETENSORS_MAX_HEADER ((uint64_t)100000000)
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
};

const char *tensor_type_name(enum tensor_type type); /* "F32", ... */
/* "[768, 1024]"; returns out. */
const char *tensor_shape(int n_dims, const int64_t *shape, char *out, size_t size);
/* // out: (t->n). ERR_DATA for integer types. */
int tensor_f32(const struct tensor *t, float *out, struct error *err) MUST_CHECK;

struct safetensors;
/* The weights of a model's folder. ERR_NOT_FOUND says what is there instead. */
int safetensors_open(const char *folder, struct safetensors **s, struct error *err) MUST_CHECK;
/* n bytes in memory, borrowed until safetensors_close; name stands in errors. */
int safetensors_read(const void *bytes, size_t n, const char *name, struct safetensors **s,
                     struct error *err) MUST_CHECK;
void safetensors_close(struct safetensors *s);
size_t safetensors_n(const struct safetensors *s);
/* The i-th tensor in order of name; NULL past the end. */
const struct tensor *safetensors_at(const struct safetensors *s, size_t i);
const struct tensor *safetensors_find(const struct safetensors *s, const char *name); /* NULL when absent */

/* Writes n tensors of type F32 (t->bytes are floats) to one file, atomically, in the order given;
 * the same input gives the same bytes. metadata: NULL, or an object of strings. */
int safetensors_write(const char *path, size_t n, const struct tensor *tensors,
                      const struct json *metadata, struct error *err) MUST_CHECK;

#endif
