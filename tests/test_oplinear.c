/* Layers with what follows them against their parts, and operands kept in bf16: what is rounded,
 * where, and that a sequence still stands alone. */
#include "tests/check.h"

#include "featurize/calibration.h"
#include "featurize/gemm.h"
#include "featurize/op.h"
#include "featurize/vecmath.h"

enum { ROWS = 62, D = 24, OUT = 40 };

static struct params p;
static struct error err;
static int w, b, square, gamma_at, beta_at;

static uint64_t state = 1;

static float uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

static int add(const char *name, int n_dims, const int64_t *shape)
{
    return params_add(&p, name, PARAM_DECAY, n_dims, shape, &err);
}

static void begin(void)
{
    w = add("w.weight", 2, (int64_t[]){OUT, D});
    b = add("w.bias", 1, (int64_t[]){OUT});
    square = add("square.weight", 2, (int64_t[]){D, D});
    gamma_at = add("gamma", 1, (int64_t[]){D});
    beta_at = add("beta", 1, (int64_t[]){D});
    if (params_allocate(&p, &err) < 0) abort();
    for (size_t i = 0; i < p.n_floats; i++) p.w[i] = uniform();
}

static struct exec *exec_of(enum exec_mode mode, enum numerics numerics)
{
    struct exec *e = exec_new(mode, numerics, &err);
    if (!e) abort();
    exec_bind(e, &p, NULL);
    return e;
}

static void end(struct exec *e)
{
    CHECK_EQ(exec_failed(e, &err), 0);
    exec_free(e);
}

static struct value *random_value(struct exec *e, int64_t rows, int64_t cols)
{
    struct value *v = exec_value(e, rows, cols);
    for (int64_t i = 0; i < rows * cols; i++) v->x[i] = uniform();
    return v;
}

static float widen(uint16_t half)
{
    union {
        uint32_t u;
        float f;
    } bits = {.u = (uint32_t)half << 16};
    return bits.f;
}

static bool same(const struct value *x, const struct value *y)
{
    return !memcmp(x->x, y->x, (size_t)x->rows * (size_t)x->cols * sizeof *x->x);
}

TEST(in_f32_a_layer_has_the_bits_of_its_parts)
{
    begin();
    for (int mode = 0; mode < 2; mode++)
        for (enum act act = ACT_NONE; act <= ACT_GELU_TANH; act++) {
            struct exec *e = exec_of((enum exec_mode)mode, NUMERICS_F32);
            struct value *x = random_value(e, ROWS, D), *onto = random_value(e, ROWS, D);
            struct value *want = op_act(e, op_linear(e, x, w, b), act);
            CHECK(same(op_linear_act(e, x, w, b, act), want));
            want = op_add(e, onto, op_linear(e, x, square, -1));
            int before = e->n_nodes;
            struct value *sum = op_linear_add(e, x, square, -1, onto);
            CHECK(same(sum, want));
            CHECK_EQ(sum == onto, mode == EXEC_INFER);
            CHECK_EQ(e->n_nodes - before, mode == EXEC_TRAIN ? 2 : 0);
            end(e);
        }
    params_release(&p);
}

TEST(training_keeps_no_bf16)
{
    begin();
    struct exec *e = exec_of(EXEC_TRAIN, NUMERICS_BF16);
    struct value *x = random_value(e, ROWS, D);
    struct value *y = op_layer_norm(e, x, gamma_at, beta_at, 1e-5f);
    CHECK(y->x && !y->half);
    y = op_linear_act(e, y, w, b, ACT_GELU);
    CHECK(y->x && !y->half);
    end(e);
    params_release(&p);
}

TEST(in_bf16_each_value_is_rounded_once)
{
    begin();
    struct exec *e = exec_of(EXEC_INFER, NUMERICS_BF16);
    struct value *x = random_value(e, ROWS, D), *onto = random_value(e, ROWS, OUT);
    struct value *norm = op_layer_norm(e, x, gamma_at, beta_at, 1e-5f);
    uint16_t want[ROWS * D];
    vec_bf16(ROWS * D, norm->x, want);
    CHECK(!memcmp(norm->half, want, sizeof want));
    struct value *full = op_act(e, op_linear(e, norm, w, b), ACT_QUICK_GELU);
    struct value *y = op_linear_act(e, norm, w, b, ACT_QUICK_GELU);
    CHECK(!y->x);
    for (int i = 0; i < ROWS * OUT; i++) /* the nearest, or its neighbour */
        CHECK_NEAR(widen(y->half[i]), full->x[i], 1e-5 + fabs(full->x[i]) / 128);
    struct value *sum = op_linear(e, norm, w, b);
    vec_add(ROWS * OUT, onto->x, sum->x);
    CHECK(exec_add_half(e, onto));
    CHECK(op_linear_add(e, norm, w, b, onto) == onto);
    CHECK(same(onto, sum));
    CHECK(onto->stale); /* so that a product rounds x again */
    end(e);
    params_release(&p);
}

static const int32_t OFFSETS[] = {0, 1, 20, 20, 53, 62};

static struct value *operand(struct exec *e, const float *x, int64_t rows)
{
    struct value *v = exec_operand(e, rows, D);
    vec_bf16((size_t)rows * D, x, v->half);
    return v;
}

