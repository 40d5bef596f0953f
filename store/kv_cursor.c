/* Cursors: a table's records in the order of their keys; see kv.h. */
#include "store/kv_inside.h"
#include "store/memory.h"

struct kv_cursor {
    struct kv_txn *txn;
    MDB_cursor *cur;
};

int kv_cursor_open(struct kv_txn *t, int table, struct kv_cursor **out, struct error *err)
{
    if (!t->txn) return kv_gone(t, err);
    struct kv_cursor *c = memory_array(1, sizeof *c, MEMORY_MAX_SMALL, err);
    if (!c) return ERR_NOMEM;
    int rc = mdb_cursor_open(t->txn, t->kv->dbi[table], &c->cur);
    if (rc) {
        memory_free(c);
        return kv_fail(t->kv->folder, "opening a cursor", rc, err);
    }
    c->txn = t;
    t->n_cursors++;
    *out = c;
    return 0;
}

void kv_cursor_close(struct kv_cursor *c)
{
    if (!c) return;
    mdb_cursor_close(c->cur);
    c->txn->n_cursors--;
    memory_free(c);
}

static int step(struct kv_cursor *c, MDB_cursor_op op, MDB_val k, struct kv_bytes *key,
                struct kv_bytes *value, struct error *err)
{
    MDB_val v;
    int rc = mdb_cursor_get(c->cur, &k, &v, op);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc) return kv_fail(c->txn->kv->folder, "walking a table", rc, err);
    *key = (struct kv_bytes){k.mv_data, k.mv_size};
    *value = (struct kv_bytes){v.mv_data, v.mv_size};
    return 1;
}

int kv_cursor_first(struct kv_cursor *c, struct kv_bytes *key, struct kv_bytes *value,
                    struct error *err)
{
    return step(c, MDB_FIRST, (MDB_val){0}, key, value, err);
}

int kv_cursor_last(struct kv_cursor *c, struct kv_bytes *key, struct kv_bytes *value,
                   struct error *err)
{
    return step(c, MDB_LAST, (MDB_val){0}, key, value, err);
}

int kv_cursor_next(struct kv_cursor *c, struct kv_bytes *key, struct kv_bytes *value,
                   struct error *err)
{
    return step(c, MDB_NEXT, (MDB_val){0}, key, value, err);
}

int kv_cursor_seek(struct kv_cursor *c, const void *from, size_t n_from, struct kv_bytes *key,
                   struct kv_bytes *value, struct error *err)
{
    if (n_from == 0) return kv_cursor_first(c, key, value, err);
    return step(c, MDB_SET_RANGE, (MDB_val){n_from, (void *)(uintptr_t)from}, key, value, err);
}
