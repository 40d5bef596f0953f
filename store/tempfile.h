/* A file beside another, whose place it takes when it is whole.
 *
 *     tempfile_open(&t, "out/x.tar", &err);   // out/x.tar.tmp-part, empty
 *     ...                                     // write to t.fd
 *     rc = tempfile_place(&t, &err);          // fsync, rename, fsync of the folder
 *     tempfile_close(&t);                     // and no trace where it was not placed
 *
 * Readers see the old file or the whole new one. The name is the same each time: what a killed run
 * left is written over by the same command. The file is locked meanwhile, so that two processes that
 * write the same one do so one after the other. Errors name the path.
 */
#ifndef STORE_TEMPFILE_H
#define STORE_TEMPFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "store/error.h"

struct tempfile {
    char *path, *tmp, *folder;
    int fd;
    bool is_placed;
};

/* Zeroed on failure. */
int tempfile_open(struct tempfile *t, const char *path, struct error *err) MUST_CHECK;
int tempfile_write(struct tempfile *t, const void *bytes, size_t n, struct error *err) MUST_CHECK;
int tempfile_place(struct tempfile *t, struct error *err) MUST_CHECK;
/* A zeroed one is fine. */
void tempfile_close(struct tempfile *t);

#endif
