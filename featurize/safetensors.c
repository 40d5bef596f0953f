/* Reading and writing safetensors; see safetensors.h.
 *
 * A header is foreign input: every number in it is checked in 64 bits before it is used, and after
 * opening a tensor's bytes can be read without another look. Tensors of all shards stand in one
 * table, sorted by name.
 */
#include "featurize/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/memory.h"

#define MAX_SHARDS      1000
#define MAX_INDEX_BYTES ((size_t)64 << 20)

struct part { /* one file */
    struct file_map map;
    struct json *header; /* owns the names */
};

struct safetensors {
    struct part *parts;
    size_t n_parts, parts_capacity;
    struct tensor *tensors; // (n) sorted by name
    size_t n, capacity;
};

static const struct {
    const char *name;
    size_t n_bytes;
} types[TENSOR_TYPES] = {
    [TENSOR_F64] = {"F64", 8},   [TENSOR_F32] = {"F32", 4}, [TENSOR_F16] = {"F16", 2},
    [TENSOR_BF16] = {"BF16", 2}, [TENSOR_I64] = {"I64", 8}, [TENSOR_I32] = {"I32", 4},
    [TENSOR_I16] = {"I16", 2},   [TENSOR_I8] = {"I8", 1},   [TENSOR_U8] = {"U8", 1},
    [TENSOR_BOOL] = {"BOOL", 1},
};

const char *tensor_type_name(enum tensor_type type)
{
    return types[type].name;
}

const char *tensor_shape(int n_dims, const int64_t *shape, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < n_dims && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, i ? ", %lld" : "%lld", (long long)shape[i]);
    if (at < size) snprintf(out + at, size - at, "]");
    return out;
}

static float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
    float x;
    if (exponent == 0) {
        x = (float)mantissa * 0x1p-24f;
        return sign ? -x : x;
    }
    uint32_t bits = sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | mantissa << 13;
    memcpy(&x, &bits, sizeof x);
    return x;
}

int tensor_f32(const struct tensor *t, float *out, struct error *err)
{
    switch (t->type) {
    case TENSOR_F32: memcpy(out, t->bytes, t->n_bytes); return 0;
    case TENSOR_F64:
        for (size_t i = 0; i < t->n; i++) {
            double x;
            memcpy(&x, t->bytes + 8 * i, 8);
            out[i] = (float)x;
        }
        return 0;
    case TENSOR_F16:
        for (size_t i = 0; i < t->n; i++)
            out[i] = f16_to_f32((uint16_t)(t->bytes[2 * i] | t->bytes[2 * i + 1] << 8));
        return 0;
    case TENSOR_BF16:
        for (size_t i = 0; i < t->n; i++) {
            uint32_t bits = (uint32_t)t->bytes[2 * i] << 16 | (uint32_t)t->bytes[2 * i + 1] << 24;
            memcpy(out + i, &bits, 4);
        }
        return 0;
    default:
        return error_set(err, ERR_DATA,
                         "tensor %s: type %s cannot be weights: F32, F16, BF16 or F64 expected",
                         t->name, types[t->type].name);
    }
}

static int read_shape(const struct json *j, const char *file, struct tensor *t, struct error *err)
{
    if (!json_is_array(j) || json_size(j) > TENSOR_MAX_DIMS)
        return error_set(err, ERR_DATA,
                         "%s: tensor %.100s: shape must be an array of at most %d sizes", file,
                         t->name, TENSOR_MAX_DIMS);
    t->n_dims = (int)json_size(j);
    uint64_t n = 1;
    for (int i = 0; i < t->n_dims; i++) {
        t->shape[i] = json_int(json_at(j, (size_t)i), -1);
        if (t->shape[i] < 0 || __builtin_mul_overflow(n, (uint64_t)t->shape[i], &n) ||
            n > (uint64_t)1 << 48)
            return error_set(err, ERR_DATA, "%s: tensor %.100s: absurd shape", file, t->name);
    }
    t->n = n;
    return 0;
}

