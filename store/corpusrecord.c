/* Records of a corpus; see corpusrecord.h. */
#include "store/corpusrecord.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/bytes.h"
#include "store/format.h"
#include "store/memory.h"

const char *const record_tables[TABLE_N] = {
    "meta",  "images", "image_bytes", "image_keys", "captions",    "caption_keys",
    "pairs", "names",  "ids",         "rejects",    "reject_keys",
};

/* All but very long records are hashed in one piece: a streaming digest costs an allocation. */
#define HASH_AT_ONCE 1024

uint64_t record_sum(enum corpus_table table, struct kv_bytes key, const void *body, size_t n_body)
{
    uint8_t whole[HASH_AT_ONCE], out[DIGEST_BYTES];
    uint8_t tag = (uint8_t)table;
    if (1 + key.n + n_body <= sizeof whole) {
        uint8_t *p = bytes_put_u8(whole, tag);
        p = bytes_put(p, key.bytes, key.n);
        p = bytes_put(p, body, n_body);
        return digest_short(whole, (size_t)(p - whole));
    }
    struct digest *d = digest_new(NULL);
    if (!d) abort(); /* a few hundred bytes */
    digest_add(d, &tag, 1);
    digest_add(d, key.bytes, key.n);
    digest_add(d, body, n_body);
    digest_finish(d, out);
    struct bytes_reader r = bytes_reader(out, 8);
    return bytes_u64(&r);
}

static int corrupt(const struct corpus *c, enum corpus_table table, const char *why,
                   struct error *err)
{
    return error_set(err, ERR_CORRUPT, "%s: a record of table %s %s; run clipstill verify",
                     c->folder, record_tables[table], why);
}

int record_check(const struct corpus *c, enum corpus_table table, struct kv_bytes key,
                 struct kv_bytes value, struct kv_bytes *body, struct error *err)
{
    if (value.n < RECORD_SUM_BYTES) return corrupt(c, table, "is too short", err);
    size_t n = value.n - RECORD_SUM_BYTES;
    struct bytes_reader r = bytes_reader(value.bytes + n, RECORD_SUM_BYTES);
    if (record_sum(table, key, value.bytes, n) != bytes_u64(&r))
        return corrupt(c, table, "fails its checksum", err);
    *body = (struct kv_bytes){value.bytes, n};
    return 0;
}

int record_need_batch(const struct corpus *c, struct error *err)
{
    return c->in_batch
               ? 0
               : error_set(err, ERR_USAGE, "%s: nothing can be added outside a batch", c->folder);
}

int record_snapshot(struct corpus *c, struct error *err)
{
    return c->txn ? 0 : kv_begin_read(c->kv, &c->txn, err);
}

