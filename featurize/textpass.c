/* Captions through the text tower; see textpass.h. */
#include "featurize/textpass.h"

#include <stdlib.h>
#include <string.h>

#include "featurize/scribe.h"
#include "featurize/weightfile.h"
#include "store/memory.h"

#define WINDOW 4096 /* captions: 16 blocks of 256 */

struct caption {
    uint32_t number;
    int n_ids;
    size_t at; /* of its ids */
    uint64_t missing;
    uint8_t key[DIGEST_BYTES];
};

struct textpass {
    struct tapsets *ts;
    const struct roll *roll;
    const struct featurize_options *o;
    struct model *model;
    const struct report *report;
    struct effort *effort;
    uint64_t n_passes;     /* captions that a dry run would compute */
    struct runner *runner; /* made when something is missing */
    struct scribe *scribe;
    int max_tokens;
    uint32_t number[WINDOW];
    uint8_t key[WINDOW][DIGEST_BYTES];
    uint64_t missing[WINDOW];
    uint8_t has[WINDOW];
    struct caption caption[WINDOW]; /* those to run */
    int32_t *ids, *sorted;          // ids as they came, and by length
    size_t ids_capacity, sorted_capacity;
    int32_t offsets[WINDOW + 1];
};

/* Ids of the captions that lack something; returns their number. */
static int tokenise(struct textpass *p, int n, struct error *err)
{
    size_t n_ids = 0;
    int n_run = 0;
    for (int i = 0; i < n; i++) {
        const char *text;
        size_t n_text;
        if (!p->missing[i]) continue;
        int rc = corpus_caption_text(p->roll->corpus, p->number[i], &text, &n_text, NULL, err);
        if (rc == 0)
            rc = memory_grow(&p->ids, &p->ids_capacity, n_ids + (size_t)p->max_tokens,
                             sizeof *p->ids, MEMORY_MAX_FILE, err);
        if (rc == 0)
            rc = tokenizer_ids(p->model->tokenizer, text, n_text, p->max_tokens, p->ids + n_ids,
                               NULL, NULL, err);
        if (rc < 0) return rc;
        struct caption *c = &p->caption[n_run++];
        *c = (struct caption){
            .number = p->number[i], .n_ids = rc, .at = n_ids, .missing = p->missing[i]};
        memcpy(c->key, p->key[i], DIGEST_BYTES);
        n_ids += (size_t)rc;
    }
    return n_run;
}

