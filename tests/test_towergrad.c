/* Gradients of whole towers against central differences: for a loss on every block's output, on the
 * final embedding, and on all kinds of taps at once, along a random direction in every tensor.
 *
 * The loss is sum r_i y_i / sqrt(n) with fixed r, in double. A direction moves every value of a
 * tensor by +-0.4% of the tensor's size (0.004 where that is zero), so the loss moves by about 2
 * step |g|. Tolerance: 1% of that (the next term of the series is of third order: 1.4% were seen at
 * a step of 1% through all of MobileViT, a sixth of it at 0.4%; a wrong gradient is off by all of
 * it) plus FLOOR for the rounding of a loss of about 1 that is a sum of f32 values (99% of the
 * differences seen are below 8e-7). `n_told` counts the tensors whose gradient stands above that
 * floor, so that the test says when it has become blind.
 */
#include "tests/towerkit.h"
#include "train/backward.h"

#define STEP     0.004
#define RELATIVE 0.01
#define FLOOR    1.5e-6

struct setup {
    struct tower *t;
    struct exec *e;
    struct tower_input in;
    float *grads;
    int n_checked, n_told;
};

static struct setup setup_new(const struct tower_config *c, int n, float *pixels,
                              const int32_t *ids, const int32_t *offsets)
{
    struct error err = {0};
    struct setup s = {.t = kit_tower(c, 4)};
    for (int i = 0; i < s.t->params.n; i++) { /* no bias at zero, no norm at one */
        const struct param *p = &s.t->params.table[i];
        float *w = params_at(&s.t->params, i);
        for (size_t k = 0; p->n_dims == 1 && k < p->n; k++)
            w[k] += 0.2f * kit_noise(k + 1000 * (uint64_t)i);
    }
    s.e = kit_exec(s.t, EXEC_TRAIN, NUMERICS_F32);
    s.in = (struct tower_input){.n = n, .pixels = pixels, .ids = ids, .offsets = offsets};
    s.grads = memory_array(s.t->params.n_floats, sizeof *s.grads, MEMORY_MAX_FILE, &err);
    kit_must(s.grads, &err);
    return s;
}

/* A key's bias has no gradient (softmax does not see it), and blocks above the loss have none. */
static void setup_release(struct setup *s)
{
    printf("# %d gradients, %d of them above rounding\n", s->n_checked, s->n_told);
    CHECK(s->n_told > s->n_checked / 2);
    memory_free(s->grads);
    exec_free(s->e);
    tower_free(s->t);
}

/* The loss; and its gradients in s->grads when asked for. */
static double loss(struct setup *s, const struct tap *taps, int n_taps, bool gradient)
{
    struct error err = {0};
    struct value *out[16];
    double sum = 0;
    exec_reset(s->e);
    kit_must(tower_forward(s->t, s->e, &s->in, taps, n_taps, out, &err) == 0, &err);
    for (int k = 0; k < n_taps; k++) {
        size_t n = (size_t)(out[k]->rows * out[k]->cols);
        double scale = 1 / sqrt((double)n);
        float *dy = gradient ? exec_grad(s->e, out[k]) : NULL;
        for (size_t i = 0; i < n; i++) {
            float r = kit_noise(i + 77777 * (uint64_t)(k + 1));
            sum += scale * r * out[k]->x[i];
            if (gradient) dy[i] += (float)scale * r;
        }
    }
    if (gradient) {
        memset(s->grads, 0, s->t->params.n_floats * sizeof *s->grads);
        kit_must(backward(s->e, NULL, s->grads, &err) == 0, &err);
    }
    return sum;
}

/* Moves tensor i by `sign` steps along its direction. */
static void move(struct setup *s, int i, double step, const float *from)
{
    const struct param *p = &s->t->params.table[i];
    float *w = params_at(&s->t->params, i);
    for (size_t k = 0; k < p->n; k++)
        w[k] = from[k] + (float)(kit_noise(k + 31 * p->n) < 0 ? -step : step);
}

static void check_tensor(struct setup *s, int i, const struct tap *taps, int n_taps)
{
    struct error err = {0};
    const struct param *p = &s->t->params.table[i];
    float *w = params_at(&s->t->params, i);
    float *saved = (float *)memory_copy(w, p->n * sizeof *w, &err);
    kit_must(saved, &err);
    double square = 0, norm = 0, expected = 0;
    for (size_t k = 0; k < p->n; k++) square += (double)w[k] * w[k] / (double)p->n;
    double step = square > 0 ? STEP * sqrt(square) : STEP;
    for (size_t k = 0; k < p->n; k++) {
        double g = s->grads[p->offset + k];
        norm += g * g;
        expected += 2 * g * (kit_noise(k + 31 * p->n) < 0 ? -step : step);
    }
    move(s, i, step, saved);
    double above = loss(s, taps, n_taps, false);
    move(s, i, -step, saved);
    double below = loss(s, taps, n_taps, false);
    memcpy(w, saved, p->n * sizeof *w);
    memory_free(saved);
    double tolerance = RELATIVE * 2 * step * sqrt(norm) + FLOOR;
    if (!(fabs(above - below - expected) <= tolerance))
        CHECK_FAIL(
            "%s: the loss moves by %.6g, its gradient says %.6g (within %.3g; tap %d block %d)",
            p->name, above - below, expected, tolerance, taps[0].kind, taps[0].block);
    s->n_checked++;
    if (step * sqrt(norm) > FLOOR) s->n_told++;
}

