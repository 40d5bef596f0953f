/* A model's folder: a Hugging Face checkout of a teacher (featurize/family.h) or of a student
 * (model_type "clipstill").
 *
 *     model_open(&m, dir, MODEL_IMAGE | MODEL_TEXT | MODEL_MAPPED, &err);
 *     tower_pack(m->image, NUMERICS_F32, &err);
 *     model_embed_images(m, ..) / tower_forward(...)
 *     model_free(m);
 *
 * Files: config.json, preprocessor_config.json (or processor_config.json), model.safetensors or pytorch_model.bin (also
 * sharded, featurize/weightfile.h), and the tokenizer's (featurize/tokenizerfile.h). A student's folder has the same shape and
 * further keys in config.json under "clipstill": the teacher's space (fingerprint of the final
 * sets, name), arch. Unknown tensors (*.position_ids, *.pooler.*) are ignored; a missing or
 * misshapen one is ERR_DATA naming tensor, expected and found shape. f32, f16 and bf16 tensors are
 * read. A student may have one tower only: the other is NULL.
 */
#ifndef FEATURIZE_MODEL_H
#define FEATURIZE_MODEL_H

#include "featurize/preprocess.h"
#include "featurize/tokenizer.h"
#include "featurize/tower.h"

enum { MODEL_IMAGE = 1, MODEL_TEXT = 2, MODEL_MAPPED = 4 };

/* A tower ready to run, kept from one model_embed_* to the next: private to modelembed.c. */
struct model_run {
    struct runner *runner;
    enum numerics numerics;
    const struct packed *packed;
    int n_threads;
};

struct model {
    char *dir;
    struct json *config;         /* config.json */
    bool is_student;
    struct tower *image, *text;  /* NULL when not asked for, or a student without it */
    struct preprocess preprocess;
    struct tokenizer *tokenizer; /* NULL without text */
    /* the position table's, or tokenizer_config.json's model_max_length where that is less */
    int max_tokens;
    float logit_scale;           /* exp(logit_scale) */
    int projection_dim;
    struct model_run image_run, text_run;
    struct weightfile *weights;  /* MODEL_MAPPED: open for the towers' views; else NULL */
};

/* `parts`: MODEL_IMAGE | MODEL_TEXT; a student lacking a part leaves it NULL, and so does an
 * M-CLIP asked for both; another teacher lacking it is an error. | MODEL_MAPPED, for inference alone: towers keep views of the weight file
 * (featurize/params.h) and must be packed (tower_pack) before they run; they cannot be trained or
 * saved. */
int model_open(struct model **m, const char *dir, int parts, struct error *err) MUST_CHECK;
void model_free(struct model *m);
/* Writes a folder (file by file atomically, model.safetensors last) from m's towers, tokenizer,
 * preprocess and `extra` (the "clipstill" object, borrowed, may be NULL). f32 tensors; the
 * preprocessing is written for the picture tower's side (preprocess_at_side). model_type:
 * "clipstill" when m->is_student, else "altclip". */
int model_save(const struct model *m, const char *dir, const struct json *extra,
               struct error *err) MUST_CHECK;
/* Unit embeddings in fixed micro-batches over threads; packed weights are used when tower_pack was
 * called with the same numerics. norms may be NULL. // rgb pictures preprocessed by the caller:
 * pixels_u8 (n, S, S, 3) -> out (n, projection_dim) */
int model_embed_pixels(struct model *m, enum numerics numerics, int n,
                       const uint8_t *pixels_u8, float *out, float *norms,
                       struct error *err) MUST_CHECK;
/* // texts already normalised (ingest/caption.h); out (n, projection_dim) */
int model_embed_texts(struct model *m, enum numerics numerics, int n,
                      const char *const *texts, const size_t *n_bytes, float *out, float *norms,
                      struct error *err) MUST_CHECK;
/* Digest of a tower's tensors (name, shape, dtype as stored, bytes; sorted by name; without what is
 * ignored), for fingerprints. */
int model_weights_digest(const char *dir, bool is_text, uint8_t digest[DIGEST_BYTES],
                         struct error *err) MUST_CHECK;

#endif
