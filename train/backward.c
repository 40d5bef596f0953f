/* Gradients by reversing the tape; see backward.h. One function a kind of operation, in the order
 * of enum op_kind, the equation above it; dX means the gradient of the loss with respect to X.
 * Every function adds to what is there: a value may be used several times. Norms are in backnorm.c. */
#include "train/backward.h"

#include <math.h>
#include <string.h>

#include "featurize/conv.h"
#include "featurize/depthwise.h"
#include "featurize/gemm.h"
#include "featurize/op.h"
#include "featurize/vecmath.h"
#include "train/backnorm.h"

struct pass {
    struct exec *e;
    const uint8_t *trainable;
    float *grads;
};

static bool is_trained(const struct pass *p, int param)
{
    return param >= 0 && p->e->params->table[param].kind != PARAM_BUFFER &&
           (!p->trainable || p->trainable[param]);
}

/* Where the gradient of a parameter goes; NULL when it is not trained. */
static float *grad_of(const struct pass *p, int param)
{
    return is_trained(p, param) ? p->grads + p->e->params->table[param].offset : NULL;
}

/* v->dx for a function that can overwrite as well as add: *beta = 0 when nothing is there yet. */
static float *grad_target(struct exec *e, struct value *v, float *beta)
{
    if (!v->needs_grad) return NULL;
    *beta = v->dx ? 1.0f : 0.0f;
    if (!v->dx) v->dx = exec_alloc(e, (size_t)v->rows * (size_t)v->cols * sizeof *v->dx);
    return v->dx;
}

/* Temporary memory is given back by hand: exec_release does nothing while a tape is kept. */
static void give_back(struct exec *e, size_t mark)
{
    e->arena_used = mark;
}

static size_t size_of(const struct value *v)
{
    return (size_t)v->rows * (size_t)v->cols;
}

/* Y = X W^T + b:  dW += dY^T X,  db += column sums of dY,  dX += dY W */
static void backward_linear(struct pass *p, const struct node *node)
{
    struct exec *e = p->e;
    struct value *x = node->in[0], *y = node->out;
    float *dw = grad_of(p, node->weight), *db = grad_of(p, node->bias), beta;
    if (dw && gemm_product(e->gemm, e->numerics, true, false, y->cols, x->cols, x->rows, 1, y->dx,
                           y->cols, x->x, x->cols, 1, dw, x->cols, &e->error) < 0)
        return;
    if (db) backnorm_column_sums(y->rows, (size_t)y->cols, y->dx, db);
    float *dx = grad_target(e, x, &beta);
    if (dx && gemm_product(e->gemm, e->numerics, false, false, x->rows, x->cols, y->cols, 1, y->dx,
                           y->cols, params_at(e->params, node->weight), x->cols, beta, dx, x->cols,
                           &e->error) < 0)
        return;
}

static void backward_layer_norm(struct pass *p, const struct node *node)
{
    struct value *x = node->in[0];
    float *dx = exec_grad(p->e, x);
    size_t mark = p->e->arena_used;
    float *sums = exec_alloc(p->e, 2 * (size_t)x->cols * sizeof *sums); // (2, D)
    if (sums)
        backnorm_layer(x->rows, (size_t)x->cols, x->x, node->out->dx,
                       params_at(p->e->params, node->weight), node->saved, sums, dx,
                       grad_of(p, node->weight), grad_of(p, node->bias));
    give_back(p->e, mark);
}

static void backward_batch_norm(struct pass *p, const struct node *node)
{
    struct value *x = node->in[0];
    float *dx = exec_grad(p->e, x);
    size_t mark = p->e->arena_used, cols = (size_t)x->cols;
    float *sums = exec_alloc(p->e, 3 * cols * sizeof *sums);      // (3, C)
    double *totals = exec_alloc(p->e, 2 * cols * sizeof *totals); // (2, C)
    if (sums && totals)
        backnorm_batch(x->rows, cols, x->x, node->out->dx, params_at(p->e->params, node->weight),
                       node->saved, node->eps, sums, totals, dx, grad_of(p, node->weight),
                       grad_of(p, node->bias));
    give_back(p->e, mark);
}

/* Y = f(X):  dX += dY f'(X) */
static void backward_act(struct pass *p, const struct node *node)
{
    struct value *x = node->in[0];
    const float *dy = node->out->dx;
    float *dx = exec_grad(p->e, x);
    size_t n = size_of(x);
    if (!dx) return;
    switch ((enum act)node->aux[0]) {
    case ACT_NONE: vec_add(n, dy, dx); break;
    case ACT_GELU: vec_gelu_backward(n, x->x, dy, dx); break;
    case ACT_QUICK_GELU: vec_swish_backward(n, 1.702f, x->x, dy, dx); break;
    case ACT_SILU: vec_swish_backward(n, 1.0f, x->x, dy, dx); break;
    case ACT_RELU: vec_relu_backward(n, x->x, dy, dx); break;
    case ACT_GELU_TANH: vec_gelu_tanh_backward(n, x->x, dy, dx); break;
    }
}

