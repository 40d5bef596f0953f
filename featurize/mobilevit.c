/* MobileViT (Mehta & Rastegari 2022, arXiv 2110.02178), as Hugging Face's MobileViTModel computes
 * it, with a projection in place of the classifier.
 *
 *     stem: 3x3, stride 2                                                     size/2
 *     layer 0, 1: inverted residuals (1x1 expand, 3x3 depthwise, 1x1 reduce)  size/2, size/4
 *     layer 2, 3, 4: one of stride 2, then MobileViT's block                  size/8, /16, /32
 *     conv_1x1_exp, mean over the picture, visual_projection
 *
 * MobileViT's block: 3x3, 1x1 to the transformer's width; attention between all pixels at one
 * position inside their 2x2 patches, so four sequences a picture; 1x1 back; 3x3 over [input;
 * result]. Every convolution is followed by batch norm and SiLU but for the reducing 1x1 (no SiLU)
 * and the 1x1 into the transformer (neither).
 *
 * Hugging Face stretches a map of odd height or width (a picture of 96, 160 or 224 pixels has one)
 * to an even one and back with bilinear filters. Here a position at the border is simply in fewer
 * patches and its sequence is shorter: the same for even maps, and for odd ones nothing is blurred.
 */
#include "featurize/mobilevit.h"

#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-5f /* nn.BatchNorm2d's, not in any config */

static const struct mobilevit_variant VARIANTS[] = {
    {"xxs", {16, 16, 24, 48, 64, 80, 320}, {64, 80, 96}, {2, 4, 3}, 2},
    {"xs", {16, 32, 48, 64, 80, 96, 384}, {96, 120, 144}, {2, 4, 3}, 4},
    {"s", {16, 32, 64, 96, 128, 160, 640}, {144, 192, 240}, {2, 4, 3}, 4},
};

/* A feature map of every picture: rows n * side * side. */
struct map {
    struct value *x;
    int side;
};

const struct mobilevit_variant *mobilevit_find(const char *name)
{
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++)
        if (!strcmp(VARIANTS[i].name, name)) return &VARIANTS[i];
    return NULL;
}

const struct mobilevit_variant *mobilevit_match(const int hidden[3], const int neck[7])
{
    for (size_t i = 0; i < sizeof VARIANTS / sizeof *VARIANTS; i++)
        if (!memcmp(VARIANTS[i].hidden, hidden, sizeof VARIANTS[i].hidden) &&
            !memcmp(VARIANTS[i].neck, neck, sizeof VARIANTS[i].neck))
            return &VARIANTS[i];
    return NULL;
}

/* HF's make_divisible(channels * expand, 8); the second condition of the original never holds for
 * these widths. */
static int expanded(const struct mobilevit_variant *v, int channels)
{
    return (channels * v->expand + 4) / 8 * 8;
}

static void layout_residual(struct layout *l, const struct mobilevit_variant *v, int in, int out,
                            const char *name)
{
    int wide = expanded(v, in);
    layout_conv(l, wide, in, 1, true, "%s.expand_1x1", name);
    layout_conv(l, wide, 1, 3, true, "%s.conv_3x3", name);
    layout_conv(l, out, wide, 1, true, "%s.reduce_1x1", name);
}

static void layout_transformer(struct layout *l, int width, int index, int layer)
{
    char name[PARAM_NAME_MAX + 1];
    snprintf(name, sizeof name, "vision_model.encoder.layer.%d.transformer.layer.%d", index, layer);
    layout_norm(l, width, "%s.layernorm_before", name);
    layout_linear(l, width, width, true, "%s.attention.attention.query", name);
    layout_linear(l, width, width, true, "%s.attention.attention.key", name);
    layout_linear(l, width, width, true, "%s.attention.attention.value", name);
    layout_linear(l, width, width, true, "%s.attention.output.dense", name);
    layout_norm(l, width, "%s.layernorm_after", name);
    layout_linear(l, MOBILEVIT_MLP_RATIO * width, width, true, "%s.intermediate.dense", name);
    layout_linear(l, width, MOBILEVIT_MLP_RATIO * width, true, "%s.output.dense", name);
}

