/* Every gradient against central differences. A case builds a small network whose inputs are
 * parameters too (op_embed of a table), so that one check covers weights and inputs; its loss is
 * sum c y with fixed c, summed in double.
 *
 * Differences are of fourth order, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h with h = 0.02: for
 * values about 1 the truncation error is below 1e-5 and the f32 rounding of y (6e-8 each, some
 * hundred of them) gives about 1e-4, so the tolerance is 1e-3 (1 + |gradient|). */
#include "tests/check.h"

#include <stdint.h>

#include "featurize/gemm.h"
#include "featurize/op.h"
#include "featurize/vecmath.h"
#include "store/memory.h"
#include "train/backward.h"

#define MAX_INPUTS  6
#define STEP        0.02f
#define TOLERANCE   1e-3
#define MAX_CHECKED 40 /* values a parameter */

static uint64_t state = 1;

static float uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

struct net {
    struct params p;
    struct value *(*run)(struct exec *e, const struct net *net);
    int at[MAX_INPUTS]; /* parameters, in order of declaration */
    int n;
    int aux[4];
};

static int declare_as(struct net *net, enum param_kind kind, int n_dims, const int64_t *shape)
{
    char name[20];
    snprintf(name, sizeof name, "p%d", net->n);
    net->at[net->n] = params_add(&net->p, name, kind, n_dims, shape, NULL);
    if (net->at[net->n] < 0) abort();
    return net->at[net->n++];
}

#define DECLARE(net, ...)                                                                          \
    declare_as(net, PARAM_DECAY, (int)(sizeof(int64_t[]){__VA_ARGS__} / 8),                        \
               (int64_t[]){__VA_ARGS__})

static void fill(struct net *net)
{
    if (params_allocate(&net->p, NULL) < 0) abort();
    for (int i = 0; i < net->p.n; i++)
        for (size_t j = 0; j < net->p.table[i].n; j++) params_at(&net->p, i)[j] = uniform();
}

/* All rows of a parameter as a value. */
static struct value *input(struct exec *e, const struct net *net, int which)
{
    int32_t index[4096];
    int n = (int)net->p.table[net->at[which]].shape[0];
    for (int i = 0; i < n; i++) index[i] = i;
    return op_embed(e, net->at[which], n, index);
}

/* The fixed coefficient of y[i]. */
static float coefficient(int64_t i)
{
    return sinf(1.0f + 2.3f * (float)i);
}

static double loss_of(struct exec *e, const struct net *net)
{
    exec_reset(e);
    const struct value *y = net->run(e, net);
    if (!y) return NAN;
    double sum = 0;
    for (int64_t i = 0; i < y->rows * y->cols; i++) sum += (double)coefficient(i) * y->x[i];
    return sum;
}

static int gradients_of(struct exec *e, const struct net *net, const uint8_t *trainable,
                        float *grads, struct error *err)
{
    exec_reset(e);
    struct value *y = net->run(e, net);
    float *dy = y ? exec_grad(e, y) : NULL;
    if (!dy) return exec_failed(e, err) ? e->error.code : ERR_DATA;
    for (int64_t i = 0; i < y->rows * y->cols; i++) dy[i] += coefficient(i);
    memset(grads, 0, net->p.n_floats * sizeof *grads);
    return backward(e, trainable, grads, err);
}

static double difference(struct exec *e, struct net *net, float *w)
{
    float old = *w;
    double f[4];
    static const float at[4] = {-2 * STEP, -STEP, STEP, 2 * STEP};
    for (int k = 0; k < 4; k++) {
        *w = old + at[k];
        f[k] = loss_of(e, net);
    }
    *w = old;
    return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * (double)STEP);
}

static void check_gradients(struct net *net)
{
    struct error err = {0};
    struct exec *e = exec_new(EXEC_TRAIN, NUMERICS_F32, &err);
    CHECK(e);
    exec_bind(e, &net->p, NULL);
    float *grads = memory_array(net->p.n_floats, sizeof *grads, MEMORY_MAX_TENSOR, &err);
    float *again = memory_array(net->p.n_floats, sizeof *again, MEMORY_MAX_TENSOR, &err);
    CHECK_OK(gradients_of(e, net, NULL, grads, &err), &err);
    CHECK_OK(gradients_of(e, net, NULL, again, &err), &err);
    CHECK(!memcmp(grads, again, net->p.n_floats * sizeof *grads)); /* the same bits twice */
    for (int i = 0; i < net->p.n; i++) {
        const struct param *p = &net->p.table[i];
        size_t stride = p->n / MAX_CHECKED + 1;
        for (size_t j = 0; j < p->n; j += stride) {
            double got = grads[p->offset + j];
            double want = p->kind == PARAM_BUFFER ? 0
                                                  : difference(e, net, params_at(&net->p, i) + j);
            if (!(fabs(got - want) <= TOLERANCE * (1 + fabs(want))))
                CHECK_FAIL("%s[%zu]: gradient %.7g, difference %.7g", p->name, j, got, want);
        }
    }
    memory_free(grads);
    memory_free(again);
    exec_free(e);
    params_release(&net->p);
}

