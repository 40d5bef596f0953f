/* Forward operations; see op.h for the equations and train/backward.c for their gradients. Each
 * function checks its shapes, makes the output, computes it and, when the exec trains, leaves a
 * node with what the gradient needs. node->aux by kind:
 *   OP_BATCH_NORM   running mean, running variance (parameter indices)     OP_ACT   enum act
 *   OP_ATTENTION    sequences, heads          OP_PREPEND   groups          OP_CONV, OP_DEPTHWISE  
 *   batch, height, width, stride
 * Linear layers are in oplinear.c, norms in opnorm.c, attention in attention.c, the depthwise convolution in depthwise.c. */
#include "featurize/op.h"

#include <string.h>

#include "featurize/conv.h"
#include "featurize/depthwise.h"
#include "featurize/gemm.h"
#include "featurize/vecmath.h"

static const struct {
    const char *name;
    enum act act;
} ACT_NAMES[] = {
    {"none", ACT_NONE},
    {"gelu", ACT_GELU},
    {"quick_gelu", ACT_QUICK_GELU},
    {"silu", ACT_SILU},
    {"swish", ACT_SILU},
    {"relu", ACT_RELU},
    {"gelu_new", ACT_GELU_TANH},
    {"gelu_pytorch_tanh", ACT_GELU_TANH},
    {"gelu_fast", ACT_GELU_TANH}, /* Hugging Face's: the same formula, written differently */
    {"gelu_accurate", ACT_GELU_TANH},
    {"gelu_python", ACT_GELU},
};

const char *act_names(void)
{
    return "gelu, quick_gelu, silu, swish, relu, gelu_new, gelu_pytorch_tanh, gelu_fast, "
           "gelu_accurate or gelu_python";
}

int act_of_name(const char *name, struct error *err)
{
    for (size_t i = 1; i < sizeof ACT_NAMES / sizeof *ACT_NAMES; i++)
        if (!strcmp(name, ACT_NAMES[i].name)) return (int)ACT_NAMES[i].act;
    return error_set(err, ERR_DATA, "activation \"%s\" is not known: expected %s", name,
                     act_names());
}

const char *act_name(enum act act)
{
    for (size_t i = 0; i < sizeof ACT_NAMES / sizeof *ACT_NAMES; i++)
        if (ACT_NAMES[i].act == act) return ACT_NAMES[i].name;
    return "none";
}

static const float *weight_at(const struct exec *e, int i)
{
    return i < 0 ? NULL : params_at(e->params, i);
}

static int32_t *copy_index(struct exec *e, const int32_t *index, int64_t n)
{
    int32_t *copy = exec_alloc(e, (size_t)n * sizeof *copy);
    if (copy) memcpy(copy, index, (size_t)n * sizeof *copy);
    return copy;
}

/* Indices must lie in [low, rows). */
static bool index_in_range(struct exec *e, const char *what, const int32_t *index, int64_t n,
                           int32_t low, int64_t rows)
{
    for (int64_t i = 0; i < n; i++)
        if (index[i] < low || index[i] >= rows) {
            exec_fail(e, ERR_DATA, "%s: row %d is asked for, there are %lld", what, index[i],
                      (long long)rows);
            return false;
        }
    return true;
}

struct value *op_act(struct exec *e, struct value *x, enum act act)
{
    if (!x || e->error.code) return NULL;
    struct value *y = exec_value(e, x->rows, x->cols);
    if (!y) return NULL;
    activation_run(act, (size_t)x->rows * (size_t)x->cols, x->x, y->x);
    struct node *node = exec_record(e, OP_ACT);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->aux[0] = (int)act;
    }
    return y;
}

struct value *op_add(struct exec *e, struct value *a, struct value *b)
{
    if (!a || !b || e->error.code) return NULL;
    if (a->rows != b->rows || a->cols != b->cols) {
        exec_fail(e, ERR_DATA, "a sum of %lld x %lld and %lld x %lld", (long long)a->rows,
                  (long long)a->cols, (long long)b->rows, (long long)b->cols);
        return NULL;
    }
    struct value *y = exec_value(e, a->rows, a->cols);
    if (!y) return NULL;
    vec_sum_of_two((size_t)a->rows * (size_t)a->cols, a->x, b->x, y->x);
    struct node *node = exec_record(e, OP_ADD);
    if (node) {
        node->in[0] = a;
        node->in[1] = b;
        node->out = y;
    }
    return y;
}

