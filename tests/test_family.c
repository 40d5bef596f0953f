/* Families of teachers: Chinese-CLIP and CLIP against golden vectors made by other implementations
 * (token ids, pixels' embeddings, every layer), M-CLIP against its definition, and what is refused.
 *
 * covers: cliptext causal tokenizerfile strangers
 */
#include "featurize/family.h"
#include "featurize/model.h"
#include "featurize/safetensors.h"
#include "featurize/strangers.h"
#include "featurize/weightfile.h"
#include "ingest/picture.h"
#include "tests/towerkit.h"

static void golden_path(const char *set, const char *name, char path[300])
{
    snprintf(path, 300, "../shared/golden/%s/%s", set, name);
}

static bool same_ids(const struct json *want, const int32_t *ids, int n)
{
    bool same = (size_t)n == json_size(want);
    for (int i = 0; same && i < n; i++) same = ids[i] == json_int(json_at(want, (size_t)i), -1);
    return same;
}

static void check_tokens(const struct model *m, const struct json *captions)
{
    struct error err = {0};
    static int32_t ids[10000];
    CHECK(json_size(captions) > 5);
    for (size_t i = 0; i < json_size(captions); i++) {
        const struct json *c = json_at(captions, i);
        const char *text = json_text(json_get(c, "text"), "");
        int n = tokenizer_ids(m->tokenizer, text, strlen(text), 10000, ids, NULL, NULL, &err);
        CHECK_OK(n, &err);
        if (!same_ids(json_get(c, "ids"), ids, n)) CHECK_FAIL("ids of \"%.60s\"", text);
        n = tokenizer_ids(m->tokenizer, text, strlen(text), m->max_tokens, ids, NULL, NULL, &err);
        if (!same_ids(json_get(c, "ids_max"), ids, n)) CHECK_FAIL("cut ids of \"%.60s\"", text);
    }
}

static void check_rows(const char *set, const char *name, const float *unit, double cosine)
{
    struct npy shape;
    char root[300];
    golden_path(set, "", root);
    float *want = kit_array(root, name, &shape);
    for (uint64_t i = 0; i < shape.n_rows; i++)
        CHECK(kit_cosine(unit + i * shape.n_cols, want + i * shape.n_cols, shape.n_cols) > cosine);
    memory_free(want);
}

/* Decoded, resized and cropped as the teacher's own code does it: equal, bit for bit. */
static void check_pixels(const char *set, const struct model *m, const struct npy *u8)
{
    struct error err = {0};
    struct resizer *r = resizer_new(&err);
    struct picture_limits limits = picture_limits_default();
    struct view_box whole = {.whole = true};
    int side = preprocess_side(&m->preprocess);
    static uint8_t out[256 * 256 * 3];
    for (uint64_t i = 0; i < u8->n_rows; i++) {
        char name[40], path[300], *bytes;
        size_t n;
        struct picture p = {0};
        snprintf(name, sizeof name, "inputs/%d.jpg", (int)i);
        golden_path(set, name, path);
        kit_must(file_read(path, 1 << 28, &bytes, &n, &err) == 0, &err);
        CHECK_OK(picture_decode(bytes, n, &limits, true, &p, &err), &err);
        CHECK_OK(preprocess_u8(&m->preprocess, r, p.rgb, (int)p.width_px, (int)p.height_px, &whole,
                               side, out, &err),
                 &err);
        size_t stride = (size_t)side * (size_t)side * 3;
        CHECK(!memcmp(out, (const uint8_t *)u8->data + i * stride, stride));
        picture_release(&p);
        memory_free(bytes);
    }
    resizer_free(r);
}

