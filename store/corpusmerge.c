/* One corpus into another, by key; see corpus_merge in corpus.h. Numbers and name ids are private to
 * a corpus, so that everything goes through keys and names. Conflicts are looked for first, in both
 * corpora as they stand; then come images, captions, pairs, ids, rejects and the class list, in
 * batches: what a kill leaves is a corpus without some of the pairs, and the same merge goes on. */
#include <stdio.h>
#include <string.h>

#include "store/bytes.h"
#include "store/corpusrecord.h"
#include "store/json.h"
#include "store/memory.h"

#define BATCH_BYTES ((uint64_t)64 << 20)

/* A merge under way. */
struct merging {
    struct corpus *into, *from;
    const struct report *report;
    struct corpus_merge_counts *counts;
    uint32_t *image, *caption;  /* number in from -> number in into, or CORPUS_ABSENT */
    uint16_t *name[NAME_KINDS]; /* id in from -> id in into, or CORPUS_NO_NAME */
    uint64_t done, total;
    struct error *err;
};

/* The ids table, one record after the other; visit: source id, id (NUL-terminated), image key. */
static int each_id(struct corpus *c,
                   int (*visit)(void *context, uint16_t source, const char *id, const uint8_t *key),
                   void *context, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body;
    int rc = record_snapshot(c, err);
    if (rc == 0) rc = kv_cursor_open(c->txn, TABLE_IDS, &cur, err);
    if (rc < 0) return rc;
    for (rc = kv_cursor_first(cur, &key, &value, err); rc > 0;
         rc = kv_cursor_next(cur, &key, &value, err)) {
        rc = record_check(c, TABLE_IDS, key, value, &body, err);
        if (rc == 0 && body.n < DIGEST_BYTES)
            rc = error_set(err, ERR_CORRUPT, "%s: a record of table ids is too short", c->folder);
        if (rc < 0) break;
        struct bytes_reader r = bytes_reader(key.bytes, key.n);
        char *id = memory_copy(body.bytes + DIGEST_BYTES, body.n - DIGEST_BYTES, err);
        rc = id ? visit(context, bytes_key_u16(&r), id, body.bytes) : ERR_NOMEM;
        memory_free(id);
        if (rc < 0) break;
    }
    kv_cursor_close(cur);
    return rc;
}

static int check_rule(struct corpus *into, struct corpus *from, struct error *err)
{
    char *ours = NULL, *theirs = NULL;
    int rc = corpus_caption_rule(into, &ours, err);
    if (rc == 0) rc = corpus_caption_rule(from, &theirs, err);
    if (rc == 0 && corpus_n_captions(into) && corpus_n_captions(from) && strcmp(ours, theirs))
        rc = error_set(err, ERR_INCOMPATIBLE,
                       "the captions of %s are normalised by %s, those of %s by %s: one text would "
                       "stand under two keys; ingest the sources of one of them again under the "
                       "rule of the other",
                       from->cache, theirs, into->cache, ours);
    memory_free(ours);
    memory_free(theirs);
    return rc;
}

/* The first member that two class lists have differently, "classes.dog". */
static void name_difference(const struct json *a, const struct json *b, char *text, size_t size)
{
    static const char *const parts[] = {"classes", "templates"};
    const char *key;
    const struct json *value;
    snprintf(text, size, "some member");
    for (int side = 0; side < 2; side++)
        for (int k = 0; k < 2; k++) {
            const struct json *x = json_get(side ? b : a, parts[k]),
                              *y = json_get(side ? a : b, parts[k]);
            for (size_t i = 0; json_member(x, i, &key, &value); i++) {
                if (json_same(value, json_get(y, key))) continue;
                snprintf(text, size, "\"%.80s\" of \"%s\"", key, parts[k]);
                return;
            }
        }
}

