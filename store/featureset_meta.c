/* The meta table of a feature set, and the keys of its blocks. In meta each value is followed by
 * the digest_short of its key and value, so that a value that was damaged, or that stands under
 * another's name, is seen. */
#include "store/featureset_inside.h"

#include <math.h>
#include <string.h>

#include "store/memory.h"

#define CHECKSUM_BYTES 8
#define COUNTS_HEAD    16

static uint64_t checksum_of(const char *name, const void *bytes, size_t n)
{
    return digest_short(name, strlen(name)) ^ digest_short(bytes, n);
}

int featureset_meta_get(struct kv_txn *txn, const char *name, struct kv_bytes *value,
                        struct error *err)
{
    int rc = kv_get(txn, FEATURESET_META, name, strlen(name), value, err);
    if (rc < 0) return rc;
    if (rc == 0) return error_set(err, ERR_CORRUPT, "the set's meta has no \"%s\"", name);
    uint64_t checksum;
    if (value->n < CHECKSUM_BYTES)
        return error_set(err, ERR_CORRUPT, "\"%s\" of the set's meta is cut short", name);
    value->n -= CHECKSUM_BYTES;
    memcpy(&checksum, value->bytes + value->n, CHECKSUM_BYTES);
    if (checksum != checksum_of(name, value->bytes, value->n))
        return error_set(err, ERR_CORRUPT, "\"%s\" of the set's meta fails its checksum", name);
    return 0;
}

int featureset_meta_put(struct kv_txn *txn, const char *name, const void *bytes, size_t n,
                        struct error *err)
{
    uint64_t checksum = checksum_of(name, bytes, n);
    char *value = memory_array((uint64_t)n + CHECKSUM_BYTES, 1, MEMORY_MAX_FILE, err);
    if (!value) return ERR_NOMEM;
    if (n) memcpy(value, bytes, n);
    memcpy(value + n, &checksum, CHECKSUM_BYTES);
    int rc = kv_put(txn, FEATURESET_META, name, strlen(name), value, n + CHECKSUM_BYTES, err);
    memory_free(value);
    return rc;
}

int featureset_counts_get(struct kv_txn *txn, struct featureset_counts *counts, struct error *err)
{
    struct kv_bytes v;
    int rc = featureset_meta_get(txn, "counts", &v, err);
    if (rc < 0) return rc;
    if (v.n < COUNTS_HEAD || (v.n - COUNTS_HEAD) % 8 ||
        (v.n - COUNTS_HEAD) / 8 > FEATURESET_MAX_VIEWS)
        return error_set(err, ERR_CORRUPT, "\"counts\" of the set's meta has %zu bytes", v.n);
    memset(counts, 0, sizeof *counts);
    memcpy(&counts->n_blocks, v.bytes, 8);
    memcpy(&counts->digest, v.bytes + 8, 8);
    counts->n_views = (uint32_t)((v.n - COUNTS_HEAD) / 8);
    memcpy(counts->n_vectors, v.bytes + COUNTS_HEAD, v.n - COUNTS_HEAD);
    return 0;
}

int featureset_counts_put(struct kv_txn *txn, const struct featureset_counts *counts,
                          struct error *err)
{
    uint8_t bytes[COUNTS_HEAD + 8 * FEATURESET_MAX_VIEWS];
    memcpy(bytes, &counts->n_blocks, 8);
    memcpy(bytes + 8, &counts->digest, 8);
    memcpy(bytes + COUNTS_HEAD, counts->n_vectors, 8 * (size_t)counts->n_views);
    return featureset_meta_put(txn, "counts", bytes, COUNTS_HEAD + 8 * (size_t)counts->n_views,
                               err);
}

int featureset_shape_of(const struct featureset_spec *spec, struct block_shape *shape,
                        struct error *err)
{
    struct codec codec;
    if (spec->tower != TOWER_IMAGE && spec->tower != TOWER_TEXT)
        return error_set(err, ERR_USAGE, "a feature set's tower is image or text, not %d",
                         (int)spec->tower);
    int rc = codec_init(&codec, spec->storage, spec->dim, spec->epsilon, err);
    return rc < 0 ? rc : block_shape_init(shape, &codec, spec->grid, err);
}

static int put_json(struct kv_txn *txn, const char *name, const struct json *j, struct error *err)
{
    char *text = json_write(j, JSON_SORTED, err);
    if (!text) return ERR_NOMEM;
    int rc = featureset_meta_put(txn, name, text, strlen(text), err);
    memory_free(text);
    return rc;
}

static int get_json(struct kv_txn *txn, const char *name, struct json **j, struct error *err)
{
    struct kv_bytes v;
    struct error why;
    int rc = featureset_meta_get(txn, name, &v, err);
    if (rc < 0) return rc;
    *j = json_read((const char *)v.bytes, v.n, name, &why);
    if (!*j) return error_set(err, ERR_CORRUPT, "the set's meta: %.900s", why.text);
    if (!json_is_object(*j))
        return error_set(err, ERR_CORRUPT, "\"%s\" of the set's meta is no object", name);
    return 0;
}

