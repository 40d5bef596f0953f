/* Teachers made up for tests, and what they compute, in plain double precision: AltCLIP, Chinese-CLIP, CLIP and M-CLIP as their Hugging Face modules
 * (modeling_altclip, _chinese_clip, _clip) and M-CLIP's MultilingualCLIP say it. It shares no code and no table with featurize/: names are those of
 * the checkpoints, a patch embedding is a convolution over channels-first pixels, texts stand in a padded batch with masks, every sum is one loop.
 *
 *     struct plain p = {.family = "altclip", .vision = {64, 3, 4, 128, "gelu", 1e-5}, ...};
 *     plain_make(&p);                                   // names and values of all tensors
 *     plain_picture(&p, pixels, hidden, embedding);     // pixels (3, S, S), hidden (layers + 1, tokens, width)
 *     plain_text(&p, ids, n, n_padded, hidden, embedding);
 *     plain_free(&p);
 *
 * Values have seven bits (those around one eight), so that f32, f16 and bf16 hold each of them exactly: one reference for all. Included by a test. */
#ifndef TESTS_PLAINKIT_H
#define TESTS_PLAINKIT_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLAIN_MAX_TENSORS = 1200 };

struct plain_net {
    int width, layers, heads, mlp;
    const char *act;
    double eps;
};

struct plain_tensor {
    char name[112];
    int n_dims;
    int64_t shape[4];
    size_t n;
    float *x;
};

struct plain {
    const char *family; /* config.json's model_type */
    int image, patch;
    struct plain_net vision; /* M-CLIP has none */
    struct plain_net text;
    int projection;
    int project;          /* AltCLIP: text_config.project_dim */
    int vocab, positions;
    int types, pad;       /* not CLIP's */
    int eos;              /* CLIP: eos_token_id; 2 means the highest id, as in old files */
    struct plain_tensor *tensors;
    int n;
    void *room; /* of the pass under way */
};

static inline void *plain_alloc(size_t n_bytes)
{
    void *p = calloc(1, n_bytes ? n_bytes : 1);
    if (!p) abort();
    return p;
}

/* Values of one pass: all are freed together. */
static inline double *plain_room(struct plain *p, int64_t n)
{
    void **block = plain_alloc(sizeof *block * 2 + (size_t)n * sizeof(double));
    *block = p->room;
    p->room = block;
    return (double *)(block + 2);
}

static inline void plain_clear(struct plain *p)
{
    for (void *next; p->room; p->room = next) {
        next = *(void **)p->room;
        free(p->room);
    }
}

static inline void plain_free(struct plain *p)
{
    for (int i = 0; i < p->n; i++) free(p->tensors[i].x);
    free(p->tensors);
    p->tensors = NULL;
    p->n = 0;
}

/* A whole number from -63 to 63, a function of a tensor's name and the place in it. */
static inline int plain_noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (int)(*state >> 40) % 127 - 63;
}

/* base + whole number * unit, unit a power of two. */
static inline void plain_add(struct plain *p, double base, double unit, int n_dims, const int64_t *shape, const char *format, ...)
{
    if (p->n == PLAIN_MAX_TENSORS) abort();
    struct plain_tensor *t = &p->tensors[p->n++];
    va_list ap;
    va_start(ap, format);
    vsnprintf(t->name, sizeof t->name, format, ap);
    va_end(ap);
    t->n_dims = n_dims;
    t->n = 1;
    for (int i = 0; i < n_dims; i++) t->n *= (size_t)(t->shape[i] = shape[i]);
    t->x = plain_alloc(t->n * sizeof *t->x);
    uint64_t state = 14695981039346656037u;
    for (const char *c = t->name; *c; c++) state = (state ^ (uint8_t)*c) * 0x100000001b3u;
    for (size_t i = 0; i < t->n; i++) t->x[i] = (float)(base + plain_noise(&state) * unit);
}

/* Standard deviations of about 1.5 / sqrt(in) for weights and 0.1 for biases: scores and activations of a natural size, so that every part is seen. */
static inline void plain_add_linear(struct plain *p, int64_t out, int64_t in, bool bias, const char *name)
{
    plain_add(p, 0, exp2(-round(log2(36 * sqrt((double)in) / 1.5))), 2, (int64_t[]){out, in}, "%s.weight", name);
    if (bias) plain_add(p, 0, 0x1p-9, 1, &out, "%s.bias", name);
}

