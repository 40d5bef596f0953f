/* The bytes of a source; see stream.h. A first look at the head decides: what holds no NUL and no
 * mark of a compressor is text and is handed out as it is read; the rest goes through libarchive,
 * whose "raw" format unpacks what is no tar. */
#include "ingest/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/memory.h"

#define BLOCK    ((size_t)64 << 10)
#define TAR_UNIT 512

struct stream {
    char *path; /* owned; as given */
    int fd;
    uint64_t size, position; /* of the file */
    bool is_regular, is_tar, is_closed_by_us;
    struct archive *archive; /* NULL: plain text */
    struct archive_entry *entry;
    char *block; // (BLOCK) what was read of the file
    size_t n_block;
    bool handed;      /* the block was given away: the next one is due */
    const char *head; /* the first unpacked block, until it is read */
    size_t n_head;
    bool at_end;
};

/* Fills the block from the file, whole unless the file ends; 0, or an errno. */
static int fill(struct stream *s)
{
    s->n_block = 0;
    while (s->n_block < BLOCK) {
        ssize_t n = read(s->fd, s->block + s->n_block, BLOCK - s->n_block);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) break;
        s->n_block += (size_t)n;
        s->position += (uint64_t)n;
        if (!s->is_regular && s->n_block >= TAR_UNIT) break; /* what a pipe has is enough */
    }
    s->handed = false;
    return 0;
}

/* libarchive asks for the next block; the first is there already. */
static la_ssize_t give(struct archive *a, void *context, const void **bytes)
{
    struct stream *s = context;
    int failed = s->handed ? fill(s) : 0;
    if (failed) {
        archive_set_error(a, failed, "%s", strerror(failed));
        return -1;
    }
    s->handed = true;
    *bytes = s->block;
    return (la_ssize_t)s->n_block;
}

static bool begins(const struct stream *s, const char *mark, size_t n)
{
    return s->n_block >= n && !memcmp(s->block, mark, n);
}

static bool is_text(const struct stream *s)
{
    size_t n = s->n_block < TAR_UNIT ? s->n_block : TAR_UNIT;
    return !memchr(s->block, 0, n) && !begins(s, "\x1f\x8b", 2) &&
           !begins(s, "\x28\xb5\x2f\xfd", 4) && !begins(s, "BZh", 3);
}

/* What libarchive says, without its habit of naming no file. */
static int broken(struct stream *s, struct error *err)
{
    int code = archive_errno(s->archive);
    const char *why = archive_error_string(s->archive);
    if (code == ENOMEM) return error_set(err, ERR_NOMEM, "%s: out of memory", s->path);
    if (code == EIO || code == EISDIR)
        return error_set(err, ERR_IO, "%s: after byte %llu: %s", s->path,
                         (unsigned long long)s->position, why);
    return error_set(err, ERR_DATA, "%s: cut off or broken after byte %llu: %s", s->path,
                     (unsigned long long)s->position, why ? why : "no reason is known");
}

