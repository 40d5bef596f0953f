/* Verifying a feature set, in two passes. First a child process (store/sandbox.h) reads and unpacks
 * everything, so that a damaged map ends as a finding. When it found nothing, the pages are known
 * to be readable, and this process compares the keys with the corpus, which a child could not: it
 * must not read through its parent's maps. The child's part is serial: OpenMP's threads do not
 * survive a fork. */
#include "store/featureset_inside.h"

#include <stdio.h>
#include <string.h>

#include "store/file.h"
#include "store/memory.h"
#include "store/pages.h"
#include "store/recordname.h"
#include "store/sandbox.h"

#define MOST_KEYS_TOLD 10 /* of a set whose corpus was renumbered all are wrong */

struct verify {
    const char *cache, *name, *folder;
    uint32_t n_slots;
    struct part part;
    featureset_key_of *key_of;
    void (*finding)(void *context, const char *text);
    void *context;
};

/* One block: record, codes; counts what it holds. */
static void verify_block(struct featureset_walk *w, const struct part *part, struct sandbox *box,
                         const struct kv_bytes *key, const struct kv_bytes *value,
                         struct featureset_counts *seen)
{
    struct error err;
    struct block b;
    char name[RECORDNAME_TEXT];
    uint32_t view, number;
    seen->n_blocks++;
    if (!part_has_key(part, key->bytes, key->n)) return;
    seen->digest += featureset_block_checksum(value->bytes, value->n);
    if (!featureset_read_block_key(key, &view, &number)) {
        sandbox_finding(box, "a feature block is stored under an impossible key");
        return;
    }
    if (block_decode(&b, &w->fs->shape, view, number, value->bytes, value->n, w->plain, w->z,
                     &err) < 0) {
        recordname_block(*key, w->fs->shape.n_slots, name);
        sandbox_finding(box, "%s: %s", name, err.text);
        return;
    }
    seen->n_vectors[view] += b.n_present;
    for (uint32_t slot = 0; slot < w->fs->shape.n_slots; slot++) {
        if (b.kind[slot] == BLOCK_ABSENT) continue;
        block_code(&b, &w->fs->shape, slot, w->code);
        if (!codec_decode(&w->fs->shape.codec, (enum codec_kind)b.kind[slot], w->code, w->vector))
            sandbox_finding(box, "record %u of view %u: its code is no vector",
                            number * w->fs->shape.n_slots + slot, view);
    }
}

static void compare_counts(const struct part *part, struct sandbox *box,
                           const struct featureset_counts *want,
                           const struct featureset_counts *seen)
{
    if (!part_is_all(part)) {
        if (want->n_blocks != seen->n_blocks)
            sandbox_finding(box, "meta counts %llu blocks; the table holds %llu",
                            (unsigned long long)want->n_blocks, (unsigned long long)seen->n_blocks);
        return;
    }
    if (want->n_blocks != seen->n_blocks || want->digest != seen->digest)
        sandbox_finding(
            box,
            "meta counts %llu blocks with set digest %016llx; the table holds %llu with %016llx",
            (unsigned long long)want->n_blocks, (unsigned long long)want->digest,
            (unsigned long long)seen->n_blocks, (unsigned long long)seen->digest);
    for (uint32_t v = 0; v < FEATURESET_MAX_VIEWS; v++)
        if (want->n_vectors[v] != seen->n_vectors[v])
            sandbox_finding(box, "meta counts %llu vectors in view %u; the blocks hold %llu",
                            (unsigned long long)want->n_vectors[v], v,
                            (unsigned long long)seen->n_vectors[v]);
}

