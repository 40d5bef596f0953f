/* Reading a corpus: numbers, names, texts, bytes; see corpus.h. */
#include <stdlib.h>
#include <string.h>

#include "store/bytes.h"
#include "store/corpusrecord.h"
#include "store/memory.h"

#define KEY_OF_ID_PREFIX "clipstill:image-id"

void corpus_key_of_id(const char *id, uint8_t key[DIGEST_BYTES])
{
    struct digest *d = digest_new(NULL);
    if (!d) abort();                                          /* a few hundred bytes */
    digest_add(d, KEY_OF_ID_PREFIX, sizeof KEY_OF_ID_PREFIX); /* with its NUL */
    digest_add(d, id, strlen(id));
    digest_finish(d, key);
}

static int number_of(struct corpus *c, enum corpus_table table, const uint8_t key[DIGEST_BYTES],
                     uint32_t *number, struct error *err)
{
    int found = record_number(c, table, key, number, err);
    if (found < 0) return found;
    if (found) return 0;
    char hex[DIGEST_HEX];
    digest_to_hex(key, hex);
    return error_set(err, ERR_NOT_FOUND, "%s: key %s is not in table %s", c->folder, hex,
                     record_tables[table]);
}

int corpus_image_number(struct corpus *c, const uint8_t key[DIGEST_BYTES], uint32_t *number,
                        struct error *err)
{
    return number_of(c, TABLE_IMAGE_KEYS, key, number, err);
}

int corpus_caption_number(struct corpus *c, const uint8_t key[DIGEST_BYTES], uint32_t *number,
                          struct error *err)
{
    return number_of(c, TABLE_CAPTION_KEYS, key, number, err);
}

/* The image key behind an id of one source: 1, 0 when absent, or an error. */
static int key_of_id(struct corpus *c, uint16_t source, const char *id, uint8_t key[DIGEST_BYTES],
                     struct error *err)
{
    uint8_t k[2 + DIGEST_BYTES];
    struct kv_bytes body;
    digest_of(id, strlen(id), bytes_put_key_u16(k, source));
    int found = record_get(c, TABLE_IDS, k, sizeof k, &body, err);
    if (found <= 0) return found;
    if (body.n < DIGEST_BYTES)
        return error_set(err, ERR_CORRUPT, "%s: a record of table ids is too short", c->folder);
    memcpy(key, body.bytes, DIGEST_BYTES);
    return 1;
}

int corpus_image_of_id(struct corpus *c, const char *source_name, const char *id, uint32_t *number,
                       struct error *err)
{
    uint8_t key[DIGEST_BYTES], other[DIGEST_BYTES];
    uint16_t first = 0, end = corpus_n_names(c, NAME_SOURCE);
    int n_found = 0;
    if (source_name) {
        int rc = corpus_find_name(c, NAME_SOURCE, source_name, &first, err);
        if (rc < 0) return rc;
        end = (uint16_t)(first + 1);
    }
    for (unsigned source = first; source < end; source++) {
        int found = key_of_id(c, (uint16_t)source, id, n_found ? other : key, err);
        if (found < 0) return found;
        if (found && n_found && memcmp(key, other, DIGEST_BYTES))
            return error_set(
                err, ERR_DATA,
                "%s: id \"%.200s\" names different images in several sources; name the source",
                c->folder, id);
        n_found += found;
    }
    if (!n_found)
        return error_set(err, ERR_NOT_FOUND, "%s: no image has the id \"%.200s\"", c->folder, id);
    return corpus_image_number(c, key, number, err);
}

int corpus_find_name(struct corpus *c, enum corpus_name_kind kind, const char *name, uint16_t *id,
                     struct error *err)
{
    static const char *const kinds[NAME_KINDS] = {"language", "source", "label"};
    int found = names_find(&c->names[kind], name, strlen(name));
    if (found < 0)
        return error_set(err, ERR_NOT_FOUND, "%s: has no %s \"%.200s\"", c->folder, kinds[kind],
                         name);
    *id = (uint16_t)found;
    return 0;
}

