/* Files and folders; see file.h. Every error names the path it is about. */
#include "store/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/memory.h"
#include "store/tempfile.h"

/* Opens for reading and refuses what is not a regular file (a folder, a FIFO that would hang). */
static int open_regular(const char *path, struct stat *st, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return error_errno(err, "%s", path);
    int rc = 0;
    if (fstat(fd, st) < 0)
        rc = error_errno(err, "%s", path);
    else if (!S_ISREG(st->st_mode))
        rc = error_set(err, ERR_USAGE, "%s: is %s, a regular file is expected", path,
                       S_ISDIR(st->st_mode) ? "a folder" : "a device or pipe");
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}

int file_read(const char *path, uint64_t limit, char **bytes, size_t *n, struct error *err)
{
    struct stat st;
    int fd = open_regular(path, &st, err);
    if (fd < 0) return fd;
    int rc = 0;
    char *p = NULL;
    uint64_t size = (uint64_t)st.st_size, got = 0;
    if (size > limit) {
        rc = error_set(err, ERR_DATA, "%s: has %llu bytes, at most %llu are expected", path,
                       (unsigned long long)size, (unsigned long long)limit);
        goto done;
    }
    p = memory_array(size + 1, 1, MEMORY_MAX_TENSOR, err);
    if (!p) {
        rc = ERR_NOMEM;
        error_prefix(err, "%s: ", path);
        goto done;
    }
    while (got < size) {
        ssize_t k = read(fd, p + got, size - got);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) rc = error_errno(err, "%s: reading", path);
        if (k <= 0) break;
        got += (uint64_t)k;
    }
    if (rc == 0 && got < size)
        rc = error_set(err, ERR_IO, "%s: became shorter while it was read", path);
done:
    close(fd);
    if (rc < 0) {
        memory_free(p);
        return rc;
    }
    *bytes = p;
    *n = (size_t)size;
    return 0;
}

int file_write(const char *path, const void *bytes, size_t n, struct error *err)
{
    struct tempfile t;
    int rc = tempfile_open(&t, path, err);
    if (rc < 0) return rc;
    rc = tempfile_write(&t, bytes, n, err);
    if (rc == 0) rc = tempfile_place(&t, err);
    tempfile_close(&t);
    return rc;
}

int file_write_in(const char *folder, const char *name, const void *bytes, size_t n,
                  struct error *err)
{
    char *path = file_join(folder, name, err);
    if (!path) return ERR_NOMEM;
    int rc = file_write(path, bytes, n, err);
    memory_free(path);
    return rc;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool file_is_special(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

uint64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

int file_make_folder(const char *path, struct error *err)
{
    char *p = memory_string(path, err);
    if (!p) return ERR_NOMEM;
    int rc = 0;
    for (char *end = p; rc == 0 && *end;) {
        end++;
        while (*end && *end != '/') end++;
        char slash = *end;
        *end = 0;
        if (mkdir(p, 0777) < 0 &&
            !(errno == EEXIST && file_is_folder(p))) /* EEXIST of a file stays an error */
            rc = error_errno(err, "%s: the folder cannot be made", p);
        *end = slash;
    }
    memory_free(p);
    return rc;
}

/* Removes what is in the folder open at fd (closed here); errno of the first failure in *first. */
static void remove_inside(int fd, int *first)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        if (!*first) *first = errno;
        close(fd);
        return;
    }
    struct dirent *e;
    while ((e = readdir(d))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        int flags = 0;
        int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0) {
            remove_inside(sub, first);
            flags = AT_REMOVEDIR;
        }
        if (unlinkat(dirfd(d), e->d_name, flags) < 0 && errno != ENOENT && !*first) *first = errno;
    }
    closedir(d);
}

int file_remove_folder(const char *path, struct error *err)
{
    int first = 0, fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_errno(err, "%s: the folder cannot be removed", path);
    remove_inside(fd, &first);
    if (first == 0 && rmdir(path) < 0 && errno != ENOENT) first = errno;
    if (first == 0) return 0;
    errno = first;
    return error_errno(err, "%s: the folder cannot be removed", path);
}

int file_sync_folder(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_errno(err, "%s", path);
    int rc = fsync(fd) < 0 ? error_errno(err, "%s: syncing the folder", path) : 0;
    close(fd);
    return rc;
}

char *file_join(const char *folder, const char *name, struct error *err)
{
    if (name[0] == '/' || !folder[0]) return memory_string(name, err);
    size_t n = strlen(folder), m = strlen(name);
    char *p = memory_array((uint64_t)n + m + 2, 1, MEMORY_MAX_SMALL, err);
    if (!p) return NULL;
    memcpy(p, folder, n);
    if (p[n - 1] != '/') p[n++] = '/';
    memcpy(p + n, name, m);
    return p;
}

char *file_folder_of(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return memory_string(".", err);
    return slash == path ? memory_string("/", err) : memory_copy(path, (size_t)(slash - path), err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int file_list(const char *folder, char ***names, size_t *n, struct error *err)
{
    DIR *d = opendir(folder);
    if (!d) return error_errno(err, "%s", folder);
    int rc = 0;
    char *text = NULL, **table = NULL; /* names one after the other, each with its NUL */
    size_t capacity = 0, used = 0, count = 0;
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e && errno) rc = error_errno(err, "%s: listing", folder);
        if (!e) break;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        size_t len = strlen(e->d_name) + 1;
        rc = memory_grow(&text, &capacity, used + len, 1, MEMORY_MAX_FILE, err);
        if (rc < 0) goto done;
        memcpy(text + used, e->d_name, len);
        used += len;
        count++;
    }
    if (rc < 0) goto done;
    table = memory_array(count * sizeof *table + used, 1, MEMORY_MAX_FILE, err);
    if (!table) {
        rc = ERR_NOMEM;
        goto done;
    }
    char *p = (char *)(table + count);
    if (used) memcpy(p, text, used);
    for (size_t i = 0; i < count; i++, p += strlen(p) + 1) table[i] = p;
    if (count) qsort(table, count, sizeof *table, by_name);
    *names = table;
    *n = count;
done:
    memory_free(text);
    closedir(d);
    return rc;
}

int file_map(const char *path, struct file_map *map, struct error *err)
{
    struct stat st;
    int fd = open_regular(path, &st, err);
    if (fd < 0) return fd;
    int rc = 0;
    if (st.st_size == 0) {
        *map = (struct file_map){.bytes = (const uint8_t *)"", .n = 0};
        goto done;
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        rc = error_errno(err, "%s: mapping", path);
        goto done;
    }
    *map = (struct file_map){.bytes = p, .n = (size_t)st.st_size};
done:
    close(fd);
    return rc;
}

void file_unmap(struct file_map *map)
{
    if (map->n) munmap((void *)(uintptr_t)map->bytes, map->n);
    *map = (struct file_map){0};
}
