/* Unit embeddings of pictures and texts; see model.h. */
#include "featurize/model.h"

#include <math.h>
#include <omp.h>
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

/* Execution contexts and primitives take milliseconds to make: they are made anew only when something that they depend on has changed. */
static int prepare(struct model_run *run, const struct tower *t, enum numerics numerics,
                   struct error *err)
{
    int n_threads = omp_get_max_threads();
    if (run->runner && run->numerics == numerics && run->packed == t->packed &&
        run->n_threads == n_threads)
        return 0;
    runner_close(run->runner);
    *run = (struct model_run){NULL, numerics, t->packed, n_threads};
    return runner_open(&run->runner, t, numerics, n_threads, err);
}

int model_embed_pixels(struct model *m, enum numerics numerics, int n, const uint8_t *pixels,
                       float *out, float *norms, struct error *err)
{
    if (!m->image) return error_set(err, ERR_USAGE, "this model has no image tower");
    int rc = prepare(&m->image_run, m->image, numerics, err);
    if (rc == 0)
        rc = runner_pictures(m->image_run.runner, &m->preprocess, n, pixels, &final_tap, 1, &out,
                             err);
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

int model_embed_texts(struct model *m, enum numerics numerics, int n, const char *const *texts,
                      const size_t *n_bytes, float *out, float *norms, struct error *err)
{
    int32_t *ids = NULL, *offsets = NULL;
    if (!m->text) return error_set(err, ERR_USAGE, "this model has no text tower");
    int rc = ERR_NOMEM;
    offsets = memory_array((uint64_t)n + 1, sizeof *offsets, MEMORY_MAX_FILE, err);
    if (!offsets) goto done;
    rc = tokenise(m, n, texts, n_bytes, &ids, offsets, err);
    if (rc == 0) rc = prepare(&m->text_run, m->text, numerics, err);
    if (rc == 0) rc = runner_texts(m->text_run.runner, n, ids, offsets, &final_tap, 1, &out, err);
    if (rc == 0) normalise(out, norms, n, m->projection_dim);
done:
    memory_free(ids);
    memory_free(offsets);
    return rc;
}
