/* Files written piece by piece; see outfile.h. */
#include "store/outfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "store/memory.h"
#include "store/tempfile.h"

struct outfile {
    FILE *f; // writes to a descriptor of its own
    struct tempfile t;
    uint64_t n_bytes;
};

void outfile_abandon(struct outfile *o)
{
    if (!o) return;
    if (o->f) fclose(o->f);
    tempfile_close(&o->t);
    memory_free(o);
}

int outfile_create(const char *path, struct outfile **out, struct error *err)
{
    int rc = ERR_NOMEM, fd = -1;
    struct outfile *o = memory_array(1, sizeof *o, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!o) return rc;
    rc = tempfile_open(&o->t, path, err);
    if (rc == 0) fd = fcntl(o->t.fd, F_DUPFD_CLOEXEC, 3);
    if (rc == 0 && (fd < 0 || !(o->f = fdopen(fd, "wb"))))
        rc = error_errno(err, "%s: cannot be written", o->t.tmp);
    if (rc == 0) {
        *out = o;
        return 0;
    }
    if (fd >= 0) close(fd);
    outfile_abandon(o);
    return rc;
}

int outfile_add(struct outfile *o, const void *bytes, size_t n, struct error *err)
{
    if (n && fwrite(bytes, n, 1, o->f) != 1) return error_errno(err, "%s: writing", o->t.tmp);
    o->n_bytes += n;
    return 0;
}

int outfile_patch(struct outfile *o, uint64_t at, const void *bytes, size_t n, struct error *err)
{
    if (fseeko(o->f, (off_t)at, SEEK_SET) || (n && fwrite(bytes, n, 1, o->f) != 1) ||
        fseeko(o->f, 0, SEEK_END))
        return error_errno(err, "%s: writing", o->t.tmp);
    return 0;
}

uint64_t outfile_bytes(const struct outfile *o)
{
    return o->n_bytes;
}

int outfile_finish(struct outfile *o, struct error *err)
{
    int rc = fclose(o->f) ? error_errno(err, "%s: writing", o->t.tmp) : 0;
    o->f = NULL;
    if (rc == 0) rc = tempfile_place(&o->t, err);
    outfile_abandon(o);
    return rc;
}
