/* CACHE/features/<set>: the features of one teacher tower at one tap under one view plan, in one LMDB environment.
 *
 *     struct featureset_spec spec = {.name = "image.final", .tower = TOWER_IMAGE, .dim = 768, .storage = STORAGE_Q, .epsilon = 1e-4, ...};
 *     featureset_create(&fs, cache, &spec, &err);   // or featureset_open(&fs, cache, name, FEATURESET_WRITE, &err)
 *     featureset_missing(fs, view, numbers, n, missing, &n_missing, &err);
 *     featureset_put(fs, view, n, numbers, keys, vectors, &err);   // one durable transaction
 *     featureset_get(fs, view, number, key, out, &norm, &err);
 *
 * A vector is kept as an f32 norm and the unit vector in the set's storage: f32, f16, or q (error-bounded: codes round(x / step),
 * step = sqrt(24 * epsilon / dim), so that 1 - cos <= epsilon for every vector; a vector that misses it is escaped as f32).
 * Codes are a pure function of the vector. A block is the largest power of two <= 256 slots that keeps it <= 1 MiB of f32; slots
 * are dense numbers of the corpus; every slot holds the first 8 bytes of its record's key, so that a vector can never slide onto another
 * image. Blocks carry a checksum. See store/format.h for the bytes.
 *
 * Fingerprint: a JSON object of components (weights, config, preprocessing or tokenizer, tap, view_plan, numerics, storage, ...). Opening
 * compares nothing by itself; featureset_check does and names the component that differs.
 * `replay` is a JSON object + tokenizer bytes that training needs once the teacher's folder is gone: preprocessing, logit_scale, max_tokens.
 *
 * Threading: one writer handle (flock); read handles: featureset_get from several threads at once is allowed
 * (each call decodes a block into the caller's cursor: make one `struct featureset_cursor` a thread).
 */
#ifndef STORE_FEATURESET_H
#define STORE_FEATURESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/codec.h"
#include "store/digest.h"
#include "store/error.h"
#include "store/json.h"
#include "store/report.h"

enum featureset_tower { TOWER_IMAGE, TOWER_TEXT };
enum featureset_mode { FEATURESET_READ, FEATURESET_WRITE };

#define FEATURESET_NAME_MAX 100 /* [A-Za-z0-9._@-]+, not starting with a dot */

struct featureset_spec {
    char name[FEATURESET_NAME_MAX + 1]; /* folder name: "image.final", "image.block2@4x4", "teacher2:image.final" is spelled "teacher2.image.final" */
    char tap[FEATURESET_NAME_MAX + 1];
    enum featureset_tower tower;
    uint32_t dim;                       /* values a vector; 1..2^20 */
    uint32_t grid;                      /* G of @GxG: the vector is (G*G, dim/(G*G)) row-major; 0 otherwise */
    enum codec_storage storage;
    float epsilon;                      /* STORAGE_Q: bound on 1 - cos; 0 otherwise */
    const struct json *fingerprint;     /* borrowed from caller on create; from the handle after open */
    const struct json *replay;          /* likewise */
    const void *tokenizer;              /* bytes of the SentencePiece model, or NULL (create); see featureset_tokenizer */
    size_t n_tokenizer;
};

struct featureset;
struct featureset_cursor;

/* ERR_EXISTS when the folder is there. Built aside and renamed, so that a killed creation leaves nothing half. */
int featureset_create(struct featureset **fs, const char *cache, const struct featureset_spec *spec, struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND names the sets that do exist. */
int featureset_open(struct featureset **fs, const char *cache, const char *name, enum featureset_mode mode, struct error *err) MUST_CHECK;
void featureset_close(struct featureset *fs);
const struct featureset_spec *featureset_spec(const struct featureset *fs);
/* Bytes kept beside the set (the teacher's tokenizer); *bytes owned: memory_free; n = 0 when none. */
int featureset_tokenizer(struct featureset *fs, char **bytes, size_t *n, struct error *err) MUST_CHECK;
/* ERR_INCOMPATIBLE naming every component that differs (expected = the set's, found = the given one). */
int featureset_check(const struct featureset *fs, const struct json *fingerprint, struct error *err) MUST_CHECK;

/* Largest view with any vector + 1. */
uint32_t featureset_n_views(struct featureset *fs);
uint64_t featureset_n_vectors(struct featureset *fs, uint32_t view);
/* has[i] = 1 where numbers[i] is present under its key (8-byte check). A present slot whose key check differs: ERR_CORRUPT. */
int featureset_has(struct featureset *fs, uint32_t view, size_t n, const uint32_t *numbers,
                   const uint8_t (*keys)[DIGEST_BYTES], uint8_t *has, struct error *err) MUST_CHECK;
/* Stores n vectors in one transaction, any order of numbers. // vectors: (n, dim) f32, finite, not normalised: the norm is kept apart.
 * A NaN or infinity: ERR_DATA naming the row, nothing stored. A slot that is present with equal codes is left; with other codes: ERR_EXISTS. */
int featureset_put(struct featureset *fs, uint32_t view, size_t n, const uint32_t *numbers,
                   const uint8_t (*keys)[DIGEST_BYTES], const float *vectors, struct error *err) MUST_CHECK;

/* One cursor a reading thread: keeps the decoded block last used. Owned: featureset_cursor_free. */
struct featureset_cursor *featureset_cursor_new(struct featureset *fs, struct error *err) MUST_CHECK;
void featureset_cursor_free(struct featureset_cursor *cur);
/* Unit vector (or the zero vector) and its norm. // out: (dim) ; norm may be NULL. ERR_NOT_FOUND when absent, ERR_CORRUPT when checksum or
 * key check fail. */
int featureset_get(struct featureset_cursor *cur, uint32_t view, uint32_t number,
                   const uint8_t key[DIGEST_BYTES], float *out, float *norm, struct error *err) MUST_CHECK;

/* Stored bytes of the environment's file, and what the same vectors take as f32. */
void featureset_bytes(struct featureset *fs, uint64_t *stored, uint64_t *as_f32);

/* Names of the sets of a cache, sorted; one owned block (memory_free), as file_list. */
int featureset_list(const char *cache, char ***names, size_t *n, struct error *err) MUST_CHECK;

/* Every block's checksum, bitmap, decode, key checks against the corpus when key_of != NULL (returns false for an unknown number). */
int featureset_verify(struct featureset *fs, bool (*key_of)(void *context, uint32_t number, uint8_t key[DIGEST_BYTES]),
                      void (*finding)(void *context, const char *text), void *context,
                      const struct report *report, struct error *err) MUST_CHECK;
/* Canonical text: one line a vector, "set view key norm-bits sha256-of-codes", sorted by (view, key), after a head with spec and fingerprint. */
int featureset_dump(struct featureset *fs, bool (*key_of)(void *context, uint32_t number, uint8_t key[DIGEST_BYTES]),
                    int (*emit)(void *context, const char *line), void *context, struct error *err) MUST_CHECK;

#endif
