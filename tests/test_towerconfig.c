/* config.json to tower_config and back: defaults, what is refused and with which words. */
#include "featurize/tower.h"

#include "store/json.h"
#include "store/memory.h"
#include "tests/check.h"

static int read_config(const char *text, bool is_text, struct tower_config *c, struct error *err)
{
    struct json *j = json_read(text, strlen(text), "config.json", err);
    if (!j) return err->code;
    int rc = is_text ? tower_config_text(j, c, err) : tower_config_image(j, c, err);
    json_free(j);
    return rc;
}

static void same(const struct tower_config *a, const struct tower_config *b)
{
    CHECK_EQ(a->arch, b->arch);
    CHECK_EQ(a->width, b->width);
    CHECK_EQ(a->layers, b->layers);
    CHECK_EQ(a->heads, b->heads);
    CHECK_EQ(a->mlp, b->mlp);
    CHECK_EQ(a->act, b->act);
    CHECK(a->eps == b->eps);
    CHECK_EQ(a->projection_dim, b->projection_dim);
    CHECK_EQ(a->image_size, b->image_size);
    CHECK_EQ(a->patch, b->patch);
    CHECK_EQ(a->vocab, b->vocab);
    CHECK_EQ(a->max_positions, b->max_positions);
    CHECK_EQ(a->pad_id, b->pad_id);
    CHECK_EQ(a->bos_id, b->bos_id);
    CHECK_EQ(a->eos_id, b->eos_id);
    CHECK_EQ(a->head_dim, b->head_dim);
    CHECK_EQ(a->embed_dim, b->embed_dim);
    CHECK_EQ(a->pooling, b->pooling);
    CHECK_STR(a->variant, b->variant);
}

TEST(golden_config)
{
    struct error err = {0};
    struct tower_config c;
    struct json *j = json_read_file("tests/golden/altclip-tiny/model/config.json", 1 << 20, &err);
    CHECK(j);
    CHECK_OK(tower_config_image(j, &c, &err), &err);
    struct tower_config image = {.arch = ARCH_VIT,
                                 .width = 64,
                                 .layers = 3,
                                 .heads = 4,
                                 .mlp = 128,
                                 .act = ACT_QUICK_GELU,
                                 .eps = 1e-5f,
                                 .projection_dim = 40,
                                 .image_size = 56,
                                 .patch = 14};
    same(&c, &image);
    CHECK_OK(tower_config_text(j, &c, &err), &err);
    struct tower_config text = {.arch = ARCH_TEXT,
                                .width = 48,
                                .layers = 3,
                                .heads = 4,
                                .mlp = 96,
                                .act = ACT_GELU,
                                .eps = 1e-5f,
                                .projection_dim = 40,
                                .vocab = 2002,
                                .max_positions = 66,
                                .pad_id = 1,
                                .eos_id = 2,
                                .head_dim = 40};
    same(&c, &text);
    json_free(j);
}

/* Absent and null keys: the defaults of AltCLIPVisionConfig, AltCLIPTextConfig, AltCLIPConfig,
 * MobileViTConfig. */
TEST(defaults)
{
    struct error err = {0};
    struct tower_config c;
    struct tower_config image = {.arch = ARCH_VIT,
                                 .width = 768,
                                 .layers = 12,
                                 .heads = 12,
                                 .mlp = 3072,
                                 .act = ACT_QUICK_GELU,
                                 .eps = 1e-5f,
                                 .projection_dim = 768,
                                 .image_size = 224,
                                 .patch = 32};
    CHECK_OK(read_config("{\"model_type\":\"altclip\"}", false, &c, &err), &err);
    same(&c, &image);
    CHECK_OK(read_config("{\"model_type\":\"altclip\",\"vision_config\":{\"hidden_size\":null}}",
                         false, &c, &err),
             &err);
    same(&c, &image);
    struct tower_config text = {.arch = ARCH_TEXT,
                                .width = 1024,
                                .layers = 24,
                                .heads = 16,
                                .mlp = 4096,
                                .act = ACT_GELU,
                                .eps = 1e-5f,
                                .projection_dim = 1024,
                                .vocab = 250002,
                                .max_positions = 514,
                                .pad_id = 1,
                                .eos_id = 2,
                                .head_dim = 768};
    CHECK_OK(read_config("{\"model_type\":\"altclip\",\"projection_dim\":1024}", true, &c, &err),
             &err);
    same(&c, &text);
    struct tower_config mobile = {.arch = ARCH_MOBILEVIT,
                                  .act = ACT_SILU,
                                  .eps = 1e-5f,
                                  .projection_dim = 768,
                                  .image_size = 256,
                                  .variant = "s"};
    CHECK_OK(read_config(
                 "{\"model_type\":\"clipstill\",\"vision_config\":{\"model_type\":\"mobilevit\"}}",
                 false, &c, &err),
             &err);
    same(&c, &mobile);
}

