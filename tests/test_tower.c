/* What all towers share: names of taps, pooled grids, early stops, memory given back, random
 * weights, and refusals.
 *
 * covers: layout pass tap towerinit
 */
#include "tests/towerkit.h"

static const struct tower_config VIT = {.arch = ARCH_VIT,
                                        .width = 24,
                                        .layers = 3,
                                        .heads = 3,
                                        .mlp = 40,
                                        .act = ACT_GELU,
                                        .eps = 1e-5f,
                                        .projection_dim = 10,
                                        .image_size = 40,
                                        .patch = 8};
static const struct tower_config TEXT = {.arch = ARCH_TEXT,
                                         .width = 24,
                                         .layers = 3,
                                         .heads = 4,
                                         .mlp = 32,
                                         .act = ACT_GELU,
                                         .eps = 1e-5f,
                                         .projection_dim = 10,
                                         .vocab = 50,
                                         .max_positions = 12,
                                         .pad_id = 1,
                                         .eos_id = 2,
                                         .head_dim = 14};
static const struct tower_config MOBILE = {.arch = ARCH_MOBILEVIT,
                                           .act = ACT_SILU,
                                           .eps = 1e-5f,
                                           .projection_dim = 10,
                                           .image_size = 96,
                                           .variant = "xxs"};

static const int32_t IDS[] = {0, 7, 8, 9, 2, 0, 2, 0, 49, 30, 11, 31, 7, 8, 5, 4, 2};
static const int32_t OFFSETS[] = {0, 5, 7, 17};

TEST(tap_names)
{
    struct error err = {0};
    static const struct {
        const char *name;
        struct tap tap;
        bool is_text;
    } good[] = {
        {"image.final", {TAP_FINAL, 0, 0}, false},
        {"text.final", {TAP_FINAL, 0, 0}, true},
        {"image.block16@4x4", {TAP_GRID, 16, 4}, false},
        {"image.block0@1x1", {TAP_GRID, 0, 1}, false},
        {"image.block2@64x64", {TAP_GRID, 2, 64}, false},
        {"image.block2.mean", {TAP_MEAN, 2, 0}, false},
        {"text.block3.mean", {TAP_MEAN, 3, 0}, true},
        {"text.block12.hidden", {TAP_HIDDEN, 12, 0}, true},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct tap tap;
        bool is_text;
        char name[64];
        CHECK_OK(tap_parse(good[i].name, &tap, &is_text, &err), &err);
        CHECK_EQ(tap.kind, good[i].tap.kind);
        CHECK_EQ(tap.block, good[i].tap.block);
        CHECK_EQ(tap.grid, good[i].tap.grid);
        CHECK_EQ(is_text, good[i].is_text);
        tap_name(&tap, is_text, name, sizeof name);
        CHECK_STR(name, good[i].name);
    }
    const char *bad[] = {"",
                         "final",
                         "image",
                         "image.",
                         "image.final ",
                         "audio.final",
                         "image.block",
                         "image.block@4x4",
                         "image.block2@4x3",
                         "image.block2@0x0",
                         "image.block2@4",
                         "image.block2@4x4x4",
                         "image.block02@4x4",
                         "image.block2@04x04",
                         "image.block-1.mean",
                         "image.block2",
                         "image.block2.max",
                         "text.block2@2x2",
                         "image.block2@65x65",
                         "image.block99999999999.mean",
                         "text.block1.mean.mean"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tap tap = {TAP_MEAN, 77, 7};
        bool is_text = true;
        if (tap_parse(bad[i], &tap, &is_text, &err) != ERR_USAGE)
            CHECK_FAIL("%s was taken", bad[i]);
        CHECK_HAS(err.text, "image.block2@4x4");
        CHECK_HAS(err.text, bad[i]);
        CHECK_EQ(tap.block, 77);
    }
}

/* One cell by its definition. */
static double cell(const float *x, int side, int width, int cells, int gy, int gx, int column)
{
    double sum = 0;
    int n = 0;
    int y1 = (int)ceil((gy + 1) * side / (double)cells),
        x1 = (int)ceil((gx + 1) * side / (double)cells);
    for (int y = (int)floor(gy * side / (double)cells); y < y1; y++)
        for (int k = (int)floor(gx * side / (double)cells); k < x1; k++, n++)
            sum += x[(y * side + k) * width + column];
    return sum / n;
}

