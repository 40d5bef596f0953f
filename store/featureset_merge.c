/* Vectors of one feature set into another of the same fingerprint; see featureset_merge in
 * featureset.h.
 *
 * The giving set is walked block by block and unpacked to codes; batches of codes are put in the
 * order of their new numbers, so that a receiving block is packed once a batch, however the two
 * corpora number their records. Before a batch is put it is compared with what is there, which is
 * all that a check does. */
#include "store/featureset_inside.h"

#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

#define BATCH_BYTES ((uint64_t)64 << 20)
#define BATCH_LEAST 256

/* A merge under way. */
struct move {
    struct featureset *into, *from;
    bool check_only;
    featureset_place *place;
    void *context;
    struct featureset_merge_counts *counts;
    struct featureset_walk walk; /* of the giving set */
    struct featureset_walk have; /* of the receiving one */
    struct featureset_codes rows;
    size_t n, capacity;
    size_t *order;
};

static void release(struct move *m)
{
    featureset_walk_release(&m->walk);
    featureset_walk_release(&m->have);
    memory_free(m->rows.numbers);
    memory_free(m->rows.keys);
    memory_free(m->rows.kinds);
    memory_free(m->rows.norms);
    memory_free(m->rows.codes);
    memory_free(m->order);
}

static int init(struct move *m, struct error *err)
{
    size_t code = codec_capacity(&m->from->shape.codec);
    uint64_t n = BATCH_BYTES / code;
    m->capacity = n < BATCH_LEAST ? BATCH_LEAST : n > 65536 ? 65536 : (size_t)n;
    int rc = featureset_walk_init(&m->walk, m->from, err);
    if (rc == 0 && m->into) rc = featureset_walk_init(&m->have, m->into, err);
    if (rc < 0) return rc;
    struct featureset_codes *r = &m->rows;
    n = m->capacity;
    r->numbers = memory_array(n, sizeof *r->numbers, MEMORY_MAX_TENSOR, err);
    if (r->numbers) r->keys = memory_array(n, sizeof *r->keys, MEMORY_MAX_TENSOR, err);
    if (r->keys) r->kinds = memory_array(n, sizeof *r->kinds, MEMORY_MAX_TENSOR, err);
    if (r->kinds) r->norms = memory_array(n, sizeof *r->norms, MEMORY_MAX_TENSOR, err);
    if (r->norms) r->codes = memory_array(n, code, MEMORY_MAX_TENSOR, err);
    if (r->codes) m->order = memory_array(n, sizeof *m->order, MEMORY_MAX_TENSOR, err);
    return m->order ? 0 : ERR_NOMEM;
}

static int by_number(const void *a, const void *b, void *context)
{
    const uint32_t *numbers = context;
    uint32_t x = numbers[*(const size_t *)a], y = numbers[*(const size_t *)b];
    return (x > y) - (x < y);
}

static int differs(const struct move *m, uint32_t view, size_t row, struct error *err)
{
    char hex[DIGEST_HEX];
    digest_to_hex(m->rows.keys[row], hex);
    return error_set(
        err, ERR_EXISTS,
        "feature set %s has another vector for record %s in view %u than %s: equal "
        "fingerprints, but one of the two was computed otherwise; see clipstill verify "
        "--recompute",
        m->into->folder, hex, view, m->from->folder);
}

/* Row against the slot of a receiving block that has one. */
static bool is_equal(struct move *m, const struct block *b, uint32_t slot, size_t row)
{
    const struct codec *codec = &m->into->shape.codec;
    const uint8_t *code = m->rows.codes + row * codec_capacity(codec);
    int kind = b->kind[slot];
    if (kind != m->rows.kinds[row] ||
        memcmp(&b->norm[slot], &m->rows.norms[row], sizeof b->norm[slot]))
        return false;
    block_code(b, &m->into->shape, slot, m->have.code);
    return !memcmp(code, m->have.code, codec_bytes(codec, (enum codec_kind)kind));
}

/* Rows from..to of the order, which fall into one receiving block; how many of them are new, or an
 * error. */
static int compare_block(struct move *m, struct kv_txn *txn, uint32_t view, size_t from, size_t to,
                         struct error *err)
{
    const struct block_shape *shape = &m->into->shape;
    uint32_t number = m->rows.numbers[m->order[from]] / shape->n_slots;
    uint8_t key[FEATURESET_KEY_BYTES];
    struct kv_bytes record;
    struct block b;
    int n_new = 0;
    featureset_block_key(view, number, key);
    int rc = kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &record, err);
    if (rc <= 0) return rc < 0 ? rc : (int)(to - from);
    rc = block_decode(&b, shape, view, number, record.bytes, record.n, m->have.plain, m->have.z,
                      err);
    if (rc < 0) return featureset_name_error(m->into, rc, err);
    for (size_t i = from; i < to; i++) {
        size_t row = m->order[i];
        uint32_t slot = m->rows.numbers[row] % shape->n_slots;
        if (b.kind[slot] == BLOCK_ABSENT) {
            n_new++;
            continue;
        }
        if (b.check[slot] != block_check_of(m->rows.keys[row]))
            return error_set(
                err, ERR_CORRUPT,
                "feature set %s: record %u of view %u is stored under another key than "
                "the corpus gives it; run clipstill verify",
                m->into->folder, m->rows.numbers[row], view);
        if (!is_equal(m, &b, slot, row)) return differs(m, view, row, err);
    }
    return n_new;
}

