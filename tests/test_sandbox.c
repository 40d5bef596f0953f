/* Checks in a child process: findings in order, a crash is a finding, an error comes back. */
#include "store/sandbox.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/check.h"

struct heard {
    int n;
    char last[300];
};

static void hear(void *context, const char *text)
{
    struct heard *h = context;
    h->n++;
    snprintf(h->last, sizeof h->last, "%s", text);
}

static int work(void *context, struct sandbox *box, struct error *err)
{
    const char *what = context;
    sandbox_finding(box, "first\nfinding of %s", what);
    sandbox_progress(box, "walk", 1, 1);
    sandbox_finding(box, "second");
    if (!strcmp(what, "crash")) raise(SIGBUS);
    if (!strcmp(what, "exit")) _Exit(9);
    if (!strcmp(what, "error")) return error_set(err, ERR_NOMEM, "no memory for 7 %%s");
    return 0;
}

static uint64_t shown;

static void show(void *context, const char *what, uint64_t done, uint64_t total, uint64_t n_reject,
                 uint64_t n_hit)
{
    (void)context, (void)n_reject, (void)n_hit;
    if (!strcmp(what, "walk") && total == 1) shown += done;
}

TEST(sandbox_passes_findings_and_progress)
{
    struct error err = {0};
    struct heard h = {0};
    struct report report = {.progress = show};
    CHECK_EQ(sandbox_run(work, "all", hear, &h, &report, &err), 2);
    CHECK_EQ(h.n, 2);
    CHECK_STR(h.last, "second");
    CHECK_EQ(shown, 1);
}

TEST(sandbox_survives_a_crash)
{
    struct error err = {0};
    struct heard h = {0};
    CHECK_EQ(sandbox_run(work, "crash", hear, &h, NULL, &err), 3);
    CHECK_HAS(h.last, "signal 7");
    CHECK_EQ(sandbox_run(work, "exit", hear, &h, NULL, &err), 3);
    CHECK_HAS(h.last, "status 9");
}

TEST(sandbox_returns_the_error)
{
    struct error err = {0};
    struct heard h = {0};
    CHECK_EQ(sandbox_run(work, "error", hear, &h, NULL, &err), ERR_NOMEM);
    CHECK_EQ(h.n, 2);
    CHECK_STR(err.text, "no memory for 7 %s");
}

static bool always(void *context)
{
    (void)context;
    return true;
}

TEST(sandbox_stops_when_told)
{
    struct error err = {0};
    struct heard h = {0};
    struct report report = {.stopped = always};
    CHECK_EQ(sandbox_run(work, "all", hear, &h, &report, &err), ERR_STOPPED);
}

static _Noreturn int say_nothing(void *context, struct sandbox *box, struct error *err)
{
    (void)context, (void)box, (void)err;
    for (;;) pause();
}

static bool from_the_third(void *context)
{
    return ++*(int *)context >= 3;
}

TEST(sandbox_stops_a_child_that_says_nothing)
{
    struct error err = {0};
    struct heard h = {0};
    int n_asked = 0;
    struct report report = {.context = &n_asked, .stopped = from_the_third};
    CHECK_EQ(sandbox_run(say_nothing, NULL, hear, &h, &report, &err), ERR_STOPPED);
    CHECK_EQ(h.n, 0);
    CHECK_EQ(n_asked, 3);
}

TEST_MAIN
