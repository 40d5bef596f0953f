/* WebDataset: a tar of samples, the members "KEY.EXT" with one KEY (up to the first dot of the name)
 * being one sample.
 *
 *   KEY.jpg, .jpeg, .png, .webp   the picture (by content; a name that no decoder reads is a reject)
 *   KEY.txt, .caption, .text      a caption; KEY.LANG.txt one in a language (KEY.zh-Hans.txt)
 *   KEY.json                      captions, label, split, weight, lang: ingest/jsonrow.h
 *   KEY.cls                       the label; the caption too where there is no other
 *
 * Its id is KEY, without a "./" in front. Members may come in any order and lie apart: a sample whose
 * picture and captions do not stand together is put together by its key, the captions waiting in a
 * temporary file (ingest/scrap.h). A caption that stands in .txt and .json alike counts once. Other
 * members are passed over with one warning an extension; folders and hidden names without. Names of
 * members are never opened as files. Rows come in the order of the tar, those that waited at the end.
 * Bad rows: those of jsonrow, "too-large", "missing-image" (its picture was), "unsupported-member" (a
 * link, a device), "bad-id", ROW_BROKEN (damage costs what stands before the next good header; a tar
 * that is cut off ends with one).
 * Format: the webdataset library's tar convention; img2dataset writes it.
 */
#ifndef INGEST_WEBDATASET_H
#define INGEST_WEBDATASET_H

#include "ingest/fields.h"
#include "ingest/row.h"
#include "ingest/stream.h"
#include "store/report.h"

struct webdataset;
/* stream, of a tar, is taken, also on an error; path stands in errors; path, fields and report must
 * outlive it. max_picture_bytes: a larger member is refused unread. */
int webdataset_open(struct webdataset **w, struct stream *stream, const char *path,
                    const struct fields *fields, uint64_t max_picture_bytes,
                    const struct report *report, struct error *err) MUST_CHECK;
void webdataset_close(struct webdataset *w);
/* as source_next; row->picture is the same for all rows of a sample. */
int webdataset_next(struct webdataset *w, struct row *row, struct error *err) MUST_CHECK;
uint64_t webdataset_position(const struct webdataset *w); /* bytes of the file read */

#endif
