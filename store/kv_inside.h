/* What the files of kv share: kv.c (opening and closing), kv_map.c (the sizes of map and file), kv_txn.c
 * (transactions) and kv_cursor.c. They alone include this, and with it LMDB.
 *
 * LMDB's own rules, and where they are kept:
 * - an environment is opened once a process: a list of them in kv.c (a forked child ignores its
 *   parent's);
 * - the map is resized only while no transaction of the process is open: struct kv counts them;
 * - a full map ends a transaction, and nothing can be read from it any more. So a writing transaction
 *   begins with far more room than a batch takes (`kv_make_room`): address space costs nothing. Where
 *   there is less of it (ulimit -v), the changes are logged, and `grow_and_replay` mends it. A log
 *   of every batch, "just in case", cost a copy of all that is stored and a batch's size of memory;
 * - a map that could not be made leaves LMDB without one, and it does not look: `kv_set_map` tries
 *   first whether the address space is there;
 * - pages that were freed in the transaction that made them are never written, so that a healthy
 *   file could end before its last page: before a commit `kv_stretch` makes the file as long as it can
 *   become, and `kv_trim` cuts it to its last page afterwards, so that at no moment it is shorter than
 *   its head says, and a file that is shorter at opening has been cut;
 * - the table of readers is a mapped file that starts as a hole: on a full disk a touch of it would
 *   be SIGBUS, so `kvplace_reserve_readers` gives it its blocks first.
 */
#ifndef STORE_KV_INSIDE_H
#define STORE_KV_INSIDE_H

#include <lmdb.h>
#include <pthread.h>
#include <sys/types.h>

#include "store/kv.h"
#include "store/kvlog.h"

#define KV_DATA_FILE  "data.mdb"
#define KV_MAX_TABLES 16
#define KV_PLENTY     ((uint64_t)16 << 30) /* no batch fills so much room */

struct kv {
    struct kv *next; /* in the list of kv.c */
    MDB_env *env;
    struct lock *lock; /* writers */
    char *folder;
    const char *const *tables;
    int n_tables, refs;
    enum kv_mode mode;
    MDB_dbi dbi[KV_MAX_TABLES];
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
    MDB_txn *txn; /* NULL: it has failed, and what is left is to abort it */
    int n_cursors;
    bool is_writing, is_logged;
    uint64_t n_changes, n_bytes; /* of keys and values, with what the table keeps for each */
};

/* kv.c. Held over the list of environments, and over refs, n_reading and is_writing of each. */
extern pthread_mutex_t kv_guard;
/* What LMDB's code `rc` means to us; the error names the folder and `what` was being done. */
int kv_fail(const char *folder, const char *what, int rc, struct error *err);

/* kv_map.c. Bytes that the last commit's head speaks of; *page_bytes may be NULL. */
uint64_t kv_head_bytes(const struct kv *kv, uint64_t *page_bytes);
/* mdb_env_set_mapsize, which must not fail; LMDB's code. No transaction is open. */
int kv_set_map(struct kv *kv, uint64_t bytes);
/* Before a writing transaction: a larger map where it can be had. Says whether the map may fill all
 * the same. */
bool kv_make_room(struct kv *kv);
/* Before a commit: the file so long as it can become, a hole at its end. A file system that cannot
 * leaves things as they are. */
void kv_stretch(const struct kv_txn *t);
/* After it, and after one that failed: the file ends with the last page that a commit speaks of. */
int kv_trim(struct kv *kv, struct error *err);

/* kv_txn.c. ERR_USAGE for a transaction that has failed (txn is NULL). */
int kv_gone(const struct kv_txn *t, struct error *err);

#endif
