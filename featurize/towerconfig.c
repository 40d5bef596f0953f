/* Hugging Face's config.json <-> struct tower_config.
 *
 * A teacher has the model_type of a family (featurize/family.h); a student "clipstill", of the same
 * shape with more choice: vision_config.model_type "mobilevit", text_config.embedding_size (a
 * factorised embedding) and pooler_fn "mean", text_config.model_type names its form. Absent and null
 * keys take the defaults of the family's Hugging Face classes and of MobileViTConfig, which are those
 * of small models: a ViT-B/32, not the ViT-L/14 of the published AltCLIP. What a tower cannot do exactly (another
 * activation, type embeddings, relative positions) is refused by name, never approximated.
 */
#include "featurize/tower.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "featurize/family.h"
#include "featurize/mobilevit.h"
#include "featurize/tokenizer.h"
#include "store/memory.h"

#define MAX_WIDTH      16384
#define MAX_LAYERS     256
#define MAX_IMAGE_SIZE 2048
#define MAX_VOCAB      (1 << 22)
#define MAX_POSITIONS  (1 << 16)

/* One object of the file and the errors met in it, sticky. */
struct reader {
    const struct json *object;
    const char *name; /* "vision_config."; "" at the top */
    int rc;
    struct error *err;
};

/* "config.json: vision_config.hidden_size is FOUND; expected ..." */
static void refuse(struct reader *r, const char *key, const char *expected)
{
    if (r->rc < 0) return;
    const struct json *v = json_get(r->object, key);
    char *found = json_is_null(v) ? NULL : json_write(v, JSON_LINE, NULL);
    r->rc = error_set(r->err, ERR_DATA, "config.json: %s%s is %.200s; expected %s", r->name, key,
                      found ? found : "absent", expected);
    memory_free(found);
}

static int whole(struct reader *r, const char *key, int otherwise, int min, int max)
{
    const struct json *v = json_get(r->object, key);
    if (json_is_null(v)) return otherwise;
    double x = json_is_number(v) ? json_number(v, NAN) : NAN;
    if (x >= min && x <= max && x == floor(x)) return (int)x;
    char expected[80];
    snprintf(expected, sizeof expected, "a whole number from %d to %d", min, max);
    refuse(r, key, expected);
    return otherwise;
}

static float real(struct reader *r, const char *key, double otherwise, double min, double max)
{
    const struct json *v = json_get(r->object, key);
    if (json_is_null(v)) return (float)otherwise;
    double x = json_is_number(v) ? json_number(v, NAN) : NAN;
    if (x >= min && x <= max) return (float)x;
    char expected[80];
    snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
    refuse(r, key, expected);
    return (float)otherwise;
}

static const char *word(struct reader *r, const char *key, const char *otherwise)
{
    const struct json *v = json_get(r->object, key);
    if (json_is_null(v)) return otherwise;
    if (!json_is_string(v)) refuse(r, key, "a string");
    return json_text(v, otherwise);
}

/* A number that only one value is supported of. */
static void fixed(struct reader *r, const char *key, double value, const char *why)
{
    const struct json *v = json_get(r->object, key);
    if (json_is_null(v)) return;
    double x = json_is_number(v) ? json_number(v, NAN) : NAN;
    char expected[120];
    snprintf(expected, sizeof expected, "%g (%s)", value, why);
    if (!(x == value)) refuse(r, key, expected);
}

static enum act activation(struct reader *r, const char *otherwise)
{
    int act = act_of_name(word(r, "hidden_act", otherwise), NULL);
    if (act >= 0) return (enum act)act;
    refuse(r, "hidden_act", act_names());
    return ACT_NONE;
}

static void transformer(struct reader *r, struct tower_config *c, int width, int layers, int heads,
                        int mlp, float eps)
{
    c->width = whole(r, "hidden_size", width, 1, MAX_WIDTH);
    c->layers = whole(r, "num_hidden_layers", layers, 1, MAX_LAYERS);
    c->heads = whole(r, "num_attention_heads", heads, 1, MAX_WIDTH);
    c->mlp = whole(r, "intermediate_size", mlp, 1, 4 * MAX_WIDTH);
    c->eps = real(r, "layer_norm_eps", (double)eps, 1e-13, 0.1);
    char expected[80];
    snprintf(expected, sizeof expected, "a divisor of hidden_size, %d", c->width);
    if (r->rc == 0 && c->width % c->heads) refuse(r, "num_attention_heads", expected);
}

