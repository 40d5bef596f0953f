/* TSV and CSV tables; see table.h. A record is split by one small state machine fed line by line,
 * so that a quoted field may run over lines; its fields lie one after the other, NUL-terminated, in
 * one growing buffer. A record with broken quoting is given up and reading goes on at its second
 * line, so that one stray quote cannot swallow the file. */
#include "ingest/table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ingest/lines.h"
#include "store/memory.h"

#define MAX_COLUMNS      1000
#define MAX_QUOTED_BYTES ((size_t)1 << 20) /* of a record over several lines */

struct table {
    struct lines lines;
    const char *path; /* borrowed */
    char delimiter;
    bool is_csv;
    size_t n_header;
    size_t column[FIELD_N]; /* 1 + index in the header; 0: not there */
    char *text;             /* the fields of the record, unquoted */
    size_t n_text, text_capacity;
    size_t *start; // (n_fields) into text
    size_t n_fields, start_capacity;
    char message[300];
    char record[ROW_SHOWN + 1];
};

static int put(struct table *t, const char *bytes, size_t n, struct error *err)
{
    int rc = memory_grow(&t->text, &t->text_capacity, (uint64_t)t->n_text + n, 1, MEMORY_MAX_FILE,
                         err);
    if (rc < 0) return rc;
    memcpy(t->text + t->n_text, bytes, n);
    t->n_text += n;
    return 0;
}

static int begin_field(struct table *t, struct error *err)
{
    int rc = memory_grow(&t->start, &t->start_capacity, t->n_fields + 1, sizeof *t->start,
                         MEMORY_MAX_FILE, err);
    if (rc == 0) t->start[t->n_fields++] = t->n_text;
    return rc;
}

enum quote {
    OUTSIDE,
    FRESH,
    INSIDE,
    AFTER
}; /* FRESH: at the start of a field; AFTER: behind a closing quote */

/* Splits one line more of the record, a run of ordinary bytes at a time. 0, or ERR_NOMEM; *bad is
 * set when a quoted field is followed by anything but a delimiter. */
static int feed(struct table *t, enum quote *state, bool *bad, struct error *err)
{
    int rc = 0;
    const char *at = t->lines.text, *end = at + t->lines.n;
    while (rc == 0 && !*bad && at < end) {
        char stop = *state == INSIDE ? '"' : t->delimiter;
        const char *hit = memchr(at, stop, (size_t)(end - at));
        if (*state == FRESH && t->is_csv && *at == '"') {
            *state = INSIDE;
            at++;
        } else if (*state == AFTER && hit != at) {
            *bad = true;
        } else if (hit != at) {
            const char *run_end = hit ? hit : end;
            rc = put(t, at, (size_t)(run_end - at), err);
            at = run_end;
            if (*state == FRESH) *state = OUTSIDE;
        } else if (*state != INSIDE) {
            rc = put(t, "", 1, err);
            if (rc == 0) rc = begin_field(t, err);
            *state = FRESH;
            at++;
        } else if (at + 1 < end && at[1] == '"') {
            rc = put(t, at, 1, err);
            at += 2;
        } else {
            *state = AFTER;
            at++;
        }
    }
    return rc;
}

/* Goes on with the lines after a quoted line break. *bad when the quote is never closed. */
static int feed_on(struct table *t, enum quote *state, bool *bad, struct error *err)
{
    int rc = 0;
    while (rc == 0 && !*bad && *state == INSIDE) {
        rc = put(t, "\n", 1, err);
        if (rc == 0) rc = lines_next(&t->lines, err);
        if (rc < 0) return rc;
        if (t->lines.too_long) lines_drop(&t->lines);
        *bad = rc == 0 || t->lines.too_long || t->lines.broken || t->n_text > MAX_QUOTED_BYTES;
        rc = *bad ? 0 : feed(t, state, bad, err);
    }
    return rc;
}

static void reject(struct table *t, struct row *row, const char *reason)
{
    row_reject(row, reason, t->message, t->record);
}

