/* Reading the directory of a zip archive; see storedzip.h. */
#include "featurize/storedzip.h"

#include <stdlib.h>
#include <string.h>

#include "store/bytes.h"
#include "store/memory.h"

#define SIGN_LOCAL     0x04034b50u
#define SIGN_ENTRY     0x02014b50u
#define SIGN_END       0x06054b50u
#define SIGN_END64     0x06064b50u
#define SIGN_LOCATOR64 0x07064b50u
#define N_LOCAL        30
#define N_ENTRY        46
#define N_END          22
#define N_END64        56
#define N_LOCATOR64    20
#define MAX_COMMENT    65535
#define IN_ZIP64       UINT32_MAX /* a 32-bit field whose value stands in the zip64 record */

struct storedzip {
    const char *name;
    const uint8_t *bytes;
    uint64_t n_bytes;
    struct storedzip_entry *list; // (n) by name
    size_t n, capacity;
};

/* Where the directory is. */
struct directory {
    uint64_t at, n_bytes, n_entries;
};

static int broken(const struct storedzip *z, struct error *err, const char *what)
{
    return error_set(err, ERR_DATA, "%s: %s: the file is truncated or broken", z->name, what);
}

static uint32_t u32_at(const struct storedzip *z, uint64_t at)
{
    struct bytes_reader r = bytes_reader(z->bytes + at, 4);
    return bytes_u32(&r);
}

static bool lies_inside(uint64_t at, uint64_t n, uint64_t end)
{
    return at <= end && n <= end - at;
}

/* The record whose comment ends with the file. 0 and *at, or an error. */
static int find_end(const struct storedzip *z, uint64_t *at, struct error *err)
{
    for (uint64_t back = N_END; back <= z->n_bytes && back <= N_END + MAX_COMMENT; back++) {
        *at = z->n_bytes - back;
        if (u32_at(z, *at) != SIGN_END) continue;
        if (z->bytes[*at + 20] + 256u * z->bytes[*at + 21] == back - N_END) return 0;
    }
    return broken(z, err, "no end record of a zip archive");
}

static int read_end64(const struct storedzip *z, uint64_t end, struct directory *d,
                      struct error *err)
{
    if (end < N_LOCATOR64 || u32_at(z, end - N_LOCATOR64) != SIGN_LOCATOR64)
        return broken(z, err, "no zip64 locator before the end record");
    struct bytes_reader r = bytes_reader(z->bytes + end - N_LOCATOR64 + 8, 8);
    uint64_t at = bytes_u64(&r);
    if (!lies_inside(at, N_END64, end - N_LOCATOR64) || u32_at(z, at) != SIGN_END64)
        return broken(z, err, "no zip64 end record where the locator says");
    r = bytes_reader(z->bytes + at + 16, N_END64 - 16);
    uint32_t disks = bytes_u32(&r) | bytes_u32(&r);
    uint64_t n_here = bytes_u64(&r);
    d->n_entries = bytes_u64(&r);
    d->n_bytes = bytes_u64(&r);
    d->at = bytes_u64(&r);
    if (disks || n_here != d->n_entries) return broken(z, err, "an archive in several parts");
    return lies_inside(d->at, d->n_bytes, at) ? 0
                                              : broken(z, err, "the directory is not in the file");
}

static int find_directory(const struct storedzip *z, struct directory *d, struct error *err)
{
    uint64_t end = 0;
    int rc = find_end(z, &end, err);
    if (rc < 0) return rc;
    struct bytes_reader r = bytes_reader(z->bytes + end + 4, N_END - 4);
    uint32_t disk = bytes_u16(&r), first_disk = bytes_u16(&r), n_here = bytes_u16(&r);
    d->n_entries = bytes_u16(&r);
    d->n_bytes = bytes_u32(&r);
    d->at = bytes_u32(&r);
    if (d->n_entries == UINT16_MAX || d->n_bytes == IN_ZIP64 || d->at == IN_ZIP64)
        return read_end64(z, end, d, err);
    if (disk || first_disk || n_here != d->n_entries)
        return broken(z, err, "an archive in several parts");
    return lies_inside(d->at, d->n_bytes, end) ? 0
                                               : broken(z, err, "the directory is not in the file");
}

/* Sizes and offset of an entry, of which those that are IN_ZIP64 stand in its extra field 1, in
 * this order. */
static bool read_extra(const uint8_t *extra, size_t n, uint64_t *value[3])
{
    struct bytes_reader r = bytes_reader(extra, n);
    while (bytes_left(&r) >= 4) {
        uint16_t id = bytes_u16(&r), n_field = bytes_u16(&r);
        const uint8_t *field = bytes_take(&r, n_field);
        if (!field) return false;
        if (id != 1) continue;
        struct bytes_reader in = bytes_reader(field, n_field);
        for (int i = 0; i < 3; i++)
            if (*value[i] == IN_ZIP64) *value[i] = bytes_u64(&in);
        return !in.failed;
    }
    return *value[0] != IN_ZIP64 && *value[1] != IN_ZIP64 && *value[2] != IN_ZIP64;
}

