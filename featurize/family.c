/* The tables; see family.h. */
#include "featurize/family.h"

#include <string.h>

static const struct family_text TEXTS[] = {
    [TEXT_ALTCLIP] = {.model_type = "altclip_text_model",
                      .prefix = "text_model.roberta.",
                      .word = "embeddings.word_embeddings.weight",
                      .norm = "text_model.pre_LN",
                      .hidden = "text_model.transformation",
                      .projection = "text_projection",
                      .pad_shifts = true},
    [TEXT_CHINESE_CLIP] = {.model_type = "chinese_clip_text_model",
                           .prefix = "text_model.",
                           .word = "embeddings.word_embeddings.weight",
                           .projection = "text_projection"},
    [TEXT_CLIP] = {.model_type = "clip_text_model",
                   .prefix = "text_model.",
                   .word = "embeddings.token_embedding.weight",
                   .norm = "text_model.final_layer_norm",
                   .projection = "text_projection",
                   .is_causal = true},
    [TEXT_MCLIP] = {.model_type = "mclip_text_model",
                    .prefix = "transformer.",
                    .word = "embeddings.word_embeddings.weight",
                    .projection = "LinearTransformation",
                    .projection_bias = true,
                    .pad_shifts = true},
};

#define OPENAI_SCALE  2.6592f /* ln(1 / 0.07) */
#define TRAINED_SCALE 4.6052f /* ln 100, as trained CLIPs have */

/* XLM-R large, the text tower of AltCLIP and M-CLIP; the head is each one's own. */
#define XLMR_LARGE                                                                                 \
    .width = 1024, .layers = 24, .heads = 16, .mlp = 4096, .act = ACT_GELU, .eps = 1e-5f,          \
    .vocab = 250002, .max_positions = 514, .pad_id = TOKEN_PAD, .bos_id = TOKEN_BOS,               \
    .eos_id = TOKEN_EOS, .n_types = 1

static const struct family FAMILIES[] = {
    {.model_type = "altclip",
     .form = TEXT_ALTCLIP,
     .tokenizer = TOKENIZER_SENTENCEPIECE,
     .has_image = true,
     .processor = "CLIPImageProcessor",
     .projection_dim = 768,
     .logit_scale = OPENAI_SCALE,
     .text = {XLMR_LARGE, .head_dim = 768, .pooling = POOL_CLS}},
    {.model_type = "chinese_clip",
     .form = TEXT_CHINESE_CLIP,
     .tokenizer = TOKENIZER_WORDPIECE,
     .has_image = true,
     .processor = "ChineseCLIPImageProcessor",
     .context = 52,
     .projection_dim = 512,
     .logit_scale = OPENAI_SCALE,
     .text = {.width = 768,
              .layers = 12,
              .heads = 12,
              .mlp = 3072,
              .act = ACT_GELU,
              .eps = 1e-12f,
              .vocab = 30522,
              .max_positions = 512,
              .n_types = 2,
              .pooling = POOL_CLS}},
    {.model_type = "clip",
     .form = TEXT_CLIP,
     .tokenizer = TOKENIZER_BYTEPAIR,
     .has_image = true,
     .processor = "CLIPImageProcessor",
     .projection_dim = 512,
     .logit_scale = OPENAI_SCALE,
     .text = {.width = 512,
              .layers = 12,
              .heads = 8,
              .mlp = 2048,
              .act = ACT_QUICK_GELU,
              .eps = 1e-5f,
              .vocab = 49408,
              .max_positions = 77,
              .eos_id = TOKEN_EOS,
              .n_types = 1,
              .pooling = POOL_END}},
    {.model_type = "M-CLIP",
     .form = TEXT_MCLIP,
     .tokenizer = TOKENIZER_SENTENCEPIECE,
     .projection_dim = 768,
     .logit_scale = TRAINED_SCALE,
     .text = {XLMR_LARGE, .pooling = POOL_MEAN}},
};

#define N_FAMILIES (sizeof FAMILIES / sizeof *FAMILIES)

const struct family *family_of_model(const char *model_type)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (!strcmp(FAMILIES[i].model_type, model_type)) return &FAMILIES[i];
    return NULL;
}

const struct family *family_of_form(enum tower_text form)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (FAMILIES[i].form == form) return &FAMILIES[i];
    return NULL;
}

const struct family *family_of_text(const char *model_type)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (!strcmp(TEXTS[FAMILIES[i].form].model_type, model_type)) return &FAMILIES[i];
    return NULL;
}

const struct family_text *family_text(enum tower_text form)
{
    return &TEXTS[form];
}

bool family_owns(const char *tensor, bool is_text)
{
    static const char *const image[] = {"vision_model.", "visual_projection.", NULL};
    static const char *const text[] = {"text_model.", "text_projection.", "transformer.",
                                       "LinearTransformation.", NULL};
    for (const char *const *p = is_text ? text : image; *p; p++)
        if (!strncmp(tensor, *p, strlen(*p))) return true;
    return false;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

bool family_uses(const char *tensor)
{
    return !ends_with(tensor, ".position_ids") && !strstr(tensor, ".pooler.") &&
           !ends_with(tensor, ".num_batches_tracked");
}

const char *family_names(void)
{
    return "\"altclip\", \"chinese_clip\", \"clip\", \"M-CLIP\"";
}
