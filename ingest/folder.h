/* A folder of pictures, with sub-folders, in the order of their names; captions in a .txt beside
 * each picture.
 *
 * dog.jpg's sidecar is dog.txt: a line a caption, or "lang<TAB>caption". A picture without a
 * sidecar is a row without a caption. A sidecar without its picture is a bad row ("missing-file").
 * Hidden names and files that are no pictures by name are passed over.
 */
#ifndef INGEST_FOLDER_H
#define INGEST_FOLDER_H

#include <stdbool.h>

#include "ingest/row.h"
#include "store/error.h"

struct folder;
/* labels: the sub-folder's name is the picture's label, and its caption where there is no sidecar.
 * path must outlive it. */
int folder_open(struct folder **f, const char *path, bool labels, struct error *err) MUST_CHECK;
void folder_close(struct folder *f);
int folder_next(struct folder *f, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t folder_position(const struct folder *f); /* pictures seen */

#endif
