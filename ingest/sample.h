/* One sample of a tar: its picture and what is said of it, gathered member by member, then handed out
 * as rows; called by webdataset.c alone.
 *
 *     sample_begin(&s, "000017", byte_offset, &err);
 *     sample_add(&s, SAMPLE_PICTURE, "000017.jpg", "", bytes, n, &err);   // bytes are taken
 *     while (sample_next(&s, &fields, &row)) use(&row);
 *     sample_end(&s);
 *
 * One owner, one thread.
 */
#ifndef INGEST_SAMPLE_H
#define INGEST_SAMPLE_H

#include <stdbool.h>

#include "ingest/caption.h"
#include "ingest/jsonrow.h"

/* Caption members of a sample, and bytes of them after which there is no room for more. */
#define SAMPLE_MAX_TEXTS 1000
#define SAMPLE_MAX_BYTES ((size_t)16 << 20)

enum sample_part { SAMPLE_PICTURE, SAMPLE_TEXT, SAMPLE_JSON, SAMPLE_CLASS, SAMPLE_PARTS };

struct sample_text {
    char language[CAPTION_MAX_LANGUAGE]; /* "": none */
    char *text;                          /* owned */
    size_t n;
};

/* Zeroed at first. */
struct sample {
    char *key; /* owned; NULL: no sample */
    char *picture, *picture_name;
    size_t n_picture;
    char *json, *label; /* owned */
    size_t n_json;
    struct sample_text *texts; // (n_texts)
    size_t n_texts, n_text_bytes, capacity;
    uint64_t byte_offset; /* of its first member */
    bool is_refused;      /* it has a picture that was not read: its captions are rejects */
    /* while rows are handed out */
    size_t next_text;
    bool is_started, json_done, had_caption;
    struct jsonrow rows;
    struct error why;
};

int sample_begin(struct sample *s, const char *key, uint64_t byte_offset, struct error *err) MUST_CHECK;
/* What kind of member the extension (what stands behind the first dot) makes; SAMPLE_PARTS: none.
 * *language: of "zh.txt", canonical; "" otherwise. */
enum sample_part sample_part_of(const char *extension, char language[CAPTION_MAX_LANGUAGE]);
/* Could another such member be added without one being lost? */
bool sample_has_room(const struct sample *s, enum sample_part part);
/* bytes (n, a NUL behind) are taken, also on an error. */
int sample_add(struct sample *s, enum sample_part part, const char *name, const char *language,
               char *bytes, size_t n, struct error *err) MUST_CHECK;
/* 1: *row, borrowed until the next call; 0: that was all. A picture without a caption is one row; a
 * sample of captions without a picture gives rows without picture and image. */
int sample_next(struct sample *s, const struct fields *fields, struct row *row) MUST_CHECK;
void sample_end(struct sample *s);

#endif
