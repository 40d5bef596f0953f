/* The records of a corpus: tables, checksums, counts and set digests. Private to store/corpus*.c;
 * the bytes are drawn in store/format.h, the handle's rules stand in store/corpus.h.
 *
 * `record_*` is the only way to a table: reading verifies the checksum, writing makes it and keeps
 * the table's sums. A body is a record's value without its checksum, borrowed from the map.
 */
#ifndef STORE_CORPUSRECORD_H
#define STORE_CORPUSRECORD_H

#include <pthread.h>

#include "store/corpus.h"
#include "store/kv.h"
#include "store/names.h"

/* The index is part of every checksum: never reorder. */
enum corpus_table {
    TABLE_META,
    TABLE_IMAGES,
    TABLE_IMAGE_BYTES,
    TABLE_IMAGE_KEYS,
    TABLE_CAPTIONS,
    TABLE_CAPTION_KEYS,
    TABLE_PAIRS,
    TABLE_NAMES,
    TABLE_IDS,
    TABLE_REJECTS,
    TABLE_REJECT_KEYS,
    TABLE_N
};
extern const char *const record_tables[TABLE_N];

#define RECORD_SUM_BYTES 8
#define RECORD_PAIR_KEY 12 /* bytes */

struct record_sums {
    uint64_t n, digest, n_bytes;
};

struct corpus {
    struct kv *kv;
    char *cache, *folder; /* as given; CACHE/corpus */
    enum corpus_mode mode;
    struct kv_txn *txn; /* the batch, or the snapshot that getters read */
    bool in_batch;
    bool is_stale; /* sums and names could not be read back after an abort */
    pthread_mutex_t lock; /* txn is used by one thread at a time */
    struct record_sums sums[TABLE_N];
    struct names names[NAME_KINDS];
    uint64_t batch_bytes;
    uint8_t *scratch;
    size_t scratch_capacity;
};

uint64_t record_sum(enum corpus_table table, struct kv_bytes key, const void *body, size_t n_body);
/* Checks the value's checksum and takes it off: 0, or ERR_CORRUPT naming the table. */
int record_check(const struct corpus *c, enum corpus_table table, struct kv_bytes key, struct kv_bytes value,
                 struct kv_bytes *body, struct error *err) MUST_CHECK;
/* 1 and *body, 0 when absent, or an error. */
int record_get(struct corpus *c, enum corpus_table table, const void *key, size_t n_key,
               struct kv_bytes *body, struct error *err) MUST_CHECK;
/* The key must be new (record_append: and behind the last); record_replace: must be there, or is
 * made in TABLE_META. */
int record_put(struct corpus *c, enum corpus_table table, const void *key, size_t n_key, const void *body,
               size_t n_body, struct error *err) MUST_CHECK;
int record_append(struct corpus *c, enum corpus_table table, const void *key, size_t n_key, const void *body,
                  size_t n_body, struct error *err) MUST_CHECK;
int record_replace(struct corpus *c, enum corpus_table table, const void *key, size_t n_key, const void *body,
                   size_t n_body, struct error *err) MUST_CHECK;
/* The record must be there. */
int record_delete(struct corpus *c, enum corpus_table table, const void *key, size_t n_key,
                  struct error *err) MUST_CHECK;
/* TABLE_IMAGE_BYTES has no checksum of its own: key is the digest of the bytes. */
int record_append_bytes(struct corpus *c, uint32_t number, const uint8_t key[DIGEST_BYTES], const void *bytes,
                        size_t n, struct error *err) MUST_CHECK;
int record_delete_bytes(struct corpus *c, uint32_t number, const uint8_t key[DIGEST_BYTES], size_t n,
                        struct error *err) MUST_CHECK;
/* The digest that the bytes of an image must have. */
const uint8_t *record_bytes_key(const struct corpus_image *image);

/* Key -> number in TABLE_IMAGE_KEYS or TABLE_CAPTION_KEYS: 1, 0 when absent, or an error. */
int record_number(struct corpus *c, enum corpus_table table, const uint8_t key[DIGEST_BYTES],
                  uint32_t *number, struct error *err) MUST_CHECK;

/* Bodies. Encoders return the length written; decoders ERR_CORRUPT when the length or a field is
 * impossible. */
#define RECORD_IMAGE_BYTES 105 /* at most */
size_t record_encode_image(const struct corpus_image *image, uint8_t body[RECORD_IMAGE_BYTES]);
int record_decode_image(const struct corpus *c, struct kv_bytes body, struct corpus_image *image,
                        struct error *err) MUST_CHECK;
#define RECORD_PAIR_BYTES 8 /* before the original text */
void record_encode_pair(const struct corpus_pair *pair, bool has_original, uint8_t key[RECORD_PAIR_KEY],
                        uint8_t body[RECORD_PAIR_BYTES]);
/* *original.bytes is NULL when it is the normalised text. */
int record_decode_pair(const struct corpus *c, struct kv_bytes key, struct kv_bytes body,
                       struct corpus_pair *pair, struct kv_bytes *original,
                       struct error *err) MUST_CHECK;

/* What makes two rejects the same: source, line, reason and record. */
void record_reject_key(const struct corpus_reject *reject, uint8_t key[DIGEST_BYTES]);

/* Counts and set digests from and to TABLE_META; the format's version is checked before. */
int record_load_sums(struct corpus *c, struct error *err) MUST_CHECK;
int record_store_sums(struct corpus *c, struct error *err) MUST_CHECK;
int record_load_names(struct corpus *c, struct error *err) MUST_CHECK;
/* The version when the format record is there and can be read, 0 when absent, or ERR_INCOMPATIBLE. */
int record_check_format(struct corpus *c, struct error *err) MUST_CHECK;
int record_write_format(struct corpus *c, struct error *err) MUST_CHECK;

/* ERR_USAGE outside a batch. */
int record_need_batch(const struct corpus *c, struct error *err) MUST_CHECK;
/* A getter of a CORPUS_WRITE handle outside a batch needs a snapshot: opens it when there is none. */
int record_snapshot(struct corpus *c, struct error *err) MUST_CHECK;

#endif
