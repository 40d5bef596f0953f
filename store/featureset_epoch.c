/* Windows of blocks, unpacked in parallel and handed out row by row; see featureset_epoch.h.
 *
 * A window keeps codes, not floats: half the memory, and a row is decoded into the caller's buffer
 * when it is asked for, while its code is read at random from a near memory. Scratch is made at opening;
 * inside a parallel region nothing is allocated. */
#include "store/featureset_epoch.h"

#include <omp.h>
#include <string.h>

#include "store/featureset_inside.h"
#include "store/memory.h"
#include "store/readahead.h"

/* A vector of the window that waits. */
struct row {
    const uint8_t *code;
    uint64_t check;
    uint32_t number;
    float norm;
    uint8_t kind; /* enum codec_kind */
    bool is_bad;  /* its code is no vector */
};

/* A block of the window. */
struct slot {
    struct kv_bytes record; /* borrowed while the window is read */
    uint8_t *codes;         // (n_slots, codec_capacity): coded ones, then raw ones
    struct block block;
    int rc;
    struct error err;
};

struct worker {
    struct compress *z;
    uint8_t *plain;
};

struct featureset_epoch {
    struct featureset *fs;
    struct featureset_epoch_options o;
    uint32_t *blocks; /* numbers, in the epoch's order */
    size_t n_blocks, block_at;
    const uint8_t *from, *end; /* where the records lay at opening */
    struct slot *slots;        // (window)
    struct row *rows;          // (window * n_slots)
    size_t n_rows, row_at;
    int n_workers;
    struct worker *workers;
};

/* splitmix64's finaliser over what the draw depends on. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + 0x9e3779b97f4a7c15u * (b + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* What Fisher and Yates draw at step i, 0..i. */
static size_t draw(uint64_t stream, size_t i)
{
    return (size_t)(((mix(stream, i) >> 32) * (uint64_t)(i + 1)) >> 32);
}

static uint64_t stream_of(const struct featureset_epoch *e, uint64_t what)
{
    return mix(mix(mix(0, e->o.seed), e->o.epoch), what);
}

static int list_blocks(struct featureset_epoch *e, struct kv_txn *txn, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes k, v;
    size_t capacity = 0;
    uint8_t from[FEATURESET_KEY_BYTES];
    featureset_block_key(e->o.view, 0, from);
    int rc = kv_cursor_open(txn, FEATURESET_BLOCKS, &cur, err);
    if (rc < 0) return rc;
    for (rc = kv_cursor_seek(cur, from, sizeof from, &k, &v, err); rc > 0;
         rc = kv_cursor_next(cur, &k, &v, err)) {
        uint32_t view, number;
        if (!featureset_read_block_key(&k, &view, &number) || view != e->o.view) break;
        if (memory_grow(&e->blocks, &capacity, e->n_blocks + 1, sizeof *e->blocks,
                        MEMORY_MAX_TENSOR, err) < 0) {
            rc = ERR_NOMEM;
            break;
        }
        e->blocks[e->n_blocks++] = number;
        if (!e->from || v.bytes < e->from) e->from = v.bytes;
        if (!e->end || v.bytes + v.n > e->end) e->end = v.bytes + v.n;
    }
    kv_cursor_close(cur);
    return rc < 0 ? rc : 0;
}

static void shuffle_blocks(struct featureset_epoch *e)
{
    uint64_t stream = stream_of(e, 0);
    for (size_t i = e->n_blocks; i-- > 1;) {
        size_t j = draw(stream, i);
        uint32_t kept = e->blocks[i];
        e->blocks[i] = e->blocks[j];
        e->blocks[j] = kept;
    }
}

static void shuffle_rows(struct featureset_epoch *e, size_t window)
{
    uint64_t stream = stream_of(e, 1 + window);
    for (size_t i = e->n_rows; i-- > 1;) {
        size_t j = draw(stream, i);
        struct row kept = e->rows[i];
        e->rows[i] = e->rows[j];
        e->rows[j] = kept;
    }
}

