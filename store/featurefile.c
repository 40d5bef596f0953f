/* Feature sets as safetensors; see featurefile.h. Written: u64 bytes of the header, the header (JSON,
 * padded with spaces to 8 bytes), norms, features, keys, without gaps, so that numbers lie aligned. Norms
 * and keys are gathered and written over their places at the end. */
#include "store/featurefile.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/bytes.h"
#include "store/codec.h"
#include "store/memory.h"
#include "store/outfile.h"

#define MAX_HEADER ((uint64_t)100000000) /* of the format */

struct featurefile {
    struct outfile *file;
    uint64_t n, n_added, norms_at;
    uint32_t dim;
    uint16_t *half; // (dim), of F16
    float *norms;   // (n) or NULL
    uint8_t *keys;  // (n, 32)
};

/* "name": {dtype, shape, data_offsets} for n_bytes from *at on. */
static void describe(struct json *header, const char *name, const char *type, uint64_t n,
                     uint64_t width, uint64_t n_bytes, uint64_t *at)
{
    struct json *tensor = json_new_object(), *shape = json_new_array(), *place = json_new_array();
    json_push_int(shape, (int64_t)n);
    if (width) json_push_int(shape, (int64_t)width);
    json_push_int(place, (int64_t)*at);
    json_push_int(place, (int64_t)(*at + n_bytes));
    json_set_string(tensor, "dtype", type);
    json_set(tensor, "shape", shape);
    json_set(tensor, "data_offsets", place);
    json_set(header, name, tensor);
    *at += n_bytes;
}

static int write_header(struct featurefile *w, const struct json *metadata, struct error *err)
{
    struct json *header = json_new_object();
    uint64_t at = 0;
    json_set(header, "__metadata__", json_clone(metadata));
    if (w->norms) describe(header, "norms", "F32", w->n, 0, 4 * w->n, &at);
    describe(header, "features", w->half ? "F16" : "F32", w->n, w->dim,
             w->n * w->dim * (w->half ? 2 : 4), &at);
    describe(header, "keys", "U8", w->n, DIGEST_BYTES, w->n * DIGEST_BYTES, &at);
    char *text = json_write(header, JSON_LINE, err);
    json_free(header);
    if (!text) return ERR_NOMEM;
    uint8_t size[8];
    size_t n = strlen(text), padding = -n % 8;
    bytes_put_u64(size, n + padding);
    int rc = outfile_add(w->file, size, sizeof size, err);
    if (rc == 0) rc = outfile_add(w->file, text, n, err);
    if (rc == 0) rc = outfile_add(w->file, "        ", padding, err);
    memory_free(text);
    w->norms_at = outfile_bytes(w->file);
    return rc == 0 && w->norms ? outfile_add(w->file, w->norms, 4 * w->n, err) : rc;
}

int featurefile_create(const char *path, uint64_t n, uint32_t dim, enum npy_type type,
                       bool has_norms, const struct json *metadata, struct featurefile **out,
                       struct error *err)
{
    int rc = ERR_NOMEM;
    *out = NULL;
    struct featurefile *w = memory_array(1, sizeof *w, MEMORY_MAX_SMALL, err);
    if (!w) return rc;
    w->n = n;
    w->dim = dim;
    w->keys = memory_array(n, DIGEST_BYTES, MEMORY_MAX_TENSOR, err);
    if (w->keys && has_norms) w->norms = memory_array(n, sizeof(float), MEMORY_MAX_TENSOR, err);
    if (w->keys && type == NPY_F16)
        w->half = memory_array(dim, sizeof *w->half, MEMORY_MAX_FILE, err);
    if (w->keys && (w->norms || !has_norms) && (w->half || type != NPY_F16))
        rc = outfile_create(path, &w->file, err);
    if (rc == 0) rc = write_header(w, metadata, err);
    if (rc < 0)
        featurefile_abandon(w);
    else
        *out = w;
    return rc;
}

