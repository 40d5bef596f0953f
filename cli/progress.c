/* Progress and log of the command line; see progress.h. */
#include "cli/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/option.h"
#include "cli/signals.h"
#include "cli/window.h"

static struct {
    bool line_open, terminal;
    double last_s, start_s;
    char what[64];
    uint64_t first_done, seen_done; /* where the rate is counted from, and the latest */
    double seen_s;
    uint64_t n_work; /* really worked on, and its operations; 0: the stage does not say */
    double flop;
} state;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void progress_end(void)
{
    if (state.line_open) fputc('\n', stderr);
    state.line_open = false;
}

static double per_second(double n, double now)
{
    return now > state.start_s ? n / (now - state.start_s) : 0;
}

static void json_line(const char *what, uint64_t done, uint64_t total, uint64_t n_reject,
                      uint64_t n_hit, double now)
{
    fprintf(stderr,
            "{\"progress\":\"%s\",\"done\":%" PRIu64 ",\"total\":%" PRIu64 ",\"rejects\":%" PRIu64
            ",\"hits\":%" PRIu64,
            what, done, total, n_reject, n_hit);
    if (state.n_work)
        fprintf(stderr, ",\"per_second\":%.2f,\"gflops\":%.2f",
                per_second((double)state.n_work, now), per_second(state.flop, now) / 1e9);
    fputs("}\n", stderr);
}

static void terminal_line(const char *what, uint64_t done, uint64_t total, uint64_t n_reject,
                          uint64_t n_hit, double now)
{
    double rate = per_second((double)(done - state.first_done), now);
    double shown = state.n_work ? per_second((double)state.n_work, now) : rate;
    fprintf(stderr, "\r%s %" PRIu64, what, done);
    if (total) fprintf(stderr, "/%" PRIu64, total);
    fprintf(stderr, "  %.*f/s", shown < 10, shown);
    if (state.flop > 0) fprintf(stderr, "  %.0f GFLOP/s", per_second(state.flop, now) / 1e9);
    if (total > done && rate > 0) {
        uint64_t left = (uint64_t)((double)(total - done) / rate);
        fprintf(stderr, "  %" PRIu64 ":%02" PRIu64 " left", left / 60, left % 60);
    }
    if (n_hit) fprintf(stderr, "  %" PRIu64 " hits", n_hit);
    if (n_reject) fprintf(stderr, "  %" PRIu64 " rejects", n_reject);
    fputs("    ", stderr);
    state.line_open = true;
}

static void on_progress(void *context, const char *what, uint64_t done, uint64_t total,
                        uint64_t n_reject, uint64_t n_hit)
{
    (void)context;
    bool json = !strcmp(option_globals.progress, "json");
    if (option_globals.quiet || (!json && !state.terminal)) return;
    double now = now_s();
    if (strncmp(state.what, what, sizeof state.what - 1)) {
        progress_end();
        snprintf(state.what, sizeof state.what, "%s", what);
        state.start_s = now;
        state.first_done = done;
        state.last_s = 0;
        state.n_work = 0;
        state.flop = 0;
    }
    state.seen_s = now;
    state.seen_done = done;
    if (now - state.last_s < 1.0 / 6 && done != total) return;
    state.last_s = now;
    if (json)
        json_line(what, done, total, n_reject, n_hit, now);
    else
        terminal_line(what, done, total, n_reject, n_hit, now);
}

static void on_warn(void *context, const char *text)
{
    (void)context;
    if (option_globals.quiet) return;
    progress_end();
    fprintf(stderr, "clipstill: %s\n", text);
}

static void on_curve(void *context, const char *json)
{
    (void)context;
    if (!option_globals.verbose && strcmp(option_globals.progress, "json")) return;
    progress_end();
    fprintf(stderr, "%s\n", json);
}

/* What was there already goes by in no time: rate and time left are counted from the first work on. */
static void on_work(void *context, uint64_t n, double flop)
{
    (void)context;
    if (state.n_work == 0) {
        state.start_s = state.seen_s;
        state.first_done = state.seen_done;
    }
    state.n_work = n;
    state.flop = flop;
}

static bool on_stopped(void *context)
{
    (void)context;
    return signals_seen() != 0 || window_is_over();
}

const struct report *progress_start(void)
{
    static const struct report report = {NULL, on_progress, on_warn, on_curve, on_stopped, on_work};
    signals_watch();
    signal(SIGPIPE, SIG_IGN);
    state.terminal = isatty(STDERR_FILENO) && strcmp(option_globals.progress, "none");
    return &report;
}

int progress_signal(void)
{
    return signals_seen();
}

void progress_say(const char *fmt, ...)
{
    if (option_globals.quiet) return;
    progress_end();
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}
