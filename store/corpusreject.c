/* The quarantine of a corpus: records that could not be used, and why; see corpus.h. */
#include <string.h>

#include "store/bytes.h"
#include "store/corpusrecord.h"
#include "store/json.h"
#include "store/memory.h"

/* Numbers may have gaps, where a reject was taken out. */
static int next_number(struct corpus *c, uint64_t *number, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value;
    *number = 0;
    int rc = kv_cursor_open(c->txn, TABLE_REJECTS, &cur, err);
    if (rc < 0) return rc;
    rc = kv_cursor_last(cur, &key, &value, err);
    if (rc > 0) {
        struct bytes_reader r = bytes_reader(key.bytes, key.n);
        *number = bytes_key_u64(&r) + 1;
    }
    kv_cursor_close(cur);
    return rc < 0 ? rc : 0;
}

int corpus_remove_reject(struct corpus *c, uint64_t number, struct error *err)
{
    uint8_t k[8], key[DIGEST_BYTES];
    struct kv_bytes body;
    int rc = record_need_batch(c, err);
    if (rc < 0) return rc;
    bytes_put_key_u64(k, number);
    rc = record_get(c, TABLE_REJECTS, k, sizeof k, &body, err);
    if (rc == 0)
        rc = error_set(err, ERR_NOT_FOUND, "%s: there is no reject %llu", c->folder,
                       (unsigned long long)number);
    if (rc < 0) return rc;
    struct json *j = json_read((const char *)body.bytes, body.n, "reject", err);
    if (!j) return ERR_CORRUPT;
    record_reject_key(&(struct corpus_reject){.source = json_text(json_get(j, "source"), NULL),
                                              .line = (uint64_t)json_int(json_get(j, "line"), 0),
                                              .reason = json_text(json_get(j, "reason"), NULL),
                                              .record = json_text(json_get(j, "record"), NULL)},
                      key);
    json_free(j);
    rc = record_delete(c, TABLE_REJECTS, k, sizeof k, err);
    return rc < 0 ? rc : record_delete(c, TABLE_REJECT_KEYS, key, sizeof key, err);
}

/* Owned: memory_free. */
static char *as_json(const struct corpus_reject *reject, struct error *err)
{
    struct json *j = json_new_object();
    json_set_string(j, "source", reject->source);
    json_set_int(j, "line", (int64_t)reject->line);
    json_set_int(j, "byte_offset", (int64_t)reject->byte_offset);
    if (reject->member) json_set_string(j, "member", reject->member);
    json_set_string(j, "reason", reject->reason);
    json_set_string(j, "message", reject->message);
    json_set_string(j, "record", reject->record);
    char *text = json_write(j, JSON_SORTED, err);
    json_free(j);
    return text;
}

int corpus_add_reject(struct corpus *c, const struct corpus_reject *reject, uint64_t *number,
                      bool *is_new, struct error *err)
{
    uint8_t key[DIGEST_BYTES], k[8], v[8];
    struct kv_bytes old;
    uint64_t n = 0;
    int rc = record_need_batch(c, err);
    if (rc < 0) return rc;
    record_reject_key(reject, key);
    int found = record_get(c, TABLE_REJECT_KEYS, key, sizeof key, &old, err);
    if (found < 0) return found;
    if (found) {
        struct bytes_reader r = bytes_reader(old.bytes, old.n);
        n = bytes_u64(&r);
    } else {
        char *text = as_json(reject, err);
        rc = text ? next_number(c, &n, err) : ERR_NOMEM;
        bytes_put_key_u64(k, n);
        bytes_put_u64(v, n);
        if (rc == 0) rc = record_append(c, TABLE_REJECTS, k, sizeof k, text, strlen(text), err);
        if (rc == 0) rc = record_put(c, TABLE_REJECT_KEYS, key, sizeof key, v, sizeof v, err);
        memory_free(text);
    }
    if (number) *number = n;
    if (is_new) *is_new = !found;
    return rc;
}

int corpus_each_reject(struct corpus *c,
                       int (*visit)(void *context, uint64_t number, const char *json),
                       void *context, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body;
    int rc = record_snapshot(c, err);
    if (rc == 0) rc = kv_cursor_open(c->txn, TABLE_REJECTS, &cur, err);
    if (rc < 0) return rc;
    for (rc = kv_cursor_first(cur, &key, &value, err); rc > 0;
         rc = kv_cursor_next(cur, &key, &value, err)) {
        rc = record_check(c, TABLE_REJECTS, key, value, &body, err);
        char *text = rc == 0 ? memory_copy(body.bytes, body.n, err) : NULL;
        struct bytes_reader r = bytes_reader(key.bytes, key.n);
        if (rc == 0) rc = text ? visit(context, bytes_key_u64(&r), text) : ERR_NOMEM;
        memory_free(text);
        if (rc < 0) break;
    }
    kv_cursor_close(cur);
    return rc;
}