int featureset_spec_put(struct kv_txn *txn, const struct featureset_spec *spec, struct error *err)
{
    static const uint32_t FORMAT = FEATURESET_FORMAT;
    struct json *empty = json_new_object(), *j = json_new_object();
    json_set_string(j, "tap", spec->tap);
    json_set_string(j, "tower", spec->tower == TOWER_IMAGE ? "image" : "text");
    json_set_int(j, "dim", spec->dim);
    json_set_int(j, "grid", spec->grid);
    char storage[CODEC_TEXT];
    codec_spell(spec->storage, spec->epsilon, storage);
    json_set_string(j, "storage", storage);
    int rc = featureset_meta_put(txn, "format", &FORMAT, sizeof FORMAT, err);
    if (rc == 0) rc = put_json(txn, "spec", j, err);
    if (rc == 0)
        rc = put_json(txn, "fingerprint", spec->fingerprint ? spec->fingerprint : empty, err);
    if (rc == 0) rc = put_json(txn, "replay", spec->replay ? spec->replay : empty, err);
    if (rc == 0)
        rc = featureset_meta_put(txn, "tokenizer", spec->tokenizer, spec->n_tokenizer, err);
    json_free(empty);
    json_free(j);
    return rc;
}

/* Fields of "spec" into fs->spec and fs->shape. */
static int read_spec(struct featureset *fs, const struct json *j, struct error *err)
{
    struct featureset_spec *s = &fs->spec;
    const char *tap = json_text(json_get(j, "tap"), ""),
               *tower = json_text(json_get(j, "tower"), "");
    const char *storage = json_text(json_get(j, "storage"), "");
    int64_t dim = json_int(json_get(j, "dim"), 0), grid = json_int(json_get(j, "grid"), -1);
    if (strlen(tap) > FEATURESET_NAME_MAX || (strcmp(tower, "image") && strcmp(tower, "text")) ||
        dim < 1 || dim > CODEC_MAX_DIM || grid < 0 || grid > CODEC_MAX_DIM ||
        codec_parse(storage, &s->storage, &s->epsilon, NULL) < 0)
        return error_set(err, ERR_CORRUPT, "\"spec\" of the set's meta holds an impossible value");
    strcpy(s->tap, tap);
    s->tower = strcmp(tower, "text") ? TOWER_IMAGE : TOWER_TEXT;
    s->dim = (uint32_t)dim;
    s->grid = (uint32_t)grid;
    if (featureset_shape_of(s, &fs->shape, err) < 0)
        return error_set(err, ERR_CORRUPT, "\"spec\" of the set's meta holds an impossible grid");
    return 0;
}

int featureset_spec_get(struct kv_txn *txn, struct featureset *fs, struct error *err)
{
    struct kv_bytes v;
    struct json *spec = NULL;
    uint32_t format = 0;
    int rc = featureset_meta_get(txn, "format", &v, err);
    if (rc < 0) return rc;
    if (v.n == sizeof format) memcpy(&format, v.bytes, sizeof format);
    if (format != FEATURESET_FORMAT)
        return error_set(
            err, ERR_INCOMPATIBLE,
            "the set has format version %u and this program reads version %d: use the clipstill "
            "that made it, or make the set again",
            format, FEATURESET_FORMAT);
    rc = get_json(txn, "spec", &spec, err);
    if (rc == 0) rc = read_spec(fs, spec, err);
    if (rc == 0) rc = get_json(txn, "fingerprint", &fs->fingerprint, err);
    if (rc == 0) rc = get_json(txn, "replay", &fs->replay, err);
    fs->spec.fingerprint = fs->fingerprint;
    fs->spec.replay = fs->replay;
    json_free(spec);
    return rc;
}

void featureset_block_key(uint32_t view, uint32_t number, uint8_t key[FEATURESET_KEY_BYTES])
{
    for (int i = 0; i < 4; i++) {
        key[i] = (uint8_t)(view >> (24 - 8 * i));
        key[4 + i] = (uint8_t)(number >> (24 - 8 * i));
    }
}

uint64_t featureset_block_checksum(const uint8_t *record, size_t n)
{
    uint64_t checksum = 0;
    if (n >= 8) memcpy(&checksum, record + n - 8, 8);
    return checksum;
}

int featureset_name_error(const struct featureset *fs, int rc, struct error *err)
{
    if (rc == 0 || !err) return rc;
    if (strncmp(err->text, fs->folder, strlen(fs->folder)) == 0) /* the environment names it, too */
        error_prefix(err, "feature set ");
    else
        error_prefix(err, "feature set %s: ", fs->folder);
    return rc;
}

bool featureset_read_block_key(const struct kv_bytes *key, uint32_t *view, uint32_t *number)
{
    *view = *number = 0;
    if (key->n != FEATURESET_KEY_BYTES) return false;
    for (int i = 0; i < 4; i++) {
        *view = *view << 8 | key->bytes[i];
        *number = *number << 8 | key->bytes[4 + i];
    }
    return *view < FEATURESET_MAX_VIEWS;
}

void featureset_walk_release(struct featureset_walk *w)
{
    compress_free(w->z);
    memory_free(w->plain);
    memory_free(w->code);
    memory_free(w->vector);
    *w = (struct featureset_walk){0};
}

int featureset_walk_init(struct featureset_walk *w, struct featureset *fs, struct error *err)
{
    *w = (struct featureset_walk){.fs = fs, .z = compress_new(err)};
    if (w->z) w->plain = memory_array(block_plain_capacity(&fs->shape), 1, MEMORY_MAX_FILE, err);
    if (w->plain) w->code = memory_array(codec_capacity(&fs->shape.codec), 1, MEMORY_MAX_FILE, err);
    if (w->code) w->vector = memory_array(fs->spec.dim, sizeof *w->vector, MEMORY_MAX_FILE, err);
    if (w->vector) return 0;
    featureset_walk_release(w);
    return ERR_NOMEM;
}