static int make_room(struct featureset_epoch *e, struct error *err)
{
    const struct block_shape *shape = &e->fs->shape;
    e->n_workers = omp_get_max_threads();
    e->workers = memory_array((uint64_t)e->n_workers, sizeof *e->workers, MEMORY_MAX_FILE, err);
    e->slots = memory_array(e->o.window, sizeof *e->slots, MEMORY_MAX_FILE, err);
    e->rows = memory_array(e->o.window, shape->n_slots * sizeof *e->rows, MEMORY_MAX_FILE, err);
    if (!e->workers || !e->slots || !e->rows) return ERR_NOMEM;
    for (int i = 0; i < e->n_workers; i++) {
        struct worker *w = &e->workers[i];
        w->z = compress_new(err);
        if (!w->z) return ERR_NOMEM;
        w->plain = memory_array(block_plain_capacity(shape), 1, MEMORY_MAX_FILE, err);
        if (!w->plain) return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < e->o.window; i++) {
        e->slots[i].codes = memory_array(shape->n_slots, codec_capacity(&shape->codec),
                                         MEMORY_MAX_FILE, err);
        if (!e->slots[i].codes) return ERR_NOMEM;
    }
    return 0;
}

int featureset_epoch_open(struct featureset_epoch **out, struct featureset *fs,
                          const struct featureset_epoch_options *o, struct error *err)
{
    struct kv_txn *txn = NULL;
    *out = NULL;
    if (o->window > FEATURESET_EPOCH_MAX_WINDOW)
        return error_set(err, ERR_USAGE, "a window of %u blocks: expected at most %d", o->window,
                         FEATURESET_EPOCH_MAX_WINDOW);
    struct featureset_epoch *e = memory_array(1, sizeof *e, MEMORY_MAX_SMALL, err);
    if (!e) return ERR_NOMEM;
    e->fs = fs;
    e->o = *o;
    if (!e->o.window)
        e->o.window = o->in_order ? (uint32_t)omp_get_max_threads() : FEATURESET_EPOCH_WINDOW;
    int rc = kv_begin_read(fs->kv, &txn, err);
    if (rc == 0) rc = list_blocks(e, txn, err);
    kv_abort(txn);
    if (rc == 0 && e->n_blocks < e->o.window) e->o.window = (uint32_t)e->n_blocks;
    if (rc == 0) rc = make_room(e, err);
    if (rc < 0) {
        featureset_epoch_close(e);
        return featureset_name_error(fs, rc, err);
    }
    if (!o->in_order) shuffle_blocks(e);
    if (!o->in_order) readahead_at_random(e->from, e->end, true);
    *out = e;
    return 0;
}

void featureset_epoch_close(struct featureset_epoch *e)
{
    if (!e) return;
    if (!e->o.in_order) readahead_at_random(e->from, e->end, false);
    for (int i = 0; e->workers && i < e->n_workers; i++) {
        compress_free(e->workers[i].z);
        memory_free(e->workers[i].plain);
    }
    for (uint32_t i = 0; e->slots && i < e->o.window; i++) memory_free(e->slots[i].codes);
    memory_free(e->blocks);
    memory_free(e->slots);
    memory_free(e->rows);
    memory_free(e->workers);
    memory_free(e);
}

/* Records of n blocks from `at`; only asked of the disk when slots is NULL. */
static int find_records(struct featureset_epoch *e, struct kv_txn *txn, size_t at, size_t n,
                        struct slot *slots, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t key[FEATURESET_KEY_BYTES];
        struct kv_bytes v;
        featureset_block_key(e->o.view, e->blocks[at + i], key);
        int rc = kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &v, err);
        if (rc < 0) return rc;
        if (rc == 0 && slots)
            return error_set(err, ERR_NOT_FOUND,
                             "block %u of view %u has gone while the set was being read: another "
                             "process took it away; read again",
                             e->blocks[at + i], e->o.view);
        if (rc > 0) readahead_ask(v.bytes, v.n);
        if (slots) slots[i].record = v;
    }
    return 0;
}

static void unpack(const struct featureset_epoch *e, struct worker *w, struct slot *s,
                   uint32_t number)
{
    const struct block_shape *shape = &e->fs->shape;
    s->rc = block_decode(&s->block, shape, e->o.view, number, s->record.bytes, s->record.n,
                         w->plain, w->z, &s->err);
    if (s->rc < 0) return;
    block_codes(&s->block, shape, CODEC_CODED, s->codes);
    block_codes(&s->block, shape, CODEC_RAW,
                s->codes + s->block.n_coded * codec_bytes(&shape->codec, CODEC_CODED));
}