static struct value *run_linear(struct exec *e, const struct net *net)
{
    return op_linear(e, input(e, net, 0), net->at[1], net->aux[0] ? net->at[2] : -1);
}

TEST(linear)
{
    for (int bias = 0; bias < 2; bias++) {
        struct net net = {.run = run_linear, .aux = {bias}};
        DECLARE(&net, 70, 9);
        DECLARE(&net, 5, 9);
        if (bias) DECLARE(&net, 5);
        fill(&net);
        check_gradients(&net);
    }
}

static struct value *run_layer_norm(struct exec *e, const struct net *net)
{
    return op_layer_norm(e, input(e, net, 0), net->at[1], net->at[2], 1e-5f);
}

TEST(layer_norm)
{
    struct net net = {.run = run_layer_norm};
    DECLARE(&net, 70, 37);
    DECLARE(&net, 37);
    DECLARE(&net, 37);
    fill(&net);
    check_gradients(&net);
}

static struct value *run_batch_norm(struct exec *e, const struct net *net)
{
    return op_batch_norm(e, input(e, net, 0), net->at[1], net->at[2], net->at[3], net->at[4],
                         1e-3f);
}

static void declare_batch_norm(struct net *net, int64_t rows, int64_t cols)
{
    DECLARE(net, rows, cols);
    DECLARE(net, cols);
    DECLARE(net, cols);
    declare_as(net, PARAM_BUFFER, 1, &cols);
    declare_as(net, PARAM_BUFFER, 1, &cols);
    fill(net);
}

TEST(batch_norm)
{
    struct net net = {.run = run_batch_norm};
    declare_batch_norm(&net, 150, 19);
    check_gradients(&net);
}

static struct value *run_act(struct exec *e, const struct net *net)
{
    return op_act(e, input(e, net, 0), (enum act)net->aux[0]);
}

TEST(activations)
{
    for (int act = ACT_NONE; act <= ACT_GELU_TANH; act++) {
        struct net net = {.run = run_act, .aux = {act}};
        DECLARE(&net, 7, 5);
        fill(&net);
        for (size_t i = 0; i < net.p.n_floats; i++) { /* keep away from relu's corner */
            net.p.w[i] *= 3;
            if (fabsf(net.p.w[i]) < 0.1f) net.p.w[i] = 0.5f;
        }
        check_gradients(&net);
    }
}

/* The same value twice, and a value used by two operations: gradients add. */
static struct value *run_add(struct exec *e, const struct net *net)
{
    struct value *a = input(e, net, 0), *b = input(e, net, 1);
    struct value *sum = op_add(e, a, b);
    return op_add(e, op_add(e, sum, sum), op_act(e, a, ACT_SILU));
}

TEST(add)
{
    struct net net = {.run = run_add};
    DECLARE(&net, 4, 6);
    DECLARE(&net, 4, 6);
    fill(&net);
    check_gradients(&net);
}

static const int32_t OFFSETS[] = {0, 1, 8, 8, 9, 30};

static struct value *run_attention(struct exec *e, const struct net *net)
{
    struct value *q = input(e, net, 0);
    if (net->aux[0]) return op_attention(e, q, q, q, 5, OFFSETS, 2);
    return op_attention(e, q, input(e, net, 1), input(e, net, 2), 5, OFFSETS, 3);
}

TEST(attention_over_ragged_sequences)
{
    for (int same = 0; same < 2; same++) {
        struct net net = {.run = run_attention, .aux = {same}};
        for (int i = 0; i < (same ? 1 : 3); i++) DECLARE(&net, 30, 12);
        fill(&net);
        for (size_t i = 0; i < net.p.n_floats; i++) net.p.w[i] *= 1.5f;
        check_gradients(&net);
    }
}

