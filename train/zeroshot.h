/* Zero-shot classification by class names and templates of one language.
 *
 * A class's vector is the mean of its normalised prompt embeddings, normalised again (CLIP's prompt
 * ensembling); a picture's prediction ranks the classes by cosine, ties against the model.
 * Reported: top-1, top-5, mean accuracy over classes.
 */
#ifndef TRAIN_ZEROSHOT_H
#define TRAIN_ZEROSHOT_H

#include <stdint.h>

#include "train/measure.h"

struct zeroshot {
    struct measure top1, top5, mean_class;
};

/* Prompt i belongs to class prompt_class[i]. label: class of each picture, -1: not judged. Every
 * class needs a prompt: ERR_DATA otherwise. // image (n_images, dim), prompt (n_prompts, dim): unit
 * rows */
int zeroshot_judge(int64_t n_images, const float *image, const int32_t *label, int64_t n_prompts,
                   const float *prompt, const int32_t *prompt_class, int n_classes, int dim,
                   uint64_t seed, struct zeroshot *z, struct error *err) MUST_CHECK;

#endif
