/* A check in a child process: what would crash the program (SIGBUS from a bad disk, an assertion of
 * a library, an endless loop that is killed) becomes a finding.
 *
 *     static int walk(void *context, struct sandbox *box, struct error *err)    // in the child
 *     {
 *         sandbox_finding(box, "image %u: ...", i);                             // as many as there are
 *         sandbox_progress(box, "verify corpus", i, n);
 *         return 0;
 *     }
 *     // how many findings, or a negative error
 *     int n = sandbox_run(walk, &context, finding, finding_context, report, &err);
 *
 * The child is a fork: it sees the parent's memory as it was, changes nothing in it, and must open
 * its own stores (kv_open knows a fork). Call it from a serial part of the program.
 */
#ifndef STORE_SANDBOX_H
#define STORE_SANDBOX_H

#include <stdint.h>

#include "store/error.h"
#include "store/report.h"

struct sandbox;

/* Findings come in order. A child that dies adds one finding that says so. ERR_STOPPED when report
 * says stop, which it is asked five times a second. */
int sandbox_run(int (*work)(void *context, struct sandbox *box, struct error *err), void *context,
                void (*finding)(void *context, const char *text), void *finding_context,
                const struct report *report, struct error *err) MUST_CHECK;

void sandbox_finding(struct sandbox *box, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sandbox_progress(struct sandbox *box, const char *what, uint64_t done, uint64_t total);

#endif
