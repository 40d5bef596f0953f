/* Chinese-CLIP's corpora; see cnclip.h. */
#include "ingest/cnclip.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ingest/base64.h"
#include "ingest/jsonrow.h"
#include "ingest/lines.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"

struct cnclip {
    struct lines pictures, texts; /* either may be closed */
    bool has_pictures, has_texts;
    bool brings_pictures;     /* the ids are theirs */
    uint64_t n_bytes, n_read; /* of both files; of the pictures when they are done */
    const char *split;        /* static; NULL: the name says none */
    struct json *text;        /* owned; its ids are handed out */
    size_t next;
    uint8_t *picture; /* owned */
    size_t capacity;
    struct error why;
    char id[64], message[1000], record[ROW_SHOWN + 1];
};

/* The text without a byte order mark, cut at the end of its first line. */
static size_t first_line(const char **head, size_t n)
{
    size_t skip = n >= 3 && !memcmp(*head, "\xef\xbb\xbf", 3) ? 3 : 0;
    *head += skip;
    const char *lf = memchr(*head, '\n', n - skip);
    return lf ? (size_t)(lf - *head) : n - skip;
}

/* "id<TAB>" and the first characters of a JPEG, PNG or WebP in base64. */
static bool begins_like_pictures(const char *head, size_t n)
{
    static const char *const marks[] = {"/9j/", "_9j_", "iVBORw0KGgo", "UklGR"};
    n = first_line(&head, n);
    const char *tab = memchr(head, '\t', n);
    for (size_t i = 0; tab && i < sizeof marks / sizeof *marks; i++) {
        size_t k = strlen(marks[i]);
        if (n - (size_t)(tab + 1 - head) >= k && !memcmp(tab + 1, marks[i], k)) return true;
    }
    return false;
}

static bool contains(const char *text, size_t n, const char *word)
{
    size_t k = strlen(word);
    for (; n >= k; text++, n--)
        if (!memcmp(text, word, k)) return true;
    return false;
}

bool cnclip_matches(const char *head, size_t n)
{
    if (begins_like_pictures(head, n)) return true;
    n = first_line(&head, n);
    return n && *head == '{' && contains(head, n, "\"text\"") && contains(head, n, "\"image_ids\"");
}

/* The texts are objects; whatever else the file begins with, its name aside, is a file of pictures. */
static bool holds_texts(const char *head, size_t n)
{
    const char *line = head;
    (void)first_line(&line, n);
    n -= (size_t)(line - head);
    while (n && memchr(" \t\r\n", *line, 4)) line++, n--;
    return !n || *line == '{';
}

static const char *split_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!strncmp(name, "train_", 6)) return "train";
    if (!strncmp(name, "valid_", 6) || !strncmp(name, "val_", 4)) return "val";
    return strncmp(name, "test_", 5) ? NULL : "test";
}

/* The file of pictures beside .../PREFIX_texts.jsonl, opened when it is there. */
static int open_pictures(struct cnclip *c, const char *path, struct error *err)
{
    static const char *const ends[] = {"imgs.tsv", "imgs.tsv.gz", "imgs.tsv.zst", "imgs.tsv.bz2"};
    const char *slash = strrchr(path, '/'), *texts = strstr(slash ? slash : path, "texts.jsonl");
    for (size_t i = 0; texts && i < sizeof ends / sizeof *ends; i++) {
        char other[4200];
        if (snprintf(other, sizeof other, "%.*s%s", (int)(texts - path), path, ends[i]) >=
            (int)sizeof other)
            return 0;
        if (!file_exists(other)) continue;
        c->n_bytes += file_size(other);
        c->has_pictures = c->brings_pictures = true;
        return lines_open(&c->pictures, other, err);
    }
    return 0;
}

int cnclip_open(struct cnclip **out, struct stream *stream, const char *path, struct error *err)
{
    const char *head;
    size_t n;
    struct cnclip *c = memory_array(1, sizeof *c, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!c) {
        stream_close(stream);
        return ERR_NOMEM;
    }
    stream_peek(stream, &head, &n);
    c->has_texts = holds_texts(head, n);
    c->has_pictures = !c->has_texts;
    c->split = split_of(path);
    c->n_bytes = stream_size(stream);
    int rc = lines_of_stream(c->has_pictures ? &c->pictures : &c->texts, stream, path, err);
    if (rc == 0 && c->has_texts) rc = open_pictures(c, path, err);
    if (rc < 0)
        cnclip_close(c);
    else
        *out = c;
    return rc;
}

void cnclip_close(struct cnclip *c)
{
    if (!c) return;
    json_free(c->text);
    lines_close(&c->pictures);
    lines_close(&c->texts);
    memory_free(c->picture);
    memory_free(c);
}

static int reject(struct cnclip *c, struct row *row, const char *reason, const char *message)
{
    if (message != c->message) snprintf(c->message, sizeof c->message, "%s", message);
    row_reject(row, reason, c->message, c->record);
    return 1;
}

