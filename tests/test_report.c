/* Callbacks of a stage: nothing is needed, everything reaches the one who listens. */
#include "store/report.h"

#include "tests/check.h"

struct heard {
    char what[40], warning[1300], curve[40];
    double flop;
    uint64_t number[4];
};

static void progress(void *context, const char *what, uint64_t done, uint64_t total,
                     uint64_t n_reject, uint64_t n_hit)
{
    struct heard *h = context;
    snprintf(h->what, sizeof h->what, "%s", what);
    memcpy(h->number, (uint64_t[]){done, total, n_reject, n_hit}, sizeof h->number);
}

static void warn(void *context, const char *text)
{
    snprintf(((struct heard *)context)->warning, 1300, "%s", text);
}

static void curve(void *context, const char *json)
{
    snprintf(((struct heard *)context)->curve, 40, "%s", json);
}

static void work(void *context, uint64_t n, double flop)
{
    ((struct heard *)context)->number[3] = n;
    ((struct heard *)context)->flop = flop;
}

static bool stopped(void *context)
{
    return ((struct heard *)context)->number[0] > 0;
}

TEST(nobody_need_listen)
{
    const struct report silent = {0};
    const struct report *const both[] = {NULL, &silent};
    for (int i = 0; i < 2; i++) {
        report_progress(both[i], "ingest", 1, 2, 3, 4);
        report_warn(both[i], "%s", "nobody hears this");
        report_curve(both[i], "{}");
        report_work(both[i], 1, 2);
        CHECK(!report_stopped(both[i]));
    }
}

TEST(what_is_said_is_heard)
{
    struct heard h = {0};
    struct report r = {&h, progress, warn, curve, stopped, work};
    CHECK(!report_stopped(&r));
    report_progress(&r, "ingest", 1, 2, 3, 4);
    CHECK_STR(h.what, "ingest");
    for (unsigned i = 0; i < 4; i++) CHECK_EQ(h.number[i], i + 1);
    report_warn(&r, "%d of %s", 7, "all");
    CHECK_STR(h.warning, "7 of all");
    report_curve(&r, "{\"step\": 1}");
    CHECK_STR(h.curve, "{\"step\": 1}");
    CHECK(report_stopped(&r));
    report_work(&r, 9, 1.5);
    CHECK_EQ(h.number[3], 9);
    CHECK(h.flop == 1.5);
}

TEST(a_long_warning_is_cut)
{
    struct heard h = {0};
    struct report r = {.context = &h, .warn = warn};
    report_warn(&r, "%3000s", "x");
    CHECK_EQ(strlen(h.warning), 1199);
}

TEST_MAIN