static void add_to(struct pass *p, struct value *v, const float *dy)
{
    float *dx = exec_grad(p->e, v);
    if (dx) vec_add(size_of(v), dy, dx);
}

/* One head of one sequence. P = softmax(s Q K^T), Y = P V, s = 1 / sqrt(d):
 *     dV += P^T dY,   dP = dY V^T,   dS = s P (dP - row sums of P dP),   dQ += dS K,   dK += dS^T Q
 *     */
struct head {
    int64_t length, d, stride;
    const float *q, *k, *v, *p, *dy;
    float *dq, *dk, *dv;
};

static int backward_head(struct exec *e, const struct head *h, float *ds)
{
    int64_t length = h->length, d = h->d, stride = h->stride;
    float scale = 1.0f / sqrtf((float)d);
    int rc = 0;
    if (h->dv)
        rc = gemm_product(e->gemm, NUMERICS_F32, true, false, length, d, length, 1, h->p, length,
                          h->dy, stride, 1, h->dv, stride, &e->error);
    if (rc < 0 || (!h->dq && !h->dk)) return rc;
    rc = gemm_product(e->gemm, NUMERICS_F32, false, true, length, length, d, 1, h->dy, stride, h->v,
                      stride, 0, ds, length, &e->error);
    if (rc < 0) return rc;
    for (int64_t i = 0; i < length; i++)
        vec_softmax_backward((size_t)length, scale, h->p + i * length, ds + i * length);
    if (h->dq)
        rc = gemm_product(e->gemm, NUMERICS_F32, false, false, length, d, length, 1, ds, length,
                          h->k, stride, 1, h->dq, stride, &e->error);
    if (rc == 0 && h->dk)
        rc = gemm_product(e->gemm, NUMERICS_F32, true, false, length, d, length, 1, ds, length,
                          h->q, stride, 1, h->dk, stride, &e->error);
    return rc;
}

static void backward_attention(struct pass *p, const struct node *node)
{
    struct exec *e = p->e;
    struct value *q = node->in[0], *k = node->in[1], *v = node->in[2];
    float *dq = exec_grad(e, q), *dk = exec_grad(e, k), *dv = exec_grad(e, v);
    int n = node->aux[0], heads = node->aux[1];
    int64_t longest = 0, stride = q->cols, d = q->cols / heads;
    for (int s = 0; s < n; s++) {
        int64_t length = node->offset[s + 1] - node->offset[s];
        if (length > longest) longest = length;
    }
    size_t mark = e->arena_used;
    float *ds = exec_alloc(e, (size_t)(longest * longest) * sizeof *ds); // (T, T)
    const float *saved = node->saved;
    for (int s = 0; ds && s < n; s++) {
        int64_t length = node->offset[s + 1] - node->offset[s];
        for (int h = 0; h < heads; h++, saved += length * length) {
            int64_t at = node->offset[s] * stride + h * d;
            struct head head = {.length = length,
                                .d = d,
                                .stride = stride,
                                .q = q->x + at,
                                .k = k->x + at,
                                .v = v->x + at,
                                .p = saved,
                                .dy = node->out->dx + at,
                                .dq = dq ? dq + at : NULL,
                                .dk = dk ? dk + at : NULL,
                                .dv = dv ? dv + at : NULL};
            if (backward_head(e, &head, ds) < 0) return;
        }
    }
    give_back(e, mark);
}

/* Y[i] = T[index[i]]:  dT[index[i]] += dY[i], in order of i; index -1 was a row of zeros. */
static void scatter(int64_t n, size_t cols, const int32_t *index, const float *dy, float *table)
{
    for (int64_t i = 0; i < n; i++)
        if (index[i] >= 0) vec_add(cols, dy + (size_t)i * cols, table + (size_t)index[i] * cols);
}

static void backward_embed(struct pass *p, const struct node *node)
{
    float *dw = grad_of(p, node->weight);
    if (dw) scatter(node->n_index, (size_t)node->out->cols, node->index, node->out->dx, dw);
}

static void backward_gather(struct pass *p, const struct node *node)
{
    float *dx = exec_grad(p->e, node->in[0]);
    if (dx) scatter(node->n_index, (size_t)node->out->cols, node->index, node->out->dx, dx);
}

/* Y[i] = mean of m rows X[index[j]]:  dX[index[j]] += dY[i] / m */
static void backward_pool(struct pass *p, const struct node *node)
{
    const struct value *y = node->out;
    float *dx = exec_grad(p->e, node->in[0]);
    for (int64_t i = 0; dx && i < y->rows; i++) {
        float scale = 1.0f / (float)(node->offset[i + 1] - node->offset[i]);
        for (int32_t j = node->offset[i]; j < node->offset[i + 1]; j++)
            vec_axpy((size_t)y->cols, scale, y->dx + i * y->cols, dx + node->index[j] * y->cols);
    }
}

/* Y = [A B]:  dA and dB += their columns of dY */
static void backward_concat(struct pass *p, const struct node *node)
{
    const struct value *y = node->out;
    int64_t column = 0;
    for (int k = 0; k < 2; k++) {
        struct value *x = node->in[k];
        float *dx = exec_grad(p->e, x);
        for (int64_t i = 0; dx && i < y->rows; i++)
            vec_add((size_t)x->cols, y->dx + i * y->cols + column, dx + i * x->cols);
        column += x->cols;
    }
}

