/* Writes an AltCLIP folder of full size with random weights (ViT-L/14 and XLM-R large with 250002
 * rows of 1024: 3.46 GB in f32), for benchmarks and for the test of memory at full size.
 *
 *     make_altclip OUT [f32|f16|bf16 [SHARDS]]      about ten seconds; OUT must not exist
 *
 * The tokenizer and the preprocessing's constants are those of tests/golden/altclip-tiny (run it in
 * the tree's root): its 2002 pieces are the first rows of the table. Names and shapes come from the
 * towers' own tables; values are uniform with the spread of a fresh network, so that activations
 * keep a natural size through 24 layers. The bytes are a function of the arguments. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "featurize/layout.h"
#include "featurize/vit.h"
#include "featurize/xlmr.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"

#define GOLDEN "tests/golden/altclip-tiny/model/"

enum { F32, F16, BF16 };
enum { CHUNK = 1 << 20, MAX_SHARDS = 16 };

static const struct tower_config PICTURES = {.arch = ARCH_VIT,
                                             .width = 1024,
                                             .layers = 24,
                                             .heads = 16,
                                             .mlp = 4096,
                                             .act = ACT_QUICK_GELU,
                                             .eps = 1e-5F,
                                             .projection_dim = 768,
                                             .image_size = 224,
                                             .patch = 14};
static const struct tower_config TEXTS = {.arch = ARCH_TEXT,
                                          .width = 1024,
                                          .layers = 24,
                                          .heads = 16,
                                          .mlp = 4096,
                                          .act = ACT_GELU,
                                          .eps = 1e-5F,
                                          .projection_dim = 768,
                                          .head_dim = 768,
                                          .vocab = 250002,
                                          .max_positions = 514,
                                          .pad_id = 1,
                                          .eos_id = 2,
                                          .pooling = POOL_CLS};

static void must(bool ok, const struct error *err)
{
    if (ok) return;
    fprintf(stderr, "make_altclip: %s\n", err->text);
    exit(1);
}

/* The tensor tables of both towers, one after the other, without their values. */
static struct param *all_tensors(int *n)
{
    struct error err = {0};
    struct tower towers[2] = {{.config = PICTURES}, {.config = TEXTS}};
    struct layout image = {.tower = &towers[0], .err = &err},
                  text = {.tower = &towers[1], .err = &err};
    vit_layout(&image);
    xlmr_layout(&text);
    must(image.rc >= 0 && text.rc >= 0, &err);
    int n_image = towers[0].params.n, n_text = towers[1].params.n;
    struct param *all = memory_array((uint64_t)n_image + (uint64_t)n_text, sizeof *all,
                                     MEMORY_MAX_SMALL, &err);
    must(all, &err);
    memcpy(all, towers[0].params.table, (size_t)n_image * sizeof *all);
    memcpy(all + n_image, towers[1].params.table, (size_t)n_text * sizeof *all);
    for (int i = 0; i < 2; i++) {
        memory_free(towers[i].slot);
        params_release(&towers[i].params);
    }
    *n = n_image + n_text;
    return all;
}

static struct json *tensor_json(const struct param *t, int type, uint64_t begin, uint64_t n_bytes)
{
    static const char *const names[] = {"F32", "F16", "BF16"};
    struct json *j = json_new_object(), *shape = json_new_array(), *offsets = json_new_array();
    json_set_string(j, "dtype", names[type]);
    for (int i = 0; i < t->n_dims; i++) json_push_int(shape, t->shape[i]);
    json_set(j, "shape", shape);
    json_push_int(offsets, (int64_t)begin);
    json_push_int(offsets, (int64_t)(begin + n_bytes));
    json_set(j, "data_offsets", offsets);
    return j;
}

/* Round half up; the values here are small and never near the edges of either type. */
static uint16_t narrow(int type, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (type == BF16) return (uint16_t)((bits + 0x8000) >> 16);
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    return (uint16_t)(rest < 113u << 23 ? sign : sign | ((rest - (112u << 23) + 0x1000) >> 13));
}

/* A tensor's values are base + reach * uniform(-1, 1). */
static void spread(const struct param *t, float *base, float *reach)
{
    bool is_norm = strstr(t->name, "LayerNorm.weight") || strstr(t->name, "norm1.weight") ||
                   strstr(t->name, "norm2.weight") || strstr(t->name, "layernorm.weight") ||
                   strstr(t->name, "layrnorm.weight") || strstr(t->name, "pre_LN.weight");
    *base = is_norm ? 1.0F : 0.0F;
    *reach = is_norm || t->n_dims < 2 ? 0.05F : 0.035F;
}

/* Values depend on the name alone, so that every type and number of shards holds the same model. */
static void write_values(FILE *f, const struct param *t, int type)
{
    static float values[CHUNK];
    static uint16_t halves[CHUNK];
    float base, reach;
    spread(t, &base, &reach);
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (const char *c = t->name; *c; c++) state = (state ^ (uint8_t)*c) * 0x100000001b3u;
    for (size_t at = 0; at < t->n; at += CHUNK) {
        size_t n = t->n - at < CHUNK ? t->n - at : CHUNK;
        for (size_t i = 0; i < n; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            values[i] = base + reach * ((float)(int32_t)(state >> 32) * 0x1p-31F);
            halves[i] = type == F32 ? 0 : narrow(type, values[i]);
        }
        if (type == F32)
            fwrite(values, sizeof *values, n, f);
        else
            fwrite(halves, sizeof *halves, n, f);
    }
}

