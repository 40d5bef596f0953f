/* Stage 2, `clipstill align`: the two student towers meet again, by symmetric InfoNCE on image-text
 * pairs.
 *
 *     struct align_options o = align_options_default();
 *     o.cache = "C"; o.init = "S1"; o.out = "S2";
 *     int rc = align_run(&o, report, &r, &err);
 *
 * Loss: InfoNCE with learned temperature (train/contrast.h; linked and equal records are never
 * negatives) + w_keep * (1 - cos) to the cached teacher embeddings of both towers (which keeps the
 * student in the teacher's space; on by default) + w_similarity * similarity distillation on cached
 * teacher features (where it has none of texts, a caption's target is its own picture's feature: it is
 * as near to another picture as the two pictures are to each other). The keep term of a tower without
 * cached features is left out, with a warning. Pairs are sampled by weight and source. freeze_image: the image tower stays as it is. freeze_image_set:
 * there is no image tower, the set's cached features stand for the pictures; the text student is
 * then trained from init, or from random weights with a tokenizer out of the text set, a file, or
 * trained on the captions (vocab_size). Resume, threads, errors: as train/distill.h.
 */
#ifndef TRAIN_ALIGN_H
#define TRAIN_ALIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "featurize/exec.h"
#include "store/error.h"
#include "store/json.h"
#include "store/report.h"
#include "train/optimiser.h"

struct align_options {
    const char *cache, *out;
    const char *init;                   /* a student's folder, or "random" */
    const char *image_arch, *text_arch; /* with init random */
    bool freeze_image, freeze_text;
    const char *freeze_image_set;       /* name of an image set; NULL */
    double weight_contrast, weight_keep, weight_similarity;
    double log_scale;                   /* start; NAN: the teacher's, or ln(1 / 0.07) */
    bool fixed_scale, multi_positive;
    const char *const *languages;
    size_t n_languages;
    const char *const *source_names;    /* factors on pair weights by source */
    const double *source_weights;
    size_t n_source_weights;
    const char *tokenizer;              /* SentencePiece model file; NULL */
    const char *keep_vocab;             /* file; NULL */
    /* pieces of a model trained on the train captions when no other is there */
    int vocab_size;
    int epochs;
    uint64_t max_steps;
    int batch;
    double lr, lr_image;                /* lr_image: factor on the image tower's rate, 1 */
    struct optimiser_config optimiser;
    int n_views;
    bool augment;
    double token_drop; /* chance that a token of a train caption is left out, drawn anew every epoch; 0 */
    double token_split; /* chance that one is spelled with two others (train/subword.h); 0 */
    int patience;
    bool keep_best;
    uint64_t checkpoint_every;
    uint64_t seed;
    enum numerics numerics;
    uint64_t pixel_bytes;
};

struct align_result {
    bool was_done;
    struct json *summary; /* owned: json_free */
};

struct align_options align_options_default(void);
int align_run(const struct align_options *o, const struct report *report,
              struct align_result *result, struct error *err) MUST_CHECK;

#endif
