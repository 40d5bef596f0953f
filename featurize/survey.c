/* Counting, and a look at a few; see survey.h. */
#include "featurize/survey.h"

#include <omp.h>

#include "ingest/picture.h"
#include "featurize/effort.h"
#include "featurize/model.h"
#include "featurize/probe.h"
#include "store/memory.h"

#define STRETCH     4096
#define LOOKED_AT   64   /* records, evenly spread: fewer where there is little to do */
#define LOOK_S      0.25 /* and no longer than this */
#define PROBE_SHARE 0.02 /* of the run's own operations */

struct walk {
    struct tapsets *ts;
    const struct roll *roll;
    const struct featurize_options *o;
    const struct model *model;
    struct survey *survey;
    uint32_t n_views;
    uint64_t n_new[RUNNER_MAX_TAPS];
    uint32_t number[STRETCH];
    uint8_t key[STRETCH][DIGEST_BYTES];
    uint64_t missing[STRETCH], any[STRETCH];
    uint8_t has[STRETCH];
    uint32_t sample[2 * LOOKED_AT]; /* every stride-th of those that lack something */
    uint64_t stride;
    int n_sample;
};

/* One more that lacks something: when the sample is full, every second of it goes. */
static void note(struct walk *w, uint32_t number)
{
    if (w->survey->n_missing++ % w->stride) return;
    w->sample[w->n_sample++] = number;
    if (w->n_sample < 2 * LOOKED_AT) return;
    w->n_sample = LOOKED_AT;
    w->stride *= 2;
    for (int i = 0; i < LOOKED_AT; i++) w->sample[i] = w->sample[2 * i];
}

static int count_stretch(struct walk *w, int n, struct error *err)
{
    for (int i = 0; i < n; i++) w->any[i] = 0;
    for (uint32_t v = 0; v < w->n_views; v++) {
        int rc = tapsets_missing(w->ts, v, n, w->number, (const uint8_t(*)[DIGEST_BYTES])w->key,
                                 w->missing, w->has, err);
        if (rc < 0) return rc;
        for (int i = 0; i < n; i++) {
            w->any[i] |= w->missing[i];
            w->survey->n_inputs += w->missing[i] != 0;
            for (int k = 0; k < w->ts->n; k++) w->n_new[k] += w->missing[i] >> k & 1;
        }
    }
    for (int i = 0; i < n; i++)
        if (w->any[i]) note(w, w->number[i]);
    w->survey->n_records += (uint64_t)n;
    return 0;
}

