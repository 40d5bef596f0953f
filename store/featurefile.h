/* A feature set in one safetensors file, as PyTorch, NumPy and JAX read them.
 *
 *     featurefile_create("x.safetensors", n, dim, NPY_F16, true, metadata, &w, &err);
 *     featurefile_add(w, key, unit, norm, &err);             // n times
 *     featurefile_finish(w, &err);                           // or featurefile_abandon(w)
 *
 * Tensors:
 *   norms      F32 [n]        optional: vector i is norms[i] * features[i]
 *   features   F32 or F16 [n, dim] (reading: F64 as well)
 *   keys       U8 [n, 32]     SHA-256 of the picture's file or of the caption's text
 * __metadata__, texts: "format": "clipstill.features.1", "identity" and "fingerprint": JSON
 * (store/transfer.h), "set", "tap", "tower", "storage", "view".
 *
 * Reading takes any file that has a tensor "features": without "keys" or "identity" a keys file or an
 * identity file is asked for. Other tensors are passed over. The header is checked as
 * featurize/safetensors.h checks weights: types, shapes, and bytes that lie inside the file.
 * Format: https://github.com/huggingface/safetensors.
 */
#ifndef STORE_FEATUREFILE_H
#define STORE_FEATUREFILE_H

#include <stdbool.h>

#include "store/intake.h"

struct featurefile;

/* type: NPY_F32 or NPY_F16. metadata: an object of texts; borrowed. */
int featurefile_create(const char *path, uint64_t n, uint32_t dim, enum npy_type type, bool has_norms,
                       const struct json *metadata, struct featurefile **w, struct error *err) MUST_CHECK;
int featurefile_add(struct featurefile *w, const uint8_t key[DIGEST_BYTES], const float *row, float norm,
                    struct error *err) MUST_CHECK;
int featurefile_finish(struct featurefile *w, struct error *err) MUST_CHECK; /* frees w either way */
void featurefile_abandon(struct featurefile *w);

/* The one part of an intake, its keys and its identity, unless they were given. */
int featurefile_open(struct intake *in, const char *path, struct error *err) MUST_CHECK;

#endif