static void check_grid(const struct tower_config *c, int block, int side, int skip, int cells)
{
    struct error err = {0};
    struct tower *t = kit_tower(c, 2);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    float *pixels = kit_pixels((size_t)2 * c->image_size * c->image_size * 3);
    struct tower_input in = {.n = 2, .pixels = pixels};
    struct tap taps[3] = {{TAP_GRID, block, cells}, {TAP_HIDDEN, block, 0}, {TAP_MEAN, block, 0}};
    struct value *out[3];
    CHECK_OK(tower_forward(t, e, &in, taps, 3, out, &err), &err);
    int width = tower_tap_width(c, &taps[0]), tokens = side * side + skip;
    CHECK_EQ(out[0]->rows, 2 * cells * cells);
    CHECK_EQ(out[0]->cols, width);
    CHECK_EQ(out[1]->rows, 2 * tokens);
    CHECK_EQ(out[1]->cols, width);
    CHECK_EQ(out[2]->rows, 2);
    for (int i = 0; i < 2; i++) {
        const float *x = out[1]->x + i * tokens * width;
        for (int k = 0; k < cells * cells * width; k++) {
            int column = k % width, gx = k / width % cells, gy = k / width / cells;
            double want = cell(x + skip * width, side, width, cells, gy, gx, column);
            CHECK_NEAR(out[0]->x[i * cells * cells * width + k], want, 1e-5);
        }
        for (int column = 0; column < width; column++) {
            double want = 0;
            for (int r = 0; r < tokens; r++) want += x[r * width + column] / tokens;
            CHECK_NEAR(out[2]->x[i * width + column], want, 1e-5);
        }
    }
    memory_free(pixels);
    exec_free(e);
    tower_free(t);
}

TEST(grids_and_means_by_their_definition)
{
    check_grid(&VIT, 0, 5, 1, 2);
    check_grid(&VIT, 2, 5, 1, 3);
    check_grid(&VIT, 3, 5, 1, 7); /* more cells than tokens: cells share them */
    check_grid(&MOBILE, 0, 48, 0, 4);
    check_grid(&MOBILE, 4, 6, 0, 4);
    check_grid(&MOBILE, 5, 3, 0, 2);
}

/* Every tap of one pass equals the tap asked for alone, when the pass ends early; the tape gives
 * the same values. */
static void check_early_stop(const struct tower_config *c, const struct tower_input *in)
{
    struct error err = {0};
    struct tower *t = kit_tower(c, 2);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    struct exec *alone = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    struct exec *tape = kit_exec(t, EXEC_TRAIN, NUMERICS_F32);
    struct tap taps[10] = {{TAP_FINAL, 0, 0}};
    struct value *all[10], *one, *recorded[10];
    int n = 1;
    for (int k = 0; k <= tower_n_blocks(c); k++)
        taps[n++] = (struct tap){k % 2 ? TAP_MEAN : TAP_HIDDEN, k, 0};
    CHECK_OK(tower_forward(t, e, in, taps, n, all, &err), &err);
    CHECK_OK(tower_forward(t, tape, in, taps, n, recorded, &err), &err);
    for (int k = 0; k < n; k++) {
        size_t bytes = (size_t)(all[k]->rows * all[k]->cols) * sizeof(float);
        CHECK_EQ(all[k]->cols, tower_tap_width(c, &taps[k]));
        exec_reset(alone);
        CHECK_OK(tower_forward(t, alone, in, &taps[k], 1, &one, &err), &err);
        CHECK(!memcmp(one->x, all[k]->x, bytes));
        if (c->arch != ARCH_MOBILEVIT) /* there batch norm takes other statistics */
            CHECK(!memcmp(recorded[k]->x, all[k]->x, bytes));
    }
    exec_free(e);
    exec_free(alone);
    exec_free(tape);
    tower_free(t);
}