static void check_model(const char *set, int max_tokens, enum numerics numerics, double cosine)
{
    struct error err = {0};
    struct model *m;
    struct npy u8;
    char path[300];
    static float out[64 * 64];
    const char *text[64];
    size_t n_text[64];
    golden_path(set, "model", path);
    kit_must(model_open(&m, path, MODEL_IMAGE | MODEL_TEXT, &err) == 0, &err);
    CHECK_EQ(m->max_tokens, max_tokens);
    golden_path(set, "tokens.json", path);
    struct json *j = json_read_file(path, 1 << 24, &err);
    const struct json *captions = json_get(j, "captions");
    check_tokens(m, captions);
    CHECK_OK(tower_pack(m->image, numerics, &err), &err);
    CHECK_OK(tower_pack(m->text, numerics, &err), &err);
    int n = (int)json_size(captions);
    for (int i = 0; i < n; i++) {
        text[i] = json_text(json_get(json_at(captions, (size_t)i), "text"), "");
        n_text[i] = strlen(text[i]);
    }
    CHECK_OK(model_embed_texts(m, numerics, n, text, n_text, out, NULL, &err), &err);
    check_rows(set, "text_embeds.npy", out, cosine);
    golden_path(set, "expected/pixels_u8.npy", path);
    CHECK_OK(npy_open(path, &u8, &err), &err);
    check_pixels(set, m, &u8);
    CHECK_OK(model_embed_pixels(m, numerics, (int)u8.n_rows, u8.data, out, NULL, &err), &err);
    check_rows(set, "image_embeds.npy", out, cosine);
    npy_close(&u8);
    json_free(j);
    model_free(m);
}

/* Every layer of one caption, on the tape or not. */
static void check_hidden(const char *set, int caption, enum exec_mode mode)
{
    struct error err = {0};
    char root[300], name[32], path[320];
    golden_path(set, "", root);
    struct tower_config c = kit_config(root, true);
    struct tower *t = kit_tower(&c, 1);
    CHECK_EQ(kit_load(t, root), 0);
    struct exec *e = kit_exec(t, mode, NUMERICS_F32);
    snprintf(path, sizeof path, "%s/tokens.json", root);
    struct json *j = json_read_file(path, 1 << 24, &err);
    const struct json *list = json_get(json_at(json_get(j, "captions"), (size_t)caption),
                                       "ids_max");
    int32_t ids[64], offsets[2] = {0, (int32_t)json_size(list)};
    for (int i = 0; i < offsets[1]; i++) ids[i] = (int32_t)json_int(json_at(list, (size_t)i), 0);
    struct tap taps[16];
    struct value *out[16];
    for (int k = 0; k <= c.layers; k++) taps[k] = (struct tap){TAP_HIDDEN, k, 0};
    struct tower_input in = {.n = 1, .ids = ids, .offsets = offsets};
    CHECK_OK(tower_forward(t, e, &in, taps, c.layers + 1, out, &err), &err);
    snprintf(name, sizeof name, "text_hidden_%d.npy", caption);
    struct npy shape;
    float *want = kit_array(root, name, &shape);
    CHECK_EQ(shape.n_cols, offsets[1] * c.width);
    for (int k = 0; k <= c.layers; k++)
        CHECK_NEAR(kit_distance(out[k]->x, want + (size_t)k * shape.n_cols, shape.n_cols), 0, 1e-4);
    memory_free(want);
    json_free(j);
    exec_free(e);
    tower_free(t);
}

static bool has(const char *set)
{
    char path[300];
    golden_path(set, "", path);
    return kit_has(path);
}

TEST(chinese_clip_equals_its_own_code)
{
    if (!has("cnclip-tiny")) SKIP("no ../shared/golden/cnclip-tiny");
    check_model("cnclip-tiny", 52, NUMERICS_F32, 0.99999);
    check_model("cnclip-tiny", 52, NUMERICS_BF16, 0.999);
    for (int i = 0; i < 2; i++) check_hidden("cnclip-tiny", i, EXEC_INFER);
    check_hidden("cnclip-tiny", 0, EXEC_TRAIN);
}

TEST(clip_equals_open_clip)
{
    if (!has("clip-tiny")) SKIP("no ../shared/golden/clip-tiny");
    check_model("clip-tiny", 32, NUMERICS_F32, 0.99999);
    check_model("clip-tiny", 32, NUMERICS_BF16, 0.999);
    for (int i = 0; i < 2; i++) check_hidden("clip-tiny", i, EXEC_INFER);
    check_hidden("clip-tiny", 0, EXEC_TRAIN);
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
                                          .eos_id = 2};

