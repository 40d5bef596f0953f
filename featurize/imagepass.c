/* Pictures through the image tower; see imagepass.h. */
#include "featurize/imagepass.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "ingest/picture.h"
#include "featurize/scribe.h"
#include "featurize/weightfile.h"
#include "store/memory.h"

#define BATCH           256 /* pictures; fewer when their views would not fit MAX_BATCH_BYTES */
#define MAX_BATCH_BYTES ((uint64_t)512 << 20)

struct imagepass {
    struct tapsets *ts;
    const struct roll *roll;
    const struct featurize_options *o;
    struct model *model;
    const struct report *report;
    struct runner *runner; /* made when something is missing */
    struct scribe *scribe;
    struct resizer **resizers; // (n_threads)
    struct picture *pictures;  // (n_threads)
    int n_threads, batch;
    size_t picture;    /* bytes of one view: S * S * 3 */
    uint64_t *missing; // (n_views, batch) bit k: tap k
    uint8_t *pixels;   // (n_views, batch, S, S, 3)
    uint8_t *packed;   // (batch, S, S, 3) those that are run
    uint8_t *has;      // (batch)
    uint32_t number[BATCH];
    uint8_t key[BATCH][DIGEST_BYTES];
    bool has_work[BATCH]; /* some view lacks something */
    struct error error[BATCH];
    uint64_t n_skipped,
        n_passes;        /* n_passes: pictures of every view that a dry run would compute */
    uint64_t n_pictures; /* of them, whatever the views */
    struct effort *effort;
};

static int init(struct imagepass *p, struct error *err)
{
    uint64_t side = (uint64_t)preprocess_side(&p->model->preprocess), views = p->o->n_views;
    p->picture = side * side * 3;
    p->batch = params_count(&p->model->image->params) > RUNNER_LARGE ? BATCH / 4 : BATCH;
    while (p->batch > 16 && (uint64_t)p->batch * views * p->picture > MAX_BATCH_BYTES)
        p->batch /= 2;
    p->n_threads = p->o->n_threads > 0 ? p->o->n_threads : omp_get_max_threads();
    uint64_t n = (uint64_t)p->batch;
    p->resizers = memory_array((uint64_t)p->n_threads, sizeof *p->resizers, MEMORY_MAX_SMALL, err);
    p->missing = memory_array(n * views, sizeof *p->missing, MEMORY_MAX_FILE, err);
    p->pixels = memory_array(n * views, p->picture, MEMORY_MAX_TENSOR, err);
    p->packed = memory_array(n, p->picture, MEMORY_MAX_TENSOR, err);
    p->has = memory_array(n, 1, MEMORY_MAX_SMALL, err);
    p->pictures = memory_array((uint64_t)p->n_threads, sizeof *p->pictures, MEMORY_MAX_SMALL, err);
    if (!p->pictures || !p->resizers || !p->missing || !p->pixels || !p->packed || !p->has)
        return ERR_NOMEM;
    for (int t = 0; t < p->n_threads; t++)
        if (!(p->resizers[t] = resizer_new(err))) return ERR_NOMEM;
    return scribe_open(&p->scribe, p->ts, p->batch, p->effort, err);
}

static void release(struct imagepass *p)
{
    scribe_close(p->scribe);
    runner_close(p->runner);
    for (int t = 0; p->resizers && t < p->n_threads; t++) resizer_free(p->resizers[t]);
    for (int t = 0; p->pictures && t < p->n_threads; t++) picture_release(&p->pictures[t]);
    memory_free(p->pictures);
    memory_free(p->resizers);
    memory_free(p->missing);
    memory_free(p->pixels);
    memory_free(p->packed);
    memory_free(p->has);
    memory_free(p);
}

/* What is missing in any view. Returns the number of pictures concerned. */
static int find_missing(struct imagepass *p, int n, struct error *err)
{
    int n_work = 0;
    for (uint32_t v = 0; v < p->o->n_views; v++) {
        int rc = tapsets_missing(p->ts, v, n, p->number, (const uint8_t(*)[DIGEST_BYTES])p->key,
                                 p->missing + (size_t)v * (size_t)p->batch, p->has, err);
        if (rc < 0) return rc;
    }
    for (int i = 0; i < n; i++) {
        uint64_t any = 0;
        for (uint32_t v = 0; v < p->o->n_views; v++)
            any |= p->missing[(size_t)v * (size_t)p->batch + (size_t)i];
        p->has_work[i] = any != 0;
        n_work += any != 0;
    }
    return n_work;
}

