/* CLIP's text transformer, pre-LN and causal, as Hugging Face's CLIPTextModelWithProjection
 * computes it (Radford et al. 2021, arXiv 2103.00020).
 *
 *     x = token[id] + position[i]
 *     x += attention(layer_norm1(x));  x += fc2(act(fc1(layer_norm2(x))))    a block
 *     y = text_projection(final_layer_norm(x[end]))
 *
 * `end` is the first row of eos_id; where that is 2, as in old files, the first row with the highest
 * id of the text: in CLIP's vocabulary that is <|endoftext|>. As each row looks backwards only,
 * nothing behind it matters, and texts need no padding. With embed_dim (students) word rows are narrower, as in xlmr.c.
 */
#include "featurize/cliptext.h"

#include "featurize/family.h"

void cliptext_layout(struct layout *l)
{
    const struct tower_config *c = &l->tower->config;
    const struct family_text *f = family_text(c->form);
    int64_t d = c->width, word = c->embed_dim ? c->embed_dim : d;
    layout_tensor(l, PARAM_NO_DECAY, 2, (int64_t[]){c->vocab, word}, "%s%s", f->prefix, f->word);
    if (c->embed_dim)
        layout_linear(l, d, word, true, "%sembeddings.embedding_hidden_mapping_in", f->prefix);
    layout_tensor(l, PARAM_NO_DECAY, 2, (int64_t[]){c->max_positions, d},
                  "%sembeddings.position_embedding.weight", f->prefix);
    for (int i = 0; i < c->layers; i++) {
        layout_norm(l, d, "%sencoder.layers.%d.layer_norm1", f->prefix, i);
        layout_linear(l, d, d, true, "%sencoder.layers.%d.self_attn.q_proj", f->prefix, i);
        layout_linear(l, d, d, true, "%sencoder.layers.%d.self_attn.k_proj", f->prefix, i);
        layout_linear(l, d, d, true, "%sencoder.layers.%d.self_attn.v_proj", f->prefix, i);
        layout_linear(l, d, d, true, "%sencoder.layers.%d.self_attn.out_proj", f->prefix, i);
        layout_norm(l, d, "%sencoder.layers.%d.layer_norm2", f->prefix, i);
        layout_linear(l, c->mlp, d, true, "%sencoder.layers.%d.mlp.fc1", f->prefix, i);
        layout_linear(l, d, c->mlp, true, "%sencoder.layers.%d.mlp.fc2", f->prefix, i);
    }
    layout_norm(l, d, "%s", f->norm);
    layout_linear(l, c->projection_dim, d, f->projection_bias, "%s", f->projection);
}

static struct value *embed(struct pass *p)
{
    const struct tower_input *in = p->in;
    int32_t rows = in->offsets[in->n];
    struct value *x = op_embed(p->e, pass_next(p), rows, in->ids);
    if (p->tower->config.embed_dim) x = pass_linear(p, x, true);
    int position = pass_next(p);
    int32_t *pos = exec_alloc(p->e, (size_t)rows * sizeof *pos);
    if (!pos) return NULL;
    for (int s = 0; s < in->n; s++)
        for (int i = in->offsets[s]; i < in->offsets[s + 1]; i++) pos[i] = i - in->offsets[s];
    return op_add_embed(p->e, x, position, pos); // (tokens, D)
}

static struct value *block(struct pass *p, struct value *x, const struct pass_grid *g)
{
    const struct tower_config *c = &p->tower->config;
    struct value *h = pass_norm(p, x);
    struct value *q = pass_linear(p, h, true);
    struct value *k = pass_linear(p, h, true);
    struct value *v = pass_linear(p, h, true);
    struct value *y = op_causal_attention(p->e, q, k, v, p->in->n, g->offsets, c->heads);
    x = op_add(p->e, x, pass_linear(p, y, true));
    return pass_mlp(p, pass_norm(p, x), c->act, x);
}

/* The row of each text that its embedding is taken from; the first where there is no end. */
static int32_t *end_rows(struct pass *p)
{
    const struct tower_input *in = p->in;
    int32_t *row = exec_alloc(p->e, (size_t)in->n * sizeof *row), end = p->tower->config.eos_id;
    for (int s = 0; row && s < in->n; s++) {
        row[s] = in->offsets[s];
        for (int i = in->offsets[s]; i < in->offsets[s + 1]; i++)
            if (end == TOKEN_EOS ? in->ids[i] > in->ids[row[s]]
                                 : in->ids[i] == end && in->ids[row[s]] != end)
                row[s] = i;
    }
    return row;
}

void cliptext_forward(struct pass *p)
{
    if (pass_check_texts(p) < 0) return;
    struct pass_grid grid = {.offsets = p->in->offsets};
    size_t mark = exec_mark(p->e);
    struct value *x = pass_blocks(p, mark, embed(p), &grid, block);
    if (!p->final) return;
    mark = exec_mark(p->e);
    int32_t *rows = end_rows(p);
    if (!rows) return;
    struct value *y = pass_norm(p, op_gather(p->e, x, p->in->n, rows));
    y = pass_linear(p, y, family_text(p->tower->config.form)->projection_bias);
    pass_final(p, pass_keep(p, mark, NULL, y)); // (n, projection_dim)
}
