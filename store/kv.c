/* Ordered tables over LMDB; see kv.h for what is promised.
 *
 * LMDB's own rules, and where they are kept:
 * - an environment is opened once a process: `environments`, a list under one mutex (a forked child
 *   ignores its parent's);
 * - the map is resized only while no transaction of the process is open: counted in struct kv under
 *   the same mutex;
 * - a full map ends a transaction, and nothing can be read from it any more. So a writing transaction
 *   begins with far more room than a batch takes (`make_room`): address space costs nothing. Where
 *   there is less of it (ulimit -v), the changes are logged, and `grow_and_replay` mends it. A log
 *   of every batch, "just in case", cost a copy of all that is stored and a batch's size of memory;
 * - a map that could not be made leaves LMDB without one, and it does not look: `set_map` tries
 *   first whether the address space is there;
 * - pages that were freed in the transaction that made them are never written, so that a healthy
 *   file could end before its last page: before a commit `stretch` makes the file as long as it can
 *   become, and `trim` cuts it to its last page afterwards, so that at no moment it is shorter than
 *   its head says, and a file that is shorter at opening has been cut;
 * - the table of readers is a mapped file that starts as a hole: on a full disk a touch of it would
 *   be SIGBUS, so `reserve_readers` gives it its blocks first.
 */
#include "store/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/file.h"
#include "store/kvlog.h"
#include "store/kvplace.h"
#include "store/lock.h"
#include "store/memory.h"
#include "store/pagehead.h"

#define DATA_FILE      "data.mdb"
#define MAX_TABLES     16
#define MAX_READERS    510
#define ROOM           ((uint64_t)64 << 30) /* address space mapped beyond the data */
#define PLENTY         ((uint64_t)16 << 30) /* no batch fills so much room */
#define PAGES_A_CHANGE 4                    /* at most, besides a value's own: see reach() */
#define DISK_SLACK     ((uint64_t)1 << 20)  /* bytes left free on the disk by a commit */

struct kv {
    struct kv *next; /* in environments */
    MDB_env *env;
    struct lock *lock; /* writers */
    char *folder;
    const char *const *tables;
    int n_tables, refs;
    enum kv_mode mode;
    MDB_dbi dbi[MAX_TABLES];
    dev_t device;
    ino_t inode;
    pid_t process;
    uint64_t room; /* wanted in the map beyond the data */
    int n_reading; /* transactions open now */
    bool is_writing;
    struct kvlog log;
};

struct kv_txn {
    struct kv *kv;
    MDB_txn *txn;
    int n_cursors;
    bool is_writing, is_logged;
    uint64_t n_changes, n_bytes; /* of keys and values, with what the table keeps for each */
};

struct kv_cursor {
    struct kv_txn *txn;
    MDB_cursor *cur;
};

static pthread_mutex_t guard =
    PTHREAD_MUTEX_INITIALIZER; /* environments, and the counters in each */
static struct kv *environments;

void kv_allow_network(void)
{
    kvplace_allow_network();
}

static int fail(const char *folder, const char *what, int rc, struct error *err)
{
    const char *why = mdb_strerror(rc);
    switch (rc) {
    case MDB_VERSION_MISMATCH:
        return error_set(err, ERR_INCOMPATIBLE, "%s: made by another version of LMDB (%s)", folder,
                         why);
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_BAD_TXN: /* what LMDB says after a page that it could not read */
        return error_set(err, ERR_CORRUPT, "%s: %s: the data file is damaged (%s)", folder, what,
                         why);
    case MDB_KEYEXIST:
        return error_set(err, ERR_CORRUPT, "%s: %s: an appended key is not behind the last one",
                         folder, what);
    case MDB_BAD_VALSIZE:
        return error_set(err, ERR_USAGE, "%s: %s: a key has 1 to 511 bytes", folder, what);
    case MDB_READERS_FULL:
        return error_set(err, ERR_IO, "%s: %s: more than %d readers at once", folder, what,
                         MAX_READERS);
    default: break;
    }
    if (rc <= 0) return error_set(err, ERR_IO, "%s: %s: %s", folder, what, why);
    errno = rc;
    return error_errno(err, "%s: %s", folder, what);
}