/* Splits the record whose first line has been read. */
static int split_record(struct table *t, struct row *row, struct error *err)
{
    enum quote state = FRESH;
    bool bad = false;
    t->n_text = t->n_fields = 0;
    if (t->is_csv) lines_keep(&t->lines);
    int rc = begin_field(t, err);
    if (rc == 0) rc = feed(t, &state, &bad, err);
    if (rc == 0) rc = feed_on(t, &state, &bad, err);
    if (rc == 0) rc = put(t, "", 1, err);
    if (rc == 0 && bad) {
        snprintf(t->message, sizeof t->message,
                 state == INSIDE ? "field %zu opens a quote that is not closed within 1 MiB"
                                 : "field %zu goes on behind its closing quote",
                 t->n_fields);
        reject(t, row, "bad-quoting");
        lines_rewind(&t->lines);
    }
    lines_drop(&t->lines);
    return rc;
}

/* Reads one record into the fields. 1, 0 at the end; *row has line and offset, and a reason when it
 * is bad. */
static int read_record(struct table *t, struct row *row, struct error *err)
{
    int rc;
    *row = (struct row){.weight = 1};
    do rc = lines_next(&t->lines, err);
    while (rc == 1 && t->lines.n == 0 && !t->lines.broken);
    if (rc <= 0) return rc;
    row->line = t->lines.line;
    row->byte_offset = t->lines.byte_offset;
    snprintf(t->record, sizeof t->record, "%.*s", ROW_SHOWN, t->lines.text);
    if (t->lines.broken) {
        snprintf(t->message, sizeof t->message, "%s", t->lines.broken);
        reject(t, row, ROW_BROKEN);
        return 1;
    }
    if (t->lines.too_long) {
        snprintf(t->message, sizeof t->message, "the line is longer than %zu bytes",
                 LINES_MAX_BYTES);
        reject(t, row, "line-too-long");
        return 1;
    }
    rc = split_record(t, row, err);
    return rc < 0 ? rc : 1;
}

static char *field(const struct table *t, enum field c)
{
    return t->column[c] ? t->text + t->start[t->column[c] - 1] : NULL;
}

static size_t field_bytes(const struct table *t, enum field c)
{
    size_t i = t->column[c];
    return (i < t->n_fields ? t->start[i] : t->n_text) - 1 - t->start[i - 1];
}

/* The name without white space around it, in place. */
static char *trim(char *s)
{
    while (isspace((unsigned char)*s)) s++;
    size_t n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1])) s[--n] = '\0';
    return s;
}

/* The column of a field: the one with its best name; 0 when there is none. */
static int find_column(const struct table *t, const struct fields *fields, enum field f,
                       size_t *column, struct error *err)
{
    const char *name;
    *column = 0;
    for (int k = 0; !*column && (name = fields_alias(fields, f, k)); k++)
        for (size_t i = 0; i < t->n_header; i++) {
            if (strcasecmp(name, t->text + t->start[i])) continue;
            if (*column)
                return error_set(err, ERR_DATA, "%s: two columns are named '%s'", t->path, name);
            *column = i + 1;
        }
    return 0;
}

