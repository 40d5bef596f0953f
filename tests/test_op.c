/* Each forward operation against a naive twin in double, the same result in both modes, and
 * refusals by name. Tolerances: f32 rounding of sums of at most a few hundred terms of size one,
 * 2e-5.
 *
 * covers: opnorm conv depthwise attention
 */
#include "tests/check.h"

#include <stdint.h>

#include "featurize/gemm.h"
#include "featurize/op.h"

#define TOLERANCE 2e-5

static uint64_t state = 1;

static float uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

static struct params p;
static struct exec *execs[2]; /* by mode */
static struct error err;

static int add(int n_dims, const int64_t *shape)
{
    char name[30];
    snprintf(name, sizeof name, "w%d.weight", p.n);
    return params_add(&p, name, PARAM_DECAY, n_dims, shape, &err);
}

#define ADD(...) add((int)(sizeof(int64_t[]){__VA_ARGS__} / 8), (int64_t[]){__VA_ARGS__})

/* Random weights and two execs bound to them. */
static void begin(void)
{
    if (params_allocate(&p, &err) < 0) abort();
    for (size_t i = 0; i < p.n_floats; i++) p.w[i] = uniform();
    for (int mode = 0; mode < 2; mode++) {
        execs[mode] = exec_new((enum exec_mode)mode, NUMERICS_F32, &err);
        if (!execs[mode]) abort();
        exec_bind(execs[mode], &p, NULL);
    }
}

static void end(void)
{
    for (int mode = 0; mode < 2; mode++) {
        CHECK_EQ(exec_failed(execs[mode], &err), 0);
        exec_free(execs[mode]);
        execs[mode] = NULL;
    }
    params_release(&p);
}

static struct value *random_value(struct exec *e, int64_t rows, int64_t cols)
{
    state = 77; /* the same values in both modes */
    struct value *v = exec_value(e, rows, cols);
    for (int64_t i = 0; i < rows * cols; i++) v->x[i] = uniform();
    return v;
}

TEST(linear)
{
    int w = ADD(7, 12), b = ADD(7), patch = ADD(5, 3, 2, 2);
    begin();
    for (int mode = 0; mode < 2; mode++) {
        struct value *x = random_value(execs[mode], 20, 12), *y = op_linear(execs[mode], x, w, b);
        struct value *z = op_linear(execs[mode], x, patch,
                                    -1); /* a convolution's weights as a matrix */
        CHECK_EQ(y->rows, 20);
        CHECK_EQ(y->cols, 7);
        CHECK_EQ(z->cols, 5);
        for (int i = 0; i < 20; i++)
            for (int j = 0; j < 7; j++) {
                double sum = params_at(&p, b)[j], flat = 0;
                for (int k = 0; k < 12; k++)
                    sum += (double)x->x[i * 12 + k] * params_at(&p, w)[j * 12 + k];
                for (int k = 0; j < 5 && k < 12; k++)
                    flat += (double)x->x[i * 12 + k] * params_at(&p, patch)[j * 12 + k];
                CHECK_NEAR(y->x[i * 7 + j], sum, TOLERANCE);
                if (j < 5) CHECK_NEAR(z->x[i * 5 + j], flat, TOLERANCE);
            }
    }
    end();
}

TEST(layer_norm)
{
    int gamma = ADD(37), beta = ADD(37);
    begin();
    for (int mode = 0; mode < 2; mode++) {
        struct value *x = random_value(execs[mode], 5, 37),
                     *y = op_layer_norm(execs[mode], x, gamma, beta, 1e-5f);
        for (int i = 0; i < 5; i++) {
            double mean = 0, var = 0;
            for (int c = 0; c < 37; c++) mean += x->x[i * 37 + c] / 37.0;
            for (int c = 0; c < 37; c++) var += pow(x->x[i * 37 + c] - mean, 2) / 37.0;
            for (int c = 0; c < 37; c++)
                CHECK_NEAR(y->x[i * 37 + c],
                           (x->x[i * 37 + c] - mean) / sqrt(var + 1e-5) * params_at(&p, gamma)[c] +
                               params_at(&p, beta)[c],
                           TOLERANCE);
        }
    }
    end();
}