static float *run(struct tower *t, const int32_t *ids, int n, const struct tap *tap,
                  struct exec **e, struct value **out)
{
    struct error err = {0};
    int32_t offsets[2] = {0, n};
    struct tower_input in = {.n = 1, .ids = ids, .offsets = offsets};
    *e = kit_exec(t, EXEC_INFER, NUMERICS_F32);
    kit_must(tower_forward(t, *e, &in, tap, 1, out, &err) == 0, &err);
    return (*out)->x;
}

/* A token changes nothing before itself, and all that comes after. */
TEST(a_causal_tower_looks_backwards)
{
    struct tower_config c = SMALL;
    c.form = TEXT_CLIP;
    c.pooling = POOL_END;
    struct tower *t = kit_tower(&c, 3);
    const struct tap hidden = {TAP_HIDDEN, 2, 0}, final = {TAP_FINAL, 0, 0};
    int32_t a[] = {40, 7, 8, 9, 49, 3}, b[] = {40, 7, 8, 10, 49, 3}, end[] = {40, 7, 8, 9, 49, 11};
    struct exec *e, *f;
    struct value *x, *y;
    run(t, a, 6, &hidden, &e, &x);
    run(t, b, 6, &hidden, &f, &y);
    CHECK(!memcmp(x->x, y->x, 3 * 24 * sizeof(float)));
    for (int row = 3; row < 6; row++)
        CHECK(kit_distance(x->x + row * 24, y->x + row * 24, 24) > 1e-4);
    exec_free(e);
    exec_free(f);
    run(t, a, 6, &final, &e, &x); /* pooled at the highest id, whatever stands behind it */
    run(t, end, 6, &final, &f, &y);
    CHECK(!memcmp(x->x, y->x, 10 * sizeof(float)));
    exec_free(e);
    exec_free(f);
    tower_free(t);
}

static int configure(const char *text, bool is_text, struct tower_config *c, struct error *err)
{
    struct json *j = json_read(text, strlen(text), "config.json", err);
    kit_must(j, err);
    *err = (struct error){0};
    int rc = is_text ? tower_config_text(j, c, err) : tower_config_image(j, c, err);
    json_free(j);
    return rc;
}

/* CLIP's eos_token_id names the row that is pooled, the first of several; 2 stands for the highest
 * id, and so does an id that no text can hold or that is the highest. */
TEST(the_end_token_is_the_one_of_the_config)
{
    static const struct {
        const char *config;
        int eos, row;
    } cases[] = {{"", 2, 3},
                 {", \"text_config\": {\"eos_token_id\": 7, \"vocab_size\": 50}", 7, 1},
                 {", \"text_config\": {\"eos_token_id\": 9, \"vocab_size\": 50}", 9, 4},
                 {", \"text_config\": {\"eos_token_id\": 30, \"vocab_size\": 50}", 30, 0},
                 {", \"text_config\": {\"eos_token_id\": 49, \"vocab_size\": 50}", 2, 3},
                 {", \"text_config\": {\"eos_token_id\": 49407, \"vocab_size\": 50}", 2, 3}};
    struct error err = {0};
    struct tower_config c = SMALL, read;
    c.form = TEXT_CLIP;
    c.pooling = POOL_END;
    struct tower *t = kit_tower(&c, 3);
    int32_t ids[] = {40, 7, 8, 48, 9, 48, 9, 7};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        struct exec *e, *f;
        struct value *x, *y;
        snprintf(text, sizeof text, "{\"model_type\": \"clip\"%s}", cases[i].config);
        CHECK_OK(configure(text, true, &read, &err), &err);
        CHECK_EQ(read.eos_id, cases[i].eos);
        t->config.eos_id = read.eos_id;
        run(t, ids, 8, &(struct tap){TAP_FINAL, 0, 0}, &e, &x);
        t->config.eos_id = ids[cases[i].row]; /* the same text, cut there: nothing behind matters */
        run(t, ids, cases[i].row + 1, &(struct tap){TAP_FINAL, 0, 0}, &f, &y);
        CHECK(!memcmp(x->x, y->x, 10 * sizeof(float)));
        exec_free(e);
        exec_free(f);
    }
    tower_free(t);
}

