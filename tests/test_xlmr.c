/* The text tower against Hugging Face's AltCLIP (golden), mean pooling and the factorised embedding
 * against their definitions, and bad input. */
#include "tests/towerkit.h"

#include "featurize/gemm.h"

struct texts {
    int n;
    int32_t *ids, *offsets;
};

/* The golden captions without their padding. */
static struct texts golden_texts(const char *set)
{
    struct error err = {0};
    struct npy shape;
    float *ids = kit_array(set, "input_ids.npy", &shape);
    float *mask = kit_array(set, "attention_mask.npy", NULL);
    struct texts t = {.n = (int)shape.n_rows};
    t.ids = memory_array(shape.n_rows * shape.n_cols, sizeof *t.ids, MEMORY_MAX_FILE, &err);
    t.offsets = memory_array(shape.n_rows + 1, sizeof *t.offsets, MEMORY_MAX_FILE, &err);
    kit_must(t.ids && t.offsets, &err);
    int32_t n = 0;
    for (uint64_t i = 0; i < shape.n_rows * shape.n_cols; i++) {
        if (i % shape.n_cols == 0) t.offsets[i / shape.n_cols] = n;
        if (mask[i] != 0) t.ids[n++] = (int32_t)ids[i];
    }
    t.offsets[t.n] = n;
    memory_free(ids);
    memory_free(mask);
    return t;
}

static void texts_release(struct texts *t)
{
    memory_free(t->ids);
    memory_free(t->offsets);
}

static void check_hidden(const char *set, struct tower *t, struct exec *e, const struct texts *x,
                         int caption)
{
    struct error err = {0};
    char name[32];
    struct npy shape;
    snprintf(name, sizeof name, "text_hidden_%d.npy", caption);
    float *want = kit_array(set, name, &shape);
    size_t width = (size_t)t->config.width, one = shape.n_cols;
    struct tap taps[16];
    struct value *out[16];
    for (int k = 0; k <= t->config.layers; k++) taps[k] = (struct tap){TAP_HIDDEN, k, 0};
    struct tower_input in = {.n = x->n, .ids = x->ids, .offsets = x->offsets};
    exec_reset(e);
    CHECK_OK(tower_forward(t, e, &in, taps, t->config.layers + 1, out, &err), &err);
    CHECK_EQ((x->offsets[caption + 1] - x->offsets[caption]) * width, one);
    for (int k = 0; k <= t->config.layers; k++) {
        const float *got = out[k]->x + (size_t)x->offsets[caption] * width;
        CHECK_NEAR(kit_distance(got, want + (size_t)k * one, one), 0, 1e-4);
    }
    memory_free(want);
}

static void check_set(const char *set, enum exec_mode mode)
{
    struct error err = {0};
    struct tower_config c = kit_config(set, true);
    struct tower *t = kit_tower(&c, 1);
    CHECK_EQ(kit_load(t, set), 0);
    struct exec *e = kit_exec(t, mode, NUMERICS_F32);
    struct texts x = golden_texts(set);
    check_hidden(set, t, e, &x, 0);
    check_hidden(set, t, e, &x, 1);
    float *want = kit_array(set, "text_embeds_raw.npy", NULL);
    struct tower_input in = {.n = x.n, .ids = x.ids, .offsets = x.offsets};
    struct value *out;
    exec_reset(e);
    CHECK_OK(tower_forward(t, e, &in, &(struct tap){TAP_FINAL, 0, 0}, 1, &out, &err), &err);
    CHECK_NEAR(kit_distance(out->x, want, (size_t)x.n * c.projection_dim), 0, 1e-4);
    memory_free(want);
    texts_release(&x);
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

TEST(every_layer_equals_hugging_face_captions)
{
    if (!kit_has(KIT_SETS[1])) SKIP("no ../shared/golden/altclip-tiny");
    check_set(KIT_SETS[1], EXEC_INFER);
}

/* With an identity for text_projection the final tap is the pooled output. */
TEST(pooled_output_equals_hugging_face)
{
    struct error err = {0};
    struct tower_config c = kit_config(KIT_SETS[0], true);
    c.projection_dim = c.head_dim;
    struct tower *t = kit_tower(&c, 1);
    kit_load(t, KIT_SETS[0]);
    float *w = params_at(&t->params, params_find(&t->params, "text_projection.weight"));
    for (int i = 0; i < c.head_dim * c.head_dim; i++) w[i] = i % (c.head_dim + 1) == 0;
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    struct texts x = golden_texts(KIT_SETS[0]);
    float *want = kit_array(KIT_SETS[0], "text_pooled.npy", NULL);
    struct tower_input in = {.n = x.n, .ids = x.ids, .offsets = x.offsets};
    struct value *out;
    CHECK_OK(tower_forward(t, e, &in, &(struct tap){TAP_FINAL, 0, 0}, 1, &out, &err), &err);
    CHECK_NEAR(kit_distance(out->x, want, (size_t)x.n * c.head_dim), 0, 1e-4);
    memory_free(want);
    texts_release(&x);
    exec_free(e);
    tower_free(t);
}

TEST(bf16_keeps_the_direction)
{
    struct error err = {0};
    struct tower_config c = kit_config(KIT_SETS[0], true);
    struct tower *t = kit_tower(&c, 1);
    CHECK_EQ(kit_load(t, KIT_SETS[0]), 0);
    CHECK_OK(tower_pack(t, NUMERICS_BF16, &err), &err);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_BF16);
    struct texts x = golden_texts(KIT_SETS[0]);
    float *want = kit_array(KIT_SETS[0], "text_embeds_raw.npy", NULL);
    struct tower_input in = {.n = x.n, .ids = x.ids, .offsets = x.offsets};
    struct value *out;
    CHECK_OK(tower_forward(t, e, &in, &(struct tap){TAP_FINAL, 0, 0}, 1, &out, &err), &err);
    size_t d = (size_t)c.projection_dim;
    for (int i = 0; i < x.n; i++)
        CHECK(kit_cosine(out->x + (size_t)i * d, want + (size_t)i * d, d) > 0.999);
    memory_free(want);
    texts_release(&x);
    exec_free(e);
    tower_free(t);
}

