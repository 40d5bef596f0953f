/* What the forward passes of all architectures share; see pass.h. */
#include "featurize/pass.h"

#include <assert.h>
#include <string.h>

int pass_next(struct pass *p)
{
    assert(p->next < p->tower->n_slots);
    return p->tower->slot[p->next++];
}

struct value *pass_linear(struct pass *p, struct value *x, bool bias)
{
    int w = pass_next(p);
    int b = bias ? pass_next(p) : -1;
    return op_linear(p->e, x, w, b);
}

struct value *pass_norm(struct pass *p, struct value *x)
{
    int gamma = pass_next(p), beta = pass_next(p);
    return op_layer_norm(p->e, x, gamma, beta, p->tower->config.eps);
}

/* A linear whose output only products read. */
static struct value *operand(struct pass *p, struct value *x, enum act act)
{
    int w = pass_next(p), b = pass_next(p);
    return op_linear_act(p->e, x, w, b, act);
}

static struct value *linear_add(struct pass *p, struct value *x, struct value *onto)
{
    int w = pass_next(p), b = pass_next(p);
    return op_linear_add(p->e, x, w, b, onto);
}

struct value *pass_attention(struct pass *p, struct value *x, int n, const int32_t *offsets,
                             int heads, struct value *onto)
{
    struct value *q = operand(p, x, ACT_NONE);
    struct value *k = operand(p, x, ACT_NONE);
    struct value *v = operand(p, x, ACT_NONE);
    return linear_add(p, op_attention(p->e, q, k, v, n, offsets, heads), onto);
}

struct value *pass_mlp(struct pass *p, struct value *x, enum act act, struct value *onto)
{
    struct value *h = operand(p, x, act);
    return linear_add(p, h, onto);
}

struct value *pass_keep(struct pass *p, size_t mark, struct value *into, struct value *y)
{
    if (!y || p->e->mode == EXEC_TRAIN) return y;
    struct value from = *y; /* y itself may be overwritten by what is made at the mark */
    exec_release(p->e, mark);
    if (into == y) return y;
    size_t n = (size_t)from.rows * (size_t)from.cols;
    if (!into) {
        into = exec_value(p->e, from.rows, from.cols);
        if (from.half && !exec_add_half(p->e, into)) return NULL;
    }
    if (!into) return NULL;
    assert(into->rows == from.rows && into->cols == from.cols);
    memmove(into->x, from.x, n * sizeof *from.x); /* x lies before half in both: none is lost */
    into->stale = from.stale || !from.half;
    if (from.half && into->half) memmove(into->half, from.half, n * sizeof *from.half);
    return into;
}

int pass_check_texts(struct pass *p)
{
    const struct tower_config *c = &p->tower->config;
    const struct tower_input *in = p->in;
    int most = tower_max_tokens(c);
    for (int s = 0; s < in->n; s++) {
        int length = in->offsets[s + 1] - in->offsets[s];
        if (in->offsets[0] != 0 || length < 1 || length > most) {
            exec_fail(p->e, ERR_DATA, "text %d has %d tokens; this tower takes 1 to %d", s, length,
                      most);
            return ERR_DATA;
        }
    }
    return 0;
}

int32_t *pass_uniform(struct pass *p, int n, int64_t rows)
{
    int32_t *offsets = exec_alloc(p->e, ((size_t)n + 1) * sizeof *offsets);
    for (int i = 0; offsets && i <= n; i++) offsets[i] = (int32_t)(i * rows);
    return offsets;
}

int32_t *pass_sequence(struct pass *p, int64_t n)
{
    int32_t *index = exec_alloc(p->e, (size_t)n * sizeof *index);
    for (int64_t i = 0; index && i < n; i++) index[i] = (int32_t)i;
    return index;
}

