/* Salvaging a feature set; see salvage.h. Meta is copied as it stands, blocks are decoded and their
 * vectors put into blocks again with the codes they had, each under the number that the corpus now
 * gives its key. Numbers only ever move up together, so that blocks are filled in order. */
#include "store/salvage_inside.h"

#include <stdlib.h>
#include <string.h>

#include "store/featureset_inside.h"
#include "store/file.h"
#include "store/memory.h"

#define LAST_NUMBER UINT32_MAX

/* A record's 8-byte check and its number now. */
struct place {
    uint64_t check;
    uint32_t number;
};

struct set_rescue {
    const char *folder, *made; /* the damaged one; the new one */
    const char *name;
    struct place *places; // (n_places) by check, or NULL: numbers are kept
    uint64_t *check_of;   // (n_numbers)
    uint64_t n_places, n_numbers;
    struct found_list blocks, meta;
    struct featureset *fs; /* of the new one */
    struct featureset_walk walk;
    struct featureset_counts *counts;
    struct kv_txn *txn;
    uint64_t batch_bytes, n_told;
    /* the block that is being filled */
    bool is_open;
    uint32_t view, number, n_rows;
    struct block_row *rows; // (BLOCK_MAX_SLOTS)
    uint8_t *codes;         // (n_slots, codec_capacity)
    uint8_t *plain, *record;
    struct salvage_result *result;
    struct sandbox *box;
};

static int collect(void *context, const struct pages_record *record, struct error *err)
{
    struct set_rescue *r = context;
    struct kv_bytes key = record->key, value = record->value;
    uint32_t view, number;
    if (record->table == FEATURESET_META || (record->table == PAGES_NO_TABLE && key.n != 8)) {
        if (key.n) return found_add(&r->meta, key, value, err);
    }
    size_t n = block_record_bytes(value.bytes, value.n, &view, &number);
    if (!n) /* "tokenizer" has 9 bytes, "replay" 6: no other name has 8 */
        return key.n == 0 ? 0 : found_add(&r->meta, key, value, err);
    if (key.n == 0)
        key = (struct kv_bytes){value.bytes + 8, 8}; /* any key of 8 bytes: it is decoded below */
    return found_add(&r->blocks, key, (struct kv_bytes){value.bytes, n}, err);
}

/* What a page that is free now told of the set: it never changes. */
static int collect_meta(void *context, const struct pages_record *record, struct error *err)
{
    struct set_rescue *r = context;
    if (record->key.n == 0 || record->key.n == 8) return 0;
    return found_add(&r->meta, record->key, record->value, err);
}

static bool is_sound(const struct found *f)
{
    uint64_t sum;
    if (f->value.n < sizeof sum) return false;
    size_t n = f->value.n - sizeof sum;
    memcpy(&sum, f->value.bytes + n, sizeof sum);
    return sum == (digest_short(f->key.bytes, f->key.n) ^ digest_short(f->value.bytes, n));
}

static bool is_key(const struct found *f, const char *name)
{
    return f->key.n == strlen(name) && !memcmp(f->key.bytes, name, f->key.n);
}

/* The set's meta as it was, but for the counts. 0 with is_gone when a part of it is beyond repair. */
static int put_meta(struct set_rescue *r, struct error *err)
{
    static const char *const needed[] = {"format", "spec", "fingerprint", "replay", "tokenizer"};
    static const struct featureset_counts nothing;
    struct kv_bytes have;
    int rc = featureset_counts_put(r->txn, &nothing, err);
    for (size_t i = 0; i < r->meta.n && rc >= 0; i++) {
        const struct found *f = &r->meta.at[i];
        if (!is_sound(f) || is_key(f, "counts")) continue;
        rc = kv_get(r->txn, FEATURESET_META, f->key.bytes, f->key.n, &have, err);
        if (rc == 0)
            rc = kv_put(r->txn, FEATURESET_META, f->key.bytes, f->key.n, f->value.bytes, f->value.n,
                        err);
    }
    for (size_t i = 0; i < sizeof needed / sizeof *needed && rc >= 0; i++) {
        rc = kv_get(r->txn, FEATURESET_META, needed[i], strlen(needed[i]), &have, err);
        if (rc != 0) continue;
        r->result->is_gone = true;
        salvage_tell(r->box, r->n_told++,
                     "\"%s\" of its meta is lost: nothing can be kept; featurize makes it again",
                     needed[i]);
    }
    return rc < 0 ? rc : 0;
}