/* A large mean beside a small spread: what a one-pass variance in f32 loses. */
TEST(norms_survive_a_large_mean)
{
    int gamma = ADD(64), beta = ADD(64), mean = ADD(64), var = ADD(64);
    begin();
    for (int c = 0; c < 64; c++) params_at(&p, gamma)[c] = 1, params_at(&p, beta)[c] = 0;
    struct value *x = exec_value(execs[EXEC_TRAIN], 64, 64);
    for (int i = 0; i < 64; i++)
        for (int c = 0; c < 64; c++) x->x[i * 64 + c] = 1000.0f + (float)((i + c) % 2);
    struct value *y = op_layer_norm(execs[EXEC_TRAIN], x, gamma, beta, 0);
    struct value *z = op_batch_norm(execs[EXEC_TRAIN], x, gamma, beta, mean, var, 0);
    for (int i = 0; i < 64 * 64; i++) {
        double want = (i / 64 + i % 64) % 2 ? 1 : -1;
        CHECK_NEAR(y->x[i], want, 1e-3);
        CHECK_NEAR(z->x[i], want, 1e-3);
    }
    end();
}

TEST(batch_norm)
{
    enum { ROWS = 131, C = 19 };
    int gamma = ADD(C), beta = ADD(C), running_mean = ADD(C), running_var = ADD(C);
    begin();
    for (int c = 0; c < C; c++) params_at(&p, running_var)[c] = 0.5f + 0.1f * (float)c;
    for (int mode = 0; mode < 2; mode++) {
        struct exec *e = execs[mode];
        struct value *x = random_value(e, ROWS, C);
        struct value *y = op_batch_norm(e, x, gamma, beta, running_mean, running_var, 1e-3f);
        for (int c = 0; c < C; c++) {
            double mean = 0, var = 0;
            for (int i = 0; i < ROWS; i++) mean += x->x[i * C + c] / (double)ROWS;
            for (int i = 0; i < ROWS; i++) var += pow(x->x[i * C + c] - mean, 2) / (double)ROWS;
            if (mode == EXEC_TRAIN) {
                CHECK_NEAR(e->nodes[0].saved[c], mean, 1e-6);
                CHECK_NEAR(e->nodes[0].saved[C + c], var, 1e-6);
            } else {
                mean = params_at(&p, running_mean)[c];
                var = params_at(&p, running_var)[c];
            }
            for (int i = 0; i < ROWS; i++)
                CHECK_NEAR(y->x[i * C + c],
                           (x->x[i * C + c] - mean) / sqrt(var + 1e-3) * params_at(&p, gamma)[c] +
                               params_at(&p, beta)[c],
                           TOLERANCE);
        }
    }
    end();
}

TEST(activations_by_name)
{
    static const char *names[] = {
        "gelu",     "quick_gelu",        "silu",      "swish",         "relu",
        "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python"};
    begin();
    for (int k = 0; k < 10; k++) {
        int act = act_of_name(names[k], &err);
        CHECK(act > 0);
        struct value *x = random_value(execs[0], 3, 33), *y = op_act(execs[0], x, (enum act)act);
        for (int i = 0; i < 99; i++) {
            double v = x->x[i],
                   want[] = {0.5 * v * (1 + erf(v / sqrt(2))),
                             v / (1 + exp(-1.702 * v)),
                             v / (1 + exp(-v)),
                             v / (1 + exp(-v)),
                             v > 0 ? v : 0,
                             0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)))};
            static const int which[] = {0, 1, 2, 3, 4, 5, 5, 5, 5, 0};
            CHECK_NEAR(y->x[i], want[which[k]], 1e-6);
        }
        CHECK_EQ(act_of_name(act_name((enum act)act), &err), act);
    }
    end();
    CHECK_EQ(act_of_name("geglu", &err), ERR_DATA);
    CHECK_HAS(err.text, "\"geglu\"");
    CHECK_STR(act_name(ACT_NONE), "none");
}