static int by_length(const void *a, const void *b)
{
    const struct caption *x = a, *y = b;
    if (x->n_ids != y->n_ids) return x->n_ids < y->n_ids ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

/* Orders captions by length; their ids follow, and their numbers, keys and missing taps on the sheet. */
static int order(struct textpass *p, struct sheet *sheet, int n_run, struct error *err)
{
    qsort(p->caption, (size_t)n_run, sizeof *p->caption, by_length);
    sheet->view = 0;
    sheet->n = n_run;
    for (int i = 0; i < n_run; i++) {
        const struct caption *c = &p->caption[i];
        int rc = memory_grow(&p->sorted, &p->sorted_capacity,
                             (uint64_t)p->offsets[i] + (uint64_t)c->n_ids, sizeof *p->sorted,
                             MEMORY_MAX_FILE, err);
        if (rc < 0) return rc;
        memcpy(p->sorted + p->offsets[i], p->ids + c->at, (size_t)c->n_ids * sizeof *p->ids);
        p->offsets[i + 1] = p->offsets[i] + c->n_ids;
        sheet->number[i] = c->number;
        sheet->missing[i] = c->missing;
        memcpy(sheet->key[i], c->key, DIGEST_BYTES);
    }
    return 0;
}

static int open_runner(struct textpass *p, struct error *err)
{
    if (p->runner) return 0;
    int rc = tower_pack(p->model->text, p->ts->numerics, err);
    if (rc == 0)
        rc = runner_open(&p->runner, p->model->text, p->ts->numerics, p->o->n_threads, err);
    return rc;
}

/* What a window of n lacks, through the tower and on to the scribe. */
static int run_window(struct textpass *p, int n, struct error *err)
{
    double since = effort_now();
    struct tap taps[RUNNER_MAX_TAPS];
    float *out[RUNNER_MAX_TAPS];
    scribe_start(p->scribe);
    int n_run = tokenise(p, n, err), n_taps = 0;
    if (n_run < 0) return n_run;
    if (n_run == 0) return scribe_wait(p->scribe, err);
    int rc = order(p, scribe_sheet(p->scribe), n_run, err);
    effort_add(p->effort, EFFORT_PREPARE, &since);
    if (rc == 0) rc = open_runner(p, err);
    since = effort_now();
    if (rc == 0) n_taps = scribe_taps(p->scribe, taps, out);
    if (rc == 0) rc = runner_texts(p->runner, n_run, p->sorted, p->offsets, taps, n_taps, out, err);
    effort_add(p->effort, EFFORT_COMPUTE, &since);
    if (rc == 0) rc = weightfile_check(p->model->weights, err);
    if (rc == 0) rc = scribe_put(p->scribe, err);
    p->effort->n_inputs += (uint64_t)n_run;
    for (int i = 0; i < n_run; i++)
        p->effort->flop += effort_flop(&p->model->text->config, p->offsets[i + 1] - p->offsets[i],
                                       taps, n_taps);
    return rc;
}

/* A dry run looks at a block's worth of the first window, once: evenly spread, because captions of one
 * source or language stand together. Returns how many. */
static int thin_out(struct textpass *p, int n)
{
    int kept = n < FORECAST_VECTORS ? n : FORECAST_VECTORS;
    for (int i = 0; i < kept; i++) {
        int from = (int)((int64_t)i * n / kept);
        p->number[i] = p->number[from];
        p->missing[i] = p->missing[from];
        memcpy(p->key[i], p->key[from], DIGEST_BYTES);
    }
    return kept;
}

static uint32_t window_of(const struct textpass *p)
{
    return params_count(&p->model->text->params) > RUNNER_LARGE ? WINDOW / 4 : WINDOW;
}

static int run_windows(struct textpass *p, struct error *err)
{
    uint32_t n_captions = p->roll->n, window = window_of(p);
    report_progress(p->report, "featurize captions", 0, n_captions, 0, 0);
    for (uint32_t first = 0; first < n_captions; first += window) {
        uint32_t end = n_captions - first < window ? n_captions : first + window;
        if (report_stopped(p->report))
            return error_set(err, ERR_STOPPED,
                             "stopped after %u of %u captions; the same command goes on", first,
                             n_captions);
        int n = roll_list(p->roll, first, end, p->number, p->key, err);
        if (n < 0) return n;
        int rc = tapsets_missing(p->ts, 0, n, p->number, (const uint8_t(*)[DIGEST_BYTES])p->key,
                                 p->missing, p->has, err);
        uint64_t n_hits = 0;
        for (int i = 0; i < n && rc == 0; i++) p->n_passes += p->missing[i] != 0;
        for (int k = 0; k < p->ts->n && rc == 0; k++) {
            struct featurize_set *result = p->ts->list[k].result;
            for (int i = 0; i < n && p->o->dry_run; i++)
                result->n_computed += p->missing[i] >> k & 1;
            n_hits += result->n_hits;
        }
        if (rc == 0 && !p->o->dry_run) rc = run_window(p, n, err);
        if (rc == 0 && p->o->dry_run && !p->runner) rc = run_window(p, thin_out(p, n), err);
        if (rc == 0 && p->o->dry_run) rc = scribe_wait(p->scribe, err);
        if (rc < 0) return rc;
        if (p->effort->n_inputs && !p->o->dry_run)
            report_work(p->report, p->effort->n_inputs, p->effort->flop);
        report_progress(p->report, "featurize captions", end, n_captions, 0, n_hits);
    }
    return 0;
}

int textpass_run(struct tapsets *ts, const struct roll *roll, const struct featurize_options *o,
                 struct model *m, const struct report *report, struct effort *effort,
                 struct error *err)
{
    struct textpass *p = memory_array(1, sizeof *p, MEMORY_MAX_SMALL, err);
    if (!p) return ERR_NOMEM;
    p->ts = ts;
    p->roll = roll;
    p->o = o;
    p->model = m;
    p->report = report;
    p->effort = effort;
    p->max_tokens = o->max_tokens > 0 ? o->max_tokens : m->max_tokens;
    int rc = scribe_open(&p->scribe, ts, (int)window_of(p), effort, err);
    if (rc == 0) rc = scribe_finish(p->scribe, run_windows(p, err), err);
    if (rc == 0 && o->dry_run) effort_foresee(effort, p->n_passes, p->n_passes);
    scribe_close(p->scribe);
    runner_close(p->runner);
    memory_free(p->ids);
    memory_free(p->sorted);
    memory_free(p);
    return rc;
}