static const struct tower_config SMALL = {.arch = ARCH_TEXT,
                                          .width = 24,
                                          .layers = 2,
                                          .heads = 4,
                                          .mlp = 32,
                                          .act = ACT_GELU,
                                          .eps = 1e-5f,
                                          .projection_dim = 10,
                                          .vocab = 50,
                                          .max_positions = 12,
                                          .pad_id = 1,
                                          .bos_id = 0,
                                          .eos_id = 2,
                                          .head_dim = 14};

static const int32_t IDS[] = {0, 7, 8, 9, 2, 0, 2, 0, 49, 30, 1, 31, 7, 8, 5, 4, 2};
static const int32_t OFFSETS[] = {0, 5, 7, 17};

static const float *tensor(const struct tower *t, const char *name)
{
    int i = params_find(&t->params, name);
    if (i < 0) CHECK_FAIL("no tensor %s", name);
    return params_at(&t->params, i < 0 ? 0 : i);
}

/* transformation(pre_LN(x)) of one token, added to sum; in double. */
static void add_transformed(const struct tower *t, const float *x, double *sum)
{
    const struct tower_config *c = &t->config;
    double mean = 0, var = 0, h[64];
    for (int i = 0; i < c->width; i++) mean += x[i] / (double)c->width;
    for (int i = 0; i < c->width; i++) var += (x[i] - mean) * (x[i] - mean) / c->width;
    const float *g = tensor(t, "text_model.pre_LN.weight"),
                *b = tensor(t, "text_model.pre_LN.bias");
    for (int i = 0; i < c->width; i++) h[i] = (x[i] - mean) / sqrt(var + c->eps) * g[i] + b[i];
    const float *w = tensor(t, "text_model.transformation.weight");
    for (int o = 0; o < c->head_dim; o++) {
        double y = tensor(t, "text_model.transformation.bias")[o];
        for (int i = 0; i < c->width; i++) y += w[o * c->width + i] * h[i];
        sum[o] += y;
    }
}

/* The definition: the mean of all transformed tokens, then the projection. */
TEST(mean_pooling_by_its_definition)
{
    struct error err = {0};
    struct tower_config c = SMALL;
    c.pooling = POOL_MEAN;
    struct tower *t = kit_tower(&c, 3);
    float *bias = (float *)tensor(t, "text_model.transformation.bias");
    for (int i = 0; i < c.head_dim; i++) bias[i] = kit_noise((uint64_t)i);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    struct tap taps[2] = {{TAP_FINAL, 0, 0}, {TAP_HIDDEN, 2, 0}};
    struct value *out[2];
    struct tower_input in = {.n = 3, .ids = IDS, .offsets = OFFSETS};
    CHECK_OK(tower_forward(t, e, &in, taps, 2, out, &err), &err);
    const float *w = tensor(t, "text_projection.weight");
    for (int s = 0; s < 3; s++) {
        double sum[64] = {0}, length = OFFSETS[s + 1] - OFFSETS[s];
        for (int r = OFFSETS[s]; r < OFFSETS[s + 1]; r++)
            add_transformed(t, out[1]->x + r * c.width, sum);
        for (int o = 0; o < c.projection_dim; o++) {
            double y = 0;
            for (int i = 0; i < c.head_dim; i++) y += w[o * c.head_dim + i] * sum[i] / length;
            CHECK_NEAR(out[0]->x[s * c.projection_dim + o], y, 1e-5);
        }
    }
    exec_free(e);
    tower_free(t);
}

