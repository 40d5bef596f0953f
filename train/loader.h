/* What a training run reads: a pinned list of records, their pixels, tokens and cached teacher
 * features.
 *
 *     loader_open(&l, &options, &err); // pins the lists; options.pinned: from a checkpoint instead
 *     loader_order(l, LOADER_IMAGES, epoch, order);          // a permutation, by (seed, epoch)
 *     loader_fill(l, SPLIT_TRAIN, LOADER_IMAGES, epoch, order + begin, n, &batch, &err);
 *     loader_close(l);
 *
 * Lists, one a split: images (with bytes, and with features in every image set), captions (likewise
 * for text sets), pairs (of listed images and captions). A run pins them at its start: records that
 * arrive later wait for the next run. loader_digest covers the keys in order and the sets'
 * fingerprints. Train and val captions do not overlap: a text of both is train's, unless val would
 * be empty.
 *
 * Pictures are decoded and preprocessed at the student's side, with the view boxes replayed by the
 * plan kept in the set (crop, flip, jitter: beyond view 0 all image sets must have the same plan, else
 * ERR_INCOMPATIBLE), in parallel over records; pixels are kept in a bounded cache, so that
 * epochs after the first decode nothing. Captions are tokenised once. The teacher's folder is never
 * needed. Features are read once into memory when they fit feature_bytes, else one by one, 0.2 ms each
 * beside the 2 to 10 ms that a student's step takes a record: not by store/featureset_epoch.h, because a
 * batch wants several sets and views in one order drawn over records, and that order is checkpointed.
 * Threading: one caller; parallel inside. Batches do not depend on the number of threads nor on
 * what is cached.
 */
#ifndef TRAIN_LOADER_H
#define TRAIN_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "featurize/preprocess.h"
#include "featurize/tokenizer.h"
#include "store/corpus.h"
#include "store/featureset.h"

#define LOADER_MAX_SETS 16

enum loader_kind { LOADER_IMAGES, LOADER_CAPTIONS, LOADER_PAIRS };

struct loader_options {
    const char *cache;
    uint64_t seed;
    const char *image_sets[LOADER_MAX_SETS], *text_sets[LOADER_MAX_SETS]; /* first: the primary final set */
    int n_image_sets, n_text_sets;
    bool need_primary;     /* every record has the primary teacher's features, not only some teacher's */
    bool want_pixels;      /* false: cached features stand for the pictures (freeze-image SET) */
    int side;              /* the student's */
    const struct preprocess *preprocess; /* without an image set to replay: the student's own; NULL */
    int n_views;           /* at most; 0: all that every image set has */
    bool augment;          /* flip and mild random crop of the student's pixels; the target stays view 0 */
    /* chance that a token of a train caption is left out, drawn anew every epoch; bos and eos stay */
    double token_drop;
    /* chance that a token of a train caption is spelled with two others (train/subword.h), drawn anew every epoch */
    double token_split;
    const struct tokenizer *tokenizer; /* borrowed; NULL without captions */
    int max_tokens;
    const char *const *languages; /* NULL: all */
    size_t n_languages;
    const char *const *source_names; /* per-source factors on pair weights; NULL: 1 */
    const double *source_weights;
    size_t n_source_weights;
    uint64_t pixel_bytes, feature_bytes; /* limits; 0: 2 GiB each */
    const void *pinned;    /* lists from loader_pinned, or NULL: pin now */
    size_t n_pinned;
};

struct loader;

/* A batch of one kind; arrays owned by it, reused. Pairs fill both halves and the links. */
struct loader_batch {
    int n;
    uint8_t *pixels;               // (n, side, side, 3); NULL without pictures
    int32_t *ids, *offsets;        // tokens; (n + 1)
    float *image_target[LOADER_MAX_SETS], *text_target[LOADER_MAX_SETS]; // (n, dim) unit vectors; zeros: none
    int32_t *label;                // (n) 0..n_labels - 1 or -1
    float *weight;                 // (n) of pairs; 1 otherwise
    uint32_t *image, *caption;     // (n) numbers
    uint8_t *cells;                // (n, n) enum contrast_cell; pairs only
    int max_n;                     /* private */
};

int loader_open(struct loader **l, const struct loader_options *options, struct error *err) MUST_CHECK;
void loader_close(struct loader *l);
uint32_t loader_n(const struct loader *l, enum corpus_split split, enum loader_kind kind);
int loader_n_labels(const struct loader *l);
int loader_n_views(const struct loader *l);
const struct preprocess *loader_preprocess(const struct loader *l); /* at the student's side */
/* Digest of the ordered keys and fingerprints, as hex. */
const char *loader_digest(const struct loader *l);
/* The pinned lists as bytes, for loader_options.pinned; owned: memory_free. */
int loader_pinned(const struct loader *l, char **bytes, size_t *n, struct error *err) MUST_CHECK;
/* Unknown tokens by language: {"en": {"train": 0.0, "val": 0.001}, ...}. Owned. */
struct json *loader_unknown(const struct loader *l);

/* Order of an epoch of SPLIT_TRAIN. Pairs are drawn in proportion to their weights (systematic
 * sampling: with equal weights each once). // order: (loader_n) */
void loader_order(const struct loader *l, enum loader_kind kind, uint32_t epoch, uint32_t *order);
/* Records `index` (positions in the list). Split train takes views and augmentation by epoch; val
 * is view 0. // index: (n) */
int loader_fill(struct loader *l, enum corpus_split split, enum loader_kind kind, uint32_t epoch,
                const uint32_t *index, int n, struct loader_batch *batch,
                struct error *err) MUST_CHECK;
void loader_batch_release(struct loader_batch *b);
/* Multi-positive: linked cells are positives instead of masked. Default false. */
void loader_multi_positive(struct loader *l, bool yes);

#endif
