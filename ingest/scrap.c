/* A temporary file without a name; see scrap.h. */
#include "ingest/scrap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int scrap_open(FILE **f, const char *what, struct error *err)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    *f = NULL;
    if (!folder || !*folder) folder = "/tmp";
    if ((size_t)snprintf(path, sizeof path, "%s/clipstill-XXXXXX", folder) >= sizeof path)
        return error_set(err, ERR_USAGE, "TMPDIR is longer than a path may be");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) return error_errno(err, "%s: a temporary file for %s (TMPDIR)", path, what);
    unlink(path);
    *f = fdopen(fd, "w+b");
    if (*f) return 0;
    close(fd);
    return error_set(err, ERR_NOMEM, "out of memory for a temporary file");
}