struct value *op_embed(struct exec *e, int weight, int64_t n, const int32_t *index)
{
    if (e->error.code) return NULL;
    const struct param *w = &e->params->table[weight];
    int64_t cols = (int64_t)w->n / w->shape[0];
    if (!index_in_range(e, w->name, index, n, 0, w->shape[0])) return NULL;
    struct value *y = exec_value(e, n, cols);
    if (!y) return NULL;
    for (int64_t i = 0; i < n; i++) {
        float *to = y->x + i * cols;
        const float *row = params_row(e->params, weight, index[i], to);
        if (row != to) memcpy(to, row, (size_t)cols * sizeof *to);
    }
    struct node *node = exec_record(e, OP_EMBED);
    if (node) {
        node->out = y;
        node->weight = weight;
        node->index = copy_index(e, index, n);
        node->n_index = n;
    }
    return y;
}

struct value *op_add_embed(struct exec *e, struct value *x, int weight, const int32_t *index)
{
    if (!x || e->error.code) return NULL;
    const struct param *w = &e->params->table[weight];
    int64_t cols = (int64_t)w->n / w->shape[0];
    if (!index_in_range(e, w->name, index, x->rows, 0, w->shape[0])) return NULL;
    if (cols != x->cols) {
        exec_fail(e, ERR_DATA, "%s has %lld columns, what it is added to %lld", w->name,
                  (long long)cols, (long long)x->cols);
        return NULL;
    }
    struct value *y = exec_value(e, x->rows, cols);
    if (!y) return NULL;
    for (int64_t i = 0; i < x->rows; i++) {
        float *to = y->x + i * cols;
        vec_sum_of_two((size_t)cols, x->x + i * cols, params_row(e->params, weight, index[i], to),
                       to);
    }
    struct node *node = exec_record(e, OP_ADD_EMBED);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->weight = weight;
        node->index = copy_index(e, index, x->rows);
        node->n_index = x->rows;
    }
    return y;
}

struct value *op_gather(struct exec *e, struct value *x, int64_t n, const int32_t *index)
{
    if (!x || e->error.code) return NULL;
    if (!index_in_range(e, "gather", index, n, -1, x->rows)) return NULL;
    struct value *y = exec_value(e, n, x->cols);
    if (!y) return NULL;
    size_t line = (size_t)x->cols * sizeof *y->x;
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0)
            memset(y->x + i * x->cols, 0, line);
        else
            memcpy(y->x + i * x->cols, x->x + index[i] * x->cols, line);
    struct node *node = exec_record(e, OP_GATHER);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->index = copy_index(e, index, n);
        node->n_index = n;
    }
    return y;
}

struct value *op_pool(struct exec *e, struct value *x, int64_t n, const int32_t *offsets,
                      const int32_t *index)
{
    if (!x || e->error.code) return NULL;
    for (int64_t i = 0; i < n; i++)
        if (offsets[i + 1] <= offsets[i]) {
            exec_fail(e, ERR_DATA, "pool: the mean of no rows is asked for at %lld", (long long)i);
            return NULL;
        }
    if (!index_in_range(e, "pool", index + offsets[0], offsets[n] - offsets[0], 0, x->rows))
        return NULL;
    struct value *y = exec_value(e, n, x->cols);
    if (!y) return NULL;
    memset(y->x, 0, (size_t)n * (size_t)x->cols * sizeof *y->x);
    for (int64_t i = 0; i < n; i++) {
        float scale = 1.0f / (float)(offsets[i + 1] - offsets[i]);
        for (int32_t j = offsets[i]; j < offsets[i + 1]; j++)
            vec_axpy((size_t)x->cols, scale, x->x + index[j] * x->cols, y->x + i * x->cols);
    }
    struct node *node = exec_record(e, OP_POOL);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->offset = copy_index(e, offsets, n + 1);
        node->index = copy_index(e, index, offsets[n]);
        node->n_index = offsets[n];
    }
    return y;
}

struct value *op_concat(struct exec *e, struct value *a, struct value *b)
{
    if (!a || !b || e->error.code) return NULL;
    if (a->rows != b->rows) {
        exec_fail(e, ERR_DATA, "columns of %lld rows beside columns of %lld rows",
                  (long long)a->rows, (long long)b->rows);
        return NULL;
    }
    int64_t cols = a->cols + b->cols;
    struct value *y = exec_value(e, a->rows, cols);
    if (!y) return NULL;
    for (int64_t i = 0; i < a->rows; i++) {
        memcpy(y->x + i * cols, a->x + i * a->cols, (size_t)a->cols * sizeof *y->x);
        memcpy(y->x + i * cols + a->cols, b->x + i * b->cols, (size_t)b->cols * sizeof *y->x);
    }
    struct node *node = exec_record(e, OP_CONCAT);
    if (node) {
        node->in[0] = a;
        node->in[1] = b;
        node->out = y;
    }
    return y;
}

