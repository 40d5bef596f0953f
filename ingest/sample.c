/* One sample of a tar; see sample.h. */
#include "ingest/sample.h"

#include <string.h>
#include <strings.h>

#include "store/json.h"
#include "store/memory.h"

int sample_begin(struct sample *s, const char *key, uint64_t byte_offset, struct error *err)
{
    *s = (struct sample){.byte_offset = byte_offset, .key = memory_string(key, err)};
    return s->key ? 0 : ERR_NOMEM;
}

enum sample_part sample_part_of(const char *extension, char language[CAPTION_MAX_LANGUAGE])
{
    static const struct {
        const char *extension;
        enum sample_part part;
    } known[] = {
        {"jpg", SAMPLE_PICTURE},  {"jpeg", SAMPLE_PICTURE}, {"png", SAMPLE_PICTURE},
        {"webp", SAMPLE_PICTURE}, {"img", SAMPLE_PICTURE},  {"image", SAMPLE_PICTURE},
        {"gif", SAMPLE_PICTURE},  {"bmp", SAMPLE_PICTURE},  {"tif", SAMPLE_PICTURE},
        {"tiff", SAMPLE_PICTURE}, {"avif", SAMPLE_PICTURE}, {"heic", SAMPLE_PICTURE},
        {"jxl", SAMPLE_PICTURE},  {"ppm", SAMPLE_PICTURE},  {"txt", SAMPLE_TEXT},
        {"text", SAMPLE_TEXT},    {"caption", SAMPLE_TEXT}, {"json", SAMPLE_JSON},
        {"cls", SAMPLE_CLASS},
    };
    *language = '\0';
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcasecmp(extension, known[i].extension)) return known[i].part;
    const char *dot = strrchr(extension, '.');
    size_t n = dot ? (size_t)(dot - extension) : 0;
    char tag[CAPTION_MAX_LANGUAGE];
    if (n == 0 || n >= sizeof tag || strcasecmp(dot, ".txt")) return SAMPLE_PARTS;
    memcpy(tag, extension, n);
    tag[n] = '\0';
    return caption_language(tag, language, CAPTION_MAX_LANGUAGE, NULL) < 0 ? SAMPLE_PARTS
                                                                           : SAMPLE_TEXT;
}

bool sample_has_room(const struct sample *s, enum sample_part part)
{
    switch (part) {
    case SAMPLE_PICTURE: return !s->picture;
    case SAMPLE_JSON: return !s->json;
    case SAMPLE_CLASS: return !s->label;
    default: return s->n_texts < SAMPLE_MAX_TEXTS && s->n_text_bytes < SAMPLE_MAX_BYTES;
    }
}

int sample_add(struct sample *s, enum sample_part part, const char *name, const char *language,
               char *bytes, size_t n, struct error *err)
{
    if (part == SAMPLE_PICTURE) {
        s->picture = bytes;
        s->n_picture = n;
        s->picture_name = memory_string(name, err);
        return s->picture_name ? 0 : ERR_NOMEM;
    }
    if (part == SAMPLE_JSON) {
        s->json = bytes;
        s->n_json = n;
        return 0;
    }
    if (part == SAMPLE_CLASS) {
        s->label = bytes;
        while (n && memchr(" \t\r\n", bytes[n - 1], 5)) bytes[--n] = '\0'; /* and NULs */
        return 0;
    }
    if (memory_grow(&s->texts, &s->capacity, s->n_texts + 1, sizeof *s->texts, MEMORY_MAX_SMALL,
                    err) < 0) {
        memory_free(bytes);
        return ERR_NOMEM;
    }
    struct sample_text *t = &s->texts[s->n_texts++];
    s->n_text_bytes += n;
    *t = (struct sample_text){.text = bytes, .n = n};
    strcpy(t->language, language);
    return 0;
}

/* What all rows of the sample share, whatever its json says. */
static void fill(const struct sample *s, struct row *row)
{
    row->id = s->key;
    row->image = s->picture_name;
    row->member = s->picture_name ? s->picture_name : s->key;
    row->picture = s->picture;
    row->n_picture = s->n_picture;
    row->byte_offset = s->byte_offset;
    if (!row->label || !*row->label) row->label = s->label;
}

/* Parses the json, whose label, split and weight the texts share. 1: *row is a reject. */
static int start(struct sample *s, const struct fields *fields, struct row *row)
{
    s->is_started = true;
    s->rows.row = (struct row){.weight = 1};
    s->json_done = !s->json;
    if (!s->json) return 0;
    struct row shared = {.weight = 1};
    struct json *object = json_read(s->json, s->n_json, "the sample's json", &s->why);
    if (object && jsonrow_begin(&s->rows, object, fields, &shared, false, row) == 0) return 0;
    s->json_done = true;
    if (!object) {
        *row = shared;
        row_reject(row, "bad-json", s->why.text, NULL);
    }
    fill(s, row);
    row->record = s->key;
    s->rows.row = (struct row){.weight = 1};
    return 1;
}

/* A text without white space around it. */
static size_t trim(const char **text, size_t n)
{
    while (n && memchr(" \t\r\n", **text, 4)) ++*text, n--;
    while (n && memchr(" \t\r\n", (*text)[n - 1], 4)) n--;
    return n;
}

/* Does a .txt say what the json's caption says? */
static bool is_text(const struct sample *s, const struct row *row)
{
    const char *caption = row->caption;
    size_t n = caption ? trim(&caption, row->n_caption) : 0;
    for (size_t i = 0; caption && i < s->n_texts; i++) {
        const char *text = s->texts[i].text;
        if (trim(&text, s->texts[i].n) == n && !memcmp(text, caption, n)) return true;
    }
    return false;
}

static int next(struct sample *s, const struct fields *fields, struct row *row)
{
    if (!s->is_started && start(s, fields, row)) return 1;
    if (s->next_text < s->n_texts) {
        const struct sample_text *t = &s->texts[s->next_text++];
        *row = s->rows.row;
        fill(s, row);
        row->caption = t->text;
        row->n_caption = t->n;
        if (*t->language) row->lang = t->language;
        s->had_caption = true;
        return 1;
    }
    while (!s->json_done) {
        if (!jsonrow_next(&s->rows, row)) {
            s->json_done = true;
            break;
        }
        if (!row->reason && is_text(s, row)) continue;
        fill(s, row);
        if (row->reason) row->record = s->key;
        s->had_caption = true;
        return 1;
    }
    if (s->had_caption) return 0;
    s->had_caption = true;
    *row = s->rows.row;
    fill(s, row);
    row->caption = row->label && *row->label ? row->label : NULL;
    row->n_caption = row->caption ? strlen(row->caption) : 0;
    return row->caption || row->picture;
}

int sample_next(struct sample *s, const struct fields *fields, struct row *row)
{
    if (!next(s, fields, row)) return 0;
    if (s->is_refused && !row->picture && !row->reason)
        row_reject(row, "missing-image", "the picture of this caption was not read", s->key);
    return 1;
}

void sample_end(struct sample *s)
{
    jsonrow_end(&s->rows);
    for (size_t i = 0; i < s->n_texts; i++) memory_free(s->texts[i].text);
    memory_free(s->texts);
    memory_free(s->label);
    memory_free(s->json);
    memory_free(s->picture_name);
    memory_free(s->picture);
    memory_free(s->key);
    *s = (struct sample){0};
}