/* LinearTransformation of the mean of the last block's rows. */
TEST(mclip_is_a_mean_and_a_linear)
{
    struct tower_config c = SMALL;
    c.form = TEXT_MCLIP;
    c.pooling = POOL_MEAN;
    struct tower *t = kit_tower(&c, 3);
    const int32_t ids[] = {0, 17, 18, 30, 2};
    int w = params_find(&t->params, "LinearTransformation.weight"),
        b = params_find(&t->params, "LinearTransformation.bias");
    CHECK(w >= 0 && b >= 0);
    CHECK(params_find(&t->params, "transformer.embeddings.word_embeddings.weight") >= 0);
    CHECK(params_find(&t->params, "transformer.encoder.layer.1.output.LayerNorm.bias") >= 0);
    for (int i = 0; i < 10; i++) params_at(&t->params, b)[i] = (float)i / 7;
    struct exec *e, *f;
    struct value *x, *y;
    run(t, ids, 5, &(struct tap){TAP_MEAN, 2, 0}, &e, &x);
    run(t, ids, 5, &(struct tap){TAP_FINAL, 0, 0}, &f, &y);
    for (int i = 0; i < 10; i++) {
        double sum = (float)i / 7;
        for (int k = 0; k < 24; k++) sum += (double)params_at(&t->params, w)[i * 24 + k] * x->x[k];
        CHECK_NEAR(y->x[i], sum, 1e-5);
    }
    exec_free(e);
    exec_free(f);
    tower_free(t);
}

TEST(absent_keys_take_the_defaults_of_the_family)
{
    struct error err = {0};
    struct tower_config c;
    CHECK_OK(configure("{\"model_type\": \"chinese_clip\"}", true, &c, &err), &err);
    CHECK_EQ(c.vocab, 30522);
    CHECK_EQ(c.max_positions, 512);
    CHECK_EQ(tower_max_tokens(&c), 512);
    CHECK_EQ(c.n_types, 2);
    CHECK_EQ(c.projection_dim, 512);
    CHECK(c.eps == 1e-12f && c.act == ACT_GELU);
    CHECK_OK(configure("{\"model_type\": \"clip\"}", true, &c, &err), &err);
    CHECK_EQ(c.width, 512);
    CHECK_EQ(c.heads, 8);
    CHECK_EQ(tower_max_tokens(&c), 77);
    CHECK(c.act == ACT_QUICK_GELU && c.pooling == POOL_END);
    CHECK_OK(configure("{\"model_type\": \"clip\"}", false, &c, &err), &err);
    CHECK_EQ(c.patch, 32);
    CHECK_EQ(c.projection_dim, 512);
    CHECK_OK(configure("{\"model_type\": \"altclip\"}", true, &c, &err), &err);
    CHECK_EQ(tower_max_tokens(&c), 512);
    CHECK_OK(configure("{\"model_type\": \"M-CLIP\", \"modelBase\": \"xlm-roberta-base\", "
                       "\"transformerDimensions\": 768, \"numDims\": 640}",
                       true, &c, &err),
             &err);
    CHECK_EQ(c.layers, 12);
    CHECK_EQ(c.projection_dim, 640);
    CHECK_EQ(tower_max_tokens(&c), 512);
}

/* What Hugging Face's classes take without a look at it, or by another name. */
TEST(keys_that_change_nothing_are_no_hindrance)
{
    struct error err = {0};
    struct tower_config c;
    CHECK_OK(
        configure("{\"model_type\": \"altclip\", \"text_config\": {\"pooler_fn\": \"average\", "
                  "\"bos_token_id\": null, \"eos_token_id\": 7, \"type_vocab_size\": 2, "
                  "\"pad_token_id\": 0, \"max_position_embeddings\": 80, \"hidden_act\": "
                  "\"gelu_fast\"}}",
                  true, &c, &err),
        &err);
    CHECK(c.pooling == POOL_CLS && c.act == ACT_GELU_TANH);
    CHECK_EQ(c.n_types, 2);
    CHECK_EQ(tower_first_position(&c), 1);
    CHECK_EQ(tower_max_tokens(&c), 79);
    CHECK_OK(
        configure("{\"model_type\": \"M-CLIP\", \"modelBase\": \"mine/small\", \"numDims\": 9, "
                  "\"text_config\": {\"hidden_size\": 24, \"num_attention_heads\": 3}}",
                  true, &c, &err),
        &err);
    CHECK_EQ(c.width, 24);
    CHECK_EQ(c.projection_dim, 9);
}

