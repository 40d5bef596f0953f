/* Generations of a store's folder; see generation.h. */
#include "store/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "store/file.h"
#include "store/lock.h"
#include "store/memory.h"

#define BATCH_BYTES ((uint64_t)64 << 20) /* a transaction of the copy */
#define SLACK                                                                                      \
    ((uint64_t)2 << 20) /* beyond the records: heads, free lists, what a commit asks for */
#define REMOVE_TRIES 10

/* PARENT/.gc-NAME of PARENT/NAME. Owned. */
static char *beside(const char *folder, struct error *err)
{
    const char *slash = strrchr(folder, '/'), *name = slash ? slash + 1 : folder;
    char *parent = file_folder_of(folder, err), *out = NULL;
    char *base = memory_array(strlen(name) + 5, 1, MEMORY_MAX_SMALL, err);
    if (parent && base) {
        sprintf(base, ".gc-%s", name);
        out = file_join(parent, base, err);
    }
    memory_free(base);
    memory_free(parent);
    return out;
}

int generation_sweep(const char *folder, struct error *err)
{
    char *made = beside(folder, err);
    int rc = made ? 0 : ERR_NOMEM;
    if (rc == 0 && file_is_folder(made)) rc = file_remove_folder(made, err);
    memory_free(made);
    return rc;
}

/* Room for the records on the disk of `folder`. */
static int check_space(struct kv_txn *from, const char *folder, struct error *err)
{
    struct statvfs s;
    uint64_t used = 0;
    int rc = kv_used_bytes(from, &used, err);
    if (rc < 0) return rc;
    if (statvfs(folder, &s) < 0 || s.f_blocks == 0) return 0; /* the writes will tell */
    uint64_t available = (uint64_t)s.f_bavail * s.f_frsize;
    if (available >= used + SLACK) return 0;
    return error_set(err, ERR_NOSPACE,
                     "%s: disk full: a whole copy of %s needs %llu bytes, %llu are free", folder,
                     kv_folder(kv_of(from)), (unsigned long long)(used + SLACK),
                     (unsigned long long)available);
}

/* What a copy carries from table to table. */
struct copy {
    struct kv_txn *from, *to;
    struct kv *kv;    /* of the copy */
    uint64_t n_bytes; /* in the open transaction */
    uint64_t n_done, n_total;
    const struct report *report;
    const char *what;
};

static int commit(struct copy *c, struct error *err)
{
    int rc = c->to ? kv_commit(c->to, err) : 0;
    c->to = NULL;
    c->n_bytes = 0;
    return rc;
}

static int copy_table(struct copy *c, int table, struct error *err)
{
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value;
    int rc = kv_cursor_open(c->from, table, &cur, err);
    if (rc == 0) rc = kv_cursor_first(cur, &key, &value, err);
    while (rc > 0) {
        rc = c->to ? 0 : kv_begin_write(c->kv, &c->to, err);
        if (rc == 0) rc = kv_append(c->to, table, key.bytes, key.n, value.bytes, value.n, err);
        if (rc < 0) break;
        c->n_bytes += key.n + value.n;
        if (++c->n_done % 1024 == 0)
            report_progress(c->report, c->what, c->n_done, c->n_total, 0, 0);
        if (c->n_bytes >= BATCH_BYTES) rc = commit(c, err);
        if (rc == 0 && report_stopped(c->report))
            rc = error_set(err, ERR_STOPPED, "%s was stopped; the store is as it was", c->what);
        if (rc < 0) break;
        rc = kv_cursor_next(cur, &key, &value, err);
    }
    kv_cursor_close(cur);
    return rc;
}

int generation_copy(struct kv_txn *from, const char *folder, const struct report *report,
                    const char *what, struct error *err)
{
    struct copy c = {.from = from, .report = report, .what = what};
    int n_tables;
    const char *const *tables = kv_tables(kv_of(from), &n_tables);
    int rc = file_make_folder(folder, err);
    if (rc == 0) rc = check_space(from, folder, err);
    for (int i = 0; rc == 0 && i < n_tables; i++) {
        uint64_t n = 0;
        rc = kv_count(from, i, &n, err);
        c.n_total += n;
    }
    if (rc == 0)
        rc = kv_open(&c.kv, folder,
                     &(struct kv_config){.mode = KV_WRITE, .tables = tables, .n_tables = n_tables},
                     err);
    for (int i = 0; rc == 0 && i < n_tables; i++) rc = copy_table(&c, i, err);
    if (rc == 0) rc = commit(&c, err);
    if (rc == 0) rc = file_sync_folder(folder, err);
    kv_abort(c.to);
    kv_close(c.kv);
    if (rc == 0) report_progress(report, what, c.n_total, c.n_total, 0, 0);
    return rc;
}

/* Gives each of two folders the other's name. */
static int exchange(const char *a, const char *b, struct error *err)
{
    if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0) return 0;
    if (errno == EINVAL || errno == ENOSYS || errno == EXDEV)
        return error_set(err, ERR_USAGE,
                         "%s: this file system cannot exchange two folders in one step, and "
                         "anything less could lose the store; copy the cache to a local disk",
                         b);
    return error_errno(err, "%s cannot take the place of %s", a, b);
}

static int sync_parent(const char *folder, struct error *err)
{
    char *parent = file_folder_of(folder, err);
    int rc = parent ? file_sync_folder(parent, err) : ERR_NOMEM;
    memory_free(parent);
    return rc;
}

/* A reader that is just opening the old generation may make a file in it while it is removed: then
 * once more. What stays is swept away by the next writer. */
static int remove_old(const char *folder, struct error *err)
{
    int rc = -1;
    for (int i = 0; rc < 0 && i < REMOVE_TRIES; i++) rc = file_remove_folder(folder, err);
    return rc;
}

int generation_replace(struct kv *kv, const struct report *report, const char *what,
                       struct generation_bytes *bytes, struct error *err)
{
    struct kv_txn *txn = NULL;
    struct lock *lock = NULL; /* of the new one: nobody writes into it before the old one is away */
    const char *folder = kv_folder(kv);
    char *made = beside(folder, err), *data = NULL;
    bytes->before = kv_file_bytes(kv);
    int rc = made && (data = file_join(folder, "data.mdb", err)) ? 0 : ERR_NOMEM;
    if (rc == 0) rc = generation_sweep(folder, err);
    if (rc == 0) rc = kv_begin_read(kv, &txn, err);
    if (rc == 0) rc = generation_copy(txn, made, report, what, err);
    kv_abort(txn);
    if (rc == 0) rc = lock_take(&lock, made, err);
    if (rc == 0) rc = exchange(made, folder, err);
    if (rc < 0) {
        if (made) (void)!generation_sweep(folder, NULL);
        goto done;
    }
    kv_retire(kv);
    bytes->after = file_size(data);
    rc = sync_parent(folder, err);
    if (rc == 0) rc = remove_old(made, err);
done:
    lock_release(lock);
    memory_free(data);
    memory_free(made);
    return rc;
}
