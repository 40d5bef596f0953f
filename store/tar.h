/* A tar that is the same whenever it is made of the same members: ustar headers (POSIX.1-1988) with
 * mode 0644, owner 0 and time 0, in the order they are added.
 *
 *     struct tar *t;
 *     tar_create("shard.tar", &t, &err);
 *     rc = tar_add(t, "a.jpg", bytes, n, &err);
 *     if (rc == 0) rc = tar_finish(t, &err);    // two empty blocks, then as outfile_finish
 *     else tar_abandon(t);
 *
 * Writing only: ingest/ reads tars with libarchive. A name has at most 100 bytes and a member less
 * than 8 GiB, which is all that ustar holds without an extension. One thread a handle.
 */
#ifndef STORE_TAR_H
#define STORE_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

#define TAR_BLOCK 512
#define TAR_MAX_NAME 100

struct tar;

int tar_create(const char *path, struct tar **t, struct error *err) MUST_CHECK;
/* ERR_USAGE: a name or size that does not fit. */
int tar_add(struct tar *t, const char *name, const void *bytes, uint64_t n, struct error *err) MUST_CHECK;
/* What a member of n bytes takes, header and padding included. */
uint64_t tar_member_bytes(uint64_t n);
/* Of the file, had it been finished now. */
uint64_t tar_bytes(const struct tar *t);
int tar_finish(struct tar *t, struct error *err) MUST_CHECK; /* frees t either way */
void tar_abandon(struct tar *t);

#endif