/* Old files carry the section twice; Hugging Face's classes take *_config_dict where it is there. */
TEST(config_dicts_go_before)
{
    struct error err = {0};
    struct tower_config c;
    CHECK_OK(configure("{\"model_type\": \"clip\", \"text_config\": {\"hidden_size\": 64}, "
                       "\"text_config_dict\": {\"hidden_size\": 128, \"hidden_act\": \"gelu\"}, "
                       "\"vision_config\": {\"patch_size\": 14}, \"vision_config_dict\": null}",
                       true, &c, &err),
             &err);
    CHECK_EQ(c.width, 128);
    CHECK(c.act == ACT_GELU);
    CHECK_OK(configure("{\"model_type\": \"clip\", \"vision_config\": {\"patch_size\": 14}, "
                       "\"vision_config_dict\": null}",
                       false, &c, &err),
             &err);
    CHECK_EQ(c.patch, 14);
}

TEST(what_no_family_has_is_refused)
{
    struct error err = {0};
    struct tower_config c;
    CHECK_EQ(configure("{\"model_type\": \"siglip2\"}", true, &c, &err), ERR_DATA);
    CHECK_HAS(err.text, "model_type is \"siglip2\"");
    CHECK_HAS(err.text, "chinese_clip");
    CHECK_EQ(configure("{\"model_type\": \"M-CLIP\"}", false, &c, &err), ERR_USAGE);
    CHECK_HAS(err.text, "text tower alone");
    CHECK_EQ(
        configure("{\"model_type\": \"M-CLIP\", \"modelBase\": \"bert-base\"}", true, &c, &err),
        ERR_DATA);
    CHECK_HAS(err.text, "modelBase");
    CHECK_EQ(configure("{\"model_type\": \"clip\", \"text_config\": {\"hidden_act\": \"mish\"}}",
                       true, &c, &err),
             ERR_DATA);
    CHECK_HAS(err.text, "text_config.hidden_act");
}

/* What a student writes of its tower is what it reads. */
TEST(every_form_survives_its_own_config)
{
    struct error err = {0};
    for (int form = 0; form <= TEXT_CLIP; form++) {
        struct tower_config c = family_of_form((enum tower_text)form)->text, back;
        c.arch = ARCH_TEXT;
        c.form = (enum tower_text)form;
        c.projection_dim = 10;
        if (form == TEXT_CLIP) c.eos_id = 7;
        struct json *j = json_new_object();
        json_set_string(j, "model_type", "clipstill");
        json_set_int(j, "projection_dim", 10);
        json_set(j, "text_config", tower_config_json(&c));
        CHECK_OK(tower_config_text(j, &back, &err), &err);
        CHECK_EQ(back.form, form);
        CHECK_EQ(back.pooling, c.pooling);
        CHECK_EQ(back.eos_id, c.eos_id);
        CHECK_EQ(tower_max_tokens(&back), tower_max_tokens(&c));
        CHECK(back.eps == c.eps && back.n_types == c.n_types && back.vocab == c.vocab);
        json_free(j);
    }
}

