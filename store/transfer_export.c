/* Exporting feature sets; see transfer.h. Rows are in order of keys, so that the same features give
 * the same files whatever the numbers of the corpus. The .npy is put in place last: when it is
 * there, the other two are. */
#include "store/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/featurefile.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"
#include "store/npy.h"
#include "store/transfer_inside.h"

#define CHUNK 4096 /* records asked for at once */

static int by_key(const void *a, const void *b)
{
    return memcmp(((const struct transfer_row *)a)->key, ((const struct transfer_row *)b)->key,
                  DIGEST_BYTES);
}

int transfer_rows(struct corpus *c, struct featureset *fs, uint32_t view,
                  struct transfer_row **rows, size_t *n, struct error *err)
{
    enum featureset_tower tower = featureset_spec(fs)->tower;
    uint32_t n_records = tower == TOWER_IMAGE ? corpus_n_images(c) : corpus_n_captions(c);
    uint32_t numbers[CHUNK];
    uint8_t has[CHUNK];
    uint8_t(*keys)[DIGEST_BYTES] = memory_array(CHUNK, sizeof *keys, MEMORY_MAX_SMALL, err);
    int rc = ERR_NOMEM;
    *n = 0;
    *rows = memory_array(n_records, sizeof **rows, MEMORY_MAX_TENSOR, err);
    if (!keys || !*rows) goto done;
    rc = 0;
    for (uint32_t from = 0; from < n_records && rc == 0; from += CHUNK) {
        uint32_t end = n_records - from < CHUNK ? n_records : from + CHUNK, count = 0;
        for (uint32_t i = from; i < end && rc == 0; i++) {
            numbers[count] = i;
            rc = transfer_key(c, tower, i, keys[count], err);
            count += rc == 0;
            if (rc == ERR_NOT_FOUND) rc = 0; /* forgotten */
        }
        if (rc == 0)
            rc = featureset_has(fs, view, count, numbers, (const uint8_t(*)[DIGEST_BYTES])keys, has,
                                err);
        for (uint32_t i = 0; i < count && rc == 0; i++) {
            if (!has[i]) continue;
            struct transfer_row *row = &(*rows)[(*n)++];
            row->number = numbers[i];
            memcpy(row->key, keys[i], DIGEST_BYTES);
        }
    }
    if (rc == 0 && *n) qsort(*rows, *n, sizeof **rows, by_key);
    if (rc == 0 && *n == 0)
        rc = error_set(err, ERR_NOT_FOUND, "feature set %s has no vector in view %u",
                       featureset_spec(fs)->name, view);
done:
    memory_free(keys);
    return rc;
}

struct json *transfer_identity(const struct featureset_spec *spec)
{
    const struct json *given = json_get(spec->replay, "identity");
    if (given) return json_clone(given);
    struct json *j = json_new_object();
    const char *model = json_text(json_get(spec->fingerprint, "model"), spec->name);
    json_set_string(j, "model", model);
    json_set_string(j, "tower", spec->tower == TOWER_IMAGE ? "image" : "text");
    json_set_string(j, "tap", spec->tap);
    json_set_int(j, "dimension", spec->dim);
    json_set_bool(j, "normalized", false);
    static const char *const COPIED[] = {"preprocessing", "logit_scale"};
    for (size_t i = 0; i < sizeof COPIED / sizeof *COPIED; i++)
        if (json_get(spec->replay, COPIED[i]))
            json_set(j, COPIED[i], json_clone(json_get(spec->replay, COPIED[i])));
    json_set(j, "fingerprint", json_clone(spec->fingerprint));
    return j;
}

/* PREFIX + tail. Owned. */
static char *path_of(const char *prefix, const char *tail, struct error *err)
{
    size_t n = strlen(prefix) + strlen(tail) + 1;
    char *path = memory_array(n, 1, MEMORY_MAX_SMALL, err);
    if (path) snprintf(path, n, "%s%s", prefix, tail);
    return path;
}

static int write_keys(const char *prefix, const struct transfer_row *rows, size_t n,
                      struct error *err)
{
    char *path = path_of(prefix, ".keys.txt", err);
    char *text = path ? memory_array((uint64_t)n + 1, DIGEST_HEX, MEMORY_MAX_TENSOR, err) : NULL;
    int rc = ERR_NOMEM;
    if (!text) goto done;
    for (size_t i = 0; i < n; i++) {
        digest_to_hex(rows[i].key, text + i * DIGEST_HEX);
        text[(i + 1) * DIGEST_HEX - 1] = '\n';
    }
    rc = file_write(path, text, n * DIGEST_HEX, err);
done:
    memory_free(path);
    memory_free(text);
    return rc;
}

/* Where the rows go: one of the two. */
struct sink {
    struct npy_writer *npy;
    struct featurefile *file;
    const char *path; /* of file */
    bool unit;
};

