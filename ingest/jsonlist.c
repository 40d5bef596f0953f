/* A JSON array of objects; see jsonlist.h. */
#include "ingest/jsonlist.h"

#include <stdio.h>

#include "ingest/document.h"
#include "ingest/jsonrow.h"
#include "store/json.h"
#include "store/memory.h"

struct jsonlist {
    struct document *document;
    const struct fields *fields; /* borrowed */
    struct jsonrow rows;
    char record[ROW_SHOWN + 1];
};

int jsonlist_open(struct jsonlist **out, struct stream *stream, const char *path,
                  const struct fields *fields, struct error *err)
{
    struct jsonlist *j = memory_array(1, sizeof *j, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!j) {
        stream_close(stream);
        return ERR_NOMEM;
    }
    j->fields = fields;
    int rc = document_open(&j->document, stream, path, err);
    if (rc == 0) rc = document_list(j->document, err);
    if (rc < 0)
        jsonlist_close(j);
    else
        *out = j;
    return rc;
}

void jsonlist_close(struct jsonlist *j)
{
    if (!j) return;
    jsonrow_end(&j->rows);
    document_close(j->document);
    memory_free(j);
}

/* What is said of a bad element: its beginning. */
static void show(struct jsonlist *j)
{
    char *text = j->rows.object ? json_write(j->rows.object, JSON_LINE, NULL) : NULL;
    snprintf(j->record, sizeof j->record, "%.*s", ROW_SHOWN, text ? text : "");
    memory_free(text);
}

int jsonlist_next(struct jsonlist *j, struct row *row, struct error *err)
{
    (void)err;
    for (;;) {
        int rc = j->rows.object ? jsonrow_next(&j->rows, row) : 0;
        if (rc == 0) {
            struct json *object;
            struct row shared = {.weight = 1};
            const char *why;
            jsonrow_end(&j->rows);
            if (!document_next(j->document, &object, &shared.byte_offset, &why)) return 0;
            *row = shared;
            *j->record = '\0';
            if (!object) {
                row_reject(row, "bad-json", why, j->record);
                return 1;
            }
            rc = jsonrow_begin(&j->rows, object, j->fields, &shared, true, row);
        }
        if (rc == 0) continue;
        if (row->reason) {
            show(j);
            row->record = j->record;
        }
        return 1;
    }
}

uint64_t jsonlist_position(const struct jsonlist *j)
{
    return document_position(j->document);
}

uint64_t jsonlist_size(const struct jsonlist *j)
{
    return document_size(j->document);
}
