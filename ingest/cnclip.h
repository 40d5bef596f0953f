/* Chinese-CLIP's corpora: PREFIX_texts.jsonl, {"text_id": 1, "text": "...", "image_ids": [7, 9]} a
 * line, and beside it PREFIX_imgs.tsv, "7<TAB>base64 of the picture's file" a line.
 *
 * Rows: every picture under its id, without a caption; then every text with each of its ids. Without
 * the pictures beside it, the ids name pictures that are already in the corpus. Given PREFIX_imgs.tsv,
 * the pictures alone. train_, valid_ and test_ in front of the name give the split. Either file may be
 * compressed. A line has at most 16 MiB, a picture therefore 12. Bad rows: "bad-base64", "bad-json",
 * "bad-member", "missing-caption", "missing-image" (no image_ids), "wrong-field-count",
 * "line-too-long", ROW_BROKEN.
 */
#ifndef INGEST_CNCLIP_H
#define INGEST_CNCLIP_H

#include <stdbool.h>

#include "ingest/row.h"
#include "ingest/stream.h"

struct cnclip;
/* Does the text begin like one of the two files? */
bool cnclip_matches(const char *head, size_t n);
/* stream is taken, also on an error; path must outlive it. */
int cnclip_open(struct cnclip **c, struct stream *stream, const char *path,
                struct error *err) MUST_CHECK;
void cnclip_close(struct cnclip *c);
int cnclip_next(struct cnclip *c, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
/* Bytes read of both files, and bytes in all; 0: unknown. */
uint64_t cnclip_position(const struct cnclip *c);
uint64_t cnclip_size(const struct cnclip *c);

#endif
