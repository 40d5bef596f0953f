/* The teacher over a sample: pictures through decoder, preprocessing and view, texts through the
 * tokenizer, batch after batch; the vectors go into a comparison and nowhere else. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "featurize/recompute_inside.h"
#include "featurize/runner.h"
#include "ingest/picture.h"
#include "store/memory.h"
#include "store/transfer.h"

#define BATCH 64

struct batch {
    struct recompute_job *job;
    struct runner *runner;
    int n_threads;
    uint32_t dim;
    struct resizer **resizers; // (n_threads) of pictures
    uint8_t *pixels;           // (BATCH, S, S, 3)
    size_t picture;            /* bytes of one */
    int32_t *ids;              /* of texts, concatenated */
    size_t ids_capacity;
    int32_t offsets[BATCH + 1];
    float *out; // (BATCH, dim)
    uint8_t key[BATCH][DIGEST_BYTES];
    const uint8_t *bytes[BATCH];
    size_t n_bytes[BATCH];
    struct error error[BATCH];
};

static void release(struct batch *b)
{
    runner_close(b->runner);
    for (int t = 0; b->resizers && t < b->n_threads; t++) resizer_free(b->resizers[t]);
    memory_free(b->resizers);
    memory_free(b->pixels);
    memory_free(b->ids);
    memory_free(b->out);
    memory_free(b);
}

static int init(struct batch *b, struct error *err)
{
    struct recompute_job *job = b->job;
    bool is_text = job->identity->is_text;
    struct tower *tower = is_text ? job->model->text : job->model->image;
    b->n_threads = job->n_threads > 0 ? job->n_threads : omp_get_max_threads();
    int rc = tower_pack(tower, job->numerics, err);
    if (rc == 0) rc = runner_open(&b->runner, tower, job->numerics, b->n_threads, err);
    if (rc < 0) return rc;
    b->out = memory_array(BATCH, (uint64_t)b->dim * sizeof(float), MEMORY_MAX_TENSOR, err);
    if (!b->out) return ERR_NOMEM;
    if (is_text) return 0;
    uint64_t side = (uint64_t)preprocess_side(&job->model->preprocess);
    b->picture = side * side * 3;
    b->pixels = memory_array(BATCH, b->picture, MEMORY_MAX_TENSOR, err);
    b->resizers = b->pixels ? memory_array((uint64_t)b->n_threads, sizeof *b->resizers,
                                           MEMORY_MAX_SMALL, err)
                            : NULL;
    if (!b->resizers) return ERR_NOMEM;
    for (int t = 0; t < b->n_threads; t++)
        if (!(b->resizers[t] = resizer_new(err))) return ERR_NOMEM;
    return 0;
}

static int prepare(struct batch *b, int i, uint32_t view, struct resizer *r, struct error *err)
{
    const struct preprocess *p = &b->job->model->preprocess;
    struct picture pic = {0};
    struct picture_limits limits = picture_limits_default();
    int rc = picture_decode(b->bytes[i], b->n_bytes[i], &limits, p->apply_orientation, &pic, err);
    if (rc == 0) {
        struct view_box box = view_of(&b->job->identity->plan, b->key[i], view, pic.width_px,
                                      pic.height_px);
        rc = preprocess_u8(p, r, pic.rgb, (int)pic.width_px, (int)pic.height_px, &box,
                           preprocess_side(p), b->pixels + (size_t)i * b->picture, err);
    }
    picture_release(&pic);
    return rc;
}

static int run_pictures(struct batch *b, const struct sampled *s, int n, struct error *err)
{
    struct recompute_job *job = b->job;
    for (int i = 0; i < n; i++) {
        int rc = corpus_image_bytes(job->corpus, s[i].number, &b->bytes[i], &b->n_bytes[i], err);
        if (rc < 0) return rc;
    }
#pragma omp parallel for default(none) num_threads(b->n_threads) schedule(dynamic, 1)              \
    shared(b, s, n)
    for (int i = 0; i < n; i++) {
        b->error[i] = (struct error){0};
        b->error[i].code = prepare(b, i, s[i].view, b->resizers[omp_get_thread_num()],
                                   &b->error[i]);
    }
    for (int i = 0; i < n; i++)
        if (b->error[i].code < 0)
            return error_set(err, b->error[i].code, "image %u has a vector but: %s", s[i].number,
                             b->error[i].text);
    return runner_pictures(b->runner, &job->model->preprocess, n, b->pixels, &job->tap, 1, &b->out,
                           err);
}

static int run_texts(struct batch *b, const struct sampled *s, int n, struct error *err)
{
    struct recompute_job *job = b->job;
    int max_tokens = job->identity->max_tokens;
    for (int i = 0; i < n; i++) {
        const char *text;
        size_t n_text;
        int rc = corpus_caption_text(job->corpus, s[i].number, &text, &n_text, NULL, err);
        if (rc == 0)
            rc = memory_grow(&b->ids, &b->ids_capacity,
                             (uint64_t)b->offsets[i] + (uint64_t)max_tokens, sizeof *b->ids,
                             MEMORY_MAX_FILE, err);
        if (rc == 0)
            rc = tokenizer_ids(job->model->tokenizer, text, n_text, max_tokens,
                               b->ids + b->offsets[i], NULL, NULL, err);
        if (rc < 0) return rc;
        b->offsets[i + 1] = b->offsets[i] + rc;
    }
    return runner_texts(b->runner, n, b->ids, b->offsets, &job->tap, 1, &b->out, err);
}

static int run_batch(struct batch *b, const struct sampled *s, int n, struct comparison *compare,
                     struct error *err)
{
    bool is_text = b->job->identity->is_text;
    for (int i = 0; i < n; i++) {
        int rc = transfer_key(b->job->corpus, is_text ? TOWER_TEXT : TOWER_IMAGE, s[i].number,
                              b->key[i], err);
        if (rc < 0) return rc;
    }
    int rc = is_text ? run_texts(b, s, n, err) : run_pictures(b, s, n, err);
    return rc < 0 ? rc
                  : comparison_rows(compare, (size_t)n, s, (const uint8_t(*)[DIGEST_BYTES])b->key,
                                    b->out, err);
}

int recompute_job_run(struct recompute_job *job, uint32_t dim, const struct sampled *sample,
                      size_t n, struct comparison *compare, struct error *err)
{
    char what[FEATURESET_NAME_MAX + 16];
    struct batch *b = memory_array(1, sizeof *b, MEMORY_MAX_SMALL, err);
    if (!b) return ERR_NOMEM;
    b->job = job;
    b->dim = dim;
    snprintf(what, sizeof what, "recompute %s", compare->set->name);
    int rc = init(b, err);
    for (size_t at = 0; at < n && rc == 0; at += BATCH) {
        if (report_stopped(job->report)) {
            rc = error_set(err, ERR_STOPPED, "stopped after %zu of %zu vectors", at, n);
            break;
        }
        rc = run_batch(b, sample + at, (int)(n - at < BATCH ? n - at : BATCH), compare, err);
        report_progress(job->report, what, at + BATCH < n ? at + BATCH : n, n, 0, 0);
    }
    release(b);
    return rc;
}
