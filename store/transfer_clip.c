/* Exporting sets as clip-retrieval's folder; see transfer.h and clipfolder.h. */
#include "store/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/clipfolder.h"
#include "store/json.h"
#include "store/memory.h"
#include "store/transfer_inside.h"

#define TELL_EACH 4096

/* A row of the folder: places among the rows of either set. */
struct sample {
    uint32_t image, caption;
};

/* A set and the records that it has, in order of keys. */
struct side {
    struct featureset *fs;
    uint32_t view;
    struct featureset_cursor *cur;
    struct transfer_row *rows; // (n)
    size_t n;
    uint32_t *rank; // by number: place in rows + 1, 0 for none
    float *x;       // (dim)
};

static int side_open(struct side *s, struct corpus *c, struct featureset *fs, uint32_t view,
                     struct error *err)
{
    s->fs = fs;
    s->view = view;
    if (!fs) return 0;
    bool is_image = featureset_spec(fs)->tower == TOWER_IMAGE;
    uint32_t n_records = is_image ? corpus_n_images(c) : corpus_n_captions(c);
    int rc = transfer_rows(c, fs, view, &s->rows, &s->n, err);
    if (rc < 0) return rc;
    s->cur = featureset_cursor_new(fs, err);
    s->x = s->cur ? memory_array(featureset_spec(fs)->dim, sizeof *s->x, MEMORY_MAX_FILE, err)
                  : NULL;
    s->rank = s->x ? memory_array(n_records, sizeof *s->rank, MEMORY_MAX_TENSOR, err) : NULL;
    if (!s->rank) return ERR_NOMEM;
    for (size_t i = 0; i < s->n; i++) s->rank[s->rows[i].number] = (uint32_t)i + 1;
    return 0;
}

static void side_close(struct side *s)
{
    featureset_cursor_free(s->cur);
    memory_free(s->rows);
    memory_free(s->rank);
    memory_free(s->x);
}

static int by_place(const void *a, const void *b)
{
    const struct sample *p = a, *q = b;
    if (p->image != q->image) return p->image < q->image ? -1 : 1;
    return (p->caption > q->caption) - (p->caption < q->caption);
}

/* Every pair of which both sides have a vector, once, in order of keys. */
static int find_pairs(struct corpus *c, const struct side *image, const struct side *text,
                      struct sample **samples, size_t *n, struct transfer_counts *counts,
                      struct error *err)
{
    struct corpus_pair *pairs = NULL;
    size_t n_pairs = 0, used = 0;
    int rc = corpus_pairs(c, &pairs, &n_pairs, err);
    *n = 0;
    *samples = rc == 0 ? memory_array(n_pairs, sizeof **samples, MEMORY_MAX_TENSOR, err) : NULL;
    if (rc == 0 && !*samples) rc = ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < n_pairs; i++) {
        bool seen = i && pairs[i].image == pairs[i - 1].image &&
                    pairs[i].caption == pairs[i - 1].caption;
        uint32_t a = image->rank[pairs[i].image], b = text->rank[pairs[i].caption];
        if (!seen && a && b) (*samples)[used++] = (struct sample){a - 1, b - 1};
        if (!seen) counts->n_unknown += !a || !b;
    }
    if (used) qsort(*samples, used, sizeof **samples, by_place);
    if (rc == 0 && used == 0)
        rc = error_set(err, ERR_NOT_FOUND,
                       "no image-caption pair has a vector in both sets: %s and %s",
                       featureset_spec(image->fs)->name, featureset_spec(text->fs)->name);
    *n = used;
    memory_free(pairs);
    return rc;
}

/* One row: vectors of the sides that are there, and what the metadata says of them. */
static int add_sample(struct corpus *c, struct clipfolder *w, struct side *image, struct side *text,
                      const struct sample *sample, struct error *err)
{
    static const char *const extensions[] = {"", ".jpg", ".png", ".webp"};
    struct clipfolder_row row = {.image = image->x, .text = text->x};
    struct corpus_image record;
    char path[DIGEST_HEX + 8];
    int rc = 0;
    if (image->fs) {
        const struct transfer_row *r = &image->rows[sample->image];
        rc = featureset_get(image->cur, image->view, r->number, r->key, image->x, NULL, err);
        if (rc == 0) rc = corpus_get_image(c, r->number, &record, err);
        if (rc < 0) return rc;
        digest_to_hex(r->key, path);
        strcat(path, extensions[record.format]);
        row.image_key = r->key;
        row.image_path = path;
    }
    if (text->fs) {
        const struct transfer_row *r = &text->rows[sample->caption];
        rc = featureset_get(text->cur, text->view, r->number, r->key, text->x, NULL, err);
        if (rc == 0)
            rc = corpus_caption_text(c, r->number, &row.caption, &row.n_caption, NULL, err);
        row.caption_key = r->key;
    }
    return rc == 0 ? clipfolder_add(w, &row, err) : rc;
}

/* The identity of a side, which now speaks of unit vectors. */
static int write_identity(const char *folder, const char *tower, struct featureset *fs,
                          struct error *err)
{
    if (!fs) return 0;
    struct json *identity = transfer_identity(featureset_spec(fs));
    char *path = clipfolder_identity(folder, tower, err);
    json_set_bool(identity, "normalized", true);
    int rc = path ? json_write_file(path, identity, err) : ERR_NOMEM;
    memory_free(path);
    json_free(identity);
    return rc;
}

static int write_samples(struct corpus *c, struct clipfolder *w, struct side *image,
                         struct side *text, const struct sample *samples, size_t n,
                         const struct report *report, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct sample one = {(uint32_t)i, (uint32_t)i};
        rc = add_sample(c, w, image, text, samples ? &samples[i] : &one, err);
        if (i % TELL_EACH) continue;
        report_progress(report, "export", i, n, 0, 0);
        if (rc == 0 && report_stopped(report)) rc = error_set(err, ERR_STOPPED, "export stopped");
    }
    if (rc == 0) return clipfolder_finish(w, err);
    clipfolder_abandon(w);
    return rc;
}

int transfer_export_clip(struct corpus *c, struct featureset *image_set,
                         struct featureset *text_set, const char *folder,
                         const struct transfer_target *to, const struct report *report,
                         struct transfer_counts *counts, struct error *err)
{
    struct side image = {0}, text = {0};
    struct sample *samples = NULL;
    struct clipfolder *w = NULL;
    struct clipfolder_layout layout = {.image_dim = image_set ? featureset_spec(image_set)->dim : 0,
                                       .text_dim = text_set ? featureset_spec(text_set)->dim : 0,
                                       .type = to->half ? NPY_F16 : NPY_F32};
    memset(counts, 0, sizeof *counts);
    int rc = side_open(&image, c, image_set, to->view, err);
    if (rc == 0) rc = side_open(&text, c, text_set, image_set ? 0 : to->view, err);
    size_t n = image.n + text.n;
    if (rc == 0 && image_set && text_set)
        rc = find_pairs(c, &image, &text, &samples, &n, counts, err);
    if (rc == 0) rc = clipfolder_create(folder, &layout, &w, err);
    if (rc == 0) rc = write_samples(c, w, &image, &text, samples, n, report, err);
    if (rc == 0) rc = write_identity(folder, "image", image_set, err);
    if (rc == 0) rc = write_identity(folder, "text", text_set, err);
    counts->n_rows = rc == 0 ? n : 0;
    memory_free(samples);
    side_close(&image);
    side_close(&text);
    return rc;
}
