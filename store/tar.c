/* Tars; see tar.h. The header's numbers are octal text; its checksum is the sum of its bytes with
 * the checksum's own field taken as eight spaces. */
#include "store/tar.h"

#include <stdio.h>
#include <string.h>

#include "store/memory.h"
#include "store/outfile.h"

#define MAX_SIZE ((uint64_t)1 << 33) /* 11 octal digits */
#define TAIL     (2 * TAR_BLOCK)

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
    char link[100], magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155];
    char padding[12];
};
_Static_assert(sizeof(struct header) == TAR_BLOCK, "a header is one block");

struct tar {
    struct outfile *file;
};

static const uint8_t zeros[TAIL];

int tar_create(const char *path, struct tar **out, struct error *err)
{
    struct tar *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!t) return ERR_NOMEM;
    int rc = outfile_create(path, &t->file, err);
    if (rc < 0)
        memory_free(t);
    else
        *out = t;
    return rc;
}

static void make_header(struct header *h, const char *name, uint64_t n)
{
    memset(h, 0, sizeof *h);
    memcpy(h->name, name, strlen(name));
    memcpy(h->mode, "0000644", 8);
    memcpy(h->uid, "0000000", 8);
    memcpy(h->gid, "0000000", 8);
    char size[24];
    snprintf(size, sizeof size, "%011llo", (unsigned long long)n);
    memcpy(h->size, size, sizeof h->size);
    memcpy(h->mtime, "00000000000", 12);
    h->type = '0';
    memcpy(h->magic, "ustar", 6);
    memcpy(h->version, "00", 2);
    memset(h->checksum, ' ', sizeof h->checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof *h; i++) sum += ((const uint8_t *)h)[i];
    snprintf(h->checksum, sizeof h->checksum, "%06o",
             sum); /* then a NUL and the space that is there */
}

int tar_add(struct tar *t, const char *name, const void *bytes, uint64_t n, struct error *err)
{
    struct header h;
    size_t n_name = strlen(name);
    if (n_name == 0 || n_name > TAR_MAX_NAME || n >= MAX_SIZE)
        return error_set(err, ERR_USAGE,
                         "a tar's member has a name of 1 to %d bytes and less than 8 GiB, not "
                         "\"%.120s\" of %llu bytes",
                         TAR_MAX_NAME, name, (unsigned long long)n);
    make_header(&h, name, n);
    int rc = outfile_add(t->file, &h, sizeof h, err);
    if (rc == 0) rc = outfile_add(t->file, bytes, n, err);
    if (rc == 0) rc = outfile_add(t->file, zeros, -n % TAR_BLOCK, err);
    return rc;
}

uint64_t tar_member_bytes(uint64_t n)
{
    return TAR_BLOCK + n + -n % TAR_BLOCK;
}

uint64_t tar_bytes(const struct tar *t)
{
    return outfile_bytes(t->file) + TAIL;
}

int tar_finish(struct tar *t, struct error *err)
{
    int rc = outfile_add(t->file, zeros, TAIL, err);
    if (rc == 0)
        rc = outfile_finish(t->file, err);
    else
        outfile_abandon(t->file);
    memory_free(t);
    return rc;
}

void tar_abandon(struct tar *t)
{
    if (!t) return;
    outfile_abandon(t->file);
    memory_free(t);
}