/* Decodes picture i once and cuts the views that are missing. Its bytes are read by the thread that
 * needs them: they are hashed against their key, and may have to come from the disk. */
static int prepare(struct imagepass *p, int i, int thread, struct error *err)
{
    struct picture *pic = &p->pictures[thread];
    struct picture_limits limits = picture_limits_default();
    const uint8_t *bytes;
    size_t n_bytes;
    int rc = corpus_image_bytes(p->roll->corpus, p->number[i], &bytes, &n_bytes, err);
    if (rc == 0)
        rc = picture_decode(bytes, n_bytes, &limits, p->model->preprocess.apply_orientation, pic,
                            err);
    for (uint32_t v = 0; v < p->o->n_views && rc == 0; v++) {
        size_t at = (size_t)v * (size_t)p->batch + (size_t)i;
        if (!p->missing[at]) continue;
        struct view_box box = view_of(&p->o->plan, p->key[i], v, pic->width_px, pic->height_px);
        rc = preprocess_u8(&p->model->preprocess, p->resizers[thread], pic->rgb, (int)pic->width_px,
                           (int)pic->height_px, &box, preprocess_side(&p->model->preprocess),
                           p->pixels + at * p->picture, err);
    }
    return rc;
}

/* A picture that cannot be decoded is counted and left out; other failures end the run. */
static int prepare_all(struct imagepass *p, int n, struct error *err)
{
#pragma omp parallel for default(none) num_threads(p->n_threads) schedule(dynamic, 1) shared(p, n)
    for (int i = 0; i < n; i++) {
        p->error[i] = (struct error){0};
        if (p->has_work[i]) p->error[i].code = prepare(p, i, omp_get_thread_num(), &p->error[i]);
    }
    for (int i = 0; i < n; i++) {
        if (p->error[i].code == 0) continue;
        if (p->error[i].code != ERR_DATA)
            return error_set(err, p->error[i].code, "%s", p->error[i].text);
        char hex[DIGEST_HEX];
        digest_to_hex(p->key[i], hex);
        report_warn(p->report, "image %.16s... (number %u) is left out: %s", hex, p->number[i],
                    p->error[i].text);
        for (uint32_t v = 0; v < p->o->n_views; v++) {
            uint64_t *missing = &p->missing[(size_t)v * (size_t)p->batch + (size_t)i];
            for (int k = 0; k < p->ts->n; k++)
                p->ts->list[k].result->n_skipped += *missing >> k & 1;
            *missing = 0;
        }
        p->n_skipped++;
    }
    return 0;
}

static int open_runner(struct imagepass *p, struct error *err)
{
    if (p->runner) return 0;
    int rc = tower_pack(p->model->image, p->ts->numerics, err);
    return rc < 0 ? rc
                  : runner_open(&p->runner, p->model->image, p->ts->numerics, p->n_threads, err);
}

/* One view of the batch: forward over the pictures that lack it, and on to the scribe, one transaction a
 * tap. */
static int run_view(struct imagepass *p, uint32_t view, int n, struct error *err)
{
    const uint64_t *all = p->missing + (size_t)view * (size_t)p->batch;
    const uint8_t *pixels = p->pixels + (size_t)view * (size_t)p->batch * p->picture;
    struct sheet *sheet = scribe_sheet(p->scribe);
    struct tap taps[RUNNER_MAX_TAPS];
    float *out[RUNNER_MAX_TAPS];
    sheet->view = view;
    sheet->n = 0;
    for (int i = 0; i < n; i++) {
        if (!all[i]) continue;
        int at = sheet->n++;
        memcpy(p->packed + (size_t)at * p->picture, pixels + (size_t)i * p->picture, p->picture);
        memcpy(sheet->key[at], p->key[i], DIGEST_BYTES);
        sheet->number[at] = p->number[i];
        sheet->missing[at] = all[i];
    }
    if (sheet->n == 0) return 0;
    scribe_start(p->scribe);
    int n_run = sheet->n, n_taps = scribe_taps(p->scribe, taps, out), rc = open_runner(p, err);
    double since = effort_now();
    if (rc == 0)
        rc = runner_pictures(p->runner, &p->model->preprocess, n_run, p->packed, taps, n_taps, out,
                             err);
    effort_add(p->effort, EFFORT_COMPUTE, &since);
    if (rc == 0) rc = weightfile_check(p->model->weights, err);
    if (rc == 0) rc = scribe_put(p->scribe, err);
    p->effort->n_inputs += (uint64_t)n_run;
    p->effort->flop += n_run * effort_flop(&p->model->image->config, 0, taps, n_taps);
    return rc;
}

