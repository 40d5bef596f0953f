/* The corpus: its handle, its batches, and what is added to it; see corpus.h. Reading stands in
 * corpuslookup.c, the canonical text in corpusdump.c, the check of everything in corpusverify.c;
 * all of them reach the tables through corpusrecord.h.
 */
#include "store/corpus.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/bytes.h"
#include "store/corpusrecord.h"
#include "store/file.h"
#include "store/format.h"
#include "store/memory.h"

#define MAX_NAMES    65535 /* ids a kind: CORPUS_NO_NAME stays free */
#define MAX_TEXT     65535 /* bytes of a caption */
#define MAX_ORIGINAL ((size_t)1 << 20)
#define MAX_NAME     4096
#define DEFAULT_RULE "nfc-space-1" /* of a corpus that says none */

/* A new environment gets the format record and sums of empty tables, one of an older version, whose
 * records can be read as they are, the format record alone. */
static int initialise(struct corpus *c, bool is_new, struct error *err)
{
    int rc = kv_begin_write(c->kv, &c->txn, err);
    if (rc < 0) return rc;
    rc = record_write_format(c, err);
    if (rc == 0 && is_new) rc = record_store_sums(c, err);
    if (rc == 0)
        rc = kv_commit(c->txn, err);
    else
        kv_abort(c->txn);
    c->txn = NULL;
    return rc;
}

/* What the handle keeps in memory, from the snapshot of c->txn. */
static int load(struct corpus *c, struct error *err)
{
    int rc = record_load_sums(c, err);
    if (rc == 0) rc = record_load_names(c, err);
    c->is_stale = rc < 0;
    return rc;
}

int corpus_open(struct corpus **out, const char *cache, enum corpus_mode mode, struct error *err)
{
    int rc = ERR_NOMEM;
    struct corpus *c = memory_array(1, sizeof *c, MEMORY_MAX_SMALL, err);
    if (!c) return ERR_NOMEM;
    c->mode = mode;
    pthread_mutex_init(&c->lock, NULL);
    c->cache = memory_string(cache, err);
    c->folder = file_join(cache, "corpus", err);
    if (!c->cache || !c->folder) goto done;
    rc = kv_open(&c->kv, c->folder,
                 &(struct kv_config){.mode = mode == CORPUS_WRITE ? KV_WRITE : KV_READ,
                                     .tables = record_tables,
                                     .n_tables = TABLE_N},
                 err);
    if (rc == ERR_NOT_FOUND)
        error_set(err, ERR_NOT_FOUND, "%s: there is no corpus here; make one with clipstill ingest",
                  cache);
    if (rc == 0 && mode == CORPUS_WRITE) rc = generation_sweep(c->folder, err);
    if (rc < 0) goto done;
    rc = record_check_format(c, err);
    if (rc == 0 && mode == CORPUS_READ)
        rc = error_set(
            err, ERR_NOT_FOUND,
            "%s: the making of this corpus was cut short; clipstill ingest makes it anew",
            c->folder);
    if (rc < 0) goto done;
    if (mode == CORPUS_WRITE && rc < FORMAT_CORPUS_VERSION) {
        bool is_new = rc == 0;
        kv_abort(c->txn);
        c->txn = NULL;
        rc = initialise(c, is_new, err);
    }
    if (rc >= 0) rc = load(c, err);
    if (rc < 0) goto done;
    *out = c;
    c = NULL;
done:
    corpus_close(c);
    return rc;
}

void corpus_close(struct corpus *c)
{
    if (!c) return;
    kv_abort(c->txn);
    kv_close(c->kv);
    for (int kind = 0; kind < NAME_KINDS; kind++) names_release(&c->names[kind]);
    pthread_mutex_destroy(&c->lock);
    memory_free(c->scratch);
    memory_free(c->folder);
    memory_free(c->cache);
    memory_free(c);
}

int corpus_refresh(struct corpus *c, struct error *err)
{
    if (c->mode != CORPUS_READ)
        return error_set(err, ERR_USAGE, "%s: only a reader's handle is refreshed", c->folder);
    kv_abort(c->txn);
    c->txn = NULL;
    return load(c, err);
}

int corpus_begin(struct corpus *c, struct error *err)
{
    if (c->mode != CORPUS_WRITE || c->in_batch)
        return error_set(err, ERR_USAGE, "%s: %s", c->folder,
                         c->in_batch ? "the batch before is still open"
                                     : "is open for reading only");
    int rc = c->is_stale ? load(c, err) : 0;
    if (rc < 0) return rc;
    kv_abort(c->txn);
    c->txn = NULL;
    rc = kv_begin_write(c->kv, &c->txn, err);
    if (rc < 0) return rc;
    c->in_batch = true;
    c->batch_bytes = 0;
    return 0;
}

