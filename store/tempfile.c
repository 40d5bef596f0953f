/* Written beside, locked, renamed; see tempfile.h. */
#include "store/tempfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"

/* Whether the name still leads to the file at fd: not when whoever held the lock has put it in place. */
static bool is_current(int fd, const char *path)
{
    struct stat mine, now;
    return fstat(fd, &mine) == 0 && stat(path, &now) == 0 && mine.st_ino == now.st_ino &&
           mine.st_dev == now.st_dev;
}

/* The file, locked where the file system can. */
static int open_locked(const char *tmp, struct error *err)
{
    for (;;) {
        int fd = open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) return error_errno(err, "%s: cannot be written", tmp);
        while (flock(fd, LOCK_EX) < 0 && errno == EINTR) {}
        if (is_current(fd, tmp)) return fd;
        close(fd);
    }
}

int tempfile_open(struct tempfile *t, const char *path, struct error *err)
{
    *t = (struct tempfile){.fd = -1};
    int rc = ERR_NOMEM;
    t->path = memory_string(path, err);
    t->folder = t->path ? file_folder_of(path, err) : NULL;
    t->tmp = t->folder ? memory_array(strlen(path) + 16, 1, MEMORY_MAX_SMALL, err) : NULL;
    if (!t->tmp) goto fail;
    sprintf(t->tmp, "%s.tmp-part", path);
    rc = t->fd = open_locked(t->tmp, err);
    if (rc < 0) goto fail;
    if (ftruncate(t->fd, 0) == 0 || errno == EINVAL) return 0; /* a device has no length */
    rc = error_errno(err, "%s: cannot be written", t->tmp);
fail:
    tempfile_close(t);
    return rc;
}

int tempfile_write(struct tempfile *t, const void *bytes, size_t n, struct error *err)
{
    const char *p = bytes;
    while (n) {
        ssize_t k = write(t->fd, p, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return error_errno(err, "%s: writing", t->tmp);
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

int tempfile_place(struct tempfile *t, struct error *err)
{
    if (fsync(t->fd) < 0) return error_errno(err, "%s: writing", t->tmp);
    if (rename(t->tmp, t->path) < 0) return error_errno(err, "%s: cannot be put in place", t->path);
    t->is_placed = true;
    return file_sync_folder(t->folder, err);
}

void tempfile_close(struct tempfile *t)
{
    if (t->tmp && t->fd >= 0) {
        if (!t->is_placed) unlink(t->tmp);
        close(t->fd); /* the lock ends after the name: nobody writes to a file that is placed */
    }
    memory_free(t->path);
    memory_free(t->tmp);
    memory_free(t->folder);
    *t = (struct tempfile){0};
}
