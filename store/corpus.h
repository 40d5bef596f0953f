/* CACHE/corpus: images, captions, pairs, sources and quarantine in one LMDB environment.
 *
 *     corpus_open(&c, cache, CORPUS_WRITE, &err);          // creates it, takes the writer's lock
 *     corpus_begin(c, &err);
 *     corpus_add_image(c, &image, bytes, n, &number, &is_new, &err);
 *     corpus_add_caption(c, text, n_text, &caption, &is_new, &err);
 *     corpus_add_pair(c, &pair, original, n_original, &is_new, &err);
 *     corpus_commit(c, &err);                              // one durable transaction a batch
 *     corpus_close(c);
 *
 * Keys: an image is the SHA-256 of its file's bytes (of "clipstill:image-id\0" + id for images
 * registered without bytes); a caption is the SHA-256 of its normalised text. Numbers: dense u32 in
 * order of arrival, never reused, private to this corpus. Language, source, split, original text,
 * weight and label belong to the pair. The bytes on disk are drawn in store/format.h.
 *
 * Invariants: what a begin..commit added is visible whole or not at all, also after kill -9. Adding
 * what is there already changes nothing and says is_new = false. A handle opened CORPUS_READ sees
 * the snapshot of its opening until corpus_refresh; pointers it returns are borrowed until the next
 * corpus_refresh/corpus_close (in CORPUS_WRITE: until the next call that writes or commits). The
 * map grows by itself, while readers are open.
 * Threading: one thread a handle for writes; corpus_image_bytes, corpus_caption_text and other
 * getters on a CORPUS_READ handle may be called from several threads at once.
 * Errors: ERR_LOCKED (another writer), ERR_INCOMPATIBLE (other version), ERR_CORRUPT (a record
 * fails its checksum), ERR_NOSPACE, ERR_NOT_FOUND.
 */
#ifndef STORE_CORPUS_H
#define STORE_CORPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/digest.h"
#include "store/error.h"
#include "store/generation.h"
#include "store/part.h"
#include "store/report.h"

enum corpus_mode { CORPUS_READ, CORPUS_WRITE };

enum corpus_split { SPLIT_TRAIN, SPLIT_VAL, SPLIT_TEST, SPLIT_N };

enum corpus_image_format { IMAGE_NONE, IMAGE_JPEG, IMAGE_PNG, IMAGE_WEBP };

enum corpus_name_kind { NAME_LANGUAGE, NAME_SOURCE, NAME_LABEL, NAME_KINDS };
#define CORPUS_NO_NAME 0xffff /* e.g. a pair without a label */
#define CORPUS_ABSENT UINT32_MAX

/* What a picture looks like, to find its twins; ingest/likeness.h makes it. */
struct likeness {
    uint64_t hash;
    uint8_t colour[8];
};

struct corpus_image {
    uint8_t key[DIGEST_BYTES];    /* of the file as it came */
    uint32_t width_px, height_px; /* upright, after EXIF orientation; 0 without bytes */
    uint8_t format;               /* enum corpus_image_format */
    uint8_t orientation;          /* EXIF 1..8 as found in the file; 1 when absent */
    uint32_t n_bytes;             /* stored bytes */
    bool has_icc;                 /* the file has a colour profile; pixels are never converted */
    uint8_t n_warnings;           /* of the decoder; 255: or more */
    bool has_likeness;
    struct likeness likeness;
    /* The stored bytes are a smaller JPEG made of the file, and size, format and n_bytes are theirs: */
    bool is_reduced;
    uint8_t stored_key[DIGEST_BYTES]; /* digest of the stored bytes */
    uint32_t came_width_px, came_height_px; /* of the file as it came, upright */
    uint8_t came_format;
};

struct corpus_pair {
    uint32_t image, caption;         /* numbers */
    uint16_t language, source, label; /* ids of corpus_name; label may be CORPUS_NO_NAME */
    uint8_t split;                   /* enum corpus_split */
    float weight;                    /* sampling weight, 1 by default, > 0 */
};

