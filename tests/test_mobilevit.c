/* MobileViT against a naive twin: the whole network in double precision, planes instead of
 * channels-last, every tensor by its Hugging Face name, attention by its definition (a pixel sees
 * the pixels whose row and column have the parity of its own). */
#include "tests/towerkit.h"

struct plane {
    double *x; // (channels, side, side)
    int channels, side;
};

static struct plane plane_new(int channels, int side)
{
    struct error err = {0};
    struct plane p = {NULL, channels, side};
    p.x = memory_array((uint64_t)channels * side * side, sizeof *p.x, MEMORY_MAX_FILE, &err);
    kit_must(p.x, &err);
    return p;
}

/* Frees a, returns b. */
static struct plane replace(struct plane a, struct plane b)
{
    memory_free(a.x);
    return b;
}

static const float *tensor(const struct tower *t, const char *base, const char *rest, int64_t *n)
{
    char name[300];
    snprintf(name, sizeof name, "vision_model.%s%s", base, rest);
    int i = params_find(&t->params, name);
    if (i < 0) {
        printf("# no tensor %s\n", name);
        exit(1);
    }
    if (n) *n = (int64_t)t->params.table[i].n;
    return params_at(&t->params, i);
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

/* NAME.convolution of k x k, in `groups`; then normalization and silu as asked for. Takes a. */
static struct plane conv(const struct tower *t, struct plane a, const char *name, int out, int k,
                         int stride, int groups, bool norm, bool act)
{
    int64_t n;
    const float *w = tensor(t, name, ".convolution.weight", &n);
    int side = (a.side + 2 * ((k - 1) / 2) - k) / stride + 1, in = a.channels / groups;
    CHECK_EQ(n, (int64_t)out * in * k * k);
    struct plane b = plane_new(out, side);
    for (int o = 0; o < out; o++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++) {
                double sum = 0;
                for (int i = 0; i < in; i++)
                    for (int dy = 0; dy < k; dy++)
                        for (int dx = 0; dx < k; dx++) {
                            int sy = y * stride + dy - (k - 1) / 2;
                            int sx = x * stride + dx - (k - 1) / 2;
                            if (sy < 0 || sx < 0 || sy >= a.side || sx >= a.side) continue;
                            int channel = o / (out / groups) * in + i;
                            sum += a.x[(channel * a.side + sy) * a.side + sx] *
                                   w[((o * in + i) * k + dy) * k + dx];
                        }
                if (norm) {
                    double mean = tensor(t, name, ".normalization.running_mean", NULL)[o];
                    double var = tensor(t, name, ".normalization.running_var", NULL)[o];
                    sum = (sum - mean) / sqrt(var + 1e-5) *
                              tensor(t, name, ".normalization.weight", NULL)[o] +
                          tensor(t, name, ".normalization.bias", NULL)[o];
                }
                b.x[(o * side + y) * side + x] = act ? silu(sum) : sum;
            }
    return replace(a, b);
}

static struct plane copy(struct plane a)
{
    struct plane b = plane_new(a.channels, a.side);
    memcpy(b.x, a.x, (size_t)a.channels * a.side * a.side * sizeof *a.x);
    return b;
}

static struct plane residual(const struct tower *t, struct plane a, const char *name, int out,
                             int stride, int expand)
{
    char part[200];
    int wide = a.channels * expand;
    struct plane b = copy(a);
    snprintf(part, sizeof part, "%s.expand_1x1", name);
    b = conv(t, b, part, wide, 1, 1, 1, true, true);
    snprintf(part, sizeof part, "%s.conv_3x3", name);
    b = conv(t, b, part, wide, 3, stride, wide, true, true);
    snprintf(part, sizeof part, "%s.reduce_1x1", name);
    b = conv(t, b, part, out, 1, 1, 1, true, false);
    if (stride == 1 && a.channels == out)
        for (int i = 0; i < out * a.side * a.side; i++) b.x[i] += a.x[i];
    return replace(a, b);
}

/* In the transformer: one row a pixel. x: (rows, width) */
static double *linear(const struct tower *t, const char *base, const char *name, const double *x,
                      int rows, int in, int out)
{
    char part[200];
    struct error err = {0};
    snprintf(part, sizeof part, "%s.%s", base, name);
    const float *w = tensor(t, part, ".weight", NULL), *b = tensor(t, part, ".bias", NULL);
    double *y = memory_array((uint64_t)rows * out, sizeof *y, MEMORY_MAX_FILE, &err);
    kit_must(y, &err);
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < out; o++) {
            double sum = b[o];
            for (int i = 0; i < in; i++) sum += x[r * in + i] * w[o * in + i];
            y[r * out + o] = sum;
        }
    return y;
}