static inline void plain_add_norm(struct plain *p, int64_t width, const char *name)
{
    plain_add(p, 1, 0x1p-7, 1, &width, "%s.weight", name);
    plain_add(p, 0, 0x1p-9, 1, &width, "%s.bias", name);
}

/* Where the parts of a block have their names; norm1 and norm2 stand before (CLIP) or behind (BERT) attention and mlp. */
struct plain_names {
    const char *block, *q, *k, *v, *out, *norm1, *up, *down, *norm2;
};
static const struct plain_names PLAIN_CLIP = {"encoder.layers", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj",
                                              "layer_norm1", "mlp.fc1", "mlp.fc2", "layer_norm2"};
static const struct plain_names PLAIN_BERT = {"encoder.layer", "attention.self.query", "attention.self.key", "attention.self.value",
                                              "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense",
                                              "output.LayerNorm"};

static inline const char *plain_name(const char *prefix, const struct plain_names *names, int layer, const char *part)
{
    static char name[4][112];
    static int turn;
    char *s = name[turn++ % 4];
    snprintf(s, sizeof name[0], "%s%s.%d.%s", prefix, names->block, layer, part);
    return s;
}

static inline void plain_add_blocks(struct plain *p, const struct plain_net *net, const char *prefix, const struct plain_names *names)
{
    int64_t d = net->width;
    for (int i = 0; i < net->layers; i++) {
        const char *square[] = {names->q, names->k, names->v, names->out};
        for (int k = 0; k < 4; k++) plain_add_linear(p, d, d, true, plain_name(prefix, names, i, square[k]));
        plain_add_norm(p, d, plain_name(prefix, names, i, names->norm1));
        plain_add_linear(p, net->mlp, d, true, plain_name(prefix, names, i, names->up));
        plain_add_linear(p, d, net->mlp, true, plain_name(prefix, names, i, names->down));
        plain_add_norm(p, d, plain_name(prefix, names, i, names->norm2));
    }
}

static inline bool plain_is(const struct plain *p, const char *family)
{
    return !strcmp(p->family, family);
}

static inline const char *plain_text_prefix(const struct plain *p)
{
    return plain_is(p, "altclip") ? "text_model.roberta." : plain_is(p, "M-CLIP") ? "transformer." : "text_model.";
}

static inline void plain_make(struct plain *p)
{
    const char *in = plain_text_prefix(p);
    char name[112];
    int64_t d = p->text.width, v = p->vision.width, side = v ? p->image / p->patch : 0;
    bool is_clip = plain_is(p, "clip");
    p->tensors = plain_alloc(PLAIN_MAX_TENSORS * sizeof *p->tensors);
    plain_add(p, 0, 0x1p-6, 2, (int64_t[]){p->vocab, d}, "%sembeddings.%s.weight", in, is_clip ? "token_embedding" : "word_embeddings");
    plain_add(p, 0, 0x1p-6, 2, (int64_t[]){p->positions, d}, "%sembeddings.position_embedding%s.weight", in, is_clip ? "" : "s");
    if (!is_clip) {
        plain_add(p, 0, 0x1p-6, 2, (int64_t[]){p->types, d}, "%sembeddings.token_type_embeddings.weight", in);
        snprintf(name, sizeof name, "%sembeddings.LayerNorm", in);
        plain_add_norm(p, d, name);
    }
    plain_add_blocks(p, &p->text, in, is_clip ? &PLAIN_CLIP : &PLAIN_BERT);
    if (is_clip) plain_add_norm(p, d, "text_model.final_layer_norm");
    if (plain_is(p, "altclip")) {
        plain_add_norm(p, d, "text_model.pre_LN");
        plain_add_linear(p, p->project, d, true, "text_model.transformation");
        d = p->project;
    }
    plain_add_linear(p, p->projection, d, plain_is(p, "M-CLIP"), plain_is(p, "M-CLIP") ? "LinearTransformation" : "text_projection");
    if (!v) return;
    plain_add(p, 0, exp2(-round(log2(36 * sqrt(3.0) * p->patch / 1.5))), 4, (int64_t[]){v, 3, p->patch, p->patch},
              "vision_model.embeddings.patch_embedding.weight");
    plain_add(p, 0, 0x1p-6, 1, &v, "vision_model.embeddings.class_embedding");
    plain_add(p, 0, 0x1p-6, 2, (int64_t[]){side * side + 1, v}, "vision_model.embeddings.position_embedding.weight");
    plain_add_norm(p, v, "vision_model.pre_layrnorm");
    plain_add_blocks(p, &p->vision, "vision_model.", &PLAIN_CLIP);
    plain_add_norm(p, v, "vision_model.post_layernorm");
    plain_add_linear(p, p->projection, v, false, "visual_projection");
    plain_add(p, 2.5, 0, 0, NULL, "logit_scale");
}