/* Y = a parameter row before each group of X:  dw += first rows of dY,  dX += the others */
static void backward_prepend(struct pass *p, const struct node *node)
{
    const struct value *y = node->out;
    struct value *x = node->in[0];
    float *dw = grad_of(p, node->weight), *dx = exec_grad(p->e, x);
    int64_t n = node->aux[0], group = x->rows / n * x->cols;
    for (int64_t i = 0; i < n; i++) {
        const float *dy = y->dx + i * (group + x->cols);
        if (dw) vec_add((size_t)x->cols, dy, dw);
        if (dx) vec_add((size_t)group, dy + x->cols, dx + i * group);
    }
}

/* Both gradients are oneDNN's; the one of the input comes whole and is added when there is
 * something already. */
static void backward_conv(struct pass *p, const struct node *node)
{
    struct exec *e = p->e;
    struct value *x = node->in[0], *y = node->out;
    const struct param *w = &e->params->table[node->weight];
    struct conv_shape s = {.height = node->aux[1],
                           .width = node->aux[2],
                           .in = (int)w->shape[1],
                           .out = (int)w->shape[0],
                           .kernel = (int)w->shape[2],
                           .stride = node->aux[3]};
    float *dw = grad_of(p, node->weight), beta;
    if (dw && conv_backward_weights(e->conv, &s, node->aux[0], x->x, y->dx, dw, &e->error) < 0)
        return;
    float *dx = grad_target(e, x, &beta);
    if (!dx) return;
    size_t mark = e->arena_used;
    float *fresh = beta == 0 ? dx : exec_alloc(e, size_of(x) * sizeof *fresh);
    if (!fresh || conv_backward_data(e->conv, &s, node->aux[0], y->dx,
                                     params_at(e->params, node->weight), fresh, &e->error) < 0)
        return;
    if (fresh != dx) vec_add(size_of(x), fresh, dx);
    give_back(e, mark);
}

static void backward_depthwise(struct pass *p, const struct node *node)
{
    struct exec *e = p->e;
    struct value *x = node->in[0];
    struct depthwise_shape s = {.batch = node->aux[0],
                                .height = node->aux[1],
                                .width = node->aux[2],
                                .channels = (int)x->cols,
                                .stride = node->aux[3]};
    float *dw = grad_of(p, node->weight), *dx = exec_grad(e, x);
    if (dx) depthwise_backward_data(&s, node->out->dx, node->saved, dx);
    size_t mark = e->arena_used, n = 9 * (size_t)x->cols;
    float *taps = dw ? exec_alloc(e, 2 * n * sizeof *taps) : NULL; // (2, 9, C)
    if (!taps) return;
    memset(taps, 0, n * sizeof *taps);
    depthwise_backward_weights(&s, x->x, node->out->dx, taps, taps + n);
    depthwise_untap(s.channels, taps, dw);
    give_back(e, mark);
}

static void backward_node(struct pass *p, const struct node *node)
{
    switch (node->kind) {
    case OP_LINEAR: backward_linear(p, node); break;
    case OP_LAYER_NORM: backward_layer_norm(p, node); break;
    case OP_BATCH_NORM: backward_batch_norm(p, node); break;
    case OP_ACT: backward_act(p, node); break;
    case OP_ADD:
        add_to(p, node->in[0], node->out->dx);
        add_to(p, node->in[1], node->out->dx);
        break;
    case OP_ATTENTION: backward_attention(p, node); break;
    case OP_EMBED: backward_embed(p, node); break;
    case OP_ADD_EMBED:
        backward_embed(p, node);
        add_to(p, node->in[0], node->out->dx);
        break;
    case OP_GATHER: backward_gather(p, node); break;
    case OP_POOL: backward_pool(p, node); break;
    case OP_CONCAT: backward_concat(p, node); break;
    case OP_PREPEND: backward_prepend(p, node); break;
    case OP_CONV: backward_conv(p, node); break;
    case OP_DEPTHWISE: backward_depthwise(p, node); break;
    case OP_KINDS: break;
    }
}

/* A value needs a gradient when something trained lies at or below the operation that made it. */
static void mark_needs(struct pass *p)
{
    for (int i = 0; i < p->e->n_nodes; i++) {
        const struct node *node = &p->e->nodes[i];
        bool needs = is_trained(p, node->weight) || is_trained(p, node->bias);
        for (int k = 0; k < 3; k++) needs |= node->in[k] && node->in[k]->needs_grad;
        node->out->needs_grad = needs;
    }
}

int backward(struct exec *e, const uint8_t *trainable, float *grads, struct error *err)
{
    struct pass p = {.e = e, .trainable = trainable, .grads = grads};
    mark_needs(&p);
    for (int i = e->n_nodes - 1; i >= 0 && !e->error.code; i--) {
        const struct node *node = &e->nodes[i];
        if (node->out->needs_grad && node->out->dx) backward_node(&p, node);
    }
    return exec_failed(e, err);
}
