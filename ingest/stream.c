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

#include "ingest/utf16.h"
#include "store/memory.h"

#define BLOCK       ((size_t)64 << 10)
#define TAR_UNIT    512
#define PIPE_ENOUGH 4096 /* bytes after which a pipe is not waited for */

struct stream {
    char *path; /* owned; as given */
    int fd;
    uint64_t size, position; /* of the file */
    uint64_t text_end;       /* behind the last byte read that is no zero */
    char mark[24];           /* the first bytes of the file */
    size_t n_mark;
    bool is_regular, is_tar, is_stdin;
    int failed;              /* errno of a read that libarchive asked for */
    struct archive *archive; /* NULL: plain text */
    struct archive_entry *entry;
    bool is_lost; /* between a damaged header and the next good one */
    char *block;  // (BLOCK) what was read of the file
    size_t n_block;
    bool handed;      /* the block was given away: the next one is due */
    const char *head; /* the first unpacked block, until it is read */
    size_t n_head;
    bool at_end;
    bool is_wide; /* UTF-16: handed out as UTF-8 */
    struct utf16 utf16;
    char *narrow; /* what a block became; owned */
    size_t narrow_capacity;
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
        if (!s->is_regular && s->n_block >= PIPE_ENOUGH) break;
    }
    size_t end = s->n_block;
    while (end && !s->block[end - 1]) end--;
    if (end) s->text_end = s->position - (s->n_block - end);
    s->handed = false;
    return 0;
}

/* libarchive asks for the next block; the first is there already. */
static la_ssize_t give(struct archive *a, void *context, const void **bytes)
{
    struct stream *s = context;
    s->failed = s->handed ? fill(s) : 0;
    if (s->failed) {
        archive_set_error(a, s->failed, "%s", strerror(s->failed));
        return -1;
    }
    s->handed = true;
    *bytes = s->block;
    return (la_ssize_t)s->n_block;
}

static bool begins(const struct stream *s, const char *mark, size_t n)
{
    return s->n_mark >= n && !memcmp(s->mark, mark, n);
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
    const char *why = archive_error_string(s->archive);
    errno = s->failed;
    if (s->failed)
        return error_errno(err, "%s: after byte %llu", s->path, (unsigned long long)s->position);
    if (archive_errno(s->archive) == ENOMEM)
        return error_set(err, ERR_NOMEM, "%s: out of memory", s->path);
    return error_set(err, ERR_DATA, "%s: cut off or broken after byte %llu: %s", s->path,
                     (unsigned long long)s->position, why ? why : "no reason is known");
}

/* At the end of what libarchive reads: is this the end of the file too? It passes over what stands
 * behind a gzip or bzip2 stream, though that may be the stump of another, and over a missing end mark
 * of a tar. */
static int finish(struct stream *s, struct error *err)
{
    uint64_t used = (uint64_t)archive_filter_bytes(s->archive, -1);
    s->at_end = true;
    if (s->text_end > used)
        return error_set(err, ERR_DATA,
                         "%s: cut off or broken: what stands behind byte %llu is no part of the "
                         "compressed stream",
                         s->path, (unsigned long long)used);
    if (s->is_tar &&
        archive_filter_bytes(s->archive, 0) == archive_read_header_position(s->archive))
        return error_set(err, ERR_DATA,
                         "%s: the tar has no end mark: it may be cut off, and members lost",
                         s->path);
    return 0;
}

