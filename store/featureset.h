/* CACHE/features/<set>: the features of one teacher tower at one tap under one view plan, in one
 * LMDB environment.
 *
 *     struct featureset_spec spec = {.name = "image.final", .tower = TOWER_IMAGE, .dim = 768,
 *                                    .storage = STORAGE_Q, .epsilon = 1e-4f, ...};
 *     featureset_create(&fs, cache, &spec, &err);   // or featureset_open(.., FEATURESET_WRITE, ..)
 *     featureset_check(fs, fingerprint, &err);      // never mix features of different origin
 *     featureset_has(fs, view, n, numbers, keys, has, &err);
 *     featureset_put(fs, view, n, numbers, keys, vectors, &err);   // one durable transaction
 *     cur = featureset_cursor_new(fs, &err);        // one a reading thread
 *     featureset_get(cur, view, number, key, out, &norm, &err);
 *     featureset_close(fs);
 *
 * A vector is kept as an f32 norm and its direction in the set's storage (store/codec.h): f32, f16, bf16,
 * or q, which is error-bounded: 1 - cos <= epsilon for every vector. Codes are a pure function of
 * the vector. Vectors lie in blocks (store/block.h): the largest power of two <= 256 slots that
 * keeps a block <= 1 MiB of f32; slots are dense numbers of the corpus; every slot holds the first
 * 8 bytes of its record's key, so that a vector can never slide onto another image. Every record
 * carries a checksum.
 *
 * Fingerprint: a JSON object of components (weights, config, preprocessing or tokenizer, tap,
 * view_plan, numerics, storage, ...). Opening compares nothing by itself; featureset_check does and
 * names the component that differs. `replay` is a JSON object + tokenizer bytes that training needs
 * once the teacher's folder is gone: preprocessing, logit_scale, max_tokens.
 *
 * The bytes are drawn in store/format.h and store/block.h. A set's name is its folder's.
 *
 * Invariants: a put is visible whole or not at all, also after kill -9. What is stored depends on
 * the vectors alone: not on the order or grouping of puts, nor on the number of threads. Every call
 * sees the newest commit.
 * Threading: one writer handle (flock), one thread at a time. On any handle featureset_get may be
 * called from several threads at once, each with its own cursor, while nobody writes through that
 * handle.
 * Errors: ERR_CORRUPT, ERR_INCOMPATIBLE (another format version), ERR_LOCKED, ERR_NOSPACE, ERR_IO,
 * ERR_NOMEM.
 */
#ifndef STORE_FEATURESET_H
#define STORE_FEATURESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/codec.h"
#include "store/digest.h"
#include "store/error.h"
#include "store/generation.h"
#include "store/json.h"
#include "store/part.h"
#include "store/report.h"

enum featureset_tower { TOWER_IMAGE, TOWER_TEXT };
enum featureset_mode { FEATURESET_READ, FEATURESET_WRITE };

#define FEATURESET_FORMAT 1
#define FEATURESET_MAX_VIEWS 4096

#define FEATURESET_NAME_MAX 100 /* [A-Za-z0-9._@-]+, not starting with a dot */

struct featureset_spec {
    /* folder name: "image.final", "image.block2@4x4", "teacher2:image.final" is spelled
     * "teacher2.image.final" */
    char name[FEATURESET_NAME_MAX + 1];
    char tap[FEATURESET_NAME_MAX + 1];
    enum featureset_tower tower;
    uint32_t dim;                       /* values a vector; 1..2^20 */
    uint32_t grid;                      /* G of @GxG: the vector is (G*G, dim/(G*G)) row-major; 0 otherwise */
    enum codec_storage storage;
    float epsilon;                      /* STORAGE_Q: bound on 1 - cos; 0 otherwise */
    const struct json *fingerprint;     /* borrowed from caller on create; from the handle after open */
    const struct json *replay;          /* likewise */
    /* bytes of the SentencePiece model, or NULL (create); see featureset_tokenizer */
    const void *tokenizer;
    size_t n_tokenizer;
};

struct featureset;
struct featureset_cursor;