/* In a dry run: what would be computed. */
static void count_missing(struct imagepass *p, int n)
{
    for (uint32_t v = 0; v < p->o->n_views; v++)
        for (int i = 0; i < n; i++) {
            uint64_t missing = p->missing[(size_t)v * (size_t)p->batch + (size_t)i];
            p->n_passes += missing != 0;
            for (int k = 0; k < p->ts->n; k++)
                p->ts->list[k].result->n_computed += missing >> k & 1;
        }
}

/* A dry run looks at the first batch of view 0, once. What it cannot decode is not counted: the
 * others are not looked at either. */
static int try_batch(struct imagepass *p, int n, struct error *err)
{
    uint64_t n_skipped = p->n_skipped;
    double since = effort_now();
    int rc = prepare_all(p, n, err);
    effort_add(p->effort, EFFORT_PREPARE, &since);
    if (rc == 0) rc = run_view(p, 0, n, err);
    if (rc == 0) rc = scribe_wait(p->scribe, err);
    p->n_skipped = n_skipped;
    for (int k = 0; k < p->ts->n; k++) p->ts->list[k].result->n_skipped = 0;
    return rc;
}

static uint64_t hits(const struct tapsets *ts)
{
    uint64_t n = 0;
    for (int k = 0; k < ts->n; k++) n += ts->list[k].result->n_hits;
    return n;
}

static int stop(uint32_t done, uint32_t n_images, struct error *err)
{
    return error_set(err, ERR_STOPPED, "stopped after %u of %u images; the same command goes on",
                     done, n_images);
}

static int run_batches(struct imagepass *p, struct error *err)
{
    uint32_t n_images = p->roll->n;
    report_progress(p->report, "featurize images", 0, n_images, 0, 0);
    for (uint32_t first = 0; first < n_images; first += (uint32_t)p->batch) {
        uint32_t end = n_images - first < (uint32_t)p->batch ? n_images
                                                             : first + (uint32_t)p->batch;
        if (report_stopped(p->report)) return stop(first, n_images, err);
        double since = effort_now();
        int n = roll_list(p->roll, first, end, p->number, p->key, err);
        if (n < 0) return n;
        int n_work = find_missing(p, n, err), rc = 0;
        if (n_work < 0) return n_work;
        if (p->o->dry_run) {
            count_missing(p, n);
            p->n_pictures += (uint64_t)n_work;
            if (n_work > 0 && !p->runner) rc = try_batch(p, n, err);
        } else if (n_work == 0) {
            rc = scribe_wait(p->scribe, err);
        } else {
            scribe_start(p->scribe);
            rc = prepare_all(p, n, err);
            effort_add(p->effort, EFFORT_PREPARE, &since);
            for (uint32_t v = 0; v < p->o->n_views && rc == 0; v++)
                rc = v > 0 && report_stopped(p->report) ? stop(first, n_images, err)
                                                        : run_view(p, v, n, err);
        }
        if (rc < 0) return rc;
        if (n_work > 0 && !p->o->dry_run)
            report_work(p->report, p->effort->n_inputs, p->effort->flop);
        report_progress(p->report, "featurize images", end, n_images, p->n_skipped, hits(p->ts));
    }
    return 0;
}

int imagepass_run(struct tapsets *ts, const struct roll *roll, const struct featurize_options *o,
                  struct model *m, const struct report *report, struct effort *effort,
                  uint64_t *n_skipped, struct error *err)
{
    struct imagepass *p = memory_array(1, sizeof *p, MEMORY_MAX_SMALL, err);
    if (!p) return ERR_NOMEM;
    p->ts = ts;
    p->roll = roll;
    p->o = o;
    p->model = m;
    p->report = report;
    p->effort = effort;
    int rc = init(p, err);
    if (rc == 0) rc = scribe_finish(p->scribe, run_batches(p, err), err);
    /* a picture is prepared once, whatever its views, but goes through the tower in each */
    if (rc == 0 && o->dry_run) effort_foresee(effort, p->n_pictures, p->n_passes);
    *n_skipped += p->n_skipped;
    release(p);
    return rc;
}
