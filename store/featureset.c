/* Opening, creating, checking and listing feature sets; see featureset.h for the format and the
 * promises.
 *
 * A set is built in CACHE/features/.new-NAME and renamed, so that a folder with a set's name is a
 * set. A creation that was killed leaves that folder behind; the next one writes over it, under the
 * folder's own writer's lock. */
#include "store/featureset_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/file.h"
#include "store/fingerprint.h"
#include "store/memory.h"

const char *const featureset_tables[FEATURESET_TABLES] = {"blocks", "meta"};

static int check_name(const char *name, struct error *err)
{
    static const char GOOD[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-";
    size_t n = strlen(name);
    if (n > 0 && n <= FEATURESET_NAME_MAX && name[0] != '.' && strspn(name, GOOD) == n) return 0;
    return error_set(
        err, ERR_USAGE,
        "\"%.120s\" is no name of a feature set: expected 1 to %d of A-Z a-z 0-9 . _ @ -, not "
        "beginning with a dot",
        name, FEATURESET_NAME_MAX);
}

/* CACHE/features/PREFIX NAME. Owned. */
static char *folder_of(const char *cache, const char *prefix, const char *name, struct error *err)
{
    char tail[FEATURESET_NAME_MAX + 32];
    snprintf(tail, sizeof tail, "features/%s%s", prefix, name);
    return file_join(cache, tail, err);
}

static int open_kv(const char *folder, enum kv_mode mode, struct kv **kv, struct error *err)
{
    struct kv_config config = {
        .mode = mode, .tables = featureset_tables, .n_tables = FEATURESET_TABLES};
    return kv_open(kv, folder, &config, err);
}

/* Writes meta into the folder under construction, and closes it. */
static int build(const char *folder, const struct featureset_spec *spec, struct error *err)
{
    static const struct featureset_counts NOTHING;
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    int rc = open_kv(folder, KV_WRITE, &kv, err);
    if (rc == 0) rc = kv_begin_write(kv, &txn, err);
    if (rc == 0) rc = featureset_spec_put(txn, spec, err);
    if (rc == 0) rc = featureset_counts_put(txn, &NOTHING, err);
    if (rc == 0) {
        rc = kv_commit(txn, err);
        txn = NULL;
    }
    kv_abort(txn);
    kv_close(kv);
    return rc;
}

static int put_in_place(const char *made, const char *folder, const char *parent, struct error *err)
{
    if (rename(made, folder) == 0) return file_sync_folder(parent, err);
    if (errno == EEXIST || errno == ENOTEMPTY)
        return error_set(err, ERR_EXISTS, "%s exists already", folder);
    return error_errno(err, "cannot rename %s to %s", made, folder);
}

int featureset_create(struct featureset **fs, const char *cache, const struct featureset_spec *spec,
                      struct error *err)
{
    struct block_shape shape;
    *fs = NULL;
    int rc = check_name(spec->name, err);
    if (rc == 0) rc = featureset_shape_of(spec, &shape, err);
    if (rc < 0) {
        error_prefix(err, "feature set %s: ", spec->name);
        return rc;
    }
    char *parent = file_join(cache, "features", err);
    char *folder = folder_of(cache, "", spec->name, err),
         *made = folder_of(cache, ".new-", spec->name, err);
    rc = parent && folder && made ? 0 : ERR_NOMEM;
    if (rc == 0 && file_exists(folder))
        rc = error_set(err, ERR_EXISTS, "%s exists already", folder);
    if (rc == 0) rc = file_make_folder(parent, err);
    if (rc == 0) rc = build(made, spec, err);
    if (rc == 0) rc = put_in_place(made, folder, parent, err);
    memory_free(parent);
    memory_free(folder);
    memory_free(made);
    return rc == 0 ? featureset_open(fs, cache, spec->name, FEATURESET_WRITE, err) : rc;
}

/* "there is image.final, text.final" into the error. */
static int not_found(const char *cache, const char *name, struct error *err)
{
    char **names = NULL, text[600] = "none";
    size_t n = 0, used = 0;
    if (featureset_list(cache, &names, &n, NULL) < 0) n = 0;
    for (size_t i = 0; i < n && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "", names[i]);
    memory_free(names);
    return error_set(err, ERR_NOT_FOUND, "%.200s has no feature set \"%.120s\"; it has: %s", cache,
                     name, text);
}

int featureset_open(struct featureset **out, const char *cache, const char *name,
                    enum featureset_mode mode, struct error *err)
{
    struct kv_txn *txn = NULL;
    struct featureset_counts *counts = NULL;
    *out = NULL;
    int rc = check_name(name, err);
    if (rc < 0) return rc;
    struct featureset *fs = memory_array(1, sizeof *fs, MEMORY_MAX_SMALL, err);
    if (!fs) return ERR_NOMEM;
    fs->mode = mode;
    strcpy(fs->spec.name, name);
    fs->folder = folder_of(cache, "", name, err);
    counts = memory_array(1, sizeof *counts, MEMORY_MAX_SMALL, err);
    rc = fs->folder && counts ? 0 : ERR_NOMEM;
    if (rc == 0 && !file_is_folder(fs->folder)) rc = not_found(cache, name, err);
    if (rc < 0) goto done;
    rc = open_kv(fs->folder, mode == FEATURESET_WRITE ? KV_WRITE : KV_READ, &fs->kv, err);
    if (rc == ERR_NOT_FOUND) /* a set is renamed into place whole */
        rc = error_set(err, ERR_CORRUPT,
                       "feature set %s: its data.mdb is gone or empty; remove the folder and make "
                       "the set again",
                       fs->folder);
    if (rc == 0 && mode == FEATURESET_WRITE) rc = generation_sweep(fs->folder, err);
    if (rc == 0) rc = kv_begin_read(fs->kv, &txn, err);
    if (rc < 0) goto done;
    rc = featureset_spec_get(txn, fs, err);
    if (rc == 0) rc = featureset_counts_get(txn, counts, err);
    if (rc < 0) error_prefix(err, "feature set %s: ", fs->folder);
done:
    kv_abort(txn);
    memory_free(counts);
    if (rc < 0)
        featureset_close(fs);
    else
        *out = fs;
    return rc;
}

void featureset_close(struct featureset *fs)
{
    if (!fs) return;
    featureset_writer_free(fs->writer);
    kv_close(fs->kv);
    json_free(fs->fingerprint);
    json_free(fs->replay);
    memory_free(fs->folder);
    memory_free(fs);
}

const struct featureset_spec *featureset_spec(const struct featureset *fs)
{
    return &fs->spec;
}

int featureset_tokenizer(struct featureset *fs, char **bytes, size_t *n, struct error *err)
{
    struct kv_txn *txn = NULL;
    struct kv_bytes v;
    *bytes = NULL;
    *n = 0;
    int rc = kv_begin_read(fs->kv, &txn, err);
    if (rc < 0) return rc;
    rc = featureset_meta_get(txn, "tokenizer", &v, err);
    if (rc == 0) {
        *bytes = memory_copy(v.bytes, v.n, err);
        *n = v.n;
        rc = *bytes ? 0 : ERR_NOMEM;
    }
    kv_abort(txn);
    return rc;
}

int featureset_check(const struct featureset *fs, const struct json *fingerprint, struct error *err)
{
    char text[600];
    struct json *differences = fingerprint_compare(fs->fingerprint, fingerprint);
    bool same = json_size(differences) == 0;
    fingerprint_say(differences, text, sizeof text);
    json_free(differences);
    if (same) return 0;
    return error_set(err, ERR_INCOMPATIBLE,
                     "feature set %s is of another origin: %s. Give the new features another set "
                     "name (--prefix or --set), or "
                     "delete %.100s",
                     fs->spec.name, text, fs->folder);
}

size_t featureset_prefix(const struct featureset_spec *spec)
{
    size_t n = strlen(spec->name), k = strlen(spec->tap);
    return n >= k ? n - k : 0;
}

int featureset_list(const char *cache, char ***names, size_t *n, struct error *err)
{
    *names = NULL;
    *n = 0;
    char *parent = file_join(cache, "features", err), **all = NULL;
    size_t n_all = 0;
    if (!parent) return ERR_NOMEM;
    int rc = 0;
    if (file_is_folder(parent)) rc = file_list(parent, &all, &n_all, err);
    if (rc == 0 && !all)
        all = memory_array(1, sizeof *all, MEMORY_MAX_SMALL, err); /* an empty list */
    if (rc == 0 && !all) rc = ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < n_all; i++) {
        if (check_name(all[i], NULL) < 0) continue;
        char *folder = file_join(parent, all[i], err);
        if (!folder)
            rc = ERR_NOMEM; /* a set that is not named would not be forgotten, nor published */
        else if (file_is_folder(folder))
            all[(*n)++] = all[i];
        memory_free(folder);
    }
    if (rc < 0) {
        memory_free(all);
        all = NULL;
        *n = 0;
    }
    *names = all;
    memory_free(parent);
    return rc;
}
