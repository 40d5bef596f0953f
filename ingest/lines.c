/* A text file line by line; see lines.h. */
#include "ingest/lines.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "store/memory.h"

#define LINES_MAX_CAPACITY (4 * LINES_MAX_BYTES) /* memory_grow doubles */

int lines_open(struct lines *l, const char *path, struct error *err)
{
    *l = (struct lines){.path = path};
    struct stat st;
    if (stat(path, &st) < 0) return error_errno(err, "%s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_USAGE, "%s: a regular file is expected here", path);
    if (!(l->file = fopen(path, "rbe"))) return error_errno(err, "%s", path);
    uint8_t head[3] = {0};
    size_t n = fread(head, 1, sizeof head, l->file);
    if (n >= 2 && ((head[0] == 0xff && head[1] == 0xfe) || (head[0] == 0xfe && head[1] == 0xff))) {
        lines_close(l);
        return error_set(err, ERR_DATA, "%s: is UTF-16; convert it to UTF-8 first", path);
    }
    bool mark = n == 3 && !memcmp(head, "\xef\xbb\xbf", 3);
    int rc = lines_seek(l, mark ? 3 : 0, 1, err);
    if (rc < 0) lines_close(l);
    return rc;
}

void lines_close(struct lines *l)
{
    if (l->file) fclose(l->file);
    memory_free(l->buffer);
    *l = (struct lines){0};
}

int lines_seek(struct lines *l, uint64_t byte_offset, uint64_t line, struct error *err)
{
    if (fseeko(l->file, (off_t)byte_offset, SEEK_SET) < 0)
        return error_errno(err, "%s: seeking", l->path);
    l->position = byte_offset;
    l->line = line - 1;
    return 0;
}

int lines_next(struct lines *l, struct error *err)
{
    size_t n = 0;
    uint64_t start = l->position;
    int c;
    l->too_long = false;
    while ((c = getc_unlocked(l->file)) != EOF) {
        l->position++;
        if (c == '\n') break;
        if (n == LINES_MAX_BYTES) {
            l->too_long = true;
            continue;
        }
        if (memory_grow(&l->buffer, &l->capacity, n + 2, 1, LINES_MAX_CAPACITY, err) < 0)
            return ERR_NOMEM;
        l->buffer[n++] = (char)c;
    }
    if (c == EOF && ferror(l->file))
        return error_errno(err, "%s: reading after byte %llu", l->path,
                           (unsigned long long)l->position);
    if (l->position == start) return 0;
    if (n && l->buffer[n - 1] == '\r') n--;
    if (n) l->buffer[n] = '\0';
    l->text = n ? l->buffer : "";
    l->n = n;
    l->line++;
    l->byte_offset = start;
    return 1;
}