static void layout_block(struct layout *l, const struct mobilevit_variant *v, int index)
{
    char name[PARAM_NAME_MAX + 1];
    int out = v->neck[index + 1], width = v->hidden[index - 2];
    snprintf(name, sizeof name, "vision_model.encoder.layer.%d.downsampling_layer", index);
    layout_residual(l, v, v->neck[index], out, name);
    layout_conv(l, out, out, 3, true, "vision_model.encoder.layer.%d.conv_kxk", index);
    layout_conv(l, width, out, 1, false, "vision_model.encoder.layer.%d.conv_1x1", index);
    for (int i = 0; i < v->depth[index - 2]; i++) layout_transformer(l, width, index, i);
    layout_norm(l, width, "vision_model.encoder.layer.%d.layernorm", index);
    layout_conv(l, out, width, 1, true, "vision_model.encoder.layer.%d.conv_projection", index);
    layout_conv(l, out, 2 * out, 3, true, "vision_model.encoder.layer.%d.fusion", index);
}

void mobilevit_layout(struct layout *l)
{
    const struct tower_config *c = &l->tower->config;
    const struct mobilevit_variant *v = mobilevit_find(c->variant);
    char name[PARAM_NAME_MAX + 1];
    layout_conv(l, v->neck[0], 3, 3, true, "vision_model.conv_stem");
    for (int index = 0; index < 2; index++)
        for (int i = 0; i < (index == 0 ? 1 : 3); i++) {
            snprintf(name, sizeof name, "vision_model.encoder.layer.%d.layer.%d", index, i);
            layout_residual(l, v, v->neck[i ? index + 1 : index], v->neck[index + 1], name);
        }
    for (int index = 2; index < MOBILEVIT_BLOCKS; index++) layout_block(l, v, index);
    layout_conv(l, v->neck[6], v->neck[5], 1, true, "vision_model.conv_1x1_exp");
    layout_linear(l, c->projection_dim, v->neck[6], false, "visual_projection");
}

/* Batch norm, then SiLU if `act`. */
static struct value *normalise(struct pass *p, struct value *x, bool act)
{
    int gamma = pass_next(p), beta = pass_next(p), mean = pass_next(p), var = pass_next(p);
    x = op_batch_norm(p->e, x, gamma, beta, mean, var, NORM_EPS);
    return act ? op_act(p->e, x, p->tower->config.act) : x;
}

static struct value *conv_1x1(struct pass *p, struct value *x, bool act)
{
    return normalise(p, pass_linear(p, x, false), act);
}

static struct map conv_3x3(struct pass *p, struct map m, int stride)
{
    m.x = op_conv(p->e, m.x, pass_next(p), p->in->n, m.side, m.side, stride);
    m.side = (m.side + stride - 1) / stride;
    m.x = normalise(p, m.x, true);
    return m;
}

static struct map residual(struct pass *p, struct map m, int stride)
{
    size_t mark = exec_mark(p->e);
    struct value *x = conv_1x1(p, m.x, true);
    x = op_depthwise(p->e, x, pass_next(p), p->in->n, m.side, m.side, stride);
    x = conv_1x1(p, normalise(p, x, true), false);
    if (stride == 1 && m.x && x && m.x->cols == x->cols) x = op_add(p->e, m.x, x);
    return (struct map){pass_keep(p, mark, NULL, x), (m.side + stride - 1) / stride};
}

/* The rows of a map, sequence by sequence (four a picture, one for each position inside a patch),
 * and the way back. */
struct unfolding {
    int32_t *offsets; // (n_sequences + 1)
    int32_t *there;   // (rows) rows of the map
    int32_t *back;    // (rows) rows of the sequences
    int n_sequences;
};