static int open_archive(struct stream *s, struct error *err)
{
    s->archive = archive_read_new();
    if (!s->archive) return error_set(err, ERR_NOMEM, "%s: out of memory", s->path);
    archive_read_support_filter_gzip(s->archive);
    archive_read_support_filter_zstd(s->archive);
    archive_read_support_filter_bzip2(s->archive);
    archive_read_support_format_tar(s->archive);
    archive_read_support_format_raw(s->archive);
    archive_read_support_format_empty(s->archive);
    if (archive_read_open(s->archive, s, NULL, give, NULL) != ARCHIVE_OK) return broken(s, err);
    int rc = archive_read_next_header(s->archive, &s->entry);
    if (rc == ARCHIVE_EOF) {
        s->at_end = true;
        s->is_tar = (archive_format(s->archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
        return 0;
    }
    if (rc < ARCHIVE_WARN) return broken(s, err);
    s->is_tar = (archive_format(s->archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
    return 0;
}

static int read_archive(struct stream *s, const char **bytes, size_t *n, struct error *err)
{
    const void *block;
    la_int64_t offset;
    int rc;
    do rc = archive_read_data_block(s->archive, &block, n, &offset);
    while (rc == ARCHIVE_OK && *n == 0);
    if (rc == ARCHIVE_EOF) {
        s->at_end = true;
        return 0;
    }
    if (rc < ARCHIVE_WARN) return broken(s, err);
    *bytes = block;
    return 1;
}

static int look(struct stream *s, struct error *err)
{
    int failed = fill(s);
    if (failed) {
        errno = failed;
        return error_errno(err, "%s", s->path);
    }
    if (is_text(s)) {
        s->head = s->block;
        s->n_head = s->n_block;
        s->handed = true;
        return 0;
    }
    int rc = open_archive(s, err);
    if (rc < 0 || s->is_tar || s->at_end) return rc;
    rc = read_archive(s, &s->head, &s->n_head, err);
    return rc < 0 ? rc : 0;
}

int stream_open(struct stream **out, const char *path, struct error *err)
{
    struct stat st;
    *out = NULL;
    struct stream *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return ERR_NOMEM;
    bool is_stdin = !strcmp(path, STREAM_STDIN);
    int rc = ERR_NOMEM;
    s->fd = -1;
    s->path = memory_string(is_stdin ? "standard input" : path, err);
    s->block = memory_array(BLOCK, 1, MEMORY_MAX_SMALL, err);
    if (!s->path || !s->block) goto done;
    s->is_closed_by_us = !is_stdin;
    s->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    rc = s->fd < 0 || fstat(s->fd, &st) < 0 ? error_errno(err, "%s", s->path) : 0;
    if (rc == 0 && S_ISDIR(st.st_mode))
        rc = error_set(err, ERR_USAGE, "%s: is a folder; a file is expected here", s->path);
    if (rc < 0) goto done;
    s->is_regular = S_ISREG(st.st_mode);
    s->size = s->is_regular ? (uint64_t)st.st_size : 0;
    rc = look(s, err);
    if (rc == 0) {
        *out = s;
        s = NULL;
    }
done:
    stream_close(s);
    return rc;
}

void stream_close(struct stream *s)
{
    if (!s) return;
    archive_read_free(s->archive);
    if (s->is_closed_by_us && s->fd >= 0) close(s->fd);
    memory_free(s->block);
    memory_free(s->path);
    memory_free(s);
}

bool stream_is_tar(const struct stream *s)
{
    return s->is_tar;
}

bool stream_is_plain(const struct stream *s)
{
    return s->is_regular && !s->archive;
}

void stream_peek(const struct stream *s, const char **bytes, size_t *n)
{
    *bytes = s->n_head ? s->head : "";
    *n = s->n_head;
}

int stream_read(struct stream *s, const char **bytes, size_t *n, struct error *err)
{
    if (s->n_head) {
        *bytes = s->head;
        *n = s->n_head;
        s->n_head = 0;
        return 1;
    }
    if (s->at_end || s->is_tar) return 0;
    if (s->archive) return read_archive(s, bytes, n, err);
    int failed = fill(s);
    if (failed) {
        errno = failed;
        return error_errno(err, "%s: after byte %llu", s->path, (unsigned long long)s->position);
    }
    *bytes = s->block;
    *n = s->n_block;
    s->at_end = s->n_block == 0;
    return !s->at_end;
}

int stream_member(struct stream *s, struct stream_member *m, struct error *err)
{
    if (s->at_end) return 0;
    struct archive_entry *entry = s->entry; /* the first was read by stream_open */
    s->entry = NULL;
    int rc = entry ? ARCHIVE_OK : archive_read_next_header(s->archive, &entry);
    if (rc == ARCHIVE_EOF) {
        s->at_end = true;
        return 0;
    }
    if (rc < ARCHIVE_WARN) return broken(s, err);
    const char *name = archive_entry_pathname(
        entry); /* NULL where the locale has no such letters */
    if (!name) name = archive_entry_pathname_utf8(entry);
    *m = (struct stream_member){.name = name ? name : "",
                                .size = (uint64_t)archive_entry_size(entry),
                                .byte_offset = (uint64_t)archive_read_header_position(s->archive),
                                .is_file = archive_entry_filetype(entry) == AE_IFREG &&
                                           !archive_entry_hardlink(entry)};
    return 1;
}

int stream_member_read(struct stream *s, uint64_t limit, char **bytes, size_t *n, struct error *err)
{
    size_t capacity = 0;
    const char *block;
    la_int64_t offset;
    int rc = ARCHIVE_OK;
    *bytes = NULL;
    *n = 0;
    /* the header's size is a claim: memory follows what is really there */
    while (rc == ARCHIVE_OK) {
        size_t n_block = 0;
        rc = archive_read_data_block(s->archive, (const void **)&block, &n_block, &offset);
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) break;
        if ((uint64_t)offset > limit || n_block > limit - (uint64_t)offset) {
            memory_free(*bytes);
            *bytes = NULL;
            return error_set(err, ERR_DATA, "the member has more than %llu bytes",
                             (unsigned long long)limit);
        }
        size_t end = (size_t)offset + n_block;
        if (memory_grow(bytes, &capacity, end + 1, 1, 2 * limit + 4096, err) < 0) {
            memory_free(*bytes);
            *bytes = NULL;
            return ERR_NOMEM;
        }
        if (n_block) memcpy(*bytes + offset, block, n_block);
        if (end > *n) *n = end;
    }
    if (rc == ARCHIVE_EOF && !*bytes && memory_grow(bytes, &capacity, 1, 1, 4096, err) < 0)
        return ERR_NOMEM;
    if (rc == ARCHIVE_EOF) return 0;
    memory_free(*bytes);
    *bytes = NULL;
    return broken(s, err);
}

uint64_t stream_position(const struct stream *s)
{
    return s->position;
}

uint64_t stream_size(const struct stream *s)
{
    return s->size;
}