static void round_trip(const struct tower_config *c)
{
    struct error err = {0};
    struct tower_config back;
    struct json *j = json_new_object();
    bool is_text = c->arch == ARCH_TEXT;
    json_set_string(j, "model_type", "clipstill");
    json_set_int(j, "projection_dim", c->projection_dim);
    json_set(j, is_text ? "text_config" : "vision_config", tower_config_json(c));
    char *text = json_write(j, JSON_PRETTY, &err);
    json_free(j);
    CHECK(text);
    CHECK_OK(read_config(text, is_text, &back, &err), &err);
    same(&back, c);
    memory_free(text);
}

TEST(round_trips)
{
    round_trip(&(struct tower_config){.arch = ARCH_VIT,
                                      .width = 96,
                                      .layers = 5,
                                      .heads = 3,
                                      .mlp = 200,
                                      .act = ACT_GELU_TANH,
                                      .eps = 1e-6f,
                                      .projection_dim = 33,
                                      .image_size = 96,
                                      .patch = 16});
    round_trip(&(struct tower_config){.arch = ARCH_TEXT,
                                      .width = 96,
                                      .layers = 5,
                                      .heads = 6,
                                      .mlp = 200,
                                      .act = ACT_RELU,
                                      .eps = 1e-12f,
                                      .projection_dim = 33,
                                      .vocab = 999,
                                      .max_positions = 40,
                                      .pad_id = 1,
                                      .eos_id = 2,
                                      .head_dim = 17,
                                      .embed_dim = 24,
                                      .pooling = POOL_MEAN});
    round_trip(&(struct tower_config){.arch = ARCH_TEXT,
                                      .width = 8,
                                      .layers = 1,
                                      .heads = 8,
                                      .mlp = 1,
                                      .act = ACT_QUICK_GELU,
                                      .eps = 0.0123457f,
                                      .projection_dim = 1,
                                      .vocab = 4,
                                      .max_positions = 4,
                                      .pad_id = 1,
                                      .eos_id = 2,
                                      .head_dim = 1});
    const char *variants[] = {"xxs", "xs", "s"};
    for (int i = 0; i < 3; i++) {
        struct tower_config c = {.arch = ARCH_MOBILEVIT,
                                 .act = ACT_SILU,
                                 .eps = 1e-5f,
                                 .projection_dim = 64,
                                 .image_size = 160};
        strcpy(c.variant, variants[i]);
        round_trip(&c);
    }
}

static void refused(bool is_text, const char *json, const char *key, const char *found,
                    const char *expected)
{
    struct error err = {0};
    struct tower_config c = {.width = -77};
    CHECK_EQ(read_config(json, is_text, &c, &err), ERR_DATA);
    CHECK_HAS(err.text, key);
    CHECK_HAS(err.text, found);
    CHECK_HAS(err.text, expected);
    CHECK_EQ(c.width, -77); /* untouched */
}

#define TEACHER(section) "{\"model_type\":\"altclip\"," section "}"
#define STUDENT(section) "{\"model_type\":\"clipstill\"," section "}"

