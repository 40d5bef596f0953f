/* The check of a whole corpus in a child process; see corpus_verify in corpus.h. First the pages of the
 * file, with store/pages.h: what LMDB would follow blindly. Then each record, with cursors and no
 * help from the getters, so that one bad record is one finding and not the end. The snapshot that
 * the caller's handle holds keeps its pages in place meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "store/bytes.h"
#include "store/corpusrecord.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"
#include "store/pages.h"
#include "store/recordname.h"
#include "store/sandbox.h"

/* The walk through one table. */
struct walk {
    struct corpus *c;
    struct sandbox *box;
    struct error *err;
    enum corpus_table table;
    uint64_t i; /* records before this one */
    struct kv_bytes key;
    const struct part *part;
};

/* What the child is told. */
struct verify {
    const char *cache, *folder;
    struct part part;
};

static int wrong(const struct walk *w, const char *why)
{
    char name[RECORDNAME_TEXT], hex[DIGEST_HEX] = "";
    struct kv_bytes value;
    recordname_of(w->table, w->key, name);
    bool is_keyed = w->table == TABLE_IMAGES || w->table == TABLE_CAPTIONS;
    if (is_keyed && record_get(w->c, w->table, w->key.bytes, w->key.n, &value, NULL) > 0 &&
        value.n >= DIGEST_BYTES)
        digest_to_hex(value.bytes, hex);
    sandbox_finding(w->box, "corpus: table %s, %s%s%s: %s", record_tables[w->table], name,
                    *hex ? ", key " : "", hex, why);
    return 0;
}

/* The key of a numbered table is its place. */
static bool is_dense(const struct walk *w, struct kv_bytes key)
{
    struct bytes_reader r = bytes_reader(key.bytes, key.n);
    bool ok = bytes_key_u32(&r) == w->i && bytes_at_end(&r);
    if (!ok) wrong(w, "its number is not its place");
    return ok;
}

/* A numbered record's key must lead back to its number. */
static int check_key_table(const struct walk *w, enum corpus_table keys, const uint8_t *key)
{
    struct kv_bytes body;
    int found = record_get(w->c, keys, key, DIGEST_BYTES, &body, NULL);
    if (found == 0) return wrong(w, "its key is not in the table of keys");
    if (found < 0) return 0; /* reported with the table of keys */
    struct bytes_reader r = bytes_reader(body.bytes, body.n);
    return bytes_u32(&r) == w->i && bytes_at_end(&r) ? 0
                                                     : wrong(w, "its key leads to another number");
}

/* What is forgotten has no bytes any more. */
static int check_tombstone(const struct walk *w, struct kv_bytes key)
{
    struct kv_bytes bytes;
    int found = record_get(w->c, TABLE_IMAGE_BYTES, key.bytes, key.n, &bytes, NULL);
    return found ? wrong(w, "was forgotten, and its bytes are still there") : 0;
}

/* Whether a number leads to a record and not to a tombstone; one that cannot be read is reported with
 * its own table. */
static bool is_there(const struct walk *w, enum corpus_table table, enum corpus_table keys,
                     uint32_t number)
{
    uint8_t k[4];
    struct kv_bytes body;
    if (number >= w->c->sums[table].n) return false;
    if (w->c->sums[table].n == w->c->sums[keys].n) return true; /* nothing was ever forgotten */
    bytes_put_key_u32(k, number);
    return record_get(w->c, table, k, sizeof k, &body, NULL) != 1 || body.n > 0;
}

static int check_image(const struct walk *w, struct kv_bytes key, struct kv_bytes body)
{
    struct corpus_image image;
    struct kv_bytes bytes;
    uint8_t digest[DIGEST_BYTES];
    if (!is_dense(w, key)) return 0;
    if (body.n == 0) return check_tombstone(w, key);
    if (record_decode_image(w->c, body, &image, NULL) < 0) return wrong(w, "has impossible fields");
    check_key_table(w, TABLE_IMAGE_KEYS, image.key);
    int found = record_get(w->c, TABLE_IMAGE_BYTES, key.bytes, key.n, &bytes, NULL);
    if (found < 0) return wrong(w, "its bytes cannot be read");
    if (found != (image.n_bytes > 0))
        return wrong(w, found ? "has bytes it does not know of" : "its bytes are missing");
    if (!found) return 0;
    digest_of(bytes.bytes, bytes.n, digest);
    if (bytes.n != image.n_bytes || memcmp(digest, record_bytes_key(&image), DIGEST_BYTES))
        wrong(w, "its bytes do not match its key");
    return 0;
}

static int check_caption(const struct walk *w, struct kv_bytes key, struct kv_bytes body)
{
    uint8_t digest[DIGEST_BYTES];
    if (!is_dense(w, key) || body.n == 0) return 0; /* a tombstone */
    if (body.n <= DIGEST_BYTES) return wrong(w, "is too short");
    digest_of(body.bytes + DIGEST_BYTES, body.n - DIGEST_BYTES, digest);
    if (memcmp(digest, body.bytes, DIGEST_BYTES)) wrong(w, "its text does not match its key");
    return check_key_table(w, TABLE_CAPTION_KEYS, body.bytes);
}