static struct value *tap_hidden(struct pass *p, struct value *x)
{
    if (!x || p->e->mode == EXEC_TRAIN) return x;
    struct value *y = exec_value(p->e, x->rows, x->cols);
    if (y) memcpy(y->x, x->x, (size_t)x->rows * (size_t)x->cols * sizeof *x->x);
    return y;
}

static struct value *tap_mean(struct pass *p, struct value *x, const struct pass_grid *g)
{
    size_t mark = exec_mark(p->e);
    int32_t *index = x ? pass_sequence(p, x->rows) : NULL;
    if (!index) return NULL;
    return pass_keep(p, mark, NULL, op_pool(p->e, x, p->in->n, g->offsets, index));
}

/* Cell i of `cells` over `side`: first and past-the-last token. */
static int cell_begin(int i, int side, int cells)
{
    return (int)((int64_t)i * side / cells);
}

static int cell_end(int i, int side, int cells)
{
    return (int)(((int64_t)(i + 1) * side + cells - 1) / cells);
}

/* Writes the rows of all cells of one picture, whose first token is row `first`; returns how many. */
static int32_t grid_rows(const struct pass_grid *g, int cells, int32_t first, int32_t *offset,
                         int32_t *index, int32_t n)
{
    for (int gy = 0; gy < cells; gy++)
        for (int gx = 0; gx < cells; gx++) {
            *offset++ = n;
            for (int y = cell_begin(gy, g->side, cells); y < cell_end(gy, g->side, cells); y++)
                for (int x = cell_begin(gx, g->side, cells); x < cell_end(gx, g->side, cells); x++)
                    index[n++] = first + y * g->side + x;
        }
    return n;
}

static struct value *tap_grid(struct pass *p, struct value *x, const struct pass_grid *g, int cells)
{
    size_t mark = exec_mark(p->e);
    size_t line = 0; /* tokens of all cells along one axis; neighbouring cells may share one */
    for (int i = 0; i < cells; i++)
        line += (size_t)(cell_end(i, g->side, cells) - cell_begin(i, g->side, cells));
    size_t n_cells = (size_t)p->in->n * (size_t)cells * (size_t)cells;
    int32_t *offset = exec_alloc(p->e, (n_cells + 1) * sizeof *offset);
    int32_t *index = exec_alloc(p->e, (size_t)p->in->n * line * line * sizeof *index);
    if (!x || !offset || !index) return NULL;
    int32_t n = 0;
    for (int i = 0; i < p->in->n; i++)
        n = grid_rows(g, cells, g->offsets[i] + g->skip, offset + (size_t)i * cells * cells, index,
                      n);
    offset[n_cells] = n;
    return pass_keep(p, mark, NULL, op_pool(p->e, x, (int64_t)n_cells, offset, index));
}

void pass_taps(struct pass *p, int block, struct value *x, const struct pass_grid *g)
{
    for (int i = 0; i < p->n_taps; i++) {
        const struct tap *tap = &p->taps[i];
        if (tap->kind == TAP_FINAL || tap->block != block) continue;
        if (tap->kind == TAP_HIDDEN) p->out[i] = tap_hidden(p, x);
        if (tap->kind == TAP_MEAN) p->out[i] = tap_mean(p, x, g);
        if (tap->kind == TAP_GRID) p->out[i] = tap_grid(p, x, g, tap->grid);
    }
}

struct value *pass_blocks(struct pass *p, size_t mark, struct value *x, const struct pass_grid *g,
                          pass_block *block)
{
    x = pass_keep(p, mark, NULL, x);
    pass_taps(p, 0, x, g);
    for (int i = 1; i <= p->last_block; i++) {
        mark = exec_mark(p->e);
        x = pass_keep(p, mark, x, block(p, x, g));
        pass_taps(p, i, x, g);
    }
    return x;
}

void pass_final(struct pass *p, struct value *y)
{
    for (int i = 0; i < p->n_taps; i++)
        if (p->taps[i].kind == TAP_FINAL) p->out[i] = y;
}