/* A handle of this process on the same data file, or NULL. Under guard. */
static struct kv *already_open(const char *data_path)
{
    struct stat st;
    if (stat(data_path, &st) < 0) return NULL;
    for (struct kv *kv = environments; kv; kv = kv->next)
        if (kv->process == getpid() && kv->device == st.st_dev && kv->inode == st.st_ino) return kv;
    return NULL;
}

static int share(struct kv *kv, const struct kv_config *config, struct error *err)
{
    if (kv->mode == KV_READ && config->mode == KV_READ && kv->tables == config->tables) {
        kv->refs++;
        return 0;
    }
    if (kv->mode != KV_READ && config->mode != KV_READ)
        return error_set(err, ERR_LOCKED, "%s: this process is writing here already", kv->folder);
    return error_set(err, ERR_USAGE,
                     "%s: is open in this process already, and not for reading alone", kv->folder);
}

/* What the last commit's head speaks of. */
static uint64_t head_bytes(const struct kv *kv, uint64_t *page_bytes)
{
    MDB_envinfo info;
    MDB_stat stat_;
    mdb_env_info(kv->env, &info);
    mdb_env_stat(kv->env, &stat_);
    if (page_bytes) *page_bytes = stat_.ms_psize;
    return ((uint64_t)info.me_last_pgno + 1) * stat_.ms_psize;
}

/* Refuses a file that was cut: what its head speaks of must be there before anything else is touched. */
static int check_length(struct kv *kv, struct error *err)
{
    uint64_t claimed = head_bytes(kv, NULL), found = kv_file_bytes(kv);
    if (found >= claimed) return 0;
    return error_set(
        err, ERR_CORRUPT,
        "%s/" DATA_FILE
        ": is cut off: its head speaks of %llu bytes, %llu are there; restore it from a copy",
        kv->folder, (unsigned long long)claimed, (unsigned long long)found);
}

/* Refuses a file whose newest commit cannot be told. */
static int check_heads(struct kv *kv, const char *data_path, struct error *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (rc) return fail(kv->folder, "reading its heads", rc, err);
    rc = pagehead_check(data_path, kv->folder, err);
    mdb_txn_abort(txn);
    return rc;
}

/* mdb_env_set_mapsize, which must not fail. No transaction is open. */
static int set_map(struct kv *kv, uint64_t bytes)
{
    return kvplace_can_map(kv_map_bytes(kv), bytes) ? mdb_env_set_mapsize(kv->env, bytes) : ENOMEM;
}

/* Before a writing transaction: a larger map where it can be had. Says whether the map may fill all
 * the same. */
static bool make_room(struct kv *kv)
{
    uint64_t used = head_bytes(kv, NULL), map = kv_map_bytes(kv);
    if (map - used < kv->room / 2) {
        uint64_t larger = kvplace_with_room(map, used, kv->room);
        if (larger > map && set_map(kv, larger) == 0) map = larger;
    }
    return map - used < PLENTY;
}

/* Where the file can end after a commit, at the most. A transaction writes anew each page that there
 * was once; a change makes at most one leaf more, of leaves at most as many branches, and rounds
 * its value up to a page; lists of free pages take 8 bytes for each page, and the roots a few. */
static uint64_t reach(const struct kv_txn *t)
{
    uint64_t page_bytes, used = head_bytes(t->kv, &page_bytes), map = kv_map_bytes(t->kv);
    uint64_t most = 2 * used + t->n_bytes + t->n_changes * PAGES_A_CHANGE * page_bytes;
    most += most / 64 + ((uint64_t)4 << 20);
    return most < map ? most : map;
}