/* A compressed stream that begins like one but has no whole header: libarchive takes it for text. */
static bool is_cut_head(const struct stream *s)
{
    static const char bzip2[] = "BZh.1AY&SY";
    size_t n = s->n_mark < sizeof bzip2 - 1 ? s->n_mark : sizeof bzip2 - 1;
    if (archive_filter_count(s->archive) > 1) return false;
    if (begins(s, "\x1f\x8b", 2) || begins(s, "\x28\xb5\x2f\xfd", 4)) return true;
    return n > 4 && s->position < sizeof s->mark && begins(s, bzip2, 3) &&
           !memcmp(s->mark + 4, bzip2 + 4, n - 4);
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
    archive_read_set_format_option(s->archive, "tar", "read_concatenated_archives", "1");
    if (archive_read_open(s->archive, s, NULL, give, NULL) != ARCHIVE_OK) return broken(s, err);
    int rc = archive_read_next_header(s->archive, &s->entry);
    if (rc < ARCHIVE_WARN) return broken(s, err);
    if (is_cut_head(s))
        return error_set(err, ERR_DATA, "%s: is cut off in the header of its compression", s->path);
    s->is_tar = (archive_format(s->archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
    return rc == ARCHIVE_EOF ? finish(s, err) : 0;
}

static int read_archive(struct stream *s, const char **bytes, size_t *n, struct error *err)
{
    const void *block;
    la_int64_t offset;
    int rc;
    do rc = archive_read_data_block(s->archive, &block, n, &offset);
    while (rc == ARCHIVE_OK && *n == 0);
    if (rc == ARCHIVE_EOF) return finish(s, err);
    if (rc < ARCHIVE_WARN) return broken(s, err);
    *bytes = block;
    return 1;
}

/* What packs the file, where we do not read it. */
static const char *foreign_packer(const struct stream *s)
{
    static const struct {
        const char *mark;
        size_t n;
        const char *name;
    } known[] = {{"\xfd\x37zXZ", 5, "xz"},
                 {"\x04\x22\x4d\x18", 4, "lz4"},
                 {"PK\x03\x04", 4, "zip"},
                 {"7z\xbc\xaf\x27", 5, "7z"},
                 {"\x1f\x9d", 2, "compress"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (begins(s, known[i].mark, known[i].n)) return known[i].name;
    return NULL;
}

static int look(struct stream *s, struct error *err)
{
    int failed = fill(s);
    if (failed) {
        errno = failed;
        return error_errno(err, "%s", s->path);
    }
    s->n_mark = s->n_block < sizeof s->mark ? s->n_block : sizeof s->mark;
    memcpy(s->mark, s->block, s->n_mark);
    if (foreign_packer(s))
        return error_set(
            err, ERR_DATA,
            "%s: is packed with %s, which is not read here; unpack it, or pack it with "
            "gzip, zstd or bzip2",
            s->path, foreign_packer(s));
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

/* A block of UTF-16 as UTF-8, in place of *bytes. */
static int narrow(struct stream *s, const char **bytes, size_t *n, struct error *err)
{
    if (memory_grow(&s->narrow, &s->narrow_capacity, UTF16_BYTES(*n), 1, MEMORY_MAX_FILE, err) < 0)
        return ERR_NOMEM;
    *n = utf16_decode(&s->utf16, *bytes, *n, s->narrow);
    *bytes = s->narrow;
    return 0;
}

/* A text is handed out as UTF-8. */
static int look_at_text(struct stream *s, struct error *err)
{
    s->is_wide = s->n_head && utf16_begins(s->head, s->n_head, &s->utf16);
    return s->is_wide ? narrow(s, &s->head, &s->n_head, err) : 0;
}

int stream_open(struct stream **out, const char *path, struct error *err)
{
    struct stat st;
    *out = NULL;
    struct stream *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return ERR_NOMEM;
    int rc = ERR_NOMEM;
    s->is_stdin = !strcmp(path, STREAM_STDIN);
    s->fd = -1;
    s->path = memory_string(s->is_stdin ? "standard input" : path, err);
    s->block = memory_array(BLOCK, 1, MEMORY_MAX_SMALL, err);
    if (!s->path || !s->block) goto done;
    s->fd = s->is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    rc = s->fd < 0 || fstat(s->fd, &st) < 0 ? error_errno(err, "%s", s->path) : 0;
    if (rc == 0 && S_ISDIR(st.st_mode))
        rc = error_set(err, ERR_USAGE, "%s: is a folder; a file is expected here", s->path);
    if (rc < 0) goto done;
    s->is_regular = S_ISREG(st.st_mode);
    s->size = s->is_regular ? (uint64_t)st.st_size : 0;
    rc = look(s, err);
    if (rc == 0) rc = look_at_text(s, err);
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
    if (!s->is_stdin && s->fd >= 0) close(s->fd);
    memory_free(s->narrow);
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
    return s->is_regular && !s->archive && !s->is_stdin && !s->is_wide;
}

void stream_peek(const struct stream *s, const char **bytes, size_t *n)
{
    *bytes = s->n_head ? s->head : "";
    *n = s->n_head;
}

/* The next block as it lies. */
static int read_block(struct stream *s, const char **bytes, size_t *n, struct error *err)
{
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

int stream_read(struct stream *s, const char **bytes, size_t *n, struct error *err)
{
    if (s->n_head) {
        *bytes = s->head;
        *n = s->n_head;
        s->n_head = 0;
        return 1;
    }
    int rc = read_block(s, bytes, n, err);
    while (s->is_wide && rc > 0) {
        if (narrow(s, bytes, n, err) < 0) return ERR_NOMEM;
        if (*n) return 1;
        rc = read_block(s, bytes, n, err); /* that was half a character */
    }
    if (!s->is_wide || rc < 0) return rc;
    *bytes = s->narrow;
    *n = utf16_end(&s->utf16, s->narrow);
    return *n > 0;
}

int stream_member(struct stream *s, struct stream_member *m, struct error *err)
{
    if (s->at_end) return 0;
    struct archive_entry *entry = s->entry; /* the first was read by stream_open */
    s->entry = NULL;
    int rc = entry ? ARCHIVE_OK : archive_read_next_header(s->archive, &entry);
    while (rc == ARCHIVE_RETRY && s->is_lost) rc = archive_read_next_header(s->archive, &entry);
    s->is_lost = rc == ARCHIVE_RETRY;
    if (s->is_lost)
        return error_set(err, ERR_DATA,
                         "%s: the tar is damaged at byte %llu: what stands between here and the "
                         "next good header is lost",
                         s->path, (unsigned long long)archive_read_header_position(s->archive));
    if (rc == ARCHIVE_EOF) return finish(s, err);
    s->at_end = rc < ARCHIVE_WARN;
    if (s->at_end) return broken(s, err);
    const char *name = archive_entry_pathname(entry); /* the bytes, where the locale is "C" */
    if (!name) name = archive_entry_pathname_utf8(entry);
    *m = (struct stream_member){.name = name ? name : "",
                                .size = (uint64_t)archive_entry_size(entry),
                                .byte_offset = (uint64_t)archive_read_header_position(s->archive),
                                .is_file = archive_entry_filetype(entry) == AE_IFREG &&
                                           !archive_entry_hardlink(entry),
                                .is_folder = archive_entry_filetype(entry) == AE_IFDIR};
    return 1;
}

/* Puts a block to its place in the content, of which *n bytes are known; between them stand zeros. */
static int put(char **bytes, size_t *capacity, size_t *n, const char *block, size_t n_block,
               uint64_t offset, struct error *err)
{
    uint64_t end = offset + n_block;
    int rc = memory_grow(bytes, capacity, end + 1, 1, MEMORY_MAX_FILE, err);
    if (rc < 0) return rc;
    if (n_block) memcpy(*bytes + offset, block, n_block);
    if (end > *n) *n = (size_t)end;
    return 0;
}

int stream_member_read(struct stream *s, uint64_t limit, char **bytes, size_t *n, struct error *err)
{
    size_t capacity = 0;
    int rc = 0, got = ARCHIVE_OK;
    *bytes = NULL;
    *n = 0;
    /* the header's size is a claim: memory follows what is really there, and a hole at the end */
    while (rc == 0 && got >= ARCHIVE_WARN && got != ARCHIVE_EOF) {
        const void *block = NULL;
        size_t n_block = 0;
        la_int64_t offset = 0;
        got = archive_read_data_block(s->archive, &block, &n_block, &offset);
        if (got == ARCHIVE_EOF) n_block = 0;
        if (got < ARCHIVE_WARN)
            rc = broken(s, err);
        else if ((uint64_t)offset > limit || n_block > limit - (uint64_t)offset)
            rc = error_set(err, ERR_DATA, "the member has more than %llu bytes",
                           (unsigned long long)limit);
        else
            rc = put(bytes, &capacity, n, block, n_block, (uint64_t)offset, err);
    }
    if (got < ARCHIVE_WARN) s->at_end = true;
    if (rc < 0) {
        memory_free(*bytes);
        *bytes = NULL;
        *n = 0;
    }
    return rc;
}

uint64_t stream_position(const struct stream *s)
{
    return s->position;
}

uint64_t stream_size(const struct stream *s)
{
    return s->size;
}
