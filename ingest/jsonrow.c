/* The rows of one JSON object; see jsonrow.h. The object stays alive while its captions are handed
 * out: a caption is found again by walking the value, so that nothing is copied. */
#include "ingest/jsonrow.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "store/json.h"

#define MAX_LANGUAGES 1000 /* of one record: finding the i-th member costs i */

bool jsonrow_id(const struct json *value, char *out, size_t size)
{
    const char *text = json_text(value, NULL);
    if (text) return (size_t)snprintf(out, size, "%.*s", (int)size, text) < size && *text;
    int64_t number = json_int(value, 0);
    if (!json_is_number(value) || (double)number != json_number(value, 0.5)) return false;
    return (size_t)snprintf(out, size, "%" PRId64, number) < size;
}

/* sentence: with a %s for `name`, or none. */
static int PRINTF_LIKE(4, 5)
    reject(struct jsonrow *j, struct row *row, const char *reason, const char *sentence, ...)
{
    va_list ap;
    va_start(ap, sentence);
    vsnprintf(j->message, sizeof j->message, sentence, ap);
    va_end(ap);
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
    if (number && json_is_number(v) && jsonrow_id(v, number, 32)) {
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
    j->row.says_weight = true;
    return json_is_number(v) && row_weight(text, &j->row.weight) == 0;
}

static const struct json *find_captions(const struct json *object, const struct fields *fields)
{
    const char *name;
    const struct json *many = fields->mapped[FIELD_CAPTION][0] ? NULL
                                                               : json_get(object, "captions");
    return json_is_null(many) ? member(object, fields, FIELD_CAPTION, &name) : many;
}

/* All captions were handed out: 1 with a reject where there was none and one is needed. */
static int end_captions(struct jsonrow *j, struct row *row)
{
    bool misses_one = j->needs_caption;
    j->captions = NULL;
    j->needs_caption = false;
    return misses_one ? reject(j, row, "missing-caption",
                               "the object has no member \"%s\", or it is empty", j->caption_name)
                      : 0;
}

int jsonrow_begin(struct jsonrow *j, struct json *object, const struct fields *fields,
                  const struct row *shared, bool needs_caption, struct row *row)
{
    j->object = object;
    j->row = *shared;
    j->next_group = j->next_text = 0;
    j->group = j->captions = NULL;
    j->group_language = NULL;
    j->needs_caption = needs_caption;
    j->caption_name = fields_name(fields, FIELD_CAPTION);
    if (!json_is_object(object)) return reject(j, row, "bad-json", "an object { ... } is expected");
    const char *wrong = read_shared(j, fields);
    if (wrong) return reject(j, row, "bad-member", "the member \"%s\" must be a string", wrong);
    if (!read_weight(j, fields))
        return reject(j, row, "bad-weight", "the weight is no number above 0");
    const struct json *captions = find_captions(object, fields);
    if (json_is_object(captions) && json_size(captions) > MAX_LANGUAGES)
        return reject(j, row, "bad-member",
                      "the captions of one record are in more than %d languages", MAX_LANGUAGES);
    j->captions = captions;
    return json_is_null(captions) ? end_captions(j, row) : 0;
}

/* The next string of a value that is one string or a list of strings; 1, or 0 when there is none left. */
static int next_text(struct jsonrow *j, const struct json *value, struct row *row)
{
    const struct json *v = json_is_array(value) ? json_at(value, j->next_text)
                           : j->next_text       ? NULL
                                                : value;
    if (!v) return 0;
    j->next_text++;
    j->needs_caption = false;
    *row = j->row;
    if (j->group_language) row->lang = j->group_language;
    row->caption = json_text(v, NULL);
    if (!row->caption) return reject(j, row, "bad-member", "a caption must be a string");
    row->n_caption = strlen(row->caption);
    return 1;
}

int jsonrow_next(struct jsonrow *j, struct row *row)
{
    if (!j->captions) return 0;
    if (!json_is_object(j->captions))
        return next_text(j, j->captions, row) ? 1 : end_captions(j, row);
    for (;;) {
        if (j->group && next_text(j, j->group, row)) return 1;
        if (!json_member(j->captions, j->next_group++, &j->group_language, &j->group))
            return end_captions(j, row);
        j->next_text = 0;
    }
}

void jsonrow_end(struct jsonrow *j)
{
    json_free(j->object);
    j->object = NULL;
    j->captions = NULL;
}
