/* The safetensors format: a u64 header length, a JSON header, tensors.
 *
 *     safetensors_read(map.bytes, map.n, "model.safetensors", &s, &err);
 *     const struct tensor *t = tensor_table_find(safetensors_table(s), "text_projection.weight");
 *     safetensors_close(s);
 *
 * For a model's folder with its shards see featurize/weightfile.h. Everything is checked on
 * reading, before any tensor is touched: the header is at most 100 MB, shapes and types agree with
 * the bytes, tensors lie inside the file and do not overlap. ERR_DATA names file and tensor.
 * Format: https://github.com/huggingface/safetensors (little-endian, row-major). Threading: a
 * handle is read-only; any thread.
 */
#ifndef FEATURIZE_SAFETENSORS_H
#define FEATURIZE_SAFETENSORS_H

#include "featurize/tensor.h"
#include "store/json.h"

#define SAFETENSORS_MAX_HEADER ((uint64_t)100000000)

struct safetensors;
/* One file of n bytes in memory, borrowed until safetensors_close; name stands in errors. */
int safetensors_read(const void *bytes, size_t n, const char *name, struct safetensors **s,
                     struct error *err) MUST_CHECK;
void safetensors_close(struct safetensors *s);
/* Its tensors; names and table live until safetensors_close. */
const struct tensor_table *safetensors_table(const struct safetensors *s);

/* Writes n tensors (t->bytes as their type says) to one file, atomically, in the order given; the
 * same input gives the same bytes. metadata: NULL, or an object of strings. */
int safetensors_write(const char *path, size_t n, const struct tensor *tensors,
                      const struct json *metadata, struct error *err) MUST_CHECK;

#endif
