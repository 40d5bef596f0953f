/* `clipstill shrink`: an initial student out of the teacher's own weights.
 *
 *     struct shrink_options o = {.cache = "C", .teacher = "T", .out = "S0",
 *                                .image_arch = "vit:layers=6", .text_arch = "text:layers=4"};
 *     int rc = shrink_run(&o, report, &r, &err);
 *
 * Depth: layers 0, s, 2s, ... with s = teacher's layers / student's (TinyCLIP's manual
 * inheritance). Width: the front slice of every dimension, whole heads of attention (the head width
 * stays the teacher's, or is front-sliced). Embedding rows of the pruned vocabulary; a factorised
 * embedding by PCA of those rows. Positions are copied (bilinear where the grid differs). The
 * projection's rows are all kept, so that the output space is the teacher's. Keys absent from an
 * arch keep the teacher's value: with none given and no pruning the student computes the teacher's
 * embeddings. A MobileViT has no teacher of its kind: it starts from random weights, with a
 * warning.
 */
#ifndef TRAIN_SHRINK_H
#define TRAIN_SHRINK_H

#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"
#include "store/json.h"
#include "store/report.h"

struct shrink_options {
    const char *cache;   /* its train text and class prompts choose the vocabulary; NULL: no pruning */
    const char *teacher; /* a Hugging Face folder */
    const char *out;
    const char *image_arch, *text_arch; /* NULL: the teacher's own */
    bool no_image, no_text;
    const char *keep_vocab; /* file; NULL */
    uint64_t seed;          /* of what cannot be inherited */
};

struct shrink_result {
    struct json *summary; /* parameters and vocabulary before and after; owned: json_free */
};

/* ERR_EXISTS: out holds a model. ERR_STOPPED between two steps, with nothing written. */
int shrink_run(const struct shrink_options *o, const struct report *report,
               struct shrink_result *result, struct error *err) MUST_CHECK;

#endif