/* Back to what is on disk; if even that fails, the next batch tries again. */
static void forget_batch(struct corpus *c)
{
    c->txn = NULL;
    c->in_batch = false;
    (void)!load(c, NULL);
}

int corpus_commit(struct corpus *c, struct error *err)
{
    if (!c->in_batch)
        return error_set(err, ERR_USAGE, "%s: there is no batch to commit", c->folder);
    int rc = record_store_sums(c, err);
    if (rc < 0) {
        corpus_abort(c);
        return rc;
    }
    rc = kv_commit(c->txn, err);
    c->txn = NULL;
    c->in_batch = false;
    c->batch_bytes = 0;
    if (rc < 0) forget_batch(c);
    return rc;
}

void corpus_abort(struct corpus *c)
{
    if (!c->in_batch) return;
    kv_abort(c->txn);
    forget_batch(c);
}

uint64_t corpus_batch_bytes(const struct corpus *c)
{
    return c->in_batch ? c->batch_bytes : 0;
}

/* Key -> number, and the number's own record, behind the last one. */
static int add_numbered(struct corpus *c, enum corpus_table keys, enum corpus_table table,
                        const uint8_t key[DIGEST_BYTES], const void *body, size_t n_body,
                        uint32_t *number, struct error *err)
{
    uint64_t next = c->sums[table].n;
    if (next >= CORPUS_ABSENT)
        return error_set(err, ERR_USAGE, "%s: is full: table %s holds 2^32 - 1 records", c->folder,
                         record_tables[table]);
    uint8_t k[4], v[4];
    bytes_put_key_u32(k, (uint32_t)next);
    bytes_put_u32(v, (uint32_t)next);
    int rc = record_put(c, keys, key, DIGEST_BYTES, v, sizeof v, err);
    if (rc == 0) rc = record_append(c, table, k, sizeof k, body, n_body, err);
    if (rc == 0) *number = (uint32_t)next;
    return rc;
}

int corpus_add_image(struct corpus *c, struct corpus_image *image, const void *bytes, size_t n,
                     uint32_t *number, bool *is_new, struct error *err)
{
    if (bytes) digest_of(bytes, n, image->is_reduced ? image->stored_key : image->key);
    return corpus_add_image_keyed(c, image, bytes, n, number, is_new, err);
}

int corpus_add_image_keyed(struct corpus *c, struct corpus_image *image, const void *bytes,
                           size_t n, uint32_t *number, bool *is_new, struct error *err)
{
    int rc = record_need_batch(c, err);
    if (rc < 0) return rc;
    if (n > UINT32_MAX || image->format > IMAGE_WEBP || (image->is_reduced && !bytes))
        return error_set(err, ERR_USAGE, "%s: an image has at most 4 GiB and a known format",
                         c->folder);
    image->n_bytes = bytes ? (uint32_t)n : 0;
    rc = record_number(c, TABLE_IMAGE_KEYS, image->key, number, err);
    if (rc < 0) return rc;
    *is_new = rc == 0;
    if (rc) return 0;
    uint8_t body[RECORD_IMAGE_BYTES];
    size_t n_body = record_encode_image(image, body);
    rc = add_numbered(c, TABLE_IMAGE_KEYS, TABLE_IMAGES, image->key, body, n_body, number, err);
    if (rc == 0 && image->n_bytes)
        rc = record_append_bytes(c, *number, record_bytes_key(image), bytes, n, err);
    return rc;
}

int corpus_add_caption(struct corpus *c, const char *text, size_t n, uint32_t *number, bool *is_new,
                       struct error *err)
{
    int rc = record_need_batch(c, err);
    if (rc < 0) return rc;
    if (n < 1 || n > MAX_TEXT)
        return error_set(err, ERR_USAGE, "%s: a caption has 1 to %d bytes, not %zu", c->folder,
                         MAX_TEXT, n);
    uint8_t body[DIGEST_BYTES + MAX_TEXT];
    digest_of(text, n, body);
    rc = record_number(c, TABLE_CAPTION_KEYS, body, number, err);
    if (rc < 0) return rc;
    *is_new = rc == 0;
    if (rc) return 0;
    memcpy(body + DIGEST_BYTES, text, n);
    return add_numbered(c, TABLE_CAPTION_KEYS, TABLE_CAPTIONS, body, body, DIGEST_BYTES + n, number,
                        err);
}

