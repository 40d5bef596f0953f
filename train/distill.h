/* Stage 1, `clipstill distill`: each student tower learns the features of the matching teacher
 * tower, from the cache alone.
 *
 *     struct distill_options o = distill_options_default();
 *     o.cache = "C"; o.out = "S"; o.image_arch = "vit-tiny"; o.text_arch = "text-tiny";
 *     struct distill_result r;
 *     int rc = distill_run(&o, report, &r, &err);
 *
 * The towers are independent here, so they are trained one after the other (image, then text), each
 * with its own schedule. Loss a record: w_final * (1 - cos) on the final embedding + w_feature *
 * mean over the intermediate sets of SmoothL1 on adapted features (the set's block k of L is
 * matched to the student's block round(k * l / L)); a further teacher's final set acts through its
 * own adapter. Adapters are dropped at the end. All languages are mixed. --loss label trains the
 * same network from labels instead (the baseline): softmax over a linear classifier on the
 * embedding.
 *
 * Resume: the same command. Bit-exact: a killed and resumed run gives a byte-equal
 * model.safetensors, for any number of threads. report_stopped: a checkpoint, then ERR_STOPPED.
 * Other settings or data in the same out: ERR_EXISTS with the differences. A NaN: ERR_DIVERGED with
 * step and tensor.
 */
#ifndef TRAIN_DISTILL_H
#define TRAIN_DISTILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "featurize/exec.h"
#include "store/error.h"
#include "store/json.h"
#include "store/report.h"
#include "train/optimiser.h"

enum distill_loss { DISTILL_FEATURES, DISTILL_LABEL };

struct distill_options {
    const char *cache, *out;
    const char *image_arch, *text_arch; /* train/arch.h; NULL: default, or what init has */
    const char *init;                   /* "random" or a student's folder */
    bool no_image, no_text;             /* a tower without features in the cache is left out by itself */
    const char *const *sets;            /* feature sets to learn from; NULL: all of the cache */
    size_t n_sets;
    bool no_intermediate;               /* final embeddings only (an ablation) */
    enum distill_loss loss;
    double weight_final, weight_feature, beta;
    double weight_label;                /* softmax over class labels beside the features, image tower; 0 */
    const char *const *languages;       /* NULL: all */
    size_t n_languages;
    const char *keep_vocab;             /* file: one text a line whose pieces are kept; NULL */
    /* a SentencePiece model to prune; NULL: the teacher's, kept in the text set */
    const char *tokenizer;
    int epochs_image, epochs_text;
    uint64_t max_steps;                 /* a tower; 0: no limit */
    int batch_image, batch_text;
    double lr_image, lr_text;
    struct optimiser_config optimiser;  /* lr and n_steps are filled in */
    int n_views;                        /* 0: all */
    /* flip and mild crops of the student's pixels against view 0's feature */
    bool augment;
    double token_drop; /* chance that a token of a train caption is left out, drawn anew every epoch; 0 */
    double token_split; /* chance that one is spelled with two others (train/subword.h); 0 */
    int patience;                       /* epochs without better validation before stopping; 0: never */
    bool keep_best;                     /* the weights of the best validation, not the last */
    uint64_t checkpoint_every;          /* steps */
    uint64_t seed;
    enum numerics numerics;
    uint64_t pixel_bytes;               /* limit of the pixel cache; 0: 2 GiB */
};

struct distill_result {
    bool was_done;          /* a finished run was found: nothing was computed */
    struct json *summary;   /* as in OUT/run.json; owned: json_free */
};

struct distill_options distill_options_default(void);
int distill_run(const struct distill_options *o, const struct report *report,
                struct distill_result *result, struct error *err) MUST_CHECK;

#endif
