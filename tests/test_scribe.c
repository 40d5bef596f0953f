/* Batches handed over: when they are put, in which order, and whose error is told. */
#include "featurize/scribe.h"

#include <math.h>

#include "tests/scratch.h"

enum { DIM = 8, BATCH = 5 };

static struct tapsets ts;
static struct featurize_set results[2];
static struct effort effort;
static struct scratch scratch;

/* A scribe over two new sets. */
static struct scribe *start_anew(void)
{
    struct error err = {0};
    struct scribe *s;
    struct json *fingerprint = json_new_object(), *none = json_new_object();
    json_set_string(fingerprint, "numerics", "f32");
    scratch_make(&scratch);
    ts = (struct tapsets){.n = 2, .says = "f32"};
    effort = (struct effort){0};
    for (int k = 0; k < 2; k++) {
        struct featureset_spec spec = {.tap = "image.final",
                                       .dim = DIM,
                                       .storage = STORAGE_F32,
                                       .fingerprint = fingerprint,
                                       .replay = none};
        snprintf(spec.name, sizeof spec.name, "set%d", k);
        results[k] = (struct featurize_set){0};
        ts.list[k] = (struct tapset){.result = &results[k], .dim = DIM};
        check_must(featureset_create(&ts.list[k].fs, scratch.folder, &spec, &err), &err);
    }
    check_must(scribe_open(&s, &ts, BATCH, &effort, &err), &err);
    json_free(fingerprint);
    json_free(none);
    return s;
}

static void end(struct scribe *s)
{
    scribe_close(s);
    tapsets_close(&ts);
    scratch_remove(&scratch);
}

static float value(int batch, int i, int k)
{
    return (float)(1 + batch * 100 + i * 10 + k);
}

/* Record i of a batch lacks tap 0, and each second one tap 1 too. */
static void fill(struct scribe *s, int batch)
{
    struct sheet *sheet = scribe_sheet(s);
    sheet->view = 0;
    sheet->n = BATCH;
    for (int i = 0; i < BATCH; i++) {
        sheet->number[i] = (uint32_t)(batch * BATCH + i);
        digest_of(&sheet->number[i], sizeof *sheet->number, sheet->key[i]);
        sheet->missing[i] = i % 2 ? 3 : 1;
        for (int k = 0; k < 2; k++)
            for (int d = 0; d < DIM; d++)
                sheet->out[k][i * DIM + d] = d == 0 ? value(batch, i, k) : 0;
    }
}

static int n_vectors(int k)
{
    return (int)featureset_n_vectors(ts.list[k].fs, 0);
}

TEST(a_batch_is_put_when_it_is_started)
{
    struct error err = {0};
    struct scribe *s = start_anew();
    fill(s, 0);
    struct tap taps[RUNNER_MAX_TAPS];
    float *out[RUNNER_MAX_TAPS];
    CHECK_EQ(scribe_taps(s, taps, out), 2);
    CHECK(out[0] == scribe_sheet(s)->out[0] && out[1] == scribe_sheet(s)->out[1]);
    const struct sheet *first = scribe_sheet(s);
    CHECK_OK(scribe_put(s, &err), &err);
    CHECK(scribe_sheet(s) != first); /* the first one is the scribe's */
    CHECK_EQ(n_vectors(0), 0);
    scribe_start(s);
    fill(s, 1);
    scribe_sheet(s)->missing[1] = scribe_sheet(s)->missing[3] = 1;
    CHECK_EQ(scribe_taps(s, taps, out), 1); /* nobody lacks tap 1 */
    CHECK_OK(scribe_put(s, &err), &err);    /* ends the one before */
    CHECK_EQ(n_vectors(0), BATCH);
    CHECK_EQ(n_vectors(1), 2);
    CHECK_OK(scribe_wait(s, &err), &err);
    CHECK_EQ(n_vectors(0), 2 * BATCH);
    CHECK_EQ(n_vectors(1), 2);
    CHECK_EQ((int)results[0].n_computed, 2 * BATCH);
    CHECK(effort.seconds[EFFORT_STORE] > 0 && effort.waited_s > 0);
    struct featureset_cursor *cur = featureset_cursor_new(ts.list[0].fs, &err);
    for (uint32_t i = 0; i < 2 * BATCH; i++) {
        float x[DIM], norm = 0;
        uint8_t key[DIGEST_BYTES];
        digest_of(&i, sizeof i, key);
        CHECK_OK(featureset_get(cur, 0, i, key, x, &norm, &err), &err);
        CHECK(norm == value((int)i / BATCH, (int)i % BATCH, 0));
    }
    featureset_cursor_free(cur);
    end(s);
}

TEST(an_error_is_told_and_nothing_follows)
{
    struct error err = {0};
    struct scribe *s = start_anew();
    fill(s, 0);
    scribe_sheet(s)->out[0][2 * DIM] = NAN;
    CHECK_OK(scribe_put(s, &err), &err);
    scribe_start(s);
    fill(s, 1);
    CHECK_EQ(scribe_put(s, &err), ERR_DATA);
    CHECK(strstr(err.text, "NaN"));
    scribe_start(s);
    CHECK_EQ(scribe_wait(s, NULL), ERR_DATA);
    CHECK_EQ(n_vectors(0) + n_vectors(1), 0);
    err.text[0] = 0;
    CHECK_EQ(scribe_finish(s, ERR_STOPPED, &err), ERR_DATA); /* no clean stop */
    CHECK(strstr(err.text, "NaN"));
    end(s);
}

TEST(a_pass_that_ends_early_keeps_what_it_computed)
{
    struct error err = {0};
    struct scribe *s = start_anew();
    fill(s, 0);
    CHECK_OK(scribe_put(s, &err), &err);
    fill(s, 1); /* but its forward pass failed */
    CHECK_EQ(scribe_finish(s, ERR_STOPPED, &err), ERR_STOPPED);
    CHECK_EQ(n_vectors(0), BATCH);
    end(s);
}

TEST_MAIN