static struct value *run_embed(struct exec *e, const struct net *net)
{
    static const int32_t ids[] = {3, 0, 3, 3, 1}, positions[] = {0, 1, 2, 0, 0};
    return op_add_embed(e, op_embed(e, net->at[0], 5, ids), net->at[1], positions);
}

TEST(embeddings_with_repeated_indices)
{
    struct net net = {.run = run_embed};
    DECLARE(&net, 4, 7);
    DECLARE(&net, 3, 7);
    fill(&net);
    check_gradients(&net);
}

static struct value *run_gather(struct exec *e, const struct net *net)
{
    static const int32_t index[] = {2, -1, 2, 0, -1, 4, 2};
    return op_gather(e, input(e, net, 0), 7, index);
}

TEST(gather_with_absent_and_repeated_rows)
{
    struct net net = {.run = run_gather};
    DECLARE(&net, 5, 3);
    fill(&net);
    check_gradients(&net);
}

static struct value *run_pool(struct exec *e, const struct net *net)
{
    static const int32_t offsets[] = {0, 1, 4, 6}, index[] = {4, 0, 1, 0, 2, 2};
    return op_pool(e, input(e, net, 0), 3, offsets, index);
}

TEST(pool)
{
    struct net net = {.run = run_pool};
    DECLARE(&net, 5, 18);
    fill(&net);
    check_gradients(&net);
}

static struct value *run_concat(struct exec *e, const struct net *net)
{
    return op_concat(e, op_prepend(e, input(e, net, 0), net->at[2], 3), input(e, net, 1));
}

TEST(concat_and_prepend)
{
    struct net net = {.run = run_concat};
    DECLARE(&net, 6, 4);
    DECLARE(&net, 9, 5);
    DECLARE(&net, 4);
    fill(&net);
    check_gradients(&net);
}

/* aux: batch, height, width, stride */
static struct value *run_conv(struct exec *e, const struct net *net)
{
    struct value *x = op_act(e, input(e, net, 0), ACT_NONE);
    struct value *y = op_conv(e, x, net->at[1], net->aux[0], net->aux[1], net->aux[2], net->aux[3]);
    if (net->aux[3] != 1 || !y || y->cols != x->cols) return y;
    return op_add(e, y, x); /* x has two users: the gradient is added */
}

static struct value *run_depthwise(struct exec *e, const struct net *net)
{
    return op_depthwise(e, input(e, net, 0), net->at[1], net->aux[0], net->aux[1], net->aux[2],
                        net->aux[3]);
}

static const int PICTURES[][4] = {
    {2, 7, 5, 1}, {3, 6, 6, 2}, {1, 7, 9, 2}, {2, 1, 1, 1}, {1, 1, 4, 2}};

TEST(conv)
{
    static const int64_t KERNELS[][3] = {{3, 8, 3}, {16, 16, 3}, {5, 5, 1}};
    for (size_t i = 0; i < sizeof PICTURES / sizeof *PICTURES; i++)
        for (size_t k = 0; k < sizeof KERNELS / sizeof *KERNELS; k++) {
            struct net net = {.run = run_conv};
            memcpy(net.aux, PICTURES[i], sizeof net.aux);
            DECLARE(&net, (int64_t)net.aux[0] * net.aux[1] * net.aux[2], KERNELS[k][0]);
            DECLARE(&net, KERNELS[k][1], KERNELS[k][0], KERNELS[k][2], KERNELS[k][2]);
            fill(&net);
            check_gradients(&net);
        }
}

TEST(depthwise)
{
    for (size_t i = 0; i < sizeof PICTURES / sizeof *PICTURES; i++) {
        struct net net = {.run = run_depthwise};
        memcpy(net.aux, PICTURES[i], sizeof net.aux);
        DECLARE(&net, (int64_t)net.aux[0] * net.aux[1] * net.aux[2], 19);
        DECLARE(&net, 19, 1, 3, 3);
        fill(&net);
        check_gradients(&net);
    }
}

/* A pre-norm block with a residual: everything together. */
static struct value *run_block(struct exec *e, const struct net *net)
{
    struct value *x = input(e, net, 0);
    struct value *h = op_layer_norm(e, x, net->at[1], net->at[2], 1e-5f);
    struct value *q = op_linear(e, h, net->at[3], -1), *k = op_linear(e, h, net->at[4], -1);
    return op_add(
        e, x,
        op_linear(e, op_act(e, op_attention(e, q, k, h, 5, OFFSETS, 2), ACT_GELU), net->at[5], -1));
}

