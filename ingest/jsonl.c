/* JSON lines; see jsonl.h. */
#include "ingest/jsonl.h"

#include <stdio.h>
#include <string.h>

#include "ingest/jsonrow.h"
#include "ingest/lines.h"
#include "store/json.h"
#include "store/memory.h"

struct jsonl {
    struct lines lines;
    const char *path; /* borrowed, as are the fields */
    const struct fields *fields;
    struct jsonrow rows;
    struct error why;
    char record[ROW_SHOWN + 1];
};

int jsonl_open(struct jsonl **out, struct stream *stream, const char *path,
               const struct fields *fields, struct error *err)
{
    struct jsonl *j = memory_array(1, sizeof *j, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!j) {
        stream_close(stream);
        return ERR_NOMEM;
    }
    j->path = path;
    j->fields = fields;
    int rc = lines_of_stream(&j->lines, stream, path, err);
    if (rc < 0)
        jsonl_close(j);
    else
        *out = j;
    return rc;
}

void jsonl_close(struct jsonl *j)
{
    if (!j) return;
    jsonrow_end(&j->rows);
    lines_close(&j->lines);
    memory_free(j);
}

/* Parses the line that was read. 0: its rows can be asked for; 1: *row is a reject; or an error. */
static int begin_line(struct jsonl *j, struct row *row, struct error *err)
{
    struct row shared = {.weight = 1, .line = j->lines.line, .byte_offset = j->lines.byte_offset};
    *row = shared;
    snprintf(j->record, sizeof j->record, "%.*s", ROW_SHOWN, j->lines.text);
    if (j->lines.broken)
        row_reject(row, ROW_BROKEN, j->lines.broken, j->record);
    else if (j->lines.too_long)
        row_reject(row, "line-too-long", "the line is longer than 16 MiB", j->record);
    if (row->reason) return 1;
    j->why.code = 0;
    struct json *object = json_read(j->lines.text, j->lines.n, "the record", &j->why);
    if (!object && j->why.code == ERR_NOMEM)
        return error_set(err, ERR_NOMEM, "%s:%llu: out of memory", j->path,
                         (unsigned long long)row->line);
    if (!object) {
        row_reject(row, "bad-json", j->why.text, j->record);
        return 1;
    }
    int rc = jsonrow_begin(&j->rows, object, j->fields, &shared, true, row);
    if (rc > 0) row->record = j->record;
    return rc;
}

int jsonl_next(struct jsonl *j, struct row *row, struct error *err)
{
    for (;;) {
        if (j->rows.object && jsonrow_next(&j->rows, row)) {
            if (row->reason) row->record = j->record;
            return 1;
        }
        jsonrow_end(&j->rows);
        int rc = lines_next(&j->lines, err);
        if (rc <= 0) return rc;
        bool is_blank = strspn(j->lines.text, " \t\r") == j->lines.n;
        if (is_blank && !j->lines.broken) continue;
        rc = begin_line(j, row, err);
        if (rc) return rc;
    }
}

uint64_t jsonl_position(const struct jsonl *j)
{
    return lines_position(&j->lines);
}
