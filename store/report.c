/* Callbacks from stages to cli/; see report.h. */
#include "store/report.h"

#include <stdio.h>

void report_progress(const struct report *r, const char *what, uint64_t done, uint64_t total,
                     uint64_t n_reject, uint64_t n_hit)
{
    if (r && r->progress) r->progress(r->context, what, done, total, n_reject, n_hit);
}

void report_warn(const struct report *r, const char *fmt, ...)
{
    if (!r || !r->warn) return;
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->warn(r->context, text);
}

void report_curve(const struct report *r, const char *json)
{
    if (r && r->curve) r->curve(r->context, json);
}

void report_work(const struct report *r, uint64_t n, double flop)
{
    if (r && r->work) r->work(r->context, n, flop);
}

bool report_stopped(const struct report *r)
{
    return r && r->stopped && r->stopped(r->context);
}
