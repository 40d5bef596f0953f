/* The records of one split that every system is judged on, and each system's embeddings of them.
 *
 *     evalset_open(&s, corpus, split, &sets, prompts, n_prompts, with_train, &err);
 *     evalset_teacher(s, images, texts, &e, &err);  evalset_student(s, model, numerics, &f, &err);
 *
 * Rows: pictures of the split first, then (with_train) labelled train pictures for k-NN; captions
 * of the split first, then the class prompts. Where the cache has teacher features, a record
 * without them is left out for all systems alike and counted, so that systems are compared on the
 * same records.
 */
#ifndef TRAIN_EVALSET_H
#define TRAIN_EVALSET_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/model.h"
#include "store/corpus.h"
#include "store/featureset.h"

/* Final sets. A record counts when any of a tower's sets has it: several where
 * captions were routed to several teachers. */
struct evalset_sets {
    struct featureset *const *images, *const *texts; /* borrowed */
    int n_images, n_texts;                           /* 0: the cache has none, and every record counts */
};

struct evalset {
    struct corpus *corpus;               /* borrowed */
    uint32_t *image, *caption;         /* corpus numbers of the rows */
    uint32_t n_images, n_all_images;   /* of the split; with train pictures */
    uint32_t n_captions, n_all_captions; /* of the split; with prompts */
    struct corpus_pair *pairs;         /* of the split; image and caption are row numbers here */
    size_t n_pairs;
    uint16_t *label;                   /* (n_all_images) CORPUS_NO_NAME when none */
    /* row of prompt i, as given to evalset_open; UINT32_MAX: no features */
    uint32_t *prompt_row;
    uint64_t n_left_out;               /* records of the split without features */
};

/* One system's unit embeddings of all rows. NULL where it has no such tower or set. */
struct evalset_embeddings {
    int dim;
    float *image; // (n_all_images, dim)
    float *text;  // (n_all_captions, dim)
};

/* prompts: corpus numbers of captions. */
int evalset_open(struct evalset **s, struct corpus *corpus, enum corpus_split split,
                 const struct evalset_sets *sets, const uint32_t *prompts, size_t n_prompts,
                 bool with_train, struct error *err) MUST_CHECK;
void evalset_free(struct evalset *s);
/* A teacher's cached features, which must be there for all rows; either set may be NULL. */
int evalset_teacher(const struct evalset *s, struct featureset *images, struct featureset *texts,
                    struct evalset_embeddings *e, struct error *err) MUST_CHECK;
int evalset_student(const struct evalset *s, struct model *m, enum numerics numerics,
                    struct evalset_embeddings *e, struct error *err) MUST_CHECK;
/* The rows of `to`, all of which are among those of `from`, out of embeddings of `from`. */
int evalset_take(const struct evalset *from, const struct evalset_embeddings *all,
                 const struct evalset *to, struct evalset_embeddings *e, struct error *err) MUST_CHECK;
void evalset_release(struct evalset_embeddings *e);

#endif
