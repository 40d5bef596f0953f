/* Comma-separated values; see csv.h. Fields are unquoted in place: what they lose makes room for their
 * NUL, and an unquoted one gets it where its comma stood. */
#include "store/csv.h"

#include <string.h>

#include "store/file.h"
#include "store/memory.h"

int csv_open(struct csv *t, const char *path, struct error *err)
{
    size_t n = 0;
    *t = (struct csv){.path = memory_string(path, err), .next_line = 1};
    int rc = t->path ? file_read(path, MEMORY_MAX_FILE, &t->text, &n, err) : ERR_NOMEM;
    if (rc < 0) return rc;
    if (memchr(t->text, 0, n)) return error_set(err, ERR_DATA, "%s holds a NUL byte", path);
    t->p = t->text;
    t->end = t->text + n;
    if (n >= 3 && !memcmp(t->p, "\xef\xbb\xbf", 3)) t->p += 3;
    return 0;
}

/* A field that begins behind a quote at t->p; ends at its separator. NULL: it never ends, or other
 * bytes follow its quote. */
static char *take_quoted(struct csv *t)
{
    char *from = t->p, *to = t->p;
    for (; t->p < t->end; t->p++) {
        if (*t->p == '"' && t->p[1] == '"')
            t->p++;
        else if (*t->p == '"')
            break;
        t->next_line += *t->p == '\n';
        *to++ = *t->p;
    }
    if (t->p++ >= t->end) return NULL;
    *to = 0;
    return t->p == t->end || strchr(",\r\n", *t->p) ? from : NULL;
}

static char *take_field(struct csv *t)
{
    if (*t->p == '"') {
        t->p++;
        return take_quoted(t);
    }
    char *from = t->p;
    t->p += strcspn(t->p, ",\r\n");
    return from;
}

int csv_next(struct csv *t, struct error *err)
{
    t->n_fields = 0;
    t->line = t->next_line;
    if (t->p >= t->end) return 0;
    for (;;) {
        int rc = memory_grow(&t->fields, &t->capacity, t->n_fields + 1, sizeof *t->fields,
                             MEMORY_MAX_SMALL, err);
        if (rc < 0) return rc;
        char *field = take_field(t);
        if (!field)
            return error_set(err, ERR_DATA,
                             "%s: line %llu: a field in quotes does not end, or more follows its "
                             "closing quote",
                             t->path, (unsigned long long)t->line);
        t->fields[t->n_fields++] = field;
        char c = t->p < t->end ? *t->p : '\n';
        if (t->p < t->end) *t->p++ = 0;
        if (c == ',') continue;
        if (c == '\r' && t->p < t->end && *t->p == '\n') t->p++;
        t->next_line++;
        return 1;
    }
}

int csv_find(const struct csv *t, const char *name)
{
    for (size_t i = 0; i < t->n_fields; i++)
        if (!strcmp(t->fields[i], name)) return (int)i;
    return -1;
}

void csv_close(struct csv *t)
{
    memory_free(t->fields);
    memory_free(t->text);
    memory_free(t->path);
    *t = (struct csv){0};
}

int csv_put(struct outfile *f, const char *text, size_t n, struct error *err)
{
    size_t plain = 0;
    while (plain < n && !strchr("\",\r\n", text[plain])) plain++;
    if (plain == n) return outfile_add(f, text, n, err);
    int rc = outfile_add(f, "\"", 1, err);
    for (size_t i = 0; rc == 0 && i < n;) {
        const char *quote = memchr(text + i, '"', n - i);
        size_t run = quote ? (size_t)(quote - text) - i + 1 : n - i;
        rc = outfile_add(f, text + i, run, err);
        if (rc == 0 && quote) rc = outfile_add(f, "\"", 1, err);
        i += run;
    }
    return rc == 0 ? outfile_add(f, "\"", 1, err) : rc;
}