static int by_check(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->check != y->check) return x->check < y->check ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* The number that a vector has now, or LAST_NUMBER. */
static uint32_t place_of(const struct set_rescue *r, uint64_t check, uint32_t old)
{
    if (!r->places) return old;
    if (old < r->n_numbers && r->check_of[old] == check) return old;
    uint64_t low = 0, high = r->n_places;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (r->places[middle].check < check)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_there = low < r->n_places && r->places[low].check == check;
    return is_there ? r->places[low].number : LAST_NUMBER;
}

/* Writes the block that is being filled. */
static int flush(struct set_rescue *r, struct error *err)
{
    uint8_t key[FEATURESET_KEY_BYTES];
    struct kv_bytes old;
    if (!r->is_open) return 0;
    r->is_open = false;
    featureset_block_key(r->view, r->number, key);
    int rc = kv_get(r->txn, FEATURESET_BLOCKS, key, sizeof key, &old, err);
    if (rc < 0) return rc;
    if (rc > 0) { /* keys out of their old order: nothing is written over */
        r->result->lost.n_vectors += r->n_rows;
        return 0;
    }
    int64_t n = block_encode(&r->fs->shape, r->view, r->number, r->rows, r->n_rows, r->plain,
                             r->walk.z, r->record, err);
    if (n < 0) return (int)n;
    rc = kv_put(r->txn, FEATURESET_BLOCKS, key, sizeof key, r->record, (size_t)n, err);
    if (rc < 0) return rc;
    r->counts->n_blocks++;
    r->counts->digest += featureset_block_checksum(r->record, (size_t)n);
    r->counts->n_vectors[r->view] += r->n_rows;
    if (r->counts->n_views <= r->view) r->counts->n_views = r->view + 1;
    r->result->kept.n_vectors += r->n_rows;
    r->batch_bytes += (uint64_t)n;
    if (r->batch_bytes < SALVAGE_BATCH) return 0;
    r->batch_bytes = 0;
    rc = featureset_counts_put(r->txn, r->counts, err);
    if (rc < 0) return rc;
    rc = kv_commit(r->txn, err);
    r->txn = NULL;
    return rc < 0 ? rc : kv_begin_write(r->fs->kv, &r->txn, err);
}

/* A vector into the block it belongs to now. */
static int put_vector(struct set_rescue *r, const struct block *b, uint32_t slot, struct error *err)
{
    const struct block_shape *shape = &r->fs->shape;
    uint32_t old = b->number * shape->n_slots + slot, now = place_of(r, b->check[slot], old);
    enum codec_kind kind = (enum codec_kind)b->kind[slot];
    block_code(b, shape, slot, r->walk.code);
    if (now == LAST_NUMBER || !codec_decode(&shape->codec, kind, r->walk.code, r->walk.vector)) {
        r->result->lost.n_vectors++;
        return 0;
    }
    uint32_t number = now / shape->n_slots, at = now % shape->n_slots;
    int rc = 0;
    if (r->is_open && (r->view != b->view || r->number != number)) rc = flush(r, err);
    if (rc < 0) return rc;
    if (!r->is_open) r->n_rows = 0;
    r->is_open = true;
    r->view = b->view;
    r->number = number;
    if (r->n_rows && r->rows[r->n_rows - 1].slot >= at) { /* there already */
        r->result->lost.n_vectors++;
        return 0;
    }
    size_t n_code = codec_capacity(&shape->codec);
    uint8_t *code = r->codes + r->n_rows * n_code;
    memcpy(code, r->walk.code, n_code);
    r->rows[r->n_rows++] = (struct block_row){at, kind, b->norm[slot], b->check[slot], code};
    return 0;
}