static void write_shard(const char *path, const struct param *t, int n, int type)
{
    struct error err = {0};
    struct json *header = json_new_object(), *about = json_new_object();
    uint64_t at = 0;
    json_set_string(about, "format", "pt");
    json_set(header, "__metadata__", about);
    for (int i = 0; i < n; i++) {
        uint64_t n_bytes = t[i].n * (type == F32 ? 4 : 2);
        json_set(header, t[i].name, tensor_json(&t[i], type, at, n_bytes));
        at += n_bytes;
    }
    char *text = json_write(header, JSON_LINE, &err);
    must(text, &err);
    FILE *f = fopen(path, "wb");
    if (!f) {
        perror(path);
        exit(1);
    }
    uint64_t n_text = strlen(text), n_header = (n_text + 7) / 8 * 8;
    for (int i = 0; i < 8; i++) fputc((int)(n_header >> 8 * i & 255), f);
    fprintf(f, "%-*s", (int)n_header, text);
    for (int i = 0; i < n; i++) write_values(f, &t[i], type);
    bool bad = ferror(f);
    if (fclose(f) || bad) {
        perror(path);
        exit(1);
    }
    json_free(header);
    memory_free(text);
}

static void write_weights(const char *out, int type, int n_shards)
{
    struct error err = {0};
    struct json *index = json_new_object(), *map = json_new_object();
    char path[512], name[64];
    int n;
    struct param *t = all_tensors(&n);
    for (int s = 0; s < n_shards; s++) {
        int from = n * s / n_shards, to = n * (s + 1) / n_shards;
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", s + 1, n_shards);
        if (n_shards == 1) snprintf(name, sizeof name, "model.safetensors");
        snprintf(path, sizeof path, "%s/%s", out, name);
        write_shard(path, t + from, to - from, type);
        for (int i = from; i < to; i++) json_set_string(map, t[i].name, name);
    }
    json_set(index, "weight_map", map);
    char *text = json_write(index, JSON_LINE, &err);
    must(text, &err);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", out);
    if (n_shards > 1) must(file_write(path, text, strlen(text), &err) == 0, &err);
    json_free(index);
    memory_free(text);
    memory_free(t);
}

static void write_text(const char *out, const char *name, const char *text)
{
    struct error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", out, name);
    must(file_write(path, text, strlen(text), &err) == 0, &err);
}

static void copy_tokenizer(const char *out)
{
    struct error err = {0};
    char path[512], *bytes;
    size_t n;
    must(file_read(GOLDEN "sentencepiece.bpe.model", 1 << 26, &bytes, &n, &err) == 0, &err);
    snprintf(path, sizeof path, "%s/sentencepiece.bpe.model", out);
    must(file_write(path, bytes, n, &err) == 0, &err);
    memory_free(bytes);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    const char *word = argc > 2 ? argv[2] : "f32";
    int type = !strcmp(word, "f32") ? F32 : !strcmp(word, "f16") ? F16 : BF16;
    int n_shards = argc > 3 ? atoi(argv[3]) : 1;
    if (argc < 2 || argc > 4 || (type == BF16 && strcmp(word, "bf16")) || n_shards < 1 ||
        n_shards > MAX_SHARDS || file_exists(argv[1])) {
        fprintf(stderr, "usage: make_altclip OUT [f32|f16|bf16 [SHARDS]]   (OUT must not exist)\n");
        return 2;
    }
    must(file_make_folder(argv[1], &err) == 0, &err);
    write_text(
        argv[1], "config.json",
        "{\"model_type\": \"altclip\", \"projection_dim\": 768, "
        "\"logit_scale_init_value\": 2.6592,\n"
        " \"text_config\": {\"hidden_size\": 1024, \"num_hidden_layers\": 24, "
        "\"num_attention_heads\": 16, \"intermediate_size\": 4096, \"hidden_act\": "
        "\"gelu\", \"layer_norm_eps\": 1e-05, \"vocab_size\": 250002, "
        "\"max_position_embeddings\": 514, \"type_vocab_size\": 1, \"project_dim\": 768, "
        "\"pooler_fn\": \"cls\", \"pad_token_id\": 1, \"bos_token_id\": 0, "
        "\"eos_token_id\": 2},\n"
        " \"vision_config\": {\"hidden_size\": 1024, \"num_hidden_layers\": 24, "
        "\"num_attention_heads\": 16, \"intermediate_size\": 4096, \"hidden_act\": "
        "\"quick_gelu\", \"layer_norm_eps\": 1e-05, \"image_size\": 224, \"patch_size\": 14, "
        "\"num_channels\": 3, \"projection_dim\": 768}}\n");
    write_text(argv[1], "preprocessor_config.json",
               "{\"crop_size\": {\"height\": 224, \"width\": 224}, \"do_center_crop\": true, "
               "\"do_convert_rgb\": true, \"do_normalize\": true, \"do_rescale\": true, "
               "\"do_resize\": true, \"image_mean\": [0.48145466, 0.4578275, 0.40821073], "
               "\"image_std\": [0.26862954, 0.26130258, 0.27577711], \"resample\": 3, "
               "\"rescale_factor\": 0.00392156862745098, \"size\": {\"shortest_edge\": 224}}\n");
    write_text(argv[1], "tokenizer_config.json", "{\"model_max_length\": 77}\n");
    copy_tokenizer(argv[1]);
    write_weights(argv[1], type, n_shards);
    return 0;
}
