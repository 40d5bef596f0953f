/* Compression of a run of bytes with bounds on both sides. Library: zstd.
 *
 *     struct compress *z = compress_new(&err);               // one a thread
 *     int64_t n = compress_pack(z, COMPRESS_CODES, out, compress_bound(n_plain), plain, n_plain, &err);
 *     compress_unpack(z, plain, n_plain, out, n, &err);      // exactly n_plain bytes, or ERR_CORRUPT
 *     compress_free(z);
 *
 * The output is a plain zstd frame that any zstd reader opens, and a pure function of the input and the
 * level. Planes of features have next to no repetition for zstd to find, only unequal frequencies:
 * levels below 0, which hardly search, with the entropy coding that they leave out by themselves,
 * are as small as 1 to 19 and faster. Measured on blocks of real CLIP features, bytes a vector of
 * 512 values at levels -50, -5, 1, 3, 19: f32 1718, 1730, 1725, 1749, 1739 (at 1857, 1379, 946, 511, 6
 * MB of f32 a second); q1e-4 380.0, 379.3, 379.5, 379.5, 379.1 (3495, 3856, 3237, 2790, 18).
 * Threading: a handle belongs to one thread at a time.
 */
#ifndef STORE_COMPRESS_H
#define STORE_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define COMPRESS_CODES (-5) /* planes of two bytes */
#define COMPRESS_FLOATS (-50) /* planes of f32, of which two or three are noise */

struct compress;

struct compress *compress_new(struct error *err) MUST_CHECK; /* owned: compress_free */
void compress_free(struct compress *z);

/* Most bytes that compress_pack writes for n bytes. */
size_t compress_bound(size_t n);

/* Bytes written to out, or a negative error. */
int64_t compress_pack(struct compress *z, int level, void *out, size_t capacity, const void *bytes,
                      size_t n, struct error *err) MUST_CHECK;

/* Fills out with exactly n_out bytes. ERR_CORRUPT when the frame is damaged, trailed by other
 * bytes, or of another size. */
int compress_unpack(struct compress *z, void *out, size_t n_out, const void *packed, size_t n,
                    struct error *err) MUST_CHECK;

#endif