/* A student with the teacher's tokenizer: folder out, folder in, the same embeddings. */
static void check_saved(const char *set)
{
    struct error err = {0};
    char path[300], dir[] = "/tmp/clipstill-family-XXXXXX";
    const char *text[] = {"a red dress \xe8\xa3\x99", "it's"};
    size_t n_text[] = {strlen(text[0]), 4};
    float a[2 * 64], b[2 * 64];
    struct model *m, *back;
    golden_path(set, "model", path);
    kit_must(model_open(&m, path, MODEL_TEXT, &err) == 0, &err);
    m->is_student = true;
    if (!mkdtemp(dir)) abort();
    CHECK_OK(model_save(m, dir, NULL, &err), &err);
    CHECK_OK(model_open(&back, dir, MODEL_TEXT, &err), &err);
    CHECK_EQ(back->max_tokens, m->max_tokens);
    CHECK_OK(model_embed_texts(m, NUMERICS_F32, 2, text, n_text, a, NULL, &err), &err);
    CHECK_OK(model_embed_texts(back, NUMERICS_F32, 2, text, n_text, b, NULL, &err), &err);
    CHECK(!memcmp(a, b, 2 * (size_t)m->projection_dim * sizeof *a));
    model_free(m);
    model_free(back);
    CHECK_OK(file_remove_folder(dir, &err), &err);
}

TEST(what_is_saved_is_opened)
{
    if (!has("cnclip-tiny") || !has("clip-tiny")) SKIP("no ../shared/golden");
    check_saved("cnclip-tiny");
    check_saved("clip-tiny");
}

static char said[800];

static void hear(void *ctx, const char *text)
{
    (void)ctx;
    snprintf(said, sizeof said, "%s", text);
}

static void copy_file(const char *dir, const char *name)
{
    char from[300], to[300], *bytes;
    size_t n;
    struct error err = {0};
    snprintf(from, sizeof from, "%s/model/%s", KIT_SETS[0], name);
    snprintf(to, sizeof to, "%s/%s", dir, name);
    kit_must(file_read(from, 1 << 28, &bytes, &n, &err) == 0, &err);
    kit_must(file_write(to, bytes, n, &err) == 0, &err);
    memory_free(bytes);
}

/* Tensors of another model are named; those that old files carry are not. */
TEST(strangers_are_named)
{
    struct error err = {0};
    struct weightfile *w;
    struct model *m;
    char dir[] = "/tmp/clipstill-family-XXXXXX", path[300];
    static const char *const extra[] = {"text_model.extra.weight",
                                        "text_model.roberta.pooler.dense.bias",
                                        "vision_model.embeddings.position_ids", "other.weight"};
    float one = 1;
    kit_must(mkdtemp(dir) != NULL, &err);
    snprintf(path, sizeof path, "%s/model", KIT_SETS[0]);
    kit_must(weightfile_open(path, &w, &err) == 0, &err);
    size_t n = weightfile_n(w);
    struct tensor *t = memory_array(n + 4, sizeof *t, MEMORY_MAX_SMALL, &err);
    for (size_t i = 0; i < n; i++) t[i] = *weightfile_at(w, i);
    for (size_t i = 0; i < 4; i++)
        t[n + i] = (struct tensor){.name = extra[i],
                                   .type = TENSOR_F32,
                                   .n_dims = 1,
                                   .shape = {1},
                                   .n = 1,
                                   .bytes = (const uint8_t *)&one,
                                   .n_bytes = 4};
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK_OK(safetensors_write(path, n + 4, t, NULL, &err), &err);
    memory_free(t);
    weightfile_close(w);
    copy_file(dir, "config.json");
    copy_file(dir, "preprocessor_config.json");
    copy_file(dir, "sentencepiece.bpe.model");
    struct report report = {.warn = hear};
    CHECK_OK(model_open(&m, dir, MODEL_IMAGE | MODEL_TEXT | MODEL_MAPPED, &err), &err);
    CHECK_EQ(strangers_warn(m, &report), 2);
    CHECK_HAS(said, "2 tensors");
    CHECK_HAS(said, "other.weight, text_model.extra.weight");
    model_free(m);
    CHECK_OK(model_open(&m, dir, MODEL_IMAGE | MODEL_MAPPED, &err), &err);
    CHECK_EQ(strangers_warn(m, &report), 1); /* the text tower was not looked at */
    model_free(m);
    CHECK_OK(file_remove_folder(dir, &err), &err);
}

TEST_MAIN
