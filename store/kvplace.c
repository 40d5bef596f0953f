/* The place of a store; see kvplace.h. Nothing here knows LMDB but the first bytes of its file. */
#include "store/kvplace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"

#define READERS_BYTES 32768 /* at least what LMDB needs for the readers of store/kv.c */
#define LEAST_ROOM    ((uint64_t)1 << 20)

static bool network_is_allowed;

void kvplace_allow_network(void)
{
    network_is_allowed = true;
}

/* Maps and locks of several machines do not see each other. */
int kvplace_refuse_network(const char *folder, struct error *err)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } networks[] = {
        {0x6969, "NFS"},        {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"},   {0x517b, "SMB"},
        {0x01021997, "9P"},     {0x5346414f, "AFS"},  {0x73757245, "Coda"},   {0x00c36400, "Ceph"},
        {0x0bd00bd0, "Lustre"}, {0x47504653, "GPFS"}, {0x19830326, "BeeGFS"},
    };
    struct statfs s;
    if (network_is_allowed) return 0;
    if (statfs(folder, &s) < 0) return error_errno(err, "%s", folder);
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (((unsigned long)s.f_type & 0xffffffff) == networks[i].magic)
            return error_set(
                err, ERR_USAGE,
                "%s: lies on a network file system (%s), on which a memory-mapped "
                "store is not safe; use a local disk, or --force where no other machine "
                "opens it",
                folder, networks[i].name);
    return 0;
}

bool kvplace_can_map(uint64_t have, uint64_t want)
{
    if (want <= have) return true;
    if (want - have > SIZE_MAX / 2) return false;
    void *p = mmap(NULL, want - have, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                   0);
    if (p == MAP_FAILED) return false;
    munmap(p, want - have);
    return true;
}

/* Less room where the address space is short, so that as much as the room stays for everything else. */
uint64_t kvplace_with_room(uint64_t have, uint64_t bytes, uint64_t room)
{
    while (room > LEAST_ROOM && !kvplace_can_map(have, bytes + 2 * room)) room /= 2;
    return bytes + room;
}

/* What else may be wrong with the file is LMDB's to say. */
int kvplace_reserve_readers(const char *where, const char *folder, struct error *err)
{
    struct stat st;
    int rc = 0;
    char *path = file_join(where, "lock.mdb", err);
    if (!path) return ERR_NOMEM;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EACCES)
        rc = error_errno(err,
                         "%s/lock.mdb: readers too enter themselves here and need the right to "
                         "write; use a copy of the cache",
                         folder);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_blocks * 512 < READERS_BYTES &&
        fallocate(fd, 0, 0, READERS_BYTES) < 0 && (errno == ENOSPC || errno == EDQUOT))
        rc = error_errno(err, "%s/lock.mdb: making room for readers", folder);
    if (fd >= 0) close(fd);
    memory_free(path);
    return rc;
}

/* One or two pages, each of them an empty head or zeros. */
bool kvplace_was_never_made(const char *data_path)
{
    enum { PAGE = 4096, MAGIC_AT = 16, TXNID_AT = 144 };
    static const uint8_t magic[4] = {0xde, 0xc0, 0xef, 0xbe}, nothing[PAGE];
    uint8_t pages[2 * PAGE + 1];
    int fd = open(data_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, pages, sizeof pages, 0);
    if (fd >= 0) close(fd);
    if (n <= 0 || n > 2 * PAGE || n % PAGE) return false;
    for (ssize_t at = 0; at < n; at += PAGE) {
        const uint8_t *page = pages + at;
        bool is_first_head = !memcmp(page + MAGIC_AT, magic, sizeof magic) &&
                             !memcmp(page + TXNID_AT, nothing, 8);
        if (!is_first_head && memcmp(page, nothing, PAGE)) return false;
    }
    return true;
}

bool kvplace_has_moved(const char *folder, int fd)
{
    struct stat then, now;
    return fd >= 0 && fstat(fd, &then) == 0 && stat(folder, &now) == 0 &&
           (then.st_ino != now.st_ino || then.st_dev != now.st_dev);
}