static int check_classes(struct corpus *into, struct corpus *from, struct error *err)
{
    char *ours = NULL, *theirs = NULL, what[200];
    struct json *a = NULL, *b = NULL;
    int rc = corpus_classes(into, &ours, err);
    if (rc == 0) rc = corpus_classes(from, &theirs, err);
    if (rc < 0 || !ours || !theirs) goto done;
    a = json_read(ours, strlen(ours), "classes", err);
    b = json_read(theirs, strlen(theirs), "classes", err);
    rc = a && b ? 0 : ERR_DATA;
    if (rc == 0 && !json_same(a, b)) {
        name_difference(a, b, what, sizeof what);
        rc = error_set(err, ERR_EXISTS,
                       "the class lists of %s and %s differ, first in %s: a corpus has one; give "
                       "both the same with clipstill ingest CACHE --classes FILE",
                       into->cache, from->cache, what);
    }
done:
    json_free(a);
    json_free(b);
    memory_free(ours);
    memory_free(theirs);
    return rc;
}

/* An id that names one image here and another there. */
static int check_id(void *context, uint16_t source, const char *id, const uint8_t *key)
{
    struct merging *m = context;
    const char *name = corpus_name(m->from, NAME_SOURCE, source);
    uint16_t ours;
    struct kv_bytes body;
    uint8_t k[2 + DIGEST_BYTES];
    char hex[2][DIGEST_HEX];
    if (!name || corpus_find_name(m->into, NAME_SOURCE, name, &ours, NULL) < 0) return 0;
    digest_of(id, strlen(id), bytes_put_key_u16(k, ours));
    int found = record_get(m->into, TABLE_IDS, k, sizeof k, &body, m->err);
    if (found <= 0) return found;
    if (body.n >= DIGEST_BYTES && !memcmp(body.bytes, key, DIGEST_BYTES)) return 0;
    digest_to_hex(body.n >= DIGEST_BYTES ? body.bytes : key, hex[0]);
    digest_to_hex(key, hex[1]);
    return error_set(
        m->err, ERR_EXISTS,
        "id \"%.200s\" of source \"%.100s\" names image %.16s... in %s and %.16s... in "
        "%s: forget the source in one of them, or ingest it there under another name",
        id, name, hex[0], m->into->cache, hex[1], m->from->cache);
}

int corpus_merge_check(struct corpus *into, struct corpus *from, struct error *err)
{
    struct merging m = {.into = into, .from = from, .err = err};
    int rc = check_rule(into, from, err);
    if (rc == 0) rc = check_classes(into, from, err);
    return rc == 0 ? each_id(from, check_id, &m, err) : rc;
}

/* After every record: a full batch is committed, and a signal heard. */
static int step(struct merging *m, uint64_t n)
{
    m->done += n;
    if (corpus_batch_bytes(m->into) < BATCH_BYTES) return 0;
    int rc = corpus_commit(m->into, m->err);
    report_progress(m->report, "merge corpus", m->done, m->total, 0, 0);
    if (rc == 0 && report_stopped(m->report))
        rc = error_set(m->err, ERR_STOPPED,
                       "stopped after %llu of %llu records; the same command "
                       "goes on",
                       (unsigned long long)m->done, (unsigned long long)m->total);
    return rc == 0 ? corpus_begin(m->into, m->err) : rc;
}

static int merge_image(struct merging *m, uint32_t number)
{
    struct corpus_image image;
    const uint8_t *bytes;
    size_t n;
    bool is_new = false;
    uint32_t *to = &m->image[number];
    *to = CORPUS_ABSENT;
    int rc = corpus_get_image(m->from, number, &image, m->err);
    if (rc == ERR_NOT_FOUND) return 0; /* forgotten there */
    if (rc < 0) return rc;
    int found = record_number(m->into, TABLE_IMAGE_KEYS, image.key, to, m->err);
    if (found) return found < 0 ? found : 0;
    rc = corpus_image_bytes(m->from, number, &bytes, &n, m->err);
    if (rc == 0)
        rc = corpus_add_image_keyed(m->into, &image, image.n_bytes ? bytes : NULL, n, to, &is_new,
                                    m->err);
    m->counts->n_images += is_new;
    return rc;
}

