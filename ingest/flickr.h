/* Flickr token files: "name.jpg#0<TAB>caption", as Flickr8k, Flickr30k and their translations publish
 * them, without a header.
 *
 * What stands between the name and the TAB, "#0" or "#zhc#0", is not part of the name; letters that
 * begin with en or zh give the language. Lines of "name.jpg<TAB>caption" are read too. Bad rows:
 * "wrong-field-count", "bad-id" (a name too long or with a NUL), "line-too-long", ROW_BROKEN.
 */
#ifndef INGEST_FLICKR_H
#define INGEST_FLICKR_H

#include <stdbool.h>

#include "ingest/row.h"
#include "ingest/stream.h"

struct flickr;
/* Does the first line look like one of a token file? */
bool flickr_matches(const char *head, size_t n);
/* stream is taken, also on an error; path stands in errors. */
int flickr_open(struct flickr **f, struct stream *stream, const char *path,
                struct error *err) MUST_CHECK;
void flickr_close(struct flickr *f);
int flickr_next(struct flickr *f, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t flickr_position(const struct flickr *f); /* bytes of the file read */

#endif