static const int32_t OFFSETS[] = {0, 1, 8, 8, 9, 62};

static void check_attention(const struct value *q, const struct value *k, const struct value *v,
                            const struct value *y, int heads)
{
    int64_t width = q->cols, d = width / heads;
    double weight[64];
    for (int s = 0; s < 5; s++)
        for (int h = 0; h < heads; h++)
            for (int i = OFFSETS[s]; i < OFFSETS[s + 1]; i++) {
                double total = 0;
                for (int j = OFFSETS[s]; j < OFFSETS[s + 1]; j++) {
                    double dot = 0;
                    for (int64_t c = h * d; c < (h + 1) * d; c++)
                        dot += (double)q->x[i * width + c] * k->x[j * width + c];
                    weight[j - OFFSETS[s]] = exp(dot / sqrt((double)d));
                    total += weight[j - OFFSETS[s]];
                }
                for (int64_t c = h * d; c < (h + 1) * d; c++) {
                    double want = 0;
                    for (int j = OFFSETS[s]; j < OFFSETS[s + 1]; j++)
                        want += weight[j - OFFSETS[s]] / total * v->x[j * width + c];
                    CHECK_NEAR(y->x[i * width + c], want, TOLERANCE);
                }
            }
}

TEST(attention_over_ragged_sequences)
{
    begin();
    for (int mode = 0; mode < 2; mode++)
        for (int heads = 1; heads <= 4; heads *= 2) {
            struct exec *e = execs[mode];
            struct value *q = random_value(e, 62, 24), *k = exec_value(e, 62, 24),
                         *v = exec_value(e, 62, 24);
            for (int i = 0; i < 62 * 24; i++)
                q->x[i] *= 3, k->x[i] = 2 * uniform(), v->x[i] = uniform();
            struct value *y = op_attention(e, q, k, v, 5, OFFSETS, heads);
            CHECK(y != NULL);
            check_attention(q, k, v, y, heads);
        }
    end();
}

TEST(a_sequence_does_not_see_its_neighbours)
{
    begin();
    struct exec *e = execs[EXEC_INFER];
    struct value *x = random_value(e, 62, 24), *y = op_attention(e, x, x, x, 5, OFFSETS, 3);
    for (int s = 0; s < 5; s++) {
        int32_t rows = OFFSETS[s + 1] - OFFSETS[s], alone[2] = {0, rows};
        if (!rows) continue;
        struct value *part = exec_input(e, x->x + OFFSETS[s] * 24, rows, 24);
        struct value *z = op_attention(e, part, part, part, 1, alone, 3);
        CHECK(!memcmp(z->x, y->x + OFFSETS[s] * 24, (size_t)rows * 24 * sizeof *z->x));
    }
    end();
}

TEST(rows_by_index)
{
    int table = ADD(6, 5), positions = ADD(4, 5);
    begin();
    for (int mode = 0; mode < 2; mode++) {
        struct exec *e = execs[mode];
        static const int32_t ids[] = {5, 0, 5}, at[] = {3, 1, 1}, rows[] = {2, -1, 0, 2},
                             offsets[] = {0, 2, 3}, pool[] = {0, 2, 1};
        struct value *x = op_embed(e, table, 3, ids), *y = op_add_embed(e, x, positions, at);
        struct value *g = op_gather(e, y, 4, rows), *m = op_pool(e, y, 2, offsets, pool),
                     *s = op_add(e, y, y);
        CHECK_EQ(g->rows, 4);
        for (int c = 0; c < 5; c++) {
            for (int i = 0; i < 3; i++) {
                float want = params_at(&p, table)[ids[i] * 5 + c];
                CHECK(x->x[i * 5 + c] == want);
                CHECK(y->x[i * 5 + c] == want + params_at(&p, positions)[at[i] * 5 + c]);
                CHECK(s->x[i * 5 + c] == 2 * y->x[i * 5 + c]);
            }
            for (int i = 0; i < 4; i++)
                CHECK(g->x[i * 5 + c] == (rows[i] < 0 ? 0.0f : y->x[rows[i] * 5 + c]));
            CHECK_NEAR(m->x[c], (y->x[c] + y->x[10 + c]) / 2, 1e-6);
            CHECK(m->x[5 + c] == y->x[5 + c]);
        }
    }
    end();
}