static double *layer_norm(const struct tower *t, const char *base, const char *name,
                          const double *x, int rows, int width)
{
    char part[200];
    struct error err = {0};
    snprintf(part, sizeof part, "%s.%s", base, name);
    const float *g = tensor(t, part, ".weight", NULL), *b = tensor(t, part, ".bias", NULL);
    double *y = memory_array((uint64_t)rows * width, sizeof *y, MEMORY_MAX_FILE, &err);
    kit_must(y, &err);
    for (int r = 0; r < rows; r++) {
        const double *v = x + r * width;
        double mean = 0, var = 0;
        for (int i = 0; i < width; i++) mean += v[i] / width;
        for (int i = 0; i < width; i++) var += (v[i] - mean) * (v[i] - mean) / width;
        for (int i = 0; i < width; i++)
            y[r * width + i] = (v[i] - mean) / sqrt(var + 1e-5) * g[i] + b[i];
    }
    return y;
}

static bool sees(int a, int b, int side)
{
    return (a / side - b / side) % 2 == 0 && (a % side - b % side) % 2 == 0;
}

static double *attend(const double *q, const double *k, const double *v, int side, int width)
{
    struct error err = {0};
    int rows = side * side, d = width / 4;
    double *y = memory_array((uint64_t)rows * width, sizeof *y, MEMORY_MAX_FILE, &err);
    kit_must(y, &err);
    for (int head = 0; head < width; head += d)
        for (int a = 0; a < rows; a++) {
            double total = 0;
            for (int b = 0; b < rows; b++) {
                if (!sees(a, b, side)) continue;
                double score = 0;
                for (int i = head; i < head + d; i++) score += q[a * width + i] * k[b * width + i];
                double e = exp(score / sqrt(d));
                total += e;
                for (int i = head; i < head + d; i++) y[a * width + i] += e * v[b * width + i];
            }
            for (int i = head; i < head + d; i++) y[a * width + i] /= total;
        }
    return y;
}

static void transformer(const struct tower *t, const char *base, double *x, int side, int width)
{
    int rows = side * side;
    double *h = layer_norm(t, base, "layernorm_before", x, rows, width);
    double *q = linear(t, base, "attention.attention.query", h, rows, width, width);
    double *k = linear(t, base, "attention.attention.key", h, rows, width, width);
    double *v = linear(t, base, "attention.attention.value", h, rows, width, width);
    double *y = attend(q, k, v, side, width);
    double *o = linear(t, base, "attention.output.dense", y, rows, width, width);
    for (int i = 0; i < rows * width; i++) x[i] += o[i];
    double *n = layer_norm(t, base, "layernorm_after", x, rows, width);
    double *m = linear(t, base, "intermediate.dense", n, rows, width, 2 * width);
    for (int i = 0; i < rows * 2 * width; i++) m[i] = silu(m[i]);
    double *z = linear(t, base, "output.dense", m, rows, 2 * width, width);
    for (int i = 0; i < rows * width; i++) x[i] += z[i];
    double *all[] = {h, q, k, v, y, o, n, m, z};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

static double *swap_axes(const double *x, int rows, int cols)
{
    struct error err = {0};
    double *y = memory_array((uint64_t)rows * cols, sizeof *y, MEMORY_MAX_FILE, &err);
    kit_must(y, &err);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) y[c * rows + r] = x[r * cols + c];
    return y;
}