static int merge_caption(struct merging *m, uint32_t number)
{
    const char *text;
    size_t n;
    bool is_new = false;
    m->caption[number] = CORPUS_ABSENT;
    int rc = corpus_caption_text(m->from, number, &text, &n, NULL, m->err);
    if (rc == ERR_NOT_FOUND) return 0;
    if (rc == 0) rc = corpus_add_caption(m->into, text, n, &m->caption[number], &is_new, m->err);
    m->counts->n_captions += is_new;
    return rc;
}

/* A name's id here, made when it is new. */
static int merge_name(struct merging *m, enum corpus_name_kind kind, uint16_t id, uint16_t *to)
{
    const char *name = corpus_name(m->from, kind, id);
    if (!name)
        return error_set(m->err, ERR_CORRUPT,
                         "%s: a record has a name that is not there; run "
                         "clipstill verify",
                         m->from->folder);
    if (m->name[kind][id] == CORPUS_NO_NAME) {
        int rc = corpus_intern(m->into, kind, name, &m->name[kind][id], m->err);
        if (rc < 0) return rc;
    }
    *to = m->name[kind][id];
    return 0;
}

static int merge_pair(struct merging *m, const struct corpus_pair *theirs, struct kv_bytes original)
{
    struct corpus_pair p = *theirs;
    bool is_new, changed;
    if (p.image >= corpus_n_images(m->from) || p.caption >= corpus_n_captions(m->from) ||
        m->image[p.image] == CORPUS_ABSENT || m->caption[p.caption] == CORPUS_ABSENT)
        return error_set(m->err, ERR_CORRUPT, "%s: a pair points nowhere; run clipstill verify",
                         m->from->folder);
    p.image = m->image[p.image];
    p.caption = m->caption[p.caption];
    int rc = merge_name(m, NAME_LANGUAGE, p.language, &p.language);
    if (rc == 0) rc = merge_name(m, NAME_SOURCE, p.source, &p.source);
    if (rc == 0 && p.label != CORPUS_NO_NAME) rc = merge_name(m, NAME_LABEL, p.label, &p.label);
    if (rc == 0)
        rc = corpus_add_pair(m->into, &p, (const char *)original.bytes, original.n, &is_new,
                             &changed, m->err);
    if (rc < 0) return rc;
    m->counts->n_pairs += is_new;
    m->counts->n_changed += changed;
    return 0;
}

static int merge_pairs(struct merging *m)
{
    struct corpus *c = m->from;
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body, original;
    struct corpus_pair p;
    int rc = record_snapshot(c, m->err);
    if (rc == 0) rc = kv_cursor_open(c->txn, TABLE_PAIRS, &cur, m->err);
    if (rc < 0) return rc;
    for (rc = kv_cursor_first(cur, &key, &value, m->err); rc > 0;
         rc = kv_cursor_next(cur, &key, &value, m->err)) {
        rc = record_check(c, TABLE_PAIRS, key, value, &body, m->err);
        if (rc == 0) rc = record_decode_pair(c, key, body, &p, &original, m->err);
        if (rc == 0) rc = merge_pair(m, &p, original);
        if (rc == 0) rc = step(m, 1);
        if (rc < 0) break;
    }
    kv_cursor_close(cur);
    return rc;
}

static int merge_id(void *context, uint16_t source, const char *id, const uint8_t *key)
{
    struct merging *m = context;
    uint32_t number;
    uint16_t ours = 0;
    uint64_t before = m->into->sums[TABLE_IDS].n;
    int rc = record_number(m->into, TABLE_IMAGE_KEYS, key, &number, m->err);
    if (rc <= 0) return rc; /* its image is forgotten */
    rc = merge_name(m, NAME_SOURCE, source, &ours);
    if (rc == 0) rc = corpus_add_id(m->into, ours, id, key, m->err);
    m->counts->n_ids += m->into->sums[TABLE_IDS].n - before;
    return rc < 0 ? rc : step(m, 0);
}

