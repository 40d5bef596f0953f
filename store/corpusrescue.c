/* Adding what was found of a damaged corpus to a new one, with the calls that any ingest uses and in the
 * old order; see corpusrescue.h and salvage.h. */
#include "store/corpusrescue.h"

#include <stdlib.h>
#include <string.h>

#include "store/bytes.h"
#include "store/json.h"
#include "store/memory.h"

#define MAX_ID 4096

static int next_batch(struct corpus *c, struct error *err)
{
    if (corpus_batch_bytes(c) < SALVAGE_BATCH) return 0;
    int rc = corpus_commit(c, err);
    return rc < 0 ? rc : corpus_begin(c, err);
}

static int put_names(struct rescue *r, struct error *err)
{
    const struct found_list *l = &r->found[TABLE_NAMES];
    char name[4097];
    int rc = 0;
    memset(r->name_of, 0xff, sizeof r->name_of);
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        struct bytes_reader k = bytes_reader(l->at[i].key.bytes, l->at[i].key.n);
        unsigned kind = bytes_u8(&k), id = bytes_key_u16(&k);
        size_t n = l->at[i].value.n;
        if (!bytes_at_end(&k) || kind >= NAME_KINDS || id == CORPUS_NO_NAME || n >= sizeof name ||
            r->name_of[kind][id] != CORPUS_NO_NAME)
            continue;
        memcpy(name, l->at[i].value.bytes, n);
        name[n] = 0;
        rc = corpus_intern(r->c, (enum corpus_name_kind)kind, name, &r->name_of[kind][id], err);
    }
    return rc;
}

static bool are_its_bytes(const struct corpus_image *image, struct kv_bytes bytes)
{
    uint8_t digest[DIGEST_BYTES];
    if (bytes.n < image->n_bytes) return false;
    digest_of(bytes.bytes, image->n_bytes, digest);
    return !memcmp(digest, record_bytes_key(image), DIGEST_BYTES);
}

/* An image's bytes: under its number, or, when their leaf is gone, among the loose values that are as
 * many pages long. *at moves through found[TABLE_IMAGE_BYTES] with the numbers. */
static const uint8_t *find_bytes(const struct rescue *r, const struct corpus_image *image,
                                 const struct found *f, size_t *at)
{
    const struct found_list *l = &r->found[TABLE_IMAGE_BYTES];
    while (*at < l->n && memcmp(l->at[*at].key.bytes, f->key.bytes, 4) < 0) ++*at;
    for (size_t i = *at; i < l->n && !memcmp(l->at[i].key.bytes, f->key.bytes, 4); i++)
        if (l->at[i].value.n == image->n_bytes && are_its_bytes(image, l->at[i].value))
            return l->at[i].value.bytes;
    for (size_t i = 0; i < r->loose.n; i++) {
        struct kv_bytes v = r->loose.at[i].value;
        if (v.n >= image->n_bytes && v.n - image->n_bytes < 65536 && are_its_bytes(image, v))
            return v.bytes;
    }
    return NULL;
}

static int put_image(struct rescue *r, const struct found *f, uint32_t number, size_t *at,
                     struct error *err)
{
    struct corpus_image image;
    bool is_new;
    const uint8_t *bytes = NULL;
    if (record_decode_image(r->c, f->value, &image, NULL) < 0) return 0;
    size_t n = image.n_bytes;
    if (n && !(bytes = find_bytes(r, &image, f, at))) return 0;
    if (!n && image.is_reduced) return 0;
    return corpus_add_image_keyed(r->c, &image, bytes, n, &r->new_of[RESCUE_IMAGES][number],
                                  &is_new, err);
}

static int put_caption(struct rescue *r, const struct found *f, uint32_t number, struct error *err)
{
    uint8_t digest[DIGEST_BYTES];
    bool is_new;
    if (f->value.n <= DIGEST_BYTES) return 0;
    const char *text = (const char *)f->value.bytes + DIGEST_BYTES;
    size_t n = f->value.n - DIGEST_BYTES;
    digest_of(text, n, digest);
    if (n > 65535 || memcmp(digest, f->value.bytes, DIGEST_BYTES)) return 0;
    return corpus_add_caption(r->c, text, n, &r->new_of[RESCUE_CAPTIONS][number], &is_new, err);
}