/* The batch against what is there; counts. Returns how many rows are new. */
static int64_t compare(struct move *m, uint32_t view, struct error *err)
{
    struct kv_txn *txn = NULL;
    int64_t n_new = 0;
    if (!m->into) return (int64_t)m->n;
    uint32_t n_slots = m->into->shape.n_slots;
    for (size_t i = 0; i < m->n; i++) m->order[i] = i;
    qsort_r(m->order, m->n, sizeof *m->order, by_number, m->rows.numbers);
    int rc = kv_begin_read(m->into->kv, &txn, err);
    for (size_t from = 0, to; rc >= 0 && from < m->n; from = to) {
        uint32_t block = m->rows.numbers[m->order[from]] / n_slots;
        for (to = from; to < m->n && m->rows.numbers[m->order[to]] / n_slots == block;) to++;
        rc = compare_block(m, txn, view, from, to, err);
        if (rc > 0) n_new += rc;
    }
    kv_abort(txn);
    return rc < 0 ? rc : n_new;
}

static int flush(struct move *m, uint32_t view, const struct report *report, struct error *err)
{
    if (m->n == 0) return 0;
    int64_t n_new = compare(m, view, err);
    if (n_new < 0) return (int)n_new;
    if (!m->check_only && report_stopped(report))
        return error_set(err, ERR_STOPPED, "stopped; the same command goes on");
    if (n_new > 0 && !m->check_only) {
        int rc = featureset_put_codes(m->into, view, m->n, &m->rows, err);
        if (rc < 0) return rc;
    }
    m->counts->n_new += (uint64_t)n_new;
    m->counts->n_equal += m->n - (uint64_t)n_new;
    m->n = 0;
    return 0;
}

static int take_row(struct move *m, const struct block *b, uint32_t slot, struct error *err)
{
    const struct block_shape *shape = &m->from->shape;
    struct featureset_codes *r = &m->rows;
    uint32_t number = b->number * shape->n_slots + slot;
    int rc = m->place(m->context, number, &r->numbers[m->n], r->keys[m->n], err);
    if (rc < 0) return rc;
    if (rc == 0) {
        m->counts->n_left_out++;
        return 0;
    }
    if (block_check_of(r->keys[m->n]) != b->check[slot])
        return error_set(err, ERR_INCOMPATIBLE,
                         "feature set %s: its record %u of view %u is not the record %u of the "
                         "corpus: the set was made from another corpus, or its own is damaged",
                         m->from->folder, number, b->view, r->numbers[m->n]);
    r->kinds[m->n] = b->kind[slot];
    r->norms[m->n] = b->norm[slot];
    block_code(b, shape, slot, r->codes + m->n * codec_capacity(&shape->codec));
    m->n++;
    return 0;
}

static int take_block(struct move *m, const struct kv_bytes *key, const struct kv_bytes *value,
                      uint32_t *view, const struct report *report, struct error *err)
{
    struct block b;
    uint32_t number, of_view;
    if (!featureset_read_block_key(key, &of_view, &number))
        return error_set(err, ERR_CORRUPT, "feature set %s: a block has an impossible key",
                         m->from->folder);
    int rc = block_decode(&b, &m->from->shape, of_view, number, value->bytes, value->n,
                          m->walk.plain, m->walk.z, err);
    if (rc < 0) return featureset_name_error(m->from, rc, err);
    if (of_view != *view || m->n + m->from->shape.n_slots > m->capacity)
        rc = flush(m, *view, report, err);
    *view = of_view;
    for (uint32_t slot = 0; rc == 0 && slot < m->from->shape.n_slots; slot++)
        if (b.kind[slot] != BLOCK_ABSENT) rc = take_row(m, &b, slot, err);
    return rc;
}

static int walk(struct move *m, const struct report *report, struct error *err)
{
    struct kv_txn *txn = NULL;
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value;
    uint64_t total = 0, done = 0;
    uint32_t view = 0;
    int rc = kv_begin_read(m->from->kv, &txn, err);
    if (rc == 0) rc = kv_count(txn, FEATURESET_BLOCKS, &total, err);
    if (rc == 0) rc = kv_cursor_open(txn, FEATURESET_BLOCKS, &cur, err);
    if (rc == 0) rc = kv_cursor_first(cur, &key, &value, err);
    while (rc > 0) {
        rc = take_block(m, &key, &value, &view, report, err);
        if (rc < 0) break;
        report_progress(report, m->check_only ? "merge: check features" : "merge features", ++done,
                        total, 0, m->counts->n_equal);
        rc = kv_cursor_next(cur, &key, &value, err);
    }
    kv_cursor_close(cur);
    kv_abort(txn);
    return rc < 0 ? rc : flush(m, view, report, err);
}

int featureset_merge(struct featureset *into, struct featureset *from, bool check_only,
                     featureset_place *place, void *context, const struct report *report,
                     struct featureset_merge_counts *counts, struct error *err)
{
    struct move m = {.into = into,
                     .from = from,
                     .check_only = check_only,
                     .place = place,
                     .context = context,
                     .counts = counts};
    *counts = (struct featureset_merge_counts){0};
    if (into && (into->spec.dim != from->spec.dim || into->spec.grid != from->spec.grid ||
                 into->spec.tower != from->spec.tower || into->spec.storage != from->spec.storage ||
                 into->spec.epsilon != from->spec.epsilon))
        return error_set(err, ERR_INCOMPATIBLE,
                         "feature set %s has another tower, dimension, grid or storage than %s",
                         into->folder, from->folder);
    int rc = init(&m, err);
    if (rc == 0) rc = walk(&m, report, err);
    release(&m);
    return rc;
}