/* One member of the header; data: what follows the header, n_data bytes of it. */
static int read_tensor(const struct json *j, const char *file, const uint8_t *data, uint64_t n_data,
                       struct tensor *t, struct error *err)
{
    if (!json_is_object(j))
        return error_set(err, ERR_DATA,
                         "%s: tensor %.100s: an object with dtype, shape and data_offsets expected",
                         file, t->name);
    const char *type = json_text(json_get(j, "dtype"), "");
    int found = 0;
    while (found < TENSOR_TYPES && strcmp(types[found].name, type)) found++;
    if (found == TENSOR_TYPES)
        return error_set(err, ERR_DATA, "%s: tensor %.100s: unknown dtype \"%.20s\"", file, t->name,
                         type);
    t->type = (enum tensor_type)found;
    int rc = read_shape(json_get(j, "shape"), file, t, err);
    if (rc < 0) return rc;
    const struct json *offsets = json_get(j, "data_offsets");
    int64_t begin = json_int(json_at(offsets, 0), -1), end = json_int(json_at(offsets, 1), -1);
    if (json_size(offsets) != 2 || begin < 0 || end < begin || (uint64_t)end > n_data)
        return error_set(err, ERR_DATA,
                         "%s: tensor %.100s: bytes %lld to %lld do not lie in the %llu bytes of "
                         "data: the file is truncated or broken",
                         file, t->name, (long long)begin, (long long)end,
                         (unsigned long long)n_data);
    uint64_t want = (uint64_t)t->n * types[found].n_bytes;
    if ((uint64_t)(end - begin) != want)
        return error_set(err, ERR_DATA,
                         "%s: tensor %.100s: %lld bytes of data, its shape and type need %llu",
                         file, t->name, (long long)(end - begin), (unsigned long long)want);
    t->bytes = data + begin;
    t->n_bytes = want;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct tensor *s = a, *t = b;
    if (s->bytes != t->bytes) return s->bytes < t->bytes ? -1 : 1;
    return (s->n_bytes > t->n_bytes) - (s->n_bytes < t->n_bytes);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int check_overlap(const char *file, struct tensor *t, size_t n, struct error *err)
{
    if (n == 0) return 0;
    qsort(t, n, sizeof *t, by_place);
    for (size_t i = 1; i < n; i++)
        if (t[i - 1].bytes + t[i - 1].n_bytes > t[i].bytes)
            return error_set(err, ERR_DATA, "%s: tensors %.100s and %.100s overlap", file,
                             t[i - 1].name, t[i].name);
    return 0;
}

/* Appends the tensors of one file to s; the header is kept in part->header. */
static int read_part(struct safetensors *s, struct part *part, const char *file, struct error *err)
{
    const uint8_t *bytes = part->map.bytes;
    uint64_t n_header = 0, n_all = part->map.n;
    if (n_all < 8)
        return error_set(err, ERR_DATA, "%s: %llu bytes are no safetensors file", file,
                         (unsigned long long)n_all);
    for (int i = 0; i < 8; i++) n_header |= (uint64_t)bytes[i] << (8 * i);
    if (n_header > SAFETENSORS_MAX_HEADER)
        return error_set(err, ERR_DATA,
                         "%s: a header of %llu bytes: no safetensors file (at most %llu expected)",
                         file, (unsigned long long)n_header,
                         (unsigned long long)SAFETENSORS_MAX_HEADER);
    if (n_header > n_all - 8)
        return error_set(err, ERR_DATA, "%s: truncated: the header has %llu bytes, the file %llu",
                         file, (unsigned long long)n_header, (unsigned long long)n_all);
    part->header = json_read((const char *)bytes + 8, n_header, file, err);
    if (!part->header) return err ? err->code : ERR_DATA;
    if (!json_is_object(part->header))
        return error_set(err, ERR_DATA, "%s: the header is no JSON object", file);
    size_t first = s->n, n_members = json_size(part->header);
    int rc = memory_grow(&s->tensors, &s->capacity, s->n + n_members, sizeof *s->tensors,
                         MEMORY_MAX_FILE, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < n_members; i++) {
        const char *name;
        const struct json *value;
        if (!json_member(part->header, i, &name, &value)) break;
        if (!strcmp(name, "__metadata__")) continue;
        struct tensor *t = &s->tensors[s->n];
        t->name = name;
        rc = read_tensor(value, file, bytes + 8 + n_header, n_all - 8 - n_header, t, err);
        if (rc < 0) return rc;
        s->n++;
    }
    return check_overlap(file, s->tensors + first, s->n - first, err);
}

static int finish(struct safetensors *s, const char *name, struct error *err)
{
    if (s->n) qsort(s->tensors, s->n, sizeof *s->tensors, by_name);
    for (size_t i = 1; i < s->n; i++)
        if (!strcmp(s->tensors[i - 1].name, s->tensors[i].name))
            return error_set(err, ERR_DATA, "%s: tensor %.100s stands in two shards", name,
                             s->tensors[i].name);
    return 0;
}

static struct part *add_part(struct safetensors *s, struct error *err)
{
    if (memory_grow(&s->parts, &s->parts_capacity, s->n_parts + 1, sizeof *s->parts,
                    MEMORY_MAX_SMALL, err) < 0)
        return NULL;
    struct part *part = &s->parts[s->n_parts++];
    memset(part, 0, sizeof *part);
    return part;
}

static int add_file(struct safetensors *s, const char *path, struct error *err)
{
    struct part *part = add_part(s, err);
    if (!part) return ERR_NOMEM;
    int rc = file_map(path, &part->map, err);
    return rc < 0 ? rc : read_part(s, part, path, err);
}

int safetensors_read(const void *bytes, size_t n, const char *name, struct safetensors **out,
                     struct error *err)
{
    struct safetensors *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return ERR_NOMEM;
    int rc = ERR_NOMEM;
    struct part *part = add_part(s, err);
    if (!part) goto done;
    part->map = (struct file_map){bytes, n};
    rc = read_part(s, part, name, err);
    if (rc == 0) rc = finish(s, name, err);
    part->map = (struct file_map){NULL, 0}; /* the caller's: nothing to unmap */
done:
    if (rc < 0) safetensors_close(s), s = NULL;
    *out = s;
    return rc;
}

static int open_file(const char *path, struct safetensors **out, struct error *err)
{
    struct safetensors *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return ERR_NOMEM;
    int rc = add_file(s, path, err);
    if (rc == 0) rc = finish(s, path, err);
    if (rc < 0) safetensors_close(s), s = NULL;
    *out = s;
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

/* Adds one shard of the index unless an earlier tensor named it. */
static int add_shard(struct safetensors *s, const char *folder, const char *index_path,
                     const char *shard, struct error *err)
{
    if (!*shard || strchr(shard, '/'))
        return error_set(err, ERR_DATA, "%s: shard \"%.100s\" is no plain file name", index_path,
                         shard);
    if (s->n_parts >= MAX_SHARDS)
        return error_set(err, ERR_DATA, "%s: more than %d shards", index_path, MAX_SHARDS);
    char *path = file_join(folder, shard, err);
    if (!path) return ERR_NOMEM;
    int rc = add_file(s, path, err);
    if (rc < 0) error_prefix(err, "%s: ", index_path);
    memory_free(path);
    return rc;
}

/* {"weight_map": {"tensor": "model-00001-of-00002.safetensors", ...}} */
static int open_index(const char *folder, const char *index_path, struct safetensors **out,
                      struct error *err)
{
    int rc = ERR_NOMEM;
    struct safetensors *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    struct json *index = NULL;
    if (!s) goto done;
    index = json_read_file(index_path, MAX_INDEX_BYTES, err);
    if (!index) {
        rc = err ? err->code : ERR_DATA;
        goto done;
    }
    const struct json *map = json_get(index, "weight_map"), *value;
    if (!json_is_object(map) || json_size(map) == 0) {
        rc = error_set(err, ERR_DATA, "%s: no weight_map", index_path);
        goto done;
    }
    const char *key, *last = "";
    rc = 0;
    for (size_t i = 0; rc == 0 && json_member(map, i, &key, &value); i++) {
        const char *shard = json_text(value, "");
        if (strcmp(shard, last) && !seen_before(map, i, shard))
            rc = add_shard(s, folder, index_path, shard, err);
        last = shard;
    }
    if (rc == 0) rc = finish(s, index_path, err);
done:
    json_free(index);
    if (rc < 0) safetensors_close(s), s = NULL;
    *out = s;
    return rc;
}

int safetensors_open(const char *folder, struct safetensors **s, struct error *err)
{
    char *path = file_join(folder, "model.safetensors", err);
    char *index = file_join(folder, "model.safetensors.index.json", err);
    char *pickle = file_join(folder, "pytorch_model.bin", err);
    int rc = ERR_NOMEM;
    if (!path || !index || !pickle) goto done;
    if (file_exists(path))
        rc = open_file(path, s, err);
    else if (file_exists(index))
        rc = open_index(folder, index, s, err);
    else if (file_exists(pickle))
        rc = error_set(
            err, ERR_NOT_FOUND,
            "%s: found pytorch_model.bin but no model.safetensors; convert it with Hugging Face's "
            "safetensors (save_file), or take the revision of the model that has it",
            folder);
    else
        rc = error_set(err, ERR_NOT_FOUND,
                       "%s: no weights: expected model.safetensors or model.safetensors.index.json",
                       folder);
done:
    memory_free(path);
    memory_free(index);
    memory_free(pickle);
    return rc;
}

void safetensors_close(struct safetensors *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n_parts; i++) {
        json_free(s->parts[i].header);
        if (s->parts[i].map.bytes) file_unmap(&s->parts[i].map);
    }
    memory_free(s->parts);
    memory_free(s->tensors);
    memory_free(s);
}

size_t safetensors_n(const struct safetensors *s)
{
    return s->n;
}

const struct tensor *safetensors_at(const struct safetensors *s, size_t i)
{
    return i < s->n ? &s->tensors[i] : NULL;
}

const struct tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    struct tensor key = {.name = name};
    return s->n ? bsearch(&key, s->tensors, s->n, sizeof *s->tensors, by_name) : NULL;
}

