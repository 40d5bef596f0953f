/* Transactions: begin, change, look up, commit; see kv.h for what is promised and kv_inside.h for how. */
#include <errno.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/kv_inside.h"
#include "store/kvplace.h"
#include "store/memory.h"

#define DISK_SLACK ((uint64_t)1 << 20) /* bytes left free on the disk by a commit */

/* mdb_txn_begin that follows a map grown by another process. Under kv_guard. */
static int begin(struct kv *kv, unsigned flags, MDB_txn **txn, struct error *err)
{
    int rc = mdb_txn_begin(kv->env, NULL, flags, txn);
    if (rc == MDB_MAP_RESIZED && kv->n_reading == 0 && !kv->is_writing) {
        rc = kv_set_map(kv, kvplace_with_room(kv_map_bytes(kv), kv_head_bytes(kv, NULL), kv->room));
        if (!rc) rc = mdb_txn_begin(kv->env, NULL, flags, txn);
    }
    return rc ? kv_fail(kv->folder, "beginning a transaction", rc, err) : 0;
}

static int begin_any(struct kv *kv, bool is_writing, struct kv_txn **out, struct error *err)
{
    struct kv_txn *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    if (!t) return ERR_NOMEM;
    int rc = 0;
    pthread_mutex_lock(&kv_guard);
    if (is_writing && kv->mode == KV_READ)
        rc = error_set(err, ERR_USAGE, "%s: is open for reading only", kv->folder);
    else if (kv->is_writing || (is_writing && kv->n_reading))
        rc = error_set(err, ERR_USAGE, "%s: another transaction of this writer is still open",
                       kv->folder);
    if (rc == 0 && is_writing) {
        mdb_reader_check(kv->env, NULL);
        t->is_logged = kv_make_room(kv);
    }
    if (rc == 0) rc = begin(kv, is_writing ? 0 : MDB_RDONLY, &t->txn, err);
    if (rc == 0) {
        kv->is_writing = is_writing;
        kv->n_reading += !is_writing;
    }
    pthread_mutex_unlock(&kv_guard);
    if (rc < 0) {
        memory_free(t);
        return rc;
    }
    t->kv = kv;
    t->is_writing = is_writing;
    *out = t;
    return 0;
}

int kv_begin_read(struct kv *kv, struct kv_txn **txn, struct error *err)
{
    return begin_any(kv, false, txn, err);
}

int kv_begin_write(struct kv *kv, struct kv_txn **txn, struct error *err)
{
    return begin_any(kv, true, txn, err);
}

/* Forgets a transaction whose MDB_txn is gone. */
static void end(struct kv_txn *t)
{
    struct kv *kv = t->kv;
    pthread_mutex_lock(&kv_guard);
    if (t->is_writing) {
        kv->is_writing = false;
        kvlog_clear(&kv->log);
    } else {
        kv->n_reading--;
    }
    pthread_mutex_unlock(&kv_guard);
    memory_free(t);
}

void kv_abort(struct kv_txn *t)
{
    if (!t) return;
    if (t->txn && t->kv->process == getpid()) mdb_txn_abort(t->txn);
    end(t);
}