static int count(struct walk *w, struct error *err)
{
    for (uint32_t first = 0; first < w->roll->n; first += STRETCH) {
        uint32_t end = w->roll->n - first < STRETCH ? w->roll->n : first + STRETCH;
        int n = roll_list(w->roll, first, end, w->number, w->key, err);
        if (n < 0) return n;
        int rc = count_stretch(w, n, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int count_bytes(struct walk *w, struct error *err)
{
    size_t n_tokenizer = 0;
    if (w->ts->is_text && w->model->tokenizer)
        (void)tokenizer_model(w->model->tokenizer, &n_tokenizer);
    for (int k = 0; k < w->ts->n; k++) {
        int rc = w->n_new[k] ? tapset_presume(&w->ts->list[k], err) : 0;
        if (rc < 0) return rc;
        w->survey->stored_bytes += tapset_estimate(&w->ts->list[k], w->n_new[k], w->n_views,
                                                   n_tokenizer);
    }
    return 0;
}

/* What one picture costs before the tower sees it, its views cut. One that cannot be read has cost as much
 * as it has: what is wrong with it is said when its turn comes. */
static int look_at_picture(struct walk *w, uint32_t number, struct resizer *r, struct picture *pic,
                           uint8_t *out, struct error *err)
{
    const struct preprocess *p = &w->model->preprocess;
    struct picture_limits limits = picture_limits_default();
    struct corpus_image image;
    const uint8_t *bytes;
    size_t n;
    int rc = corpus_get_image(w->roll->corpus, number, &image, NULL);
    if (rc == 0) rc = corpus_image_bytes(w->roll->corpus, number, &bytes, &n, NULL);
    if (rc == 0) rc = picture_decode(bytes, n, &limits, p->apply_orientation, pic, NULL);
    if (rc < 0) return 0;
    for (uint32_t v = 0; v < w->n_views && rc == 0; v++) {
        struct view_box box = view_of(&w->o->plan, image.key, v, pic->width_px, pic->height_px);
        rc = preprocess_u8(p, r, pic->rgb, (int)pic->width_px, (int)pic->height_px, &box,
                           preprocess_side(p), out, err);
    }
    return rc;
}

/* Seconds of one thread for preparing a record, and tokens of a text. */
struct look {
    double seconds;
    int n_tokens;
};

static int look_at_pictures(struct walk *w, int n, struct look *look, struct error *err)
{
    uint64_t side = (uint64_t)preprocess_side(&w->model->preprocess);
    struct picture pic = {0};
    double since = effort_now();
    int rc = ERR_NOMEM, done = 0;
    struct resizer *r = resizer_new(err);
    uint8_t *out = r ? memory_array(side * side, 3, MEMORY_MAX_FILE, err) : NULL;
    if (!out) goto done;
    rc = 0;
    while (done < n && rc == 0 && effort_now() - since < LOOK_S)
        rc = look_at_picture(w, w->sample[done++ * w->n_sample / n], r, &pic, out, err);
    if (done) look->seconds = (effort_now() - since) / done;
done:
    resizer_free(r);
    picture_release(&pic);
    memory_free(out);
    return rc;
}

static int look_at_texts(struct walk *w, int n, struct look *look, struct error *err)
{
    int max = w->o->max_tokens > 0 ? w->o->max_tokens : w->model->max_tokens, done = 0;
    int64_t n_tokens = 0;
    double since = effort_now();
    int32_t *ids = memory_array((uint64_t)max, sizeof *ids, MEMORY_MAX_SMALL, err);
    if (!ids) return ERR_NOMEM;
    int rc = 0;
    while (done < n && rc >= 0 && effort_now() - since < LOOK_S) {
        const char *text;
        size_t n_text;
        uint32_t number = w->sample[done++ * w->n_sample / n];
        rc = corpus_caption_text(w->roll->corpus, number, &text, &n_text, NULL, err);
        if (rc == 0)
            rc = tokenizer_ids(w->model->tokenizer, text, n_text, max, ids, NULL, NULL, err);
        n_tokens += rc > 0 ? rc : 0;
    }
    memory_free(ids);
    if (rc < 0 || done == 0) return rc;
    look->seconds = (effort_now() - since) / done;
    look->n_tokens = (int)((n_tokens + done - 1) / done);
    return 0;
}

static int foresee(struct walk *w, struct error *err)
{
    bool is_text = w->ts->is_text;
    const struct survey *s = w->survey;
    struct tap taps[RUNNER_MAX_TAPS];
    struct look look = {0};
    int n_taps = 0, n = w->n_sample < LOOKED_AT ? w->n_sample : LOOKED_AT;
    for (int k = 0; k < w->ts->n; k++)
        if (w->n_new[k]) taps[n_taps++] = w->ts->list[k].tap;
    /* captions are cheap to look at, and say how many tokens there are */
    if (!is_text && (uint64_t)n > s->n_missing / 50) n = (int)(s->n_missing / 50);
    int rc = is_text ? look_at_texts(w, n, &look, err) : look_at_pictures(w, n, &look, err);
    if (rc < 0) return rc;
    struct probe probe = {.config = &(is_text ? w->model->text : w->model->image)->config,
                          .numerics = w->ts->numerics,
                          .n_threads = w->o->n_threads,
                          .n_tokens = look.n_tokens};
    double flop = (double)s->n_inputs * effort_flop(probe.config, look.n_tokens, taps, n_taps),
           price = probe_flop(&probe), flop_per_s = 0;
    if (price <= 0 || price > PROBE_SHARE * flop) return 0;
    rc = probe_run(&probe, &flop_per_s, err);
    if (rc < 0 || flop_per_s <= 0) return rc;
    /* captions are tokenised by one thread */
    int n_threads = is_text ? 1 : w->o->n_threads > 0 ? w->o->n_threads : omp_get_max_threads();
    w->survey->forecast_s = flop / flop_per_s + (double)s->n_missing * look.seconds / n_threads;
    return 0;
}

int survey_take(struct survey *s, struct tapsets *ts, const struct roll *roll,
                const struct featurize_options *o, const struct model *m, struct error *err)
{
    *s = (struct survey){0};
    struct walk *w = memory_array(1, sizeof *w, MEMORY_MAX_SMALL, err);
    if (!w) return ERR_NOMEM;
    w->ts = ts;
    w->roll = roll;
    w->o = o;
    w->model = m;
    w->survey = s;
    w->n_views = ts->is_text ? 1 : o->n_views;
    w->stride = 1;
    int rc = count(w, err);
    if (rc == 0 && s->n_missing && o->planned) rc = count_bytes(w, err);
    if (rc == 0 && s->n_missing && o->planned) rc = foresee(w, err);
    memory_free(w);
    return rc;
}