/* Rows of an unpacked block, in order of slots. */
static void append_rows(struct featureset_epoch *e, const struct slot *s)
{
    const struct block_shape *shape = &e->fs->shape;
    const struct block *b = &s->block;
    size_t coded = codec_bytes(&shape->codec, CODEC_CODED);
    size_t raw = codec_bytes(&shape->codec, CODEC_RAW);
    for (uint32_t i = 0; i < shape->n_slots; i++) {
        if (b->kind[i] == BLOCK_ABSENT) continue;
        const uint8_t *code = b->kind[i] == CODEC_RAW
                                  ? s->codes + b->n_coded * coded + b->rank[i] * raw
                                  : s->codes + b->rank[i] * coded;
        e->rows[e->n_rows++] = (struct row){.code = code,
                                            .check = b->check[i],
                                            .number = b->number * shape->n_slots + i,
                                            .norm = b->norm[i],
                                            .kind = b->kind[i]};
    }
}

/* The next window, unpacked, its rows in the epoch's order. */
static int fill(struct featureset_epoch *e, struct error *err)
{
    struct kv_txn *txn = NULL;
    size_t at = e->block_at, left = e->n_blocks - at, window = at / (e->o.window ? e->o.window : 1);
    size_t n = left < e->o.window ? left : e->o.window, ahead = left - n < n ? left - n : n;
    struct slot *slots = e->slots;
    e->n_rows = e->row_at = 0;
    int rc = kv_begin_read(e->fs->kv, &txn, err);
    if (rc < 0) return rc;
    rc = find_records(e, txn, at, n, slots, err);
    if (rc == 0) rc = find_records(e, txn, at + n, ahead, NULL, err);
    if (rc < 0) goto done;
#pragma omp parallel for schedule(dynamic) num_threads(e->n_workers) default(none)                 \
    shared(e, slots, n, at)
    for (size_t i = 0; i < n; i++)
        unpack(e, &e->workers[omp_get_thread_num()], &slots[i], e->blocks[at + i]);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = slots[i].rc;
        if (rc < 0 && err) *err = slots[i].err;
        if (rc == 0) append_rows(e, &slots[i]);
    }
    if (rc == 0 && !e->o.in_order) shuffle_rows(e, window);
    e->block_at = at + n;
done:
    kv_abort(txn);
    return rc;
}

/* Decodes n rows of the window into out. */
static int hand_out(struct featureset_epoch *e, size_t n, float *out, struct error *err)
{
    const struct codec *codec = &e->fs->shape.codec;
    struct row *rows = e->rows + e->row_at;
    size_t dim = codec->dim;
#pragma omp parallel for schedule(static) num_threads(e->n_workers) default(none)                  \
    shared(codec, rows, dim, n, out)
    for (size_t i = 0; i < n; i++)
        rows[i].is_bad = !codec_decode(codec, (enum codec_kind)rows[i].kind, rows[i].code,
                                       out + i * dim);
    for (size_t i = 0; i < n; i++)
        if (rows[i].is_bad)
            return error_set(err, ERR_CORRUPT, "the code of record %u in view %u is no vector",
                             rows[i].number, e->o.view);
    return 0;
}

int64_t featureset_epoch_next(struct featureset_epoch *e, uint32_t n, uint32_t *numbers,
                              uint64_t *checks, float *norms, float *rows, struct error *err)
{
    uint32_t got = 0;
    int rc = 0;
    while (got < n) {
        if (e->row_at == e->n_rows && e->block_at == e->n_blocks) break;
        if (e->row_at == e->n_rows) {
            rc = fill(e, err);
            if (rc < 0) break;
        }
        size_t left = e->n_rows - e->row_at, part = left < n - got ? left : n - got;
        rc = hand_out(e, part, rows + (size_t)got * e->fs->spec.dim, err);
        if (rc < 0) break;
        for (size_t i = 0; i < part; i++, got++, e->row_at++) {
            const struct row *r = &e->rows[e->row_at];
            if (numbers) numbers[got] = r->number;
            if (checks) checks[got] = r->check;
            if (norms) norms[got] = r->norm;
        }
    }
    return rc < 0 ? featureset_name_error(e->fs, rc, err) : (int64_t)got;
}
