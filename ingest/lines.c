/* A text line by line; see lines.h. Blocks are gathered in one buffer, and a line is handed out where
 * it lies: the byte behind it becomes a NUL, and is put back before anything else is looked at, so
 * that a rewound text is whole. */
#include "ingest/lines.h"

#include <string.h>

#include "store/memory.h"

/* a line, what is kept before it, and memory_grow's doubling */
#define MAX_CAPACITY (8 * LINES_MAX_BYTES)

int lines_open(struct lines *l, const char *path, struct error *err)
{
    struct stream *stream;
    *l = (struct lines){0};
    int rc = stream_open(&stream, path, err);
    return rc < 0 ? rc : lines_of_stream(l, stream, path, err);
}

int lines_of_stream(struct lines *l, struct stream *stream, const char *path, struct error *err)
{
    *l = (struct lines){.stream = stream, .kept = LINES_NONE, .cut = LINES_NONE};
    const char *head;
    size_t n;
    int rc = 0;
    stream_peek(stream, &head, &n);
    l->has_mark = n >= 3 && !memcmp(head, "\xef\xbb\xbf", 3);
    if (stream_is_tar(stream))
        rc = error_set(err, ERR_DATA, "%s: is a tar; a text file is expected here", path);
    if (rc < 0) lines_close(l);
    return rc;
}

void lines_close(struct lines *l)
{
    stream_close(l->stream);
    memory_free(l->buffer);
    *l = (struct lines){0};
}

static void put_back(struct lines *l)
{
    if (l->cut != LINES_NONE) l->buffer[l->cut] = l->saved;
    l->cut = LINES_NONE;
}

/* Moves what is still needed to the front of the buffer. */
static void compact(struct lines *l)
{
    size_t from = l->kept < l->begin ? l->kept : l->begin;
    if (!from) return;
    memmove(l->buffer, l->buffer + from, l->end - from);
    l->begin -= from;
    l->end -= from;
    if (l->kept != LINES_NONE) l->kept -= from;
}

/* Brings one block more into the buffer. 1, 0 at the end. */
static int more(struct lines *l, struct error *err)
{
    const char *block = NULL;
    size_t n = 0;
    struct error why = {0};
    int rc = l->at_end ? 0 : stream_read(l->stream, &block, &n, &why);
    if (rc < 0 && rc != ERR_DATA) return error_set(err, rc, "%s", why.text);
    if (rc < 0) {
        l->why = why;
        l->has_failed = true;
    }
    l->at_end = rc <= 0;
    if (l->at_end) return 0;
    compact(l);
    if (memory_grow(&l->buffer, &l->capacity, (uint64_t)l->end + n + 1, 1, MAX_CAPACITY, err) < 0)
        return ERR_NOMEM;
    memcpy(l->buffer + l->end, block, n);
    l->end += n;
    if (l->has_mark) l->begin = l->offset = 3;
    l->has_mark = false;
    return 1;
}

/* The next line lies from begin to *end, the line after it from *next on; of a line that is too long
 * only the beginning is left in the buffer, *n_lost bytes are not. 1, or 0 when there is no line. */
static int find_end(struct lines *l, size_t *end, size_t *next, uint64_t *n_lost, struct error *err)
{
    size_t seen = 0; /* bytes of the line so far, all without a LF */
    *n_lost = 0;
    for (;;) {
        size_t at = l->begin + seen; /* where nothing was looked at yet */
        char *lf = l->end > at ? memchr(l->buffer + at, '\n', l->end - at) : NULL;
        seen = (lf ? (size_t)(lf - l->buffer) : l->end) - l->begin;
        if (seen > LINES_MAX_BYTES) {
            size_t lost = seen - LINES_MAX_BYTES;
            char *from = l->buffer + l->begin;
            memmove(from + LINES_MAX_BYTES, from + seen, l->end - l->begin - seen);
            l->end -= lost;
            *n_lost += lost;
            seen = LINES_MAX_BYTES;
        }
        *end = l->begin + seen;
        *next = lf ? *end + 1 : *end;
        int rc = lf ? 1 : more(l, err);
        if (rc < 0 || lf) return rc;
        if (rc == 0) return seen > 0 && !l->has_failed;
    }
}

/* The last "line" of a broken stream. */
static int say_broken(struct lines *l)
{
    if (!l->has_failed || l->broken) return 0;
    l->text = "";
    l->n = 0;
    l->too_long = false;
    l->line++;
    l->byte_offset = l->offset;
    l->broken = l->why.text;
    return 1;
}

int lines_next(struct lines *l, struct error *err)
{
    size_t end, next;
    uint64_t n_lost;
    put_back(l);
    int rc = find_end(l, &end, &next, &n_lost, err);
    if (rc < 0) return rc;
    l->too_long = n_lost > 0;
    if (rc == 0) return say_broken(l);
    l->text = l->buffer + l->begin;
    l->n = end - l->begin;
    l->line++;
    l->byte_offset = l->offset;
    l->offset += next - l->begin + n_lost;
    l->begin = next;
    if (l->n && l->text[l->n - 1] == '\r') l->n--;
    l->cut = (size_t)(l->text - l->buffer) + l->n;
    l->saved = l->buffer[l->cut];
    l->buffer[l->cut] = '\0';
    return 1;
}

void lines_keep(struct lines *l)
{
    l->kept = l->begin;
    l->kept_line = l->line;
    l->kept_offset = l->offset;
}

void lines_drop(struct lines *l)
{
    l->kept = LINES_NONE;
}

void lines_rewind(struct lines *l)
{
    if (l->kept == LINES_NONE) return;
    put_back(l);
    l->begin = l->kept;
    l->line = l->kept_line;
    l->offset = l->kept_offset;
    l->broken = NULL; /* is said again when it is met again */
    l->kept = LINES_NONE;
}

uint64_t lines_position(const struct lines *l)
{
    return stream_position(l->stream);
}
