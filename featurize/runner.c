/* Micro-batches over threads, and threads over the last micro-batches; see runner.h. Everything a
 * thread needs (exec, scratch in its arena) is made before the parallel region; a thread that fails
 * keeps its first error and lets the remaining micro-batches of its own be skipped. */
#include "featurize/runner.h"

#include <omp.h>
#include <string.h>

#include "featurize/gemm.h"
#include "store/memory.h"

struct worker {
    struct exec *exec;
    struct error error;
    int rc;
};

struct runner {
    const struct tower *tower;
    struct worker *workers; // (n_workers)
    int n_workers;
    int32_t *first; // (n_micro + 1) first input of each micro-batch
    size_t first_capacity;
    int n_micro;
};

/* What all micro-batches of one call share. */
struct job {
    const struct preprocess *preprocess;
    const uint8_t *pixels;
    const int32_t *ids, *offsets;
    const struct tap *taps;
    int n_taps;
    float *const *out;
};

int runner_open(struct runner **out, const struct tower *t, enum numerics numerics, int n_threads,
                struct error *err)
{
    int rc = ERR_NOMEM;
    struct runner *r = memory_array(1, sizeof *r, MEMORY_MAX_SMALL, err);
    if (!r) return ERR_NOMEM;
    int n = n_threads > 0 ? n_threads : omp_get_max_threads();
    r->tower = t;
    r->workers = memory_array((uint64_t)n, sizeof *r->workers, MEMORY_MAX_SMALL, err);
    if (!r->workers) goto done;
    for (; r->n_workers < n; r->n_workers++) {
        struct exec *e = exec_new(EXEC_INFER, numerics, err);
        if (!e) goto done;
        exec_bind(e, &t->params, t->packed);
        r->workers[r->n_workers].exec = e;
    }
    rc = 0;
done:
    if (rc < 0) runner_close(r), r = NULL;
    *out = r;
    return rc;
}

void runner_close(struct runner *r)
{
    if (!r) return;
    for (int i = 0; i < r->n_workers; i++) exec_free(r->workers[i].exec);
    memory_free(r->workers);
    memory_free(r->first);
    memory_free(r);
}

int64_t runner_width(const struct tower *t, const struct tap *tap)
{
    int64_t width = tower_tap_width(&t->config, tap);
    switch (tap->kind) {
    case TAP_GRID: return width * tap->grid * tap->grid;
    case TAP_HIDDEN: return 0;
    default: return width;
    }
}

/* Pixels scaled, or offsets that begin at 0, in the exec's arena. */
static void make_input(const struct runner *r, const struct job *job, struct exec *e, int first,
                       int n, struct tower_input *in)
{
    in->n = n;
    if (r->tower->config.arch != ARCH_TEXT) {
        int64_t side = r->tower->config.image_size, n_pixels = side * side * n;
        float *pixels = exec_alloc(e, (size_t)n_pixels * 3 * sizeof *pixels);
        if (pixels)
            preprocess_scale(job->preprocess, job->pixels + side * side * 3 * first, n_pixels,
                             pixels);
        in->pixels = pixels;
        return;
    }
    int32_t *offsets = exec_alloc(e, ((size_t)n + 1) * sizeof *offsets);
    for (int i = 0; offsets && i <= n; i++)
        offsets[i] = job->offsets[first + i] - job->offsets[first];
    in->offsets = offsets;
    in->ids = job->ids + job->offsets[first];
}

static void run_micro(const struct runner *r, const struct job *job, int micro, struct worker *w)
{
    struct exec *e = w->exec;
    struct value *out[RUNNER_MAX_TAPS];
    struct tower_input in = {0};
    int first = r->first[micro], n = r->first[micro + 1] - first;
    exec_reset(e);
    make_input(r, job, e, first, n, &in);
    w->rc = exec_failed(e, &w->error);
    if (w->rc == 0) w->rc = tower_forward(r->tower, e, &in, job->taps, job->n_taps, out, &w->error);
    for (int k = 0; k < job->n_taps && w->rc == 0; k++) {
        size_t width = (size_t)runner_width(r->tower, &job->taps[k]);
        memcpy(job->out[k] + (size_t)first * width, out[k]->x, (size_t)n * width * sizeof(float));
    }
}

/* Tokens of inputs first to end of texts; of pictures, which are alike, their number. */
static int64_t weight_of(const struct job *job, int first, int end)
{
    return job->offsets ? job->offsets[end] - job->offsets[first] : end - first;
}