static struct unfolding unfold(struct pass *p, int side)
{
    int n = p->in->n, n_rows = n * side * side;
    struct unfolding u = {0};
    u.offsets = exec_alloc(p->e, ((size_t)n * 4 + 1) * sizeof *u.offsets);
    u.there = exec_alloc(p->e, (size_t)n_rows * sizeof *u.there);
    u.back = exec_alloc(p->e, (size_t)n_rows * sizeof *u.back);
    if (!u.offsets || !u.there || !u.back) return (struct unfolding){0};
    int32_t row = 0;
    u.offsets[0] = 0;
    for (int sequence = 0; sequence < 4 * n; sequence++) {
        int base = sequence / 4 * side * side, position = sequence % 4;
        for (int y = position / MOBILEVIT_PATCH; y < side; y += MOBILEVIT_PATCH)
            for (int x = position % MOBILEVIT_PATCH; x < side; x += MOBILEVIT_PATCH) {
                u.there[row] = base + y * side + x;
                u.back[u.there[row]] = row;
                row++;
            }
        if (row > u.offsets[u.n_sequences])
            u.offsets[++u.n_sequences] = row; /* a 1 x 1 map has one */
    }
    return u;
}

static struct value *transformer(struct pass *p, struct value *x, const struct unfolding *u)
{
    x = pass_attention(p, pass_norm(p, x), u->n_sequences, u->offsets, MOBILEVIT_HEADS, x);
    return pass_mlp(p, pass_norm(p, x), p->tower->config.act, x);
}

static struct map block(struct pass *p, struct map m, int depth)
{
    m = residual(p, m, 2);
    size_t outer = exec_mark(p->e);
    struct value *x = conv_3x3(p, m, 1).x;
    x = pass_linear(p, x, false); // (n * side * side, hidden)
    struct unfolding u = unfold(p, m.side);
    if (!u.there || !x) return (struct map){0};
    x = op_gather(p->e, x, x->rows, u.there);
    for (int i = 0; i < depth; i++) {
        size_t mark = exec_mark(p->e);
        x = pass_keep(p, mark, x, transformer(p, x, &u));
    }
    x = pass_norm(p, x);
    x = x ? op_gather(p->e, x, x->rows, u.back) : NULL;
    x = conv_1x1(p, x, true);
    struct map both = {op_concat(p->e, m.x, x), m.side};
    return (struct map){pass_keep(p, outer, NULL, conv_3x3(p, both, 1).x), m.side};
}

/* Encoder layer `index`, 0-based. */
static struct map layer(struct pass *p, struct map m, int index)
{
    const struct mobilevit_variant *v = mobilevit_find(p->tower->config.variant);
    if (index == 0) return residual(p, m, 1);
    if (index > 1) return block(p, m, v->depth[index - 2]);
    m = residual(p, m, 2);
    m = residual(p, m, 1);
    return residual(p, m, 1);
}

static void deliver(struct pass *p, int block_index, struct map m)
{
    int32_t *offsets = pass_uniform(p, p->in->n, (int64_t)m.side * m.side);
    if (!offsets || !m.x) return;
    pass_taps(p, block_index, m.x, &(struct pass_grid){.offsets = offsets, .side = m.side});
}

static struct value *head(struct pass *p, struct map m)
{
    struct value *x = conv_1x1(p, m.x, true);
    int32_t *offsets = pass_uniform(p, p->in->n, (int64_t)m.side * m.side);
    int32_t *all = x ? pass_sequence(p, x->rows) : NULL;
    if (!offsets || !all) return NULL;
    x = op_pool(p->e, x, p->in->n, offsets, all); // (n, neck[6])
    return pass_linear(p, x, false);
}

void mobilevit_forward(struct pass *p)
{
    int side = p->tower->config.image_size, n = p->in->n;
    size_t mark = exec_mark(p->e);
    struct map m = {exec_input(p->e, p->in->pixels, (int64_t)n * side * side, 3), side};
    m = conv_3x3(p, m, 2);
    m.x = pass_keep(p, mark, NULL, m.x);
    deliver(p, 0, m);
    for (int i = 0; i < p->last_block; i++) {
        m = layer(p, m, i);
        deliver(p, i + 1, m);
    }
    if (!p->final) return;
    mark = exec_mark(p->e);
    pass_final(p, pass_keep(p, mark, NULL, head(p, m)));
}
