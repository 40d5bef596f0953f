/* Exporting feature sets; see transfer.h. Rows are in order of keys, so that the same features give
 * the same files whatever the numbers of the corpus. The .npy is put in place last: when it is
 * there, the other two are. */
#include "store/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/memory.h"
#include "store/npy.h"

#define CHUNK 4096 /* records asked for at once */

struct row {
    uint8_t key[DIGEST_BYTES];
    uint32_t number;
};

static int by_key(const void *a, const void *b)
{
    return memcmp(((const struct row *)a)->key, ((const struct row *)b)->key, DIGEST_BYTES);
}

/* The records of the corpus that have a vector in the view, sorted by key. *rows owned. */
static int find_rows(struct corpus *c, struct featureset *fs, uint32_t view, struct row **rows,
                     size_t *n, struct error *err)
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
            struct row *row = &(*rows)[(*n)++];
            row->number = numbers[i];
            memcpy(row->key, keys[i], DIGEST_BYTES);
        }
    }
    if (rc == 0 && *n) qsort(*rows, *n, sizeof **rows, by_key);
done:
    memory_free(keys);
    return rc;
}

/* The identity that came with an imported set, or what the set knows of itself. Owned. */
static struct json *make_identity(const struct featureset_spec *spec)
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

static int write_keys(const char *prefix, const struct row *rows, size_t n, struct error *err)
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

static int write_identity(const char *prefix, const struct json *identity, struct error *err)
{
    char *path = path_of(prefix, ".identity.json", err),
         *text = path ? json_write(identity, JSON_PRETTY, err) : NULL;
    int rc = text ? file_write(path, text, strlen(text), err) : ERR_NOMEM;
    memory_free(path);
    memory_free(text);
    return rc;
}

static int write_rows(struct featureset *fs, uint32_t view, const char *prefix,
                      const struct row *rows, size_t n, bool unit, const struct report *report,
                      struct error *err)
{
    uint32_t dim = featureset_spec(fs)->dim;
    struct npy_writer *w = NULL;
    struct featureset_cursor *cur = featureset_cursor_new(fs, err);
    float *out = cur ? memory_array(dim, sizeof *out, MEMORY_MAX_FILE, err) : NULL, norm;
    char *path = out ? path_of(prefix, ".npy", err) : NULL;
    int rc = path ? npy_create(path, dim, &w, err) : ERR_NOMEM;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = featureset_get(cur, view, rows[i].number, rows[i].key, out, &norm, err);
        for (uint32_t j = 0; j < dim && rc == 0 && !unit; j++) out[j] *= norm;
        if (rc == 0) rc = npy_add_row(w, out, err);
        if (i % CHUNK == 0) report_progress(report, "export", i, n, 0, 0);
        if (rc == 0 && i % CHUNK == 0 && report_stopped(report))
            rc = error_set(err, ERR_STOPPED, "export stopped");
    }
    if (rc == 0)
        rc = npy_finish(w, err);
    else
        npy_abandon(w);
    featureset_cursor_free(cur);
    memory_free(out);
    memory_free(path);
    return rc;
}

int transfer_export(struct corpus *c, struct featureset *fs, uint32_t view, const char *prefix,
                    const struct report *report, struct transfer_counts *counts, struct error *err)
{
    struct row *rows = NULL;
    size_t n = 0;
    struct json *identity = NULL;
    memset(counts, 0, sizeof *counts);
    snprintf(counts->set, sizeof counts->set, "%s", featureset_spec(fs)->name);
    int rc = find_rows(c, fs, view, &rows, &n, err);
    if (rc < 0) goto done;
    if (n == 0) {
        rc = error_set(err, ERR_NOT_FOUND, "feature set %s has no vector in view %u",
                       featureset_spec(fs)->name, view);
        goto done;
    }
    counts->n_rows = n;
    identity = make_identity(featureset_spec(fs));
    bool unit = json_bool(json_get(identity, "normalized"), false);
    rc = write_keys(prefix, rows, n, err);
    if (rc == 0) rc = write_identity(prefix, identity, err);
    if (rc == 0) rc = write_rows(fs, view, prefix, rows, n, unit, report, err);
done:
    json_free(identity);
    memory_free(rows);
    return rc;
}
