/* Karpathy's splits: {"dataset": "coco", "images": [{"filepath": "val2014", "filename": "a.jpg",
 * "split": "test", "sentences": [{"raw": "a dog"}, ...], "cocoid": 7}, ...]}.
 *
 * A row a sentence, with filepath/filename as its image and the cocoid (else the imgid) as its id;
 * an image without a sentence is a row without a caption. "restval" is train. Bad rows: "bad-json",
 * "bad-member", "missing-caption". Reference: Karpathy & Fei-Fei, CVPR 2015.
 */
#ifndef INGEST_KARPATHY_H
#define INGEST_KARPATHY_H

#include "ingest/row.h"
#include "ingest/stream.h"

struct karpathy;
/* stream is taken, also on an error; path stands in errors and must outlive it. ERR_DATA when there
 * is no array "images". */
int karpathy_open(struct karpathy **k, struct stream *stream, const char *path,
                  struct error *err) MUST_CHECK;
void karpathy_close(struct karpathy *k);
int karpathy_next(struct karpathy *k, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t karpathy_position(const struct karpathy *k);
uint64_t karpathy_size(const struct karpathy *k);

#endif
