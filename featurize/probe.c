/* A block timed; see probe.h. */
#include "featurize/probe.h"

#include <omp.h>

#include "featurize/calibration.h"
#include "featurize/effort.h"
#include "featurize/runner.h"
#include "store/memory.h"

#define IDS     64   /* of the made-up vocabulary: rows of a table, and no products */
#define ENOUGH  0.05 /* seconds; a shorter block is timed again */
#define REPEATS 3

static const struct tap final = {.kind = TAP_FINAL};

static int n_threads(const struct probe *p)
{
    return p->n_threads > 0 ? p->n_threads : omp_get_max_threads();
}

static struct tower_config block_of(const struct probe *p)
{
    struct tower_config c = *p->config;
    c.layers = 1;
    if (c.arch == ARCH_TEXT) c.vocab = IDS;
    return c;
}

/* A whole micro-batch for each thread. */
static int n_inputs(const struct probe *p)
{
    int a_thread = p->config->arch != ARCH_TEXT   ? RUNNER_PICTURES
                   : p->n_tokens >= RUNNER_TOKENS ? 1
                                                  : RUNNER_TOKENS / p->n_tokens;
    return n_threads(p) * a_thread;
}

static double flop_once(const struct probe *p)
{
    struct tower_config c = block_of(p);
    return n_inputs(p) * effort_flop(&c, p->n_tokens, &final, 1);
}

double probe_flop(const struct probe *p)
{
    return 2 * flop_once(p);
}

struct trial {
    struct tower *tower;
    struct runner *runner;
    int n;
    uint8_t *pixels;        // (n, S, S, 3)
    int32_t *ids, *offsets; // (n * n_tokens), (n + 1)
    float *out;             // (n, width of the embedding)
};

static int make(struct trial *t, const struct probe *p, struct error *err)
{
    struct tower_config c = block_of(p);
    bool is_text = c.arch == ARCH_TEXT;
    uint64_t side = is_text ? 0 : (uint64_t)c.image_size,
             n_tokens = is_text ? (uint64_t)p->n_tokens : 0;
    t->n = n_inputs(p);
    uint64_t n = (uint64_t)t->n;
    if (!(t->tower = tower_new(&c, err))) return err->code;
    tower_randomise(t->tower, 1);
    if (p->numerics == NUMERICS_INT8) {
        struct calibration *plain = calibration_plain(&t->tower->params, err);
        if (!plain) return err->code;
        tower_calibrate(t->tower, plain);
    }
    int rc = tower_pack(t->tower, p->numerics, err);
    if (rc == 0) rc = runner_open(&t->runner, t->tower, p->numerics, n_threads(p), err);
    if (rc < 0) return rc;
    t->pixels = memory_array(n, side * side * 3, MEMORY_MAX_TENSOR, err);
    if (!t->pixels) return ERR_NOMEM;
    t->ids = memory_array(n, n_tokens * sizeof *t->ids, MEMORY_MAX_FILE, err);
    if (!t->ids) return ERR_NOMEM;
    t->offsets = memory_array(n + 1, sizeof *t->offsets, MEMORY_MAX_FILE, err);
    if (!t->offsets) return ERR_NOMEM;
    t->out = memory_array(n, (uint64_t)runner_width(t->tower, &final) * sizeof *t->out,
                          MEMORY_MAX_TENSOR, err);
    if (!t->out) return ERR_NOMEM;
    for (uint64_t i = 0; i < n * side * side * 3; i++) t->pixels[i] = (uint8_t)(i * 37 + i / 97);
    for (uint64_t i = 0; i < n * n_tokens; i++) t->ids[i] = (int32_t)(i * 7 % IDS);
    for (uint64_t i = 0; i <= n; i++) t->offsets[i] = (int32_t)(i * n_tokens);
    return 0;
}

static void release(struct trial *t)
{
    runner_close(t->runner);
    tower_free(t->tower);
    memory_free(t->pixels);
    memory_free(t->ids);
    memory_free(t->offsets);
    memory_free(t->out);
}

static int run(struct trial *t, struct error *err)
{
    static const struct preprocess plain = {.rescale = 1 / 255.0, .std = {1, 1, 1}};
    return t->tower->config.arch == ARCH_TEXT
               ? runner_texts(t->runner, t->n, t->ids, t->offsets, &final, 1, &t->out, err)
               : runner_pictures(t->runner, &plain, t->n, t->pixels, &final, 1, &t->out, err);
}

int probe_run(const struct probe *p, double *flop_per_s, struct error *err)
{
    struct trial t = {0};
    struct error local = {0};
    double took = 0;
    int n = 0, rc = make(&t, p, &local);
    *flop_per_s = 0;
    if (rc == 0) rc = run(&t, &local);
    double since = effort_now();
    while (rc == 0 && n < REPEATS && took < ENOUGH) {
        rc = run(&t, &local);
        took = effort_now() - since;
        n++;
    }
    if (rc == 0 && took > 0) *flop_per_s = n * flop_once(p) / took;
    if (rc < 0 && err) *err = local;
    release(&t);
    return rc;
}
