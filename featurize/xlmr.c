/* XLM-R (Conneau et al. 2020, arXiv 1911.02116) with AltCLIP's head, as Hugging Face's
 * AltCLIPTextModel computes it: post-LN, bidirectional. Other forms (featurize/family.h) are BERT as
 * in Chinese-CLIP, whose head is y = text_projection(x[[CLS]]) with positions from 0, and M-CLIP,
 * y = LinearTransformation(mean over tokens of x).
 *
 *     x = LayerNorm(word[id] + token_type[0] + position[pos])
 *     x = LN(x + attention(x));  x = LN(x + W2 act(W1 x))                   a block
 *     y = text_projection(transformation(pre_LN(x[<s>])))                   POOL_CLS
 *     y = text_projection(transformation(mean over tokens of pre_LN(x)))    POOL_MEAN
 *
 * Positions start at 2; <pad>, should one stand in a text, has 1. The encoder ends without a norm.
 * POOL_MEAN is the mean of the transformed tokens, as a linear commutes with it.
 *
 * Texts stand one after the other without padding, so that no mask is needed and no row is wasted.
 * With embed_dim (students) word rows are embed_dim wide and embedding_hidden_mapping_in (ALBERT's
 * name, arXiv 1909.11942) takes them to the width before token type, position and LayerNorm are
 * applied; ALBERT maps after the norm, but here positions keep the full width, so that a student
 * can inherit its teacher's.
 */
#include "featurize/xlmr.h"

#include "featurize/family.h"

void xlmr_layout(struct layout *l)
{
    const struct tower_config *c = &l->tower->config;
    const struct family_text *f = family_text(c->form);
    const char *in = f->prefix;
    int64_t d = c->width, word = c->embed_dim ? c->embed_dim : d;
    layout_tensor(l, PARAM_NO_DECAY, 2, (int64_t[]){c->vocab, word}, "%s%s", in, f->word);
    if (c->embed_dim)
        layout_linear(l, d, word, true, "%sembeddings.embedding_hidden_mapping_in", in);
    layout_tensor(l, PARAM_NO_DECAY, 2, (int64_t[]){c->n_types ? c->n_types : 1, d},
                  "%sembeddings.token_type_embeddings.weight", in);
    layout_tensor(l, PARAM_NO_DECAY, 2, (int64_t[]){c->max_positions, d},
                  "%sembeddings.position_embeddings.weight", in);
    layout_norm(l, d, "%sembeddings.LayerNorm", in);
    for (int i = 0; i < c->layers; i++) {
        layout_linear(l, d, d, true, "%sencoder.layer.%d.attention.self.query", in, i);
        layout_linear(l, d, d, true, "%sencoder.layer.%d.attention.self.key", in, i);
        layout_linear(l, d, d, true, "%sencoder.layer.%d.attention.self.value", in, i);
        layout_linear(l, d, d, true, "%sencoder.layer.%d.attention.output.dense", in, i);
        layout_norm(l, d, "%sencoder.layer.%d.attention.output.LayerNorm", in, i);
        layout_linear(l, c->mlp, d, true, "%sencoder.layer.%d.intermediate.dense", in, i);
        layout_linear(l, d, c->mlp, true, "%sencoder.layer.%d.output.dense", in, i);
        layout_norm(l, d, "%sencoder.layer.%d.output.LayerNorm", in, i);
    }
    if (f->norm) layout_norm(l, d, "%s", f->norm);
    if (f->hidden) layout_linear(l, c->head_dim, d, true, "%s", f->hidden);
    layout_linear(l, c->projection_dim, f->hidden ? c->head_dim : d, f->projection_bias, "%s",
                  f->projection);
}

/* Hugging Face's create_position_ids_from_input_ids. */
static int32_t *positions(struct pass *p)
{
    const struct tower_input *in = p->in;
    const struct tower_config *c = &p->tower->config;
    int first = tower_first_position(c), pad = first ? c->pad_id : -1;
    int32_t *pos = exec_alloc(p->e, (size_t)in->offsets[in->n] * sizeof *pos);
    if (!pos) return NULL;
    for (int s = 0; s < in->n; s++) {
        int32_t next = first;
        for (int i = in->offsets[s]; i < in->offsets[s + 1]; i++)
            pos[i] = in->ids[i] == pad ? pad : next++;
    }
    return pos;
}

static struct value *embed(struct pass *p)
{
    const struct tower_input *in = p->in;
    int32_t rows = in->offsets[in->n];
    struct value *x = op_embed(p->e, pass_next(p), rows, in->ids);
    if (p->tower->config.embed_dim) x = pass_linear(p, x, true);
    int type = pass_next(p), position = pass_next(p);
    int32_t *pos = positions(p);
    int32_t *zero = exec_alloc(p->e, (size_t)rows * sizeof *zero);
    if (!pos || !zero) return NULL;
    for (int i = 0; i < rows; i++) zero[i] = 0;
    x = op_add_embed(p->e, x, type, zero);
    x = op_add_embed(p->e, x, position, pos);
    return pass_norm(p, x); // (tokens, D)
}

static struct value *block(struct pass *p, struct value *x, const struct pass_grid *g)
{
    const struct tower_config *c = &p->tower->config;
    x = pass_norm(p, pass_attention(p, x, p->in->n, g->offsets, c->heads, x));
    return pass_norm(p, pass_mlp(p, x, c->act, x));
}

static struct value *head(struct pass *p, struct value *x)
{
    const struct tower_input *in = p->in;
    const struct family_text *f = family_text(p->tower->config.form);
    struct value *y = x;
    if (p->tower->config.pooling == POOL_CLS) {
        y = op_gather(p->e, x, in->n, in->offsets); /* the rows of <s> */
        if (f->norm) y = pass_norm(p, y);
    } else {
        if (f->norm) y = pass_norm(p, x);
        int32_t *all = pass_sequence(p, in->offsets[in->n]);
        if (!all) return NULL;
        y = op_pool(p->e, y, in->n, in->offsets, all);
    }
    if (f->hidden) y = pass_linear(p, y, true);   // (n, head_dim)
    return pass_linear(p, y, f->projection_bias); // (n, projection_dim)
}

void xlmr_forward(struct pass *p)
{
    if (pass_check_texts(p) < 0) return;
    struct pass_grid grid = {.offsets = p->in->offsets};
    size_t mark = exec_mark(p->e);
    struct value *x = pass_blocks(p, mark, embed(p), &grid, block);
    if (!p->final) return;
    mark = exec_mark(p->e);
    pass_final(p, pass_keep(p, mark, NULL, head(p, x)));
}