static void numbers(struct reader *r, const char *key, int n, int *out)
{
    const struct json *v = json_get(r->object, key);
    bool good = json_is_array(v) && json_size(v) == (size_t)n;
    for (int i = 0; good && i < n; i++) out[i] = (int)json_int(json_at(v, (size_t)i), 0);
    char expected[80];
    snprintf(expected, sizeof expected, "an array of %d whole numbers", n);
    if (!json_is_null(v) && !good) refuse(r, key, expected);
}

static void mobilevit(struct reader *r, struct tower_config *c)
{
    const struct mobilevit_variant *v = mobilevit_find("s"); /* MobileViTConfig's defaults */
    int hidden[3], neck[7];
    memcpy(hidden, v->hidden, sizeof hidden);
    memcpy(neck, v->neck, sizeof neck);
    numbers(r, "hidden_sizes", 3, hidden);
    numbers(r, "neck_hidden_sizes", 7, neck);
    v = mobilevit_match(hidden, neck);
    if (!v) {
        refuse(
            r, "hidden_sizes",
            "the widths of MobileViT xxs, xs or s, with the neck_hidden_sizes that go with them");
        return;
    }
    c->arch = ARCH_MOBILEVIT;
    strcpy(c->variant, v->name);
    c->act = activation(r, "silu");
    c->eps = real(r, "layer_norm_eps", 1e-5, 1e-12, 0.1);
    c->image_size = whole(r, "image_size", 256, 32, MAX_IMAGE_SIZE);
    if (r->rc == 0 && c->image_size % 32) refuse(r, "image_size", "a multiple of 32");
    const char *same = "as in MobileViT xxs, xs and s";
    if (json_is_null(json_get(r->object, "expand_ratio")) && v->expand != 4)
        refuse(r, "expand_ratio", "2 for MobileViT xxs");
    fixed(r, "expand_ratio", v->expand, same);
    fixed(r, "mlp_ratio", MOBILEVIT_MLP_RATIO, same);
    fixed(r, "num_attention_heads", MOBILEVIT_HEADS, same);
    fixed(r, "patch_size", MOBILEVIT_PATCH, same);
    fixed(r, "conv_kernel_size", 3, same);
    fixed(r, "output_stride", 32, "no dilation");
    if (!json_bool(json_get(r->object, "qkv_bias"), true)) refuse(r, "qkv_bias", "true");
}

static void vit(struct reader *r, struct tower_config *c)
{
    c->arch = ARCH_VIT;
    transformer(r, c, 768, 12, 12, 3072, 1e-5f);
    c->act = activation(r, "quick_gelu");
    c->image_size = whole(r, "image_size", 224, 1, MAX_IMAGE_SIZE);
    c->patch = whole(r, "patch_size", 32, 1, MAX_IMAGE_SIZE);
    char expected[80];
    snprintf(expected, sizeof expected, "at most image_size, %d", c->image_size);
    if (r->rc == 0 && c->patch > c->image_size) refuse(r, "patch_size", expected);
}

/* What AltCLIP's form has and the others have not. Its padding shifts positions, and is one of the
 * ids that pruning a vocabulary keeps. A teacher's pooler_fn is not looked at, as by Hugging Face:
 * it takes <s>. */
static void altclip_text(struct reader *r, struct tower_config *c, bool is_student)
{
    c->head_dim = whole(r, "project_dim", c->head_dim, 1, MAX_WIDTH);
    c->pad_id = whole(r, "pad_token_id", c->pad_id, 0, TOKEN_UNK);
    if (!is_student) return;
    const char *pooler = word(r, "pooler_fn", "cls");
    c->pooling = !strcmp(pooler, "mean") ? POOL_MEAN : POOL_CLS;
    if (strcmp(pooler, "cls") && strcmp(pooler, "mean"))
        refuse(r, "pooler_fn", "\"cls\" or \"mean\"");
}

/* CLIP's end token, from whose row the embedding is taken. 2 stands for the highest id, as in old
 * files; so does what is the highest, or is none. */
static void clip_text(struct reader *r, struct tower_config *c)
{
    int end = whole(r, "eos_token_id", c->eos_id, 0, MAX_VOCAB);
    c->eos_id = end >= c->vocab - 1 ? TOKEN_EOS : end;
}

