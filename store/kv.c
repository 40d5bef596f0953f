/* Opening and closing an environment: one of each a process, one writer, checked before it is used;
 * see kv.h for what is promised and kv_inside.h for how. */
#include "store/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file.h"
#include "store/kv_inside.h"
#include "store/kvplace.h"
#include "store/lock.h"
#include "store/memory.h"
#include "store/pagehead.h"

#define MAX_READERS 510
#define ROOM        ((uint64_t)64 << 30) /* address space mapped beyond the data */

pthread_mutex_t kv_guard = PTHREAD_MUTEX_INITIALIZER;
static struct kv *environments; /* of this process; under kv_guard */

void kv_allow_network(void)
{
    kvplace_allow_network();
}

int kv_fail(const char *folder, const char *what, int rc, struct error *err)
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

/* A handle of this process on the same data file, or NULL. Under kv_guard. */
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

/* Refuses a file that was cut: what its head speaks of must be there before anything else is touched. */
static int check_length(struct kv *kv, struct error *err)
{
    uint64_t claimed = kv_head_bytes(kv, NULL), found = kv_file_bytes(kv);
    if (found >= claimed) return 0;
    return error_set(
        err, ERR_CORRUPT,
        "%s/" KV_DATA_FILE
        ": is cut off: its head speaks of %llu bytes, %llu are there; restore it from a copy",
        kv->folder, (unsigned long long)claimed, (unsigned long long)found);
}

/* Refuses a file whose newest commit cannot be told. */
static int check_heads(struct kv *kv, const char *data_path, struct error *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn);
    if (rc) return kv_fail(kv->folder, "reading its heads", rc, err);
    rc = pagehead_check(data_path, kv->folder, err);
    mdb_txn_abort(txn);
    return rc;
}

/* mdb_env_open of the folder `where` with a map of `map_bytes`. Leaves env NULL on failure. */
static int open_environment(struct kv *kv, const char *where, uint64_t map_bytes)
{
    unsigned flags = MDB_NOTLS;
    if (kv->mode == KV_READ) flags |= MDB_RDONLY;
    int rc = mdb_env_create(&kv->env);
    if (rc) return rc;
    rc = mdb_env_set_maxdbs(kv->env, KV_MAX_TABLES);
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
    return rc ? kv_fail(kv->folder, "opening its tables", rc, err) : 0;
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
                         "%s/" KV_DATA_FILE ": is cut off: %llu bytes are less than its head",
                         kv->folder, (unsigned long long)size);
    int mdb_rc = open_environment(kv, where, kvplace_with_room(0, size, kv->room));
    if (mdb_rc && kv->mode != KV_READ && size == 0)
        unlink(data_path); /* half a head, of a full disk: it would look like a cut file */
    if (mdb_rc == 0 && size == 0) mdb_rc = mdb_env_sync(kv->env, 1); /* heads, before any page */
    if (mdb_rc) return kv_fail(kv->folder, "opening the store", mdb_rc, err);
    int rc = check_length(kv, err);
    if (rc == 0) rc = check_heads(kv, data_path, err);
    if (rc < 0) return rc;
    if (kv->mode != KV_READ && (mdb_rc = mdb_reader_check(kv->env, NULL)))
        return kv_fail(kv->folder, "clearing dead readers", mdb_rc, err);
    rc = open_tables(kv, err);
    if (rc < 0) return rc;
    if (kv->mode == KV_WRITE && size == 0) rc = file_sync_folder(kv->folder, err);
    if (rc < 0) return rc;
    struct stat st;
    if (stat(data_path, &st) < 0) return error_errno(err, "%s/" KV_DATA_FILE, kv->folder);
    kv->device = st.st_dev;
    kv->inode = st.st_ino;
    return 0;
}

/* Opens the folder, which may be exchanged for another at any moment: *moved then, and nothing is
 * open. The folder that is there first is pinned: LMDB opens two files by name, and with the readers'
 * table of one folder beside the data of another it would enter the wrong number of the last
 * transaction in that table, for all to see; and a pinned inode number cannot come back. Under kv_guard. */
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
    snprintf(data_path, sizeof data_path, "%s/" KV_DATA_FILE, where);
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
    if (config->n_tables > KV_MAX_TABLES)
        return error_set(err, ERR_USAGE, "%s: at most %d tables", folder, KV_MAX_TABLES);
    pthread_mutex_lock(&kv_guard);
    while (moved) {
        moved = false;
        rc = open_once(out, folder, config, &moved, err);
    }
    pthread_mutex_unlock(&kv_guard);
    return rc;
}

void kv_close(struct kv *kv)
{
    if (!kv || kv->process != getpid())
        return; /* a forked child leaves its parent's environment alone */
    pthread_mutex_lock(&kv_guard);
    bool is_last = --kv->refs == 0;
    for (struct kv **p = &environments; is_last && *p; p = &(*p)->next)
        if (*p == kv) {
            *p = kv->next;
            break;
        }
    if (is_last) kv_free(kv);
    pthread_mutex_unlock(&kv_guard);
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
