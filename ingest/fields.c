/* What the fields of a record are called in a source; see fields.h. */
#include "ingest/fields.h"

#include <string.h>

#define MAX_ALIASES 6

/* The first is our own name; of two that stand in one source the earlier counts. */
static const char *const aliases[FIELD_N][MAX_ALIASES] = {
    [FIELD_IMAGE] = {"image", "file_name", "filename", "image_path"},
    [FIELD_ID] = {"id"},
    [FIELD_CAPTION] = {"caption", "text"},
    [FIELD_LANG] = {"lang", "language"},
    [FIELD_LABEL] = {"label"},
    [FIELD_SPLIT] = {"split"},
    [FIELD_WEIGHT] = {"weight"},
};

struct fields fields_defaults(void)
{
    return (struct fields){0};
}

const char *fields_alias(const struct fields *f, enum field field, int i)
{
    if (f->mapped[field][0]) return i == 0 ? f->mapped[field] : NULL;
    return i < MAX_ALIASES ? aliases[field][i] : NULL;
}

const char *fields_name(const struct fields *f, enum field field)
{
    return fields_alias(f, field, 0);
}

int fields_map(struct fields *f, const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    enum field i = 0;
    while (i < FIELD_N && !(strlen(aliases[i][0]) == n && !strncmp(aliases[i][0], text, n))) i++;
    if (!equals || !equals[1] || i == FIELD_N)
        return error_set(err, ERR_USAGE,
                         "'%s' maps no field; expected caption=title, with one of image, id, "
                         "caption, lang, label, split, weight in front",
                         text);
    if (strlen(equals + 1) > FIELDS_MAX_NAME)
        return error_set(err, ERR_USAGE, "'%.40s...': a mapped name has at most %d bytes", text,
                         FIELDS_MAX_NAME);
    if (f->mapped[i][0])
        return error_set(err, ERR_USAGE, "%s is mapped twice: to '%s' and to '%s'", aliases[i][0],
                         f->mapped[i], equals + 1);
    strcpy(f->mapped[i], equals + 1);
    return 0;
}
