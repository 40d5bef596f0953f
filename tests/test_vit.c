/* The picture tower against Hugging Face's AltCLIP (golden), and what must not change a result:
 * neighbours, the mode of execution. */
#include "tests/towerkit.h"

#include "featurize/gemm.h"

/* Golden pixels (N, 3, S, S) as channels-last. */
static float *golden_pixels(const char *set, int n, int side)
{
    float *planes = kit_array(set, "pixels.npy", NULL);
    float *x = kit_pixels((size_t)n * side * side * 3);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            for (int k = 0; k < side * side; k++)
                x[((size_t)i * side * side + k) * 3 + c] =
                    planes[((size_t)i * 3 + c) * side * side + k];
    memory_free(planes);
    return x;
}

static void check_set(const char *set, enum exec_mode mode)
{
    struct error err = {0};
    struct tower_config c = kit_config(set, false);
    struct tower *t = kit_tower(&c, 1);
    CHECK_EQ(kit_load(t, set), 0);
    struct exec *e = kit_exec(t, mode, NUMERICS_F32);
    struct npy shape;
    float *want = kit_array(set, "vision_hidden.npy", &shape);
    float *pixels = golden_pixels(set, 6, c.image_size);
    CHECK_EQ(shape.shape[0], c.layers + 1);
    struct tap taps[16] = {{TAP_FINAL, 0, 0}};
    struct value *out[16];
    for (int k = 0; k <= c.layers; k++) taps[k + 1] = (struct tap){TAP_HIDDEN, k, 0};
    struct tower_input in = {.n = 2, .pixels = pixels};
    CHECK_OK(tower_forward(t, e, &in, taps, c.layers + 2, out, &err), &err);
    for (int k = 0; k <= c.layers; k++) {
        CHECK_EQ((uint64_t)(out[k + 1]->rows * out[k + 1]->cols), shape.n_cols);
        double d = kit_distance(out[k + 1]->x, want + (size_t)k * shape.n_cols, shape.n_cols);
        CHECK_NEAR(d, 0, 1e-4);
    }
    memory_free(want);
    exec_reset(e);

    want = kit_array(set, "image_embeds_raw.npy", NULL);
    in.n = 6;
    CHECK_OK(tower_forward(t, e, &in, taps, 1, out, &err), &err);
    CHECK_EQ(out[0]->rows, 6);
    CHECK_NEAR(kit_distance(out[0]->x, want, (size_t)6 * c.projection_dim), 0, 1e-4);
    memory_free(want);
    memory_free(pixels);
    exec_free(e);
    tower_free(t);
}

TEST(every_layer_equals_hugging_face)
{
    check_set(KIT_SETS[0], EXEC_INFER);
}

TEST(every_layer_equals_hugging_face_on_the_tape)
{
    check_set(KIT_SETS[0], EXEC_TRAIN);
}

TEST(every_layer_equals_hugging_face_photos)
{
    if (!kit_has(KIT_SETS[1])) SKIP("no ../shared/golden/altclip-tiny");
    check_set(KIT_SETS[1], EXEC_INFER);
}

/* With an identity for visual_projection the final tap is the pooled output. */
TEST(pooled_output_equals_hugging_face)
{
    struct error err = {0};
    struct tower_config c = kit_config(KIT_SETS[0], false);
    c.projection_dim = c.width;
    struct tower *t = kit_tower(&c, 1);
    CHECK_EQ(kit_load(t, KIT_SETS[0]), 1);
    float *w = params_at(&t->params, params_find(&t->params, "visual_projection.weight"));
    for (int i = 0; i < c.width * c.width; i++) w[i] = i % (c.width + 1) == 0;
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    float *want = kit_array(KIT_SETS[0], "vision_pooled.npy", NULL);
    float *pixels = golden_pixels(KIT_SETS[0], 6, c.image_size);
    struct tower_input in = {.n = 6, .pixels = pixels};
    struct value *out;
    CHECK_OK(tower_forward(t, e, &in, &(struct tap){TAP_FINAL, 0, 0}, 1, &out, &err), &err);
    CHECK_NEAR(kit_distance(out->x, want, (size_t)6 * c.width), 0, 1e-4);
    memory_free(want);
    memory_free(pixels);
    exec_free(e);
    tower_free(t);
}