/* Before a commit: the file so long, a hole at its end. A file system that cannot leaves things as
 * they are. */
static void stretch(const struct kv_txn *t)
{
    mdb_filehandle_t fd;
    uint64_t length = reach(t);
    if (mdb_env_get_fd(t->kv->env, &fd) == 0 && kv_file_bytes(t->kv) < length)
        (void)!ftruncate(fd, (off_t)length);
}

/* After it, and after one that failed: the file ends with the last page that a commit speaks of. */
static int trim(struct kv *kv, struct error *err)
{
    mdb_filehandle_t fd;
    mdb_env_get_fd(kv->env, &fd);
    if (ftruncate(fd, (off_t)head_bytes(kv, NULL)) < 0)
        return error_errno(err, "%s/" DATA_FILE ": setting its length", kv->folder);
    return 0;
}

/* mdb_env_open of the folder `where` with a map of `map_bytes`. Leaves env NULL on failure. */
static int open_environment(struct kv *kv, const char *where, uint64_t map_bytes)
{
    unsigned flags = MDB_NOTLS;
    if (kv->mode == KV_READ) flags |= MDB_RDONLY;
    int rc = mdb_env_create(&kv->env);
    if (rc) return rc;
    rc = mdb_env_set_maxdbs(kv->env, MAX_TABLES);
    if (!rc) rc = mdb_env_set_maxreaders(kv->env, MAX_READERS);
    if (!rc) rc = mdb_env_set_mapsize(kv->env, map_bytes);
    if (!rc) rc = mdb_env_open(kv->env, where, flags, 0666);
    if (rc) {
        mdb_env_close(kv->env);
        kv->env = NULL;
    }
    return rc;
}

static int open_tables(struct kv *kv, struct error *err)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(kv->env, NULL, kv->mode == KV_READ ? MDB_RDONLY : 0, &txn);
    for (int i = 0; !rc && i < kv->n_tables; i++) {
        rc = mdb_dbi_open(txn, kv->tables[i], kv->mode == KV_READ ? 0 : MDB_CREATE, &kv->dbi[i]);
        if (rc != MDB_NOTFOUND && rc != MDB_INCOMPATIBLE) continue;
        MDB_stat main_table = {.ms_entries = 1};
        if (mdb_env_stat(kv->env, &main_table) == 0 && main_table.ms_entries == 0) {
            mdb_txn_abort(txn); /* its making was cut short before the first commit */
            return error_set(err, ERR_NOT_FOUND, "%s: there is no store here yet", kv->folder);
        }
        mdb_txn_abort(txn);
        return error_set(err, ERR_INCOMPATIBLE,
                         "%s: has no table \"%s\": not made by this version of clipstill",
                         kv->folder, kv->tables[i]);
    }
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn); /* of a read too: that is what keeps the table handles */
    return rc ? fail(kv->folder, "opening its tables", rc, err) : 0;
}

static void kv_free(struct kv *kv)
{
    if (kv->env) mdb_env_close(kv->env);
    lock_release(kv->lock);
    kvlog_release(&kv->log);
    memory_free(kv->folder);
    memory_free(kv);
}

