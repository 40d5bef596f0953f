/* One stream of rows out of any kind of source; see source.h. Recognition looks at the first bytes
 * before it looks at the name; a table of readers does the rest. */
#include "ingest/source.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ingest/cnclip.h"
#include "ingest/coco.h"
#include "ingest/flickr.h"
#include "ingest/folder.h"
#include "ingest/jsonl.h"
#include "ingest/jsonlist.h"
#include "ingest/karpathy.h"
#include "ingest/picture.h"
#include "ingest/table.h"
#include "ingest/webdataset.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"

struct source {
    enum source_format format;
    const struct source_options *o; /* borrowed */
    char *path, *folder;            /* owned */
    uint64_t size_bytes;
    void *reader; /* of the format's kind */
};

/* How a format is read; each function knows its own reader. */
struct reader {
    const char *word;
    int (*next)(void *reader, struct row *row, struct error *err);
    void (*close)(void *reader);
    uint64_t (*position)(const void *reader);
};

#define READER(stem)                                                                               \
    static int stem##_any_next(void *reader, struct row *row, struct error *err)                   \
    {                                                                                              \
        return stem##_next(reader, row, err);                                                      \
    }                                                                                              \
    static void stem##_any_close(void *reader)                                                     \
    {                                                                                              \
        stem##_close(reader);                                                                      \
    }                                                                                              \
    static uint64_t stem##_any_position(const void *reader)                                        \
    {                                                                                              \
        return stem##_position(reader);                                                            \
    }
READER(table)
READER(jsonl)
READER(jsonlist)
READER(coco)
READER(karpathy)
READER(flickr)
READER(cnclip)
READER(webdataset)
READER(folder)
#define READ_BY(stem) stem##_any_next, stem##_any_close, stem##_any_position

static const struct reader readers[SOURCE_FORMATS] = {
    [SOURCE_AUTO] = {"auto", NULL, NULL, NULL},
    [SOURCE_TSV] = {"tsv", READ_BY(table)},
    [SOURCE_CSV] = {"csv", READ_BY(table)},
    [SOURCE_JSONL] = {"jsonl", READ_BY(jsonl)},
    [SOURCE_JSON] = {"json", READ_BY(jsonlist)},
    [SOURCE_COCO] = {"coco", READ_BY(coco)},
    [SOURCE_KARPATHY] = {"karpathy", READ_BY(karpathy)},
    [SOURCE_FLICKR] = {"flickr", READ_BY(flickr)},
    [SOURCE_CNCLIP] = {"cnclip", READ_BY(cnclip)},
    [SOURCE_WEBDATASET] = {"webdataset", READ_BY(webdataset)},
    [SOURCE_FOLDER] = {"dir", READ_BY(folder)},
};

int source_format_of(const char *word, enum source_format *format, struct error *err)
{
    for (int i = 0; i < SOURCE_FORMATS; i++) {
        if (strcmp(word, readers[i].word)) continue;
        *format = (enum source_format)i;
        return 0;
    }
    return error_set(err, ERR_USAGE, "'%s' is no format; expected one of " SOURCE_WORDS, word);
}

struct source_options source_defaults(void)
{
    return (struct source_options){.fields = fields_defaults(),
                                   .max_picture_bytes = picture_limits_default().max_bytes};
}

/* The name's end, without one of a compressor. */
static bool ends_with(const char *s, const char *end)
{
    static const char *const packed[] = {"", ".gz", ".zst", ".bz2"};
    size_t n = strlen(s), k = strlen(end);
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++) {
        size_t p = strlen(packed[i]);
        if (n >= k + p && !strcasecmp(s + n - p, packed[i]) && !strncasecmp(s + n - p - k, end, k))
            return true;
    }
    return false;
}

/* Is the first line a whole object? Then the text is JSON lines, unless the object has what a document
 * on one line has. */
static bool is_json_line(const char *text)
{
    struct json *object = json_read(text, strcspn(text, "\n"), "the first line", NULL);
    bool is_document = json_is_object(json_at(json_get(object, "images"), 0)) ||
                       json_is_array(json_get(object, "annotations"));
    bool is_line = object && !is_document;
    json_free(object);
    return is_line;
}

/* The members with which one large document begins. */
static bool is_document(const char *text, size_t n)
{
    static const char *const first[] = {"info",       "images", "annotations", "licenses",
                                        "categories", "type",   "dataset"};
    size_t at = 1 + strspn(text + 1, " \t\r\n");
    if (at >= n || text[at] != '"' || is_json_line(text)) return false;
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        size_t k = strlen(first[i]);
        if (!strncmp(text + at + 1, first[i], k) && text[at + 1 + k] == '"') return true;
    }
    return false;
}

