/* The canonical text of a corpus; see corpus_dump in corpus.h. One line a record: a word and a JSON
 * object with sorted keys. Images, captions, pairs by their keys; then ids, classes and rejects.
 * Two corpora that hold the same things give the same text, whatever the order, the batches, the
 * threads or the place in which they arrived.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/bytes.h"
#include "store/corpusrecord.h"
#include "store/json.h"
#include "store/memory.h"

static const char *const format_names[] = {"none", "jpeg", "png", "webp"};

struct dump {
    struct corpus *c;
    int (*emit)(void *context, const char *line);
    void *context;
    struct error *err;
    uint32_t *image_rank, *caption_rank; /* by number: place in key order */
    uint8_t (*image_key)[DIGEST_BYTES], (*caption_key)[DIGEST_BYTES];
    uint16_t *name_rank[NAME_KINDS];
    char **lines; /* of a table that is sorted by its text */
    size_t n_lines, lines_capacity;
};

/* "word {...}"; j is taken. Owned. */
static char *line_of(const char *word, struct json *j, struct error *err)
{
    char *text = json_write(j, JSON_SORTED, err), *line = NULL;
    json_free(j);
    if (text) line = memory_array(strlen(word) + strlen(text) + 2, 1, MEMORY_MAX_FILE, err);
    if (line) sprintf(line, "%s %s", word, text);
    memory_free(text);
    return line;
}

static int emit(struct dump *d, const char *word, struct json *j)
{
    char *line = line_of(word, j, d->err);
    int rc = line ? d->emit(d->context, line) : ERR_NOMEM;
    memory_free(line);
    return rc < 0 ? rc : 0;
}

static int keep_line(struct dump *d, const char *word, struct json *j)
{
    char *line = line_of(word, j, d->err);
    if (!line) return ERR_NOMEM;
    int rc = memory_grow(&d->lines, &d->lines_capacity, d->n_lines + 1, sizeof *d->lines,
                         MEMORY_MAX_TENSOR, d->err);
    if (rc < 0)
        memory_free(line);
    else
        d->lines[d->n_lines++] = line;
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int emit_lines(struct dump *d)
{
    int rc = 0;
    if (d->n_lines) qsort(d->lines, d->n_lines, sizeof *d->lines, by_text);
    for (size_t i = 0; i < d->n_lines; i++) {
        if (rc >= 0) rc = d->emit(d->context, d->lines[i]);
        memory_free(d->lines[i]);
    }
    d->n_lines = 0;
    return rc < 0 ? rc : 0;
}

static void set_hex(struct json *j, const char *name, const uint8_t key[DIGEST_BYTES])
{
    char hex[DIGEST_HEX];
    digest_to_hex(key, hex);
    json_set_string(j, name, hex);
}

/* Text of a record, which has no NUL of its own to end it. */
static int set_text(struct json *j, const char *name, struct kv_bytes text, struct error *err)
{
    char *copy = memory_copy(text.bytes, text.n, err);
    if (!copy) return ERR_NOMEM;
    json_set_string(j, name, copy);
    memory_free(copy);
    return 0;
}

/* What most pictures do not have. */
static void emit_image_more(struct json *j, const struct corpus_image *image)
{
    char likeness[40];
    if (image->has_icc) json_set_bool(j, "icc", true);
    if (image->n_warnings) json_set_int(j, "warnings", image->n_warnings);
    if (image->has_likeness) {
        int n = snprintf(likeness, sizeof likeness, "%016llx-",
                         (unsigned long long)image->likeness.hash);
        for (int i = 0; i < 8; i++)
            n += snprintf(likeness + n, sizeof likeness - (size_t)n, "%02x",
                          image->likeness.colour[i]);
        json_set_string(j, "likeness", likeness);
    }
    if (!image->is_reduced) return;
    set_hex(j, "stored", image->stored_key);
    json_set_int(j, "came_width", image->came_width_px);
    json_set_int(j, "came_height", image->came_height_px);
    json_set_string(j, "came_format", format_names[image->came_format]);
}

static int emit_image(struct dump *d, uint32_t number)
{
    struct corpus_image image;
    int rc = corpus_get_image(d->c, number, &image, d->err);
    if (rc < 0) return rc;
    memcpy(d->image_key[number], image.key, DIGEST_BYTES);
    struct json *j = json_new_object();
    set_hex(j, "key", image.key);
    json_set_string(j, "format", format_names[image.format]);
    json_set_int(j, "width", image.width_px);
    json_set_int(j, "height", image.height_px);
    json_set_int(j, "orientation", image.orientation);
    json_set_int(j, "bytes", image.n_bytes);
    emit_image_more(j, &image);
    return emit(d, "image", j);
}

static int emit_caption(struct dump *d, uint32_t number)
{
    struct kv_bytes text;
    const char *p;
    int rc = corpus_caption_text(d->c, number, &p, &text.n, d->caption_key[number], d->err);
    if (rc < 0) return rc;
    text.bytes = (const uint8_t *)p;
    struct json *j = json_new_object();
    set_hex(j, "key", d->caption_key[number]);
    rc = set_text(j, "text", text, d->err);
    if (rc == 0) return emit(d, "caption", j);
    json_free(j);
    return rc;
}

/* Walks a table of keys, in their order; fills rank. */
static int emit_by_key(struct dump *d, enum corpus_table keys, uint32_t *rank, uint64_t n,
                       int (*emit_one)(struct dump *d, uint32_t number))
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body;
    uint32_t place = 0;
    int rc = kv_cursor_open(d->c->txn, keys, &cur, d->err);
    if (rc < 0) return rc;
    rc = kv_cursor_first(cur, &key, &value, d->err);
    for (; rc > 0; rc = kv_cursor_next(cur, &key, &value, d->err)) {
        rc = record_check(d->c, keys, key, value, &body, d->err);
        if (rc < 0) break;
        struct bytes_reader r = bytes_reader(body.bytes, body.n);
        uint32_t number = bytes_u32(&r);
        if (number >= n || !bytes_at_end(&r)) {
            rc = error_set(d->err, ERR_CORRUPT, "%s: table %s leads nowhere; run clipstill verify",
                           d->c->folder, record_tables[keys]);
            break;
        }
        rank[number] = place++;
        rc = emit_one(d, number);
        if (rc < 0) break;
    }
    kv_cursor_close(cur);
    return rc;
}

