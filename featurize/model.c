/* Reading a model's folder; see model.h. Writing one is modelsave.c, running one modelembed.c. */
#include "featurize/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "featurize/family.h"
#include "featurize/runner.h"
#include "featurize/tokenizerfile.h"
#include "featurize/towerload.h"
#include "store/file.h"
#include "store/memory.h"

#define MAX_CONFIG_BYTES ((size_t)16 << 20)

static struct json *read_json(const char *dir, const char *name, struct error *err)
{
    char *path = file_join(dir, name, err);
    if (!path) return NULL;
    struct json *j = json_read_file(path, MAX_CONFIG_BYTES, err);
    memory_free(path);
    return j;
}

static int code_of(const struct error *err)
{
    return err && err->code < 0 ? err->code : ERR_DATA;
}

static int read_scale(struct model *m, struct error *err)
{
    const struct family *family = family_of_model(json_text(json_get(m->config, "model_type"), ""));
    const struct tensor *t = weightfile_find(m->weights, "logit_scale");
    float log_scale = (float)json_number(json_get(m->config, "logit_scale_init_value"),
                                         family ? family->logit_scale : 2.6592);
    if (t && t->n == 1) {
        int rc = tensor_f32(t, &log_scale, err);
        if (rc < 0) return rc;
    }
    m->logit_scale = expf(log_scale);
    if (!isfinite(m->logit_scale))
        return error_set(err, ERR_DATA, "%s: logit_scale is %g: its exponential is not finite",
                         m->dir, log_scale);
    return 0;
}

/* preprocessor_config.json, or where Transformers 5 puts it: a member of processor_config.json. A
 * processor that is not named is the family's. `name`: for errors. Owned. */
static struct json *read_preprocessing(const struct model *m, char name[300], struct error *err)
{
    static const char old[] = "preprocessor_config.json", new[] = "processor_config.json";
    snprintf(name, 300, "%.250s/%s", m->dir, old);
    struct json *whole = NULL, *j = NULL;
    if (!file_exists(name) && (whole = read_json(m->dir, new, NULL)))
        j = json_clone(json_get(whole, "image_processor"));
    json_free(whole);
    if (json_is_object(j))
        snprintf(name, 300, "%.250s/%s: image_processor", m->dir, new);
    else
        json_free(j), j = read_json(m->dir, old, err);
    const struct family *f = family_of_model(json_text(json_get(m->config, "model_type"), ""));
    if (f && json_is_null(json_get(j, "image_processor_type")) &&
        json_is_null(json_get(j, "feature_extractor_type")))
        json_set_string(j, "image_processor_type", f->processor);
    return j;
}

static int open_image(struct model *m, bool mapped, struct error *err)
{
    struct tower_config c;
    char name[300];
    int rc = tower_config_image(m->config, &c, err);
    if (rc < 0) {
        error_prefix(err, "%s/", m->dir);
        return rc;
    }
    struct json *j = read_preprocessing(m, name, err);
    if (!j) return code_of(err);
    rc = preprocess_read(j, name, &m->preprocess, err);
    json_free(j);
    if (rc < 0) return rc;
    if (preprocess_side(&m->preprocess) != c.image_size)
        return error_set(err, ERR_DATA,
                         "%s: pictures of %d pixels, but config.json's vision_config takes %d",
                         name, preprocess_side(&m->preprocess), c.image_size);
    return tower_load(&m->image, &c, m->weights, m->dir, mapped, err);
}

/* What a folder's own texts are cut to: the position table, the family's context, and
 * tokenizer_config.json, whichever is least. */
static int open_tokenizer(struct model *m, const struct tower_config *c, struct error *err)
{
    const struct family *f = m->is_student ? NULL : family_of_form(c->form);
    m->max_tokens = tower_max_tokens(c);
    if (f && f->context && f->context < m->max_tokens) m->max_tokens = f->context;
    return tokenizerfile_read(m->dir, f ? f->tokenizer : tokenizerfile_kind(m->dir), &m->tokenizer,
                              &m->max_tokens, err);
}