static int check_pair(const struct corpus *c, const struct corpus_pair *p, size_t n_original,
                      struct error *err)
{
    const char *bad = NULL;
    if (p->image >= c->sums[TABLE_IMAGES].n) bad = "its image";
    if (p->caption >= c->sums[TABLE_CAPTIONS].n) bad = "its caption";
    if (p->language >= c->names[NAME_LANGUAGE].n) bad = "its language";
    if (p->source >= c->names[NAME_SOURCE].n) bad = "its source";
    if (p->label != CORPUS_NO_NAME && p->label >= c->names[NAME_LABEL].n) bad = "its label";
    if (p->split >= SPLIT_N) bad = "its split";
    if (!(p->weight > 0) || !isfinite(p->weight)) bad = "its weight";
    if (n_original > MAX_ORIGINAL) bad = "the length of its original text";
    return bad ? error_set(err, ERR_USAGE, "%s: a pair cannot be added: %s is not valid", c->folder,
                           bad)
               : 0;
}

/* The smaller original wins, so that the order of arrival does not matter; NULL stands for the
 * normalised text. */
static bool original_is_less(struct kv_bytes a, struct kv_bytes b)
{
    if (!a.bytes || !b.bytes) return !a.bytes && b.bytes;
    int order = memcmp(a.bytes, b.bytes, a.n < b.n ? a.n : b.n);
    return order ? order < 0 : a.n < b.n;
}

int corpus_add_pair(struct corpus *c, const struct corpus_pair *pair, const char *original,
                    size_t n_original, bool *is_new, bool *changed, struct error *err)
{
    uint8_t key[RECORD_PAIR_KEY], head[RECORD_PAIR_BYTES];
    struct kv_bytes old_body, text, old_text = {0},
                                    kept = {(const uint8_t *)original, original ? n_original : 0};
    struct corpus_pair old = {0};
    const char *normalised;
    size_t n_normalised;
    char *copy = NULL;
    int rc = record_need_batch(c, err);
    if (rc == 0) rc = check_pair(c, pair, n_original, err);
    if (rc == 0 && original) {
        rc = corpus_caption_text(c, pair->caption, &normalised, &n_normalised, NULL, err);
        if (rc == 0 && n_normalised == n_original && !memcmp(normalised, original, n_original))
            kept = (struct kv_bytes){0};
    }
    if (rc < 0) return rc;
    record_encode_pair(pair, kept.bytes, key, head);
    int found = record_get(c, TABLE_PAIRS, key, sizeof key, &old_body, err);
    if (found < 0) return found;
    *is_new = !found;
    *changed = false;
    if (found) {
        rc = record_decode_pair(c, (struct kv_bytes){key, sizeof key}, old_body, &old, &old_text,
                                err);
        if (rc < 0) return rc;
        *changed = old.split != pair->split || old.label != pair->label ||
                   old.weight != pair->weight;
        bool is_better = original_is_less(kept, old_text);
        if (!*changed && !is_better) return 0;
        if (!is_better) kept = old_text;
        record_encode_pair(pair, kept.bytes, key, head);
    }
    text = kept;
    copy = memory_array((uint64_t)sizeof head + text.n, 1, MEMORY_MAX_SMALL, err);
    if (!copy) return ERR_NOMEM;
    memcpy(copy, head, sizeof head);
    if (text.n) memcpy(copy + sizeof head, text.bytes, text.n);
    rc = found ? record_replace(c, TABLE_PAIRS, key, sizeof key, copy, sizeof head + text.n, err)
               : record_put(c, TABLE_PAIRS, key, sizeof key, copy, sizeof head + text.n, err);
    memory_free(copy);
    return rc;
}