static int add_row(struct sink *s, const struct transfer_row *row, uint32_t dim, float *x,
                   float norm, struct error *err)
{
    if (s->file) {
        int rc = featurefile_add(s->file, row->key, x, norm, err);
        if (rc == ERR_DATA) error_prefix(err, "%s: ", s->path);
        return rc;
    }
    for (uint32_t j = 0; j < dim && !s->unit; j++) x[j] *= norm;
    return npy_add_row(s->npy, x, err);
}

/* Into the sink, which is finished or abandoned. */
static int write_rows(struct featureset *fs, uint32_t view, const struct transfer_row *rows,
                      size_t n, struct sink *s, const struct report *report, struct error *err)
{
    uint32_t dim = featureset_spec(fs)->dim;
    struct featureset_cursor *cur = featureset_cursor_new(fs, err);
    float *x = cur ? memory_array(dim, sizeof *x, MEMORY_MAX_FILE, err) : NULL, norm;
    int rc = x ? 0 : ERR_NOMEM;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = featureset_get(cur, view, rows[i].number, rows[i].key, x, &norm, err);
        if (rc == 0) rc = add_row(s, &rows[i], dim, x, norm, err);
        if (i % CHUNK == 0) report_progress(report, "export", i, n, 0, 0);
        if (rc == 0 && i % CHUNK == 0 && report_stopped(report))
            rc = error_set(err, ERR_STOPPED, "export stopped");
    }
    featureset_cursor_free(cur);
    memory_free(x);
    if (rc == 0) return s->file ? featurefile_finish(s->file, err) : npy_finish(s->npy, err);
    featurefile_abandon(s->file);
    npy_abandon(s->npy);
    return rc;
}

/* Keys and identity, then the rows. */
static int to_npy(struct featureset *fs, const struct transfer_target *to,
                  const struct transfer_row *rows, size_t n, const struct json *identity,
                  struct sink *s, struct error *err)
{
    char *path = path_of(to->npy, ".identity.json", err);
    int rc = path ? write_keys(to->npy, rows, n, err) : ERR_NOMEM;
    if (rc == 0) rc = json_write_file(path, identity, err);
    memory_free(path);
    path = rc == 0 ? path_of(to->npy, ".npy", err) : NULL;
    if (rc == 0)
        rc = path ? npy_create_as(path, to->half ? NPY_F16 : NPY_F32, featureset_spec(fs)->dim,
                                  &s->npy, err)
                  : ERR_NOMEM;
    memory_free(path);
    return rc;
}

/* A member of metadata, which has texts alone. */
static int set_text(struct json *metadata, const char *name, const struct json *j,
                    struct error *err)
{
    char *text = json_write(j, JSON_SORTED, err);
    if (!text) return ERR_NOMEM;
    json_set_string(metadata, name, text);
    memory_free(text);
    return 0;
}

static int to_safetensors(struct featureset *fs, const struct transfer_target *to, size_t n,
                          const struct json *identity, struct sink *s, struct error *err)
{
    const struct featureset_spec *spec = featureset_spec(fs);
    struct json *metadata = json_new_object();
    char storage[CODEC_TEXT], view[16];
    codec_spell(spec->storage, spec->epsilon, storage);
    snprintf(view, sizeof view, "%u", to->view);
    json_set_string(metadata, "format", "clipstill.features.1");
    json_set_string(metadata, "set", spec->name);
    json_set_string(metadata, "tap", spec->tap);
    json_set_string(metadata, "tower", spec->tower == TOWER_IMAGE ? "image" : "text");
    json_set_string(metadata, "storage", storage);
    json_set_string(metadata, "view", view);
    s->path = to->safetensors;
    int rc = set_text(metadata, "identity", identity, err);
    if (rc == 0) rc = set_text(metadata, "fingerprint", spec->fingerprint, err);
    if (rc == 0)
        rc = featurefile_create(to->safetensors, n, spec->dim, to->half ? NPY_F16 : NPY_F32,
                                !s->unit, metadata, &s->file, err);
    json_free(metadata);
    return rc;
}

int transfer_export(struct corpus *c, struct featureset *fs, const struct transfer_target *to,
                    const struct report *report, struct transfer_counts *counts, struct error *err)
{
    struct transfer_row *rows = NULL;
    size_t n = 0;
    struct json *identity = NULL;
    struct sink s = {0};
    memset(counts, 0, sizeof *counts);
    snprintf(counts->set, sizeof counts->set, "%s", featureset_spec(fs)->name);
    int rc = transfer_rows(c, fs, to->view, &rows, &n, err);
    if (rc < 0) goto done;
    counts->n_rows = n;
    identity = transfer_identity(featureset_spec(fs));
    s.unit = json_bool(json_get(identity, "normalized"), false);
    rc = to->safetensors ? to_safetensors(fs, to, n, identity, &s, err)
                         : to_npy(fs, to, rows, n, identity, &s, err);
    if (rc == 0) rc = write_rows(fs, to->view, rows, n, &s, report, err);
done:
    json_free(identity);
    memory_free(rows);
    return rc;
}
