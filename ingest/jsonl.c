/* JSON lines; see jsonl.h. A line is parsed once and stays alive while its captions are handed out:
 * `at` counts them, and a caption is found again by walking the value, so that nothing is
 * copied. */
#include "ingest/jsonl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ingest/lines.h"
#include "store/json.h"
#include "store/memory.h"

#define MAX_LANGUAGES 1000 /* of one record: finding the i-th member costs i */

struct jsonl {
    struct lines lines;
    struct json *object;         /* owned; NULL between lines */
    const struct json *captions; /* borrowed from object */
    const struct json *group; /* the list, or the value of the language that is being handed out */
    const char *group_language;
    size_t next_group, next_text;
    struct row row; /* what all rows of the line share */
    char id[32];
    char message[1100];
    char record[ROW_SHOWN + 1];
};

int jsonl_open(struct jsonl **j, const char *path, struct error *err)
{
    *j = memory_array(1, sizeof **j, MEMORY_MAX_SMALL, err);
    if (!*j) return ERR_NOMEM;
    int rc = lines_open(&(*j)->lines, path, err);
    if (rc < 0) {
        jsonl_close(*j);
        *j = NULL;
    }
    return rc;
}

void jsonl_close(struct jsonl *j)
{
    if (!j) return;
    json_free(j->object);
    lines_close(&j->lines);
    memory_free(j);
}

static int reject(struct jsonl *j, struct row *row, const char *reason, const char *message)
{
    if (message != j->message) snprintf(j->message, sizeof j->message, "%s", message);
    row_reject(row, reason, j->message, j->record);
    return 1;
}

/* A string member, or NULL when absent or null; false when it is of another kind. An integer id
 * becomes text in id. */
static bool text_member(const struct json *object, const char *key, char id[32], const char **text)
{
    const struct json *v = json_get(object, key);
    *text = NULL;
    if (json_is_null(v)) return true;
    if (id && json_is_number(v) && (double)json_int(v, 0) == json_number(v, 0.5)) {
        snprintf(id, 32, "%" PRId64, json_int(v, 0));
        *text = id;
        return true;
    }
    *text = json_text(v, NULL);
    return *text != NULL;
}

/* What all captions of the object share. NULL, or the name of the member that is of the wrong kind. */
static const char *read_shared(struct jsonl *j)
{
    struct row *r = &j->row;
    const char *language;
    if (!text_member(j->object, "image", NULL, &r->image)) return "image";
    if (!text_member(j->object, "id", j->id, &r->id)) return "id";
    if (!text_member(j->object, "lang", NULL, &r->lang)) return "lang";
    if (!text_member(j->object, "language", NULL, &language)) return "language";
    if (!text_member(j->object, "label", NULL, &r->label)) return "label";
    if (!text_member(j->object, "split", NULL, &r->split)) return "split";
    if (!r->lang) r->lang = language;
    return NULL;
}

/* Parses the line into j->object. 1 with row->reason when it is bad. */
static int begin_line(struct jsonl *j, struct row *row)
{
    struct error why = {0};
    j->next_group = j->next_text = 0;
    j->group = NULL;
    j->group_language = NULL;
    if (!(j->object = json_read(j->lines.text, j->lines.n, "the record", &why))) {
        if (why.code == ERR_NOMEM) return ERR_NOMEM;
        return reject(j, row, "bad-json", why.text);
    }
    if (!json_is_object(j->object))
        return reject(j, row, "bad-json", "an object { ... } is expected on each line");
    const char *wrong = read_shared(j);
    const struct json *weight = json_get(j->object, "weight");
    if (wrong) {
        snprintf(j->message, sizeof j->message, "the member \"%s\" must be a string", wrong);
        return reject(j, row, "bad-member", j->message);
    }
    if (!json_is_null(weight)) {
        char text[40];
        snprintf(text, sizeof text, "%.17g", json_number(weight, 0));
        if (!json_is_number(weight) || row_weight(text, &j->row.weight) < 0)
            return reject(j, row, "bad-weight", "the weight is no number above 0");
    }
    j->captions = json_get(j->object, "captions");
    if (!j->captions) j->captions = json_get(j->object, "caption");
    if (json_is_null(j->captions) || (!json_is_string(j->captions) && json_size(j->captions) == 0))
        return reject(j, row, "missing-caption",
                      "the object has no member \"caption\" or \"captions\", or it is empty");
    if (json_is_object(j->captions) && json_size(j->captions) > MAX_LANGUAGES)
        return reject(j, row, "bad-member",
                      "the captions of one record are in more than 1000 languages");
    return 0;
}

/* The next string of a value that is one string or a list of strings; 1, or 0 when there is none left. */
static int next_text(struct jsonl *j, const struct json *value, struct row *row)
{
    const struct json *v = json_is_array(value) ? json_at(value, j->next_text)
                           : j->next_text       ? NULL
                                                : value;
    if (!v) return 0;
    j->next_text++;
    *row = j->row;
    if (j->group_language) row->lang = j->group_language;
    row->caption = json_text(v, NULL);
    if (!row->caption) return reject(j, row, "bad-member", "a caption must be a string");
    row->n_caption = strlen(row->caption);
    return 1;
}

static int next_caption(struct jsonl *j, struct row *row)
{
    if (!json_is_object(j->captions)) return next_text(j, j->captions, row);
    for (;;) {
        if (j->group && next_text(j, j->group, row)) return 1;
        if (!json_member(j->captions, j->next_group++, &j->group_language, &j->group)) return 0;
        j->next_text = 0;
    }
}

int jsonl_next(struct jsonl *j, struct row *row, struct error *err)
{
    for (;;) {
        if (j->object && j->captions && next_caption(j, row)) return 1;
        json_free(j->object);
        j->object = NULL;
        j->captions = NULL;
        int rc;
        do rc = lines_next(&j->lines, err);
        while (rc == 1 && strspn(j->lines.text, " \t\r") == j->lines.n);
        if (rc <= 0) return rc;
        j->row = (struct row){
            .weight = 1, .line = j->lines.line, .byte_offset = j->lines.byte_offset};
        *row = j->row;
        snprintf(j->record, sizeof j->record, "%s", j->lines.text);
        if (j->lines.too_long)
            return reject(j, row, "line-too-long", "the line is longer than 16 MiB");
        rc = begin_line(j, row);
        if (rc < 0)
            return error_set(err, rc, "%s:%llu: out of memory", j->lines.path,
                             (unsigned long long)row->line);
        if (rc > 0) {
            j->captions = NULL; /* nothing of a bad line is handed out */
            return rc;
        }
    }
}

uint64_t jsonl_position(const struct jsonl *j)
{
    return j->lines.position;
}