int featurefile_add(struct featurefile *w, const uint8_t key[DIGEST_BYTES], const float *row,
                    float norm, struct error *err)
{
    if (w->n_added == w->n)
        return error_set(err, ERR_USAGE, "a safetensors file of %llu rows is full",
                         (unsigned long long)w->n);
    memcpy(w->keys + w->n_added * DIGEST_BYTES, key, DIGEST_BYTES);
    if (w->norms) w->norms[w->n_added] = norm;
    w->n_added++;
    if (!w->half) return outfile_add(w->file, row, (size_t)w->dim * 4, err);
    for (uint32_t i = 0; i < w->dim; i++) {
        w->half[i] = codec_half_of(row[i]);
        if (!isfinite(codec_float_of(w->half[i])) && isfinite(row[i]))
            return error_set(err, ERR_DATA, "%g does not fit f16: write f32", (double)row[i]);
    }
    return outfile_add(w->file, w->half, (size_t)w->dim * 2, err);
}

static void release(struct featurefile *w)
{
    memory_free(w->half);
    memory_free(w->norms);
    memory_free(w->keys);
    memory_free(w);
}

int featurefile_finish(struct featurefile *w, struct error *err)
{
    int rc = 0;
    if (w->n_added != w->n)
        rc = error_set(err, ERR_USAGE, "a safetensors file of %llu rows got %llu",
                       (unsigned long long)w->n, (unsigned long long)w->n_added);
    if (rc == 0) rc = outfile_add(w->file, w->keys, w->n * DIGEST_BYTES, err);
    if (rc == 0 && w->norms) rc = outfile_patch(w->file, w->norms_at, w->norms, 4 * w->n, err);
    if (rc == 0)
        rc = outfile_finish(w->file, err);
    else
        outfile_abandon(w->file);
    release(w);
    return rc;
}

void featurefile_abandon(struct featurefile *w)
{
    if (!w) return;
    outfile_abandon(w->file);
    release(w);
}

/* A tensor of the header as an array; data: what follows the header. 1, 0 when it is not there. */
static int find_tensor(const struct json *header, const char *name, const char *path,
                       const uint8_t *data, uint64_t n_data, struct npy *a, struct error *err)
{
    static const struct {
        const char *name;
        enum npy_type type;
        uint64_t size;
    } types[] = {{"F16", NPY_F16, 2}, {"F32", NPY_F32, 4}, {"F64", NPY_F64, 8}, {"U8", NPY_U8, 1}};
    const struct json *j = json_get(header, name), *shape = json_get(j, "shape");
    const struct json *place = json_get(j, "data_offsets");
    const char *type = json_text(json_get(j, "dtype"), "");
    int64_t begin = json_int(json_at(place, 0), -1), end = json_int(json_at(place, 1), -1);
    int64_t rows = json_int(json_at(shape, 0), -1), cols = json_int(json_at(shape, 1), 1);
    size_t t = 0;
    uint64_t n_bytes;
    if (json_is_null(j)) return 0;
    while (t < 4 && strcmp(types[t].name, type)) t++;
    if (t == 4)
        return error_set(err, ERR_DATA,
                         "%s: tensor %s is of type \"%.20s\": F16, F32, F64 or U8 is expected",
                         path, name, type);
    if (!json_is_array(shape) || json_size(shape) < 1 || json_size(shape) > 2 || rows < 0 ||
        cols < 1 || __builtin_mul_overflow((uint64_t)rows, (uint64_t)cols, &n_bytes) ||
        __builtin_mul_overflow(n_bytes, types[t].size, &n_bytes))
        return error_set(err, ERR_DATA, "%s: tensor %s is no matrix of one row a record", path,
                         name);
    if (json_size(place) != 2 || begin < 0 || end < begin || (uint64_t)end > n_data ||
        (uint64_t)(end - begin) != n_bytes)
        return error_set(err, ERR_DATA,
                         "%s: tensor %s: bytes %" PRId64 " to %" PRId64 " of %" PRIu64
                         " are not the %" PRIu64 " of its shape: the file is cut off or broken",
                         path, name, begin, end, n_data, n_bytes);
    *a = (struct npy){.type = types[t].type, .n_dims = (int)json_size(shape)};
    a->shape[0] = a->n_rows = (uint64_t)rows;
    a->shape[1] = a->n_cols = (uint64_t)cols;
    a->data = data + begin;
    return 1;
}