/* The records of one view and number, of which there is one, or there are older ones beside it: the
 * fullest is the newest. NULL when none is sound. */
static const struct found *best_of(struct set_rescue *r, size_t from, size_t to, struct block *b)
{
    const struct found *best = NULL;
    uint32_t most = 0, view, number;
    for (size_t i = from; i < to; i++) {
        const struct found *f = &r->blocks.at[i];
        block_record_bytes(f->value.bytes, f->value.n, &view, &number);
        if (view >= FEATURESET_MAX_VIEWS ||
            block_decode(b, &r->fs->shape, view, number, f->value.bytes, f->value.n, NULL, NULL,
                         NULL) < 0 ||
            b->n_present <= most)
            continue;
        most = b->n_present;
        best = f;
    }
    return best;
}

static int put_blocks(struct set_rescue *r, struct error *err)
{
    struct found_list *l = &r->blocks;
    struct block b;
    int rc = 0;
    for (size_t i = 0, next = 0; i < l->n && rc == 0; i = next) {
        uint32_t view, number;
        for (next = i + 1; next < l->n && !memcmp(l->at[i].key.bytes, l->at[next].key.bytes, 8);)
            next++;
        const struct found *f = best_of(r, i, next, &b);
        block_record_bytes(l->at[i].value.bytes, l->at[i].value.n, &view, &number);
        if (!f || block_decode(&b, &r->fs->shape, view, number, f->value.bytes, f->value.n,
                               r->walk.plain, r->walk.z, NULL) < 0) {
            salvage_tell(r->box, r->n_told++, "block %u of view %u: lost", number, view);
            continue;
        }
        for (uint32_t slot = 0; slot < r->fs->shape.n_slots && rc == 0; slot++)
            if (b.kind[slot] != BLOCK_ABSENT) rc = put_vector(r, &b, slot, err);
        sandbox_progress(r->box, "salvage", next, l->n);
    }
    return rc == 0 ? flush(r, err) : rc;
}

/* Every block under the key that its own head gives: where it lay says nothing. Owned by the child's
 * end. */
static int rekey(struct found_list *l, struct error *err)
{
    uint8_t(*keys)[FEATURESET_KEY_BYTES] = memory_array(l->n, sizeof *keys, MEMORY_MAX_TENSOR, err);
    if (!keys) return ERR_NOMEM;
    for (size_t i = 0; i < l->n; i++) {
        uint32_t view, number;
        block_record_bytes(l->at[i].value.bytes, l->at[i].value.n, &view, &number);
        featureset_block_key(view, number, keys[i]);
        l->at[i].key = (struct kv_bytes){keys[i], sizeof keys[i]};
    }
    found_sort(l);
    return 0;
}

/* What blocks are made with. */
static int make_scratch(struct set_rescue *r, struct error *err)
{
    const struct block_shape *s = &r->fs->shape;
    int rc = featureset_walk_init(&r->walk, r->fs, err);
    if (rc < 0) return rc;
    r->rows = memory_array(BLOCK_MAX_SLOTS, sizeof *r->rows, MEMORY_MAX_SMALL, err);
    if (r->rows)
        r->codes = memory_array(s->n_slots, codec_capacity(&s->codec), MEMORY_MAX_FILE, err);
    if (r->codes) r->plain = memory_array(block_plain_capacity(s), 1, MEMORY_MAX_FILE, err);
    if (r->plain) r->record = memory_array(block_record_capacity(s), 1, MEMORY_MAX_FILE, err);
    return r->record ? rekey(&r->blocks, err) : ERR_NOMEM;
}

