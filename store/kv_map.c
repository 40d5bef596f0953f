/* How large an environment's map is, and how long its data file; see kv_inside.h. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/kv_inside.h"
#include "store/kvplace.h"

#define PAGES_A_CHANGE 4 /* at most, besides a value's own: see reach() */

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

uint64_t kv_head_bytes(const struct kv *kv, uint64_t *page_bytes)
{
    MDB_envinfo info;
    MDB_stat stat_;
    mdb_env_info(kv->env, &info);
    mdb_env_stat(kv->env, &stat_);
    if (page_bytes) *page_bytes = stat_.ms_psize;
    return ((uint64_t)info.me_last_pgno + 1) * stat_.ms_psize;
}

int kv_set_map(struct kv *kv, uint64_t bytes)
{
    return kvplace_can_map(kv_map_bytes(kv), bytes) ? mdb_env_set_mapsize(kv->env, bytes) : ENOMEM;
}

bool kv_make_room(struct kv *kv)
{
    uint64_t used = kv_head_bytes(kv, NULL), map = kv_map_bytes(kv);
    if (map - used < kv->room / 2) {
        uint64_t larger = kvplace_with_room(map, used, kv->room);
        if (larger > map && kv_set_map(kv, larger) == 0) map = larger;
    }
    return map - used < KV_PLENTY;
}

/* Where the file can end after a commit, at the most. A transaction writes anew each page that there
 * was once; a change makes at most one leaf more, of leaves at most as many branches, and rounds
 * its value up to a page; lists of free pages take 8 bytes for each page, and the roots a few. */
static uint64_t reach(const struct kv_txn *t)
{
    uint64_t page_bytes, used = kv_head_bytes(t->kv, &page_bytes), map = kv_map_bytes(t->kv);
    uint64_t most = 2 * used + t->n_bytes + t->n_changes * PAGES_A_CHANGE * page_bytes;
    most += most / 64 + ((uint64_t)4 << 20);
    return most < map ? most : map;
}

void kv_stretch(const struct kv_txn *t)
{
    mdb_filehandle_t fd;
    uint64_t length = reach(t);
    if (mdb_env_get_fd(t->kv->env, &fd) == 0 && kv_file_bytes(t->kv) < length)
        (void)!ftruncate(fd, (off_t)length);
}

int kv_trim(struct kv *kv, struct error *err)
{
    mdb_filehandle_t fd;
    mdb_env_get_fd(kv->env, &fd);
    if (ftruncate(fd, (off_t)kv_head_bytes(kv, NULL)) < 0)
        return error_errno(err, "%s/" KV_DATA_FILE ": setting its length", kv->folder);
    return 0;
}
