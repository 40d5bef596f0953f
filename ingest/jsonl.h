/* JSON lines: one object a line.
 *
 *     {"image": "a.jpg", "captions": {"en": ["a dog", "a brown dog"], "zh": "狗"}, "label": "dog",
 *     "split": "train", "weight": 2}
 *
 * image (path) and/or id (string or integer); caption or captions: a string, a list of strings, or
 * an object language -> string or list; lang (or language), label, split, weight as in tables.
 * Other members are ignored. An object gives one row a caption. Bad rows: "bad-json", "bad-member",
 * "missing-caption", "bad-weight", "line-too-long".
 */
#ifndef INGEST_JSONL_H
#define INGEST_JSONL_H

#include "ingest/row.h"
#include "store/error.h"

struct jsonl;
int jsonl_open(struct jsonl **j, const char *path, struct error *err) MUST_CHECK; /* path must outlive it */
void jsonl_close(struct jsonl *j);
int jsonl_next(struct jsonl *j, struct row *row, struct error *err) MUST_CHECK; /* as source_next */
uint64_t jsonl_position(const struct jsonl *j); /* bytes read */

#endif
