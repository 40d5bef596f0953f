/* The weights of a folder in every container, for tests.
 *
 *     weightkit_write(folder, n, tensors, TENSOR_BF16, false, 3);
 *
 * model.safetensors or pytorch_model.bin, or n_shards > 1 files with their index. Tensors of f32 become `type`, rounded to nearest even; others stay.
 * Neighbours go to different shards. Included by a test after tests/check.h. */
#ifndef TESTS_WEIGHTKIT_H
#define TESTS_WEIGHTKIT_H

#include "featurize/safetensors.h"
#include "store/codec.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/torchkit.h"
#include "tests/zipkit.h"

enum { WEIGHTKIT_STORAGES = 5 }; /* of a type in a .bin: zipkit takes 64 entries, and tensors may share one */

static inline void weightkit_must(bool ok, const struct error *err)
{
    if (ok) return;
    printf("# cannot go on: %s\n", err->text);
    exit(1);
}

/* t in another type; its bytes are owned by the caller. */
static inline struct tensor weightkit_convert(const struct tensor *t, enum tensor_type type)
{
    struct error err = {0};
    struct tensor to = *t;
    if (t->type == TENSOR_F32) to.type = type;
    to.n_bytes = t->n * tensor_type_bytes(to.type);
    uint8_t *bytes = memory_array(to.n_bytes + 1, 1, MEMORY_MAX_FILE, &err);
    weightkit_must(bytes, &err);
    to.bytes = bytes;
    if (to.type == t->type) memcpy(bytes, t->bytes, to.n_bytes);
    for (size_t i = 0; i < t->n && to.type != t->type; i++) {
        float x;
        uint32_t bits;
        memcpy(&x, t->bytes + 4 * i, 4);
        memcpy(&bits, &x, 4);
        uint16_t half = type == TENSOR_F16 ? codec_half_of(x) : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        memcpy(bytes + 2 * i, &half, 2);
    }
    return to;
}

static inline void weightkit_bin(const char *path, size_t n, const struct tensor *t)
{
    static const char *const classes[TENSOR_TYPES] = {"Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"};
    static struct torchkit s;
    struct error err = {0};
    struct zipkit_entry entry[64] = {{.name = "archive/data.pkl", .bytes = s.bytes}};
    char names[64][40], class[64], key[12];
    int n_entries = 1;
    size_t total = 1 << 20;
    for (size_t i = 0; i < n; i++) total += t[i].n_bytes;
    uint8_t *file = memory_array(total, 1, MEMORY_MAX_FILE, &err), *stored = memory_array(total, 1, MEMORY_MAX_FILE, &err), *at = stored;
    weightkit_must(file && stored, &err);
    s.n = 0;
    torchkit_op(&s, "\x80\x02"
                    "ccollections\nOrderedDict\n)R(");
    for (int storage = 0; storage < TENSOR_TYPES * WEIGHTKIT_STORAGES; storage++) {
        const uint8_t *begin = at;
        int type = storage / WEIGHTKIT_STORAGES;
        int64_t n_stored = 0, offset = 0;
        for (int pass = 0; pass < 2; pass++) /* a tensor names the size of its whole storage */
            for (size_t i = (size_t)storage % WEIGHTKIT_STORAGES; i < n; i += WEIGHTKIT_STORAGES) {
                if ((int)t[i].type != type) continue;
                if (pass == 0) {
                    n_stored += (int64_t)t[i].n;
                    continue;
                }
                struct torchkit_tensor w = {.class = class, .key = key, .n_stored = n_stored, .offset = offset, .n_dims = t[i].n_dims};
                snprintf(class, sizeof class, "ctorch\n%sStorage\n", classes[type]);
                snprintf(key, sizeof key, "%d", storage);
                int64_t stride = 1;
                for (int k = t[i].n_dims - 1; k >= 0; stride *= t[i].shape[k--]) {
                    w.shape[k] = t[i].shape[k];
                    w.stride[k] = stride;
                }
                torchkit_text(&s, t[i].name);
                torchkit_tensor(&s, &w);
                memcpy(at, t[i].bytes, t[i].n_bytes);
                at += t[i].n_bytes;
                offset += (int64_t)t[i].n;
            }
        if (at == begin) continue;
        snprintf(names[n_entries], sizeof names[0], "archive/data/%d", storage);
        entry[n_entries] = (struct zipkit_entry){.name = names[n_entries], .bytes = begin, .n = (size_t)(at - begin)};
        n_entries++;
    }
    torchkit_op(&s, "u.");
    entry[0].n = s.n;
    weightkit_must(file_write(path, file, zipkit_build(file, entry, n_entries, false), &err) == 0, &err);
    memory_free(file);
    memory_free(stored);
}

static inline void weightkit_write(const char *folder, size_t n, const struct tensor *tensors, enum tensor_type type, bool is_torch, int n_shards)
{
    struct error err = {0};
    struct json *index = json_new_object(), *map = json_new_object();
    struct tensor *part = memory_array(n, sizeof *part, MEMORY_MAX_SMALL, &err);
    const char *stem = is_torch ? "pytorch_model" : "model", *ending = is_torch ? "bin" : "safetensors";
    char name[64], path[400];
    weightkit_must(part, &err);
    for (int shard = 0; shard < n_shards; shard++) {
        size_t n_part = 0;
        snprintf(name, sizeof name, "%s-%05d-of-%05d.%s", stem, shard + 1, n_shards, ending);
        if (n_shards == 1) snprintf(name, sizeof name, "%s.%s", stem, ending);
        for (size_t i = (size_t)shard; i < n; i += (size_t)n_shards) {
            part[n_part++] = weightkit_convert(&tensors[i], type);
            json_set_string(map, tensors[i].name, name);
        }
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (is_torch)
            weightkit_bin(path, n_part, part);
        else
            weightkit_must(safetensors_write(path, n_part, part, NULL, &err) == 0, &err);
        for (size_t i = 0; i < n_part; i++) memory_free((void *)(uintptr_t)part[i].bytes);
    }
    json_set(index, "metadata", json_new_object());
    json_set(index, "weight_map", map);
    char *text = json_write(index, JSON_PRETTY, &err);
    snprintf(path, sizeof path, "%s/%s.%s.index.json", folder, stem, ending);
    if (n_shards > 1) weightkit_must(file_write(path, text, strlen(text), &err) == 0, &err);
    memory_free(text);
    json_free(index);
    memory_free(part);
}

#endif