/* By the first line: '{' is JSON, a TAB or a comma makes a table; a header of one column is told by
 * the name. text ends with a NUL. */
static enum source_format recognise_text(const char *path, const char *text, size_t n)
{
    size_t skip = n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
    skip += strspn(text + skip, " \t\r\n");
    text += skip;
    n -= skip;
    size_t line = strcspn(text, "\r\n");
    if (cnclip_matches(text, n)) return SOURCE_CNCLIP;
    if (*text == '{' && is_document(text, n))
        return strstr(text, "\"sentences\"") || strstr(text, "\"sentids\"") ? SOURCE_KARPATHY
                                                                            : SOURCE_COCO;
    if (*text == '{') return SOURCE_JSONL;
    if (*text == '[') return SOURCE_JSON;
    if (flickr_matches(text, n)) return SOURCE_FLICKR;
    if (memchr(text, '\t', line)) return SOURCE_TSV;
    if (memchr(text, ',', line)) return SOURCE_CSV;
    if (ends_with(path, ".tsv") || ends_with(path, ".txt")) return SOURCE_TSV;
    if (ends_with(path, ".csv")) return SOURCE_CSV;
    return ends_with(path, ".jsonl") || ends_with(path, ".ndjson") ? SOURCE_JSONL : SOURCE_AUTO;
}

static int recognise(const char *path, const struct stream *stream, enum source_format *format,
                     struct error *err)
{
    const char *head, *picture;
    size_t n;
    *format = SOURCE_WEBDATASET;
    if (stream_is_tar(stream)) return 0;
    stream_peek(stream, &head, &n);
    picture_sniff(head, n, &picture);
    if (picture)
        return error_set(err, ERR_DATA,
                         "%s: is a %s file; a manifest or a folder of pictures is expected", path,
                         picture);
    char *text = memory_copy(head, n, err); /* with a NUL */
    if (!text) return ERR_NOMEM;
    *format = recognise_text(path, text, strlen(text));
    memory_free(text);
    if (*format != SOURCE_AUTO) return 0;
    return error_set(err, ERR_DATA,
                     "%s: is neither a table with a header, nor JSON lines, nor another manifest "
                     "that is known, nor a folder of pictures; say which with --format",
                     path);
}

#define OPEN(stem, ...)                                                                            \
    do {                                                                                           \
        struct stem *opened = NULL;                                                                \
        rc = stem##_open(&opened, __VA_ARGS__);                                                    \
        s->reader = opened;                                                                        \
    } while (0)

/* stream is taken, also on an error. */
static int open_reader(struct source *s, struct stream *stream, const struct report *report,
                       struct error *err)
{
    const struct fields *fields = &s->o->fields;
    const char *path = s->path;
    int rc = 0;
    switch (s->format) {
    case SOURCE_JSONL: OPEN(jsonl, stream, path, fields, err); break;
    case SOURCE_JSON: OPEN(jsonlist, stream, path, fields, err); break;
    case SOURCE_COCO: OPEN(coco, stream, path, fields, err); break;
    case SOURCE_KARPATHY: OPEN(karpathy, stream, path, err); break;
    case SOURCE_FLICKR: OPEN(flickr, stream, path, err); break;
    case SOURCE_CNCLIP: OPEN(cnclip, stream, path, err); break;
    case SOURCE_WEBDATASET:
        OPEN(webdataset, stream, path, fields, s->o->max_picture_bytes, report, err);
        break;
    default: OPEN(table, stream, path, s->format == SOURCE_CSV, fields, report, err); break;
    }
    return rc;
}

static int open_folder(struct source *s, struct error *err)
{
    int rc;
    OPEN(folder, s->path, s->o->folder_labels, err);
    return rc;
}

static int open_file(struct source *s, const struct report *report, struct error *err)
{
    struct stream *stream;
    int rc = stream_open(&stream, s->path, err);
    if (rc < 0) return rc;
    if (s->format == SOURCE_AUTO) rc = recognise(s->path, stream, &s->format, err);
    if (rc < 0) {
        stream_close(stream);
        return rc;
    }
    s->size_bytes = stream_size(stream);
    rc = open_reader(s, stream, report, err);
    if (rc == 0 && s->format == SOURCE_JSON) s->size_bytes = jsonlist_size(s->reader);
    if (rc == 0 && s->format == SOURCE_COCO) s->size_bytes = coco_size(s->reader);
    if (rc == 0 && s->format == SOURCE_KARPATHY) s->size_bytes = karpathy_size(s->reader);
    if (rc == 0 && s->format == SOURCE_CNCLIP) s->size_bytes = cnclip_size(s->reader);
    return rc;
}

