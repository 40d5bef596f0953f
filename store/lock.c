/* The writer's lock; see lock.h. */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"

struct lock {
    int fd;
};

static int locked_error(int fd, const char *folder, struct error *err)
{
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    while (n > 0 && (pid[n - 1] < '0' || pid[n - 1] > '9')) n--;
    if (n <= 0)
        return error_set(err, ERR_LOCKED, "%s: another run is writing here; wait for it to end",
                         folder);
    return error_set(err, ERR_LOCKED,
                     "%s: another run (process %.*s) is writing here; wait for it to end", folder,
                     (int)n, pid);
}

/* Whether path still leads to the file at fd: not when the folder was exchanged for another. */
static bool is_current(int fd, const char *path)
{
    struct stat mine, now;
    return fstat(fd, &mine) == 0 && stat(path, &now) == 0 && mine.st_ino == now.st_ino &&
           mine.st_dev == now.st_dev;
}

/* The locked file, or an error. */
static int lock_file(const char *path, const char *folder, struct error *err)
{
    for (;;) {
        int rc, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) return error_errno(err, "%s: the writer's lock cannot be opened", path);
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            if (is_current(fd, path)) return fd;
            close(fd); /* of a generation that is no longer the store */
            continue;
        }
        rc = errno == EWOULDBLOCK ? locked_error(fd, folder, err)
                                  : error_errno(err, "%s: locking", path);
        close(fd);
        return rc;
    }
}

int lock_take(struct lock **out, const char *folder, struct error *err)
{
    int rc = 0, fd = -1;
    struct lock *lock = NULL;
    char *path = file_join(folder, LOCK_FILE, err);
    if (!path) return ERR_NOMEM;
    fd = lock_file(path, folder, err);
    if (fd < 0) {
        rc = fd;
        goto done;
    }
    lock = memory_array(1, sizeof *lock, MEMORY_MAX_SMALL, err);
    if (!lock) {
        rc = ERR_NOMEM;
        goto done;
    }
    /* The id is for a message only: a full disk must not keep the lock from being taken. */
    if (ftruncate(fd, 0) == 0) (void)!dprintf(fd, "%ld\n", (long)getpid());
    lock->fd = fd;
    fd = -1;
    *out = lock;
done:
    if (fd >= 0) close(fd);
    memory_free(path);
    return rc;
}

void lock_release(struct lock *lock)
{
    if (!lock) return;
    close(lock->fd);
    memory_free(lock);
}