TEST(concat_and_prepend)
{
    int class_token = ADD(3);
    begin();
    struct exec *e = execs[EXEC_INFER];
    struct value *x = random_value(e, 4, 3), *y = op_prepend(e, x, class_token, 2),
                 *z = op_concat(e, y, y);
    CHECK_EQ(y->rows, 6);
    CHECK_EQ(z->cols, 6);
    for (int i = 0; i < 6; i++)
        for (int c = 0; c < 3; c++) {
            float want = i % 3 == 0 ? params_at(&p, class_token)[c] : x->x[(i - 1 - i / 3) * 3 + c];
            CHECK(y->x[i * 3 + c] == want);
            CHECK(z->x[i * 6 + c] == want);
            CHECK(z->x[i * 6 + 3 + c] == want);
        }
    end();
}

/* y against the sums of a convolution written out; a depthwise one has one weight plane a channel. */
static void check_conv(const struct value *x, const struct value *y, const float *w, int batch,
                       int height, int width, int kernel, int stride, bool depthwise)
{
    int pad = (kernel - 1) / 2, out_height = (height + 2 * pad - kernel) / stride + 1;
    int out_width = (width + 2 * pad - kernel) / stride + 1, in = (int)x->cols, out = (int)y->cols;
    CHECK_EQ(y->rows, batch * out_height * out_width);
    for (int64_t row = 0; row < y->rows; row++)
        for (int o = 0; o < out; o++) {
            int b = (int)(row / (out_height * out_width)), i = (int)(row / out_width % out_height),
                j = (int)(row % out_width);
            double sum = 0;
            for (int u = 0; u < kernel; u++)
                for (int v = 0; v < kernel; v++) {
                    int yy = i * stride + u - pad, xx = j * stride + v - pad;
                    if (yy < 0 || yy >= height || xx < 0 || xx >= width) continue;
                    const float *pixel = x->x + ((int64_t)(b * height + yy) * width + xx) * in;
                    for (int c = 0; c < (depthwise ? 1 : in); c++)
                        sum += (double)pixel[depthwise ? o : c] *
                               w[((o * (depthwise ? 1 : in) + c) * kernel + u) * kernel + v];
                }
            CHECK_NEAR(y->x[row * out + o], sum, TOLERANCE);
        }
}

static const int PICTURES[][4] = {
    {2, 7, 5, 1}, {3, 6, 6, 2}, {1, 7, 9, 2}, {2, 1, 1, 1}, {1, 1, 4, 2}};

TEST(convolutions)
{
    int full = ADD(8, 3, 3, 3), wide = ADD(16, 16, 3, 3), point = ADD(5, 4, 1, 1),
        five = ADD(4, 3, 5, 5), depthwise = ADD(19, 1, 3, 3);
    begin();
    for (size_t k = 0; k < sizeof PICTURES / sizeof *PICTURES; k++)
        for (int mode = 0; mode < 2; mode++) {
            const int *s = PICTURES[k], weights[] = {full, wide, point, five};
            for (int w = 0; w < 4; w++) {
                const struct param *t = &p.table[weights[w]];
                struct value *x = random_value(execs[mode], s[0] * s[1] * s[2], t->shape[1]);
                struct value *y = op_conv(execs[mode], x, weights[w], s[0], s[1], s[2], s[3]);
                CHECK(y != NULL);
                if (y)
                    check_conv(x, y, params_at(&p, weights[w]), s[0], s[1], s[2], (int)t->shape[2],
                               s[3], false);
            }
            struct value *x = random_value(execs[mode], s[0] * s[1] * s[2], 19);
            struct value *y = op_depthwise(execs[mode], x, depthwise, s[0], s[1], s[2], s[3]);
            check_conv(x, y, params_at(&p, depthwise), s[0], s[1], s[2], 3, s[3], true);
        }
    end();
}

