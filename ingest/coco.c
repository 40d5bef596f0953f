/* COCO captions; see coco.h. A first walk over the images makes a sorted index, hash of the id to place in
 * the file; an annotation finds its image there and reads it anew, so that no name is kept in memory. */
#include "ingest/coco.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/document.h"
#include "ingest/jsonrow.h"
#include "store/json.h"
#include "store/memory.h"

#define MAX_ID 64

struct place {
    uint64_t hash, offset;
};

enum phase { ANNOTATIONS, IMAGES, OVER };

struct coco {
    struct document *document;
    const char *path; /* borrowed, as are the fields */
    const struct fields *fields;
    struct place *places; // (n) by hash, then offset
    size_t n, capacity;
    uint8_t *is_named; // (n) an annotation names it
    enum phase phase;
    struct json *annotation, *image; /* of the last row; owned */
    char id[MAX_ID + 1], message[200], record[ROW_SHOWN + 1];
};

static uint64_t hash_of(const char *id)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *id; id++) h = (h ^ (uint8_t)*id) * 1099511628211u;
    return h;
}

static bool id_of(const struct json *object, const char *member, char out[MAX_ID + 1])
{
    return jsonrow_id(json_get(object, member), out, MAX_ID + 1);
}

static int by_hash(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    if (p->hash != q->hash) return p->hash < q->hash ? -1 : 1;
    return (p->offset > q->offset) - (p->offset < q->offset);
}

static int index_images(struct coco *c, struct error *err)
{
    struct json *image;
    uint64_t offset;
    const char *why;
    char id[MAX_ID + 1];
    int rc = document_array(c->document, "images", err);
    if (rc < 0) return rc;
    if (rc == 0)
        return error_set(err, ERR_DATA, "%s: has no array \"images\": not COCO captions", c->path);
    while (document_next(c->document, &image, &offset, &why)) {
        bool has_id = image && id_of(image, "id", id);
        json_free(image);
        if (!has_id) continue; /* said in the second walk */
        rc = memory_grow(&c->places, &c->capacity, c->n + 1, sizeof *c->places, MEMORY_MAX_TENSOR,
                         err);
        if (rc < 0) return rc;
        c->places[c->n++] = (struct place){hash_of(id), offset};
    }
    if (c->n) qsort(c->places, c->n, sizeof *c->places, by_hash);
    c->is_named = memory_array(c->n, 1, MEMORY_MAX_TENSOR, err);
    return c->is_named ? 0 : ERR_NOMEM;
}

int coco_open(struct coco **out, struct stream *stream, const char *path,
              const struct fields *fields, struct error *err)
{
    struct coco *c = memory_array(1, sizeof *c, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!c) {
        stream_close(stream);
        return ERR_NOMEM;
    }
    c->path = path;
    c->fields = fields;
    int rc = document_open(&c->document, stream, path, err);
    if (rc == 0) rc = index_images(c, err);
    if (rc == 0) rc = document_array(c->document, "annotations", err);
    if (rc == 0) { /* a list of images alone */
        c->phase = IMAGES;
        rc = document_array(c->document, "images", err);
    }
    if (rc < 0)
        coco_close(c);
    else
        *out = c;
    return rc < 0 ? rc : 0;
}

static void let_go(struct coco *c)
{
    json_free(c->annotation);
    json_free(c->image);
    c->annotation = c->image = NULL;
}

void coco_close(struct coco *c)
{
    if (!c) return;
    let_go(c);
    document_close(c->document);
    memory_free(c->places);
    memory_free(c->is_named);
    memory_free(c);
}

/* value: the bad record, or NULL. */
static int reject(struct coco *c, struct row *row, const struct json *value, const char *reason,
                  const char *message)
{
    char *text = value ? json_write(value, JSON_LINE, NULL) : NULL;
    snprintf(c->record, sizeof c->record, "%.*s", ROW_SHOWN, text ? text : "");
    memory_free(text);
    snprintf(c->message, sizeof c->message, "%s", message);
    row_reject(row, reason, c->message, c->record);
    return 1;
}

