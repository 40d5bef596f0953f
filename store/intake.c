/* Rows from elsewhere; see intake.h. */
#include "store/intake.h"

#include <string.h>

#include "store/clipfolder.h"
#include "store/featurefile.h"
#include "store/file.h"
#include "store/memory.h"

#define IDENTITY_LIMIT ((size_t)1 << 20)

struct intake_part *intake_add(struct intake *in, const char *name, struct error *err)
{
    if (memory_grow(&in->parts, &in->capacity, in->n_parts + 1, sizeof *in->parts, MEMORY_MAX_SMALL,
                    err) < 0)
        return NULL;
    struct intake_part *part = &in->parts[in->n_parts++];
    *part = (struct intake_part){.name = memory_string(name, err)};
    return part->name ? part : NULL;
}

int intake_count(struct intake *in, struct intake_part *part, struct error *err)
{
    part->first = in->n_rows;
    if (part != in->parts && part->npy.n_cols != in->n_cols)
        return error_set(err, ERR_DATA, "%s has rows of %llu values, but %s of %llu", part->name,
                         (unsigned long long)part->npy.n_cols, in->parts->name,
                         (unsigned long long)in->n_cols);
    in->n_cols = part->npy.n_cols;
    in->n_rows += part->npy.n_rows;
    if (part->npy.n_rows >= UINT32_MAX || in->n_rows >= UINT32_MAX)
        return error_set(err, ERR_DATA, "%s has too many rows", part->name);
    return 0;
}

int intake_identity(struct intake *in, const char *path, struct error *err)
{
    if (in->identity) return 0;
    in->identity_name = memory_string(path, err);
    if (!in->identity_name) return ERR_NOMEM;
    in->identity = json_read_file(path, IDENTITY_LIMIT, err);
    return in->identity ? 0 : err ? err->code : ERR_DATA;
}

/* The layout of store/transfer.h. */
static int open_npy(struct intake *in, const struct transfer_source *from, struct error *err)
{
    struct intake_part *part = intake_add(in, from->npy, err);
    if (!part) return ERR_NOMEM;
    int rc = npy_open(from->npy, &part->npy, err);
    if (rc == 0) rc = intake_count(in, part, err);
    return rc;
}

int intake_open(struct intake *in, const struct transfer_source *from, struct error *err)
{
    *in = (struct intake){.from = from, .unit = "line"};
    int rc = from->identity ? intake_identity(in, from->identity, err) : 0;
    if (rc == 0 && from->keys && !(in->keys_name = memory_string(from->keys, err))) rc = ERR_NOMEM;
    if (rc < 0) return rc;
    if (from->safetensors)
        rc = featurefile_open(in, from->safetensors, err);
    else if (from->clip_retrieval)
        rc = clipfolder_open(in, from->clip_retrieval, from->tower, err);
    else
        rc = open_npy(in, from, err);
    if (rc == 0 && !json_is_object(in->identity))
        rc = error_set(err, ERR_DATA, "%s: expected a JSON object", in->identity_name);
    return rc;
}

void intake_close(struct intake *in)
{
    for (size_t i = 0; i < in->n_parts; i++) {
        npy_close(&in->parts[i].npy);
        memory_free(in->parts[i].name);
        memory_free(in->parts[i].metadata);
    }
    memory_free(in->parts);
    json_free(in->identity);
    memory_free(in->identity_name);
    memory_free(in->keys_name);
    *in = (struct intake){0};
}

static const struct intake_part *part_of(const struct intake *in, uint64_t row)
{
    size_t low = 0, high = in->n_parts;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        *(in->parts[middle].first <= row ? &low : &high) = middle;
    }
    return &in->parts[low];
}

void intake_row(const struct intake *in, uint64_t row, float *out)
{
    const struct intake_part *part = part_of(in, row);
    float norm;
    npy_row_f32(&part->npy, row - part->first, out);
    if (!part->norms) return;
    memcpy(&norm, part->norms + 4 * (row - part->first), 4);
    for (uint64_t j = 0; j < in->n_cols; j++) out[j] *= norm;
}

const char *intake_place(const struct intake *in, uint64_t row, uint64_t *there)
{
    const struct intake_part *part = part_of(in, row);
    *there = row - part->first;
    return part->name;
}

/* Walks the keys file's lines; text is changed in place. */
static int take_lines(struct intake *in, char *text, size_t n, intake_take *take, void *context,
                      struct error *err)
{
    char *p = text, *end = text + n;
    uint64_t row = 0;
    if (n >= 3 && !memcmp(p, "\xef\xbb\xbf", 3)) p += 3;
    if (memchr(p, 0, (size_t)(end - p)))
        return error_set(err, ERR_DATA, "%s holds a NUL byte", in->keys_name);
    for (; p < end; row++) {
        char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
        *stop = 0;
        if (stop > p && stop[-1] == '\r') stop[-1] = 0;
        int rc = row < in->n_rows ? take(context, row, NULL, p, err) : 0;
        if (rc < 0) return rc;
        p = stop + 1;
    }
    if (row != in->n_rows)
        return error_set(err, ERR_DATA,
                         "%s has %llu lines, but %s has %llu rows: expected one key a row",
                         in->keys_name, (unsigned long long)row, in->parts->name,
                         (unsigned long long)in->n_rows);
    return 0;
}

int intake_keys(struct intake *in, intake_take *take, void *context, struct error *err)
{
    char *text = NULL;
    size_t n = 0;
    int rc = 0;
    if (in->from->clip_retrieval) return clipfolder_keys(in, take, context, err);
    if (in->keys) {
        for (uint64_t row = 0; rc >= 0 && row < in->n_rows; row++)
            rc = take(context, row, in->keys + row * DIGEST_BYTES, NULL, err);
        return rc < 0 ? rc : 0;
    }
    rc = file_read(in->keys_name, MEMORY_MAX_FILE, &text, &n, err);
    if (rc == 0) rc = take_lines(in, text, n, take, context, err);
    memory_free(text);
    return rc;
}
