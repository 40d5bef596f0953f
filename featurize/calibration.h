/* The calibration of a tower for int8: which columns of which layers are scaled down, and by how
 * much (featurize/int8.h). Made once, from what the f32 tower sees over a sample of the corpus, and
 * frozen: it is kept in the sets it made and in files, and its digest is part of their fingerprint.
 *
 *     struct observed *seen = observed_new(params, &err);
 *     packed_observe(tower->packed, seen);             // f32: then run the tower over the sample
 *     c = calibration_new(params, seen, &err);
 *     struct json *j = calibration_json(c, params);    // {"layer name": "EEFDE..", ..}
 *     c = calibration_read(params, j, where, &err);
 *     calibration_digest(c, params, digest);
 *     calibration_free(c);
 *
 * Column j gets 2^shift, the power nearest to sqrt(largest |x_j| / largest |w_j|) (SmoothQuant's
 * alpha = 1/2), as one letter: '0' + 21 + shift, '0' to 'Z'. Layers in int8 are the matrices of a
 * tower's blocks (nearly all of the work); patch embedding, norms, attention products and final
 * projections stay in f32.
 * Threading: one calibration is read-only; observing is safe from several threads, and a maximum
 * does not depend on their order.
 */
#ifndef FEATURIZE_CALIBRATION_H
#define FEATURIZE_CALIBRATION_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/params.h"
#include "store/digest.h"
#include "store/json.h"

struct calibration;
struct observed;

struct observed *observed_new(const struct params *p, struct error *err) MUST_CHECK;
void observed_free(struct observed *o);
/* The inputs of layer `weight`, for a layer that int8 covers; others are ignored. // x (m, k) */
void observed_add(struct observed *o, int weight, int64_t m, int64_t k, const float *x);

/* ERR_DATA names a layer that saw nothing, or a NaN. */
struct calibration *calibration_new(const struct params *p, const struct observed *o,
                                    struct error *err) MUST_CHECK;
void calibration_free(struct calibration *c);
/* Owned. */
struct json *calibration_json(const struct calibration *c, const struct params *p);
/* ERR_DATA "<where>: ..." unless it has exactly this tower's layers, each with its columns. */
struct calibration *calibration_read(const struct params *p, const struct json *layers,
                                     const char *where, struct error *err) MUST_CHECK;
/* A calibration without a sample: every shift 0. For timing, where values do not matter. */
struct calibration *calibration_plain(const struct params *p, struct error *err) MUST_CHECK;
void calibration_digest(const struct calibration *c, const struct params *p,
                        uint8_t digest[DIGEST_BYTES]);
/* "int8:" and 32 digits of the digest: what a fingerprint says of its numerics. */
#define CALIBRATION_NAME 38
const char *calibration_name(const struct calibration *c, const struct params *p,
                             char name[CALIBRATION_NAME]);
/* Shifts of a layer's columns; NULL where it is not in int8. Borrowed. */
const int8_t *calibration_shift(const struct calibration *c, int weight);

#endif