static inline const float *plain_find(const struct plain *p, const char *format, ...)
{
    char name[112];
    va_list ap;
    va_start(ap, format);
    vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->tensors[i].name, name)) return p->tensors[i].x;
    printf("# the reference has no tensor %s\n", name);
    exit(1);
}

static inline double *plain_linear(struct plain *p, const double *x, int rows, int in, int out, bool bias, const char *name)
{
    const float *w = plain_find(p, "%s.weight", name), *b = bias ? plain_find(p, "%s.bias", name) : NULL;
    double *y = plain_room(p, (int64_t)rows * out);
    for (int i = 0; i < rows; i++)
        for (int o = 0; o < out; o++) {
            double sum = b ? b[o] : 0;
#pragma omp simd reduction(+ : sum)
            for (int k = 0; k < in; k++) sum += x[(int64_t)i * in + k] * w[(int64_t)o * in + k];
            y[(int64_t)i * out + o] = sum;
        }
    return y;
}

static inline double *plain_norm(struct plain *p, const double *x, int rows, int width, double eps, const char *name)
{
    const float *weight = plain_find(p, "%s.weight", name), *bias = plain_find(p, "%s.bias", name);
    double *y = plain_room(p, (int64_t)rows * width);
    for (int64_t i = 0; i < rows; i++) {
        double mean = 0, variance = 0;
        for (int k = 0; k < width; k++) mean += x[i * width + k] / width;
        for (int k = 0; k < width; k++) variance += (x[i * width + k] - mean) * (x[i * width + k] - mean) / width;
        for (int k = 0; k < width; k++) y[i * width + k] = (x[i * width + k] - mean) / sqrt(variance + eps) * weight[k] + bias[k];
    }
    return y;
}

/* By the names of Hugging Face's ACT2FN. */
static inline double plain_act(const char *act, double x)
{
    if (!strcmp(act, "gelu") || !strcmp(act, "gelu_python")) return x * 0.5 * (1 + erf(x / sqrt(2.0)));
    if (!strcmp(act, "quick_gelu")) return x / (1 + exp(-1.702 * x));
    if (!strcmp(act, "relu")) return x > 0 ? x : 0;
    if (!strcmp(act, "silu") || !strcmp(act, "swish")) return x / (1 + exp(-x));
    if (!strcmp(act, "gelu_new") || !strcmp(act, "gelu_pytorch_tanh") || !strcmp(act, "gelu_fast") || !strcmp(act, "gelu_accurate"))
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    printf("# the reference has no activation %s\n", act);
    exit(1);
}

/* Which columns a row may look at. */
struct plain_mask {
    int n_real; /* columns from here on are padding */
    bool causal;
};

