/* A window of time that a run must keep: --time-limit 6h.
 *
 *     window_open("5h30m", &err);          // begins now
 *     if (window_is_over()) ...            // asked between commits (store/report.h: report_stopped)
 *
 * It is over when what lies between two questions, as long as it last took, would no longer fit; the time before the first question does not count. So a run
 * ends before its window does, but for a batch that takes longer than the one before it. Threading: one
 * caller.
 */
#ifndef CLI_WINDOW_H
#define CLI_WINDOW_H

#include <stdbool.h>

#include "store/error.h"

/* Seconds, or numbers with h, m or s: "90", "30m", "5h30m". ERR_USAGE otherwise. */
int window_parse(const char *text, double *seconds, struct error *err) MUST_CHECK;
int window_open(const char *text, struct error *err) MUST_CHECK;
bool window_is_over(void); /* false for ever when none was opened; once true, always */

#endif
