/* The fingerprint of a set; see identity.h. */
#include "featurize/identity.h"

#include <string.h>

const char *identity_numerics(const struct identity *id, enum numerics n,
                              char text[CALIBRATION_NAME])
{
    static const char *const names[] = {"f32", "bf16.2", "int8"};
    const struct tower *t = id->is_text ? id->model->text : id->model->image;
    if (n == NUMERICS_INT8 && t->calibration)
        return calibration_name(t->calibration, &t->params, text);
    strcpy(text, names[n]);
    return text;
}

enum numerics identity_numerics_of(const char *name)
{
    if (!strncmp(name, "int8", 4)) return NUMERICS_INT8;
    return !strcmp(name, "bf16") || !strncmp(name, "bf16.", 5) ? NUMERICS_BF16 : NUMERICS_F32;
}

int identity_of(struct identity *id, const struct model *m, const char *dir,
                const struct featurize_options *o, bool is_text, const char *caption_rule,
                struct error *err)
{
    *id = (struct identity){.model = m,
                            .is_text = is_text,
                            .max_tokens = o->max_tokens > 0 ? o->max_tokens : m->max_tokens,
                            .plan = o->plan,
                            .caption_rule = caption_rule};
    return model_weights_digest(dir, is_text, id->weights, err);
}

static struct json *config_of(const struct tower *t)
{
    struct json *j = tower_config_json(&t->config);
    json_set_int(j, "projection_dim", t->config.projection_dim);
    return j;
}

static void set_hex(struct json *j, const char *name, const uint8_t digest[DIGEST_BYTES])
{
    char hex[DIGEST_HEX];
    digest_to_hex(digest, hex);
    json_set_string(j, name, hex);
}

struct json *identity_fingerprint(const struct identity *id, const char *tap,
                                  enum codec_storage storage, float epsilon, const char *numerics)
{
    const struct model *m = id->model;
    char spelled[CODEC_TEXT];
    struct json *j = json_new_object();
    set_hex(j, "weights", id->weights);
    json_set(j, "config", config_of(id->is_text ? m->text : m->image));
    if (id->is_text) {
        size_t n;
        uint8_t digest[DIGEST_BYTES];
        const void *bytes = tokenizer_model(m->tokenizer, &n);
        digest_of(bytes, n, digest);
        set_hex(j, "tokenizer", digest);
        json_set_string(j, "caption_rule", id->caption_rule);
        json_set_int(j, "max_tokens", id->max_tokens);
    } else {
        json_set(j, "preprocessing", preprocess_json(&m->preprocess));
        json_set(j, "view_plan", view_plan_json(&id->plan));
    }
    codec_spell(storage, epsilon, spelled);
    json_set_string(j, "tap", tap);
    json_set_string(j, "numerics", numerics);
    json_set_string(j, "storage", spelled);
    json_set_int(j, "format", FEATURESET_FORMAT);
    return j;
}
