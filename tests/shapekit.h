/* Teachers of many shapes, made up: the table, and a folder of one of them (config.json and weights). For tests/test_shapes.c. */
#ifndef TESTS_SHAPEKIT_H
#define TESTS_SHAPEKIT_H

#include "store/json.h"
#include "tests/plainkit.h"
#include "tests/weightkit.h"

/* A model, and what its folder is like. */
struct shape {
    struct plain p;
    enum tensor_type type;
    bool is_torch;
    int shards;         /* 0: one */
    const char *absent; /* "vision.hidden_act text.layer_norm_eps ": keys left to their defaults */
    bool dicts;         /* old files: the truth stands in text_config_dict and vision_config_dict */
    bool nested;        /* M-CLIP: sizes in text_config, not at the top */
};

#define SHAPE_VISION_DEFAULTS                                                                                                                       \
    "projection_dim vision.image_size vision.patch_size vision.num_hidden_layers vision.num_attention_heads vision.intermediate_size "              \
    "vision.hidden_act vision.layer_norm_eps "
#define SHAPE_TEXT_DEFAULTS                                                                                                                         \
    "text.num_hidden_layers text.num_attention_heads text.intermediate_size text.hidden_act text.layer_norm_eps text.max_position_embeddings "

/* .vision and .text: width, layers, heads, mlp, activation, eps */
static const struct shape SHAPES[] = {
    /* AltCLIP-m18's proportions: heads of 80, 32 and 24 layers, gelu, patch 14 */
    {{.family = "altclip", .image = 56, .patch = 14, .vision = {160, 32, 2, 640, "gelu", 1e-5}, .text = {64, 24, 4, 256, "gelu", 1e-5},
      .projection = 64, .project = 64, .vocab = 2002, .positions = 82, .types = 1, .pad = 1},
     .type = TENSOR_F16, .is_torch = true, .shards = 2},
    /* nothing is a power of two, the picture no multiple of the patch, segments */
    {{.family = "altclip", .image = 45, .patch = 7, .vision = {30, 2, 3, 50, "relu", 1e-6}, .text = {42, 3, 6, 70, "gelu_new", 1e-7},
      .projection = 13, .project = 29, .vocab = 97, .positions = 19, .types = 2, .pad = 1},
     .type = TENSOR_F16, .is_torch = true},
    /* positions that begin behind another id, which each text begins with; ids that no text has */
    {{.family = "altclip", .image = 32, .patch = 8, .vision = {48, 2, 4, 96, "quick_gelu", 1e-5}, .text = {32, 2, 2, 64, "gelu", 1e-5},
      .projection = 24, .project = 40, .vocab = 2010, .positions = 14, .types = 2, .pad = 0},
     .type = TENSOR_BF16, .shards = 3},
    /* AltCLIPConfig's defaults */
    {{.family = "altclip", .image = 224, .patch = 32, .vision = {24, 12, 12, 3072, "quick_gelu", 1e-5}, .text = {32, 24, 16, 4096, "gelu", 1e-5},
      .projection = 768, .project = 768, .vocab = 200, .positions = 514, .types = 1, .pad = 1},
     .type = TENSOR_F16, .shards = 2, .absent = SHAPE_VISION_DEFAULTS SHAPE_TEXT_DEFAULTS "text.project_dim text.type_vocab_size text.pad_token_id "},
    {{.family = "chinese_clip", .image = 64, .patch = 16, .vision = {96, 3, 2, 192, "quick_gelu", 1e-5}, .text = {60, 4, 5, 240, "gelu", 1e-12},
      .projection = 31, .vocab = 211, .positions = 40, .types = 2},
     .type = TENSOR_BF16, .is_torch = true, .shards = 2},
    /* ChineseCLIPConfig's defaults */
    {{.family = "chinese_clip", .image = 224, .patch = 32, .vision = {36, 12, 12, 3072, "quick_gelu", 1e-5}, .text = {24, 12, 12, 3072, "gelu", 1e-12},
      .projection = 512, .vocab = 150, .positions = 512, .types = 2},
     .type = TENSOR_F32, .is_torch = true, .absent = SHAPE_VISION_DEFAULTS SHAPE_TEXT_DEFAULTS "text.type_vocab_size "},
    /* Chinese-CLIP huge in small, other activations, one segment */
    {{.family = "chinese_clip", .image = 42, .patch = 14, .vision = {160, 4, 2, 320, "gelu", 1e-5}, .text = {72, 3, 3, 100, "gelu_pytorch_tanh", 1e-5},
      .projection = 100, .vocab = 128, .positions = 33, .types = 1},
     .type = TENSOR_F16},
    {{.family = "clip", .image = 32, .patch = 16, .vision = {64, 3, 4, 256, "quick_gelu", 1e-5}, .text = {48, 3, 4, 192, "quick_gelu", 1e-5},
      .projection = 40, .vocab = 99, .positions = 20, .eos = 2},
     .type = TENSOR_F32, .shards = 4, .absent = "vision.hidden_act text.hidden_act text.eos_token_id "},
    /* LAION's: gelu, heads of 88 and 104; an end token that is not the highest id */
    {{.family = "clip", .image = 60, .patch = 14, .vision = {88, 3, 1, 100, "gelu", 1e-5}, .text = {104, 3, 1, 104, "gelu", 1e-5},
      .projection = 56, .vocab = 120, .positions = 25, .eos = 60},
     .type = TENSOR_F16},
    /* the end token is the last row, as in CLIP's own vocabulary */
    {{.family = "clip", .image = 28, .patch = 14, .vision = {32, 1, 2, 64, "silu", 1e-4}, .text = {32, 1, 2, 64, "gelu_fast", 1e-4},
      .projection = 8, .vocab = 64, .positions = 9, .eos = 63},
     .type = TENSOR_BF16},
    /* CLIPConfig's defaults */
    {{.family = "clip", .image = 224, .patch = 32, .vision = {12, 12, 12, 3072, "quick_gelu", 1e-5}, .text = {24, 12, 8, 2048, "quick_gelu", 1e-5},
      .projection = 512, .vocab = 130, .positions = 77, .eos = 2},
     .type = TENSOR_BF16, .is_torch = true, .shards = 3, .absent = SHAPE_VISION_DEFAULTS SHAPE_TEXT_DEFAULTS "text.eos_token_id "},
    {{.family = "clip", .image = 20, .patch = 4, .vision = {36, 2, 3, 48, "gelu_accurate", 1e-5}, .text = {30, 2, 5, 60, "gelu_python", 1e-5},
      .projection = 17, .vocab = 70, .positions = 16, .eos = 2},
     .type = TENSOR_F32, .dicts = true},
    /* one patch, one head, one layer */
    {{.family = "clip", .image = 9, .patch = 9, .vision = {8, 1, 1, 3, "relu", 1e-5}, .text = {6, 1, 1, 5, "swish", 1e-5},
      .projection = 2, .vocab = 12, .positions = 6, .eos = 2},
     .type = TENSOR_F32, .is_torch = true},
    /* rows enough for whole tiles, widths of real models */
    {{.family = "clip", .image = 120, .patch = 8, .vision = {256, 2, 4, 1024, "quick_gelu", 1e-5}, .text = {512, 2, 8, 2048, "quick_gelu", 1e-5},
      .projection = 320, .vocab = 400, .positions = 77, .eos = 399},
     .type = TENSOR_F16, .is_torch = true, .shards = 2},
    {{.family = "M-CLIP", .text = {48, 3, 3, 100, "gelu", 1e-5}, .projection = 33, .vocab = 80, .positions = 26, .types = 1, .pad = 1},
     .type = TENSOR_F32, .is_torch = true, .absent = "text.hidden_act text.layer_norm_eps text.type_vocab_size "},
    {{.family = "M-CLIP", .text = {80, 2, 5, 64, "relu", 1e-6}, .projection = 768, .vocab = 90, .positions = 60, .types = 1, .pad = 1},
     .type = TENSOR_BF16, .shards = 2, .absent = "numDims ", .nested = true},
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

/* Whether `key` is written; in `absent` each stands with its section and a space behind it. */
static inline bool shape_has(const struct shape *s, const char *section, const char *key)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s ", section, key);
    return !s->absent || !strstr(s->absent, name);
}