/* Opens kv->env, checked, with its tables. where, data_path: kv->folder and its data file, pinned. */
static int open_checked(struct kv *kv, const char *where, const char *data_path, struct error *err)
{
    if (kvplace_was_never_made(data_path)) {
        if (kv->mode == KV_READ)
            return error_set(err, ERR_NOT_FOUND, "%s: there is no store here yet", kv->folder);
        unlink(data_path);
    }
    uint64_t size = file_size(data_path);
    if (size && size < 2 * 4096)
        return error_set(err, ERR_CORRUPT,
                         "%s/" DATA_FILE ": is cut off: %llu bytes are less than its head",
                         kv->folder, (unsigned long long)size);
    int mdb_rc = open_environment(kv, where, kvplace_with_room(0, size, kv->room));
    if (mdb_rc && kv->mode != KV_READ && size == 0)
        unlink(data_path); /* half a head, of a full disk: it would look like a cut file */
    if (mdb_rc == 0 && size == 0) mdb_rc = mdb_env_sync(kv->env, 1); /* heads, before any page */
    if (mdb_rc) return fail(kv->folder, "opening the store", mdb_rc, err);
    int rc = check_length(kv, err);
    if (rc == 0) rc = check_heads(kv, data_path, err);
    if (rc < 0) return rc;
    if (kv->mode != KV_READ && (mdb_rc = mdb_reader_check(kv->env, NULL)))
        return fail(kv->folder, "clearing dead readers", mdb_rc, err);
    rc = open_tables(kv, err);
    if (rc < 0) return rc;
    if (kv->mode == KV_WRITE && size == 0) rc = file_sync_folder(kv->folder, err);
    if (rc < 0) return rc;
    struct stat st;
    if (stat(data_path, &st) < 0) return error_errno(err, "%s/" DATA_FILE, kv->folder);
    kv->device = st.st_dev;
    kv->inode = st.st_ino;
    return 0;
}

/* Opens the folder, which may be exchanged for another at any moment: *moved then, and nothing is
 * open. The folder that is there first is pinned: LMDB opens two files by name, and with the readers'
 * table of one folder beside the data of another it would enter the wrong number of the last
 * transaction in that table, for all to see; and a pinned inode number cannot come back. Under guard. */
static int open_once(struct kv **out, const char *folder, const struct kv_config *config,
                     bool *moved, struct error *err)
{
    struct kv *kv = NULL;
    char where[40], data_path[60];
    int rc = 0, place = -1;
    if (config->mode != KV_READ) rc = file_make_folder(folder, err);
    if (rc == 0) place = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc == 0 && place < 0)
        rc = errno == ENOENT ? error_set(err, ERR_NOT_FOUND, "%s: there is no store here", folder)
                             : error_errno(err, "%s", folder);
    snprintf(where, sizeof where, "/proc/self/fd/%d", place);
    snprintf(data_path, sizeof data_path, "%s/" DATA_FILE, where);
    if (rc == 0 && access(where, F_OK) < 0)
        rc = error_errno(err, "%s: a store is opened through /proc, which is not there", where);
    if (rc == 0 && config->mode == KV_READ && file_size(data_path) == 0)
        rc = error_set(err, ERR_NOT_FOUND, "%s: there is no store here", folder);
    if (rc == 0) rc = kvplace_refuse_network(folder, err);
    if (rc == 0) rc = kvplace_reserve_readers(where, folder, err);
    if (rc < 0) goto done;
    struct kv *other = already_open(data_path);
    if (other) {
        rc = share(other, config, err);
        if (rc == 0) *out = other;
        goto done;
    }
    kv = memory_array(1, sizeof *kv, MEMORY_MAX_SMALL, err);
    if (!kv || !(kv->folder = memory_string(folder, err))) {
        rc = ERR_NOMEM;
        goto done;
    }
    kv->mode = config->mode;
    kv->tables = config->tables;
    kv->n_tables = config->n_tables;
    kv->refs = 1;
    kv->process = getpid();
    kv->room = config->room_bytes ? config->room_bytes : ROOM;
    if (kv->mode != KV_READ) rc = lock_take(&kv->lock, folder, err);
    if (rc == 0) rc = open_checked(kv, where, data_path, err);
    *moved = kvplace_has_moved(folder, place);
    if (rc < 0 || *moved) goto done;
    kv->next = environments;
    environments = kv;
    *out = kv;
    kv = NULL;
done:
    *moved = *moved || (rc < 0 && kvplace_has_moved(folder, place));
    if (kv) kv_free(kv);
    if (place >= 0) close(place);
    return rc;
}