/* The next line that is not empty: 0, 1 when *row is a reject, ERR_NOT_FOUND at the end, or an error. */
static int next_line(struct cnclip *c, struct lines *l, struct row *row, struct error *err)
{
    int rc;
    do rc = lines_next(l, err);
    while (rc == 1 && l->n == 0 && !l->broken);
    if (rc < 0) return rc;
    if (rc == 0) return ERR_NOT_FOUND;
    *row = (struct row){
        .weight = 1, .line = l->line, .byte_offset = l->byte_offset, .split = c->split};
    snprintf(c->record, sizeof c->record, "%.60s", l->text);
    if (l->broken) return reject(c, row, ROW_BROKEN, l->broken);
    return l->too_long ? reject(c, row, "line-too-long", "the line is longer than 16 MiB") : 0;
}

static int next_picture(struct cnclip *c, struct row *row, struct error *err)
{
    struct lines *l = &c->pictures;
    int rc = next_line(c, l, row, err);
    if (rc) return rc;
    const char *tab = memchr(l->text, '\t', l->n);
    size_t n_id = tab ? (size_t)(tab - l->text) : 0;
    if (!tab || n_id == 0 || n_id >= sizeof c->id || memchr(l->text, 0, n_id))
        return reject(c, row, "wrong-field-count", "a line must be \"id<TAB>base64\"");
    memcpy(c->id, l->text, n_id);
    c->id[n_id] = '\0';
    row->id = c->id;
    size_t n = l->n - n_id - 1;
    if (memory_grow(&c->picture, &c->capacity, BASE64_BYTES(n), 1, MEMORY_MAX_FILE, err) < 0)
        return ERR_NOMEM;
    int64_t n_bytes = base64_decode(tab + 1, n, c->picture);
    if (n_bytes < 0) {
        snprintf(c->message, sizeof c->message,
                 "the picture is not base64: at character %" PRId64 " of it", -1 - n_bytes);
        return reject(c, row, "bad-base64", c->message);
    }
    row->picture = c->picture;
    row->n_picture = (size_t)n_bytes;
    return 1;
}

/* Parses the next text. 0: its ids can be handed out; otherwise as next_line. */
static int next_text(struct cnclip *c, struct row *row, struct error *err)
{
    struct lines *l = &c->texts;
    int rc = next_line(c, l, row, err);
    if (rc) return rc;
    snprintf(c->record, sizeof c->record, "%.*s", ROW_SHOWN, l->text);
    json_free(c->text);
    c->next = 0;
    c->text = json_read(l->text, l->n, "the record", &c->why);
    if (!c->text) return reject(c, row, "bad-json", c->why.text);
    const char *text = json_text(json_get(c->text, "text"), NULL);
    const struct json *ids = json_get(c->text, "image_ids");
    rc = 0;
    if (!text)
        rc = reject(c, row, "missing-caption", "the object has no \"text\"");
    else if (!json_is_array(ids))
        rc = reject(c, row, "bad-member", "\"image_ids\" must be a list");
    else if (json_size(ids) == 0)
        rc = reject(c, row, "missing-image",
                    "the text belongs to no image: \"image_ids\" is empty");
    if (rc) {
        json_free(c->text);
        c->text = NULL;
    }
    return rc;
}

/* The next id of the text; 0 when there is none. */
static int next_id(struct cnclip *c, struct row *row)
{
    const struct json *id = c->text ? json_at(json_get(c->text, "image_ids"), c->next) : NULL;
    if (!id) return 0;
    c->next++;
    *row = (struct row){
        .weight = 1, .line = c->texts.line, .byte_offset = c->texts.byte_offset, .split = c->split};
    row->caption = json_text(json_get(c->text, "text"), NULL);
    row->n_caption = strlen(row->caption);
    if (!jsonrow_id(id, c->id, sizeof c->id))
        return reject(c, row, "bad-member",
                      "an image id must be a whole number or a string of at most 63 bytes");
    row->id = c->id;
    row->is_own_id = c->brings_pictures;
    return 1;
}

int cnclip_next(struct cnclip *c, struct row *row, struct error *err)
{
    int rc = ERR_NOT_FOUND;
    if (c->has_pictures) {
        rc = next_picture(c, row, err);
        if (rc != ERR_NOT_FOUND) return rc;
        c->n_read += lines_position(&c->pictures);
        c->has_pictures = false;
    }
    if (!c->has_texts) return 0;
    for (;;) {
        if (next_id(c, row)) return 1;
        rc = next_text(c, row, err);
        if (rc) return rc == ERR_NOT_FOUND ? 0 : rc;
    }
}

uint64_t cnclip_position(const struct cnclip *c)
{
    return c->n_read + (c->has_pictures ? lines_position(&c->pictures) : 0) +
           (c->has_texts ? lines_position(&c->texts) : 0);
}

uint64_t cnclip_size(const struct cnclip *c)
{
    return c->n_bytes;
}
