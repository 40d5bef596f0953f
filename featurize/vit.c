/* CLIP's vision transformer, pre-LN, as Hugging Face's CLIPVisionModel and AltCLIPVisionModel
 * compute it (Radford et al. 2021, arXiv 2103.00020; Dosovitskiy et al. 2021, arXiv 2010.11929).
 *
 *     x = pre_layrnorm([class; patches W] + positions)      (spelled so in every checkpoint)
 *     x += attention(layer_norm1(x));  x += fc2(act(fc1(layer_norm2(x))))    a block
 *     y = visual_projection(post_layernorm(x[class]))       only the class token gets the last norm
 *
 * The patch embedding is a convolution with stride = kernel, which is a linear over patches: its
 * weight [D, 3, p, p] is used as [D, 3*p*p], so that a patch's pixels are laid out channel by
 * channel. As in PyTorch, pixels right of and below the last whole patch are not looked at.
 */
#include "featurize/vit.h"

static int side(const struct tower_config *c)
{
    return c->image_size / c->patch;
}

void vit_layout(struct layout *l)
{
    const struct tower_config *c = &l->tower->config;
    int64_t d = c->width, tokens = (int64_t)side(c) * side(c);
    layout_tensor(l, PARAM_DECAY, 4, (int64_t[]){d, 3, c->patch, c->patch},
                  "vision_model.embeddings.patch_embedding.weight");
    layout_tensor(l, PARAM_NO_DECAY, 1, &d, "vision_model.embeddings.class_embedding");
    layout_tensor(l, PARAM_NO_DECAY, 2, (int64_t[]){tokens + 1, d},
                  "vision_model.embeddings.position_embedding.weight");
    layout_norm(l, d, "vision_model.pre_layrnorm");
    for (int i = 0; i < c->layers; i++) {
        layout_norm(l, d, "vision_model.encoder.layers.%d.layer_norm1", i);
        layout_linear(l, d, d, true, "vision_model.encoder.layers.%d.self_attn.q_proj", i);
        layout_linear(l, d, d, true, "vision_model.encoder.layers.%d.self_attn.k_proj", i);
        layout_linear(l, d, d, true, "vision_model.encoder.layers.%d.self_attn.v_proj", i);
        layout_linear(l, d, d, true, "vision_model.encoder.layers.%d.self_attn.out_proj", i);
        layout_norm(l, d, "vision_model.encoder.layers.%d.layer_norm2", i);
        layout_linear(l, c->mlp, d, true, "vision_model.encoder.layers.%d.mlp.fc1", i);
        layout_linear(l, d, c->mlp, true, "vision_model.encoder.layers.%d.mlp.fc2", i);
    }
    layout_norm(l, d, "vision_model.post_layernorm");
    layout_linear(l, c->projection_dim, d, false, "visual_projection");
}

/* The pixels of one patch, channel-major; `from` is its upper left pixel in a picture `size` wide. */
static void one_patch(const float *from, int size, int patch, float *to)
{
    for (int channel = 0; channel < 3; channel++)
        for (int y = 0; y < patch; y++)
            for (int x = 0; x < patch; x++) *to++ = from[3 * ((int64_t)y * size + x) + channel];
}

static struct value *patches(struct pass *p)
{
    const struct tower_config *c = &p->tower->config;
    int64_t n_side = side(c), cols = 3 * (int64_t)c->patch * c->patch;
    struct value *v = exec_value(p->e, p->in->n * n_side * n_side, cols);
    if (!v) return NULL;
    v->needs_grad = false; /* pixels */
    float *to = v->x;
    for (int i = 0; i < p->in->n; i++) {
        const float *picture = p->in->pixels + 3 * (int64_t)i * c->image_size * c->image_size;
        for (int64_t y = 0; y < n_side; y++)
            for (int64_t x = 0; x < n_side; x++, to += cols)
                one_patch(picture + 3 * (y * c->patch * c->image_size + x * c->patch),
                          c->image_size, c->patch, to);
    }
    return v; // (n * N, 3 * p * p)
}

static struct value *embed(struct pass *p, int tokens)
{
    int n = p->in->n;
    struct value *x = pass_linear(p, patches(p), false);
    x = op_prepend(p->e, x, pass_next(p), n);
    int position = pass_next(p);
    int32_t *index = exec_alloc(p->e, (size_t)n * (size_t)tokens * sizeof *index);
    if (!index) return NULL;
    for (int i = 0; i < n * tokens; i++) index[i] = i % tokens;
    x = op_add_embed(p->e, x, position, index);
    return pass_norm(p, x); // (n * (N + 1), D)
}

static struct value *block(struct pass *p, struct value *x, const struct pass_grid *g)
{
    const struct tower_config *c = &p->tower->config;
    x = pass_attention(p, pass_norm(p, x), p->in->n, g->offsets, c->heads, x);
    return pass_mlp(p, pass_norm(p, x), c->act, x);
}

void vit_forward(struct pass *p)
{
    const struct tower_config *c = &p->tower->config;
    int tokens = side(c) * side(c) + 1;
    int32_t *offsets = pass_uniform(p, p->in->n, tokens);
    if (!offsets) return;
    struct pass_grid grid = {.offsets = offsets, .side = side(c), .skip = 1};
    size_t mark = exec_mark(p->e);
    struct value *x = pass_blocks(p, mark, embed(p, tokens), &grid, block);
    if (!p->final) return;
    mark = exec_mark(p->e);
    struct value *y = op_gather(p->e, x, p->in->n, offsets); /* row offsets[i] is a class token */
    y = pass_linear(p, pass_norm(p, y), false);
    pass_final(p, pass_keep(p, mark, NULL, y));
}