static void text(struct reader *r, struct tower_config *c, const struct family *f, bool is_student)
{
    const struct tower_config *d = &f->text;
    c->arch = ARCH_TEXT;
    c->form = f->form;
    transformer(r, c, d->width, d->layers, d->heads, d->mlp, d->eps);
    c->act = activation(r, act_name(d->act));
    c->vocab = whole(r, "vocab_size", d->vocab, 4, MAX_VOCAB);
    c->max_positions = whole(r, "max_position_embeddings", d->max_positions, 4, MAX_POSITIONS);
    c->head_dim = d->head_dim;
    c->pad_id = d->pad_id;
    c->bos_id = d->bos_id;
    c->eos_id = d->eos_id;
    c->pooling = d->pooling;
    c->n_types = family_text(f->form)->is_causal ? 1
                                                 : whole(r, "type_vocab_size", d->n_types, 1, 64);
    if (strcmp(word(r, "position_embedding_type", "absolute"), "absolute"))
        refuse(r, "position_embedding_type", "\"absolute\"");
    if (f->form == TEXT_ALTCLIP) altclip_text(r, c, is_student);
    if (f->form == TEXT_CLIP) clip_text(r, c);
    c->embed_dim = is_student ? whole(r, "embedding_size", 0, 0, MAX_WIDTH) : 0;
    if (c->embed_dim == c->width) c->embed_dim = 0;
}

/* The layers of M-CLIP's modelBase; a published config.json names the model and holds no sizes.
 * `sizes`: where they stand otherwise. */
static const struct family *mclip_base(struct reader *top, const struct json *sizes,
                                       struct family *room)
{
    const char *base = word(top, "modelBase", "xlm-roberta-large");
    const char *slash = strrchr(base, '/');
    if (slash) base = slash + 1;
    *room = *family_of_form(TEXT_MCLIP);
    if (!strcmp(base, "xlm-roberta-base")) {
        room->text.width = 768;
        room->text.layers = room->text.heads = 12;
        room->text.mlp = 3072;
    } else if (strcmp(base, "xlm-roberta-large") && json_is_null(json_get(sizes, "hidden_size"))) {
        refuse(top, "modelBase",
               "\"xlm-roberta-large\" or \"xlm-roberta-base\" (or another XLM-R with "
               "hidden_size and the other sizes beside it)");
    }
    room->text.width = whole(top, "transformerDimensions", room->text.width, 1, MAX_WIDTH);
    return room;
}

/* A section KEY; where KEY_dict stands beside it, that is what Hugging Face's classes take. */
static const struct json *find_section(const struct json *config, const char *key)
{
    char name[40];
    snprintf(name, sizeof name, "%s_dict", key);
    const struct json *other = json_get(config, name);
    return json_is_object(other) ? other : json_get(config, key);
}

/* Checks the top of the file and opens the section `key`; the rc of *r tells. *f: the teacher's
 * family, NULL for a student. */
static void open_section(const struct json *config, const char *key, const char *name,
                         struct reader *r, struct tower_config *c, const struct family **f,
                         struct error *err)
{
    *c = (struct tower_config){0};
    struct reader top = {.object = config, .name = "", .err = err};
    const char *type = word(&top, "model_type", "");
    bool is_student = !strcmp(type, "clipstill");
    char expected[200];
    *f = family_of_model(type);
    snprintf(expected, sizeof expected, "%s (teachers) or \"clipstill\" (a student)",
             family_names());
    if (!is_student && !*f) refuse(&top, "model_type", expected);
    const char *dim = *f && !(*f)->has_image ? "numDims" : "projection_dim";
    c->projection_dim = whole(&top, dim, *f ? (*f)->projection_dim : 768, 1, MAX_WIDTH);
    const struct json *section = find_section(config, key);
    if (json_is_null(section) ? is_student : !json_is_object(section))
        refuse(&top, key, "an object: the folder has no such tower");
    *r = (struct reader){.object = section, .name = name, .rc = top.rc, .err = err};
}

int tower_config_image(const struct json *config, struct tower_config *out, struct error *err)
{
    struct tower_config c;
    struct reader r;
    const struct family *f;
    open_section(config, "vision_config", "vision_config.", &r, &c, &f, err);
    if (r.rc < 0) return r.rc;
    if (f && !f->has_image)
        return error_set(
            err, ERR_USAGE,
            "config.json: a model of type %s has a text tower alone: ask for text taps, "
            "and take pictures' features from the CLIP it was trained for",
            f->model_type);
    const char *type = word(&r, "model_type", "clip_vision_model");
    fixed(&r, "num_channels", 3, "RGB");
    if (!f && !strcmp(type, "mobilevit"))
        mobilevit(&r, &c);
    else if (!strcmp(type, "clip_vision_model") || !strcmp(type, "altclip_vision_model") ||
             !strcmp(type, "chinese_clip_vision_model"))
        vit(&r, &c);
    else
        refuse(
            &r, "model_type",
            f ? "\"altclip_vision_model\", \"chinese_clip_vision_model\" or \"clip_vision_model\""
              : "\"clip_vision_model\" or \"mobilevit\"");
    if (r.rc == 0) *out = c;
    return r.rc;
}

