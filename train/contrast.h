/* Losses over a whole batch of pairs: symmetric InfoNCE with masked negatives, and similarity
 * distillation.
 *
 *     uint8_t *cells; // (n, n) enum contrast_cell, image row, caption column
 *     contrast_infonce(n, dim, image, text, cells, weight, log_scale, 1.0, &r, d_image, d_text);
 *
 * InfoNCE (van den Oord et al. 2018; CLIP): z_ij = exp(log_scale) * u_i . t_j; loss = 1/2 (mean
 * over rows + mean over columns) of the cross-entropy of the diagonal. A masked cell is left out of
 * the denominators: an image and a caption that are linked in the corpus, or share picture or text
 * inside the batch, are no negatives of each other. A POSITIVE cell shares the target mass evenly
 * with the other positives of its row (column). All inputs are unit vectors; gradients are with
 * regard to the unit vectors and ADDED. Parallel over rows and columns, never over a sum: the same
 * bits for any number of threads.
 */
#ifndef TRAIN_CONTRAST_H
#define TRAIN_CONTRAST_H

#include <stdint.h>

#include "store/error.h"

enum contrast_cell { CELL_NEGATIVE, CELL_MASKED, CELL_POSITIVE };

#define CONTRAST_MAX_LOG_SCALE 4.605170185988092 /* ln 100 */

struct contrast_result {
    double loss;
    double d_log_scale; /* gradient; 0 where log_scale is clamped from above and would rise */
    int64_t n_right;    /* rows whose best unmasked or positive cell is a positive: image -> text */
};

/* pair_weight: (n) relative weights of the pairs, or NULL for equal ones. // image, text, d_image,
 * d_text: (n, dim); d_* may be NULL */
int contrast_infonce(int64_t n, int64_t dim, const float *image, const float *text,
                     const uint8_t *cells, const float *pair_weight, double log_scale,
                     double weight, struct contrast_result *result, float *d_image, float *d_text,
                     struct error *err) MUST_CHECK;
/* Similarity distillation (TinyCLIP, MobileCLIP): 1/2 (rows + columns) of CE(softmax(scale *
 * teacher sims), softmax(scale * student sims)), mean over the batch, less the teacher's entropy
 * (so that 0 is perfect). // teacher_*: (n, teacher_dim) unit */
int contrast_similarity(int64_t n, int64_t dim, const float *image, const float *text,
                        int64_t teacher_dim, const float *teacher_image, const float *teacher_text,
                        double scale, double weight, double *loss, float *d_image, float *d_text,
                        struct error *err) MUST_CHECK;

#endif