/* A factorised embedding equals a full one whose rows are word * mapping + bias. */
TEST(factorised_embedding_is_a_product)
{
    struct error err = {0};
    struct tower_config narrow = SMALL, wide = SMALL;
    narrow.embed_dim = 6;
    struct tower *a = kit_tower(&narrow, 9), *b = kit_tower(&wide, 9);
    const float *rows = tensor(a, "text_model.roberta.embeddings.word_embeddings.weight");
    const float *map = tensor(a,
                              "text_model.roberta.embeddings.embedding_hidden_mapping_in.weight");
    float *bias = (float *)tensor(a,
                                  "text_model.roberta.embeddings.embedding_hidden_mapping_in.bias");
    float *full = (float *)tensor(b, "text_model.roberta.embeddings.word_embeddings.weight");
    for (int o = 0; o < 24; o++) {
        bias[o] = 0.1f * kit_noise((uint64_t)o);
        for (int v = 0; v < 50; v++) {
            double y = bias[o];
            for (int i = 0; i < 6; i++) y += rows[v * 6 + i] * map[o * 6 + i];
            full[v * 24 + o] = (float)y;
        }
    }
    struct exec *ea = kit_exec(a, EXEC_INFER, NUMERICS_F32);
    struct exec *eb = kit_exec(b, EXEC_INFER, NUMERICS_F32);
    struct tap taps[2] = {{TAP_FINAL, 0, 0}, {TAP_MEAN, 0, 0}};
    struct value *x[2], *y[2];
    struct tower_input in = {.n = 3, .ids = IDS, .offsets = OFFSETS};
    CHECK_OK(tower_forward(a, ea, &in, taps, 2, x, &err), &err);
    CHECK_OK(tower_forward(b, eb, &in, taps, 2, y, &err), &err);
    CHECK_NEAR(kit_distance(x[0]->x, y[0]->x, 30), 0, 2e-5);
    CHECK_NEAR(kit_distance(x[1]->x, y[1]->x, 72), 0, 2e-5);
    CHECK(kit_distance(x[0]->x, x[0]->x + 10, 10) > 1e-3); /* texts differ */
    exec_free(ea);
    exec_free(eb);
    tower_free(a);
    tower_free(b);
}

static void check_neighbours(enum numerics numerics)
{
    struct error err = {0};
    struct tower *t = kit_tower(&SMALL, 3);
    struct exec *e = kit_exec(t, EXEC_INFER, numerics);
    struct exec *alone = kit_exec(t, EXEC_INFER, numerics);
    struct tap taps[2] = {{TAP_FINAL, 0, 0}, {TAP_MEAN, 1, 0}};
    struct value *all[2], *one[2];
    struct tower_input in = {.n = 3, .ids = IDS, .offsets = OFFSETS};
    CHECK_OK(tower_forward(t, e, &in, taps, 2, all, &err), &err);
    for (int s = 0; s < 3; s++) {
        int32_t offsets[2] = {0, OFFSETS[s + 1] - OFFSETS[s]};
        in = (struct tower_input){.n = 1, .ids = IDS + OFFSETS[s], .offsets = offsets};
        exec_reset(alone);
        CHECK_OK(tower_forward(t, alone, &in, taps, 2, one, &err), &err);
        CHECK(!memcmp(one[0]->x, all[0]->x + s * 10, 10 * sizeof(float)));
        CHECK(!memcmp(one[1]->x, all[1]->x + s * 24, 24 * sizeof(float)));
    }
    exec_free(e);
    exec_free(alone);
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

static void refused(const int32_t *ids, int32_t length, const char *why)
{
    struct error err = {0};
    struct tower *t = kit_tower(&SMALL, 3);
    struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    int32_t offsets[2] = {0, length};
    struct value *out;
    struct tower_input in = {.n = 1, .ids = ids, .offsets = offsets};
    CHECK_EQ(tower_forward(t, e, &in, &(struct tap){TAP_FINAL, 0, 0}, 1, &out, &err), ERR_DATA);
    CHECK_HAS(err.text, why);
    CHECK(!out);
    exec_free(e);
    tower_free(t);
}

TEST(bad_texts_are_refused)
{
    refused((int32_t[]){0, 5, 5, 5, 5, 5, 5, 5, 5, 5, 2}, 11,
            "has 11 tokens; this tower takes 1 to 10");
    refused((int32_t[]){0, 2}, 0, "has 0 tokens");
    refused((int32_t[]){0, 50, 2}, 3, "word_embeddings");
    refused((int32_t[]){0, -1, 2}, 3, "word_embeddings");
}

TEST_MAIN