struct corpus_reject {
    const char *source;   /* manifest or folder, as given */
    uint64_t line;        /* 1-based; 0 when there is none */
    uint64_t byte_offset; /* of the line in the manifest, or of the member in the tar */
    const char *member;   /* of a tar; NULL when there is none */
    const char *reason;   /* stable word: "missing-file", "truncated-jpeg", "bad-utf8", ... */
    const char *message;  /* the sentence */
    const char *record;   /* what was tried: image path or the line, may be cut */
};

struct corpus_counts {
    uint64_t n_images, n_image_bytes, n_captions, n_pairs, n_sources, n_rejects, n_prompts;
    uint64_t n_forgotten; /* numbers of images and captions that are not there any more */
};

struct corpus;

/* CORPUS_WRITE creates CACHE and CACHE/corpus when absent. CORPUS_READ of an absent corpus: ERR_NOT_FOUND. */
int corpus_open(struct corpus **c, const char *cache, enum corpus_mode mode, struct error *err) MUST_CHECK;
void corpus_close(struct corpus *c); /* aborts an open batch */
int corpus_refresh(struct corpus *c, struct error *err) MUST_CHECK; /* CORPUS_READ: the newest snapshot */

int corpus_begin(struct corpus *c, struct error *err) MUST_CHECK;
int corpus_commit(struct corpus *c, struct error *err) MUST_CHECK;
void corpus_abort(struct corpus *c);
/* Bytes added since corpus_begin: commit at about 64 MB. */
uint64_t corpus_batch_bytes(const struct corpus *c);

/* image->key (of a reduced image: stored_key, and its key is the caller's) and n_bytes are filled in
 * from bytes when bytes != NULL; with bytes == NULL the caller gives the key (corpus_key_of_id).
 * *number is the image's number, new or old. The _keyed one trusts the caller, who has computed that
 * digest from these same bytes already (digest_of); corpus_verify and corpus_image_bytes find a key
 * that is another's. */
int corpus_add_image(struct corpus *c, struct corpus_image *image, const void *bytes, size_t n,
                     uint32_t *number, bool *is_new, struct error *err) MUST_CHECK;
int corpus_add_image_keyed(struct corpus *c, struct corpus_image *image, const void *bytes, size_t n,
                           uint32_t *number, bool *is_new, struct error *err) MUST_CHECK;
/* text: normalised UTF-8, 1..65535 bytes. */
int corpus_add_caption(struct corpus *c, const char *text, size_t n, uint32_t *number, bool *is_new,
                       struct error *err) MUST_CHECK;
/* original may be NULL (= the normalised text). A pair is identified by (image, caption, language,
 * source); a second one with another split, weight or label replaces them and says is_new = false,
 * *changed = true. */
int corpus_add_pair(struct corpus *c, const struct corpus_pair *pair, const char *original,
                    size_t n_original, bool *is_new, bool *changed, struct error *err) MUST_CHECK;
/* Maps a foreign id to an image: (source name, id) -> key. An id that already maps to another key:
 * ERR_EXISTS, nothing changed. */
int corpus_add_id(struct corpus *c, uint16_t source, const char *id, const uint8_t key[DIGEST_BYTES],
                  struct error *err) MUST_CHECK;
/* A reject is identified by (source, line, reason, record): one that is already quarantined changes
 * nothing and says *is_new = false, so that a repeated run counts only what it rejected newly.
 * number: as corpus_each_reject gives it. Both may be NULL. */
int corpus_add_reject(struct corpus *c, const struct corpus_reject *reject, uint64_t *number,
                      bool *is_new, struct error *err) MUST_CHECK;
/* Takes a reject out of quarantine, by the number corpus_each_reject gives. ERR_NOT_FOUND when absent. */
int corpus_remove_reject(struct corpus *c, uint64_t number, struct error *err) MUST_CHECK;
/* Gives a pair another language, source, split, weight or label; image and caption stay. Where such a
 * pair is there already, the two become one. ERR_NOT_FOUND when `from` is not there. */
