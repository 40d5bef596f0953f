/* One stream of rows out of any kind of source: tables, JSON lines and arrays, COCO, Karpathy's splits, Flickr
 * token files, Chinese-CLIP's files, WebDataset tars, and folders of pictures with .txt sidecars.
 *
 *     struct source_options o = source_defaults();
 *     source_open(&s, "pairs.tsv.gz", &o, report, &err);
 *     while ((rc = source_next(s, &row, &err)) > 0) use(&row);      // row.reason: a bad record
 *     source_close(s);
 *
 * What a source is, and whether it is compressed, is told by its first bytes. Memory does not grow
 * with its size. A source that cannot be read at all (absent, no header, a missing column) is an error
 * of source_open; a bad record is a row with a reason. One owner, one thread.
 * Errors: ERR_NOT_FOUND, ERR_DATA, ERR_USAGE, ERR_IO, ERR_NOMEM.
 */
#ifndef INGEST_SOURCE_H
#define INGEST_SOURCE_H

#include <stdbool.h>

#include "ingest/fields.h"
#include "ingest/row.h"
#include "store/error.h"
#include "store/report.h"

enum source_format {
    SOURCE_AUTO,
    SOURCE_TSV,
    SOURCE_CSV,
    SOURCE_JSONL,
    SOURCE_JSON,
    SOURCE_COCO,
    SOURCE_KARPATHY,
    SOURCE_FLICKR,
    SOURCE_CNCLIP,
    SOURCE_WEBDATASET,
    SOURCE_FOLDER,
    SOURCE_FORMATS
};
#define SOURCE_WORDS "auto|tsv|csv|jsonl|json|coco|karpathy|flickr|cnclip|webdataset|dir"

/* One of SOURCE_WORDS -> format; ERR_USAGE otherwise. */
int source_format_of(const char *word, enum source_format *format, struct error *err) MUST_CHECK;

struct source_options {
    enum source_format format;
    bool folder_labels;   /* the name of the sub-folder a picture lies in is its label */
    const char *pictures; /* what image paths are relative to; NULL: the source's own folder */
    struct fields fields;
    uint64_t max_picture_bytes; /* of a member of a tar; larger ones are refused unread */
};
struct source_options source_defaults(void);

struct source;
/* path: a file, a folder, or "-" for standard input; it is copied, options must outlive the source.
 * report may be NULL (warnings about unused columns). */
int source_open(struct source **s, const char *path, const struct source_options *options,
                const struct report *report, struct error *err) MUST_CHECK;
void source_close(struct source *s);
/* 1: *row is filled, borrowed until the next call; 0: the end; negative: the machine failed. */
int source_next(struct source *s, struct row *row, struct error *err) MUST_CHECK;

enum source_format source_kind(const struct source *s); /* what it was recognised as */
const char *source_path(const struct source *s);        /* as given */
const char *source_folder(const struct source *s);      /* what image paths are relative to */
/* The name pairs are filed under when none is given: the last part of the path; owned: memory_free. */
char *source_default_name(const char *path, struct error *err) MUST_CHECK;
/* The paths that words of a command line name: a word is a path, "-", or, where no file has that name,
 * a pattern (*, ?, [...], {a,b}) whose paths come sorted and once each. *paths is to be released, also after an
 * error. ERR_NOT_FOUND names a pattern that fits nothing; a path that is not there is source_open's to
 * say. */
struct source_paths {
    char **path; // (n)
    size_t n, capacity;
};
int source_expand(const char *const *words, size_t n_words, struct source_paths *paths,
                  struct error *err) MUST_CHECK;
void source_paths_release(struct source_paths *paths);
/* Progress: bytes read and bytes in all (a folder: pictures; total 0: unknown). */
void source_progress(const struct source *s, uint64_t *done, uint64_t *total);

#endif