struct value *op_prepend(struct exec *e, struct value *x, int weight, int64_t n)
{
    if (!x || e->error.code) return NULL;
    const struct param *w = &e->params->table[weight];
    if (n <= 0 || x->rows % n || (int64_t)w->n != x->cols) {
        exec_fail(e, ERR_DATA, "%s of %zu values before %lld groups of %lld x %lld", w->name, w->n,
                  (long long)n, (long long)x->rows, (long long)x->cols);
        return NULL;
    }
    int64_t group = x->rows / n * x->cols; /* floats */
    struct value *y = exec_value(e, x->rows + n, x->cols);
    if (!y) return NULL;
    for (int64_t i = 0; i < n; i++) {
        float *to = y->x + i * (group + x->cols);
        memcpy(to, weight_at(e, weight), w->n * sizeof *to);
        memcpy(to + x->cols, x->x + i * group, (size_t)group * sizeof *to);
    }
    struct node *node = exec_record(e, OP_PREPEND);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->weight = weight;
        node->aux[0] = (int)n;
    }
    return y;
}

struct value *op_conv(struct exec *e, struct value *x, int weight, int batch, int height, int width,
                      int stride)
{
    if (!x || e->error.code) return NULL;
    const struct param *w = &e->params->table[weight];
    if (w->n_dims != 4 || w->shape[1] != x->cols || w->shape[2] != w->shape[3] ||
        x->rows != (int64_t)batch * height * width) {
        exec_fail(e, ERR_DATA,
                  "%s cannot be applied to %d pictures of %d x %d with %lld rows of %lld channels",
                  w->name, batch, height, width, (long long)x->rows, (long long)x->cols);
        return NULL;
    }
    struct conv_shape s = {.height = height,
                           .width = width,
                           .in = (int)w->shape[1],
                           .out = (int)w->shape[0],
                           .kernel = (int)w->shape[2],
                           .stride = stride};
    struct value *y = exec_value(e, (int64_t)batch * conv_out_height(&s) * conv_out_width(&s),
                                 s.out);
    if (!y) return NULL;
    int key = e->packed ? weight : -1;
    if (conv_forward(e->conv, &s, batch, x->x, weight_at(e, weight), key, y->x, &e->error) < 0)
        return NULL;
    struct node *node = exec_record(e, OP_CONV);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->weight = weight;
        int aux[4] = {batch, height, width, stride};
        memcpy(node->aux, aux, sizeof aux);
    }
    return y;
}

struct value *op_depthwise(struct exec *e, struct value *x, int weight, int batch, int height,
                           int width, int stride)
{
    if (!x || e->error.code) return NULL;
    const struct param *w = &e->params->table[weight];
    if ((int64_t)w->n != 9 * x->cols || x->rows != (int64_t)batch * height * width) {
        exec_fail(e, ERR_DATA,
                  "%s cannot be applied to %d pictures of %d x %d with %lld rows of %lld channels",
                  w->name, batch, height, width, (long long)x->rows, (long long)x->cols);
        return NULL;
    }
    struct depthwise_shape s = {.batch = batch,
                                .height = height,
                                .width = width,
                                .channels = (int)x->cols,
                                .stride = stride};
    struct value *y = exec_value(
        e, (int64_t)batch * depthwise_out(height, stride) * depthwise_out(width, stride), x->cols);
    size_t mark = exec_mark(e);
    float *taps = exec_alloc(e, w->n * sizeof *taps); // (9, C)
    if (!y || !taps) return NULL;
    depthwise_taps(s.channels, weight_at(e, weight), taps);
    depthwise_forward(&s, x->x, taps, y->x);
    struct node *node = exec_record(e, OP_DEPTHWISE);
    if (node) {
        node->in[0] = x;
        node->out = y;
        node->weight = weight;
        node->saved = taps;
        int aux[4] = {batch, height, width, stride};
        memcpy(node->aux, aux, sizeof aux);
    }
    exec_release(e, mark);
    return y;
}