TEST(bf16_keeps_the_direction)
{
    struct error err = {0};
    struct tower_config c = kit_config(KIT_SETS[0], false);
    struct tower *t = kit_tower(&c, 1);
    CHECK_EQ(kit_load(t, KIT_SETS[0]), 0);
    CHECK_OK(tower_pack(t, NUMERICS_BF16, &err), &err);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_BF16);
    float *want = kit_array(KIT_SETS[0], "image_embeds_raw.npy", NULL);
    float *pixels = golden_pixels(KIT_SETS[0], 6, c.image_size);
    struct tower_input in = {.n = 6, .pixels = pixels};
    struct value *out;
    CHECK_OK(tower_forward(t, e, &in, &(struct tap){TAP_FINAL, 0, 0}, 1, &out, &err), &err);
    size_t d = (size_t)c.projection_dim;
    for (size_t i = 0; i < 6; i++) CHECK(kit_cosine(out->x + i * d, want + i * d, d) > 0.999);
    memory_free(want);
    memory_free(pixels);
    exec_free(e);
    tower_free(t);
}

/* One picture alone, packed or not, gives the bits it gives among others. 30 pixels in patches of
 * 8: the rest is not looked at. */
static void check_neighbours(enum numerics numerics)
{
    struct error err = {0};
    struct tower_config c = {.arch = ARCH_VIT,
                             .width = 24,
                             .layers = 2,
                             .heads = 3,
                             .mlp = 40,
                             .act = ACT_GELU,
                             .eps = 1e-5f,
                             .projection_dim = 10,
                             .image_size = 30,
                             .patch = 8};
    struct tower *t = kit_tower(&c, 5);
    CHECK_OK(tower_pack(t, numerics, &err), &err);
    struct exec *e = kit_exec(t, EXEC_INFER, numerics);
    struct exec *alone = kit_exec(t, EXEC_INFER, numerics);
    size_t picture = (size_t)30 * 30 * 3;
    float *pixels = kit_pixels(5 * picture);
    struct tap taps[2] = {{TAP_FINAL, 0, 0}, {TAP_GRID, 1, 2}};
    struct value *all[2], *one[2];
    struct tower_input in = {.n = 5, .pixels = pixels};
    CHECK_OK(tower_forward(t, e, &in, taps, 2, all, &err), &err);
    for (int i = 0; i < 5; i++) {
        float *copy = kit_pixels(picture);
        memcpy(copy, pixels + i * picture, picture * sizeof *copy);
        for (int y = 0; y < 30; y++) /* the border beyond the last whole patch */
            for (int k = 24 * 3; k < 30 * 3; k++) copy[y * 90 + k] = 1e9f;
        exec_reset(alone);
        in = (struct tower_input){.n = 1, .pixels = copy};
        CHECK_OK(tower_forward(t, alone, &in, taps, 2, one, &err), &err);
        CHECK(!memcmp(one[0]->x, all[0]->x + i * 10, 10 * sizeof(float)));
        CHECK(!memcmp(one[1]->x, all[1]->x + i * 4 * 24, 4 * 24 * sizeof(float)));
        memory_free(copy);
    }
    memory_free(pixels);
    exec_free(alone);
    exec_free(e);
    tower_free(t);
}

TEST(neighbours_do_not_matter)
{
    check_neighbours(NUMERICS_F32);
}

TEST(neighbours_do_not_matter_in_bf16)
{
    check_neighbours(NUMERICS_BF16);
}

TEST_MAIN
