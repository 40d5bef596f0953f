/* Ordered tables of bytes in one folder: LMDB with the care it asks for. Library: lmdb, included by
 * kv_inside.h alone.
 *
 *     static const char *const tables[] = {"blocks", "meta"};
 *     enum { BLOCKS, META };
 *     kv_open(&kv, folder, &(struct kv_config){.mode = KV_WRITE, .tables = tables, .n_tables = 2}, &err);
 *     kv_begin_write(kv, &txn, &err);
 *     kv_put(txn, META, "version", 7, bytes, n, &err);
 *     kv_commit(txn, &err);                                 // durable; txn is gone either way
 *     kv_begin_read(kv, &txn, &err);
 *     int found = kv_get(txn, META, "version", 7, &value, &err);   // 1, 0 when absent, or an error
 *     kv_abort(txn);
 *     kv_close(kv);
 *
 * Keys are 1..511 bytes, ordered by memcmp: numbers inside keys are written big-endian. Tables are
 * named once, at opening, and called by their index.
 *
 * What this layer promises above LMDB:
 * - The map grows by itself: a writing transaction begins with 64 GiB of address space beyond the
 *   data. Where that is not to be had (ulimit -v) it keeps a copy of its puts; when the map is full
 *   in the middle of it, it is aborted, the map is grown, and the puts are replayed: the batch
 *   survives whole, and the caller does not notice, save that borrowed values move at every put. A
 *   reader whose writer has grown the map follows at kv_begin_read. A transaction of more than
 *   16 GiB is ERR_USAGE.
 * - Memory: LMDB keeps the pages that a transaction has written in anonymous memory until its end,
 *   so that a batch takes its own size of it, and again that where puts are copied: commit often.
 *   What was committed is page cache.
 * - A full disk is ERR_NOSPACE: free space is asked for before a commit. After any error the
 *   transaction must be aborted, and the store is as it was before it.
 * - A data file shorter than its own head says is ERR_CORRUPT at opening, and no SIGBUS later.
 * - Heads that contradict each other, so that LMDB may take the commit before the last for the last, are
 *   ERR_CORRUPT at opening (store/pagehead.h).
 * - One writer: kv_open takes the writer's lock of the folder (store/lock.h), ERR_LOCKED otherwise.
 * - Network file systems, on which memory maps and locks do not hold, are refused by name
 *   (ERR_USAGE), until kv_allow_network.
 * - One process opens an environment once, as LMDB demands: a second KV_READ handle shares the
 *   first; a writer beside another handle of the same process is ERR_USAGE. A forked child opens
 *   its own.
 * - Readers that died are cleared away when a writer opens and before each of its transactions.
 * - A folder that is exchanged for another (store/generation.h) while it is opened is opened again:
 *   the lock, the readers' table and the data are always those of one folder.
 *
 * Threading: a handle may be used by several threads; a transaction and its cursors by one at a
 * time. A writer's handle has at one time either one writing transaction or any number of reading
 * ones (ERR_USAGE otherwise: growing moves the map). A long-lived reading transaction in another
 * process is harmless, but the file cannot reuse space meanwhile.
 *
 * Errors everywhere: ERR_IO, ERR_NOSPACE, ERR_NOMEM, ERR_CORRUPT, ERR_INCOMPATIBLE (made by another
 * LMDB); all name the folder.
 */
#ifndef STORE_KV_H
#define STORE_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

enum kv_mode {
    KV_READ,  /* the folder must exist: ERR_NOT_FOUND */
    KV_WRITE, /* makes folder and tables when absent; every commit is durable */
};

struct kv_config {
    enum kv_mode mode;
    const char *const *tables; /* names; must outlive the handle */
    int n_tables;
    uint64_t room_bytes; /* address space mapped beyond the data; 0: 64 GiB. Not disk */
};

/* A borrowed value or key: valid until the transaction ends, and in a writing transaction until its next put,
 * append or delete. Not aligned: read it with store/bytes.h. */
struct kv_bytes {
    const uint8_t *bytes;
    size_t n;
};

