/* Zip archives whose entries are stored as they are, as PyTorch writes them: where each lies.
 *
 *     storedzip_read(map.bytes, map.n, "pytorch_model.bin", &z, &err);
 *     const struct storedzip_entry *e = storedzip_find(z, "archive/data.pkl", strlen(..));
 *     storedzip_close(z);
 *
 * Nothing is unpacked: a compressed or encrypted entry is ERR_DATA. Every place is checked on
 * reading: end record (with its zip64 form), directory, each local header, that an entry lies
 * before the directory, and that no name stands twice. Checksums are not computed: the file is
 * mapped, and most of it is not looked at.
 * Format: PKWARE APPNOTE 6.3. Threading: read-only; any thread.
 */
#ifndef FEATURIZE_STOREDZIP_H
#define FEATURIZE_STOREDZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct storedzip_entry {
    const char *name; /* borrowed from the archive's bytes; n_name bytes, no NUL */
    size_t n_name;
    const uint8_t *bytes;
    size_t n;
};

struct storedzip;
bool storedzip_is(const void *bytes, size_t n); /* begins as a zip archive does */
/* n bytes in memory, borrowed until storedzip_close; name stands in errors. */
int storedzip_read(const void *bytes, size_t n, const char *name, struct storedzip **z,
                   struct error *err) MUST_CHECK;
void storedzip_close(struct storedzip *z);
size_t storedzip_n(const struct storedzip *z);
const struct storedzip_entry *storedzip_at(const struct storedzip *z, size_t i); /* in order of name */
const struct storedzip_entry *storedzip_find(const struct storedzip *z, const char *name,
                                             size_t n_name); /* or NULL */

#endif
