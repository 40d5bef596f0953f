/* One stream of rows out of any kind of source; see source.h. Recognition looks at the first bytes
 * before it looks at the name. */
#include "ingest/source.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ingest/folder.h"
#include "ingest/jsonl.h"
#include "ingest/picture.h"
#include "ingest/table.h"
#include "store/file.h"
#include "store/memory.h"

static const char *const words[] = {"auto", "tsv", "csv", "jsonl", "dir"};
#define N_FORMATS ((int)(sizeof words / sizeof *words))

struct source {
    enum source_format format;
    char *path, *folder; /* owned */
    uint64_t size_bytes;
    struct table *table; /* one of these three is set */
    struct jsonl *jsonl;
    struct folder *pictures;
};

int source_format_of(const char *word, enum source_format *format, struct error *err)
{
    for (int i = 0; i < N_FORMATS; i++) {
        if (strcmp(word, words[i])) continue;
        *format = (enum source_format)i;
        return 0;
    }
    return error_set(err, ERR_USAGE, "'%s' is no format; expected auto, tsv, csv, jsonl or dir",
                     word);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcasecmp(s + n - k, end);
}

/* By the first line: '{' is JSON, a TAB or a comma makes a table; a header of one column is told by
 * the name. */
static int recognise_text(const char *path, const char *head, size_t n, enum source_format *format,
                          struct error *err)
{
    size_t skip = n >= 3 && !memcmp(head, "\xef\xbb\xbf", 3) ? 3 : 0;
    skip += strspn(head + skip, " \t\r\n");
    size_t line = strcspn(head + skip, "\r\n");
    if (head[skip] == '{')
        *format = SOURCE_JSONL;
    else if (memchr(head + skip, '\t', line))
        *format = SOURCE_TSV;
    else if (memchr(head + skip, ',', line))
        *format = SOURCE_CSV;
    else if (ends_with(path, ".tsv") || ends_with(path, ".txt"))
        *format = SOURCE_TSV;
    else if (ends_with(path, ".csv"))
        *format = SOURCE_CSV;
    else if (ends_with(path, ".jsonl") || ends_with(path, ".ndjson"))
        *format = SOURCE_JSONL;
    else
        return error_set(
            err, ERR_DATA,
            "%s: is neither a table with a header, nor JSON lines, nor a folder of pictures; "
            "say which with --format",
            path);
    return 0;
}

static int recognise(const char *path, enum source_format *format, struct error *err)
{
    if (file_is_folder(path)) {
        *format = SOURCE_FOLDER;
        return 0;
    }
    char head[4097];
    const char *picture;
    FILE *f = fopen(path, "rbe");
    if (!f) return error_errno(err, "%s", path);
    size_t n = fread(head, 1, sizeof head - 1, f);
    fclose(f);
    head[n] = '\0';
    picture_sniff(head, n, &picture);
    if (picture)
        return error_set(err, ERR_DATA,
                         "%s: is a %s file; a manifest or a folder of pictures is expected", path,
                         picture);
    return recognise_text(path, head, n, format, err);
}

static int open_reader(struct source *s, bool folder_labels, const struct report *report,
                       struct error *err)
{
    switch (s->format) {
    case SOURCE_FOLDER: return folder_open(&s->pictures, s->path, folder_labels, err);
    case SOURCE_JSONL: return jsonl_open(&s->jsonl, s->path, err);
    default:
        return table_open(&s->table, s->path, s->format == SOURCE_CSV ? ',' : '\t', report, err);
    }
}

int source_open(struct source **s, const char *path, enum source_format format, bool folder_labels,
                const struct report *report, struct error *err)
{
    *s = NULL;
    if (!file_exists(path))
        return error_set(err, ERR_NOT_FOUND, "%s: there is no such file or folder", path);
    struct source *new = memory_array(1, sizeof *new, MEMORY_MAX_SMALL, err);
    if (!new) return ERR_NOMEM;
    new->format = format;
    int rc = format == SOURCE_AUTO ? recognise(path, &new->format, err) : 0;
    if (rc == 0 && !(new->path = memory_string(path, err))) rc = ERR_NOMEM;
    if (rc == 0) {
        new->folder = new->format == SOURCE_FOLDER ? memory_string(path, err)
                                                   : file_folder_of(path, err);
        new->size_bytes = new->format == SOURCE_FOLDER ? 0 : file_size(path);
        if (!new->folder) rc = ERR_NOMEM;
    }
    if (rc == 0) rc = open_reader(new, folder_labels, report, err);
    if (rc < 0) {
        source_close(new);
        return rc;
    }
    *s = new;
    return 0;
}

void source_close(struct source *s)
{
    if (!s) return;
    table_close(s->table);
    jsonl_close(s->jsonl);
    folder_close(s->pictures);
    memory_free(s->path);
    memory_free(s->folder);
    memory_free(s);
}

int source_next(struct source *s, struct row *row, struct error *err)
{
    if (s->table) return table_next(s->table, row, err);
    return s->jsonl ? jsonl_next(s->jsonl, row, err) : folder_next(s->pictures, row, err);
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
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t start = n;
    while (start && path[start - 1] != '/') start--;
    return start < n ? memory_copy(path + start, n - start, err) : memory_string("source", err);
}

void source_progress(const struct source *s, uint64_t *done, uint64_t *total)
{
    *total = s->size_bytes;
    *done = s->table   ? table_position(s->table)
            : s->jsonl ? jsonl_position(s->jsonl)
                       : folder_position(s->pictures);
}