/* Cuts what is left over, fewer micro-batches than workers, anew: into one of about the same weight
 * for each. Returns how many micro-batches are to be shared out; the rest, inputs fewer than
 * workers, is for run_together: pictures, long texts, and any where threads can share a layer's
 * weights. Where they share rows a short text gains nothing: few rows wait for the weights to come
 * from memory, to each thread. */
static int share_out(struct runner *r, const struct job *job)
{
    int rest = r->n_micro % r->n_workers, keep = r->n_micro - rest;
    int first = r->first[keep], end = r->first[r->n_micro], n = end - first;
    int64_t weight = weight_of(job, first, end);
    bool is_worth_it = packed_has_blocks(r->tower->packed) || !job->offsets ||
                       weight >= (int64_t)n * RUNNER_TOKENS / 2;
    if (rest == 0 || (n < r->n_workers && is_worth_it)) return keep;
    int parts = n < r->n_workers ? n : r->n_workers, at = first;
    for (int i = 1; i <= parts; i++) {
        at++;
        while (at < end - (parts - i) && weight_of(job, first, at) * parts < weight * i) at++;
        r->first[keep + i] = at;
    }
    r->n_micro = keep + parts;
    return r->n_micro;
}

/* The micro-batches from `first` on, one after another, each by all threads. A picture alone
 * (`embed`) is one of them. */
static void run_together(struct runner *r, const struct job *job, int first)
{
    struct worker *w = &r->workers[0];
    struct exec *others[EXEC_MAX_TEAM];
    int n = 0;
    for (int i = 1; i < r->n_workers && n < EXEC_MAX_TEAM; i++) others[n++] = r->workers[i].exec;
    exec_lend(w->exec, others, n);
    for (int i = first; i < r->n_micro && w->rc == 0; i++) run_micro(r, job, i, w);
    exec_lend(w->exec, NULL, 0);
}

static int run(struct runner *r, const struct job *job, struct error *err)
{
    struct worker *workers = r->workers;
    for (int k = 0; k < job->n_taps; k++)
        if (runner_width(r->tower, &job->taps[k]) == 0)
            return error_set(err, ERR_USAGE,
                             "a tap of all tokens has no fixed width and cannot be kept");
    if (job->n_taps > RUNNER_MAX_TAPS)
        return error_set(err, ERR_USAGE, "%d taps of one tower: at most %d", job->n_taps,
                         RUNNER_MAX_TAPS);
    for (int i = 0; i < r->n_workers; i++) workers[i].rc = 0;
    int shared_out = share_out(r, job);
#pragma omp parallel for default(none) num_threads(r->n_workers) schedule(dynamic, 1)              \
    shared(r, job, workers, shared_out)
    for (int i = 0; i < shared_out; i++) {
        struct worker *w = &workers[omp_get_thread_num()];
        if (w->rc == 0) run_micro(r, job, i, w);
    }
    run_together(r, job, shared_out);
    for (int i = 0; i < r->n_workers; i++) {
        if (workers[i].rc == 0) continue;
        if (err) *err = workers[i].error;
        return workers[i].rc;
    }
    return 0;
}

int runner_pictures(struct runner *r, const struct preprocess *p, int n, const uint8_t *pixels,
                    const struct tap *taps, int n_taps, float *const *out, struct error *err)
{
    r->n_micro = (n + RUNNER_PICTURES - 1) / RUNNER_PICTURES;
    int rc = memory_grow(&r->first, &r->first_capacity, (uint64_t)n + 1, sizeof *r->first,
                         MEMORY_MAX_FILE, err);
    if (rc < 0) return rc;
    for (int i = 0; i <= r->n_micro; i++)
        r->first[i] = i * RUNNER_PICTURES < n ? i * RUNNER_PICTURES : n;
    struct job job = {
        .preprocess = p, .pixels = pixels, .taps = taps, .n_taps = n_taps, .out = out};
    return run(r, &job, err);
}

int runner_texts(struct runner *r, int n, const int32_t *ids, const int32_t *offsets,
                 const struct tap *taps, int n_taps, float *const *out, struct error *err)
{
    int rc = memory_grow(&r->first, &r->first_capacity, (uint64_t)n + 1, sizeof *r->first,
                         MEMORY_MAX_FILE, err);
    if (rc < 0) return rc;
    r->n_micro = 0;
    for (int i = 0; i < n; i++)
        if (i == 0 || offsets[i + 1] - offsets[r->first[r->n_micro - 1]] > RUNNER_TOKENS)
            r->first[r->n_micro++] = i;
    r->first[r->n_micro] = n;
    struct job job = {.ids = ids, .offsets = offsets, .taps = taps, .n_taps = n_taps, .out = out};
    return run(r, &job, err);
}