static inline void shape_int(struct json *j, const struct shape *s, const char *section, const char *key, int value)
{
    if (shape_has(s, section, key)) json_set_int(j, key, value);
}

static inline void shape_net(struct json *j, const struct shape *s, const char *section, const struct plain_net *net)
{
    shape_int(j, s, section, "hidden_size", net->width);
    shape_int(j, s, section, "num_hidden_layers", net->layers);
    shape_int(j, s, section, "num_attention_heads", net->heads);
    shape_int(j, s, section, "intermediate_size", net->mlp);
    if (shape_has(s, section, "hidden_act")) json_set_string(j, "hidden_act", net->act);
    if (shape_has(s, section, "layer_norm_eps")) json_set_number(j, "layer_norm_eps", net->eps);
}

static inline void shape_text(struct json *j, const struct shape *s)
{
    bool is_clip = plain_is(&s->p, "clip");
    shape_net(j, s, "text.", &s->p.text);
    shape_int(j, s, "text.", "vocab_size", s->p.vocab);
    shape_int(j, s, "text.", "max_position_embeddings", s->p.positions);
    shape_int(j, s, "text.", is_clip ? "eos_token_id" : "type_vocab_size", is_clip ? s->p.eos : s->p.types);
    if (!plain_is(&s->p, "altclip")) return;
    shape_int(j, s, "text.", "project_dim", s->p.project);
    shape_int(j, s, "text.", "pad_token_id", s->p.pad);
    json_set_int(j, "bos_token_id", 7); /* neither the model nor its tokenizer looks at these */
    json_set_int(j, "eos_token_id", 9);
    json_set_string(j, "pooler_fn", "average");
}