static int compare(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int by_keys(const void *a, const void *b, void *context)
{
    const struct dump *d = context;
    const struct corpus_pair *p = a, *q = b;
    int order = compare(d->image_rank[p->image], d->image_rank[q->image]);
    if (!order) order = compare(d->caption_rank[p->caption], d->caption_rank[q->caption]);
    if (!order)
        order = compare(d->name_rank[NAME_LANGUAGE][p->language],
                        d->name_rank[NAME_LANGUAGE][q->language]);
    if (!order)
        order = compare(d->name_rank[NAME_SOURCE][p->source], d->name_rank[NAME_SOURCE][q->source]);
    return order;
}

static int emit_pair(struct dump *d, const struct corpus_pair *p)
{
    static const char *const splits[SPLIT_N] = {"train", "val", "test"};
    uint8_t key[RECORD_PAIR_KEY], head[RECORD_PAIR_BYTES];
    struct kv_bytes body, original;
    struct corpus_pair same;
    record_encode_pair(p, false, key, head);
    int found = record_get(d->c, TABLE_PAIRS, key, sizeof key, &body, d->err);
    if (found < 0) return found;
    int rc = record_decode_pair(d->c, (struct kv_bytes){key, sizeof key}, body, &same, &original,
                                d->err);
    if (rc < 0) return rc;
    struct json *j = json_new_object();
    set_hex(j, "image", d->image_key[p->image]);
    set_hex(j, "caption", d->caption_key[p->caption]);
    json_set_string(j, "language", corpus_name(d->c, NAME_LANGUAGE, p->language));
    json_set_string(j, "source", corpus_name(d->c, NAME_SOURCE, p->source));
    json_set_string(j, "split", splits[p->split]);
    json_set_string(j, "label", corpus_name(d->c, NAME_LABEL, p->label));
    json_set_number(j, "weight", (double)p->weight);
    if (original.bytes) rc = set_text(j, "original", original, d->err);
    if (rc == 0) return emit(d, "pair", j);
    json_free(j);
    return rc;
}

static int emit_pairs(struct dump *d)
{
    struct corpus_pair *pairs = NULL;
    size_t n = 0;
    int rc = corpus_pairs(d->c, &pairs, &n, d->err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (pairs[i].image >= corpus_n_images(d->c) ||
            pairs[i].caption >= corpus_n_captions(d->c) ||
            !corpus_name(d->c, NAME_LANGUAGE, pairs[i].language) ||
            !corpus_name(d->c, NAME_SOURCE, pairs[i].source))
            rc = error_set(d->err, ERR_CORRUPT, "%s: a pair points nowhere; run clipstill verify",
                           d->c->folder);
    if (rc == 0 && n) qsort_r(pairs, n, sizeof *pairs, by_keys, d);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = emit_pair(d, &pairs[i]);
    memory_free(pairs);
    return rc;
}

static int keep_ids(struct dump *d)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value, body;
    int rc = kv_cursor_open(d->c->txn, TABLE_IDS, &cur, d->err);
    if (rc < 0) return rc;
    rc = kv_cursor_first(cur, &key, &value, d->err);
    for (; rc > 0; rc = kv_cursor_next(cur, &key, &value, d->err)) {
        rc = record_check(d->c, TABLE_IDS, key, value, &body, d->err);
        if (rc < 0) break;
        struct bytes_reader r = bytes_reader(key.bytes, key.n);
        struct kv_bytes id = {body.bytes + DIGEST_BYTES, body.n - DIGEST_BYTES};
        struct json *j = json_new_object();
        json_set_string(j, "source", corpus_name(d->c, NAME_SOURCE, bytes_key_u16(&r)));
        set_hex(j, "image", body.bytes);
        rc = set_text(j, "id", id, d->err);
        if (rc == 0)
            rc = keep_line(d, "id", j);
        else
            json_free(j);
        if (rc < 0) break;
    }
    kv_cursor_close(cur);
    return rc;
}

/* Without its message and the folder of its source, which are the run's own. */
static int keep_reject(void *context, uint64_t number, const char *text)
{
    (void)number;
    struct dump *d = context;
    struct json *reject = json_read(text, strlen(text), "reject", d->err);
    if (!reject) return ERR_DATA;
    const char *source = json_text(json_get(reject, "source"), ""), *slash = strrchr(source, '/');
    struct json *j = json_new_object();
    json_set_string(j, "source", slash && slash[1] ? slash + 1 : source);
    json_set_int(j, "line", json_int(json_get(reject, "line"), 0));
    json_set_int(j, "byte_offset", json_int(json_get(reject, "byte_offset"), 0));
    if (json_text(json_get(reject, "member"), NULL))
        json_set_string(j, "member", json_text(json_get(reject, "member"), NULL));
    json_set_string(j, "reason", json_text(json_get(reject, "reason"), NULL));
    json_set_string(j, "record", json_text(json_get(reject, "record"), NULL));
    json_free(reject);
    return keep_line(d, "reject", j);
}

static int emit_classes(struct dump *d)
{
    char *text = NULL;
    int rc = corpus_classes(d->c, &text, d->err);
    if (rc < 0 || !text) return rc;
    struct json *j = json_read(text, strlen(text), "classes", d->err);
    memory_free(text);
    return j ? emit(d, "classes", j) : ERR_DATA;
}

static int by_name(const void *a, const void *b, void *context)
{
    char *const *text = context;
    return strcmp(text[*(const uint16_t *)a], text[*(const uint16_t *)b]);
}

static int rank_names(struct dump *d, enum corpus_name_kind kind)
{
    struct names *names = &d->c->names[kind];
    uint16_t *order = memory_array(names->n, sizeof *order, MEMORY_MAX_SMALL, d->err);
    d->name_rank[kind] = memory_array(names->n, sizeof *order, MEMORY_MAX_SMALL, d->err);
    bool ok = order && d->name_rank[kind];
    for (size_t i = 0; ok && i < names->n; i++) order[i] = (uint16_t)i;
    if (ok && names->n) qsort_r(order, names->n, sizeof *order, by_name, names->text);
    for (size_t i = 0; ok && i < names->n; i++) d->name_rank[kind][order[i]] = (uint16_t)i;
    memory_free(order);
    return ok ? 0 : ERR_NOMEM;
}

static int allocate(struct dump *d)
{
    uint64_t n_images = corpus_n_images(d->c), n_captions = corpus_n_captions(d->c);
    d->image_rank = memory_array(n_images, sizeof *d->image_rank, MEMORY_MAX_TENSOR, d->err);
    d->caption_rank = memory_array(n_captions, sizeof *d->caption_rank, MEMORY_MAX_TENSOR, d->err);
    d->image_key = memory_array(n_images, DIGEST_BYTES, MEMORY_MAX_TENSOR, d->err);
    d->caption_key = memory_array(n_captions, DIGEST_BYTES, MEMORY_MAX_TENSOR, d->err);
    return d->image_rank && d->caption_rank && d->image_key && d->caption_key ? 0 : ERR_NOMEM;
}

int corpus_dump(struct corpus *c, int (*emit_line)(void *context, const char *line), void *context,
                struct error *err)
{
    struct dump d = {.c = c, .emit = emit_line, .context = context, .err = err};
    int rc = record_snapshot(c, err);
    if (rc == 0) rc = allocate(&d);
    for (int kind = 0; rc == 0 && kind < NAME_KINDS; kind++)
        rc = rank_names(&d, (enum corpus_name_kind)kind);
    if (rc == 0)
        rc = emit_by_key(&d, TABLE_IMAGE_KEYS, d.image_rank, corpus_n_images(c), emit_image);
    if (rc == 0)
        rc = emit_by_key(&d, TABLE_CAPTION_KEYS, d.caption_rank, corpus_n_captions(c),
                         emit_caption);
    if (rc == 0) rc = emit_pairs(&d);
    if (rc == 0) rc = keep_ids(&d);
    if (rc == 0) rc = emit_lines(&d);
    if (rc == 0) rc = emit_classes(&d);
    if (rc == 0) rc = corpus_each_reject(c, keep_reject, &d, err);
    if (rc == 0) rc = emit_lines(&d);
    while (d.n_lines) memory_free(d.lines[--d.n_lines]);
    memory_free(d.lines);
    for (int kind = 0; kind < NAME_KINDS; kind++) memory_free(d.name_rank[kind]);
    memory_free(d.caption_key);
    memory_free(d.image_key);
    memory_free(d.caption_rank);
    memory_free(d.image_rank);
    return rc;
}