static int merge_reject(void *context, uint64_t number, const char *text)
{
    struct merging *m = context;
    bool is_new = false;
    (void)number;
    struct json *j = json_read(text, strlen(text), "reject", m->err);
    if (!j) return ERR_CORRUPT;
    struct corpus_reject reject = {.source = json_text(json_get(j, "source"), NULL),
                                   .line = (uint64_t)json_int(json_get(j, "line"), 0),
                                   .byte_offset = (uint64_t)json_int(json_get(j, "byte_offset"), 0),
                                   .member = json_text(json_get(j, "member"), NULL),
                                   .reason = json_text(json_get(j, "reason"), NULL),
                                   .message = json_text(json_get(j, "message"), NULL),
                                   .record = json_text(json_get(j, "record"), NULL)};
    int rc = corpus_add_reject(m->into, &reject, NULL, &is_new, m->err);
    json_free(j);
    m->counts->n_rejects += is_new;
    return rc < 0 ? rc : step(m, 0);
}

/* Into a corpus without a caption, the other's rule; into one without a list, the other's. */
static int merge_rule(struct merging *m)
{
    char *rule = NULL;
    if (corpus_n_captions(m->into) || !corpus_n_captions(m->from)) return 0;
    int rc = corpus_caption_rule(m->from, &rule, m->err);
    if (rc == 0) rc = corpus_set_caption_rule(m->into, rule, m->err);
    memory_free(rule);
    return rc;
}

static int merge_classes(struct merging *m)
{
    char *ours = NULL, *theirs = NULL;
    int rc = corpus_classes(m->into, &ours, m->err);
    if (rc == 0) rc = corpus_classes(m->from, &theirs, m->err);
    if (rc == 0 && !ours && theirs) {
        rc = corpus_set_classes(m->into, theirs, m->err);
        m->counts->has_classes = true;
    }
    memory_free(ours);
    memory_free(theirs);
    return rc;
}

static int allocate(struct merging *m)
{
    m->image = memory_array(corpus_n_images(m->from), sizeof *m->image, MEMORY_MAX_TENSOR, m->err);
    m->caption = memory_array(corpus_n_captions(m->from), sizeof *m->caption, MEMORY_MAX_TENSOR,
                              m->err);
    if (!m->image || !m->caption) return ERR_NOMEM;
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        size_t n = corpus_n_names(m->from, (enum corpus_name_kind)kind);
        m->name[kind] = memory_array(n, sizeof *m->name[kind], MEMORY_MAX_SMALL, m->err);
        if (!m->name[kind]) return ERR_NOMEM;
        memset(m->name[kind], 0xff, n * sizeof *m->name[kind]);
    }
    return 0;
}

/* Inside a batch, which it leaves open. */
static int merge_all(struct merging *m)
{
    uint32_t n_images = corpus_n_images(m->from), n_captions = corpus_n_captions(m->from);
    m->total = (uint64_t)n_images + n_captions + m->from->sums[TABLE_PAIRS].n;
    int rc = merge_rule(m);
    for (uint32_t i = 0; rc == 0 && i < n_images; i++) {
        rc = merge_image(m, i);
        if (rc == 0) rc = step(m, 1);
    }
    for (uint32_t i = 0; rc == 0 && i < n_captions; i++) {
        rc = merge_caption(m, i);
        if (rc == 0) rc = step(m, 1);
    }
    if (rc == 0) rc = merge_pairs(m);
    if (rc == 0) rc = each_id(m->from, merge_id, m, m->err);
    if (rc == 0) rc = corpus_each_reject(m->from, merge_reject, m, m->err);
    return rc == 0 ? merge_classes(m) : rc;
}

int corpus_merge(struct corpus *into, struct corpus *from, const struct report *report,
                 struct corpus_merge_counts *counts, struct error *err)
{
    struct error local = {0};
    struct merging m = {
        .into = into, .from = from, .report = report, .counts = counts, .err = &local};
    *counts = (struct corpus_merge_counts){0};
    int rc = corpus_merge_check(into, from, &local);
    if (rc == 0) rc = allocate(&m);
    if (rc == 0) rc = corpus_begin(into, &local);
    if (rc == 0) rc = merge_all(&m);
    if (rc == 0)
        rc = corpus_commit(into, &local);
    else
        corpus_abort(into);
    if (rc < 0 && err) *err = local;
    for (int kind = 0; kind < NAME_KINDS; kind++) memory_free(m.name[kind]);
    memory_free(m.image);
    memory_free(m.caption);
    return rc;
}
