/* The canonical text of a feature set: sorted by (view, key), without numbers, clocks and paths, so
 * that two sets that hold the same are told equal by `diff`, whatever the order in which they were
 * filled. A view's lines are kept (84 bytes each) and sorted; codes are digested, not decoded. */
#include "store/featureset_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

/* One vector of the dump. */
struct line {
    uint8_t key[DIGEST_BYTES], code[DIGEST_BYTES]; /* code: SHA-256 of its bytes */
    uint32_t norm_bits;
    uint8_t kind;
};

struct lines {
    struct line *at;
    size_t n, capacity;
};

static int by_key(const void *a, const void *b)
{
    return memcmp(((const struct line *)a)->key, ((const struct line *)b)->key, DIGEST_BYTES);
}

static int add_lines(struct featureset_walk *w, struct lines *lines, const struct block *b,
                     featureset_key_of *key_of, void *context, struct error *err)
{
    for (uint32_t slot = 0; slot < w->fs->shape.n_slots; slot++) {
        if (b->kind[slot] == BLOCK_ABSENT) continue;
        uint32_t number = b->number * w->fs->shape.n_slots + slot;
        int rc = memory_grow(&lines->at, &lines->capacity, lines->n + 1, sizeof *lines->at,
                             MEMORY_MAX_TENSOR, err);
        if (rc < 0) return rc;
        struct line *line = &lines->at[lines->n++];
        if (!key_of(context, number, line->key) || block_check_of(line->key) != b->check[slot])
            return error_set(err, ERR_CORRUPT,
                             "feature set %s: record %u of view %u is not the corpus's: run verify",
                             w->fs->spec.name, number, b->view);
        block_code(b, &w->fs->shape, slot, w->code);
        line->kind = b->kind[slot];
        digest_of(w->code, codec_bytes(&w->fs->shape.codec, (enum codec_kind)line->kind),
                  line->code);
        memcpy(&line->norm_bits, &b->norm[slot], 4);
    }
    return 0;
}

/* The lines of one view, in order of blocks. */
static int read_view(struct featureset_walk *w, struct kv_txn *txn, uint32_t view,
                     struct lines *lines, featureset_key_of *key_of, void *context,
                     struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value;
    struct block b;
    uint8_t from[FEATURESET_KEY_BYTES];
    lines->n = 0;
    featureset_block_key(view, 0, from);
    int rc = kv_cursor_open(txn, FEATURESET_BLOCKS, &cur, err);
    if (rc == 0) rc = kv_cursor_seek(cur, from, sizeof from, &key, &value, err);
    while (rc > 0 && key.n == sizeof from && !memcmp(key.bytes, from, 4)) {
        uint32_t at_view, number;
        if (!featureset_read_block_key(&key, &at_view, &number)) break;
        rc = block_decode(&b, &w->fs->shape, view, number, value.bytes, value.n, w->plain, w->z,
                          err);
        if (rc == 0) rc = add_lines(w, lines, &b, key_of, context, err);
        if (rc == 0) rc = kv_cursor_next(cur, &key, &value, err);
    }
    kv_cursor_close(cur);
    return rc < 0 ? rc : 0;
}

static int emit_lines(const struct featureset *fs, uint32_t view, struct lines *lines,
                      int (*emit)(void *context, const char *line), void *context)
{
    static const char *const KINDS[] = {
        [CODEC_ZERO] = "zero", [CODEC_CODED] = "coded", [CODEC_RAW] = "raw"};
    char key[DIGEST_HEX], code[DIGEST_HEX], text[FEATURESET_NAME_MAX + 200];
    int rc = 0;
    if (lines->n) qsort(lines->at, lines->n, sizeof *lines->at, by_key);
    for (size_t i = 0; i < lines->n && rc >= 0; i++) {
        const struct line *line = &lines->at[i];
        digest_to_hex(line->key, key);
        digest_to_hex(line->code, code);
        snprintf(text, sizeof text, "vector %s %u %s %08x %s %s", fs->spec.name, view, key,
                 line->norm_bits, KINDS[line->kind], code);
        rc = emit(context, text);
    }
    return rc;
}

static int emit_head(const struct featureset *fs, struct kv_txn *txn,
                     int (*emit)(void *context, const char *line), void *context, struct error *err)
{
    static const char *const NAMES[] = {"spec", "fingerprint", "replay", "tokenizer"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        struct kv_bytes v;
        char hex[DIGEST_HEX];
        uint8_t digest[DIGEST_BYTES];
        int rc = featureset_meta_get(txn, NAMES[i], &v, err);
        if (rc < 0) return rc;
        digest_of(v.bytes, v.n, digest);
        digest_to_hex(digest, hex);
        bool is_text = i < 3;
        uint64_t size = FEATURESET_NAME_MAX + DIGEST_HEX + 32 + (is_text ? v.n : 0);
        char *text = memory_array(size, 1, MEMORY_MAX_FILE, err);
        if (!text) return ERR_NOMEM;
        snprintf(text, size, "set %s %s %.*s", fs->spec.name, NAMES[i],
                 is_text ? (int)v.n : DIGEST_HEX - 1, is_text ? (const char *)v.bytes : hex);
        rc = emit(context, text);
        memory_free(text);
        if (rc < 0) return rc;
    }
    return 0;
}

int featureset_dump(struct featureset *fs, featureset_key_of *key_of,
                    int (*emit)(void *context, const char *line), void *context, struct error *err)
{
    struct featureset_walk w = {0};
    struct lines lines = {0};
    struct kv_txn *txn = NULL;
    uint32_t n_views = featureset_n_views(fs);
    int rc = featureset_walk_init(&w, fs, err);
    if (rc == 0) rc = kv_begin_read(fs->kv, &txn, err);
    if (rc == 0) rc = emit_head(fs, txn, emit, context, err);
    for (uint32_t view = 0; view < n_views && rc >= 0; view++) {
        rc = read_view(&w, txn, view, &lines, key_of, context, err);
        if (rc == 0) rc = emit_lines(fs, view, &lines, emit, context);
    }
    kv_abort(txn);
    featureset_walk_release(&w);
    memory_free(lines.at);
    return rc < 0 ? rc : 0;
}