int tower_config_text(const struct json *config, struct tower_config *out, struct error *err)
{
    struct tower_config c;
    struct reader r;
    const struct family *f;
    struct family base;
    open_section(config, "text_config", "text_config.", &r, &c, &f, err);
    if (r.rc < 0) return r.rc;
    bool is_student = !f;
    if (is_student) {
        f = family_of_text(word(&r, "model_type", "altclip_text_model"));
        if (!f) refuse(&r, "model_type", "the type of a text tower that clipstill writes");
    } else if (f->form == TEXT_MCLIP) {
        if (json_is_null(r.object)) r = (struct reader){.object = config, .name = "", .err = err};
        f = mclip_base(&(struct reader){.object = config, .name = "", .err = err}, r.object, &base);
        if (err && err->code < 0) return err->code;
    }
    if (r.rc == 0) text(&r, &c, f, is_student);
    if (r.rc == 0) *out = c;
    return r.rc;
}

static struct json *int_array(const int *x, int n)
{
    struct json *a = json_new_array();
    for (int i = 0; i < n; i++) json_push_int(a, x[i]);
    return a;
}

static void write_transformer(struct json *j, const struct tower_config *c)
{
    json_set_int(j, "hidden_size", c->width);
    json_set_int(j, "num_hidden_layers", c->layers);
    json_set_int(j, "num_attention_heads", c->heads);
    json_set_int(j, "intermediate_size", c->mlp);
}

static void write_mobilevit(struct json *j, const struct tower_config *c)
{
    const struct mobilevit_variant *v = mobilevit_find(c->variant);
    json_set_string(j, "model_type", "mobilevit");
    json_set(j, "hidden_sizes", int_array(v->hidden, 3));
    json_set(j, "neck_hidden_sizes", int_array(v->neck, 7));
    json_set_int(j, "num_attention_heads", MOBILEVIT_HEADS);
    json_set_int(j, "expand_ratio", v->expand);
    json_set_int(j, "mlp_ratio", MOBILEVIT_MLP_RATIO);
    json_set_int(j, "patch_size", MOBILEVIT_PATCH);
    json_set_int(j, "image_size", c->image_size);
    json_set_int(j, "num_channels", 3);
}

static void write_vit(struct json *j, const struct tower_config *c)
{
    json_set_string(j, "model_type", "clip_vision_model");
    write_transformer(j, c);
    json_set_int(j, "image_size", c->image_size);
    json_set_int(j, "patch_size", c->patch);
    json_set_int(j, "num_channels", 3);
    json_set_int(j, "projection_dim", c->projection_dim);
}

static void write_text(struct json *j, const struct tower_config *c)
{
    json_set_string(j, "model_type", family_text(c->form)->model_type);
    write_transformer(j, c);
    json_set_int(j, "vocab_size", c->vocab);
    json_set_int(j, "max_position_embeddings", c->max_positions);
    json_set_int(j, "type_vocab_size", c->n_types ? c->n_types : 1);
    if (c->form == TEXT_ALTCLIP) json_set_int(j, "project_dim", c->head_dim);
    if (c->form == TEXT_CLIP && c->eos_id != TOKEN_EOS) json_set_int(j, "eos_token_id", c->eos_id);
    if (c->embed_dim) json_set_int(j, "embedding_size", c->embed_dim);
    if (c->form != TEXT_ALTCLIP) return;
    json_set_string(j, "pooler_fn", c->pooling == POOL_MEAN ? "mean" : "cls");
    json_set_int(j, "pad_token_id", c->pad_id);
    json_set_int(j, "bos_token_id", c->bos_id);
    json_set_int(j, "eos_token_id", c->eos_id);
}

/* The shortest decimal that reads back as this float: 1e-05, not 9.99999974737875e-06. */
static double decimal(float x)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    return strtod(text, NULL);
}

struct json *tower_config_json(const struct tower_config *c)
{
    struct json *j = json_new_object();
    switch (c->arch) {
    case ARCH_VIT: write_vit(j, c); break;
    case ARCH_MOBILEVIT: write_mobilevit(j, c); break;
    case ARCH_TEXT: write_text(j, c); break;
    }
    json_set_string(j, "hidden_act", act_name(c->act));
    json_set_number(j, "layer_norm_eps", decimal(c->eps));
    return j;
}