static int check_number(const struct walk *w, struct kv_bytes body, enum corpus_table of)
{
    struct bytes_reader r = bytes_reader(body.bytes, body.n);
    uint32_t number = bytes_u32(&r);
    return bytes_at_end(&r) && is_there(w, of, w->table, number)
               ? 0
               : wrong(w, "leads to a number that is not there");
}

static int check_pair(const struct walk *w, struct kv_bytes key, struct kv_bytes body)
{
    struct corpus *c = w->c;
    struct corpus_pair p;
    struct kv_bytes original;
    if (record_decode_pair(c, key, body, &p, &original, NULL) < 0)
        return wrong(w, "has impossible fields");
    if (!is_there(w, TABLE_IMAGES, TABLE_IMAGE_KEYS, p.image))
        wrong(w, "points to an image that is not there");
    if (!is_there(w, TABLE_CAPTIONS, TABLE_CAPTION_KEYS, p.caption))
        wrong(w, "points to a caption that is not there");
    if (!corpus_name(c, NAME_LANGUAGE, p.language) || !corpus_name(c, NAME_SOURCE, p.source) ||
        (p.label != CORPUS_NO_NAME && !corpus_name(c, NAME_LABEL, p.label)))
        wrong(w, "has a language, source or label without a name");
    return 0;
}

static int check_id(const struct walk *w, struct kv_bytes key, struct kv_bytes body)
{
    uint8_t digest[DIGEST_BYTES];
    uint32_t number;
    struct bytes_reader r = bytes_reader(key.bytes, key.n);
    uint16_t source = bytes_key_u16(&r);
    if (bytes_left(&r) != DIGEST_BYTES || body.n < DIGEST_BYTES)
        return wrong(w, "has a wrong length");
    digest_of(body.bytes + DIGEST_BYTES, body.n - DIGEST_BYTES, digest);
    if (memcmp(digest, r.p, DIGEST_BYTES)) wrong(w, "its id does not match its key");
    if (!corpus_name(w->c, NAME_SOURCE, source)) wrong(w, "has a source without a name");
    if (record_number(w->c, TABLE_IMAGE_KEYS, body.bytes, &number, NULL) == 0)
        wrong(w, "names an image that is not there");
    return 0;
}

static int check_reject(const struct walk *w, struct kv_bytes key, struct kv_bytes body)
{
    uint8_t digest[DIGEST_BYTES];
    struct kv_bytes found;
    struct bytes_reader r = bytes_reader(key.bytes, key.n);
    uint64_t number = bytes_key_u64(&r);
    if (!bytes_at_end(&r)) return wrong(w, "has a wrong key");
    struct json *j = json_read((const char *)body.bytes, body.n, "reject", NULL);
    if (!j) return wrong(w, "is not valid JSON");
    struct corpus_reject reject = {.source = json_text(json_get(j, "source"), NULL),
                                   .line = (uint64_t)json_int(json_get(j, "line"), 0),
                                   .reason = json_text(json_get(j, "reason"), NULL),
                                   .record = json_text(json_get(j, "record"), NULL)};
    record_reject_key(&reject, digest);
    json_free(j);
    if (record_get(w->c, TABLE_REJECT_KEYS, digest, sizeof digest, &found, NULL) == 0)
        return wrong(w, "is not in the table of keys");
    r = bytes_reader(found.bytes, found.n);
    if (bytes_u64(&r) != number) wrong(w, "its key leads to another number");
    return 0;
}

static int check_record(const struct walk *w, struct kv_bytes key, struct kv_bytes body)
{
    switch (w->table) {
    case TABLE_IMAGES: return check_image(w, key, body);
    case TABLE_CAPTIONS: return check_caption(w, key, body);
    case TABLE_IMAGE_KEYS: return check_number(w, body, TABLE_IMAGES);
    case TABLE_CAPTION_KEYS: return check_number(w, body, TABLE_CAPTIONS);
    case TABLE_PAIRS: return check_pair(w, key, body);
    case TABLE_IDS: return check_id(w, key, body);
    case TABLE_REJECTS: return check_reject(w, key, body);
    default: return 0;
    }
}

/* An image's bytes are chosen with it, and its pairs. */
static bool is_chosen(const struct walk *w, struct kv_bytes key)
{
    if (w->table == TABLE_META || w->table == TABLE_NAMES) return true;
    return part_has_key(w->part, key.bytes, w->table == TABLE_PAIRS && key.n > 4 ? 4 : key.n);
}