TEST(packed_weights_give_the_same_network_and_pictures_stand_alone)
{
    int conv = ADD(16, 8, 3, 3), linear = ADD(12, 16), bias = ADD(12);
    begin();
    struct exec *e = execs[EXEC_INFER];
    struct value *x = random_value(e, 3 * 8 * 8, 8);
    struct value *plain = op_linear(e, op_conv(e, x, conv, 3, 8, 8, 2), linear, bias);
    struct packed *packed = packed_new(&p, NUMERICS_F32, &err);
    CHECK(packed != NULL);
    exec_bind(e, &p, packed);
    for (int again = 0; again < 2; again++) {
        struct value *y = op_linear(e, op_conv(e, x, conv, 3, 8, 8, 2), linear, bias);
        for (int i = 0; i < 3 * 16 * 12; i++) CHECK_NEAR(y->x[i], plain->x[i], 1e-5);
        struct value *last = exec_input(e, x->x + 2 * 64 * 8, 64, 8);
        struct value *z = op_linear(e, op_conv(e, last, conv, 1, 8, 8, 2), linear, bias);
        CHECK(!memcmp(z->x, y->x + 2 * 16 * 12, 16 * 12 * sizeof *z->x));
    }
    params_at(&p, conv)[0] += 1; /* binding again forgets the copies */
    exec_bind(e, &p, NULL);
    struct value *changed = op_linear(e, op_conv(e, x, conv, 3, 8, 8, 2), linear, bias);
    CHECK(memcmp(changed->x, plain->x, 3 * 16 * 12 * sizeof *plain->x));
    packed_free(packed);
    end();
}

static void refused(struct exec *e, const struct value *v, const char *text)
{
    CHECK(!v);
    CHECK_EQ(exec_failed(e, &err), ERR_DATA);
    CHECK_HAS(err.text, text);
    exec_reset(e);
}

TEST(misfits_are_refused_by_name)
{
    int w = ADD(7, 12), gamma = ADD(5);
    begin();
    struct exec *e = execs[EXEC_TRAIN];
    static const int32_t bad[] = {0, 7}, negative[] = {-1, 0}, offsets[] = {0, 3}, empty[] = {0, 0};
    refused(e, op_linear(e, exec_value(e, 2, 11), w, -1),
            "w0.weight takes 12 columns, its input has 11");
    refused(e, op_embed(e, w, 2, bad), "w0.weight: row 7 is asked for, there are 7");
    refused(e, op_embed(e, w, 1, negative), "row -1");
    refused(e, op_gather(e, exec_value(e, 7, 2), 2, bad), "row 7");
    refused(e, op_layer_norm(e, exec_value(e, 2, 4), gamma, gamma, 0), "4 columns");
    refused(e,
            op_attention(e, exec_value(e, 4, 6), exec_value(e, 4, 6), exec_value(e, 4, 6), 1,
                         offsets, 2),
            "4 rows");
    refused(e,
            op_attention(e, exec_value(e, 3, 6), exec_value(e, 3, 6), exec_value(e, 3, 6), 1,
                         offsets, 4),
            "4 heads");
    refused(e, op_pool(e, exec_value(e, 3, 6), 1, empty, bad), "mean of no rows");
    refused(e, op_add(e, exec_value(e, 3, 6), exec_value(e, 2, 6)), "3 x 6 and 2 x 6");
    refused(e, op_conv(e, exec_value(e, 9, 6), w, 1, 3, 3, 1), "w0.weight cannot be applied");
    CHECK(!op_linear(e, NULL, w, -1));
    end();
}

TEST_MAIN