static int walk_blocks(struct featureset_walk *w, const struct part *part, struct kv_txn *txn,
                       struct sandbox *box, struct featureset_counts *seen, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value;
    uint64_t total = 0;
    char what[FEATURESET_NAME_MAX + 16];
    snprintf(what, sizeof what, "verify %s", w->fs->spec.name);
    int rc = kv_count(txn, FEATURESET_BLOCKS, &total, err);
    if (rc == 0) rc = kv_cursor_open(txn, FEATURESET_BLOCKS, &cur, err);
    if (rc == 0) rc = kv_cursor_first(cur, &key, &value, err);
    while (rc > 0) {
        verify_block(w, part, box, &key, &value, seen);
        sandbox_progress(box, what, seen->n_blocks, total);
        rc = kv_cursor_next(cur, &key, &value, err);
    }
    kv_cursor_close(cur);
    return rc;
}

/* A damaged page, in the words of the records it touches. */
struct damage_teller {
    struct sandbox *box;
    uint32_t n_slots;
};

static void on_damage(void *context, const struct pages_damage *d)
{
    const struct damage_teller *t = context;
    char name[RECORDNAME_TEXT] = "the file's structure";
    if (d->table == FEATURESET_BLOCKS) recordname_blocks(d->from, d->to, t->n_slots, name);
    if (d->table == FEATURESET_META) recordname_between(TABLE_META, d->from, d->to, name);
    sandbox_finding(t->box, "%s%s: page %llu %s", d->table == FEATURESET_META ? "meta, " : "", name,
                    (unsigned long long)d->page, d->why);
}

static int verify_pages(const struct verify *v, struct sandbox *box, struct error *err)
{
    struct pages *p = NULL;
    struct damage_teller teller = {box, v->n_slots};
    struct pages_visitor visitor = {&teller, NULL, on_damage};
    int rc = pages_open(&p, v->folder, featureset_tables, FEATURESET_TABLES, err);
    if (rc == 0) rc = pages_walk(p, &visitor, err);
    pages_close(p);
    return rc;
}

/* The child: opens the set anew and walks it. That it cannot be opened or walked is a finding as well. */
static int verify_child(void *context, struct sandbox *box, struct error *err)
{
    const struct verify *v = context;
    struct featureset *fs = NULL;
    struct featureset_walk w = {0};
    struct kv_txn *txn = NULL;
    struct kv_bytes tokenizer;
    struct featureset_counts *counts = memory_array(2, sizeof *counts, MEMORY_MAX_SMALL, err);
    if (!counts) return ERR_NOMEM;
    int rc = verify_pages(v, box, err);
    if (rc == 0) rc = featureset_open(&fs, v->cache, v->name, FEATURESET_READ, err);
    if (rc == 0) rc = featureset_walk_init(&w, fs, err);
    if (rc == 0) rc = kv_begin_read(fs->kv, &txn, err);
    if (rc == 0) rc = featureset_meta_get(txn, "tokenizer", &tokenizer, err);
    if (rc == 0) rc = featureset_counts_get(txn, &counts[0], err);
    if (rc == 0) rc = walk_blocks(&w, &v->part, txn, box, &counts[1], err);
    if (rc == 0) compare_counts(&v->part, box, &counts[0], &counts[1]);
    if (rc == ERR_CORRUPT || rc == ERR_INCOMPATIBLE) {
        sandbox_finding(box, "%s", err->text);
        rc = 0;
    }
    kv_abort(txn);
    featureset_walk_release(&w);
    featureset_close(fs);
    memory_free(counts);
    return rc;
}

/* A finding with the set's name before it. */
static void tell(void *context, const char *text)
{
    const struct verify *v = context;
    char line[1400];
    snprintf(line, sizeof line, "feature set %s: %.1200s", v->name, text);
    if (v->finding) v->finding(v->context, line);
}

