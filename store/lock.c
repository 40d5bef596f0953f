/* The writer's lock; see lock.h. */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
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

int lock_take(struct lock **out, const char *folder, struct error *err)
{
    int rc = 0, fd = -1;
    struct lock *lock = NULL;
    char *path = file_join(folder, LOCK_FILE, err);
    if (!path) return ERR_NOMEM;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        rc = error_errno(err, "%s: the writer's lock cannot be opened", path);
        goto done;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        rc = errno == EWOULDBLOCK ? locked_error(fd, folder, err)
                                  : error_errno(err, "%s: locking", path);
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
