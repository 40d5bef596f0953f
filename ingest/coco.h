/* COCO captions: {"images": [{"id": 7, "file_name": "a.jpg"}, ...], "annotations": [{"image_id": 7,
 * "caption": "a dog"}, ...]}, as COCO, STAIR and others publish them.
 *
 * A row an annotation, with the file_name as its image and the image's id as its id, in the order of
 * the file; then a row without a caption for every image that no annotation names. The two arrays may
 * come in either order; of images with one id the first counts, the others are rows of their own.
 * Beside the mapped file an image costs at most 33 bytes of memory, and 50 while the index is made.
 * An annotation may have lang (or language), an image split. Bad rows: "bad-json", "bad-member",
 * "missing-caption", "missing-image" (the annotation names no image of the document).
 */
#ifndef INGEST_COCO_H
#define INGEST_COCO_H

#include "ingest/fields.h"
#include "ingest/row.h"
#include "ingest/stream.h"

struct coco;
/* stream is taken, also on an error; path stands in errors; path and fields must outlive it. ERR_DATA
 * when there is no array "images", or the document is cut off before its annotations. */
int coco_open(struct coco **c, struct stream *stream, const char *path, const struct fields *fields,
              struct error *err) MUST_CHECK;
void coco_close(struct coco *c);
int coco_next(struct coco *c, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t coco_position(const struct coco *c);
uint64_t coco_size(const struct coco *c);

#endif
