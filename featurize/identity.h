/* What the bytes of a feature set depend on: the fingerprint a teacher gives its sets.
 *
 *     struct identity id;
 *     identity_of(&id, model, options, is_text, caption_rule, &err);   // reads the tower's weights
 *     identity_numerics(&id, NUMERICS_BF16, text);
 *     struct json *fingerprint = identity_fingerprint(&id, &tap, storage, epsilon, text);
 *
 * Components: weights (the tower's tensors by name, shape, type and bytes: not the files' layout),
 * config, preprocessing and view_plan of pictures, tokenizer, caption_rule and max_tokens of texts,
 * tap, numerics, storage, format. No path, clock, machine, thread count, number of views or order of
 * taps. Plain data; the model is borrowed.
 */
#ifndef FEATURIZE_IDENTITY_H
#define FEATURIZE_IDENTITY_H

#include "featurize/calibration.h"
#include "featurize/featurize.h"
#include "featurize/model.h"

struct identity {
    const struct model *model;
    bool is_text;
    int max_tokens; /* of texts */
    struct view_plan plan;
    const char *caption_rule; /* borrowed: how the corpus's captions are normalised */
    uint8_t weights[DIGEST_BYTES];
};

/* dir: the model's folder. */
int identity_of(struct identity *id, const struct model *m, const char *dir,
                const struct featurize_options *o, bool is_text, const char *caption_rule,
                struct error *err) MUST_CHECK;
/* Owned: json_free. */
struct json *identity_fingerprint(const struct identity *id, const char *tap,
                                  enum codec_storage storage, float epsilon,
                                  const char *numerics);
/* "f32", "bf16.2", or "int8:" and the digest of the tower's calibration (without one, "int8"); returns
 * text. bf16's number tells where values are rounded, which has changed once:
 * since 2, q, k, v and the softmax are rounded for attention and activations are done inside the
 * product. */
const char *identity_numerics(const struct identity *id, enum numerics numerics,
                              char text[CALIBRATION_NAME]);
/* Of what a fingerprint says, by any number or digest; NUMERICS_F32 for what is neither bf16 nor
 * int8. */
enum numerics identity_numerics_of(const char *name);

#endif
