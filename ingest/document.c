/* One large JSON document; see document.h. The walk knows strings and brackets and no more: what it
 * steps over need not be valid, and every element that is handed out is parsed by jansson. */
#include "ingest/document.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "ingest/scrap.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"

struct document {
    const char *path; /* borrowed */
    struct file_map map;
    FILE *spool; /* the temporary file, or NULL */
    const char *text;
    size_t n, at;
    bool is_first, is_over; /* of the array */
    struct error why;
};

/* Unpacks the stream into a file that has no name. */
static int spool(struct document *d, struct stream *stream, struct error *err)
{
    const char *bytes;
    size_t n;
    int rc = scrap_open(&d->spool, d->path, err);
    if (rc < 0) return rc;
    while ((rc = stream_read(stream, &bytes, &n, err)) > 0)
        if (fwrite(bytes, 1, n, d->spool) != n)
            return error_errno(err, "unpacking %s into a temporary file", d->path);
    if (rc < 0) return rc;
    if (fflush(d->spool) != 0)
        return error_errno(err, "unpacking %s into a temporary file", d->path);
    off_t size = ftello(d->spool);
    d->n = (size_t)size;
    if (size == 0) return 0;
    void *map = mmap(NULL, d->n, PROT_READ, MAP_PRIVATE, fileno(d->spool), 0);
    if (map == MAP_FAILED) return error_errno(err, "%s: mapping", d->path);
    d->text = map;
    return 0;
}

int document_open(struct document **out, struct stream *stream, const char *path, struct error *err)
{
    struct document *d = memory_array(1, sizeof *d, MEMORY_MAX_SMALL, err);
    int rc = d ? 0 : ERR_NOMEM;
    *out = NULL;
    if (rc == 0) {
        d->path = path;
        rc = stream_is_plain(stream) ? file_map(path, &d->map, err) : spool(d, stream, err);
    }
    if (rc == 0 && stream_is_plain(stream)) {
        d->text = (const char *)d->map.bytes;
        d->n = d->map.n;
    }
    stream_close(stream);
    if (rc < 0)
        document_close(d);
    else
        *out = d;
    return rc;
}

void document_close(struct document *d)
{
    if (!d) return;
    if (d->spool) {
        if (d->text) munmap((void *)(uintptr_t)d->text, d->n);
        fclose(d->spool);
    } else {
        file_unmap(&d->map);
    }
    memory_free(d);
}

static void skip_space(struct document *d)
{
    while (d->at < d->n && (d->text[d->at] == ' ' || d->text[d->at] == '\n' ||
                            d->text[d->at] == '\t' || d->text[d->at] == '\r'))
        d->at++;
}

static bool take(struct document *d, char c)
{
    skip_space(d);
    if (d->at >= d->n || d->text[d->at] != c) return false;
    d->at++;
    return true;
}

/* Over a string; `at` stands behind its first quote. False when it does not end. */
static bool skip_string(struct document *d)
{
    while (d->at < d->n) {
        char c = d->text[d->at++];
        if (c == '"') return true;
        if (c == '\\') d->at++;
    }
    d->at = d->n;
    return false;
}

/* Over one value, up to what ends it. False when the text ends first. */
static bool skip_value(struct document *d)
{
    uint64_t depth = 0;
    skip_space(d);
    for (; d->at < d->n; d->at++) {
        char c = d->text[d->at];
        if (c == '"') {
            d->at++;
            if (!skip_string(d)) return false;
            d->at--;
        }
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']' || c == ',') && depth == 0) return true;
        if ((c == '}' || c == ']') && --depth == 0) {
            d->at++;
            return true;
        }
    }
    return false;
}

static void rewind_to_start(struct document *d)
{
    d->at = d->n >= 3 && !memcmp(d->text, "\xef\xbb\xbf", 3) ? 3 : 0;
    d->is_first = true;
    d->is_over = false;
}

int document_list(struct document *d, struct error *err)
{
    rewind_to_start(d);
    return take(d, '[') ? 0 : error_set(err, ERR_DATA, "%s: is not a JSON array", d->path);
}

int document_array(struct document *d, const char *name, struct error *err)
{
    rewind_to_start(d);
    bool ok = take(d, '{'), is_first = true;
    while (ok) {
        if (take(d, '}')) return 0;
        ok = (is_first || take(d, ',')) && take(d, '"');
        is_first = false;
        size_t start = d->at;
        ok = ok && skip_string(d);
        size_t length = ok ? d->at - 1 - start : 0;
        bool found = length == strlen(name) && !memcmp(d->text + start, name, length);
        ok = ok && take(d, ':');
        if (ok && found) {
            if (take(d, '[')) return 1;
            if (d->at < d->n) return 0;
        }
        ok = ok && skip_value(d);
    }
    return error_set(err, ERR_DATA,
                     d->at < d->n ? "%s: is not a JSON object: at byte %zu"
                                  : "%s: is cut off or no JSON: it ends after byte %zu",
                     d->path, d->at);
}

/* A bad element that is the last. */
static int say_over(struct document *d, const char **why, const char *sentence)
{
    d->is_over = true;
    *why = sentence;
    return 1;
}

/* Over an element that is not good, which begins where the walk is. */
static int pass_over(struct document *d, const char **why)
{
    size_t start = d->at;
    bool is_object = start < d->n && d->text[start] == '{';
    if (!skip_value(d)) return say_over(d, why, "the document is cut off inside this element");
    *why = !is_object                             ? "an element of the array is no object"
           : d->at - start > DOCUMENT_MAX_ELEMENT ? "the element has more than 16 MiB"
                                                  : d->why.text;
    return 1;
}

int document_next(struct document *d, struct json **value, uint64_t *offset, const char **why)
{
    *value = NULL;
    *why = NULL;
    if (d->is_over || take(d, ']')) {
        d->is_over = true;
        return 0;
    }
    skip_space(d);
    *offset = d->at;
    if (d->at >= d->n) return say_over(d, why, "the document is cut off: this array does not end");
    if (!d->is_first && !take(d, ','))
        return say_over(d, why, "a comma is expected between two elements; the rest is lost");
    d->is_first = false;
    skip_space(d);
    size_t used = 0, n = d->n - d->at < DOCUMENT_MAX_ELEMENT ? d->n - d->at : DOCUMENT_MAX_ELEMENT;
    *offset = d->at;
    if (n && d->text[d->at] == '{')
        *value = json_read_part(d->text + d->at, n, &used, "the element", &d->why);
    if (!*value) return pass_over(d, why);
    d->at += used;
    return 1;
}

struct json *document_at(const struct document *d, uint64_t offset)
{
    size_t used;
    if (offset >= d->n) return NULL;
    size_t n = d->n - offset < DOCUMENT_MAX_ELEMENT ? d->n - offset : DOCUMENT_MAX_ELEMENT;
    return json_read_part(d->text + offset, n, &used, "the element", NULL);
}

uint64_t document_position(const struct document *d)
{
    return d->at;
}

uint64_t document_size(const struct document *d)
{
    return d->n;
}