int corpus_change_pair(struct corpus *c, const struct corpus_pair *from, const struct corpus_pair *to,
                       struct error *err) MUST_CHECK;
/* Forgetting (store/forget.h decides what), inside a batch; see store/corpusforget.c. An image or
 * caption leaves a tombstone: its number, which is never given again, with an empty record. Its pairs
 * and ids must go as well, in the same batch. ERR_NOT_FOUND when it is not there. */
int corpus_remove_image(struct corpus *c, uint32_t number, struct error *err) MUST_CHECK;
int corpus_remove_caption(struct corpus *c, uint32_t number, struct error *err) MUST_CHECK;
int corpus_remove_pair(struct corpus *c, const struct corpus_pair *pair, struct error *err) MUST_CHECK;
int corpus_remove_id(struct corpus *c, uint16_t source, const char *id, struct error *err) MUST_CHECK;
/* The id of a name, made when new (WRITE, inside a batch). At most 65534 a kind. */
int corpus_intern(struct corpus *c, enum corpus_name_kind kind, const char *name, uint16_t *id,
                  struct error *err) MUST_CHECK;

/* Key of an image registered without bytes. */
void corpus_key_of_id(const char *id, uint8_t key[DIGEST_BYTES]);

/* Look-ups; ERR_NOT_FOUND when absent. */
int corpus_image_number(struct corpus *c, const uint8_t key[DIGEST_BYTES], uint32_t *number,
                        struct error *err);
int corpus_caption_number(struct corpus *c, const uint8_t key[DIGEST_BYTES], uint32_t *number,
                          struct error *err);
/* By foreign id; source_name NULL tries all sources (ERR_DATA when it is ambiguous). */
int corpus_image_of_id(struct corpus *c, const char *source_name, const char *id, uint32_t *number,
                       struct error *err);
int corpus_find_name(struct corpus *c, enum corpus_name_kind kind, const char *name, uint16_t *id,
                     struct error *err);
/* borrowed; NULL when unknown */
const char *corpus_name(struct corpus *c, enum corpus_name_kind kind, uint16_t id);
uint16_t corpus_n_names(struct corpus *c, enum corpus_name_kind kind);

/* Numbers run from 0 to n - 1; a forgotten one is a tombstone, ERR_NOT_FOUND to every getter. */
uint32_t corpus_n_images(struct corpus *c);
uint32_t corpus_n_captions(struct corpus *c);
uint64_t corpus_n_forgotten(struct corpus *c); /* tombstones of both kinds */
int corpus_get_image(struct corpus *c, uint32_t number, struct corpus_image *image,
                     struct error *err) MUST_CHECK;
/* Encoded file bytes, checksum verified; *bytes borrowed. An image without bytes: n == 0. */
int corpus_image_bytes(struct corpus *c, uint32_t number, const uint8_t **bytes, size_t *n,
                       struct error *err) MUST_CHECK;
/* Normalised text; borrowed, not NUL-terminated. key (32 bytes) may be NULL. */
int corpus_caption_text(struct corpus *c, uint32_t number, const char **text, size_t *n,
                        uint8_t *key, struct error *err) MUST_CHECK;
/* The pair of pair->image, caption and source, in pair->language or (in_language false) in any; fills the
 * rest of *pair. ERR_NOT_FOUND when there is none. */
int corpus_find_pair(struct corpus *c, struct corpus_pair *pair, bool in_language,
                     struct error *err) MUST_CHECK;
/* All pairs, in order of (image, caption, language, source); owned: memory_free. */
int corpus_pairs(struct corpus *c, struct corpus_pair **pairs, size_t *n, struct error *err) MUST_CHECK;

/* The name of the rule that all captions of the corpus are normalised by ("nfc-space-1" when none was
 * set); owned: memory_free. Setting it: inside a batch, before the first caption. */
int corpus_caption_rule(struct corpus *c, char **rule, struct error *err) MUST_CHECK;
int corpus_set_caption_rule(struct corpus *c, const char *rule, struct error *err) MUST_CHECK;