static struct plane block(const struct tower *t, struct plane a, int index, int out, int width,
                          int depth, int expand)
{
    char name[200];
    snprintf(name, sizeof name, "encoder.layer.%d.downsampling_layer", index);
    a = residual(t, a, name, out, 2, expand);
    struct plane b = copy(a);
    int area = a.side * a.side;
    snprintf(name, sizeof name, "encoder.layer.%d.conv_kxk", index);
    b = conv(t, b, name, out, 3, 1, 1, true, true);
    snprintf(name, sizeof name, "encoder.layer.%d.conv_1x1", index);
    b = conv(t, b, name, width, 1, 1, 1, false, false);
    double *x = swap_axes(b.x, width, area);
    for (int i = 0; i < depth; i++) {
        snprintf(name, sizeof name, "encoder.layer.%d.transformer.layer.%d", index, i);
        transformer(t, name, x, a.side, width);
    }
    snprintf(name, sizeof name, "encoder.layer.%d", index);
    double *n = layer_norm(t, name, "layernorm", x, area, width);
    memory_free(b.x);
    b.x = swap_axes(n, area, width);
    memory_free(x);
    memory_free(n);
    snprintf(name, sizeof name, "encoder.layer.%d.conv_projection", index);
    b = conv(t, b, name, out, 1, 1, 1, true, true);
    struct plane both = plane_new(2 * out, a.side);
    memcpy(both.x, a.x, (size_t)out * area * sizeof *a.x);
    memcpy(both.x + out * area, b.x, (size_t)out * area * sizeof *b.x);
    memory_free(a.x);
    memory_free(b.x);
    snprintf(name, sizeof name, "encoder.layer.%d.fusion", index);
    return conv(t, both, name, out, 3, 1, 1, true, true);
}

struct sizes {
    const char *name;
    int neck[7], hidden[3], expand;
    uint64_t
        n_params; /* without the projection: the published counts less a classifier of 1000 classes */
};

static const struct sizes SIZES[] = {
    {"xxs", {16, 16, 24, 48, 64, 80, 320}, {64, 80, 96}, 2, 1272024 - 321000},
    {"xs", {16, 32, 48, 64, 80, 96, 384}, {96, 120, 144}, 4, 2317848 - 385000},
    {"s", {16, 32, 64, 96, 128, 160, 640}, {144, 192, 240}, 4, 5578632 - 641000},
};

static void compare(const struct value *got, int picture, struct plane want)
{
    double most = 0, size = 0;
    int area = want.side * want.side;
    CHECK_EQ(got->cols, want.channels);
    const float *x = got->x + (size_t)picture * area * want.channels;
    for (int c = 0; c < want.channels; c++)
        for (int i = 0; i < area; i++) {
            most = fmax(most, fabs(want.x[c * area + i] - x[i * want.channels + c]));
            size = fmax(size, fabs(want.x[c * area + i]));
        }
    CHECK(size > 0.01);
    CHECK_NEAR(most / size, 0, 2e-5); /* f32 against double through some hundred operations */
}

static struct tower *some_tower(const char *variant, int side)
{
    struct tower_config c = {.arch = ARCH_MOBILEVIT,
                             .act = ACT_SILU,
                             .eps = 1e-5f,
                             .projection_dim = 8,
                             .image_size = side};
    strcpy(c.variant, variant);
    struct tower *t = kit_tower(&c, 11);
    for (int i = 0; i < t->params.n; i++) { /* norms that do something */
        const struct param *p = &t->params.table[i];
        float *w = params_at(&t->params, i);
        for (size_t k = 0; p->n_dims == 1 && k < p->n; k++)
            w[k] += 0.3f * kit_noise(k + 1000 * (uint64_t)i);
    }
    return t;
}

