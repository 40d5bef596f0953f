/* Writing a model's folder; see model.h. config.json and the small files first, the weights last: a
 * folder without model.safetensors is no model, so that a run killed in between leaves nothing that
 * looks finished. */
#include "featurize/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "featurize/safetensors.h"
#include "featurize/tokenizerfile.h"
#include "store/file.h"
#include "store/memory.h"

/* j is taken. */
static int write_json(const char *dir, const char *name, struct json *j, struct error *err)
{
    int rc = json_write_in(dir, name, j, err);
    json_free(j);
    return rc;
}

static struct json *config_of(const struct model *m, const struct json *extra)
{
    struct json *j = json_new_object(), *architectures = json_new_array();
    json_push_string(architectures, m->is_student ? "ClipstillModel" : "AltCLIPModel");
    json_set(j, "architectures", architectures);
    json_set_string(j, "model_type", m->is_student ? "clipstill" : "altclip");
    json_set_int(j, "projection_dim", m->projection_dim);
    json_set_number(j, "logit_scale_init_value", logf(m->logit_scale));
    if (m->image) json_set(j, "vision_config", tower_config_json(&m->image->config));
    if (m->text) json_set(j, "text_config", tower_config_json(&m->text->config));
    if (extra) json_set(j, "clipstill", json_clone(extra));
    return j;
}

static size_t add_tensors(const struct tower *t, struct tensor *out)
{
    if (!t) return 0;
    for (int i = 0; i < t->params.n; i++) {
        const struct param *p = &t->params.table[i];
        out[i] = (struct tensor){.name = p->name,
                                 .type = TENSOR_F32,
                                 .n_dims = p->n_dims,
                                 .n = p->n,
                                 .bytes = (const uint8_t *)params_at(&t->params, i),
                                 .n_bytes = p->n * sizeof(float)};
        memcpy(out[i].shape, p->shape, (size_t)p->n_dims * sizeof *p->shape);
    }
    return (size_t)t->params.n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int write_weights(const struct model *m, const char *dir, struct error *err)
{
    int rc = ERR_NOMEM;
    uint64_t most = 1 + (m->image ? (uint64_t)m->image->params.n : 0) +
                    (m->text ? (uint64_t)m->text->params.n : 0);
    char *path = file_join(dir, "model.safetensors", err);
    struct json *metadata = json_new_object();
    struct tensor *t = memory_array(most, sizeof *t, MEMORY_MAX_FILE, err);
    float log_scale = logf(m->logit_scale);
    if (!path || !t) goto done;
    size_t n = add_tensors(m->image, t);
    n += add_tensors(m->text, t + n);
    t[n++] = (struct tensor){.name = "logit_scale",
                             .type = TENSOR_F32,
                             .n = 1,
                             .bytes = (const uint8_t *)&log_scale,
                             .n_bytes = sizeof log_scale};
    qsort(t, n, sizeof *t, by_name);
    json_set_string(metadata, "format", "pt");
    rc = safetensors_write(path, n, t, metadata, err);
done:
    json_free(metadata);
    memory_free(t);
    memory_free(path);
    return rc;
}

int model_save(const struct model *m, const char *dir, const struct json *extra, struct error *err)
{
    if (m->text && !m->tokenizer)
        return error_set(err, ERR_USAGE, "%s: a text tower without its tokenizer cannot be saved",
                         dir);
    int rc = file_make_folder(dir, err);
    if (rc == 0) rc = write_json(dir, "config.json", config_of(m, extra), err);
    if (rc == 0 && m->image) {
        struct preprocess p = preprocess_at_side(&m->preprocess, m->image->config.image_size);
        rc = write_json(dir, "preprocessor_config.json", preprocess_json(&p), err);
    }
    if (rc == 0 && m->text) rc = tokenizerfile_write(dir, m->tokenizer, m->max_tokens, err);
    if (rc == 0) rc = write_weights(m, dir, err);
    return rc;
}