/* Says which numbers have nothing, with their keys where the table of keys still knows them. */
static int tell_lost(struct rescue *r, int which, enum corpus_table keys, uint64_t *n_lost,
                     struct error *err)
{
    const struct found_list *l = &r->found[keys];
    uint64_t n = r->n_old[which];
    const uint8_t **key_of = memory_array(n, sizeof *key_of, MEMORY_MAX_TENSOR, err);
    if (!key_of) return ERR_NOMEM;
    for (size_t i = 0; i < l->n; i++) {
        struct bytes_reader body = bytes_reader(l->at[i].value.bytes, l->at[i].value.n);
        uint32_t number = bytes_u32(&body);
        if (bytes_at_end(&body) && number < n) key_of[number] = l->at[i].key.bytes;
    }
    for (uint64_t i = 0; i < n; i++) {
        char hex[DIGEST_HEX] = "unknown";
        if (r->new_of[which][i] != RESCUE_NO_NUMBER) continue;
        ++*n_lost;
        if (key_of[i]) digest_to_hex(key_of[i], hex);
        salvage_tell(r->box, r->n_told++, "corpus: %s %llu, key %s: lost",
                     which == RESCUE_IMAGES ? "image" : "caption", (unsigned long long)i, hex);
    }
    memory_free(key_of);
    return 0;
}

/* Images or captions, in the order of their numbers. */
static int put_numbered(struct rescue *r, int which, struct error *err)
{
    const struct found_list *l = &r->found[which == RESCUE_IMAGES ? TABLE_IMAGES : TABLE_CAPTIONS];
    uint64_t n = r->n_old[which];
    size_t at = 0;
    int rc = 0;
    r->new_of[which] = memory_array(n, sizeof *r->new_of[which], MEMORY_MAX_TENSOR, err);
    if (!r->new_of[which]) return ERR_NOMEM;
    memset(r->new_of[which], 0xff, n * sizeof *r->new_of[which]);
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        uint32_t number;
        if (!rescue_number(&l->at[i], &number) || number >= n ||
            r->new_of[which][number] != RESCUE_NO_NUMBER)
            continue;
        rc = which == RESCUE_IMAGES ? put_image(r, &l->at[i], number, &at, err)
                                    : put_caption(r, &l->at[i], number, err);
        if (rc == 0) rc = next_batch(r->c, err);
        sandbox_progress(r->box, "salvage", i + 1, l->n);
    }
    return rc;
}

/* Old ids and numbers to new ones; false when one of them is lost. */
static bool translate(const struct rescue *r, struct corpus_pair *p)
{
    if (p->image >= r->n_old[RESCUE_IMAGES] || p->caption >= r->n_old[RESCUE_CAPTIONS])
        return false;
    p->image = r->new_of[RESCUE_IMAGES][p->image];
    p->caption = r->new_of[RESCUE_CAPTIONS][p->caption];
    p->language = r->name_of[NAME_LANGUAGE][p->language];
    p->source = r->name_of[NAME_SOURCE][p->source];
    bool is_labelled = p->label != CORPUS_NO_NAME;
    if (is_labelled) p->label = r->name_of[NAME_LABEL][p->label];
    return p->image != RESCUE_NO_NUMBER && p->caption != RESCUE_NO_NUMBER &&
           p->language != CORPUS_NO_NAME && p->source != CORPUS_NO_NAME &&
           (!is_labelled || p->label != CORPUS_NO_NAME);
}

/* Of equal keys the first found is the newest. */
static bool is_repeated(const struct found_list *l, size_t i)
{
    const struct found *a = &l->at[i];
    return i && a[-1].key.n == a->key.n && !memcmp(a[-1].key.bytes, a->key.bytes, a->key.n);
}

static int put_pairs(struct rescue *r, struct error *err)
{
    const struct found_list *l = &r->found[TABLE_PAIRS];
    uint64_t n_before_loss = rescue_count(r, "table:pairs");
    int rc = 0;
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        struct corpus_pair p;
        struct kv_bytes original;
        bool is_new, changed;
        if (is_repeated(l, i) ||
            record_decode_pair(r->c, l->at[i].key, l->at[i].value, &p, &original, NULL) < 0)
            continue;
        if (!translate(r, &p)) {
            if (n_before_loss == 0) r->result->lost.n_pairs++;
            continue;
        }
        rc = corpus_add_pair(r->c, &p, (const char *)original.bytes, original.n, &is_new, &changed,
                             err);
        r->result->kept.n_pairs++;
        if (rc == 0) rc = next_batch(r->c, err);
    }
    if (n_before_loss > r->result->kept.n_pairs)
        r->result->lost.n_pairs = n_before_loss - r->result->kept.n_pairs;
    return rc;
}

/* The image of an id record, and the id with a NUL; false when the image or the source is lost. */
static bool read_id(const struct rescue *r, const struct found *f, char id[MAX_ID + 1],
                    uint16_t *source, uint32_t *number)
{
    struct bytes_reader k = bytes_reader(f->key.bytes, f->key.n);
    *source = r->name_of[NAME_SOURCE][bytes_key_u16(&k)];
    if (f->value.n < DIGEST_BYTES || f->value.n - DIGEST_BYTES > MAX_ID) return false;
    memcpy(id, f->value.bytes + DIGEST_BYTES, f->value.n - DIGEST_BYTES);
    id[f->value.n - DIGEST_BYTES] = 0;
    return *source != CORPUS_NO_NAME &&
           corpus_image_number(r->c, f->value.bytes, number, NULL) == 0;
}

