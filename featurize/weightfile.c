/* A folder's weight files as one table; see weightfile.h. */
#include "featurize/weightfile.h"

#include <string.h>
#include <sys/stat.h>

#include "featurize/safetensors.h"
#include "featurize/torchfile.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"

#define MAX_SHARDS      1000
#define MAX_INDEX_BYTES ((size_t)64 << 20)

struct part { /* one file, and what its container is */
    char *path;
    struct stat found; /* when it was mapped */
    struct file_map map;
    struct safetensors *safetensors;
    struct torchfile *torch;
};

struct weightfile {
    struct part *parts;
    size_t n_parts, parts_capacity;
    struct tensor_table table;
};

static int add_file(struct weightfile *w, const char *path, bool is_torch, struct error *err)
{
    if (w->n_parts >= MAX_SHARDS)
        return error_set(err, ERR_DATA, "%s: more than %d shards", path, MAX_SHARDS);
    int rc = memory_grow(&w->parts, &w->parts_capacity, w->n_parts + 1, sizeof *w->parts,
                         MEMORY_MAX_SMALL, err);
    if (rc < 0) return rc;
    struct part *part = &w->parts[w->n_parts++];
    *part = (struct part){0};
    part->path = memory_string(path, err);
    if (!part->path) return ERR_NOMEM;
    if (stat(path, &part->found) < 0) return error_errno(err, "%s", path);
    rc = file_map(path, &part->map, err);
    const struct file_map *map = &part->map;
    if (rc == 0)
        rc = is_torch ? torchfile_read(map->bytes, map->n, path, &part->torch, err)
                      : safetensors_read(map->bytes, map->n, path, &part->safetensors, err);
    if (rc < 0) return rc;
    const struct tensor_table *table = is_torch ? torchfile_table(part->torch)
                                                : safetensors_table(part->safetensors);
    for (size_t i = 0; i < table->n && rc == 0; i++) {
        struct tensor t = table->list[i];
        t.in_file = t.bytes >= map->bytes && t.bytes < map->bytes + map->n;
        rc = tensor_table_add(&w->table, &t, err);
    }
    return rc;
}

static bool seen_before(const struct json *map, size_t i, const char *shard)
{
    const char *key;
    const struct json *value;
    for (size_t k = 0; k < i && json_member(map, k, &key, &value); k++)
        if (!strcmp(json_text(value, ""), shard)) return true;
    return false;
}

/* Adds one shard of the index. */
static int add_shard(struct weightfile *w, const char *folder, const char *index_path,
                     const char *shard, bool is_torch, struct error *err)
{
    if (!*shard || strchr(shard, '/'))
        return error_set(err, ERR_DATA, "%s: shard \"%.100s\" is no plain file name", index_path,
                         shard);
    char *path = file_join(folder, shard, err);
    if (!path) return ERR_NOMEM;
    int rc = 0;
    if (!file_exists(path))
        rc = error_set(err, ERR_NOT_FOUND,
                       "%s: its shard %s is not in the folder: fetch it too; all are needed",
                       index_path, shard);
    else if ((rc = add_file(w, path, is_torch, err)) < 0)
        error_prefix(err, "%s: ", index_path);
    memory_free(path);
    return rc;
}

/* {"weight_map": {"tensor": "model-00001-of-00002.safetensors", ...}} */
static int add_index(struct weightfile *w, const char *folder, const char *index_path,
                     bool is_torch, struct error *err)
{
    struct json *index = json_read_file(index_path, MAX_INDEX_BYTES, err);
    if (!index) return err ? err->code : ERR_DATA;
    const struct json *map = json_get(index, "weight_map"), *value;
    const char *key, *last = "";
    int rc = 0;
    if (!json_is_object(map) || json_size(map) == 0)
        rc = error_set(err, ERR_DATA, "%s: no weight_map", index_path);
    for (size_t i = 0; rc == 0 && json_member(map, i, &key, &value); i++) {
        const char *shard = json_text(value, "");
        if ((i == 0 || strcmp(shard, last)) && !seen_before(map, i, shard))
            rc = add_shard(w, folder, index_path, shard, is_torch, err);
        last = shard;
    }
    json_free(index);
    return rc;
}

/* What a folder may hold, in order of preference. */
static const struct {
    const char *name;
    bool is_index, is_torch;
} KINDS[] = {
    {"model.safetensors", false, false},
    {"model.safetensors.index.json", true, false},
    {"pytorch_model.bin", false, true},
    {"pytorch_model.bin.index.json", true, true},
};

int weightfile_open(const char *folder, struct weightfile **out, struct error *err)
{
    char *path = NULL;
    struct weightfile *w = memory_array(1, sizeof *w, MEMORY_MAX_SMALL, err);
    int rc = w ? 0 : ERR_NOMEM, found = -1;
    for (int i = 0; i < (int)(sizeof KINDS / sizeof *KINDS) && rc == 0 && found < 0; i++) {
        memory_free(path);
        path = file_join(folder, KINDS[i].name, err);
        if (!path) rc = ERR_NOMEM;
        if (path && file_exists(path)) found = i;
    }
    if (rc < 0) goto done;
    if (found < 0)
        rc = error_set(err, ERR_NOT_FOUND,
                       "%s: no weights: expected model.safetensors or pytorch_model.bin (or either "
                       "with .index.json and its shards)",
                       folder);
    else if (KINDS[found].is_index)
        rc = add_index(w, folder, path, KINDS[found].is_torch, err);
    else
        rc = add_file(w, path, KINDS[found].is_torch, err);
    if (rc == 0) rc = tensor_table_finish(&w->table, path, err);
done:
    memory_free(path);
    if (rc < 0) weightfile_close(w), w = NULL;
    *out = w;
    return rc;
}

void weightfile_close(struct weightfile *w)
{
    if (!w) return;
    for (size_t i = 0; i < w->n_parts; i++) {
        safetensors_close(w->parts[i].safetensors);
        torchfile_close(w->parts[i].torch);
        memory_free(w->parts[i].path);
        if (w->parts[i].map.bytes) file_unmap(&w->parts[i].map);
    }
    memory_free(w->parts);
    tensor_table_release(&w->table);
    memory_free(w);
}

int weightfile_check(const struct weightfile *w, struct error *err)
{
    for (size_t i = 0; w && i < w->n_parts; i++) {
        const struct stat *then = &w->parts[i].found;
        struct stat now;
        if (stat(w->parts[i].path, &now) < 0 || now.st_ino != then->st_ino ||
            now.st_dev != then->st_dev)
            continue;
        if (now.st_size != then->st_size || now.st_mtim.tv_sec != then->st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != then->st_mtim.tv_nsec)
            return error_set(err, ERR_DATA,
                             "%s was written to while it was in use: what was being computed is "
                             "not kept; the same command goes on with what stands there now",
                             w->parts[i].path);
    }
    return 0;
}

size_t weightfile_n(const struct weightfile *w)
{
    return w->table.n;
}

const struct tensor *weightfile_at(const struct weightfile *w, size_t i)
{
    return i < w->table.n ? &w->table.list[i] : NULL;
}

const struct tensor *weightfile_find(const struct weightfile *w, const char *name)
{
    return tensor_table_find(&w->table, name);
}