int kv_open(struct kv **out, const char *folder, const struct kv_config *config, struct error *err)
{
    int rc = 0;
    bool moved = true;
    if (config->n_tables > MAX_TABLES)
        return error_set(err, ERR_USAGE, "%s: at most %d tables", folder, MAX_TABLES);
    pthread_mutex_lock(&guard);
    while (moved) {
        moved = false;
        rc = open_once(out, folder, config, &moved, err);
    }
    pthread_mutex_unlock(&guard);
    return rc;
}

void kv_close(struct kv *kv)
{
    if (!kv || kv->process != getpid())
        return; /* a forked child leaves its parent's environment alone */
    pthread_mutex_lock(&guard);
    bool is_last = --kv->refs == 0;
    for (struct kv **p = &environments; is_last && *p; p = &(*p)->next)
        if (*p == kv) {
            *p = kv->next;
            break;
        }
    if (is_last) kv_free(kv);
    pthread_mutex_unlock(&guard);
}

uint64_t kv_file_bytes(const struct kv *kv)
{
    struct stat st;
    mdb_filehandle_t fd;
    return mdb_env_get_fd(kv->env, &fd) == 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

uint64_t kv_map_bytes(const struct kv *kv)
{
    MDB_envinfo info;
    mdb_env_info(kv->env, &info);
    return info.me_mapsize;
}

const char *kv_folder(const struct kv *kv)
{
    return kv->folder;
}

const char *const *kv_tables(const struct kv *kv, int *n)
{
    *n = kv->n_tables;
    return kv->tables;
}

void kv_retire(struct kv *kv)
{
    kv->mode = KV_READ;
}

/* mdb_txn_begin that follows a map grown by another process. Under guard. */
static int begin(struct kv *kv, unsigned flags, MDB_txn **txn, struct error *err)
{
    int rc = mdb_txn_begin(kv->env, NULL, flags, txn);
    if (rc == MDB_MAP_RESIZED && kv->n_reading == 0 && !kv->is_writing) {
        rc = set_map(kv, kvplace_with_room(kv_map_bytes(kv), head_bytes(kv, NULL), kv->room));
        if (!rc) rc = mdb_txn_begin(kv->env, NULL, flags, txn);
    }
    return rc ? fail(kv->folder, "beginning a transaction", rc, err) : 0;
}

static int begin_any(struct kv *kv, bool is_writing, struct kv_txn **out, struct error *err)
{
    struct kv_txn *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    if (!t) return ERR_NOMEM;
    int rc = 0;
    pthread_mutex_lock(&guard);
    if (is_writing && kv->mode == KV_READ)
        rc = error_set(err, ERR_USAGE, "%s: is open for reading only", kv->folder);
    else if (kv->is_writing || (is_writing && kv->n_reading))
        rc = error_set(err, ERR_USAGE, "%s: another transaction of this writer is still open",
                       kv->folder);
    if (rc == 0 && is_writing) {
        mdb_reader_check(kv->env, NULL);
        t->is_logged = make_room(kv);
    }
    if (rc == 0) rc = begin(kv, is_writing ? 0 : MDB_RDONLY, &t->txn, err);
    if (rc == 0) {
        kv->is_writing = is_writing;
        kv->n_reading += !is_writing;
    }
    pthread_mutex_unlock(&guard);
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
    pthread_mutex_lock(&guard);
    if (t->is_writing) {
        kv->is_writing = false;
        kvlog_clear(&kv->log);
    } else {
        kv->n_reading--;
    }
    pthread_mutex_unlock(&guard);
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
        rc = set_map(kv, kvplace_with_room(map, map, map));
        if (!rc) rc = mdb_txn_begin(kv->env, NULL, 0, &t->txn);
        struct kvlog_entry e;
        for (size_t at = 0; !rc && kvlog_next(&kv->log, &at, &e);) rc = apply(t, &e);
    }
    if (!rc) return 0;
    if (t->txn) mdb_txn_abort(t->txn);
    t->txn = NULL;
    if (rc == MDB_MAP_FULL)
        return error_set(err, ERR_USAGE, "%s: a transaction of more than %d GiB", kv->folder,
                         (int)(PLENTY >> 30));
    return fail(kv->folder, "growing the map", rc, err);
}

