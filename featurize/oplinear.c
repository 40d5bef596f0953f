/* Linear layers of op.h. In training a layer, its activation and its sum are operations of their
 * own, with a node each; in inference one call of gemm_linear does them together, and in bf16 what
 * only products will read is written in bf16 once instead of being rounded by each reader. */
#include "featurize/gemm.h"
#include "featurize/op.h"

/* Checks shapes and fills what every layer has; false after a failure. */
static bool layer_of(struct exec *e, const struct value *x, int weight, int bias,
                     struct gemm_layer *l)
{
    const struct param *w = &e->params->table[weight];
    *l = (struct gemm_layer){.numerics = e->numerics,
                             .packed = e->packed,
                             .weight = weight,
                             .n = w->shape[0],
                             .k = (int64_t)w->n / w->shape[0],
                             .w = params_at(e->params, weight),
                             .b = bias < 0 ? NULL : params_at(e->params, bias)};
    if (l->k == x->cols) return true;
    exec_fail(e, ERR_DATA, "%s takes %lld columns, its input has %lld", w->name, (long long)l->k,
              (long long)x->cols);
    return false;
}

#define ROWS_STEP 6 /* tiles have multiples of it */

struct linear_job {
    const struct gemm_layer *layer;
    int64_t m;
    struct rows x, y;
};

static struct rows skip(struct rows r, int64_t n)
{
    return (struct rows){r.x ? r.x + n : NULL, r.half ? r.half + n : NULL};
}

static int linear_part(void *ctx, struct gemm *g, int thread, int64_t first, int64_t end,
                       struct error *err)
{
    const struct linear_job *j = ctx;
    (void)thread;
    return gemm_linear(g, j->layer, end - first, skip(j->x, first * j->layer->k),
                       skip(j->y, first * j->layer->n), err);
}

/* Blocks of columns instead: each thread reads its own weights alone. */
static int block_part(void *ctx, struct gemm *g, int thread, int64_t first, int64_t end,
                      struct error *err)
{
    const struct linear_job *j = ctx;
    struct gemm_layer part = *j->layer;
    (void)thread;
    part.first_block = first;
    part.end_block = end;
    return gemm_linear(g, &part, j->m, j->x, j->y, err);
}

/* How busy n units of work keep a team, at most 1. */
static double busy(int64_t n, int64_t n_team)
{
    return (double)n / (double)(n_team * ((n + n_team - 1) / n_team));
}

static int run_layer(struct exec *e, const struct gemm_layer *l, int64_t m, struct rows x,
                     struct rows y)
{
    struct linear_job job = {l, m, x, y};
    int64_t n_blocks = gemm_blocks(l);
    if (n_blocks > 1 && m > 0 &&
        busy(n_blocks, e->n_team) >= busy((m + ROWS_STEP - 1) / ROWS_STEP, e->n_team))
        return exec_split(e, n_blocks, 1, block_part, &job);
    return exec_split(e, m, ROWS_STEP, linear_part, &job);
}

static struct rows rows_of(const struct value *x)
{
    return x->half && !x->stale ? (struct rows){.half = x->half} : (struct rows){.x = x->x};
}

struct value *op_linear(struct exec *e, struct value *x, int weight, int bias)
{
    struct gemm_layer l;
    if (!x || e->error.code || !layer_of(e, x, weight, bias, &l)) return NULL;
    struct value *y = exec_value(e, x->rows, l.n);
    if (!y) return NULL;
    if (run_layer(e, &l, x->rows, rows_of(x), (struct rows){.x = y->x}) < 0) return NULL;
    struct node *node = exec_record(e, OP_LINEAR);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->weight = weight;
        node->bias = bias;
    }
    return y;
}

struct value *op_linear_act(struct exec *e, struct value *x, int weight, int bias, enum act act)
{
    struct gemm_layer l;
    if (e->mode == EXEC_TRAIN) {
        struct value *y = op_linear(e, x, weight, bias);
        return act == ACT_NONE ? y : op_act(e, y, act);
    }
    if (!x || e->error.code || !layer_of(e, x, weight, bias, &l)) return NULL;
    l.act = act;
    struct value *y = exec_operand(e, x->rows, l.n);
    if (!y || run_layer(e, &l, x->rows, rows_of(x), rows_of(y)) < 0) return NULL;
    return y;
}

struct value *op_linear_add(struct exec *e, struct value *x, int weight, int bias,
                            struct value *onto)
{
    struct gemm_layer l;
    if (e->mode == EXEC_TRAIN) return op_add(e, onto, op_linear(e, x, weight, bias));
    if (!x || !onto || e->error.code || !layer_of(e, x, weight, bias, &l)) return NULL;
    if (onto->rows != x->rows || onto->cols != l.n) {
        exec_fail(e, ERR_DATA, "a sum of %lld x %lld and %lld x %lld", (long long)onto->rows,
                  (long long)onto->cols, (long long)x->rows, (long long)l.n);
        return NULL;
    }
    l.add = true;
    onto->stale = true;
    if (run_layer(e, &l, x->rows, rows_of(x), (struct rows){.x = onto->x}) < 0) return NULL;
    return onto;
}