static int check_table(struct walk *w)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body;
    struct record_sums sums = {0}, *meta = &w->c->sums[w->table];
    int rc = kv_cursor_open(w->c->txn, w->table, &cur, w->err);
    if (rc < 0) return rc;
    rc = kv_cursor_first(cur, &key, &value, w->err);
    for (; rc > 0; rc = kv_cursor_next(cur, &key, &value, w->err), w->i++) {
        sums.n++;
        w->key = key;
        if (!is_chosen(w, key)) continue;
        if (w->table == TABLE_IMAGE_BYTES) {
            struct bytes_reader r;
            uint8_t digest[DIGEST_BYTES];
            digest_of(value.bytes, value.n, digest); /* against the key: with the image itself */
            r = bytes_reader(digest, 8);
            sums.digest += bytes_u64(&r);
            sums.n_bytes += value.n;
        } else if (record_check(w->c, w->table, key, value, &body, NULL) < 0) {
            wrong(w, "fails its checksum");
        } else {
            sums.digest += record_sum(w->table, key, body.bytes, body.n);
            sums.n_bytes += body.n;
            check_record(w, key, body);
        }
        sandbox_progress(w->box, record_tables[w->table], sums.n, meta->n);
    }
    kv_cursor_close(cur);
    if (rc < 0 || w->table == TABLE_META) return rc;
    if (sums.n != meta->n)
        sandbox_finding(w->box, "corpus: table %s: %llu records, meta counts %llu",
                        record_tables[w->table], (unsigned long long)sums.n,
                        (unsigned long long)meta->n);
    else if (part_is_all(w->part) && memcmp(&sums, meta, sizeof sums))
        sandbox_finding(w->box, "corpus: table %s: its set digest is not that of meta",
                        record_tables[w->table]);
    return 0;
}

/* A damaged page, in the words of the records it touches. */
static void on_damage(void *context, const struct pages_damage *d)
{
    char name[RECORDNAME_TEXT];
    if (d->table == PAGES_NO_TABLE) {
        sandbox_finding(context, "corpus: the file's structure: page %llu %s",
                        (unsigned long long)d->page, d->why);
        return;
    }
    recordname_between((enum corpus_table)d->table, d->from, d->to, name);
    sandbox_finding(context, "corpus: table %s, %s: page %llu %s", record_tables[d->table], name,
                    (unsigned long long)d->page, d->why);
}

static int check_pages(const struct verify *v, struct sandbox *box, struct error *err)
{
    struct pages *p = NULL;
    struct pages_visitor visitor = {box, NULL, on_damage};
    int rc = pages_open(&p, v->folder, record_tables, TABLE_N, err);
    if (rc == 0) rc = pages_walk(p, &visitor, err);
    pages_close(p);
    if (rc != ERR_CORRUPT) return rc;
    sandbox_finding(box, "corpus: %s", err->text);
    return 0;
}

/* In the child. context: struct verify. */
static int check_all(void *context, struct sandbox *box, struct error *err)
{
    const struct verify *v = context;
    struct corpus *c = NULL;
    int rc = check_pages(v, box, err);
    if (rc == 0) rc = corpus_open(&c, v->cache, CORPUS_READ, err);
    if (rc == ERR_CORRUPT) {
        sandbox_finding(box, "corpus: %s", err->text);
        return 0;
    }
    for (enum corpus_table table = 0; rc == 0 && table < TABLE_N; table++) {
        struct walk w = {.c = c, .box = box, .err = err, .table = table, .part = &v->part};
        rc = check_table(&w);
        if (rc != ERR_CORRUPT) continue;
        sandbox_finding(box, "corpus: table %s: %s", record_tables[table], err->text);
        kv_abort(c->txn); /* LMDB reads nothing more in a transaction that has failed */
        c->txn = NULL;
        rc = record_snapshot(c, err);
    }
    corpus_close(c);
    return rc;
}

int corpus_verify_part(struct corpus *c, struct part part,
                       void (*finding)(void *context, const char *text), void *context,
                       const struct report *report, struct error *err)
{
    struct verify v = {c->cache, c->folder, part};
    int rc = record_snapshot(c, err);
    return rc < 0 ? rc : sandbox_run(check_all, &v, finding, context, report, err);
}

/* In the child. */
static int check_file(void *context, struct sandbox *box, struct error *err)
{
    return check_pages(context, box, err);
}

int corpus_verify_file(const char *cache, void (*finding)(void *context, const char *text),
                       void *context, const struct report *report, struct error *err)
{
    char *folder = file_join(cache, "corpus", err);
    struct verify v = {cache, folder, {0}};
    int rc = folder ? sandbox_run(check_file, &v, finding, context, report, err) : ERR_NOMEM;
    memory_free(folder);
    return rc;
}

int corpus_verify(struct corpus *c, void (*finding)(void *context, const char *text), void *context,
                  const struct report *report, struct error *err)
{
    return corpus_verify_part(c, (struct part){0}, finding, context, report, err);
}
