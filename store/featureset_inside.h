/* What the files of a feature set share: featureset.c (opening, check), featureset_meta.c (meta,
 * keys), featureset_put.c, featureset_get.c, featureset_verify.c, featureset_dump.c and
 * featureset_salvage.c. Nobody else includes this. */
#ifndef STORE_FEATURESET_INSIDE_H
#define STORE_FEATURESET_INSIDE_H

#include "store/block.h"
#include "store/featureset.h"
#include "store/kv.h"

enum { FEATURESET_BLOCKS, FEATURESET_META, FEATURESET_TABLES };
extern const char *const featureset_tables[FEATURESET_TABLES];

struct featureset_writer;

struct featureset {
    struct kv *kv;
    char *folder; /* CACHE/features/NAME */
    enum featureset_mode mode;
    struct featureset_spec spec;        /* its JSON points at the two below; tokenizer is NULL */
    struct json *fingerprint, *replay;  /* owned */
    struct block_shape shape;
    struct featureset_writer *writer;   /* scratch of puts, made by the first */
};

struct featureset_counts {
    uint64_t n_blocks, digest; /* digest: wrapping sum of the blocks' checksums */
    uint32_t n_views;
    uint64_t n_vectors[FEATURESET_MAX_VIEWS];
};

/* featureset_meta.c. Values are borrowed from the transaction; ERR_CORRUPT when absent or its
 * checksum fails. */
int featureset_meta_get(struct kv_txn *txn, const char *name, struct kv_bytes *value,
                        struct error *err) MUST_CHECK;
int featureset_meta_put(struct kv_txn *txn, const char *name, const void *bytes, size_t n,
                        struct error *err) MUST_CHECK;
int featureset_counts_get(struct kv_txn *txn, struct featureset_counts *counts, struct error *err) MUST_CHECK;
int featureset_counts_put(struct kv_txn *txn, const struct featureset_counts *counts,
                          struct error *err) MUST_CHECK;
/* Everything of a spec, into an empty set; and back into fs->spec, shape, fingerprint and replay. */
int featureset_spec_put(struct kv_txn *txn, const struct featureset_spec *spec, struct error *err) MUST_CHECK;
int featureset_spec_get(struct kv_txn *txn, struct featureset *fs, struct error *err) MUST_CHECK;
/* The set's shape as its spec demands: ERR_USAGE for what a spec cannot be. */
int featureset_shape_of(const struct featureset_spec *spec, struct block_shape *shape,
                        struct error *err) MUST_CHECK;

#define FEATURESET_KEY_BYTES 8
void featureset_block_key(uint32_t view, uint32_t number, uint8_t key[FEATURESET_KEY_BYTES]);
/* false for a key that featureset_block_key cannot give. */
bool featureset_read_block_key(const struct kv_bytes *key, uint32_t *view, uint32_t *number);
/* The checksum at the end of a block's record. */
uint64_t featureset_block_checksum(const uint8_t *record, size_t n);
/* Names the set before an error's text; returns rc. */
int featureset_name_error(const struct featureset *fs, int rc, struct error *err);

/* What unpacking a set's blocks one after the other takes. */
struct featureset_walk {
    struct featureset *fs;
    struct compress *z;
    uint8_t *plain, *code;
    float *vector;
};
int featureset_walk_init(struct featureset_walk *w, struct featureset *fs, struct error *err) MUST_CHECK;
void featureset_walk_release(struct featureset_walk *w);

/* featureset_put.c */
void featureset_writer_free(struct featureset_writer *w);

/* Vectors as they are stored, one a row. */
struct featureset_codes {
    uint32_t *numbers;
    uint8_t (*keys)[DIGEST_BYTES];
    int *kinds; /* enum codec_kind */
    float *norms;
    uint8_t *codes; // (n, codec_capacity)
};
/* As featureset_put, of codes that another set of equal shape holds. */
int featureset_put_codes(struct featureset *fs, uint32_t view, size_t n,
                         const struct featureset_codes *in, struct error *err) MUST_CHECK;

#endif