static struct json *tensor_json(const struct tensor *t, uint64_t begin)
{
    struct json *j = json_new_object(), *shape = json_new_array(), *offsets = json_new_array();
    json_set_string(j, "dtype", types[t->type].name);
    for (int i = 0; i < t->n_dims; i++) json_push_int(shape, t->shape[i]);
    json_set(j, "shape", shape);
    json_push_int(offsets, (int64_t)begin);
    json_push_int(offsets, (int64_t)(begin + t->n_bytes));
    json_set(j, "data_offsets", offsets);
    return j;
}

int safetensors_write(const char *path, size_t n, const struct tensor *tensors,
                      const struct json *metadata, struct error *err)
{
    int rc = ERR_NOMEM;
    uint64_t n_data = 0;
    char *text = NULL, *all = NULL;
    struct json *header = json_new_object();
    if (metadata) json_set(header, "__metadata__", json_clone(metadata));
    for (size_t i = 0; i < n; i++) {
        json_set(header, tensors[i].name, tensor_json(&tensors[i], n_data));
        n_data += tensors[i].n_bytes;
    }
    text = json_write(header, JSON_LINE, err);
    if (!text) goto done;
    uint64_t n_text = strlen(text), n_header = (n_text + 7) / 8 * 8;
    all = memory_array(8 + n_header + n_data, 1, MEMORY_MAX_TENSOR, err);
    if (!all) goto done;
    for (int i = 0; i < 8; i++) all[i] = (char)(n_header >> (8 * i));
    memcpy(all + 8, text, n_text);
    memset(all + 8 + n_text, ' ', n_header - n_text);
    char *at = all + 8 + n_header;
    for (size_t i = 0; i < n; at += tensors[i].n_bytes, i++)
        memcpy(at, tensors[i].bytes, tensors[i].n_bytes);
    rc = file_write(path, all, 8 + n_header + n_data, err);
done:
    json_free(header);
    memory_free(text);
    memory_free(all);
    return rc;
}
