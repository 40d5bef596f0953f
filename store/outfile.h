/* A file that is written piece by piece and put in place at the end.
 *
 *     struct outfile *f;
 *     outfile_create("out/x.tar", &f, &err);          // writes beside: store/tempfile.h
 *     rc = outfile_add(f, bytes, n, &err);
 *     if (rc == 0) rc = outfile_finish(f, &err);      // fsync, rename, fsync of the folder
 *     else outfile_abandon(f);                        // nothing is left
 *
 * Readers see the old file or the whole new one. Errors name the path. One thread a handle.
 */
#ifndef STORE_OUTFILE_H
#define STORE_OUTFILE_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct outfile;

int outfile_create(const char *path, struct outfile **f, struct error *err) MUST_CHECK;
int outfile_add(struct outfile *f, const void *bytes, size_t n, struct error *err) MUST_CHECK;
/* Writes over bytes that were added before; what is added next goes behind the last. */
int outfile_patch(struct outfile *f, uint64_t at, const void *bytes, size_t n, struct error *err) MUST_CHECK;
/* Bytes added so far. */
uint64_t outfile_bytes(const struct outfile *f);
int outfile_finish(struct outfile *f, struct error *err) MUST_CHECK; /* frees f either way */
void outfile_abandon(struct outfile *f);                             /* NULL is fine */

#endif