/* `truth` (taken) under `name`, or under name_dict beside a section that differs from it. */
static inline void shape_section(struct json *config, const struct shape *s, const char *name, struct json *truth)
{
    char dict[40];
    snprintf(dict, sizeof dict, "%s_dict", name);
    json_set(config, s->dicts ? dict : name, truth);
    if (!s->dicts) return;
    struct json *wrong = json_new_object();
    json_set_int(wrong, "hidden_size", 4);
    json_set_string(wrong, "hidden_act", "silu");
    json_set(config, name, wrong);
}

static inline void shape_write_config(const char *folder, const struct shape *s)
{
    struct error err = {0};
    struct json *j = json_new_object(), *text = json_new_object(), *vision = json_new_object();
    char path[300];
    bool is_mclip = plain_is(&s->p, "M-CLIP");
    json_set_string(j, "model_type", s->p.family);
    json_set_string(j, "torch_dtype", "float16");
    shape_int(j, s, "", is_mclip ? "numDims" : "projection_dim", s->p.projection);
    if (is_mclip) json_set_string(j, "modelBase", "somebody/xlm-r-of-another-size");
    shape_text(is_mclip && !s->nested ? j : text, s);
    shape_net(vision, s, "vision.", &s->p.vision);
    shape_int(vision, s, "vision.", "image_size", s->p.image);
    shape_int(vision, s, "vision.", "patch_size", s->p.patch);
    json_set_int(vision, "projection_dim", 5); /* the top's counts */
    if (is_mclip && !s->nested)
        json_free(text);
    else
        shape_section(j, s, "text_config", text);
    if (is_mclip)
        json_free(vision);
    else
        shape_section(j, s, "vision_config", vision);
    char *bytes = json_write(j, JSON_PRETTY, &err);
    snprintf(path, sizeof path, "%s/config.json", folder);
    weightkit_must(bytes && file_write(path, bytes, strlen(bytes), &err) == 0, &err);
    memory_free(bytes);
    json_free(j);
}

/* With what old checkpoints carry and nobody looks at. */
static inline void shape_write_weights(const char *folder, const struct shape *s, const struct plain *p)
{
    static struct tensor t[PLAIN_MAX_TENSORS + 2];
    static const int64_t ids[40];
    static const float pooler[3] = {NAN, NAN, NAN};
    size_t n = 0;
    for (; n < (size_t)p->n; n++) {
        const struct plain_tensor *from = &p->tensors[n];
        t[n] = (struct tensor){.name = from->name, .type = TENSOR_F32, .n_dims = from->n_dims, .n = from->n, .bytes = (const uint8_t *)from->x,
                               .n_bytes = 4 * from->n};
        memcpy(t[n].shape, from->shape, sizeof from->shape);
    }
    t[n++] = (struct tensor){.name = "text_model.embeddings.position_ids", .type = TENSOR_I64, .n_dims = 2, .shape = {1, 40}, .n = 40,
                             .bytes = (const uint8_t *)ids, .n_bytes = sizeof ids};
    t[n++] = (struct tensor){.name = "text_model.pooler.dense.bias", .type = TENSOR_F32, .n_dims = 1, .shape = {3}, .n = 3,
                             .bytes = (const uint8_t *)pooler, .n_bytes = sizeof pooler};
    weightkit_write(folder, n, t, s->type, s->is_torch, s->shards ? s->shards : 1);
}

#endif