static int change(struct kv_txn *t, const struct kvlog_entry *e, struct error *err)
{
    const char *folder = t->kv->folder;
    if (!t->is_writing || t->n_cursors || !t->txn)
        return error_set(err, ERR_USAGE,
                         "%s: a change needs a sound writing transaction without cursors", folder);
    int rc = apply(t, e);
    if (rc && rc != MDB_MAP_FULL) {
        int code = fail(folder, "writing a record", rc, err);
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
        stretch(t);
        mdb_rc = mdb_txn_commit(t->txn);
        t->txn = NULL;
        if (mdb_rc == MDB_MAP_FULL) rc = grow_and_replay(t, err);
    }
    if (rc == 0 && mdb_rc == EIO) rc = check_space(t, err); /* LMDB's word for half a write */
    if (rc == 0 && mdb_rc) rc = fail(kv->folder, "committing", mdb_rc, err);
    int trimmed = t->txn ? 0 : trim(kv, rc < 0 ? NULL : err);
    if (rc == 0) rc = trimmed;
    if (t->txn) mdb_txn_abort(t->txn);
    end(t);
    return rc;
}

static struct kv_bytes bytes_of(MDB_val v)
{
    return (struct kv_bytes){v.mv_data, v.mv_size};
}

static int gone(const struct kv_txn *t, struct error *err)
{
    return error_set(err, ERR_USAGE, "%s: the transaction has failed and must be aborted",
                     t->kv->folder);
}

int kv_get(struct kv_txn *t, int table, const void *key, size_t n_key, struct kv_bytes *value,
           struct error *err)
{
    if (!t->txn) return gone(t, err);
    MDB_val k = {n_key, (void *)(uintptr_t)key}, v;
    int rc = mdb_get(t->txn, t->kv->dbi[table], &k, &v);
    if (rc == MDB_NOTFOUND) return 0;
    if (rc) return fail(t->kv->folder, "reading a record", rc, err);
    *value = bytes_of(v);
    return 1;
}

int kv_count(struct kv_txn *t, int table, uint64_t *n, struct error *err)
{
    if (!t->txn) return gone(t, err);
    MDB_stat s;
    int rc = mdb_stat(t->txn, t->kv->dbi[table], &s);
    if (rc) return fail(t->kv->folder, "counting records", rc, err);
    *n = s.ms_entries;
    return 0;
}

int kv_used_bytes(struct kv_txn *t, uint64_t *bytes, struct error *err)
{
    if (!t->txn) return gone(t, err);
    *bytes = 0;
    for (int i = 0; i < t->kv->n_tables; i++) {
        MDB_stat s;
        int rc = mdb_stat(t->txn, t->kv->dbi[i], &s);
        if (rc) return fail(t->kv->folder, "counting pages", rc, err);
        *bytes += (s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages) *
                  (uint64_t)s.ms_psize;
    }
    return 0;
}

const struct kv *kv_of(const struct kv_txn *t)
{
    return t->kv;
}

int kv_cursor_open(struct kv_txn *t, int table, struct kv_cursor **out, struct error *err)
{
    if (!t->txn) return gone(t, err);
    struct kv_cursor *c = memory_array(1, sizeof *c, MEMORY_MAX_SMALL, err);
    if (!c) return ERR_NOMEM;
    int rc = mdb_cursor_open(t->txn, t->kv->dbi[table], &c->cur);
    if (rc) {
        memory_free(c);
        return fail(t->kv->folder, "opening a cursor", rc, err);
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
    if (rc) return fail(c->txn->kv->folder, "walking a table", rc, err);
    *key = bytes_of(k);
    *value = bytes_of(v);
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
