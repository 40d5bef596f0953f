/* Features that come from elsewhere, and go elsewhere: `import` and `export`.
 *
 *     struct transfer_source from;
 *     transfer_source_defaults(&from);
 *     from.npy = "x.npy"; from.keys = "x.keys.txt"; from.identity = "x.identity.json";
 *     transfer_import(corpus, cache, &from, report, &counts, &err);
 *
 *     // out/x.npy, out/x.keys.txt, out/x.identity.json
 *     struct transfer_target to = {.npy = "out/x"};
 *     transfer_export(corpus, fs, &to, report, &counts, &err);
 *
 * Vectors also go to and come from one safetensors file (store/featurefile.h), and clip-retrieval's
 * folders (store/clipfolder.h). Else three files make a set:
 *   .npy            f16, f32 or f64, one row a record
 *   keys file       one key a line, in the order of rows: the record's SHA-256 in 64 hex digits, or
 *                   else for pictures an id that a source of the corpus gave them (their path in
 *                   its manifest), and for texts the normalised caption itself
 *   identity JSON   "model" (text), "tower" ("image" or "text"), "tap" (default TOWER.final),
 *                   "dimension", "normalized" (rows have unit length; default false),
 *                   "preprocessing" (object, demanded for images: training replays it),
 *                   "logit_scale" (optional), and what else the maker wants to say
 *
 * The set's fingerprint holds model, tower, tap, dimension, normalized, preprocessing, storage, and
 * the SHA-256 of the whole identity in canonical form; its replay holds the identity, and of it
 * preprocessing and logit_scale at top level.
 *
 * Invariants: import checks everything that the files can get wrong before it writes anything. The
 * set is filled in batches of about 64 MB, each one transaction; the same command goes on after a
 * crash, and a second import of the same is a no-op. Export writes files atomically, rows in order
 * of keys, and what it wrote can be imported. Threading: one thread.
 */
#ifndef STORE_TRANSFER_H
#define STORE_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "store/corpus.h"
#include "store/error.h"
#include "store/featureset.h"
#include "store/report.h"

struct transfer_source {
    const char *npy, *keys, *identity; /* paths */
    const char *safetensors;    /* instead of npy; keys and identity may then be NULL */
    const char *clip_retrieval; /* instead of npy and keys; identity may be NULL if tower is not */
    const char *tower;          /* of clip_retrieval: "image" or "text" */
    const char *name;                  /* of the set; NULL: the identity's tap */
    enum codec_storage storage;        /* default q, 1e-4 */
    float epsilon;
    /* rows of records that the corpus does not have are counted and left out, instead of refused */
    bool allow_missing;
};

struct transfer_counts {
    uint64_t n_rows;      /* in the .npy */
    uint64_t n_new;       /* vectors stored now */
    uint64_t n_hit;       /* vectors that were there, with equal codes */
    uint64_t n_duplicate; /* rows equal to an earlier one of the same record */
    uint64_t n_unknown;   /* rows whose record the corpus does not have */
    char set[FEATURESET_NAME_MAX + 1];
};

void transfer_source_defaults(struct transfer_source *from);

/* ERR_DATA names file and line or row: counts or dimensions that differ, a NaN, a record twice with
 * different rows, rows that are not of unit length although the identity says so, unknown records
 * (the first few are named). ERR_INCOMPATIBLE: the set exists with another fingerprint. ERR_EXISTS:
 * it holds another vector for a record. ERR_STOPPED between batches. */
int transfer_import(struct corpus *c, const char *cache, const struct transfer_source *from,
                    const struct report *report, struct transfer_counts *counts,
                    struct error *err) MUST_CHECK;

/* Where one view of a set goes: npy, a prefix, or safetensors, a file. */
struct transfer_target {
    const char *npy, *safetensors;
    uint32_t view;
    bool half; /* numbers as f16 */
};

/* A set that was imported as normalized leaves as unit vectors. Of any other, .npy has the vectors with
 * their norm; safetensors has unit vectors, and the norms beside them. ERR_NOT_FOUND: nothing in the
 * view. ERR_DATA: a number does not fit f16. */
int transfer_export(struct corpus *c, struct featureset *fs, const struct transfer_target *to,
                    const struct report *report, struct transfer_counts *counts,
                    struct error *err) MUST_CHECK;

/* A view of one or two sets (either may be NULL) as clip-retrieval's folder: unit vectors. With both a row
 * is an image-caption pair of which both have a vector, each once (to->view is the pictures'; texts have
 * view 0 alone); with one a record, in order of keys.
 * counts->n_rows: rows; n_unknown: pairs left out, as one of the two has no vector. */
int transfer_export_clip(struct corpus *c, struct featureset *image, struct featureset *text,
                         const char *folder, const struct transfer_target *to,
                         const struct report *report, struct transfer_counts *counts,
                         struct error *err) MUST_CHECK;

/* The key of a record of this tower. */
int transfer_key(struct corpus *c, enum featureset_tower tower, uint32_t number, uint8_t key[DIGEST_BYTES],
                 struct error *err) MUST_CHECK;

#endif