struct kv;
struct kv_txn;
struct kv_cursor;

/* From now on this process opens stores on network file systems: the user has said that no other machine
 * does. */
void kv_allow_network(void);

int kv_open(struct kv **kv, const char *folder, const struct kv_config *config, struct error *err) MUST_CHECK;
/* All transactions must be over. */
void kv_close(struct kv *kv);
/* Bytes of the data file. */
uint64_t kv_file_bytes(const struct kv *kv);
uint64_t kv_map_bytes(const struct kv *kv);
/* As given at opening; borrowed until kv_close. */
const char *kv_folder(const struct kv *kv);
const char *const *kv_tables(const struct kv *kv, int *n);
/* From now on the handle reads alone: its folder is no longer the store's (store/generation.h). The
 * writer's lock stays until kv_close. */
void kv_retire(struct kv *kv);

int kv_begin_read(struct kv *kv, struct kv_txn **txn, struct error *err) MUST_CHECK;
int kv_begin_write(struct kv *kv, struct kv_txn **txn, struct error *err) MUST_CHECK;
/* Ends a writing transaction; on an error nothing of it is there. txn is freed either way. */
int kv_commit(struct kv_txn *txn, struct error *err) MUST_CHECK;
/* Ends any transaction without a trace; NULL is fine. Cursors must be closed before. */
void kv_abort(struct kv_txn *txn);

/* 1 and *value, or 0 when the key is not there, or an error. */
int kv_get(struct kv_txn *txn, int table, const void *key, size_t n_key, struct kv_bytes *value,
           struct error *err) MUST_CHECK;
/* Number of records of a table. */
int kv_count(struct kv_txn *txn, int table, uint64_t *n, struct error *err) MUST_CHECK;
/* Bytes of the pages that hold records: what a copy without free pages takes, at most. */
int kv_used_bytes(struct kv_txn *txn, uint64_t *bytes, struct error *err) MUST_CHECK;
const struct kv *kv_of(const struct kv_txn *txn);

/* Writing transactions only, with no cursor of the transaction open. kv_put replaces; kv_append is
 * a put of a key behind the last one (full pages; ERR_CORRUPT when it is not behind); kv_delete of
 * an absent key is fine. */
int kv_put(struct kv_txn *txn, int table, const void *key, size_t n_key, const void *value, size_t n_value,
           struct error *err) MUST_CHECK;
int kv_append(struct kv_txn *txn, int table, const void *key, size_t n_key, const void *value,
              size_t n_value, struct error *err) MUST_CHECK;
int kv_delete(struct kv_txn *txn, int table, const void *key, size_t n_key, struct error *err) MUST_CHECK;

/* Iteration in key order. Each step: 1 and *key, *value; 0 at the end; or an error.
 *
 *     kv_cursor_open(txn, BLOCKS, &cur, &err);
 *     for (rc = kv_cursor_seek(cur, prefix, n, &k, &v, &err); rc > 0;
 *          rc = kv_cursor_next(cur, &k, &v, &err)) ...
 *     kv_cursor_close(cur);
 */
int kv_cursor_open(struct kv_txn *txn, int table, struct kv_cursor **cur, struct error *err) MUST_CHECK;
void kv_cursor_close(struct kv_cursor *cur);
int kv_cursor_first(struct kv_cursor *cur, struct kv_bytes *key, struct kv_bytes *value,
                    struct error *err) MUST_CHECK;
int kv_cursor_last(struct kv_cursor *cur, struct kv_bytes *key, struct kv_bytes *value,
                   struct error *err) MUST_CHECK;
int kv_cursor_next(struct kv_cursor *cur, struct kv_bytes *key, struct kv_bytes *value,
                   struct error *err) MUST_CHECK;
/* The first record whose key is not less than the given one. */
int kv_cursor_seek(struct kv_cursor *cur, const void *from, size_t n_from, struct kv_bytes *key,
                   struct kv_bytes *value, struct error *err) MUST_CHECK;

#endif