/* The new environment, from meta to its last block. */
static int build(struct set_rescue *r, struct error *err)
{
    struct kv_config config = {KV_WRITE, featureset_tables, FEATURESET_TABLES, 0};
    r->fs = memory_array(1, sizeof *r->fs, MEMORY_MAX_SMALL, err);
    r->counts = memory_array(1, sizeof *r->counts, MEMORY_MAX_SMALL, err);
    if (!r->fs || !r->counts) return ERR_NOMEM;
    strcpy(r->fs->spec.name, r->name);
    int rc = kv_open(&r->fs->kv, r->made, &config, err);
    if (rc == 0) rc = kv_begin_write(r->fs->kv, &r->txn, err);
    if (rc == 0) rc = put_meta(r, err);
    if (rc < 0 || r->result->is_gone) return rc;
    rc = featureset_spec_get(r->txn, r->fs, err);
    if (rc == 0) rc = make_scratch(r, err);
    if (rc == 0) rc = put_blocks(r, err);
    if (rc == 0) rc = featureset_counts_put(r->txn, r->counts, err);
    if (rc < 0) return rc;
    rc = kv_commit(r->txn, err);
    r->txn = NULL;
    return rc;
}

static uint64_t n_vectors_before(const struct set_rescue *r)
{
    uint64_t n = 0, x;
    for (size_t i = 0; i < r->meta.n; i++) {
        const struct found *f = &r->meta.at[i];
        if (!is_key(f, "counts") || !is_sound(f)) continue;
        for (size_t at = 16; at + 16 <= f->value.n; at += 8) {
            memcpy(&x, f->value.bytes + at, 8);
            n += x;
        }
        break;
    }
    return n;
}

/* In the child. */
static int rescue(void *context, struct salvage_result *result, struct sandbox *box,
                  struct error *err)
{
    struct set_rescue *r = context;
    struct pages *p = NULL;
    struct pages_visitor all = {r, collect, NULL}, meta = {r, collect_meta, NULL};
    r->result = result;
    r->box = box;
    int rc = pages_open(&p, r->folder, featureset_tables, FEATURESET_TABLES, err);
    if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND) { /* not two pages are left */
        result->is_gone = true;
        return 0;
    }
    if (rc == 0) rc = pages_walk(p, &all, err);
    if (rc == 0) rc = pages_strays(p, &all, false, err);
    if (rc == 0) rc = pages_strays(p, &meta, true, err);
    if (rc == 0) rc = build(r, err);
    kv_abort(r->txn);
    if (r->fs) kv_close(r->fs->kv);
    uint64_t before = n_vectors_before(r);
    if (before > result->kept.n_vectors) result->lost.n_vectors = before - result->kept.n_vectors;
    pages_close(p);
    return rc; /* the process ends, and its memory with it */
}

/* Where each record of the corpus is now: a child must not read through its parent's maps. */
static int note_places(struct set_rescue *r, featureset_key_of *key_of, void *context, uint32_t n,
                       struct error *err)
{
    r->n_numbers = n;
    r->places = memory_array(n, sizeof *r->places, MEMORY_MAX_TENSOR, err);
    r->check_of = memory_array(n, sizeof *r->check_of, MEMORY_MAX_TENSOR, err);
    if (!r->places || !r->check_of) return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t key[DIGEST_BYTES];
        if (!key_of(context, i, key)) continue;
        r->check_of[i] = block_check_of(key);
        r->places[r->n_places++] = (struct place){r->check_of[i], i};
    }
    qsort(r->places, r->n_places, sizeof *r->places, by_check);
    return 0;
}

int salvage_featureset(const struct salvage *how, const char *name, featureset_key_of *key_of,
                       void *key_context, uint32_t n_numbers, struct salvage_result *result,
                       struct error *err)
{
    struct set_rescue r = {.name = name};
    char *features = file_join(how->cache, "features", err);
    char *made_in = file_join(how->cache, SALVAGE_FOLDER "/features", err);
    char *folder = features ? file_join(features, name, err) : NULL;
    char *made = made_in ? file_join(made_in, name, err) : NULL;
    int rc = folder && made ? 0 : ERR_NOMEM;
    r.folder = folder;
    r.made = made;
    if (rc == 0 && key_of) rc = note_places(&r, key_of, key_context, n_numbers, err);
    if (rc == 0) rc = salvage_run(how, folder, made, name, rescue, &r, result, err);
    memory_free(r.places);
    memory_free(r.check_of);
    memory_free(features);
    memory_free(made_in);
    memory_free(folder);
    memory_free(made);
    return rc;
}