/* One output by its definition, from operands as they were rounded. */
static double attended(const struct value *const qkv[3], int s, int i, int head, int64_t d,
                       int64_t c)
{
    double total = 0, y = 0, most = -INFINITY, dot[ROWS];
    for (int pass = 0; pass < 2; pass++)
        for (int j = OFFSETS[s]; j < OFFSETS[s + 1]; j++) {
            if (pass == 0) {
                dot[j] = 0;
                for (int64_t k = head * d; k < (head + 1) * d; k++)
                    dot[j] += (double)widen(qkv[0]->half[i * D + k]) *
                              widen(qkv[1]->half[j * D + k]) / sqrt((double)d);
                most = fmax(most, dot[j]);
                continue;
            }
            total += exp(dot[j] - most);
            y += exp(dot[j] - most) * widen(qkv[2]->half[j * D + head * d + c]);
        }
    return y / total;
}

/* Weights rounded to 8 bits that sum to 1, values below 1: an error of at most 2^-8; the output's own
 * rounding is half of that. */
TEST(attention_of_bf16_operands)
{
    begin();
    for (int heads = 1; heads <= 4; heads *= 2) {
        struct exec *e = exec_of(EXEC_INFER, NUMERICS_BF16);
        struct value *from[3], *in[3];
        int64_t d = D / heads;
        for (int i = 0; i < 3; i++) {
            from[i] = random_value(e, ROWS, D);
            for (int k = 0; k < ROWS * D && i < 2; k++) from[i]->x[k] *= 3;
            in[i] = operand(e, from[i]->x, ROWS);
        }
        struct value *y = op_attention(e, in[0], in[1], in[2], 5, OFFSETS, heads);
        CHECK(y && y->half && !y->x);
        for (int s = 0; s < 5; s++) {
            for (int i = OFFSETS[s]; i < OFFSETS[s + 1]; i++)
                for (int64_t c = 0; c < D; c++)
                    CHECK_NEAR(
                        widen(y->half[i * D + c]),
                        attended((const struct value *const *)in, s, i, (int)(c / d), d, c % d),
                        1.5 / 256);
            int32_t rows = OFFSETS[s + 1] - OFFSETS[s], alone[2] = {0, rows};
            if (!rows) continue;
            struct value *part[3];
            for (int i = 0; i < 3; i++) part[i] = operand(e, from[i]->x + OFFSETS[s] * D, rows);
            struct value *z = op_attention(e, part[0], part[1], part[2], 1, alone, heads);
            CHECK(!memcmp(z->half, y->half + OFFSETS[s] * D, (size_t)rows * D * sizeof *z->half));
        }
        end(e);
    }
    params_release(&p);
}

/* 1300 rows of W are six blocks of f32 and two of int8, the last ones not full. */
TEST(a_team_shares_blocks_or_rows_without_a_change)
{
    enum { MOST = 40, K = 900, N = 1300, TEAM = 3 };
    w = add("vision_model.encoder.layers.0.mlp.fc1.weight", 2, (int64_t[]){N, K});
    b = add("w.bias", 1, (int64_t[]){N});
    if (params_allocate(&p, &err) < 0) abort();
    for (size_t i = 0; i < p.n_floats; i++) p.w[i] = uniform();
    struct calibration *c = calibration_plain(&p, &err);
    for (enum numerics numerics = NUMERICS_F32; numerics <= NUMERICS_INT8; numerics++) {
        bool int8 = numerics == NUMERICS_INT8;
        if (int8 && !gemm_int8_is_exact()) break;
        struct packed *packed = int8 ? packed_new_int8(&p, c, &err)
                                     : packed_new(&p, numerics, &err);
        struct gemm_layer l = {.numerics = numerics, .packed = packed, .weight = w, .n = N, .k = K};
        CHECK(packed);
        if (numerics != NUMERICS_BF16 || !gemm_bf16_is_fast())
            CHECK_EQ(gemm_blocks(&l), int8 ? 2 : 6);
        struct exec *team[TEAM];
        for (int i = 0; i < TEAM; i++) {
            team[i] = exec_of(EXEC_INFER, numerics);
            exec_bind(team[i], &p, packed);
        }
        for (int rows = 1; rows <= MOST; rows += 13) {
            struct exec *e = team[0];
            struct value *x = random_value(e, rows, K), *base = random_value(e, rows, N), *want,
                         *sum[TEAM];
            for (int n = 1; n <= TEAM; n++) {
                exec_lend(e, team, n);
                struct value *y = op_linear(e, x, w, b);
                if (n == 1) want = y;
                CHECK(same(y, want));
                sum[n - 1] = exec_value(e, rows, N);
                memcpy(sum[n - 1]->x, base->x, (size_t)rows * N * sizeof *base->x);
                op_linear_add(e, x, w, -1, sum[n - 1]);
                CHECK(same(sum[n - 1], sum[0]) && !same(sum[n - 1], base));
            }
            exec_lend(e, team, 0);
            exec_reset(e);
        }
        for (int i = 0; i < TEAM; i++) end(team[i]);
        packed_free(packed);
    }
    calibration_free(c);
    params_release(&p);
}

TEST(misfits_are_refused)
{
    begin();
    struct exec *e = exec_of(EXEC_INFER, NUMERICS_F32);
    CHECK(!op_linear_add(e, random_value(e, 3, D), w, b, random_value(e, 3, D)));
    CHECK_EQ(exec_failed(e, &err), ERR_DATA);
    CHECK_HAS(err.text, "a sum of 3 x 24 and 3 x 40");
    exec_reset(e);
    CHECK(!op_linear_act(e, random_value(e, 3, D - 1), w, b, ACT_GELU));
    CHECK_EQ(exec_failed(e, &err), ERR_DATA);
    CHECK_HAS(err.text, "w.weight takes 24 columns, its input has 23");
    exec_free(e);
    params_release(&p);
}

TEST_MAIN