static void declare_block(struct net *net)
{
    DECLARE(net, 30, 8);
    DECLARE(net, 8);
    DECLARE(net, 8);
    for (int i = 0; i < 3; i++) DECLARE(net, 8, 8);
    fill(net);
}

TEST(a_transformer_block)
{
    struct net net = {.run = run_block};
    declare_block(&net);
    check_gradients(&net);
}

TEST(frozen_parameters_get_nothing_and_change_nothing)
{
    struct error err = {0};
    struct net net = {.run = run_block};
    declare_block(&net);
    struct exec *e = exec_new(EXEC_TRAIN, NUMERICS_F32, &err);
    exec_bind(e, &net.p, NULL);
    float *all = memory_array(net.p.n_floats, sizeof *all, MEMORY_MAX_TENSOR, &err);
    float *some = memory_array(net.p.n_floats, sizeof *some, MEMORY_MAX_TENSOR, &err);
    const uint8_t trainable[6] = {0, 0, 0, 1, 0, 1};
    CHECK_OK(gradients_of(e, &net, NULL, all, &err), &err);
    CHECK_OK(gradients_of(e, &net, trainable, some, &err), &err);
    for (int i = 0; i < net.p.n; i++) {
        const struct param *p = &net.p.table[i];
        for (size_t j = p->offset; j < p->offset + p->n; j++)
            CHECK(some[j] == (trainable[i] ? all[j] : 0.0f));
    }
    for (int i = 0; i < e->n_nodes; i++) /* nothing trained lies at or below the layer norm */
        if (e->nodes[i].kind == OP_LAYER_NORM) CHECK(!e->nodes[i].out->dx);
    memory_free(all);
    memory_free(some);
    exec_free(e);
    params_release(&net.p);
}

TEST(gradients_add_to_what_is_there)
{
    struct error err = {0};
    struct net net = {.run = run_linear, .aux = {1}};
    DECLARE(&net, 12, 9);
    DECLARE(&net, 5, 9);
    DECLARE(&net, 5);
    fill(&net);
    struct exec *e = exec_new(EXEC_TRAIN, NUMERICS_F32, &err);
    exec_bind(e, &net.p, NULL);
    float *grads = memory_array(net.p.n_floats, sizeof *grads, MEMORY_MAX_TENSOR, &err);
    float *twice = memory_array(net.p.n_floats, sizeof *twice, MEMORY_MAX_TENSOR, &err);
    CHECK_OK(gradients_of(e, &net, NULL, grads, &err), &err);
    memcpy(twice, grads, net.p.n_floats * sizeof *grads);
    exec_reset(e);
    struct value *y = net.run(e, &net);
    float *dy = exec_grad(e, y);
    for (int64_t i = 0; i < y->rows * y->cols; i++) dy[i] += coefficient(i);
    CHECK_OK(backward(e, NULL, twice, &err), &err);
    for (size_t i = 0; i < net.p.n_floats; i++) CHECK_NEAR(twice[i], 2 * grads[i], 1e-5);
    memory_free(grads);
    memory_free(twice);
    exec_free(e);
    params_release(&net.p);
}

/* Operands rounded to bf16 keep eight bits: gradients of a block agree within two per cent of their
 * largest value. */
TEST(bf16_gradients_follow_f32)
{
    struct error err = {0};
    struct exec *e[2] = {exec_new(EXEC_TRAIN, NUMERICS_F32, &err),
                         exec_new(EXEC_TRAIN, NUMERICS_BF16, &err)};
    struct net net = {.run = run_block};
    declare_block(&net);
    float *grads[2];
    double largest = 0, worst = 0;
    for (int k = 0; k < 2; k++) {
        grads[k] = memory_array(net.p.n_floats, sizeof *grads[k], MEMORY_MAX_TENSOR, &err);
        exec_bind(e[k], &net.p, NULL);
        CHECK_OK(gradients_of(e[k], &net, NULL, grads[k], &err), &err);
    }
    for (size_t i = 0; i < net.p.n_floats; i++) {
        largest = fmax(largest, fabs(grads[0][i]));
        worst = fmax(worst, fabs(grads[0][i] - grads[1][i]));
    }
    CHECK(worst > 0);
    CHECK_NEAR(worst / largest, 0, 0.02);
    for (int k = 0; k < 2; k++) memory_free(grads[k]), exec_free(e[k]);
    params_release(&net.p);
}

TEST_MAIN
