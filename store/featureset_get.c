/* Vectors out of a feature set: has, get, and the figures of its meta. Every call has a short
 * reading transaction of its own, so that a reader never holds back the file's space; what a cursor
 * keeps is unpacked copies. */
#include "store/featureset_inside.h"

#include <string.h>

#include "store/memory.h"

#define CURSOR_BYTES    ((size_t)64 << 20)
#define CURSOR_MAX_WAYS 256

static int key_mismatch(const struct featureset *fs, uint32_t view, uint32_t number,
                        struct error *err)
{
    return error_set(err, ERR_CORRUPT,
                     "feature set %s: record %u of view %u is stored under another key: the set "
                     "belongs to another "
                     "corpus, or one of the two is damaged",
                     fs->folder, number, view);
}

int featureset_has(struct featureset *fs, uint32_t view, size_t n, const uint32_t *numbers,
                   const uint8_t (*keys)[DIGEST_BYTES], uint8_t *has, struct error *err)
{
    struct kv_txn *txn = NULL;
    struct block b;
    uint32_t n_slots = fs->shape.n_slots, held = UINT32_MAX;
    bool is_there = false;
    int rc = kv_begin_read(fs->kv, &txn, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        uint32_t number = numbers[i] / n_slots, slot = numbers[i] % n_slots;
        if (number != held || i == 0) {
            uint8_t key[FEATURESET_KEY_BYTES];
            struct kv_bytes v;
            featureset_block_key(view, number, key);
            rc = kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &v, err);
            is_there = rc > 0;
            held = number;
            if (rc > 0)
                rc = block_decode(&b, &fs->shape, view, number, v.bytes, v.n, NULL, NULL, err);
            if (featureset_name_error(fs, rc, err) < 0) break;
        }
        has[i] = is_there && b.kind[slot] != BLOCK_ABSENT;
        if (has[i] && b.check[slot] != block_check_of(keys[i]))
            rc = key_mismatch(fs, view, numbers[i], err);
    }
    kv_abort(txn);
    return rc < 0 ? rc : 0;
}

/* A place for one unpacked block in a cursor. */
struct way {
    bool is_held;
    uint8_t *plain;
    struct block block;
};

struct featureset_cursor {
    struct featureset *fs;
    struct compress *z;
    uint8_t *code;
    uint32_t n_ways;
    struct way *ways;
    uint8_t *room; /* the ways' planes */
};

struct featureset_cursor *featureset_cursor_new(struct featureset *fs, struct error *err)
{
    struct featureset_cursor *cur = memory_array(1, sizeof *cur, MEMORY_MAX_SMALL, err);
    if (!cur) return NULL;
    size_t capacity = block_plain_capacity(&fs->shape), n = CURSOR_BYTES / capacity;
    cur->fs = fs;
    cur->n_ways = n < 1 ? 1 : n > CURSOR_MAX_WAYS ? CURSOR_MAX_WAYS : (uint32_t)n;
    cur->z = compress_new(err);
    if (cur->z) cur->code = memory_array(codec_capacity(&fs->shape.codec), 1, MEMORY_MAX_FILE, err);
    if (cur->code) cur->ways = memory_array(cur->n_ways, sizeof *cur->ways, MEMORY_MAX_FILE, err);
    if (cur->ways) cur->room = memory_room(cur->n_ways, capacity, MEMORY_MAX_FILE, err);
    for (uint32_t i = 0; i < cur->n_ways && cur->room; i++)
        cur->ways[i].plain = cur->room + i * capacity;
    if (cur->room) return cur;
    featureset_cursor_free(cur);
    return NULL;
}

void featureset_cursor_free(struct featureset_cursor *cur)
{
    if (!cur) return;
    compress_free(cur->z);
    memory_free_room(cur->room);
    memory_free(cur->code);
    memory_free(cur->ways);
    memory_free(cur);
}

/* The newest state of a block into its way; a block that is not there leaves is_held false. */
static int load(struct featureset_cursor *cur, struct way *way, uint32_t view, uint32_t number,
                struct error *err)
{
    struct featureset *fs = cur->fs;
    struct kv_txn *txn = NULL;
    struct kv_bytes v;
    uint8_t key[FEATURESET_KEY_BYTES];
    way->is_held = false;
    featureset_block_key(view, number, key);
    int rc = kv_begin_read(fs->kv, &txn, err);
    if (rc == 0) rc = kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &v, err);
    if (rc > 0) {
        rc = block_decode(&way->block, &fs->shape, view, number, v.bytes, v.n, way->plain, cur->z,
                          err);
        way->is_held = rc == 0;
        featureset_name_error(fs, rc, err);
    }
    kv_abort(txn);
    return rc;
}

int featureset_get(struct featureset_cursor *cur, uint32_t view, uint32_t number,
                   const uint8_t key[DIGEST_BYTES], float *out, float *norm, struct error *err)
{
    const struct featureset *fs = cur->fs;
    uint32_t block = number / fs->shape.n_slots, slot = number % fs->shape.n_slots;
    struct way *way = &cur->ways[(block + view * 31) % cur->n_ways];
    /* A slot that an unpacked block lacks may have come since: such a block is read again. */
    if (!way->is_held || way->block.view != view || way->block.number != block ||
        way->block.kind[slot] == BLOCK_ABSENT) {
        int rc = load(cur, way, view, block, err);
        if (rc < 0) return rc;
    }
    if (!way->is_held || way->block.kind[slot] == BLOCK_ABSENT)
        return error_set(err, ERR_NOT_FOUND, "feature set %s has no vector of record %u in view %u",
                         fs->folder, number, view);
    if (way->block.check[slot] != block_check_of(key)) return key_mismatch(fs, view, number, err);
    block_code(&way->block, &fs->shape, slot, cur->code);
    if (!codec_decode(&fs->shape.codec, (enum codec_kind)way->block.kind[slot], cur->code, out))
        return error_set(err, ERR_CORRUPT,
                         "feature set %s: the code of record %u in view %u is no vector",
                         fs->folder, number, view);
    if (norm) *norm = way->block.norm[slot];
    return 0;
}

static void read_counts(struct featureset *fs, struct featureset_counts *counts)
{
    struct kv_txn *txn = NULL;
    memset(counts, 0, sizeof *counts);
    if (kv_begin_read(fs->kv, &txn, NULL) == 0 && featureset_counts_get(txn, counts, NULL) < 0)
        memset(counts, 0, sizeof *counts);
    kv_abort(txn);
}

uint32_t featureset_n_views(struct featureset *fs)
{
    struct featureset_counts counts;
    read_counts(fs, &counts);
    return counts.n_views;
}

uint64_t featureset_n_vectors(struct featureset *fs, uint32_t view)
{
    struct featureset_counts counts;
    read_counts(fs, &counts);
    return view < counts.n_views ? counts.n_vectors[view] : 0;
}

void featureset_bytes(struct featureset *fs, uint64_t *stored, uint64_t *as_f32)
{
    struct featureset_counts counts;
    read_counts(fs, &counts);
    *stored = kv_file_bytes(fs->kv);
    *as_f32 = 0;
    for (uint32_t v = 0; v < counts.n_views; v++) *as_f32 += counts.n_vectors[v] * fs->spec.dim * 4;
}