static void check_twin(const struct sizes *s, int side)
{
    struct error err = {0};
    struct tower *t = some_tower(s->name, side);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    size_t picture = (size_t)side * side * 3;
    float *pixels = kit_pixels(2 * picture);
    struct tower_input in = {.n = 2, .pixels = pixels};
    struct tap taps[7] = {{TAP_FINAL, 0, 0}};
    struct value *out[7];
    for (int k = 0; k <= 5; k++) taps[k + 1] = (struct tap){TAP_HIDDEN, k, 0};
    CHECK_OK(tower_forward(t, e, &in, taps, 7, out, &err), &err);

    struct plane a = plane_new(3, side);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < side * side; i++)
            a.x[c * side * side + i] = pixels[picture + (size_t)i * 3 + c];
    a = conv(t, a, "conv_stem", s->neck[0], 3, 2, 1, true, true);
    compare(out[1], 1, a);
    a = residual(t, a, "encoder.layer.0.layer.0", s->neck[1], 1, s->expand);
    compare(out[2], 1, a);
    a = residual(t, a, "encoder.layer.1.layer.0", s->neck[2], 2, s->expand);
    a = residual(t, a, "encoder.layer.1.layer.1", s->neck[2], 1, s->expand);
    a = residual(t, a, "encoder.layer.1.layer.2", s->neck[2], 1, s->expand);
    compare(out[3], 1, a);
    for (int i = 0; i < 3; i++) {
        a = block(t, a, i + 2, s->neck[i + 3], s->hidden[i], (int[]){2, 4, 3}[i], s->expand);
        compare(out[i + 4], 1, a);
    }
    a = conv(t, a, "conv_1x1_exp", s->neck[6], 1, 1, 1, true, true);
    const float *w = params_at(&t->params, params_find(&t->params, "visual_projection.weight"));
    for (int o = 0; o < 8; o++) {
        double sum = 0;
        for (int c = 0; c < a.channels; c++)
            for (int i = 0; i < a.side * a.side; i++)
                sum += w[o * a.channels + c] * a.x[c * a.side * a.side + i] / (a.side * a.side);
        CHECK_NEAR(out[0]->x[8 + o], sum, 1e-4);
    }
    memory_free(a.x);
    memory_free(pixels);
    exec_free(e);
    tower_free(t);
}

TEST(equals_its_twin)
{
    check_twin(&SIZES[0], 64);
}

/* 96 / 32 = 3: at the border a position inside the patch is in fewer patches. 32 / 32 = 1: a single
 * sequence. */
TEST(equals_its_twin_at_odd_sizes)
{
    check_twin(&SIZES[0], 96);
    check_twin(&SIZES[1], 32);
}

TEST(equals_its_twin_wide)
{
    check_twin(&SIZES[2], 64);
}

TEST(published_parameter_counts)
{
    for (int i = 0; i < 3; i++) {
        struct tower *t = some_tower(SIZES[i].name, 256);
        CHECK_EQ(params_count(&t->params), SIZES[i].n_params + (uint64_t)SIZES[i].neck[6] * 8);
        tower_free(t);
    }
}

TEST(neighbours_do_not_matter)
{
    struct error err = {0};
    struct tower *t = some_tower("xs", 96);
    CHECK_OK(tower_pack(t, NUMERICS_F32, &err), &err);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    struct exec *alone = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    size_t picture = (size_t)96 * 96 * 3;
    float *pixels = kit_pixels(4 * picture);
    struct tap taps[2] = {{TAP_FINAL, 0, 0}, {TAP_GRID, 5, 2}};
    struct value *all[2], *one[2];
    struct tower_input in = {.n = 4, .pixels = pixels};
    CHECK_OK(tower_forward(t, e, &in, taps, 2, all, &err), &err);
    for (int i = 0; i < 4; i++) {
        in = (struct tower_input){.n = 1, .pixels = pixels + i * picture};
        exec_reset(alone);
        CHECK_OK(tower_forward(t, alone, &in, taps, 2, one, &err), &err);
        CHECK(!memcmp(one[0]->x, all[0]->x + i * 8, 8 * sizeof(float)));
        CHECK(!memcmp(one[1]->x, all[1]->x + i * 4 * 96, 4 * 96 * sizeof(float)));
    }
    memory_free(pixels);
    exec_free(e);
    exec_free(alone);
    tower_free(t);
}

TEST(other_sizes_and_variants_are_refused)
{
    struct error err = {0};
    struct tower_config c = {.arch = ARCH_MOBILEVIT,
                             .act = ACT_SILU,
                             .eps = 1e-5f,
                             .projection_dim = 8,
                             .image_size = 100,
                             .variant = "xs"};
    CHECK(!tower_new(&c, &err));
    CHECK_HAS(err.text, "a multiple of 32, not 100");
    c.image_size = 96;
    strcpy(c.variant, "m");
    CHECK(!tower_new(&c, &err));
    CHECK_HAS(err.text, "\"m\"");
}

TEST_MAIN