/* Features, norms and keys out of the header. */
static int take_tensors(struct intake *in, struct intake_part *part, const struct json *header,
                        const uint8_t *data, uint64_t n_data, struct error *err)
{
    struct npy features, norms, keys;
    struct file_map map = part->npy.map;
    int rc = find_tensor(header, "features", part->name, data, n_data, &features, err);
    if (rc == 0) return error_set(err, ERR_DATA, "%s has no tensor \"features\"", part->name);
    if (rc < 0) return rc;
    if (features.n_dims != 2 || features.type == NPY_U8)
        return error_set(err, ERR_DATA, "%s: tensor features must be F16, F32 or F64 of [n, dim]",
                         part->name);
    part->npy = features;
    part->npy.map = map;
    rc = find_tensor(header, "norms", part->name, data, n_data, &norms, err);
    if (rc < 0) return rc;
    if (rc > 0 && (norms.n_dims != 1 || norms.type != NPY_F32 || norms.n_rows != features.n_rows))
        return error_set(err, ERR_DATA, "%s: tensor norms must be F32 of [%" PRIu64 "]", part->name,
                         features.n_rows);
    if (rc > 0) part->norms = norms.data;
    rc = find_tensor(header, "keys", part->name, data, n_data, &keys, err);
    if (rc < 0 || in->keys_name) return rc < 0 ? rc : 0;
    if (rc == 0)
        return error_set(err, ERR_DATA, "%s has no tensor \"keys\": give a keys file as well",
                         part->name);
    if (keys.n_cols != DIGEST_BYTES || keys.type != NPY_U8 || keys.n_rows != features.n_rows)
        return error_set(err, ERR_DATA, "%s: tensor keys must be U8 of [%" PRIu64 ", 32]",
                         part->name, features.n_rows);
    in->keys = keys.data;
    in->unit = "row";
    in->keys_name = memory_string(part->name, err);
    return in->keys_name ? 0 : ERR_NOMEM;
}

/* __metadata__'s identity, unless a file was given. */
static int take_identity(struct intake *in, const char *path, const struct json *header,
                         struct error *err)
{
    const char *text = json_text(json_get(json_get(header, "__metadata__"), "identity"), NULL);
    if (in->identity) return 0;
    if (!text)
        return error_set(err, ERR_DATA,
                         "%s: its __metadata__ has no \"identity\": give an identity file as well",
                         path);
    in->identity_name = memory_string(path, err);
    if (!in->identity_name) return ERR_NOMEM;
    in->identity = json_read(text, strlen(text), path, err);
    return in->identity ? 0 : err ? err->code : ERR_DATA;
}

int featurefile_open(struct intake *in, const char *path, struct error *err)
{
    struct intake_part *part = intake_add(in, path, err);
    if (!part) return ERR_NOMEM;
    int rc = file_map(path, &part->npy.map, err);
    if (rc < 0) return rc;
    const uint8_t *bytes = part->npy.map.bytes;
    uint64_t n = part->npy.map.n, n_header = 0;
    for (int i = 0; i < 8 && n >= 8; i++) n_header |= (uint64_t)bytes[i] << (8 * i);
    if (n < 8 || n_header > MAX_HEADER || n_header > n - 8)
        return error_set(err, ERR_DATA,
                         "%s is no safetensors file, or it is cut off: a header of %" PRIu64
                         " bytes in a file of %" PRIu64,
                         path, n_header, n);
    struct json *header = json_read((const char *)bytes + 8, n_header, path, err);
    if (!header) return err ? err->code : ERR_DATA;
    rc = take_tensors(in, part, header, bytes + 8 + n_header, n - 8 - n_header, err);
    if (rc == 0) rc = take_identity(in, path, header, err);
    json_free(header);
    return rc == 0 ? intake_count(in, part, err) : rc;
}
