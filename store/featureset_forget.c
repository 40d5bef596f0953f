/* Vectors out of a feature set, and whole sets made anew or copied; see featureset.h. A block is
 * written again without the forgotten rows: codes are a pure function of their vector and are carried
 * over without decoding, so that neighbours stay as they are, bit for bit; a block that is left empty
 * goes. Serial: it is bound by the disk. */
#include "store/featureset_inside.h"

#include <string.h>

#include "store/memory.h"

#define BATCH_BYTES ((uint64_t)64 << 20) /* records written in a transaction */

struct forgetting {
    struct featureset *fs;
    const uint32_t *numbers; /* ascending */
    size_t n;
    struct featureset_walk w;
    uint8_t *codes;  // (n_slots, codec_capacity)
    uint8_t *record; /* record capacity */
    struct featureset_counts *counts;
    struct kv_txn *txn;
    uint64_t n_written; /* bytes in txn */
    uint64_t n_gone;
    bool dry_run;
};

static int begin(struct forgetting *f, struct error *err)
{
    if (f->txn) return 0;
    int rc = f->dry_run ? kv_begin_read(f->fs->kv, &f->txn, err)
                        : kv_begin_write(f->fs->kv, &f->txn, err);
    f->n_written = 0;
    return rc < 0 ? rc : featureset_counts_get(f->txn, f->counts, err);
}

static int commit(struct forgetting *f, struct error *err)
{
    struct featureset_counts *c = f->counts;
    if (!f->txn || f->dry_run || !f->n_written) return 0;
    while (c->n_views && !c->n_vectors[c->n_views - 1]) c->n_views--;
    int rc = featureset_counts_put(f->txn, c, err);
    if (rc < 0) return rc;
    rc = kv_commit(f->txn, err);
    f->txn = NULL;
    return rc;
}

/* The rows that stay; *n_gone: those of numbers[from..to) that were there. Returns their number. */
static uint32_t rows_left(struct forgetting *f, const struct block *b, size_t from, size_t to,
                          struct block_row *rows, uint32_t *n_gone)
{
    const struct block_shape *shape = &f->fs->shape;
    bool goes[BLOCK_MAX_SLOTS] = {false};
    uint32_t n = 0;
    *n_gone = 0;
    for (size_t i = from; i < to; i++) goes[f->numbers[i] % shape->n_slots] = true;
    for (uint32_t slot = 0; slot < shape->n_slots; slot++) {
        if (b->kind[slot] == BLOCK_ABSENT) continue;
        *n_gone += goes[slot];
        if (goes[slot]) continue;
        uint8_t *code = f->codes + slot * codec_capacity(&shape->codec);
        block_code(b, shape, slot, code);
        rows[n++] = (struct block_row){slot, b->kind[slot], b->norm[slot], b->check[slot], code};
    }
    return n;
}

/* Takes numbers[from..to), which lie in one block, out of a view. */
static int forget_in_block(struct forgetting *f, uint32_t view, size_t from, size_t to,
                           struct error *err)
{
    const struct block_shape *shape = &f->fs->shape;
    struct kv_bytes old;
    struct block b;
    struct block_row rows[BLOCK_MAX_SLOTS];
    uint8_t key[FEATURESET_KEY_BYTES];
    uint32_t number = f->numbers[from] / shape->n_slots, n_gone;
    int rc = begin(f, err);
    featureset_block_key(view, number, key);
    if (rc == 0) rc = kv_get(f->txn, FEATURESET_BLOCKS, key, sizeof key, &old, err);
    if (rc <= 0) return rc;
    rc = block_decode(&b, shape, view, number, old.bytes, old.n, f->w.plain, f->w.z, err);
    if (rc < 0) return rc;
    uint32_t n_left = rows_left(f, &b, from, to, rows, &n_gone);
    f->n_gone += n_gone;
    if (n_gone == 0 || f->dry_run) return 0;
    f->counts->digest -= featureset_block_checksum(old.bytes, old.n);
    f->counts->n_vectors[view] -= n_gone;
    f->counts->n_blocks -= n_left == 0;
    f->n_written += old.n;
    if (n_left == 0) return kv_delete(f->txn, FEATURESET_BLOCKS, key, sizeof key, err);
    int64_t n_record = block_encode(shape, view, number, rows, n_left, f->w.plain, f->w.z,
                                    f->record, err);
    if (n_record < 0) return (int)n_record;
    f->counts->digest += featureset_block_checksum(f->record, (size_t)n_record);
    return kv_put(f->txn, FEATURESET_BLOCKS, key, sizeof key, f->record, (size_t)n_record, err);
}

static int forget_in_view(struct forgetting *f, uint32_t view, struct error *err)
{
    uint32_t n_slots = f->fs->shape.n_slots;
    int rc = 0;
    for (size_t from = 0, to; rc == 0 && from < f->n; from = to) {
        for (to = from; to < f->n && f->numbers[to] / n_slots == f->numbers[from] / n_slots;) to++;
        rc = forget_in_block(f, view, from, to, err);
        if (rc == 0 && f->n_written >= BATCH_BYTES) rc = commit(f, err);
    }
    return rc;
}

int featureset_forget(struct featureset *fs, size_t n, const uint32_t *numbers, bool dry_run,
                      uint64_t *n_gone, struct error *err)
{
    const struct block_shape *shape = &fs->shape;
    struct forgetting f = {.fs = fs, .numbers = numbers, .n = n, .dry_run = dry_run};
    uint32_t n_views = featureset_n_views(fs);
    *n_gone = 0;
    if (!dry_run && fs->mode != FEATURESET_WRITE)
        return error_set(err, ERR_USAGE, "feature set %s is open for reading only", fs->folder);
    int rc = featureset_walk_init(&f.w, fs, err);
    if (rc < 0) return rc;
    f.counts = memory_array(1, sizeof *f.counts, MEMORY_MAX_SMALL, err);
    f.codes = memory_array(shape->n_slots, codec_capacity(&shape->codec), MEMORY_MAX_FILE, err);
    f.record = memory_array(block_record_capacity(shape), 1, MEMORY_MAX_FILE, err);
    rc = f.counts && f.codes && f.record ? 0 : ERR_NOMEM;
    for (uint32_t view = 0; rc == 0 && view < n_views; view++) rc = forget_in_view(&f, view, err);
    if (rc == 0) rc = commit(&f, err);
    kv_abort(f.txn);
    *n_gone = f.n_gone;
    memory_free(f.record);
    memory_free(f.codes);
    memory_free(f.counts);
    featureset_walk_release(&f.w);
    return featureset_name_error(fs, rc, err);
}

int featureset_replace_generation(struct featureset *fs, const struct report *report,
                                  struct generation_bytes *bytes, struct error *err)
{
    char what[FEATURESET_NAME_MAX + 8] = "gc ";
    if (fs->mode != FEATURESET_WRITE)
        return error_set(err, ERR_USAGE, "feature set %s is open for reading only", fs->folder);
    strcat(what, fs->spec.name);
    int rc = generation_replace(fs->kv, report, what, bytes, err);
    fs->mode = FEATURESET_READ;
    return rc;
}

int featureset_pin(struct featureset *fs, struct kv_txn **moment, struct error *err)
{
    return kv_begin_read(fs->kv, moment, err);
}

int featureset_copy(struct featureset *fs, struct kv_txn *moment, const char *folder,
                    const struct report *report, struct error *err)
{
    char what[FEATURESET_NAME_MAX + 16] = "snapshot ";
    strcat(what, fs->spec.name);
    return generation_copy(moment, folder, report, what, err);
}
