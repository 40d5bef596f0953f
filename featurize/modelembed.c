/* Unit embeddings of pictures and texts; see model.h. */
#include "featurize/model.h"

#include <math.h>
#include <string.h>

#include "featurize/runner.h"
#include "store/memory.h"

static const struct tap final_tap = {TAP_FINAL, 0, 0};

/* Rows to unit length, zero rows as they are. // x (n, dim), norms (n) or NULL */
static void normalise(float *x, float *norms, int n, int dim)
{
    for (int i = 0; i < n; i++) {
        float *row = x + (size_t)i * (size_t)dim;
        double sum = 0;
        for (int j = 0; j < dim; j++) sum += (double)row[j] * row[j];
        double norm = sqrt(sum);
        if (norms) norms[i] = (float)norm;
        for (int j = 0; norm > 0 && j < dim; j++) row[j] = (float)(row[j] / norm);
    }
}

int model_embed_pixels(const struct model *m, enum numerics numerics, int n, const uint8_t *pixels,
                       float *out, float *norms, struct error *err)
{
    struct runner *r;
    if (!m->image) return error_set(err, ERR_USAGE, "this model has no image tower");
    int rc = runner_open(&r, m->image, numerics, 0, err);
    if (rc < 0) return rc;
    rc = runner_pictures(r, &m->preprocess, n, pixels, &final_tap, 1, &out, err);
    runner_close(r);
    if (rc == 0) normalise(out, norms, n, m->projection_dim);
    return rc;
}

/* ids of all texts, concatenated, and where each begins; *ids owned. // offsets (n + 1) */
static int tokenise(const struct model *m, int n, const char *const *texts, const size_t *n_bytes,
                    int32_t **ids, int32_t *offsets, struct error *err)
{
    size_t capacity = 0;
    for (int i = 0; i < n; i++) {
        int rc = memory_grow(ids, &capacity, (uint64_t)offsets[i] + (uint64_t)m->max_tokens,
                             sizeof **ids, MEMORY_MAX_FILE, err);
        if (rc < 0) return rc;
        rc = tokenizer_ids(m->tokenizer, texts[i], n_bytes[i], m->max_tokens, *ids + offsets[i],
                           NULL, NULL, err);
        if (rc < 0) return rc;
        offsets[i + 1] = offsets[i] + rc;
    }
    return 0;
}

int model_embed_texts(const struct model *m, enum numerics numerics, int n,
                      const char *const *texts, const size_t *n_bytes, float *out, float *norms,
                      struct error *err)
{
    struct runner *r = NULL;
    int32_t *ids = NULL, *offsets = NULL;
    if (!m->text) return error_set(err, ERR_USAGE, "this model has no text tower");
    int rc = ERR_NOMEM;
    offsets = memory_array((uint64_t)n + 1, sizeof *offsets, MEMORY_MAX_FILE, err);
    if (!offsets) goto done;
    rc = tokenise(m, n, texts, n_bytes, &ids, offsets, err);
    if (rc == 0) rc = runner_open(&r, m->text, numerics, 0, err);
    if (rc == 0) rc = runner_texts(r, n, ids, offsets, &final_tap, 1, &out, err);
    if (rc == 0) normalise(out, norms, n, m->projection_dim);
done:
    runner_close(r);
    memory_free(ids);
    memory_free(offsets);
    return rc;
}