/* Class list: the parsed classes.json as it was given, one per corpus (name = "" is the default
 * list); prompts are captions without pairs. */
int corpus_set_classes(struct corpus *c, const char *json_text, struct error *err) MUST_CHECK;
/* owned; NULL text when none */
int corpus_classes(struct corpus *c, char **json_text, struct error *err) MUST_CHECK;

int corpus_counts(struct corpus *c, struct corpus_counts *counts, struct error *err) MUST_CHECK;
/* Calls visit for every id; stops at a negative return. Nothing may be written meanwhile. */
int corpus_each_id(struct corpus *c,
                   int (*visit)(void *context, uint16_t source, const uint8_t key[DIGEST_BYTES],
                                const char *id),
                   void *context, struct error *err) MUST_CHECK;
/* A pair's text as it came; owned; NULL when it is the normalised one. */
int corpus_pair_original(struct corpus *c, const struct corpus_pair *pair, char **text,
                         struct error *err) MUST_CHECK;
/* Calls visit for every reject in order of arrival with its number and its JSON text; stops at a
 * negative return. */
int corpus_each_reject(struct corpus *c,
                       int (*visit)(void *context, uint64_t number, const char *json),
                       void *context, struct error *err) MUST_CHECK;

struct corpus_merge_counts { /* what the other corpus had and this one not */
    uint64_t n_images, n_captions, n_pairs, n_ids, n_rejects;
    uint64_t n_changed; /* pairs that got another split, weight or label */
    bool has_classes;   /* the class list came over */
};
/* Everything of `from` into `into`, by key: the result is what ingesting the sources of `into` and
 * then those of `from` would have given. Of a pair that both have, `from` gives split, weight and
 * label. ERR_INCOMPATIBLE: captions are normalised by another rule; ERR_EXISTS: an id of a source
 * names another image, or the class lists differ: all of these before anything is written (in a
 * check nothing is). Batches of about 64 MB, each one transaction; ERR_STOPPED between two; merging
 * the same again goes on, and changes nothing when all is there. */
int corpus_merge_check(struct corpus *into, struct corpus *from, struct error *err) MUST_CHECK;
int corpus_merge(struct corpus *into, struct corpus *from, const struct report *report,
                 struct corpus_merge_counts *counts, struct error *err) MUST_CHECK;

/* Walks everything: the file's pages (store/pages.h), every record's checksum, key of every image and caption, both number tables,
 * pairs that point nowhere, counts and set digests of meta. Findings go to finding() one sentence
 * each; returns their number or a negative error. */
int corpus_verify(struct corpus *c, void (*finding)(void *context, const char *text), void *context,
                  const struct report *report, struct error *err) MUST_CHECK;
/* An idle writer's corpus made anew, without free pages and what was deleted (generation_replace);
 * the handle only reads afterwards, the old generation. */
int corpus_replace_generation(struct corpus *c, const struct report *report,
                              struct generation_bytes *bytes, struct error *err) MUST_CHECK;
/* The handle's snapshot into a folder that must be absent or empty (generation_copy). */
int corpus_copy(struct corpus *c, const char *folder, const struct report *report,
                struct error *err) MUST_CHECK;
/* The same, with the contents of a part of the records alone; structure and counts are always checked,
 * set digests for all of them only. */
int corpus_verify_part(struct corpus *c, struct part part, void (*finding)(void *context, const char *text),
                       void *context, const struct report *report, struct error *err) MUST_CHECK;
/* The pages alone, of a corpus that cannot be opened. */
int corpus_verify_file(const char *cache, void (*finding)(void *context, const char *text), void *context,
                       const struct report *report, struct error *err) MUST_CHECK;
/* Canonical text sorted by key, without numbers, clocks, paths or runs, line by line to emit. */
int corpus_dump(struct corpus *c, int (*emit)(void *context, const char *line), void *context,
                struct error *err) MUST_CHECK;

#endif
