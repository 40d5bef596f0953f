/* Karpathy's splits; see karpathy.h. */
#include "ingest/karpathy.h"

#include <stdio.h>
#include <string.h>

#include "ingest/document.h"
#include "ingest/jsonrow.h"
#include "store/json.h"
#include "store/memory.h"

struct karpathy {
    struct document *document;
    struct json *image; /* whose sentences are handed out; owned */
    const struct json *sentences;
    size_t next;
    struct row row; /* what its rows share */
    char path[2000], id[65], message[300], record[ROW_SHOWN + 1];
};

int karpathy_open(struct karpathy **out, struct stream *stream, const char *path, struct error *err)
{
    struct karpathy *k = memory_array(1, sizeof *k, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!k) {
        stream_close(stream);
        return ERR_NOMEM;
    }
    int rc = document_open(&k->document, stream, path, err);
    if (rc == 0) rc = document_array(k->document, "images", err);
    if (rc == 0)
        rc = error_set(err, ERR_DATA, "%s: has no array \"images\": not Karpathy's splits", path);
    if (rc < 0)
        karpathy_close(k);
    else
        *out = k;
    return rc < 0 ? rc : 0;
}

void karpathy_close(struct karpathy *k)
{
    if (!k) return;
    json_free(k->image);
    document_close(k->document);
    memory_free(k);
}

static int reject(struct karpathy *k, struct row *row, const char *reason, const char *message)
{
    *row = k->row;
    snprintf(k->message, sizeof k->message, "%s", message);
    row_reject(row, reason, k->message, k->record);
    return 1;
}

/* 0, or 1 when *row is a reject, or a row without a caption. */
static int begin_image(struct karpathy *k, struct row *row)
{
    const char *folder = json_text(json_get(k->image, "filepath"), ""),
               *name = json_text(json_get(k->image, "filename"), NULL);
    bool has_id = jsonrow_id(json_get(k->image, "cocoid"), k->id, sizeof k->id) ||
                  jsonrow_id(json_get(k->image, "imgid"), k->id, sizeof k->id);
    k->next = 0;
    k->sentences = json_get(k->image, "sentences");
    snprintf(k->record, sizeof k->record, "%.*s", ROW_SHOWN, name ? name : "");
    if (!name || !*name) return reject(k, row, "bad-member", "the image has no \"filename\"");
    size_t n = (size_t)snprintf(k->path, sizeof k->path, "%s%s%s", folder, *folder ? "/" : "",
                                name);
    if (n >= sizeof k->path) return reject(k, row, "bad-member", "the image's path is too long");
    k->row.image = k->path;
    k->row.id = has_id ? k->id : NULL;
    k->row.split = json_text(json_get(k->image, "split"), NULL);
    if (!json_is_null(k->sentences) && !json_is_array(k->sentences))
        return reject(k, row, "bad-member", "\"sentences\" must be a list");
    *row = k->row;
    return json_size(k->sentences) == 0;
}

static int next_sentence(struct karpathy *k, struct row *row)
{
    const struct json *s = k->image ? json_at(k->sentences, k->next) : NULL;
    if (!s) return 0;
    k->next++;
    *row = k->row;
    row->caption = json_text(json_get(s, "raw"), NULL);
    if (!row->caption) return reject(k, row, "missing-caption", "the sentence has no \"raw\" text");
    row->n_caption = strlen(row->caption);
    return 1;
}

int karpathy_next(struct karpathy *k, struct row *row, struct error *err)
{
    (void)err;
    for (;;) {
        if (next_sentence(k, row)) return 1;
        const char *why;
        uint64_t offset = 0;
        json_free(k->image);
        if (!document_next(k->document, &k->image, &offset, &why)) return 0;
        k->row = (struct row){.weight = 1, .byte_offset = offset};
        *k->record = '\0';
        k->sentences = NULL;
        if (!k->image) return reject(k, row, "bad-json", why);
        if (begin_image(k, row)) {
            k->sentences = NULL; /* nothing of a bad image is handed out */
            return 1;
        }
    }
}

uint64_t karpathy_position(const struct karpathy *k)
{
    return document_position(k->document);
}

uint64_t karpathy_size(const struct karpathy *k)
{
    return document_size(k->document);
}
