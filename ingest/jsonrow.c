/* The rows of one JSON object; see jsonrow.h. The object stays alive while its captions are handed
 * out: a caption is found again by walking the value, so that nothing is copied. */
#include "ingest/jsonrow.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/json.h"

#define MAX_LANGUAGES 1000 /* of one record: finding the i-th member costs i */

static int reject(struct jsonrow *j, struct row *row, const char *reason)
{
    *row = j->row;
    row_reject(row, reason, j->message, NULL);
    return 1;
}

static const struct json *member(const struct json *object, const struct fields *fields,
                                 enum field f, const char **name)
{
    const char *alias;
    *name = fields_name(fields, f);
    for (int k = 0; (alias = fields_alias(fields, f, k)); k++) {
        const struct json *v = json_get(object, alias);
        if (json_is_null(v)) continue;
        *name = alias;
        return v;
    }
    return NULL;
}

/* A string member into *text, which stays as it is when there is none. An integer becomes text in
 * `number`. The name of the member when it is of another kind, else NULL. */
static const char *text_member(const struct json *object, const struct fields *fields, enum field f,
                               char number[32], const char **text)
{
    const char *name;
    const struct json *v = member(object, fields, f, &name);
    if (json_is_null(v)) return NULL;
    if (number && json_is_number(v) && (double)json_int(v, 0) == json_number(v, 0.5)) {
        snprintf(number, 32, "%" PRId64, json_int(v, 0));
        *text = number;
        return NULL;
    }
    if (!json_is_string(v)) return name;
    *text = json_text(v, NULL);
    return NULL;
}

/* What all captions of the object share. NULL, or the name of the member that is of the wrong kind. */
static const char *read_shared(struct jsonrow *j, const struct fields *fields)
{
    struct row *r = &j->row;
    const char *wrong = text_member(j->object, fields, FIELD_IMAGE, NULL, &r->image);
    if (!wrong) wrong = text_member(j->object, fields, FIELD_ID, j->id, &r->id);
    if (!wrong) wrong = text_member(j->object, fields, FIELD_LANG, NULL, &r->lang);
    if (!wrong) wrong = text_member(j->object, fields, FIELD_LABEL, j->label, &r->label);
    if (!wrong) wrong = text_member(j->object, fields, FIELD_SPLIT, NULL, &r->split);
    return wrong;
}

static bool read_weight(struct jsonrow *j, const struct fields *fields)
{
    const char *name;
    char text[40];
    const struct json *v = member(j->object, fields, FIELD_WEIGHT, &name);
    if (json_is_null(v)) return true;
    snprintf(text, sizeof text, "%.17g", json_number(v, 0));
    return json_is_number(v) && row_weight(text, &j->row.weight) == 0;
}

static const struct json *find_captions(const struct json *object, const struct fields *fields)
{
    const char *name;
    const struct json *many = fields->mapped[FIELD_CAPTION][0] ? NULL
                                                               : json_get(object, "captions");
    return json_is_null(many) ? member(object, fields, FIELD_CAPTION, &name) : many;
}

int jsonrow_begin(struct jsonrow *j, struct json *object, const struct fields *fields,
                  const struct row *shared, bool needs_caption, struct row *row)
{
    j->object = object;
    j->row = *shared;
    j->next_group = j->next_text = 0;
    j->group = j->captions = NULL;
    j->group_language = NULL;
    snprintf(j->message, sizeof j->message, "an object { ... } is expected");
    if (!json_is_object(object)) return reject(j, row, "bad-json");
    const char *wrong = read_shared(j, fields);
    snprintf(j->message, sizeof j->message, "the member \"%s\" must be a string",
             wrong ? wrong : "");
    if (wrong) return reject(j, row, "bad-member");
    snprintf(j->message, sizeof j->message, "the weight is no number above 0");
    if (!read_weight(j, fields)) return reject(j, row, "bad-weight");
    const struct json *captions = find_captions(object, fields);
    bool none = json_is_null(captions) || (!json_is_string(captions) && json_size(captions) == 0);
    snprintf(j->message, sizeof j->message, "the object has no member \"%s\", or it is empty",
             fields_name(fields, FIELD_CAPTION));
    if (none) return needs_caption ? reject(j, row, "missing-caption") : 0;
    snprintf(j->message, sizeof j->message,
             "the captions of one record are in more than %d languages", MAX_LANGUAGES);
    if (json_is_object(captions) && json_size(captions) > MAX_LANGUAGES)
        return reject(j, row, "bad-member");
    j->captions = captions;
    return 0;
}

/* The next string of a value that is one string or a list of strings; 1, or 0 when there is none left. */
static int next_text(struct jsonrow *j, const struct json *value, struct row *row)
{
    const struct json *v = json_is_array(value) ? json_at(value, j->next_text)
                           : j->next_text       ? NULL
                                                : value;
    if (!v) return 0;
    j->next_text++;
    *row = j->row;
    if (j->group_language) row->lang = j->group_language;
    row->caption = json_text(v, NULL);
    if (!row->caption) {
        snprintf(j->message, sizeof j->message, "a caption must be a string");
        return reject(j, row, "bad-member");
    }
    row->n_caption = strlen(row->caption);
    return 1;
}

int jsonrow_next(struct jsonrow *j, struct row *row)
{
    if (!j->captions) return 0;
    if (!json_is_object(j->captions)) return next_text(j, j->captions, row);
    for (;;) {
        if (j->group && next_text(j, j->group, row)) return 1;
        if (!json_member(j->captions, j->next_group++, &j->group_language, &j->group)) return 0;
        j->next_text = 0;
    }
}

void jsonrow_end(struct jsonrow *j)
{
    json_free(j->object);
    j->object = NULL;
    j->captions = NULL;
}