/* ERR_EXISTS when the folder is there. Built aside and renamed, so that a killed creation leaves
 * nothing half. */
int featureset_create(struct featureset **fs, const char *cache, const struct featureset_spec *spec,
                      struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND names the sets that do exist. */
int featureset_open(struct featureset **fs, const char *cache, const char *name,
                    enum featureset_mode mode, struct error *err) MUST_CHECK;
void featureset_close(struct featureset *fs);
const struct featureset_spec *featureset_spec(const struct featureset *fs);
/* Bytes kept beside the set (the teacher's tokenizer); *bytes owned: memory_free; n = 0 when none. */
int featureset_tokenizer(struct featureset *fs, char **bytes, size_t *n, struct error *err) MUST_CHECK;
/* ERR_INCOMPATIBLE naming every component that differs (expected = the set's, found = the given one). */
int featureset_check(const struct featureset *fs, const struct json *fingerprint,
                     struct error *err) MUST_CHECK;

/* Largest view with any vector + 1; vectors of a view. 0 also when meta cannot be read: opening
 * checked it. */
uint32_t featureset_n_views(struct featureset *fs);
uint64_t featureset_n_vectors(struct featureset *fs, uint32_t view);
/* has[i] = 1 where numbers[i] is present under its key (8-byte check). A present slot whose key
 * check differs: ERR_CORRUPT. */
int featureset_has(struct featureset *fs, uint32_t view, size_t n, const uint32_t *numbers,
                   const uint8_t (*keys)[DIGEST_BYTES], uint8_t *has, struct error *err) MUST_CHECK;
/* Stores n vectors in one transaction, any order of numbers. // vectors: (n, dim) f32, finite, not
 * normalised: the norm is kept apart. A NaN or infinity: ERR_DATA naming the row, nothing stored. A
 * slot that is present with equal codes is left (when all are, nothing is written); with other
 * codes: ERR_EXISTS; under another key: ERR_CORRUPT. */
int featureset_put(struct featureset *fs, uint32_t view, size_t n, const uint32_t *numbers,
                   const uint8_t (*keys)[DIGEST_BYTES], const float *vectors, struct error *err) MUST_CHECK;

/* Takes n records, by ascending number, out of all views; neighbours stay as they are, bit for bit.
 * What is not there is fine. *n_gone: vectors taken out, also after an error. In transactions of about
 * 64 MB, so that a killed one may have done a part: doing it again goes on. dry_run counts, on any
 * handle. Their bytes stay in free pages until featureset_replace_generation. */
int featureset_forget(struct featureset *fs, size_t n, const uint32_t *numbers, bool dry_run,
                      uint64_t *n_gone, struct error *err) MUST_CHECK;
/* A writer's set made anew (generation_replace); the handle only reads afterwards, the old generation. */
int featureset_replace_generation(struct featureset *fs, const struct report *report,
                                  struct generation_bytes *bytes, struct error *err) MUST_CHECK;
/* A moment of the set, held until kv_abort, and its copy into a folder that must be absent or empty. */
int featureset_pin(struct featureset *fs, struct kv_txn **moment, struct error *err) MUST_CHECK;
int featureset_copy(struct featureset *fs, struct kv_txn *moment, const char *folder,
                    const struct report *report, struct error *err) MUST_CHECK;

/* One cursor a reading thread: keeps up to 64 MiB of unpacked blocks, so that a set of 20,000 vectors is
 * unpacked once. Owned: featureset_cursor_free, before the set is closed. */
struct featureset_cursor *featureset_cursor_new(struct featureset *fs, struct error *err) MUST_CHECK;
void featureset_cursor_free(struct featureset_cursor *cur);
/* Unit vector (or the zero vector) and its norm. // out: (dim) ; norm may be NULL. ERR_NOT_FOUND
 * when absent, ERR_CORRUPT when checksum or key check fail. */
int featureset_get(struct featureset_cursor *cur, uint32_t view, uint32_t number,
                   const uint8_t key[DIGEST_BYTES], float *out, float *norm, struct error *err) MUST_CHECK;

/* Vectors in other numerics than the fingerprint's, because the caller accepts that: from now on
 * `numerics` ("f32", "bf16.2"); with NULL, or the set's own, such a stretch ends. Recorded in the set,
 * one transaction, and none when nothing changes. */
int featureset_accept(struct featureset *fs, const char *numerics, struct error *err) MUST_CHECK;
/* What was accepted: [{"numerics", "from": vectors of view 0, 1, ... before it, "to": and when it
 * ended, absent while it lasts}, ...]. Owned: json_free. */
int featureset_accepted(struct featureset *fs, struct json **list, struct error *err) MUST_CHECK;

struct featureset_merge_counts {
    uint64_t n_new;      /* vectors moved; in a check: that would be */
    uint64_t n_equal;    /* that were there, with equal codes */
    uint64_t n_left_out; /* of records that the receiving corpus does not have */
};
/* Where a record of the giving set stands in the receiving one: 1 with *to and its key, 0 when it is
 * to be left out, or an error. */
typedef int featureset_place(void *context, uint32_t number, uint32_t *to, uint8_t key[DIGEST_BYTES],
                             struct error *err);
/* Moves what `from` has and `into` lacks, as codes: nothing is decoded, so that a vector comes through
 * bit for bit. The caller has compared fingerprints. check_only: nothing is written, `into` may be NULL
 * (a set that is not there yet). ERR_EXISTS names view and key of a vector that both have with other
 * codes; ERR_INCOMPATIBLE a slot that is another record's. Batches of about 64 MB, each one
 * transaction; ERR_STOPPED between two; a second merge of the same is a no-op. */
int featureset_merge(struct featureset *into, struct featureset *from, bool check_only,
                     featureset_place *place, void *context, const struct report *report,
                     struct featureset_merge_counts *counts, struct error *err) MUST_CHECK;

/* Stored bytes of the environment's file, and what the same vectors take as f32. */
void featureset_bytes(struct featureset *fs, uint64_t *stored, uint64_t *as_f32);

/* Names of the sets of a cache, sorted; one owned block (memory_free), as file_list. */
/* Bytes of the set's name before its tap, with the dot: what sets of one further teacher have in common;
 * 0 for those of the first. */
size_t featureset_prefix(const struct featureset_spec *spec);
int featureset_list(const char *cache, char ***names, size_t *n, struct error *err) MUST_CHECK;

/* The key of a record's number, false when there is none: what a set asks of its corpus. */
typedef bool featureset_key_of(void *context, uint32_t number, uint8_t key[DIGEST_BYTES]);

/* Every block's checksum, bitmap, codes, and meta's counts, read in a child process, so that a
 * SIGBUS of a damaged file is a finding. Then, when nothing was found and key_of != NULL, the keys
 * against the corpus. Findings go to finding(), one sentence each, in this process. Returns their
 * number. */
int featureset_verify(struct featureset *fs, featureset_key_of *key_of,
                      void (*finding)(void *context, const char *text), void *context,
                      const struct report *report, struct error *err) MUST_CHECK;
/* The same, with a part of the blocks alone; the file's pages are always walked. */
int featureset_verify_part(struct featureset *fs, struct part part, featureset_key_of *key_of,
                           void (*finding)(void *context, const char *text), void *context,
                           const struct report *report, struct error *err) MUST_CHECK;
/* The pages alone, of a set that cannot be opened. */
int featureset_verify_file(const char *cache, const char *name,
                           void (*finding)(void *context, const char *text), void *context,
                           const struct report *report, struct error *err) MUST_CHECK;
/* Canonical text: "set NAME spec|fingerprint|replay JSON", "set NAME tokenizer SHA-256", then one
 * line a vector, "vector NAME view key norm-bits kind sha256-of-codes", sorted by (view, key).
 * Stops at a negative return of emit. */
int featureset_dump(struct featureset *fs, featureset_key_of *key_of,
                    int (*emit)(void *context, const char *line), void *context,
                    struct error *err) MUST_CHECK;

#endif