/* Compares a block's keys with the corpus; returns the number of findings. */
static int compare_keys(const struct verify *v, const struct block *b, uint32_t n_slots,
                        int n_before)
{
    int n = 0;
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        uint8_t key[DIGEST_BYTES];
        char text[200];
        uint32_t number = b->number * n_slots + slot;
        if (b->kind[slot] == BLOCK_ABSENT) continue;
        bool known = v->key_of(v->context, number, key);
        if (known && block_check_of(key) == b->check[slot]) continue;
        snprintf(text, sizeof text,
                 known
                     ? "record %u of view %u is stored under another key than the corpus gives it"
                     : "record %u of view %u is not in the corpus (if it was forgotten, clipstill "
                       "gc takes it out)",
                 number, b->view);
        if (n_before + n < MOST_KEYS_TOLD) tell((void *)(uintptr_t)v, text);
        if (n_before + n == MOST_KEYS_TOLD)
            tell((void *)(uintptr_t)v, "more records: under other keys than the corpus gives them");
        n++;
    }
    return n;
}

/* The second pass. */
static int verify_keys(struct featureset *fs, const struct verify *v, struct error *err)
{
    struct kv_txn *txn = NULL;
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value;
    struct block b;
    int n = 0, rc = kv_begin_read(fs->kv, &txn, err);
    if (rc == 0) rc = kv_cursor_open(txn, FEATURESET_BLOCKS, &cur, err);
    if (rc == 0) rc = kv_cursor_first(cur, &key, &value, err);
    while (rc > 0) {
        uint32_t view, number;
        featureset_read_block_key(&key, &view,
                                  &number); /* checked by the first pass, as the block is below */
        if (!part_has_key(&v->part, key.bytes, key.n)) {
            rc = kv_cursor_next(cur, &key, &value, err);
            continue;
        }
        rc = block_decode(&b, &fs->shape, view, number, value.bytes, value.n, NULL, NULL, err);
        if (rc < 0) break;
        n += compare_keys(v, &b, fs->shape.n_slots, n);
        rc = kv_cursor_next(cur, &key, &value, err);
    }
    kv_cursor_close(cur);
    kv_abort(txn);
    return rc < 0 ? rc : n;
}

int featureset_verify_part(struct featureset *fs, struct part part, featureset_key_of *key_of,
                           void (*finding)(void *context, const char *text), void *context,
                           const struct report *report, struct error *err)
{
    struct kv_txn *txn = NULL; /* keeps the snapshot's pages in place */
    char *features = file_folder_of(fs->folder, err);
    char *cache = features ? file_folder_of(features, err) : NULL;
    struct verify v = {cache, fs->spec.name, fs->folder, fs->shape.n_slots,
                       part,  key_of,        finding,    context};
    int rc = cache ? kv_begin_read(fs->kv, &txn, err) : ERR_NOMEM;
    if (rc == 0) rc = sandbox_run(verify_child, &v, tell, &v, report, err);
    kv_abort(txn);
    if (rc == 0 && key_of) rc = verify_keys(fs, &v, err);
    memory_free(features);
    memory_free(cache);
    return rc;
}

/* In the child. */
static int verify_file(void *context, struct sandbox *box, struct error *err)
{
    int rc = verify_pages(context, box, err);
    if (rc != ERR_CORRUPT) return rc;
    sandbox_finding(box, "%s", err->text);
    return 0;
}

int featureset_verify_file(const char *cache, const char *name,
                           void (*finding)(void *context, const char *text), void *context,
                           const struct report *report, struct error *err)
{
    char *features = file_join(cache, "features", err);
    char *folder = features ? file_join(features, name, err) : NULL;
    struct verify v = {cache, name, folder, 0, {0}, NULL, finding, context};
    int rc = folder ? sandbox_run(verify_file, &v, tell, &v, report, err) : ERR_NOMEM;
    memory_free(features);
    memory_free(folder);
    return rc;
}

int featureset_verify(struct featureset *fs, featureset_key_of *key_of,
                      void (*finding)(void *context, const char *text), void *context,
                      const struct report *report, struct error *err)
{
    return featureset_verify_part(fs, (struct part){0}, key_of, finding, context, report, err);
}