const char *corpus_name(struct corpus *c, enum corpus_name_kind kind, uint16_t id)
{
    return id < c->names[kind].n ? c->names[kind].text[id] : NULL;
}

uint16_t corpus_n_names(struct corpus *c, enum corpus_name_kind kind)
{
    return (uint16_t)c->names[kind].n;
}

uint32_t corpus_n_images(struct corpus *c)
{
    return (uint32_t)c->sums[TABLE_IMAGES].n;
}

uint32_t corpus_n_captions(struct corpus *c)
{
    return (uint32_t)c->sums[TABLE_CAPTIONS].n;
}

uint64_t corpus_n_forgotten(struct corpus *c)
{
    return c->sums[TABLE_IMAGES].n - c->sums[TABLE_IMAGE_KEYS].n + c->sums[TABLE_CAPTIONS].n -
           c->sums[TABLE_CAPTION_KEYS].n;
}

static int get_numbered(struct corpus *c, enum corpus_table table, uint32_t number,
                        struct kv_bytes *body, struct error *err)
{
    uint8_t key[4];
    bytes_put_key_u32(key, number);
    int found = record_get(c, table, key, sizeof key, body, err);
    if (found == 0)
        return error_set(err, ERR_NOT_FOUND, "%s: table %s has no number %u", c->folder,
                         record_tables[table], number);
    if (found > 0 && body->n == 0)
        return error_set(err, ERR_NOT_FOUND, "%s: number %u of table %s was forgotten", c->folder,
                         number, record_tables[table]);
    return found < 0 ? found : 0;
}

int corpus_get_image(struct corpus *c, uint32_t number, struct corpus_image *image,
                     struct error *err)
{
    struct kv_bytes body;
    int rc = get_numbered(c, TABLE_IMAGES, number, &body, err);
    return rc < 0 ? rc : record_decode_image(c, body, image, err);
}

int corpus_image_bytes(struct corpus *c, uint32_t number, const uint8_t **bytes, size_t *n,
                       struct error *err)
{
    struct corpus_image image;
    struct kv_bytes body;
    uint8_t key[DIGEST_BYTES];
    int rc = corpus_get_image(c, number, &image, err);
    if (rc < 0) return rc;
    *bytes = (const uint8_t *)"";
    *n = 0;
    if (image.n_bytes == 0) return 0;
    rc = get_numbered(c, TABLE_IMAGE_BYTES, number, &body, err);
    if (rc < 0) return rc;
    digest_of(body.bytes, body.n, key);
    if (body.n != image.n_bytes || memcmp(key, record_bytes_key(&image), DIGEST_BYTES))
        return error_set(err, ERR_CORRUPT,
                         "%s: the bytes of image %u do not match their key; run clipstill verify",
                         c->folder, number);
    *bytes = body.bytes;
    *n = body.n;
    return 0;
}

int corpus_caption_text(struct corpus *c, uint32_t number, const char **text, size_t *n,
                        uint8_t *key, struct error *err)
{
    struct kv_bytes body;
    int rc = get_numbered(c, TABLE_CAPTIONS, number, &body, err);
    if (rc < 0) return rc;
    if (body.n <= DIGEST_BYTES)
        return error_set(err, ERR_CORRUPT, "%s: caption %u is too short; run clipstill verify",
                         c->folder, number);
    if (key) memcpy(key, body.bytes, DIGEST_BYTES);
    *text = (const char *)body.bytes + DIGEST_BYTES;
    *n = body.n - DIGEST_BYTES;
    return 0;
}