static inline double *plain_attention(struct plain *p, const struct plain_net *net, const double *x, int rows, const struct plain_mask *mask,
                                      const char *prefix, const struct plain_names *names, int layer)
{
    int width = net->width, d = width / net->heads;
    const double *q = plain_linear(p, x, rows, width, width, true, plain_name(prefix, names, layer, names->q));
    const double *k = plain_linear(p, x, rows, width, width, true, plain_name(prefix, names, layer, names->k));
    const double *v = plain_linear(p, x, rows, width, width, true, plain_name(prefix, names, layer, names->v));
    double *y = plain_room(p, (int64_t)rows * width), *score = plain_room(p, rows);
    for (int h = 0; h < net->heads; h++)
        for (int i = 0; i < rows; i++) {
            double most = -INFINITY, sum = 0;
            for (int j = 0; j < rows; j++) {
                score[j] = j < mask->n_real && (!mask->causal || j <= i) ? 0 : -INFINITY;
                for (int c = 0; c < d; c++) score[j] += q[i * width + h * d + c] * k[j * width + h * d + c] / sqrt((double)d);
                if (score[j] > most) most = score[j];
            }
            for (int j = 0; j < rows; j++) sum += exp(score[j] - most);
            for (int j = 0; j < rows; j++)
                for (int c = 0; c < d; c++) y[i * width + h * d + c] += exp(score[j] - most) / sum * v[j * width + h * d + c];
        }
    return plain_linear(p, y, rows, width, width, true, plain_name(prefix, names, layer, names->out));
}

static inline double *plain_mlp(struct plain *p, const struct plain_net *net, const double *x, int rows, const char *prefix,
                                const struct plain_names *names, int layer)
{
    double *h = plain_linear(p, x, rows, net->width, net->mlp, true, plain_name(prefix, names, layer, names->up));
    for (int64_t i = 0; i < (int64_t)rows * net->mlp; i++) h[i] = plain_act(net->act, h[i]);
    return plain_linear(p, h, rows, net->mlp, net->width, true, plain_name(prefix, names, layer, names->down));
}

/* All blocks; x becomes what leaves the last. // x (rows, width), hidden (layers + 1, rows, width) */
static inline void plain_blocks(struct plain *p, const struct plain_net *net, double *x, int rows, const struct plain_mask *mask, const char *prefix,
                                const struct plain_names *names, double *hidden)
{
    int64_t n = (int64_t)rows * net->width;
    bool before = names == &PLAIN_CLIP;
    memcpy(hidden, x, (size_t)n * sizeof *x);
    for (int layer = 0; layer < net->layers; layer++) {
        for (int half = 0; half < 2; half++) {
            const char *norm = plain_name(prefix, names, layer, half ? names->norm2 : names->norm1);
            const double *in = before ? plain_norm(p, x, rows, net->width, net->eps, norm) : x;
            const double *y = half ? plain_mlp(p, net, in, rows, prefix, names, layer)
                                   : plain_attention(p, net, in, rows, mask, prefix, names, layer);
            for (int64_t i = 0; i < n; i++) x[i] += y[i];
            if (!before) memcpy(x, plain_norm(p, x, rows, net->width, net->eps, plain_name(prefix, names, layer, half ? names->norm2 : names->norm1)),
                                (size_t)n * sizeof *x);
        }
        memcpy(hidden + (layer + 1) * n, x, (size_t)n * sizeof *x);
    }
}

static inline int plain_tokens(const struct plain *p)
{
    return (p->image / p->patch) * (p->image / p->patch) + 1;
}

/* // pixels (3, S, S), hidden (layers + 1, tokens, width), embedding (projection) */
static inline void plain_picture(struct plain *p, const double *pixels, double *hidden, double *embedding)
{
    int width = p->vision.width, side = p->image / p->patch, tokens = plain_tokens(p), patch = p->patch;
    const float *kernel = plain_find(p, "vision_model.embeddings.patch_embedding.weight");
    const float *class = plain_find(p, "vision_model.embeddings.class_embedding");
    const float *position = plain_find(p, "vision_model.embeddings.position_embedding.weight");
    double *x = plain_room(p, (int64_t)tokens * width);
    for (int c = 0; c < width; c++) x[c] = class[c];
    for (int t = 1; t < tokens; t++)
        for (int c = 0; c < width; c++)
            for (int channel = 0; channel < 3; channel++)
                for (int i = 0; i < patch; i++)
                    for (int j = 0; j < patch; j++) {
                        int row = (t - 1) / side * patch + i, column = (t - 1) % side * patch + j;
                        x[t * width + c] += kernel[((c * 3 + channel) * patch + i) * patch + j] *
                                            pixels[((int64_t)channel * p->image + row) * p->image + column];
                    }
    for (int64_t i = 0; i < (int64_t)tokens * width; i++) x[i] += position[i];
    x = plain_norm(p, x, tokens, width, p->vision.eps, "vision_model.pre_layrnorm");
    plain_blocks(p, &p->vision, x, tokens, &(struct plain_mask){tokens, false}, "vision_model.", &PLAIN_CLIP, hidden);
    x = plain_norm(p, x, 1, width, p->vision.eps, "vision_model.post_layernorm");
    memcpy(embedding, plain_linear(p, x, 1, width, p->projection, false, "visual_projection"), (size_t)p->projection * sizeof *embedding);
    plain_clear(p);
}

