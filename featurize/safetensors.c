/* Reading and writing safetensors; see safetensors.h.
 *
 * A header is foreign input: every number in it is checked in 64 bits before it is used, and after
 * reading it a tensor's bytes can be read without another look.
 */
#include "featurize/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/memory.h"

struct safetensors {
    struct json *header; /* owns the names */
    struct tensor_table table;
};

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
    int found = tensor_type_of(type);
    if (found < 0)
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
    uint64_t want = (uint64_t)t->n * tensor_type_bytes(t->type);
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

static int read_header(struct safetensors *s, const uint8_t *bytes, uint64_t n_all,
                       const char *file, struct error *err)
{
    uint64_t n_header = 0;
    if (n_all < 8)
        return error_set(err, ERR_DATA, "%s: %llu bytes are no safetensors file", file,
                         (unsigned long long)n_all);
    if (!memcmp(bytes, "version ", 8))
        return error_set(err, ERR_DATA,
                         "%s: no safetensors file; it looks like a git-lfs pointer: fetch the file "
                         "itself",
                         file);
    for (int i = 0; i < 8; i++) n_header |= (uint64_t)bytes[i] << (8 * i);
    if (n_header > SAFETENSORS_MAX_HEADER)
        return error_set(err, ERR_DATA,
                         "%s: a header of %llu bytes: no safetensors file (at most %llu expected)",
                         file, (unsigned long long)n_header,
                         (unsigned long long)SAFETENSORS_MAX_HEADER);
    if (n_header > n_all - 8)
        return error_set(err, ERR_DATA, "%s: truncated: the header has %llu bytes, the file %llu",
                         file, (unsigned long long)n_header, (unsigned long long)n_all);
    s->header = json_read((const char *)bytes + 8, n_header, file, err);
    if (!s->header) return err ? err->code : ERR_DATA;
    if (!json_is_object(s->header))
        return error_set(err, ERR_DATA, "%s: the header is no JSON object", file);
    struct tensor t = {0};
    const struct json *value;
    for (size_t i = 0; json_member(s->header, i, &t.name, &value); i++) {
        if (!strcmp(t.name, "__metadata__")) continue;
        int rc = read_tensor(value, file, bytes + 8 + n_header, n_all - 8 - n_header, &t, err);
        if (rc == 0) rc = tensor_table_add(&s->table, &t, err);
        if (rc < 0) return rc;
    }
    return 0;
}

int safetensors_read(const void *bytes, size_t n, const char *name, struct safetensors **out,
                     struct error *err)
{
    struct safetensors *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) return ERR_NOMEM;
    int rc = read_header(s, bytes, n, name, err);
    if (rc == 0) rc = check_overlap(name, s->table.list, s->table.n, err);
    if (rc == 0) rc = tensor_table_finish(&s->table, name, err);
    if (rc < 0) safetensors_close(s), s = NULL;
    *out = s;
    return rc;
}

void safetensors_close(struct safetensors *s)
{
    if (!s) return;
    json_free(s->header);
    tensor_table_release(&s->table);
    memory_free(s);
}

const struct tensor_table *safetensors_table(const struct safetensors *s)
{
    return &s->table;
}

static struct json *tensor_json(const struct tensor *t, uint64_t begin)
{
    struct json *j = json_new_object(), *shape = json_new_array(), *offsets = json_new_array();
    json_set_string(j, "dtype", tensor_type_name(t->type));
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
