/* Taking out of a corpus what it is to forget; see corpus.h. A forgotten image or caption leaves a
 * tombstone: its number with an empty record, so that numbers stay dense, no number is ever given
 * twice, and feature blocks, which are addressed by them, stay valid. store/forget.c decides what
 * goes and in which order.
 */
#include <string.h>

#include "store/bytes.h"
#include "store/corpusrecord.h"
#include "store/memory.h"

/* A pair or an id must not be left pointing to it: the caller's part. */
static int bury(struct corpus *c, enum corpus_table table, enum corpus_table keys, uint32_t number,
                const uint8_t key[DIGEST_BYTES], struct error *err)
{
    uint8_t k[4];
    bytes_put_key_u32(k, number);
    int rc = record_delete(c, keys, key, DIGEST_BYTES, err);
    return rc < 0 ? rc : record_replace(c, table, k, sizeof k, "", 0, err);
}

int corpus_remove_image(struct corpus *c, uint32_t number, struct error *err)
{
    struct corpus_image image;
    int rc = record_need_batch(c, err);
    if (rc == 0) rc = corpus_get_image(c, number, &image, err);
    if (rc == 0) rc = bury(c, TABLE_IMAGES, TABLE_IMAGE_KEYS, number, image.key, err);
    if (rc == 0 && image.n_bytes)
        rc = record_delete_bytes(c, number, record_bytes_key(&image), image.n_bytes, err);
    return rc;
}

int corpus_remove_caption(struct corpus *c, uint32_t number, struct error *err)
{
    const char *text;
    size_t n;
    uint8_t key[DIGEST_BYTES];
    int rc = record_need_batch(c, err);
    if (rc == 0) rc = corpus_caption_text(c, number, &text, &n, key, err);
    return rc < 0 ? rc : bury(c, TABLE_CAPTIONS, TABLE_CAPTION_KEYS, number, key, err);
}

int corpus_remove_pair(struct corpus *c, const struct corpus_pair *pair, struct error *err)
{
    uint8_t key[RECORD_PAIR_KEY], head[RECORD_PAIR_BYTES];
    int rc = record_need_batch(c, err);
    record_encode_pair(pair, false, key, head);
    return rc < 0 ? rc : record_delete(c, TABLE_PAIRS, key, sizeof key, err);
}

int corpus_remove_id(struct corpus *c, uint16_t source, const char *id, struct error *err)
{
    uint8_t key[2 + DIGEST_BYTES];
    int rc = record_need_batch(c, err);
    digest_of(id, strlen(id), bytes_put_key_u16(key, source));
    return rc < 0 ? rc : record_delete(c, TABLE_IDS, key, sizeof key, err);
}

int corpus_each_id(struct corpus *c,
                   int (*visit)(void *context, uint16_t source, const uint8_t key[DIGEST_BYTES],
                                const char *id),
                   void *context, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body;
    int rc = record_snapshot(c, err);
    if (rc == 0) rc = kv_cursor_open(c->txn, TABLE_IDS, &cur, err);
    if (rc == 0) rc = kv_cursor_first(cur, &key, &value, err);
    for (; rc > 0; rc = kv_cursor_next(cur, &key, &value, err)) {
        rc = record_check(c, TABLE_IDS, key, value, &body, err);
        if (rc == 0 && body.n < DIGEST_BYTES)
            rc = error_set(err, ERR_CORRUPT, "%s: a record of table ids is too short", c->folder);
        if (rc < 0) break;
        struct bytes_reader r = bytes_reader(key.bytes, key.n);
        char *id = memory_copy(body.bytes + DIGEST_BYTES, body.n - DIGEST_BYTES, err);
        rc = id ? visit(context, bytes_key_u16(&r), body.bytes, id) : ERR_NOMEM;
        memory_free(id);
        if (rc < 0) break;
    }
    kv_cursor_close(cur);
    return rc;
}

int corpus_pair_original(struct corpus *c, const struct corpus_pair *pair, char **text,
                         struct error *err)
{
    uint8_t key[RECORD_PAIR_KEY], head[RECORD_PAIR_BYTES];
    struct kv_bytes body, original;
    struct corpus_pair same;
    *text = NULL;
    record_encode_pair(pair, false, key, head);
    int rc = record_get(c, TABLE_PAIRS, key, sizeof key, &body, err);
    if (rc == 0) return error_set(err, ERR_NOT_FOUND, "%s: a pair is not there", c->folder);
    if (rc > 0)
        rc = record_decode_pair(c, (struct kv_bytes){key, sizeof key}, body, &same, &original, err);
    if (rc < 0 || !original.bytes) return rc;
    *text = memory_copy(original.bytes, original.n, err);
    return *text ? 0 : ERR_NOMEM;
}

int corpus_replace_generation(struct corpus *c, const struct report *report,
                              struct generation_bytes *bytes, struct error *err)
{
    if (c->mode != CORPUS_WRITE || c->in_batch)
        return error_set(err, ERR_USAGE, "%s: only an idle writer can make it anew", c->folder);
    kv_abort(c->txn);
    c->txn = NULL;
    int rc = generation_replace(c->kv, report, "gc corpus", bytes, err);
    c->mode = CORPUS_READ;
    return rc;
}

int corpus_copy(struct corpus *c, const char *folder, const struct report *report,
                struct error *err)
{
    int rc = record_snapshot(c, err);
    return rc < 0 ? rc : generation_copy(c->txn, folder, report, "snapshot corpus", err);
}