/* Word, position and type of every token, padding included. */
static inline double *plain_embed(struct plain *p, const int32_t *ids, int rows)
{
    const char *in = plain_text_prefix(p);
    int width = p->text.width, seen = 0;
    bool is_clip = plain_is(p, "clip"), shifts = plain_is(p, "altclip") || plain_is(p, "M-CLIP");
    const float *word = plain_find(p, "%sembeddings.%s.weight", in, is_clip ? "token_embedding" : "word_embeddings");
    const float *position = plain_find(p, "%sembeddings.position_embedding%s.weight", in, is_clip ? "" : "s");
    const float *type = is_clip ? NULL : plain_find(p, "%sembeddings.token_type_embeddings.weight", in);
    double *x = plain_room(p, (int64_t)rows * width);
    for (int i = 0; i < rows; i++) {
        seen += ids[i] != p->pad; /* create_position_ids_from_input_ids: cumsum(mask) * mask + padding_idx */
        int at = shifts ? seen * (ids[i] != p->pad) + p->pad : i;
        for (int c = 0; c < width; c++)
            x[i * width + c] = (double)word[(int64_t)ids[i] * width + c] + position[(int64_t)at * width + c] + (type ? type[c] : 0);
    }
    char name[112];
    snprintf(name, sizeof name, "%sembeddings.LayerNorm", in);
    return is_clip ? x : plain_norm(p, x, rows, width, p->text.eps, name);
}

/* The row that CLIPTextTransformer takes. */
static inline int plain_end(const struct plain *p, const int32_t *ids, int rows)
{
    int at = 0;
    if (p->eos == 2)
        for (int i = 0; i < rows; i++) at = ids[i] > ids[at] ? i : at;
    else
        for (int i = rows; i-- > 0;) at = ids[i] == p->eos ? i : at;
    return at;
}

/* A text of n tokens in a batch whose longest has n_padded. // hidden (layers + 1, n_padded, width), embedding (projection) */
static inline void plain_text(struct plain *p, const int32_t *ids, int n, int n_padded, double *hidden, double *embedding)
{
    int width = p->text.width;
    bool is_clip = plain_is(p, "clip"), is_mclip = plain_is(p, "M-CLIP");
    int32_t *padded = plain_alloc((size_t)n_padded * sizeof *padded);
    for (int i = 0; i < n_padded; i++) padded[i] = i < n ? ids[i] : p->pad;
    double *x = plain_embed(p, padded, n_padded);
    plain_blocks(p, &p->text, x, n_padded, &(struct plain_mask){n, is_clip}, plain_text_prefix(p), is_clip ? &PLAIN_CLIP : &PLAIN_BERT, hidden);
    if (is_clip) x = plain_norm(p, x, n_padded, width, p->text.eps, "text_model.final_layer_norm") + plain_end(p, padded, n_padded) * width;
    if (plain_is(p, "altclip")) {
        x = plain_norm(p, x, n_padded, width, p->text.eps, "text_model.pre_LN");
        x = plain_linear(p, x, n_padded, width, p->project, true, "text_model.transformation");
        width = p->project;
    }
    for (int i = 1; is_mclip && i < n; i++)
        for (int c = 0; c < width; c++) x[c] += x[i * width + c];
    for (int c = 0; is_mclip && c < width; c++) x[c] /= n;
    x = plain_linear(p, x, 1, width, p->projection, is_mclip, is_mclip ? "LinearTransformation" : "text_projection");
    memcpy(embedding, x, (size_t)p->projection * sizeof *embedding);
    free(padded);
    plain_clear(p);
}

#endif