static const char *text_of(const struct json *object, const struct fields *fields, enum field f)
{
    const char *name, *text = NULL;
    for (int k = 0; !text && (name = fields_alias(fields, f, k)); k++)
        text = json_text(json_get(object, name), NULL);
    return text;
}

/* What an image gives to its rows; false when it lacks a file_name. */
static bool fill_image(struct coco *c, struct row *row)
{
    row->image = text_of(c->image, c->fields, FIELD_IMAGE);
    row->id = id_of(c->image, "id", c->id) ? c->id : NULL;
    row->split = text_of(c->image, c->fields, FIELD_SPLIT);
    return row->image && *row->image;
}

/* Reads the image of an id anew; false when there is none. */
static bool find_image(struct coco *c, const char *id)
{
    uint64_t hash = hash_of(id);
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c->places[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < c->n && c->places[low].hash == hash; low++) {
        char found[MAX_ID + 1];
        c->image = document_at(c->document, c->places[low].offset);
        if (id_of(c->image, "id", found) && !strcmp(found, id)) {
            c->is_named[low] = 1;
            return true;
        }
        json_free(c->image);
        c->image = NULL;
    }
    return false;
}

static int fill_annotation(struct coco *c, struct row *row)
{
    char id[MAX_ID + 1];
    if (!id_of(c->annotation, "image_id", id))
        return reject(c, row, c->annotation, "bad-member", "the annotation has no \"image_id\"");
    if (!find_image(c, id)) {
        char message[MAX_ID + 80];
        snprintf(message, sizeof message, "no image of the document has the id %s", id);
        return reject(c, row, c->annotation, "missing-image", message);
    }
    if (!fill_image(c, row))
        return reject(c, row, c->annotation, "bad-member",
                      "the annotation's image has no \"file_name\"");
    row->caption = text_of(c->annotation, c->fields, FIELD_CAPTION);
    if (!row->caption)
        return reject(c, row, c->annotation, "missing-caption", "the annotation has no caption");
    row->n_caption = strlen(row->caption);
    row->lang = text_of(c->annotation, c->fields, FIELD_LANG);
    return 1;
}

static bool is_named(const struct coco *c, uint64_t hash, uint64_t offset)
{
    struct place key = {hash, offset};
    const struct place *p = c->n ? bsearch(&key, c->places, c->n, sizeof *c->places, by_hash)
                                 : NULL;
    return p && c->is_named[p - c->places];
}

/* An image of the second walk: 1 with a row when no annotation named it, else 0. */
static int fill_lonely(struct coco *c, struct row *row)
{
    char id[MAX_ID + 1];
    bool has_id = id_of(c->image, "id", id);
    if (has_id && is_named(c, hash_of(id), row->byte_offset)) return 0;
    if (fill_image(c, row)) return 1;
    return reject(c, row, c->image, "bad-member", "the image has no \"file_name\"");
}

int coco_next(struct coco *c, struct row *row, struct error *err)
{
    while (c->phase != OVER) {
        struct json *value;
        const char *why;
        uint64_t offset = 0;
        let_go(c);
        if (!document_next(c->document, &value, &offset, &why)) {
            int rc = c->phase == IMAGES ? 0 : document_array(c->document, "images", err);
            if (rc < 0) return rc;
            c->phase = rc ? IMAGES : OVER;
            continue;
        }
        *row = (struct row){.weight = 1, .byte_offset = offset};
        if (!value) return reject(c, row, NULL, "bad-json", why);
        if (c->phase == ANNOTATIONS) {
            c->annotation = value;
            return fill_annotation(c, row);
        }
        c->image = value;
        if (fill_lonely(c, row)) return 1;
    }
    return 0;
}

uint64_t coco_position(const struct coco *c)
{
    return document_position(c->document);
}

uint64_t coco_size(const struct coco *c)
{
    return document_size(c->document);
}
