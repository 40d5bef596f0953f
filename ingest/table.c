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

enum column { IMAGE, ID, CAPTION, LANG, LABEL, SPLIT, WEIGHT, N_COLUMNS };
static const char *const column_names[N_COLUMNS] = {"image", "id",    "caption", "lang",
                                                    "label", "split", "weight"};

struct table {
    struct lines lines;
    char delimiter;
    size_t n_header;
    size_t column[N_COLUMNS]; /* 1 + index in the header; 0: not there */
    char *text;               /* the fields of the record, unquoted */
    size_t n_text, text_capacity;
    size_t *start; // (n_fields) into text
    size_t n_fields, start_capacity;
    char message[300];
    char record[ROW_SHOWN + 1];
};

static int put(struct table *t, char c, struct error *err)
{
    int rc = memory_grow(&t->text, &t->text_capacity, t->n_text + 1, 1, MEMORY_MAX_FILE, err);
    if (rc == 0) t->text[t->n_text++] = c;
    return rc;
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

/* Splits one line more of the record. 0, or ERR_NOMEM; *bad is set when a quoted field is followed
 * by anything but a delimiter. */
static int feed(struct table *t, enum quote *state, bool *bad, struct error *err)
{
    int rc = 0;
    bool csv = t->delimiter == ',';
    for (size_t i = 0; rc == 0 && !*bad && i < t->lines.n; i++) {
        char c = t->lines.text[i];
        if (*state == INSIDE) {
            if (c == '"' && i + 1 < t->lines.n && t->lines.text[i + 1] == '"')
                rc = put(t, t->lines.text[i++], err);
            else if (c == '"')
                *state = AFTER;
            else
                rc = put(t, c, err);
        } else if (c == t->delimiter) {
            rc = put(t, '\0', err);
            if (rc == 0) rc = begin_field(t, err);
            *state = FRESH;
        } else if (csv && c == '"' && *state == FRESH) {
            *state = INSIDE;
        } else if (*state == AFTER) {
            *bad = true;
        } else {
            rc = put(t, c, err);
            *state = OUTSIDE;
        }
    }
    return rc;
}

/* Goes on with the lines after a quoted line break. *bad when the quote is never closed. */
static int feed_on(struct table *t, enum quote *state, bool *bad, struct error *err)
{
    int rc = 0;
    while (rc == 0 && !*bad && *state == INSIDE) {
        rc = put(t, '\n', err);
        if (rc == 0) rc = lines_next(&t->lines, err);
        if (rc < 0) return rc;
        *bad = rc == 0 || t->lines.too_long || t->n_text > MAX_QUOTED_BYTES;
        rc = *bad ? 0 : feed(t, state, bad, err);
    }
    return rc;
}

static void reject(struct table *t, struct row *row, const char *reason)
{
    row_reject(row, reason, t->message, t->record);
}

/* Reads one record into the fields. 1, 0 at the end; *row has line and offset, and a reason when it
 * is bad. */
static int read_record(struct table *t, struct row *row, struct error *err)
{
    int rc;
    *row = (struct row){.weight = 1};
    do rc = lines_next(&t->lines, err);
    while (rc == 1 && t->lines.n == 0);
    if (rc <= 0) return rc;
    row->line = t->lines.line;
    row->byte_offset = t->lines.byte_offset;
    snprintf(t->record, sizeof t->record, "%s", t->lines.text);
    if (t->lines.too_long) {
        snprintf(t->message, sizeof t->message, "the line is longer than %zu bytes",
                 LINES_MAX_BYTES);
        reject(t, row, "line-too-long");
        return 1;
    }
    enum quote state = FRESH;
    bool bad = false;
    uint64_t second = t->lines.position;
    t->n_text = t->n_fields = 0;
    rc = begin_field(t, err);
    if (rc == 0) rc = feed(t, &state, &bad, err);
    if (rc == 0) rc = feed_on(t, &state, &bad, err);
    if (rc == 0) rc = put(t, '\0', err);
    if (rc == 0 && bad) {
        snprintf(t->message, sizeof t->message,
                 state == INSIDE ? "field %zu opens a quote that is not closed"
                                 : "field %zu goes on behind its closing quote",
                 t->n_fields);
        reject(t, row, "bad-quoting");
        rc = lines_seek(&t->lines, second, row->line + 1, err);
    }
    return rc < 0 ? rc : 1;
}

static char *field(const struct table *t, enum column c)
{
    return t->column[c] ? t->text + t->start[t->column[c] - 1] : NULL;
}

static size_t field_bytes(const struct table *t, enum column c)
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

static int map_column(struct table *t, size_t i, const char *name, const char *path,
                      const struct report *report, struct error *err)
{
    if (!strcasecmp(name, "language")) name = "lang";
    for (int c = 0; c < N_COLUMNS; c++) {
        if (strcasecmp(name, column_names[c])) continue;
        if (t->column[c])
            return error_set(err, ERR_DATA, "%s: two columns are named '%s'", path,
                             column_names[c]);
        t->column[c] = i + 1;
        return 0;
    }
    report_warn(report, "%s: the column '%s' is not known and is ignored", path, name);
    return 0;
}

static int map_header(struct table *t, const char *path, const struct report *report,
                      struct error *err)
{
    char found[400] = "";
    size_t n = 0;
    t->n_header = t->n_fields;
    if (t->n_header > MAX_COLUMNS)
        return error_set(err, ERR_DATA, "%s: the header has %zu columns, at most %d are expected",
                         path, t->n_header, MAX_COLUMNS);
    for (size_t i = 0; i < t->n_header; i++) {
        char *name = trim(t->text + t->start[i]);
        if (n < sizeof found)
            n += (size_t)snprintf(found + n, sizeof found - n, "%s%.60s", i ? ", " : "", name);
    }
    if (!strstr(found, "image") && !strstr(found, "caption")) report = NULL; /* no header at all */
    for (size_t i = 0; i < t->n_header; i++) {
        int rc = map_column(t, i, trim(t->text + t->start[i]), path, report, err);
        if (rc < 0) return rc;
    }
    if ((t->column[IMAGE] || t->column[ID]) && t->column[CAPTION]) return 0;
    return error_set(err, ERR_DATA, "%s: the header has no column '%s'; found: %s", path,
                     t->column[CAPTION] ? "image" : "caption", found);
}

int table_open(struct table **t, const char *path, char delimiter, const struct report *report,
               struct error *err)
{
    struct row row;
    *t = memory_array(1, sizeof **t, MEMORY_MAX_SMALL, err);
    if (!*t) return ERR_NOMEM;
    (*t)->delimiter = delimiter;
    int rc = lines_open(&(*t)->lines, path, err);
    if (rc == 0) rc = read_record(*t, &row, err);
    if (rc == 0)
        rc = error_set(err, ERR_DATA,
                       "%s: is empty; a header line with the columns image and caption is expected",
                       path);
    if (rc == 1 && row.reason)
        rc = error_set(err, ERR_DATA, "%s: the header line cannot be read: %s", path, row.message);
    if (rc == 1) rc = map_header(*t, path, report, err);
    if (rc < 0) {
        table_close(*t);
        *t = NULL;
    }
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
    row->image = field(t, IMAGE);
    row->id = field(t, ID);
    row->caption = field(t, CAPTION);
    row->n_caption = field_bytes(t, CAPTION);
    row->lang = field(t, LANG);
    row->label = field(t, LABEL);
    row->split = field(t, SPLIT);
    const char *weight = field(t, WEIGHT);
    if (weight && *weight && row_weight(weight, &row->weight) < 0) {
        snprintf(t->message, sizeof t->message, "the weight '%.100s' is no number above 0", weight);
        reject(t, row, "bad-weight");
    }
    return 1;
}

uint64_t table_position(const struct table *t)
{
    return t->lines.position;
}