int corpus_find_pair(struct corpus *c, struct corpus_pair *pair, bool in_language,
                     struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body, original;
    struct corpus_pair p;
    uint8_t prefix[8];
    bool found = false;
    bytes_put_key_u32(bytes_put_key_u32(prefix, pair->image), pair->caption);
    pthread_mutex_lock(&c->lock);
    int rc = record_snapshot(c, err);
    if (rc == 0) rc = kv_cursor_open(c->txn, TABLE_PAIRS, &cur, err);
    if (rc == 0) rc = kv_cursor_seek(cur, prefix, sizeof prefix, &key, &value, err);
    for (; rc > 0 && !found; rc = found ? 0 : kv_cursor_next(cur, &key, &value, err)) {
        if (key.n < sizeof prefix || memcmp(key.bytes, prefix, sizeof prefix)) break;
        rc = record_check(c, TABLE_PAIRS, key, value, &body, err);
        if (rc == 0) rc = record_decode_pair(c, key, body, &p, &original, err);
        if (rc < 0) break;
        found = p.source == pair->source && (!in_language || p.language == pair->language);
    }
    kv_cursor_close(cur);
    pthread_mutex_unlock(&c->lock);
    if (found) *pair = p;
    return rc < 0 ? rc : found ? 0 : ERR_NOT_FOUND;
}

int corpus_pairs(struct corpus *c, struct corpus_pair **pairs, size_t *n, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body, original;
    struct corpus_pair *table = NULL;
    size_t capacity = c->sums[TABLE_PAIRS].n, used = 0;
    pthread_mutex_lock(&c->lock);
    int rc = record_snapshot(c, err);
    if (rc == 0) rc = kv_cursor_open(c->txn, TABLE_PAIRS, &cur, err);
    if (rc == 0) table = memory_array(capacity, sizeof *table, MEMORY_MAX_TENSOR, err);
    if (rc == 0 && !table) rc = ERR_NOMEM;
    if (rc == 0) rc = kv_cursor_first(cur, &key, &value, err);
    for (; rc > 0; rc = kv_cursor_next(cur, &key, &value, err)) {
        if (used == capacity)
            rc = error_set(err, ERR_CORRUPT,
                           "%s: has more pairs than it counts; run clipstill verify", c->folder);
        else
            rc = record_check(c, TABLE_PAIRS, key, value, &body, err);
        if (rc == 0) rc = record_decode_pair(c, key, body, &table[used++], &original, err);
        if (rc < 0) break;
    }
    kv_cursor_close(cur);
    pthread_mutex_unlock(&c->lock);
    if (rc < 0) {
        memory_free(table);
        return rc;
    }
    *pairs = table;
    *n = used;
    return 0;
}

int corpus_classes(struct corpus *c, char **json_text, struct error *err)
{
    struct kv_bytes body;
    *json_text = NULL;
    int found = record_get(c, TABLE_META, "classes", 7, &body, err);
    if (found <= 0) return found;
    *json_text = memory_copy(body.bytes, body.n, err);
    return *json_text ? 0 : ERR_NOMEM;
}

int corpus_counts(struct corpus *c, struct corpus_counts *counts, struct error *err)
{
    struct corpus_pair *pairs = NULL;
    size_t n_pairs = 0;
    uint64_t n_captions = c->sums[TABLE_CAPTIONS].n, n_paired = 0; /* with tombstones */
    int rc = corpus_pairs(c, &pairs, &n_pairs, err);
    if (rc < 0) return rc;
    uint8_t *is_paired = memory_array(n_captions, 1, MEMORY_MAX_TENSOR, err);
    if (!is_paired) {
        memory_free(pairs);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n_pairs; i++) {
        if (pairs[i].caption >= n_captions || is_paired[pairs[i].caption]) continue;
        is_paired[pairs[i].caption] = 1;
        n_paired++;
    }
    memory_free(is_paired);
    memory_free(pairs);
    *counts = (struct corpus_counts){
        .n_images = c->sums[TABLE_IMAGE_KEYS].n,
        .n_image_bytes = c->sums[TABLE_IMAGE_BYTES].n_bytes,
        .n_captions = c->sums[TABLE_CAPTION_KEYS].n,
        .n_pairs = n_pairs,
        .n_sources = c->names[NAME_SOURCE].n,
        .n_rejects = c->sums[TABLE_REJECTS].n,
        .n_prompts = c->sums[TABLE_CAPTION_KEYS].n - n_paired,
        .n_forgotten = corpus_n_forgotten(c),
    };
    return 0;
}
