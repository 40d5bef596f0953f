/* A shim of system calls for tests, loaded with LD_PRELOAD (tests/cli_faults.sh, tests/long_power.sh build it).
 * It touches calls on files below the folder FAULT_PATH alone.
 *
 *     FAULT_CALL=write|sync|alloc FAULT_AT=N   the Nth such call fails: EIO, ENOMEM for alloc. alloc counts
 *                                              the calls of aligned_alloc, by which the store allocates
 *     FAULT_SIGNAL=N                           instead of failing, the call is delayed until the process has got
 *                                              this signal
 *     FAULT_DELAY=MS                           each such call takes so much longer, and none fails
 *     FAULT_SHORT=1                            a write that fails has written half before
 *     FAULT_COUNT=FILE                         how many of them there were is written there at the end
 *     FAULT_STATFS=HEX                         statfs says that files lie on a file system of this magic
 *     FAULT_LOG=FILE                           writes, cuts, renames and syncs are appended there, for
 *                                              tests/powerloss.c, which draws the records
 *
 * LMDB writes with pwrite, and lseek and writev; its head through a descriptor of its own, O_DSYNC.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    OP_WRITE = 'w',
    OP_CUT = 'c',
    OP_SYNC = 's',
    OP_RENAME = 'r',
    OP_SYNCED_WRITE = 'W',
    OP_UNLINK = 'u'
};

static long *n_calls; /* shared with forked children */
static pid_t process;

__attribute__((constructor)) static void at_start(void)
{
    n_calls = mmap(NULL, sizeof *n_calls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                   0);
    process = getpid();
}

static void *real(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f) abort();
    return f;
}

static int is_below(const char *path)
{
    const char *folder = getenv("FAULT_PATH");
    return folder && !strncmp(path, folder, strlen(folder));
}

/* Whether the descriptor is of a file that is watched; its path. */
static int is_watched(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return is_below(path);
}

static int is_call(const char *call)
{
    const char *want = getenv("FAULT_CALL");
    return want && !strcmp(want, call);
}

/* Counts a call of the kind asked for; 1 when it is the one that fails. */
static int fails(const char *call)
{
    if (!is_call(call)) return 0;
    const char *at = getenv("FAULT_AT"), *signal = getenv("FAULT_SIGNAL"),
               *delay = getenv("FAULT_DELAY");
    if (delay) usleep(1000 * (useconds_t)atoi(delay));
    if (__atomic_add_fetch(n_calls, 1, __ATOMIC_RELAXED) != (at ? atol(at) : 0)) return 0;
    if (!signal) return 1;
    kill(process, atoi(signal));
    usleep(20000);
    return 0;
}

__attribute__((destructor)) static void at_end(void)
{
    const char *file = getenv("FAULT_COUNT");
    FILE *f = file ? fopen(file, "w") : NULL;
    if (!f) return;
    fprintf(f, "%ld\n", *n_calls);
    fclose(f);
}

/* One record: kind, u32 lengths of path and data, u64 offset, path, data. */
static void record(char kind, const char *path, uint64_t offset, const void *data, uint32_t n)
{
    const char *file = getenv("FAULT_LOG");
    int (*do_open)(const char *, int, ...) = real("open");
    int fd = file ? do_open(file, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
    if (fd < 0) return;
    uint32_t n_path = (uint32_t)strlen(path);
    struct iovec parts[] = {{&kind, 1},   {&n_path, 4},           {&n, 4},
                            {&offset, 8}, {(void *)path, n_path}, {(void *)data, n}};
    ssize_t (*do_writev)(int, const struct iovec *, int) = real("writev");
    if (do_writev(fd, parts, 6) < 0) abort();
    close(fd);
}

static void record_write(int fd, const char *path, uint64_t offset, const void *data, size_t n)
{
    int flags = fcntl(fd, F_GETFL);
    record(flags >= 0 && flags & O_DSYNC ? OP_SYNCED_WRITE : OP_WRITE, path, offset, data,
           (uint32_t)n);
}

static ssize_t any_pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    ssize_t (*f)(int, const void *, size_t, off_t) = real("pwrite");
    char path[PATH_MAX];
    if (!is_watched(fd, path)) return f(fd, bytes, n, at);
    if (fails("write")) {
        if (getenv("FAULT_SHORT") && f(fd, bytes, n / 2, at) < 0) abort();
        errno = EIO;
        return -1;
    }
    ssize_t done = f(fd, bytes, n, at);
    if (done > 0) record_write(fd, path, (uint64_t)at, bytes, (size_t)done);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    return any_pwrite(fd, bytes, n, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at)
{
    return any_pwrite(fd, bytes, n, at);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    ssize_t (*f)(int, const void *, size_t) = real("write");
    char path[PATH_MAX];
    if (!is_watched(fd, path)) return f(fd, bytes, n);
    if (fails("write")) {
        errno = EIO;
        return -1;
    }
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = f(fd, bytes, n);
    if (done > 0) record_write(fd, path, (uint64_t)at, bytes, (size_t)done);
    return done;
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    ssize_t (*f)(int, const struct iovec *, int) = real("writev");
    char path[PATH_MAX];
    if (!is_watched(fd, path)) return f(fd, v, n);
    if (fails("write")) {
        errno = EIO;
        return -1;
    }
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = f(fd, v, n), left = done;
    for (int i = 0; i < n && left > 0; i++) {
        size_t part = v[i].iov_len < (size_t)left ? v[i].iov_len : (size_t)left;
        record_write(fd, path, (uint64_t)at, v[i].iov_base, part);
        at += (off_t)part;
        left -= (ssize_t)part;
    }
    return done;
}

static int any_cut(int fd, off_t length)
{
    int (*f)(int, off_t) = real("ftruncate");
    char path[PATH_MAX];
    int watched = is_watched(fd, path), rc = f(fd, length);
    if (watched && rc == 0) record(OP_CUT, path, (uint64_t)length, "", 0);
    return rc;
}

int ftruncate(int fd, off_t length)
{
    return any_cut(fd, length);
}

int ftruncate64(int fd, off_t length)
{
    return any_cut(fd, length);
}

static int any_sync(const char *name, int fd)
{
    int (*f)(int) = real(name);
    char path[PATH_MAX];
    if (!is_watched(fd, path)) return f(fd);
    if (fails("sync")) {
        errno = EIO;
        return -1;
    }
    record(OP_SYNC, path, 0, "", 0);
    return f(fd);
}

int fsync(int fd)
{
    return any_sync("fsync", fd);
}

int fdatasync(int fd)
{
    return any_sync("fdatasync", fd);
}

int rename(const char *from, const char *to)
{
    int (*f)(const char *, const char *) = real("rename");
    int rc = f(from, to);
    if (rc == 0 && is_below(from)) record(OP_RENAME, from, 0, to, (uint32_t)strlen(to) + 1);
    return rc;
}

int unlink(const char *path)
{
    int (*f)(const char *) = real("unlink");
    int rc = f(path);
    if (rc == 0 && is_below(path)) record(OP_UNLINK, path, 0, "", 0);
    return rc;
}

void *aligned_alloc(size_t align, size_t n)
{
    void *(*f)(size_t, size_t) = real("aligned_alloc");
    if (!fails("alloc")) return f(align, n);
    errno = ENOMEM;
    return NULL;
}

int statfs(const char *path, struct statfs *s)
{
    int (*f)(const char *, struct statfs *) = real("statfs");
    const char *magic = getenv("FAULT_STATFS");
    int rc = f(path, s);
    if (rc == 0 && magic && is_below(path)) s->f_type = (__fsword_t)strtoul(magic, NULL, 16);
    return rc;
}
