/* Encoded pictures to unit embeddings with a model's own preprocessing: what `embed` and `eval`
 * share.
 *
 * Pictures are decoded and preprocessed in parallel (view 0), then run through the image tower in
 * fixed micro-batches; a picture's embedding does not depend on its neighbours or on the number of
 * threads.
 */
#ifndef FEATURIZE_EMBED_H
#define FEATURIZE_EMBED_H

#include "featurize/model.h"

#define EMBED_BATCH 256 /* pictures decoded at once; callers may pass more */

/* Decodes one picture and puts its pixels (view 0) at the tower's side into out. // (S, S, 3) */
int embed_decode(const struct model *m, struct resizer *r, const void *bytes, size_t n,
                 uint8_t *out, struct error *err) MUST_CHECK;
/* Picture i is bytes[i], n_bytes[i]. A picture that cannot be decoded fails the call with ERR_DATA,
 * its index in *bad (bad may be NULL). // out (n, projection_dim) unit rows; norms (n) or NULL */
int embed_pictures(struct model *m, enum numerics numerics, int n, const void *const *bytes,
                   const size_t *n_bytes, float *out, float *norms, int *bad,
                   struct error *err) MUST_CHECK;

#endif
