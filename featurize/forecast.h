/* How many bytes a feature set will take, from a few of its vectors.
 *
 *     forecast_sample(&f, &codec, grid, vectors, n, &err);     // one block of them, coded as a set does
 *     bytes = forecast_bytes(&f, n_vectors, n_views, n_tokenizer);
 *     forecast_made_up(&f, &codec, grid, &err);                // of vectors that nobody has seen
 *
 * No formula knows how a teacher's features compress (between 3 and 7 times at one and the same
 * bound), so they are tried: a block is coded once whole and once by half, which tells what a vector
 * takes and what a block takes beside its vectors. The file has whole pages, those of its tables,
 * and those that the last two transactions have replaced.
 * Only featurize/tapset.c uses this. Nothing is kept; one thread.
 */
#ifndef FEATURIZE_FORECAST_H
#define FEATURIZE_FORECAST_H

#include <stdint.h>

#include "store/codec.h"
#include "store/error.h"

#define FORECAST_VECTORS 256 /* no more are looked at */

struct forecast {
    uint32_t n_slots;                 /* 0: no sample was taken */
    double block_bytes, vector_bytes; /* of a record, and of each vector in it */
};

/* Without vectors f is left empty. // vectors: (n, dim) */
int forecast_sample(struct forecast *f, const struct codec *codec, uint32_t grid, const float *vectors,
                    int n, struct error *err) MUST_CHECK;
/* As if from vectors of normally distributed values, which at one size and one bound take more bytes than
 * any others: a teacher's, with some columns larger than others, take as much or less. */
int forecast_made_up(struct forecast *f, const struct codec *codec, uint32_t grid, struct error *err) MUST_CHECK;
/* Of n vectors in so many views. n_fixed_bytes: what the set keeps once, its tokenizer. */
uint64_t forecast_bytes(const struct forecast *f, uint64_t n, uint32_t n_views, uint64_t n_fixed_bytes);

#endif
