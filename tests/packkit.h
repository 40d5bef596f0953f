/* Sources made on the spot, for tests of readers: text that grows, tars written header by header, gzip,
 * zstd and bzip2, and a source read to its end as one line a row.
 *
 *     struct pack tar = {0};
 *     pack_member(&tar, "a.jpg", '0', bytes, n); pack_end(&tar);
 *     struct pack gz = pack_gzip(tar.bytes, tar.n);
 *     char *rows = rows_of(path, SOURCE_AUTO, NULL);       // "image|id|lang|caption\n", "!reason\n"
 */
#ifndef TESTS_PACKKIT_H
#define TESTS_PACKKIT_H

#include <archive.h>
#include <archive_entry.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

#define UNUSED __attribute__((unused))

struct pack {
    char *bytes; /* owned: memory_free; a NUL behind */
    size_t n, capacity;
};

UNUSED static void pack_add(struct pack *p, const void *bytes, size_t n)
{
    if (memory_grow(&p->bytes, &p->capacity, p->n + n + 1, 1, MEMORY_MAX_FILE, NULL) < 0) abort();
    if (n) memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
    p->bytes[p->n] = '\0';
}

UNUSED static PRINTF_LIKE(2, 3) void pack_text(struct pack *p, const char *format, ...)
{
    char text[4000];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n >= (int)sizeof text) abort();
    pack_add(p, text, (size_t)n);
}

UNUSED static void pack_free(struct pack *p)
{
    memory_free(p->bytes);
    *p = (struct pack){0};
}

/* A ustar header whose size field says what `size` says. */
UNUSED static void pack_header(struct pack *p, const char *name, char type, const char *size)
{
    char h[512] = {0};
    unsigned sum = 0;
    size_t n = strlen(name);
    memcpy(h, name, n < 100 ? n : 100);
    memcpy(h + 100, "0000644\0000000000\0000000000", 23);
    memcpy(h + 124, size, 12);
    memcpy(h + 136, "00000000000\0        ", 20);
    h[156] = type;
    if (type == '2' || type == '1') memcpy(h + 157, "target.jpg", 10);
    memcpy(h + 257, "ustar\00000", 8);
    for (int i = 0; i < 512; i++) sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    pack_add(p, h, 512);
}

UNUSED static void pack_member(struct pack *p, const char *name, char type, const void *bytes,
                               size_t n)
{
    static const char zeros[512];
    char size[13];
    snprintf(size, sizeof size, "%011o", (unsigned)n);
    if (strlen(name) > 100) { /* GNU: the name is a member before it */
        pack_member(p, "././@LongLink", 'L', name, strlen(name) + 1);
    }
    pack_header(p, name, type, size);
    pack_add(p, bytes, n);
    pack_add(p, zeros, (512 - n % 512) % 512);
}

UNUSED static void pack_file(struct pack *p, const char *name, const char *text)
{
    pack_member(p, name, '0', text, strlen(text));
}

/* The end mark. */
UNUSED static void pack_end(struct pack *p)
{
    static const char zeros[1024];
    pack_add(p, zeros, sizeof zeros);
}

/* Packed bytes, by libarchive's writer; code: ARCHIVE_FILTER_GZIP, ... */
UNUSED static struct pack pack_by(int code, const void *bytes, size_t n)
{
    struct pack out = {0};
    size_t room = n + n / 50 + 70000;
    pack_add(&out, "", 0);
    if (memory_grow(&out.bytes, &out.capacity, room, 1, MEMORY_MAX_FILE, NULL) < 0) abort();
    struct archive *a = archive_write_new();
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_pathname(e, "data");
    archive_entry_set_size(e, (la_int64_t)n);
    if (archive_write_set_format_raw(a) || archive_write_add_filter(a, code) ||
        archive_write_set_bytes_per_block(a, 0) ||
        archive_write_open_memory(a, out.bytes, room, &out.n) || archive_write_header(a, e) ||
        archive_write_data(a, bytes, n) != (la_ssize_t)n || archive_write_close(a))
        abort();
    archive_entry_free(e);
    archive_write_free(a);
    return out;
}

UNUSED static struct pack pack_gzip(const void *bytes, size_t n)
{
    return pack_by(ARCHIVE_FILTER_GZIP, bytes, n);
}

UNUSED static struct pack pack_zstd(const void *bytes, size_t n)
{
    return pack_by(ARCHIVE_FILTER_ZSTD, bytes, n);
}

UNUSED static struct pack pack_bzip2(const void *bytes, size_t n)
{
    return pack_by(ARCHIVE_FILTER_BZIP2, bytes, n);
}

#endif