/* From the local header to the bytes behind it. */
static int locate(const struct storedzip *z, uint64_t at, uint64_t limit, struct storedzip_entry *e,
                  struct error *err)
{
    if (!lies_inside(at, N_LOCAL, limit) || u32_at(z, at) != SIGN_LOCAL)
        return broken(z, err, "an entry's header is not where the directory says");
    struct bytes_reader r = bytes_reader(z->bytes + at + 26, 4);
    uint64_t n_name = bytes_u16(&r), n_extra = bytes_u16(&r);
    uint64_t data = at + N_LOCAL + n_name + n_extra;
    if (!lies_inside(data, e->n, limit))
        return broken(z, err, "an entry reaches beyond the directory");
    if (n_name != e->n_name || memcmp(z->bytes + at + N_LOCAL, e->name, n_name) != 0)
        return broken(z, err, "an entry has another name than in the directory");
    e->bytes = z->bytes + data;
    return 0;
}

static int read_entry(struct storedzip *z, struct bytes_reader *r, uint64_t limit,
                      struct error *err)
{
    struct storedzip_entry e = {0};
    const uint8_t *head = bytes_take(r, N_ENTRY);
    if (!head || u32_at(z, (uint64_t)(head - z->bytes)) != SIGN_ENTRY)
        return broken(z, err, "the directory ends too early");
    struct bytes_reader h = bytes_reader(head + 8, N_ENTRY - 8);
    uint16_t flags = bytes_u16(&h), method = bytes_u16(&h);
    bytes_take(&h, 8); /* time, checksum */
    uint64_t packed = bytes_u32(&h), n = bytes_u32(&h);
    uint16_t n_name = bytes_u16(&h), n_extra = bytes_u16(&h), n_comment = bytes_u16(&h),
             disk = bytes_u16(&h);
    bytes_take(&h, 6); /* attributes */
    uint64_t at = bytes_u32(&h);
    e.name = (const char *)bytes_take(r, n_name);
    const uint8_t *extra = bytes_take(r, n_extra);
    bytes_take(r, n_comment);
    if (r->failed || !read_extra(extra, n_extra, (uint64_t *[3]){&n, &packed, &at}))
        return broken(z, err, "the directory ends too early");
    e.n_name = n_name;
    e.n = n;
    if (disk) return broken(z, err, "an archive in several parts");
    if (flags & 1 || method || packed != n)
        return error_set(err, ERR_DATA,
                         "%s: entry %.*s is %s: PyTorch stores entries as they are; save the model "
                         "again, as safetensors",
                         z->name, n_name, e.name, flags & 1 ? "encrypted" : "compressed");
    int rc = locate(z, at, limit, &e, err);
    if (rc == 0)
        rc = memory_grow(&z->list, &z->capacity, z->n + 1, sizeof *z->list, MEMORY_MAX_FILE, err);
    if (rc == 0) z->list[z->n++] = e;
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct storedzip_entry *s = a, *t = b;
    int c = memcmp(s->name, t->name, s->n_name < t->n_name ? s->n_name : t->n_name);
    return c ? c : (s->n_name > t->n_name) - (s->n_name < t->n_name);
}

static int read_directory(struct storedzip *z, struct error *err)
{
    struct directory d;
    int rc = find_directory(z, &d, err);
    if (rc < 0) return rc;
    if (d.n_entries > d.n_bytes / N_ENTRY) return broken(z, err, "the directory ends too early");
    struct bytes_reader r = bytes_reader(z->bytes + d.at, d.n_bytes);
    for (uint64_t i = 0; i < d.n_entries && rc == 0; i++) rc = read_entry(z, &r, d.at, err);
    if (rc < 0) return rc;
    if (z->n) qsort(z->list, z->n, sizeof *z->list, by_name);
    for (size_t i = 1; i < z->n; i++)
        if (!by_name(&z->list[i - 1], &z->list[i]))
            return error_set(err, ERR_DATA, "%s: entry %.*s stands there twice", z->name,
                             (int)z->list[i].n_name, z->list[i].name);
    return 0;
}

bool storedzip_is(const void *bytes, size_t n)
{
    return n >= 4 && !memcmp(bytes, "PK\3\4", 4);
}

int storedzip_read(const void *bytes, size_t n, const char *name, struct storedzip **out,
                   struct error *err)
{
    struct storedzip *z = memory_array(1, sizeof *z, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!z) return ERR_NOMEM;
    z->name = name;
    z->bytes = bytes;
    z->n_bytes = n;
    int rc = read_directory(z, err);
    z->name = NULL; /* the caller's, for the time of this call */
    if (rc < 0)
        storedzip_close(z);
    else
        *out = z;
    return rc;
}

void storedzip_close(struct storedzip *z)
{
    if (!z) return;
    memory_free(z->list);
    memory_free(z);
}

size_t storedzip_n(const struct storedzip *z)
{
    return z->n;
}

const struct storedzip_entry *storedzip_at(const struct storedzip *z, size_t i)
{
    return i < z->n ? &z->list[i] : NULL;
}

const struct storedzip_entry *storedzip_find(const struct storedzip *z, const char *name,
                                             size_t n_name)
{
    struct storedzip_entry key = {.name = name, .n_name = n_name};
    return z->n ? bsearch(&key, z->list, z->n, sizeof *z->list, by_name) : NULL;
}
