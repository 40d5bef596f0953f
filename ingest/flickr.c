/* Flickr token files; see flickr.h. */
#include "ingest/flickr.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ingest/lines.h"
#include "store/memory.h"

#define MAX_NAME 4096

struct flickr {
    struct lines lines;
    char name[MAX_NAME + 1], message[200], record[ROW_SHOWN + 1];
};

/* The length of the picture's name in n bytes before a TAB: without "#0" or "#zhc#0". *letters: where
 * the letters stand, or NULL. */
static size_t name_bytes(const char *text, size_t n, const char **letters)
{
    size_t end = n, digits = 0;
    *letters = NULL;
    while (end && isdigit((unsigned char)text[end - 1])) end--, digits++;
    if (!digits || !end || text[end - 1] != '#') return n;
    size_t name = --end;
    while (end && islower((unsigned char)text[end - 1])) end--;
    if (end == name || !end || text[end - 1] != '#') return name;
    *letters = text + end;
    return end - 1;
}

static bool names_picture(const char *name, size_t n)
{
    static const char *const ends[] = {".jpg", ".jpeg", ".png", ".webp"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t k = strlen(ends[i]);
        if (n > k && !strncasecmp(name + n - k, ends[i], k)) return true;
    }
    return false;
}

bool flickr_matches(const char *head, size_t n)
{
    size_t skip = n >= 3 && !memcmp(head, "\xef\xbb\xbf", 3) ? 3 : 0;
    head += skip;
    n -= skip;
    const char *lf = memchr(head, '\n', n), *tab = memchr(head, '\t', lf ? (size_t)(lf - head) : n);
    const char *letters;
    return tab && names_picture(head, name_bytes(head, (size_t)(tab - head), &letters));
}

int flickr_open(struct flickr **out, struct stream *stream, const char *path, struct error *err)
{
    struct flickr *f = memory_array(1, sizeof *f, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!f) {
        stream_close(stream);
        return ERR_NOMEM;
    }
    int rc = lines_of_stream(&f->lines, stream, path, err);
    if (rc < 0)
        flickr_close(f);
    else
        *out = f;
    return rc;
}

void flickr_close(struct flickr *f)
{
    if (!f) return;
    lines_close(&f->lines);
    memory_free(f);
}

static int reject(struct flickr *f, struct row *row, const char *reason, const char *message)
{
    snprintf(f->message, sizeof f->message, "%s", message);
    row_reject(row, reason, f->message, f->record);
    return 1;
}

int flickr_next(struct flickr *f, struct row *row, struct error *err)
{
    int rc;
    do rc = lines_next(&f->lines, err);
    while (rc == 1 && f->lines.n == 0 && !f->lines.broken);
    if (rc <= 0) return rc;
    *row = (struct row){.weight = 1, .line = f->lines.line, .byte_offset = f->lines.byte_offset};
    snprintf(f->record, sizeof f->record, "%.*s", ROW_SHOWN, f->lines.text);
    if (f->lines.broken) return reject(f, row, ROW_BROKEN, f->lines.broken);
    if (f->lines.too_long) return reject(f, row, "line-too-long", "the line is longer than 16 MiB");
    const char *tab = memchr(f->lines.text, '\t', f->lines.n), *letters;
    if (!tab)
        return reject(f, row, "wrong-field-count",
                      "no TAB in the line; name.jpg#0<TAB>caption is expected");
    size_t n = name_bytes(f->lines.text, (size_t)(tab - f->lines.text), &letters);
    if (n > MAX_NAME || memchr(f->lines.text, 0, n))
        return reject(f, row, "bad-id", "the picture's name is too long, or holds a NUL");
    memcpy(f->name, f->lines.text, n);
    f->name[n] = '\0';
    row->image = f->name;
    if (letters && !strncmp(letters, "zh", 2)) row->lang = "zh";
    if (letters && !strncmp(letters, "en", 2)) row->lang = "en";
    row->caption = tab + 1;
    row->n_caption = f->lines.n - (size_t)(row->caption - f->lines.text);
    return 1;
}

uint64_t flickr_position(const struct flickr *f)
{
    return lines_position(&f->lines);
}
