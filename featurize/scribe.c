/* Batches put beside the computing of the next; see scribe.h. */
#include "featurize/scribe.h"

#include <omp.h>
#include <pthread.h>

#include "store/memory.h"

struct scribe {
    struct tapsets *ts;
    struct effort *effort;
    struct sheet sheets[2];
    int filling;   /* the sheet that the caller has */
    bool is_taken; /* the other one is to be put */
    bool is_busy;  /* it is being put, by a thread to be joined */
    pthread_t thread;
    int n_threads;
    int rc; /* of the put, with its error and time */
    struct error error;
    double seconds;
};

static int sheet_init(struct sheet *sheet, const struct tapsets *ts, uint64_t n, struct error *err)
{
    sheet->number = memory_array(n, sizeof *sheet->number, MEMORY_MAX_SMALL, err);
    if (!sheet->number) return ERR_NOMEM;
    sheet->key = memory_array(n, sizeof *sheet->key, MEMORY_MAX_SMALL, err);
    if (!sheet->key) return ERR_NOMEM;
    sheet->missing = memory_array(n, sizeof *sheet->missing, MEMORY_MAX_SMALL, err);
    if (!sheet->missing) return ERR_NOMEM;
    for (int k = 0; k < ts->n; k++) {
        sheet->out[k] = memory_array(n, (uint64_t)ts->list[k].dim * sizeof(float),
                                     MEMORY_MAX_TENSOR, err);
        if (!sheet->out[k]) return ERR_NOMEM;
    }
    return 0;
}

static void sheet_release(struct sheet *sheet)
{
    memory_free(sheet->number);
    memory_free(sheet->key);
    memory_free(sheet->missing);
    for (int k = 0; k < RUNNER_MAX_TAPS; k++) memory_free(sheet->out[k]);
}

int scribe_open(struct scribe **out, struct tapsets *ts, int capacity, struct effort *effort,
                struct error *err)
{
    struct scribe *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    *out = s;
    if (!s) return ERR_NOMEM;
    s->ts = ts;
    s->effort = effort;
    s->n_threads = omp_get_max_threads();
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = sheet_init(&s->sheets[i], ts, (uint64_t)capacity, err);
    if (rc < 0) scribe_close(s), *out = NULL;
    return rc;
}

struct sheet *scribe_sheet(struct scribe *s)
{
    return &s->sheets[s->filling];
}

/* Taps that any record lacks, in bits. */
static uint64_t lacking(const struct sheet *sheet)
{
    uint64_t any = 0;
    for (int i = 0; i < sheet->n; i++) any |= sheet->missing[i];
    return any;
}

int scribe_taps(struct scribe *s, struct tap *taps, float **out)
{
    const struct sheet *sheet = scribe_sheet(s);
    uint64_t any = lacking(sheet);
    int n = 0;
    for (int k = 0; k < s->ts->n; k++) {
        if (!(any >> k & 1)) continue;
        taps[n] = s->ts->list[k].tap;
        out[n++] = sheet->out[k];
    }
    return n;
}

/* The sheet that is not being filled. */
static void put(struct scribe *s)
{
    const struct sheet *sheet = &s->sheets[!s->filling];
    uint64_t any = lacking(sheet);
    double since = effort_now();
    s->rc = 0;
    for (int k = 0; k < s->ts->n && s->rc == 0; k++)
        if (any >> k & 1)
            s->rc = tapset_put(s->ts, k, sheet->view, sheet->n, sheet->number,
                               (const uint8_t(*)[DIGEST_BYTES])sheet->key, sheet->missing,
                               sheet->out[k], &s->error);
    s->seconds = effort_now() - since;
}

static void *run(void *context)
{
    struct scribe *s = context;
    omp_set_num_threads(s->n_threads); /* every thread has a setting of its own */
    put(s);
    return NULL;
}

/* The thread's time, once it has ended. */
static void end(struct scribe *s, double since)
{
    s->is_busy = false;
    s->effort->waited_s += effort_now() - since;
    s->effort->seconds[EFFORT_STORE] += s->seconds;
}

static void join(struct scribe *s)
{
    double since = effort_now();
    if (!s->is_busy) return;
    pthread_join(s->thread, NULL);
    end(s, since);
}

void scribe_close(struct scribe *s)
{
    if (!s) return;
    join(s);
    for (int i = 0; i < 2; i++) sheet_release(&s->sheets[i]);
    memory_free(s);
}

void scribe_start(struct scribe *s)
{
    double since = effort_now();
    if (!s->is_taken || s->rc < 0) return;
    s->is_taken = false;
    s->is_busy = pthread_create(&s->thread, NULL, run, s) == 0;
    if (s->is_busy) return;
    put(s); /* no thread to be had: it takes the caller's time */
    end(s, since);
}

int scribe_wait(struct scribe *s, struct error *err)
{
    join(s);
    scribe_start(s);
    join(s);
    if (s->rc < 0 && err) *err = s->error;
    return s->rc;
}

int scribe_finish(struct scribe *s, int rc, struct error *err)
{
    int put_rc = scribe_wait(s, err);
    return put_rc < 0 ? put_rc : rc;
}

int scribe_put(struct scribe *s, struct error *err)
{
    int rc = scribe_wait(s, err);
    if (rc < 0) return rc;
    s->filling = !s->filling;
    s->is_taken = true;
    return 0;
}