static int open_text(struct model *m, bool mapped, struct error *err)
{
    struct tower_config c;
    const void *bytes;
    size_t n;
    int rc = tower_config_text(m->config, &c, err);
    if (rc < 0) {
        error_prefix(err, "%s/", m->dir);
        return rc;
    }
    rc = open_tokenizer(m, &c, err);
    if (rc < 0) return rc;
    if (tokenizer_vocab(m->tokenizer) > c.vocab)
        return error_set(err, ERR_DATA,
                         "%s: %s has %d ids, config.json's vocab_size is %d: "
                         "they belong to different models",
                         m->dir, tokenizer_file(m->tokenizer, 0, &bytes, &n),
                         tokenizer_vocab(m->tokenizer), c.vocab);
    return tower_load(&m->text, &c, m->weights, m->dir, mapped, err);
}

/* The parts that this folder has, of those asked for. */
static int parts_of(const struct model *m, int parts)
{
    const struct family *f = family_of_model(json_text(json_get(m->config, "model_type"), ""));
    /* a family without pictures has none to give where texts are asked for, too */
    if (f && !f->has_image && parts & MODEL_TEXT) parts &= ~MODEL_IMAGE;
    if (!m->is_student) return parts;
    if (json_is_null(json_get(m->config, "vision_config"))) parts &= ~MODEL_IMAGE;
    if (json_is_null(json_get(m->config, "text_config"))) parts &= ~MODEL_TEXT;
    return parts;
}

int model_open(struct model **out, const char *dir, int parts, struct error *err)
{
    int rc = ERR_NOMEM;
    bool mapped = parts & MODEL_MAPPED;
    struct model *m = memory_array(1, sizeof *m, MEMORY_MAX_SMALL, err);
    if (!m) goto done;
    if (!file_is_folder(dir)) {
        rc = error_set(err, ERR_NOT_FOUND,
                       "%s: no such folder: a model's folder has config.json and model.safetensors",
                       dir);
        goto done;
    }
    m->dir = memory_string(dir, err);
    if (!m->dir) goto done;
    m->config = read_json(dir, "config.json", err);
    if (!m->config) {
        rc = code_of(err);
        goto done;
    }
    m->is_student = !strcmp(json_text(json_get(m->config, "model_type"), ""), "clipstill");
    rc = weightfile_open(dir, &m->weights, err);
    if (rc == 0) rc = read_scale(m, err);
    parts = parts_of(m, parts);
    if (rc == 0 && parts & MODEL_IMAGE) rc = open_image(m, mapped, err);
    if (rc == 0 && parts & MODEL_TEXT) rc = open_text(m, mapped, err);
    if (m->image || m->text)
        m->projection_dim = (m->image ? m->image : m->text)->config.projection_dim;
    if (rc == 0 && !mapped) weightfile_close(m->weights), m->weights = NULL;
done:
    if (rc < 0) model_free(m), m = NULL;
    *out = m;
    return rc;
}

void model_free(struct model *m)
{
    if (!m) return;
    runner_close(m->image_run.runner);
    runner_close(m->text_run.runner);
    tower_free(m->image);
    tower_free(m->text);
    weightfile_close(m->weights);
    tokenizer_free(m->tokenizer);
    json_free(m->config);
    memory_free(m->dir);
    memory_free(m);
}

/* Belongs to the tower and is used by it: older checkpoints carry position_ids and a pooler that
 * nobody looks at. */
static bool counts(const char *name, bool is_text)
{
    return family_owns(name, is_text) && family_uses(name);
}

int model_weights_digest(const char *dir, bool is_text, uint8_t digest[DIGEST_BYTES],
                         struct error *err)
{
    struct weightfile *w = NULL;
    struct digest *d = NULL;
    int rc = weightfile_open(dir, &w, err);
    if (rc < 0) return rc;
    d = digest_new(err);
    if (!d) {
        weightfile_close(w);
        return ERR_NOMEM;
    }
    const struct tensor *t;
    for (size_t i = 0; (t = weightfile_at(w, i)); i++) {
        if (!counts(t->name, is_text)) continue;
        char shape[200], head[600];
        tensor_shape(t->n_dims, t->shape, shape, sizeof shape);
        int n = snprintf(head, sizeof head, "%.300s %s %s\n", t->name, tensor_type_name(t->type),
                         shape);
        digest_add(d, head, (size_t)n);
        digest_add(d, t->bytes, t->n_bytes);
        tensor_drop(t);
    }
    digest_finish(d, digest);
    weightfile_close(w);
    return 0;
}