int corpus_change_pair(struct corpus *c, const struct corpus_pair *from,
                       const struct corpus_pair *to, struct error *err)
{
    uint8_t key[RECORD_PAIR_KEY], new_key[RECORD_PAIR_KEY], head[RECORD_PAIR_BYTES];
    struct kv_bytes body, original;
    struct corpus_pair old;
    bool is_new, changed;
    int rc = record_need_batch(c, err);
    if (rc < 0) return rc;
    record_encode_pair(from, false, key, head);
    record_encode_pair(to, false, new_key, head);
    rc = record_get(c, TABLE_PAIRS, key, sizeof key, &body, err);
    if (rc == 0)
        rc = error_set(err, ERR_NOT_FOUND, "%s: a pair to be changed is not there", c->folder);
    if (rc < 0) return rc;
    rc = record_decode_pair(c, (struct kv_bytes){key, sizeof key}, body, &old, &original, err);
    if (rc < 0) return rc;
    char *text = original.bytes ? memory_copy(original.bytes, original.n, err) : NULL;
    size_t n_text = original.n;
    if (original.bytes && !text) return ERR_NOMEM;
    if (memcmp(key, new_key, sizeof key)) rc = record_delete(c, TABLE_PAIRS, key, sizeof key, err);
    if (rc == 0) rc = corpus_add_pair(c, to, text, n_text, &is_new, &changed, err);
    memory_free(text);
    return rc;
}

int corpus_add_id(struct corpus *c, uint16_t source, const char *id,
                  const uint8_t key[DIGEST_BYTES], struct error *err)
{
    uint32_t number;
    struct kv_bytes old;
    size_t n = strlen(id);
    int rc = record_need_batch(c, err);
    if (rc < 0) return rc;
    if (source >= c->names[NAME_SOURCE].n || n > MAX_NAME)
        return error_set(err, ERR_USAGE, "%s: an id needs a known source and at most %d bytes",
                         c->folder, MAX_NAME);
    rc = record_number(c, TABLE_IMAGE_KEYS, key, &number, err);
    if (rc == 0)
        rc = error_set(err, ERR_NOT_FOUND, "%s: id \"%.200s\" names an image that is not there",
                       c->folder, id);
    if (rc < 0) return rc;
    uint8_t k[2 + DIGEST_BYTES], body[DIGEST_BYTES + MAX_NAME];
    digest_of(id, n, bytes_put_key_u16(k, source));
    bytes_put(bytes_put(body, key, DIGEST_BYTES), id, n);
    rc = record_get(c, TABLE_IDS, k, sizeof k, &old, err);
    if (rc < 0) return rc;
    if (rc == 0) return record_put(c, TABLE_IDS, k, sizeof k, body, DIGEST_BYTES + n, err);
    if (old.n >= DIGEST_BYTES && !memcmp(old.bytes, key, DIGEST_BYTES)) return 0;
    return error_set(err, ERR_EXISTS,
                     "%s: id \"%.200s\" of source \"%.200s\" already names another image",
                     c->folder, id, c->names[NAME_SOURCE].text[source]);
}

int corpus_intern(struct corpus *c, enum corpus_name_kind kind, const char *name, uint16_t *id,
                  struct error *err)
{
    size_t n = strlen(name);
    int found = names_find(&c->names[kind], name, n);
    if (found >= 0) {
        *id = (uint16_t)found;
        return 0;
    }
    int rc = record_need_batch(c, err);
    if (rc < 0) return rc;
    size_t next = c->names[kind].n;
    if (next >= MAX_NAMES || n > MAX_NAME)
        return error_set(err, ERR_USAGE,
                         "%s: name \"%.80s\": at most %d names of a kind, of at most %d bytes each",
                         c->folder, name, MAX_NAMES, MAX_NAME);
    uint8_t key[3];
    bytes_put_key_u16(bytes_put_u8(key, (uint8_t)kind), (uint16_t)next);
    rc = record_put(c, TABLE_NAMES, key, sizeof key, name, n, err);
    if (rc == 0) rc = names_add(&c->names[kind], name, n, err);
    if (rc == 0) *id = (uint16_t)next;
    return rc;
}

int corpus_caption_rule(struct corpus *c, char **rule, struct error *err)
{
    struct kv_bytes body;
    int found = record_get(c, TABLE_META, "caption_rule", 12, &body, err);
    if (found < 0) return found;
    *rule = found ? memory_copy(body.bytes, body.n, err) : memory_string(DEFAULT_RULE, err);
    return *rule ? 0 : ERR_NOMEM;
}

int corpus_set_caption_rule(struct corpus *c, const char *rule, struct error *err)
{
    int rc = record_need_batch(c, err);
    if (rc < 0) return rc;
    return record_replace(c, TABLE_META, "caption_rule", 12, rule, strlen(rule), err);
}

int corpus_set_classes(struct corpus *c, const char *json_text, struct error *err)
{
    int rc = record_need_batch(c, err);
    return rc < 0 ? rc
                  : record_replace(c, TABLE_META, "classes", 7, json_text, strlen(json_text), err);
}