/* Marks the images that still have the id they were registered by, when they have no bytes. The same
 * ingest would take one that has only its other ids for two images: it names it anew when it has none. */
static int mark_named(const struct rescue *r, uint8_t *is_named, struct error *err)
{
    const struct found_list *l = &r->found[TABLE_IDS];
    char id[MAX_ID + 1];
    struct corpus_image image;
    uint16_t source;
    int rc = 0;
    for (uint32_t i = 0; i < corpus_n_images(r->c) && rc == 0; i++) {
        rc = corpus_get_image(r->c, i, &image, err);
        is_named[i] = rc == 0 && image.n_bytes > 0;
    }
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        uint8_t key[DIGEST_BYTES];
        uint32_t number;
        if (!read_id(r, &l->at[i], id, &source, &number) || is_named[number]) continue;
        corpus_key_of_id(id, key);
        is_named[number] = !memcmp(key, l->at[i].value.bytes, DIGEST_BYTES);
    }
    return rc;
}

static int put_ids(struct rescue *r, struct error *err)
{
    const struct found_list *l = &r->found[TABLE_IDS];
    char id[MAX_ID + 1];
    uint16_t source;
    uint8_t *is_named = memory_array(corpus_n_images(r->c), 1, MEMORY_MAX_TENSOR, err);
    int rc = is_named ? mark_named(r, is_named, err) : ERR_NOMEM;
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        uint32_t number;
        if (is_repeated(l, i)) continue;
        if (!read_id(r, &l->at[i], id, &source, &number) || !is_named[number]) {
            r->result->lost.n_ids++;
            continue;
        }
        rc = corpus_add_id(r->c, source, id, l->at[i].value.bytes, err);
        r->result->kept.n_ids++;
        if (rc == 0) rc = next_batch(r->c, err);
    }
    memory_free(is_named);
    return rc;
}

static int put_rejects(struct rescue *r, struct error *err)
{
    const struct found_list *l = &r->found[TABLE_REJECTS];
    int rc = 0;
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        if (is_repeated(l, i)) continue;
        struct json *j = json_read((const char *)l->at[i].value.bytes, l->at[i].value.n, "reject",
                                   NULL);
        if (!j) continue;
        struct corpus_reject reject = {
            .source = json_text(json_get(j, "source"), NULL),
            .line = (uint64_t)json_int(json_get(j, "line"), 0),
            .byte_offset = (uint64_t)json_int(json_get(j, "byte_offset"), 0),
            .member = json_text(json_get(j, "member"), NULL),
            .reason = json_text(json_get(j, "reason"), NULL),
            .message = json_text(json_get(j, "message"), NULL),
            .record = json_text(json_get(j, "record"), NULL)};
        rc = corpus_add_reject(r->c, &reject, NULL, NULL, err);
        json_free(j);
        r->result->kept.n_rejects++;
    }
    return rc;
}

/* The class list and the caption rule. */
static int put_meta(struct rescue *r, struct error *err)
{
    static const char *const keys[] = {"caption_rule", "classes"};
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++) {
        const struct found *f = rescue_meta(r, keys[i]);
        char *text = f ? memory_copy(f->value.bytes, f->value.n, err) : NULL;
        if (!f) continue;
        if (!text) return ERR_NOMEM;
        rc = i ? corpus_set_classes(r->c, text, err) : corpus_set_caption_rule(r->c, text, err);
        memory_free(text);
    }
    return rc;
}

int rescue_put_all(struct rescue *r, struct error *err)
{
    struct salvage_result *result = r->result;
    int rc = corpus_begin(r->c, err);
    if (rc == 0) rc = put_meta(r, err);
    if (rc == 0) rc = put_names(r, err);
    if (rc == 0) rc = put_numbered(r, RESCUE_IMAGES, err);
    if (rc == 0) rc = tell_lost(r, RESCUE_IMAGES, TABLE_IMAGE_KEYS, &result->lost.n_images, err);
    if (rc == 0) rc = put_numbered(r, RESCUE_CAPTIONS, err);
    if (rc == 0)
        rc = tell_lost(r, RESCUE_CAPTIONS, TABLE_CAPTION_KEYS, &result->lost.n_captions, err);
    if (rc == 0) rc = put_pairs(r, err);
    if (rc == 0) rc = put_ids(r, err);
    if (rc == 0) rc = put_rejects(r, err);
    if (rc == 0) rc = corpus_commit(r->c, err);
    result->kept.n_images = corpus_n_images(r->c);
    result->kept.n_captions = corpus_n_captions(r->c);
    if (rc == 0 && result->lost.n_pairs)
        salvage_tell(r->box, r->n_told++, "corpus: %llu pairs: lost, or lost what they refer to",
                     (unsigned long long)result->lost.n_pairs);
    return rc;
}