/* The header's names, for a message. */
static void list_columns(const struct table *t, char *out, size_t size)
{
    size_t n = 0;
    *out = '\0';
    for (size_t i = 0; i < t->n_header && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%.60s", i ? ", " : "", t->text + t->start[i]);
}

static void warn_unused(const struct table *t, const struct report *report)
{
    for (size_t i = 0; i < t->n_header; i++) {
        bool used = false;
        for (enum field f = 0; f < FIELD_N; f++) used |= t->column[f] == i + 1;
        if (!used)
            report_warn(report, "%s: the column '%.100s' is not used", t->path,
                        t->text + t->start[i]);
    }
}

static int map_header(struct table *t, const struct fields *fields, const struct report *report,
                      struct error *err)
{
    char found[400];
    t->n_header = t->n_fields;
    if (t->n_header > MAX_COLUMNS)
        return error_set(err, ERR_DATA, "%s: the header has %zu columns, at most %d are expected",
                         t->path, t->n_header, MAX_COLUMNS);
    for (size_t i = 0; i < t->n_header; i++)
        t->start[i] = (size_t)(trim(t->text + t->start[i]) - t->text);
    for (enum field f = 0; f < FIELD_N; f++) {
        int rc = find_column(t, fields, f, &t->column[f], err);
        if (rc < 0) return rc;
        if (fields->mapped[f][0] && !t->column[f]) {
            list_columns(t, found, sizeof found);
            return error_set(err, ERR_DATA, "%s: the header has no column '%s' (--map); found: %s",
                             t->path, fields->mapped[f], found);
        }
    }
    bool has_image = t->column[FIELD_IMAGE] || t->column[FIELD_ID];
    if (has_image && t->column[FIELD_CAPTION]) {
        warn_unused(t, report);
        return 0;
    }
    list_columns(t, found, sizeof found);
    return error_set(err, ERR_DATA,
                     "%s: the header has no column '%s' (--map %s=NAME names it); found: %s",
                     t->path, t->column[FIELD_CAPTION] ? "image" : "caption",
                     t->column[FIELD_CAPTION] ? "image" : "caption", found);
}

/* Of , ; | the one that stands most often in the header; , when none does. */
static char find_delimiter(const struct stream *stream)
{
    static const char candidates[] = ",;|";
    const char *head;
    size_t n, best = 0;
    char delimiter = ',';
    stream_peek(stream, &head, &n);
    size_t start = n >= 3 && !memcmp(head, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (start < n && (head[start] == '\n' || head[start] == '\r')) start++;
    for (const char *c = candidates; *c; c++) {
        size_t count = 0;
        for (size_t i = start; i < n && head[i] != '\n'; i++) count += head[i] == *c;
        if (count > best) {
            best = count;
            delimiter = *c;
        }
    }
    return delimiter;
}

int table_open(struct table **out, struct stream *stream, const char *path, bool is_csv,
               const struct fields *fields, const struct report *report, struct error *err)
{
    struct row row;
    struct table *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!t) {
        stream_close(stream);
        return ERR_NOMEM;
    }
    t->path = path;
    t->is_csv = is_csv;
    t->delimiter = is_csv ? find_delimiter(stream) : '\t';
    int rc = lines_of_stream(&t->lines, stream, path, err);
    if (rc == 0) rc = read_record(t, &row, err);
    if (rc == 0)
        rc = error_set(err, ERR_DATA,
                       "%s: is empty; a header line with the columns image and caption is expected",
                       path);
    if (rc == 1 && row.reason)
        rc = error_set(err, ERR_DATA, "%s: the header line cannot be read: %s", path, row.message);
    if (rc == 1) rc = map_header(t, fields, report, err);
    if (rc < 0)
        table_close(t);
    else
        *out = t;
    return rc;
}

void table_close(struct table *t)
{
    if (!t) return;
    lines_close(&t->lines);
    memory_free(t->text);
    memory_free(t->start);
    memory_free(t);
}

int table_next(struct table *t, struct row *row, struct error *err)
{
    int rc = read_record(t, row, err);
    if (rc <= 0 || row->reason) return rc;
    if (t->n_fields != t->n_header) {
        snprintf(t->message, sizeof t->message, "the row has %zu fields, the header %zu",
                 t->n_fields, t->n_header);
        reject(t, row, "wrong-field-count");
        return 1;
    }
    row->image = field(t, FIELD_IMAGE);
    row->id = field(t, FIELD_ID);
    row->caption = field(t, FIELD_CAPTION);
    row->n_caption = field_bytes(t, FIELD_CAPTION);
    row->lang = field(t, FIELD_LANG);
    row->label = field(t, FIELD_LABEL);
    row->split = field(t, FIELD_SPLIT);
    const char *weight = field(t, FIELD_WEIGHT);
    row->says_weight = weight && *weight;
    if (row->says_weight && row_weight(weight, &row->weight) < 0) {
        snprintf(t->message, sizeof t->message, "the weight '%.100s' is no number above 0", weight);
        reject(t, row, "bad-weight");
    }
    return 1;
}

uint64_t table_position(const struct table *t)
{
    return lines_position(&t->lines);
}