/* Every trained tensor whose name contains `part`. */
static void check(struct setup *s, const struct tap *taps, int n_taps, const char *part)
{
    loss(s, taps, n_taps, true);
    int before = s->n_checked;
    for (int i = 0; i < s->t->params.n; i++) {
        const struct param *p = &s->t->params.table[i];
        if (p->kind != PARAM_BUFFER && strstr(p->name, part)) check_tensor(s, i, taps, n_taps);
    }
    CHECK(s->n_checked > before);
}

static void check_tower(struct setup *s)
{
    int last = s->t->config.layers;
    for (int k = 0; k <= last; k++) check(s, &(struct tap){TAP_HIDDEN, k, 0}, 1, "");
    check(s, &(struct tap){TAP_FINAL, 0, 0}, 1, "");
}

static const struct tower_config VIT = {.arch = ARCH_VIT,
                                        .width = 16,
                                        .layers = 2,
                                        .heads = 2,
                                        .mlp = 24,
                                        .act = ACT_QUICK_GELU,
                                        .eps = 1e-5f,
                                        .projection_dim = 6,
                                        .image_size = 24,
                                        .patch = 8};
static const struct tower_config TEXT = {.arch = ARCH_TEXT,
                                         .width = 16,
                                         .layers = 2,
                                         .heads = 4,
                                         .mlp = 24,
                                         .act = ACT_GELU,
                                         .eps = 1e-5f,
                                         .projection_dim = 6,
                                         .vocab = 40,
                                         .max_positions = 14,
                                         .pad_id = 1,
                                         .eos_id = 2,
                                         .head_dim = 10};

static const int32_t IDS[] = {0, 7, 8, 9, 2, 0, 2, 0, 39, 30, 11, 31, 7, 8, 5, 4, 2};
static const int32_t OFFSETS[] = {0, 5, 7, 17};

TEST(vit)
{
    float *pixels = kit_pixels((size_t)3 * 24 * 24 * 3);
    struct setup s = setup_new(&VIT, 3, pixels, NULL, NULL);
    check_tower(&s);
    struct tap all[] = {{TAP_GRID, 0, 2},
                        {TAP_MEAN, 1, 0},
                        {TAP_GRID, 1, 2},
                        {TAP_HIDDEN, 2, 0},
                        {TAP_FINAL, 0, 0}};
    check(&s, all, 5, "");
    setup_release(&s);
    memory_free(pixels);
}

TEST(text_cls)
{
    struct setup s = setup_new(&TEXT, 3, NULL, IDS, OFFSETS);
    check_tower(&s);
    struct tap all[] = {{TAP_MEAN, 0, 0}, {TAP_MEAN, 1, 0}, {TAP_HIDDEN, 1, 0}, {TAP_FINAL, 0, 0}};
    check(&s, all, 4, "");
    setup_release(&s);
}

TEST(text_mean_factorised)
{
    struct tower_config c = TEXT;
    c.pooling = POOL_MEAN;
    c.embed_dim = 6;
    struct setup s = setup_new(&c, 3, NULL, IDS, OFFSETS);
    check_tower(&s);
    setup_release(&s);
}

TEST(text_forms_of_other_families)
{
    for (int form = TEXT_CHINESE_CLIP; form <= TEXT_CLIP; form++) {
        struct tower_config c = TEXT;
        c.form = (enum tower_text)form;
        c.pooling = form == TEXT_CLIP ? POOL_END : form == TEXT_MCLIP ? POOL_MEAN : POOL_CLS;
        c.embed_dim = form == TEXT_CLIP ? 6 : 0;
        struct setup s = setup_new(&c, 3, NULL, IDS, OFFSETS);
        check_tower(&s);
        setup_release(&s);
    }
}

/* Each tensor under a loss on its own block (96 pixels: the last transformer still has sequences of
 * several tokens), and some of them end to end. */
TEST(mobilevit)
{
    struct tower_config c = {.arch = ARCH_MOBILEVIT,
                             .act = ACT_SILU,
                             .eps = 1e-5f,
                             .projection_dim = 6,
                             .image_size = 96,
                             .variant = "xxs"};
    float *pixels = kit_pixels((size_t)2 * 96 * 96 * 3);
    struct setup s = setup_new(&c, 2, pixels, NULL, NULL);
    check(&s, &(struct tap){TAP_HIDDEN, 0, 0}, 1, "conv_stem");
    for (int k = 1; k <= 5; k++) {
        char part[40];
        snprintf(part, sizeof part, "encoder.layer.%d.", k - 1);
        check(&s, &(struct tap){TAP_HIDDEN, k, 0}, 1, part);
    }
    check(&s, &(struct tap){TAP_FINAL, 0, 0}, 1, "conv_1x1_exp");
    struct tap all[] = {{TAP_GRID, 3, 3}, {TAP_GRID, 5, 2}, {TAP_MEAN, 2, 0}, {TAP_FINAL, 0, 0}};
    check(&s, all, 4, "visual_projection");
    check(&s, all, 4, "layer.0.reduce_1x1");
    check(&s, all, 4, "conv_kxk");
    check(&s, all, 4, "query");
    setup_release(&s);
    memory_free(pixels);
}

TEST_MAIN