int source_open(struct source **out, const char *path, const struct source_options *options,
                const struct report *report, struct error *err)
{
    *out = NULL;
    bool is_stdin = !strcmp(path, STREAM_STDIN), is_folder = !is_stdin && file_is_folder(path);
    if (!is_stdin && !file_exists(path))
        return error_set(err, ERR_NOT_FOUND, "%s: there is no such file or folder", path);
    struct source *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return ERR_NOMEM;
    s->o = options;
    s->format = options->format == SOURCE_AUTO && is_folder ? SOURCE_FOLDER : options->format;
    s->path = memory_string(path, err);
    s->folder = options->pictures ? memory_string(options->pictures, err)
                : is_folder       ? memory_string(path, err)
                                  : file_folder_of(path, err);
    int rc = s->path && s->folder ? 0 : ERR_NOMEM;
    if (rc == 0) rc = s->format == SOURCE_FOLDER ? open_folder(s, err) : open_file(s, report, err);
    if (rc < 0)
        source_close(s);
    else
        *out = s;
    return rc;
}

void source_close(struct source *s)
{
    if (!s) return;
    if (s->reader) readers[s->format].close(s->reader);
    memory_free(s->path);
    memory_free(s->folder);
    memory_free(s);
}

int source_next(struct source *s, struct row *row, struct error *err)
{
    return readers[s->format].next(s->reader, row, err);
}

enum source_format source_kind(const struct source *s)
{
    return s->format;
}

const char *source_path(const struct source *s)
{
    return s->path;
}

const char *source_folder(const struct source *s)
{
    return s->folder;
}

char *source_default_name(const char *path, struct error *err)
{
    if (!strcmp(path, STREAM_STDIN)) return memory_string("stdin", err);
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t start = n;
    while (start && path[start - 1] != '/') start--;
    return start < n ? memory_copy(path + start, n - start, err) : memory_string("source", err);
}

void source_progress(const struct source *s, uint64_t *done, uint64_t *total)
{
    *total = s->size_bytes;
    *done = readers[s->format].position(s->reader);
}

static int add_path(struct source_paths *p, const char *path, struct error *err)
{
    if (memory_grow(&p->path, &p->capacity, p->n + 1, sizeof *p->path, MEMORY_MAX_FILE, err) < 0)
        return ERR_NOMEM;
    p->path[p->n] = memory_string(path, err);
    return p->path[p->n] ? (p->n++, 0) : ERR_NOMEM;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int expand_word(struct source_paths *p, const char *word, struct error *err)
{
    glob_t g = {0};
    bool is_path = !strcmp(word, STREAM_STDIN) || file_exists(word);
    if (is_path || !strpbrk(word, "*?[{")) return add_path(p, word, err);
    int rc = glob(word, GLOB_BRACE, NULL, &g);
    if (rc)
        rc = rc == GLOB_NOMATCH
                 ? error_set(err, ERR_NOT_FOUND,
                             "%s: there is no such file, and as a pattern it fits none", word)
                 : error_set(err, rc == GLOB_NOSPACE ? ERR_NOMEM : ERR_IO,
                             "%s: the pattern's folder cannot be read", word);
    if (rc == 0) qsort(g.gl_pathv, g.gl_pathc, sizeof *g.gl_pathv, by_bytes);
    for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++)
        if (i == 0 || strcmp(g.gl_pathv[i], g.gl_pathv[i - 1]))
            rc = add_path(p, g.gl_pathv[i], err);
    globfree(&g);
    return rc;
}

int source_expand(const char *const *words, size_t n_words, struct source_paths *paths,
                  struct error *err)
{
    int rc = 0;
    *paths = (struct source_paths){0};
    for (size_t i = 0; rc == 0 && i < n_words; i++) rc = expand_word(paths, words[i], err);
    return rc;
}

void source_paths_release(struct source_paths *paths)
{
    for (size_t i = 0; i < paths->n; i++) memory_free(paths->path[i]);
    memory_free(paths->path);
    *paths = (struct source_paths){0};
}