/* kv_get on the handle's transaction, one thread at a time. */
static int locked_get(struct corpus *c, enum corpus_table table, const void *key, size_t n_key,
                      struct kv_bytes *value, struct error *err)
{
    pthread_mutex_lock(&c->lock);
    int rc = record_snapshot(c, err);
    if (rc == 0) rc = kv_get(c->txn, table, key, n_key, value, err);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

int record_get(struct corpus *c, enum corpus_table table, const void *key, size_t n_key,
               struct kv_bytes *body, struct error *err)
{
    struct kv_bytes value;
    int found = locked_get(c, table, key, n_key, &value, err);
    if (found <= 0) return found;
    if (table == TABLE_IMAGE_BYTES) {
        *body = value;
        return 1;
    }
    int rc = record_check(c, table, (struct kv_bytes){key, n_key}, value, body, err);
    return rc < 0 ? rc : 1;
}

enum how { HOW_PUT, HOW_APPEND };

static int store(struct corpus *c, enum corpus_table table, enum how how, struct kv_bytes key,
                 const void *body, size_t n_body, struct error *err)
{
    int rc = memory_grow(&c->scratch, &c->scratch_capacity, (uint64_t)n_body + RECORD_SUM_BYTES, 1,
                         MEMORY_MAX_FILE, err);
    if (rc < 0) return rc;
    uint64_t sum = record_sum(table, key, body, n_body);
    size_t n = (size_t)(bytes_put_u64(bytes_put(c->scratch, body, n_body), sum) - c->scratch);
    rc = how == HOW_APPEND ? kv_append(c->txn, table, key.bytes, key.n, c->scratch, n, err)
                           : kv_put(c->txn, table, key.bytes, key.n, c->scratch, n, err);
    if (rc < 0) return rc;
    c->sums[table].n++;
    c->sums[table].digest += sum;
    c->sums[table].n_bytes += n_body;
    c->batch_bytes += key.n + n;
    return 0;
}

int record_put(struct corpus *c, enum corpus_table table, const void *key, size_t n_key,
               const void *body, size_t n_body, struct error *err)
{
    return store(c, table, HOW_PUT, (struct kv_bytes){key, n_key}, body, n_body, err);
}

int record_append(struct corpus *c, enum corpus_table table, const void *key, size_t n_key,
                  const void *body, size_t n_body, struct error *err)
{
    return store(c, table, HOW_APPEND, (struct kv_bytes){key, n_key}, body, n_body, err);
}

int record_replace(struct corpus *c, enum corpus_table table, const void *key, size_t n_key,
                   const void *body, size_t n_body, struct error *err)
{
    struct kv_bytes old;
    int found = record_get(c, table, key, n_key, &old, err);
    if (found < 0) return found;
    if (found == 0 && table != TABLE_META)
        return corrupt(c, table, "to be replaced is not there", err);
    struct record_sums was = {0};
    if (found)
        was = (struct record_sums){
            1, record_sum(table, (struct kv_bytes){key, n_key}, old.bytes, old.n), old.n};
    int rc = store(c, table, HOW_PUT, (struct kv_bytes){key, n_key}, body, n_body, err);
    if (rc < 0) return rc;
    c->sums[table].n -= was.n;
    c->sums[table].digest -= was.digest;
    c->sums[table].n_bytes -= was.n_bytes;
    return 0;
}

int record_delete(struct corpus *c, enum corpus_table table, const void *key, size_t n_key,
                  struct error *err)
{
    struct kv_bytes old;
    int found = record_get(c, table, key, n_key, &old, err);
    if (found < 0) return found;
    if (found == 0) return corrupt(c, table, "to be deleted is not there", err);
    uint64_t sum = record_sum(table, (struct kv_bytes){key, n_key}, old.bytes, old.n);
    size_t n_body = old.n;
    int rc = kv_delete(c->txn, table, key, n_key, err);
    if (rc < 0) return rc;
    c->sums[table].n--;
    c->sums[table].digest -= sum;
    c->sums[table].n_bytes -= n_body;
    return 0;
}

int record_append_bytes(struct corpus *c, uint32_t number, const uint8_t key[DIGEST_BYTES],
                        const void *bytes, size_t n, struct error *err)
{
    uint8_t k[4];
    bytes_put_key_u32(k, number);
    int rc = kv_append(c->txn, TABLE_IMAGE_BYTES, k, sizeof k, bytes, n, err);
    if (rc < 0) return rc;
    struct bytes_reader r = bytes_reader(key, 8);
    c->sums[TABLE_IMAGE_BYTES].n++;
    c->sums[TABLE_IMAGE_BYTES].digest += bytes_u64(&r);
    c->sums[TABLE_IMAGE_BYTES].n_bytes += n;
    c->batch_bytes += n;
    return 0;
}

int record_delete_bytes(struct corpus *c, uint32_t number, const uint8_t key[DIGEST_BYTES],
                        size_t n, struct error *err)
{
    uint8_t k[4];
    bytes_put_key_u32(k, number);
    int rc = kv_delete(c->txn, TABLE_IMAGE_BYTES, k, sizeof k, err);
    if (rc < 0) return rc;
    struct bytes_reader r = bytes_reader(key, 8);
    c->sums[TABLE_IMAGE_BYTES].n--;
    c->sums[TABLE_IMAGE_BYTES].digest -= bytes_u64(&r);
    c->sums[TABLE_IMAGE_BYTES].n_bytes -= n;
    return 0;
}

int record_number(struct corpus *c, enum corpus_table table, const uint8_t key[DIGEST_BYTES],
                  uint32_t *number, struct error *err)
{
    struct kv_bytes body;
    int found = record_get(c, table, key, DIGEST_BYTES, &body, err);
    if (found <= 0) return found;
    struct bytes_reader r = bytes_reader(body.bytes, body.n);
    *number = bytes_u32(&r);
    return bytes_at_end(&r) ? 1 : corrupt(c, table, "has a wrong length", err);
}

enum image_flag { FLAG_ICC = 1, FLAG_REDUCED = 2, FLAG_LIKENESS = 4 };

size_t record_encode_image(const struct corpus_image *image, uint8_t body[RECORD_IMAGE_BYTES])
{
    uint8_t *p = bytes_put(body, image->key, DIGEST_BYTES);
    p = bytes_put_u32(p, image->width_px);
    p = bytes_put_u32(p, image->height_px);
    p = bytes_put_u32(p, image->n_bytes);
    p = bytes_put_u8(p, image->format);
    p = bytes_put_u8(p, image->orientation);
    p = bytes_put_u8(p, (uint8_t)((image->has_icc ? FLAG_ICC : 0) |
                                  (image->is_reduced ? FLAG_REDUCED : 0) |
                                  (image->has_likeness ? FLAG_LIKENESS : 0)));
    p = bytes_put_u8(p, image->n_warnings);
    p = bytes_put_u64(p, image->likeness.hash);
    p = bytes_put(p, image->likeness.colour, sizeof image->likeness.colour);
    if (!image->is_reduced) return (size_t)(p - body);
    p = bytes_put(p, image->stored_key, DIGEST_BYTES);
    p = bytes_put_u32(p, image->came_width_px);
    p = bytes_put_u32(p, image->came_height_px);
    p = bytes_put_u8(p, image->came_format);
    return (size_t)(p - body);
}

/* What version 2 has behind the orientation. */
static void decode_image_tail(struct bytes_reader *r, struct corpus_image *i)
{
    uint8_t flags = bytes_u8(r);
    i->has_icc = flags & FLAG_ICC;
    i->is_reduced = flags & FLAG_REDUCED;
    i->has_likeness = flags & FLAG_LIKENESS;
    i->n_warnings = bytes_u8(r);
    i->likeness.hash = bytes_u64(r);
    const uint8_t *colour = bytes_take(r, sizeof i->likeness.colour);
    if (colour) memcpy(i->likeness.colour, colour, sizeof i->likeness.colour);
    if (!i->is_reduced) return;
    const uint8_t *stored = bytes_take(r, DIGEST_BYTES);
    if (stored) memcpy(i->stored_key, stored, DIGEST_BYTES);
    i->came_width_px = bytes_u32(r);
    i->came_height_px = bytes_u32(r);
    i->came_format = bytes_u8(r);
}

int record_decode_image(const struct corpus *c, struct kv_bytes body, struct corpus_image *image,
                        struct error *err)
{
    struct bytes_reader r = bytes_reader(body.bytes, body.n);
    const uint8_t *key = bytes_take(&r, DIGEST_BYTES);
    struct corpus_image i = {.width_px = bytes_u32(&r), .height_px = 0};
    i.height_px = bytes_u32(&r);
    i.n_bytes = bytes_u32(&r);
    i.format = bytes_u8(&r);
    i.orientation = bytes_u8(&r);
    if (!bytes_at_end(&r)) decode_image_tail(&r, &i); /* version 1 ends here */
    if (!bytes_at_end(&r) || i.format > IMAGE_WEBP || i.came_format > IMAGE_WEBP)
        return corrupt(c, TABLE_IMAGES, "has impossible fields", err);
    memcpy(i.key, key, DIGEST_BYTES);
    *image = i;
    return 0;
}

const uint8_t *record_bytes_key(const struct corpus_image *image)
{
    return image->is_reduced ? image->stored_key : image->key;
}

void record_encode_pair(const struct corpus_pair *pair, bool has_original,
                        uint8_t key[RECORD_PAIR_KEY], uint8_t body[RECORD_PAIR_BYTES])
{
    key = bytes_put_key_u32(key, pair->image);
    key = bytes_put_key_u32(key, pair->caption);
    key = bytes_put_key_u16(key, pair->language);
    bytes_put_key_u16(key, pair->source);
    body = bytes_put_f32(body, pair->weight);
    body = bytes_put_u16(body, pair->label);
    body = bytes_put_u8(body, pair->split);
    bytes_put_u8(body, has_original);
}

int record_decode_pair(const struct corpus *c, struct kv_bytes key, struct kv_bytes body,
                       struct corpus_pair *pair, struct kv_bytes *original, struct error *err)
{
    struct bytes_reader k = bytes_reader(key.bytes, key.n), r = bytes_reader(body.bytes, body.n);
    struct corpus_pair p = {.image = bytes_key_u32(&k)};
    p.caption = bytes_key_u32(&k);
    p.language = bytes_key_u16(&k);
    p.source = bytes_key_u16(&k);
    p.weight = bytes_f32(&r);
    p.label = bytes_u16(&r);
    p.split = bytes_u8(&r);
    bool has_original = bytes_u8(&r);
    if (!bytes_at_end(&k) || r.failed || p.split >= SPLIT_N || !(p.weight > 0) ||
        (!has_original && bytes_left(&r)))
        return corrupt(c, TABLE_PAIRS, "has impossible fields", err);
    *pair = p;
    *original = (struct kv_bytes){has_original ? r.p : NULL, bytes_left(&r)};
    return 0;
}

void record_reject_key(const struct corpus_reject *reject, uint8_t key[DIGEST_BYTES])
{
    const char *parts[] = {reject->source, reject->reason, reject->record};
    uint8_t line[8];
    struct digest *d = digest_new(NULL);
    if (!d) abort();
    for (int i = 0; i < 3; i++)
        if (parts[i])
            digest_add(d, parts[i],
                       strlen(parts[i]) + 1); /* with its NUL: parts cannot run together */
    bytes_put_u64(line, reject->line);
    digest_add(d, line, sizeof line);
    digest_finish(d, key);
}

static size_t sums_key(enum corpus_table table, char key[64])
{
    return (size_t)snprintf(key, 64, "table:%s", record_tables[table]);
}

int record_load_sums(struct corpus *c, struct error *err)
{
    char key[64];
    memset(c->sums, 0, sizeof c->sums);
    for (enum corpus_table table = TABLE_META + 1; table < TABLE_N; table++) {
        struct kv_bytes body;
        int found = record_get(c, TABLE_META, key, sums_key(table, key), &body, err);
        if (found < 0) return found;
        if (found == 0) return corrupt(c, TABLE_META, "with the sums of a table is not there", err);
        struct bytes_reader r = bytes_reader(body.bytes, body.n);
        struct record_sums s = {.n = bytes_u64(&r)};
        s.digest = bytes_u64(&r);
        s.n_bytes = bytes_u64(&r);
        if (!bytes_at_end(&r)) return corrupt(c, TABLE_META, "has a wrong length", err);
        c->sums[table] = s;
    }
    return 0;
}

int record_store_sums(struct corpus *c, struct error *err)
{
    char key[64];
    int rc = 0;
    for (enum corpus_table table = TABLE_META + 1; rc == 0 && table < TABLE_N; table++) {
        uint8_t body[24], *p = bytes_put_u64(body, c->sums[table].n);
        p = bytes_put_u64(p, c->sums[table].digest);
        bytes_put_u64(p, c->sums[table].n_bytes);
        size_t n_key = sums_key(table, key);
        rc = record_replace(c, TABLE_META, key, n_key, body, sizeof body, err);
    }
    return rc;
}

/* Ids are dense, so that reading in key order gives each name its own. */
int record_load_names(struct corpus *c, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body;
    for (int kind = 0; kind < NAME_KINDS; kind++) names_cut(&c->names[kind], 0);
    int rc = record_snapshot(c, err);
    if (rc == 0) rc = kv_cursor_open(c->txn, TABLE_NAMES, &cur, err);
    if (rc < 0) return rc;
    for (rc = kv_cursor_first(cur, &key, &value, err); rc > 0;
         rc = kv_cursor_next(cur, &key, &value, err)) {
        struct bytes_reader r = bytes_reader(key.bytes, key.n);
        unsigned kind = bytes_u8(&r), id = bytes_key_u16(&r);
        rc = record_check(c, TABLE_NAMES, key, value, &body, err);
        if (rc == 0 && (!bytes_at_end(&r) || kind >= NAME_KINDS || id != c->names[kind].n))
            rc = corrupt(c, TABLE_NAMES, "has an impossible key", err);
        if (rc == 0) rc = names_add(&c->names[kind], (const char *)body.bytes, body.n, err);
        if (rc < 0) break;
    }
    kv_cursor_close(cur);
    return rc;
}

int record_check_format(struct corpus *c, struct error *err)
{
    struct kv_bytes body;
    int found = record_get(c, TABLE_META, "format", 6, &body, err);
    if (found <= 0) return found;
    struct bytes_reader r = bytes_reader(body.bytes, body.n);
    const uint8_t *magic = bytes_take(&r, 16);
    uint32_t version = bytes_u32(&r);
    if (!magic || memcmp(magic, FORMAT_CORPUS_MAGIC, 16))
        return error_set(err, ERR_INCOMPATIBLE, "%s: is not a clipstill corpus", c->folder);
    if (version < FORMAT_CORPUS_OLDEST || version > FORMAT_CORPUS_VERSION)
        return error_set(err, ERR_INCOMPATIBLE,
                         "%s: a corpus of format version %u, this clipstill reads versions %d to "
                         "%d; use the clipstill that made it, or ingest again into a new cache",
                         c->folder, version, FORMAT_CORPUS_OLDEST, FORMAT_CORPUS_VERSION);
    return bytes_at_end(&r) ? (int)version : corrupt(c, TABLE_META, "has a wrong length", err);
}

int record_write_format(struct corpus *c, struct error *err)
{
    uint8_t body[20];
    bytes_put_u32(bytes_put(body, FORMAT_CORPUS_MAGIC, 16), FORMAT_CORPUS_VERSION);
    return record_replace(c, TABLE_META, "format", 6, body, sizeof body, err);
}
