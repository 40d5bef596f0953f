/* Files written piece by piece; see outfile.h. */
#include "store/outfile.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"

struct outfile {
    FILE *f;
    char *path, *tmp, *folder;
    uint64_t n_bytes;
};

static void release(struct outfile *o)
{
    if (o->f) fclose(o->f);
    memory_free(o->path);
    memory_free(o->tmp);
    memory_free(o->folder);
    memory_free(o);
}

int outfile_create(const char *path, struct outfile **out, struct error *err)
{
    int rc = ERR_NOMEM;
    struct outfile *o = memory_array(1, sizeof *o, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!o) return rc;
    o->path = memory_string(path, err);
    o->tmp = o->path ? memory_array(strlen(path) + 32, 1, MEMORY_MAX_SMALL, err) : NULL;
    o->folder = o->tmp ? file_folder_of(path, err) : NULL;
    if (!o->folder) goto fail;
    sprintf(o->tmp, "%s.tmp-%ld", path, (long)getpid());
    o->f = fopen(o->tmp, "wb");
    if (!o->f) {
        rc = error_errno(err, "%s: cannot be written", o->tmp);
        goto fail;
    }
    *out = o;
    return 0;
fail:
    release(o);
    return rc;
}

int outfile_add(struct outfile *o, const void *bytes, size_t n, struct error *err)
{
    if (n && fwrite(bytes, n, 1, o->f) != 1) return error_errno(err, "%s: writing", o->tmp);
    o->n_bytes += n;
    return 0;
}

int outfile_patch(struct outfile *o, uint64_t at, const void *bytes, size_t n, struct error *err)
{
    if (fseeko(o->f, (off_t)at, SEEK_SET) || (n && fwrite(bytes, n, 1, o->f) != 1) ||
        fseeko(o->f, 0, SEEK_END))
        return error_errno(err, "%s: writing", o->tmp);
    return 0;
}

uint64_t outfile_bytes(const struct outfile *o)
{
    return o->n_bytes;
}

int outfile_finish(struct outfile *o, struct error *err)
{
    int rc = 0;
    if (fflush(o->f) || fsync(fileno(o->f))) rc = error_errno(err, "%s: writing", o->tmp);
    if (fclose(o->f) && rc == 0) rc = error_errno(err, "%s: writing", o->tmp);
    o->f = NULL;
    if (rc == 0 && rename(o->tmp, o->path) < 0)
        rc = error_errno(err, "%s: cannot be put in place", o->path);
    if (rc < 0) unlink(o->tmp);
    if (rc == 0) rc = file_sync_folder(o->folder, err);
    release(o);
    return rc;
}

void outfile_abandon(struct outfile *o)
{
    if (!o) return;
    unlink(o->tmp);
    release(o);
}