TEST(taps_do_not_disturb_each_other)
{
    float *pixels = kit_pixels((size_t)2 * 96 * 96 * 3);
    check_early_stop(&VIT, &(struct tower_input){.n = 2, .pixels = pixels});
    check_early_stop(&MOBILE, &(struct tower_input){.n = 2, .pixels = pixels});
    check_early_stop(&TEXT, &(struct tower_input){.n = 3, .ids = IDS, .offsets = OFFSETS});
    memory_free(pixels);
}

/* In EXEC_INFER what a pass has used at its end does not grow with depth; on the tape it does. */
static size_t arena_after(const struct tower_config *c, int layers, enum exec_mode mode)
{
    struct error err = {0};
    struct tower_config deep = *c;
    deep.layers = layers;
    struct tower *t = kit_tower(&deep, 2);
    struct exec *e = kit_exec(t, mode, NUMERICS_F32);
    float *pixels = kit_pixels((size_t)2 * 40 * 40 * 3);
    struct tower_input in = {
        .n = c->arch == ARCH_TEXT ? 3 : 2, .pixels = pixels, .ids = IDS, .offsets = OFFSETS};
    struct value *out;
    CHECK(tower_forward(t, e, &in, &(struct tap){TAP_FINAL, 0, 0}, 1, &out, &err) == 0);
    size_t used = exec_mark(e);
    memory_free(pixels);
    exec_free(e);
    tower_free(t);
    return used;
}

TEST(depth_costs_no_memory)
{
    CHECK_EQ(arena_after(&VIT, 2, EXEC_INFER), arena_after(&VIT, 9, EXEC_INFER));
    CHECK_EQ(arena_after(&TEXT, 2, EXEC_INFER), arena_after(&TEXT, 9, EXEC_INFER));
    CHECK(arena_after(&VIT, 2, EXEC_TRAIN) < arena_after(&VIT, 9, EXEC_TRAIN));
}

static const float *weights(const struct tower *t, const char *name, size_t *n)
{
    int i = params_find(&t->params, name);
    if (i < 0) {
        printf("# no tensor %s\n", name);
        exit(1);
    }
    *n = t->params.table[i].n;
    return params_at(&t->params, i);
}

static void check_deviation(const struct tower *t, const char *name, double want)
{
    size_t n;
    const float *w = weights(t, name, &n);
    double mean = 0, square = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        mean += w[i] / (double)n;
        square += (double)w[i] * w[i] / (double)n;
        most = fmax(most, fabs(w[i]));
    }
    double se = want /
                sqrt((double)n); /* standard error of the mean; that of the deviation is smaller */
    CHECK_NEAR(mean, 0, 5 * se);
    CHECK_NEAR(sqrt(square), want, 5 * se);
    CHECK(most < 3.47 * want);
}

TEST(random_weights_have_their_scale)
{
    struct tower *t = kit_tower(&VIT, 2);
    check_deviation(t, "vision_model.embeddings.position_embedding.weight", 0.02);
    check_deviation(t, "vision_model.embeddings.class_embedding", 0.02);
    check_deviation(t, "vision_model.embeddings.patch_embedding.weight", sqrt(2.0 / (24 + 192)));
    check_deviation(t, "vision_model.encoder.layers.1.mlp.fc1.weight", sqrt(2.0 / (24 + 40)));
    check_deviation(t, "vision_model.encoder.layers.1.mlp.fc2.weight", sqrt(2.0 / (24 + 40) / 6));
    check_deviation(t, "vision_model.encoder.layers.2.self_attn.out_proj.weight",
                    sqrt(2.0 / (24 + 24) / 6));
    tower_free(t);
    t = kit_tower(&TEXT, 2);
    check_deviation(t, "text_model.roberta.embeddings.word_embeddings.weight", 0.02);
    check_deviation(t, "text_model.roberta.encoder.layer.0.output.dense.weight",
                    sqrt(2.0 / (24 + 32) / 6));
    tower_free(t);
    t = kit_tower(&MOBILE, 2);
    check_deviation(t, "vision_model.conv_stem.convolution.weight", sqrt(2.0 / (16 * 9)));
    check_deviation(t, "vision_model.encoder.layer.0.layer.0.conv_3x3.convolution.weight",
                    sqrt(2.0 / 9));
    size_t n;
    CHECK(weights(t, "vision_model.conv_stem.normalization.running_var", &n)[3] == 1);
    CHECK(weights(t, "vision_model.conv_stem.normalization.weight", &n)[3] == 1);
    CHECK(weights(t, "vision_model.conv_stem.normalization.bias", &n)[3] == 0);
    CHECK(weights(t, "vision_model.conv_stem.normalization.running_mean", &n)[3] == 0);
    tower_free(t);
}

