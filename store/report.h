/* How a stage speaks without printing: callbacks that cli/ fills in (progress line, log, JSON lines) and
 * tests leave zero. Stages check report_stopped between batches and then return ERR_STOPPED after a
 * clean commit. All functions accept a NULL report. Called from the serial part of a stage only.
 */
#ifndef STORE_REPORT_H
#define STORE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "store/error.h"

struct report {
    void *context;
    /* what: "ingest", "featurize image.final"; done of total records (total 0: unknown); n_reject
     * records quarantined in this run; n_hit records that were already there. */
    void (*progress)(void *context, const char *what, uint64_t done, uint64_t total, uint64_t n_reject,
                     uint64_t n_hit);
    void (*warn)(void *context, const char *text); /* one line for the log */
    void (*curve)(void *context, const char *json); /* one JSON object: a point of a learning curve */
    bool (*stopped)(void *context);                 /* true once a signal asked the run to stop */
    /* Of the records that the progress line counts, n were really worked on so far, with so many floating-point
     * operations; the others were there already. After the progress call that named what is done. */
    void (*work)(void *context, uint64_t n, double flop);
};

void report_progress(const struct report *r, const char *what, uint64_t done, uint64_t total,
                     uint64_t n_reject, uint64_t n_hit);
void report_warn(const struct report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
void report_curve(const struct report *r, const char *json);
void report_work(const struct report *r, uint64_t n, double flop);
bool report_stopped(const struct report *r);

#endif