TEST(nonsense_is_refused)
{
    refused(false, "{}", "model_type", "absent", "\"altclip\"");
    refused(false, "{\"model_type\":\"clap\"}", "model_type", "\"clap\"", "\"clipstill\"");
    refused(false, "{\"model_type\":7}", "model_type", "7", "a string");
    refused(true, TEACHER("\"projection_dim\":0"), "projection_dim", "is 0", "from 1 to 16384");
    refused(true, TEACHER("\"text_config\":[1]"), "text_config", "[1]", "an object");
    refused(true, STUDENT("\"vision_config\":{}"), "text_config", "absent", "no such tower");
    refused(false, TEACHER("\"vision_config\":{\"hidden_size\":65,\"num_attention_heads\":4}"),
            "vision_config.num_attention_heads", "is 4", "a divisor of hidden_size, 65");
    refused(false, TEACHER("\"vision_config\":{\"hidden_size\":-64}"), "vision_config.hidden_size",
            "-64", "a whole number");
    refused(false, TEACHER("\"vision_config\":{\"hidden_size\":64.5}"), "vision_config.hidden_size",
            "64.5", "a whole number");
    refused(false, TEACHER("\"vision_config\":{\"num_hidden_layers\":\"12\"}"),
            "vision_config.num_hidden_layers", "\"12\"", "a whole number from 1 to 256");
    refused(false, TEACHER("\"vision_config\":{\"intermediate_size\":1e300}"), "intermediate_size",
            "e+300", "a whole number");
    refused(false, TEACHER("\"vision_config\":{\"patch_size\":225}"), "vision_config.patch_size",
            "225", "at most image_size, 224");
    refused(false, TEACHER("\"vision_config\":{\"num_channels\":1}"), "num_channels", "is 1",
            "3 (RGB)");
    refused(false, TEACHER("\"vision_config\":{\"layer_norm_eps\":-1}"), "layer_norm_eps", "-1",
            "a number from");
    refused(false, TEACHER("\"vision_config\":{\"hidden_act\":\"mish\"}"),
            "vision_config.hidden_act", "\"mish\"", "gelu_accurate or gelu_python");
    refused(false, TEACHER("\"vision_config\":{\"model_type\":\"mobilevit\"}"), "model_type",
            "\"mobilevit\"", "altclip_vision_model");
    refused(false, STUDENT("\"vision_config\":{\"model_type\":\"resnet\"}"), "model_type",
            "\"resnet\"", "\"mobilevit\"");
    refused(true, STUDENT("\"text_config\":{\"pooler_fn\":\"max\"}"), "text_config.pooler_fn",
            "\"max\"", "\"cls\" or \"mean\"");
    refused(true, TEACHER("\"text_config\":{\"pad_token_id\":4}"), "text_config.pad_token_id",
            "is 4", "from 0 to 3");
    refused(true, TEACHER("\"text_config\":{\"type_vocab_size\":0}"), "type_vocab_size", "is 0",
            "from 1 to 64");
    refused(true, TEACHER("\"text_config\":{\"position_embedding_type\":\"relative_key\"}"),
            "position_embedding_type", "relative_key", "\"absolute\"");
    refused(true, TEACHER("\"text_config\":{\"vocab_size\":99999999}"), "vocab_size", "99999999",
            "a whole number");
}

#define MOBILE(rest) STUDENT("\"vision_config\":{\"model_type\":\"mobilevit\"," rest "}")

TEST(mobilevit_of_other_sizes_is_refused)
{
    refused(false, MOBILE("\"image_size\":100"), "vision_config.image_size", "100",
            "a multiple of 32");
    refused(false, MOBILE("\"hidden_sizes\":[96,120,144]"), "hidden_sizes", "[96,120,144]",
            "neck_hidden_sizes");
    refused(false, MOBILE("\"hidden_sizes\":[96,120]"), "hidden_sizes", "[96,120]",
            "an array of 3 whole numbers");
    refused(false, MOBILE("\"expand_ratio\":3"), "expand_ratio", "is 3", "expected 4");
    refused(false, MOBILE("\"patch_size\":4"), "patch_size", "is 4", "expected 2");
    refused(false, MOBILE("\"output_stride\":16"), "output_stride", "16", "32");
    refused(false,
            MOBILE("\"hidden_sizes\":[64,80,96],\"neck_hidden_sizes\":[16,16,24,48,64,80,320]"),
            "expand_ratio", "absent", "2 for MobileViT xxs");
}

TEST_MAIN