/* A pure function of seed, name and position: another depth shares what it has in common, another
 * seed nothing. */
TEST(random_weights_depend_on_seed_and_name)
{
    struct tower_config deep = VIT;
    deep.projection_dim = 20;
    struct tower *a = kit_tower(&VIT, 2), *b = kit_tower(&deep, 2), *c = kit_tower(&VIT, 3);
    const char *name = "vision_model.encoder.layers.1.self_attn.q_proj.weight";
    const char *other = "vision_model.encoder.layers.1.self_attn.k_proj.weight";
    size_t n;
    const float *wa = weights(a, name, &n), *wb = weights(b, name, &n), *wc = weights(c, name, &n);
    CHECK(!memcmp(wa, wb, n * sizeof *wa));
    CHECK(fabs(kit_cosine(wa, wc, n)) < 0.2);
    CHECK(fabs(kit_cosine(wa, weights(a, other, &n), n)) < 0.2);
    CHECK_NEAR(wa[0] * 1e6, 162707.075,
               0.5); /* pinned: students' weights must not change between versions */
    tower_free(a);
    tower_free(b);
    tower_free(c);
}

TEST(refusals)
{
    struct error err = {0};
    struct tower *t = kit_tower(&VIT, 2), *text = kit_tower(&TEXT, 2);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    struct exec *f = kit_exec(text, EXEC_INFER, NUMERICS_F32);
    float *pixels = kit_pixels((size_t)2 * 40 * 40 * 3);
    struct tower_input in = {.n = 2, .pixels = pixels};
    struct value *out;
    struct tap tap = {TAP_MEAN, 4, 0};
    CHECK_EQ(tower_forward(t, e, &in, &tap, 1, &out, &err), ERR_USAGE);
    CHECK_HAS(err.text, "image.block4.mean: this tower has blocks 0 to 3");
    CHECK_EQ(tower_forward(t, f, &in, &tap, 1, &out, &err), ERR_USAGE);
    CHECK_HAS(err.text, "bound to another network");
    tap.block = 1;
    CHECK_EQ(
        tower_forward(t, e, &(struct tower_input){.n = 0, .pixels = pixels}, &tap, 1, &out, &err),
        ERR_USAGE);
    CHECK_EQ(tower_forward(text, f, &in, &tap, 1, &out, &err), ERR_USAGE);
    CHECK_HAS(err.text, "text tower without its input");
    tap = (struct tap){TAP_GRID, 1, 2};
    in = (struct tower_input){.n = 3, .ids = IDS, .offsets = OFFSETS};
    CHECK_EQ(tower_forward(text, f, &in, &tap, 1, &out, &err), ERR_USAGE);
    CHECK_HAS(err.text, "only picture towers have a grid");
    struct tower_config bad = VIT;
    bad.heads = 5;
    CHECK(!tower_new(&bad, &err));
    CHECK_HAS(err.text, "heads divide the width");
    memory_free(pixels);
    exec_free(e);
    exec_free(f);
    tower_free(t);
    tower_free(text);
}

TEST(out_of_memory_at_any_allocation)
{
    struct error err = {0};
    const struct tower_config *configs[] = {&VIT, &TEXT, &MOBILE};
    for (int i = 0; i < 3; i++) {
        long n = 0;
        struct tower *t = NULL;
        while (!t && n < 200) {
            memory_fail_at(++n);
            t = tower_new(configs[i], &err);
            memory_fail_at(0);
            if (!t) CHECK_EQ(err.code, ERR_NOMEM);
        }
        CHECK(t && n > 3);
        tower_free(t);
    }
}

TEST_MAIN
