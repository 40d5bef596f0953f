/* The pinned record lists of a training run: which images, captions and pairs, in which order.
 *
 *     roster_pin(&r, corpus, &options, &err);                 // a new run looks at the corpus
 *     roster_read(&r, corpus, bytes, n, &err); // a resumed one at its own list: later records wait
 *     roster_release(&r);
 *
 * Images and captions stand once in a table each, ordered by number; a split lists positions in the
 * tables. An image or a caption of a train pair is train's, so that val never shows what was
 * trained on; only when no val caption is left (class prompts as captions) val keeps them all.
 * Every listed record has the features of at least one teacher (all its sets asked for): captions may have been
 * routed to teachers by language. Links are all image-caption pairs of the
 * corpus between table records, of whatever split, language and source: what must not be a
 * negative.
 */
#ifndef TRAIN_ROSTER_H
#define TRAIN_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/corpus.h"
#include "store/featureset.h"

#define ROSTER_SPLITS 2 /* SPLIT_TRAIN, SPLIT_VAL */

struct roster_image {
    uint8_t key[DIGEST_BYTES];
    uint32_t number, width_px, height_px;
    int32_t label; /* of its first labelled pair; -1 */
};

struct roster_caption {
    uint8_t key[DIGEST_BYTES];
    uint32_t number;
};

struct roster_pair {
    uint32_t image, caption; /* positions in the tables */
    uint16_t language, source;
    float weight; /* pair weight * source factor */
};

struct roster_list {
    uint32_t *images, *captions; /* positions in the tables */
    struct roster_pair *pairs;
    uint32_t n_images, n_captions, n_pairs;
};

struct roster {
    struct roster_image *images;
    struct roster_caption *captions;
    uint64_t *links; /* image position << 32 | caption position; sorted */
    uint32_t n_images, n_captions, n_links;
    uint32_t n_views, n_labels;
    struct roster_list list[ROSTER_SPLITS];
};

struct roster_options {
    bool want_pixels;
    uint32_t n_views; /* at most; 0: all */
    struct featureset *const *image_sets, *const *text_sets;
    int n_image_sets, n_text_sets;
    bool need_primary; /* the teacher of the first set of a tower must have the record */
    const char *const *languages;
    size_t n_languages;
    const char *const *source_names;
    const double *source_weights;
    size_t n_source_weights;
};

int roster_pin(struct roster *r, struct corpus *c, const struct roster_options *o,
               struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND when a listed record is no longer in the corpus under its number. */
int roster_read(struct roster *r, struct corpus *c, const char *bytes, size_t n,
                struct error *err) MUST_CHECK;
/* Owned: memory_free. */
int roster_write(const struct roster *r, char **bytes, size_t *n, struct error *err) MUST_CHECK;
void roster_release(struct roster *r);
bool roster_linked(const struct roster *r, uint32_t image, uint32_t caption); /* positions */

#endif