static int apply(struct kv_txn *t, const struct kvlog_entry *e)
{
    MDB_val k = {e->n_key, (void *)(uintptr_t)e->key},
            v = {e->n_value, (void *)(uintptr_t)e->value};
    MDB_dbi dbi = t->kv->dbi[e->table];
    if (e->kind != KVLOG_DELETE)
        return mdb_put(t->txn, dbi, &k, &v, e->kind == KVLOG_APPEND ? MDB_APPEND : 0);
    int rc = mdb_del(t->txn, dbi, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The map was full: doubles it, begins again and repeats what the transaction had done. t->txn is
 * NULL after an error. */
static int grow_and_replay(struct kv_txn *t, struct error *err)
{
    struct kv *kv = t->kv;
    int rc = MDB_MAP_FULL;
    while (rc == MDB_MAP_FULL && t->is_logged) {
        if (t->txn) mdb_txn_abort(t->txn);
        t->txn = NULL;
        uint64_t map = kv_map_bytes(kv);
        rc = kv_set_map(kv, kvplace_with_room(map, map, map));
        if (!rc) rc = mdb_txn_begin(kv->env, NULL, 0, &t->txn);
        struct kvlog_entry e;
        for (size_t at = 0; !rc && kvlog_next(&kv->log, &at, &e);) rc = apply(t, &e);
    }
    if (!rc) return 0;
    if (t->txn) mdb_txn_abort(t->txn);
    t->txn = NULL;
    if (rc == MDB_MAP_FULL)
        return error_set(err, ERR_USAGE, "%s: a transaction of more than %d GiB", kv->folder,
                         (int)(KV_PLENTY >> 30));
    return kv_fail(kv->folder, "growing the map", rc, err);
}

static int change(struct kv_txn *t, const struct kvlog_entry *e, struct error *err)
{
    const char *folder = t->kv->folder;
    if (!t->is_writing || t->n_cursors || !t->txn)
        return error_set(err, ERR_USAGE,
                         "%s: a change needs a sound writing transaction without cursors", folder);
    int rc = apply(t, e);
    if (rc && rc != MDB_MAP_FULL) {
        int code = kv_fail(folder, "writing a record", rc, err);
        mdb_txn_abort(t->txn);
        t->txn = NULL;
        return code;
    }
    t->n_changes++;
    t->n_bytes += sizeof *e + e->n_key + e->n_value;
    int logged = t->is_logged ? kvlog_add(&t->kv->log, e, err) : 0;
    if (logged < 0) {
        mdb_txn_abort(t->txn);
        t->txn = NULL;
        return logged;
    }
    return rc == MDB_MAP_FULL ? grow_and_replay(t, err) : 0;
}

int kv_put(struct kv_txn *t, int table, const void *key, size_t n_key, const void *value,
           size_t n_value, struct error *err)
{
    return change(t, &(struct kvlog_entry){KVLOG_PUT, (uint32_t)table, n_key, n_value, key, value},
                  err);
}

int kv_append(struct kv_txn *t, int table, const void *key, size_t n_key, const void *value,
              size_t n_value, struct error *err)
{
    return change(
        t, &(struct kvlog_entry){KVLOG_APPEND, (uint32_t)table, n_key, n_value, key, value}, err);
}

int kv_delete(struct kv_txn *t, int table, const void *key, size_t n_key, struct error *err)
{
    return change(t, &(struct kvlog_entry){KVLOG_DELETE, (uint32_t)table, n_key, 0, key, NULL},
                  err);
}

/* Room on the disk for what the transaction adds. */
static int check_space(const struct kv_txn *t, struct error *err)
{
    const struct kv *kv = t->kv;
    struct statvfs s;
    if (statvfs(kv->folder, &s) < 0 || s.f_blocks == 0)
        return 0; /* not known: the write itself will tell */
    uint64_t available = (uint64_t)s.f_bavail * s.f_frsize, need = t->n_bytes + DISK_SLACK;
    if (available >= need) return 0;
    return error_set(err, ERR_NOSPACE, "%s: disk full: this commit needs %llu bytes, %llu are free",
                     kv->folder, (unsigned long long)need, (unsigned long long)available);
}

int kv_commit(struct kv_txn *t, struct error *err)
{
    struct kv *kv = t->kv;
    int rc = 0, mdb_rc = MDB_MAP_FULL;
    if (!t->is_writing || !t->txn)
        rc = error_set(err, ERR_USAGE, "%s: only a sound writing transaction can be committed",
                       kv->folder);
    else
        rc = check_space(t, err);
    while (rc == 0 && mdb_rc == MDB_MAP_FULL) {
        kv_stretch(t);
        mdb_rc = mdb_txn_commit(t->txn);
        t->txn = NULL;
        if (mdb_rc == MDB_MAP_FULL) rc = grow_and_replay(t, err);
    }
    if (rc == 0 && mdb_rc == EIO) rc = check_space(t, err); /* LMDB's word for half a write */
    if (rc == 0 && mdb_rc) rc = kv_fail(kv->folder, "committing", mdb_rc, err);
    int trimmed = t->txn ? 0 : kv_trim(kv, rc < 0 ? NULL : err);
    if (rc == 0) rc = trimmed;
    if (t->txn) mdb_txn_abort(t->txn);
    end(t);
    return rc;
}

int kv_gone(const struct kv_txn *t, struct error *err)
{
    return error_set(err, ERR_USAGE, "%s: the transaction has failed and must be aborted",
                     t->kv->folder);
}

int kv_get(struct kv_txn *t, int table, const void *key, size_t n_key, struct kv_bytes *value,
           struct error *err)
{
    if (!t->txn) return kv_gone(t, err);
    MDB_val k = {n_key, (void *)(uintptr_t)key}, v;
    int rc = mdb_get(t->txn, t->kv->dbi[table], &k, &v);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc) return kv_fail(t->kv->folder, "reading a record", rc, err);
    *value = (struct kv_bytes){v.mv_data, v.mv_size};
    return 1;
}

int kv_count(struct kv_txn *t, int table, uint64_t *n, struct error *err)
{
    if (!t->txn) return kv_gone(t, err);
    MDB_stat s;
    int rc = mdb_stat(t->txn, t->kv->dbi[table], &s);
    if (rc) return kv_fail(t->kv->folder, "counting records", rc, err);
    *n = s.ms_entries;
    return 0;
}

int kv_used_bytes(struct kv_txn *t, uint64_t *bytes, struct error *err)
{
    if (!t->txn) return kv_gone(t, err);
    *bytes = 0;
    for (int i = 0; i < t->kv->n_tables; i++) {
        MDB_stat s;
        int rc = mdb_stat(t->txn, t->kv->dbi[i], &s);
        if (rc) return kv_fail(t->kv->folder, "counting pages", rc, err);
        *bytes += (s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages) *
                  (uint64_t)s.ms_psize;
    }
    return 0;
}

const struct kv *kv_of(const struct kv_txn *t)
{
    return t->kv;
}
