/* What the tests of towers share: a tower loaded from a folder (a safetensors reader of its own, so
 * that these tests stand on nothing but json and params), golden arrays, one pass, comparisons.
 * Included by a test after tests/check.h. */
#ifndef TESTS_TOWERKIT_H
#define TESTS_TOWERKIT_H

#include <unistd.h>

#include "featurize/tower.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"
#include "store/npy.h"
#include "tests/check.h"

/* The golden sets of AltCLIP; the second is not in a clean clone. */
static const char *const KIT_SETS[] = {"tests/golden/altclip-tiny", "../shared/golden/altclip-tiny"};

static inline bool kit_has(const char *set)
{
    char path[512];
    snprintf(path, sizeof path, "%s/model/config.json", set);
    return access(path, R_OK) == 0;
}

static inline void kit_must(bool ok, const struct error *err)
{
    if (ok) return;
    printf("# cannot go on: %s\n", err->text);
    exit(1);
}

/* Fills every tensor of t that stands in SET/model/model.safetensors; returns how many it did not find. */
static inline int kit_load(struct tower *t, const char *set)
{
    char path[512];
    struct error err = {0};
    struct file_map map;
    snprintf(path, sizeof path, "%s/model/model.safetensors", set);
    kit_must(file_map(path, &map, &err) >= 0, &err);
    uint64_t header;
    memcpy(&header, map.bytes, sizeof header);
    struct json *j = json_read((const char *)map.bytes + 8, header, path, &err);
    kit_must(j, &err);
    int missing = 0;
    for (int i = 0; i < t->params.n; i++) {
        const struct param *p = &t->params.table[i];
        const struct json *span = json_get(json_get(j, p->name), "data_offsets");
        size_t begin = (size_t)json_int(json_at(span, 0), 0), end = (size_t)json_int(json_at(span, 1), 0);
        if (end - begin == p->n * sizeof(float))
            memcpy(params_at(&t->params, i), (const char *)map.bytes + 8 + header + begin, end - begin);
        else
            missing++;
    }
    json_free(j);
    file_unmap(&map);
    return missing;
}

static inline struct tower_config kit_config(const char *set, bool is_text)
{
    char path[512];
    struct error err = {0};
    struct tower_config c;
    snprintf(path, sizeof path, "%s/model/config.json", set);
    struct json *j = json_read_file(path, 1 << 20, &err);
    kit_must(j, &err);
    kit_must((is_text ? tower_config_text(j, &c, &err) : tower_config_image(j, &c, &err)) >= 0, &err);
    json_free(j);
    return c;
}

static inline struct tower *kit_tower(const struct tower_config *c, uint64_t seed)
{
    struct error err = {0};
    struct tower *t = tower_new(c, &err);
    kit_must(t, &err);
    tower_randomise(t, seed);
    return t;
}

static inline struct exec *kit_exec(const struct tower *t, enum exec_mode mode, enum numerics numerics)
{
    struct error err = {0};
    struct exec *e = exec_new(mode, numerics, &err);
    kit_must(e, &err);
    exec_bind(e, &t->params, t->packed);
    return e;
}

/* All of a golden array as f32; owned: memory_free. */
static inline float *kit_array(const char *set, const char *name, struct npy *shape)
{
    char path[512];
    struct error err = {0};
    struct npy a;
    snprintf(path, sizeof path, "%s/expected/%s", set, name);
    kit_must(npy_open(path, &a, &err) >= 0, &err);
    float *x = memory_array(a.n_rows * a.n_cols, sizeof *x, MEMORY_MAX_FILE, &err);
    kit_must(x, &err);
    for (uint64_t i = 0; i < a.n_rows; i++) npy_row_f32(&a, i, x + i * a.n_cols);
    if (shape) *shape = a; /* its shape stays readable */
    npy_close(&a);
    return x;
}

static inline double kit_distance(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        if (!(d <= most)) most = d;
    }
    return most;
}

static inline double kit_cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

/* A reproducible number in [-1, 1). */
static inline float kit_noise(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)((z ^ (z >> 31)) >> 40) / (float)(1 << 23) - 1.0f;
}

static inline float *kit_pixels(size_t n)
{
    struct error err = {0};
    float *x = memory_array(n, sizeof *x, MEMORY_MAX_FILE, &err);
    kit_must(x, &err);
    for (size_t i = 0; i < n; i++) x[i] = kit_noise(i);
    return x;
}

#endif
