/* The signals that ask a run to stop: SIGINT, SIGTERM, SIGUSR1 and SIGHUP.
 *
 * They are blocked, and a thread of their own waits for them: no handler ever runs. A handler would run
 * on the stack of whatever thread it interrupts, and oneDNN, while it makes a kernel, lets the stack
 * pointer point into the heap: the frame of the handler went over what lay there. One SIGINT in
 * twenty to a distill that had just begun ended in a corrupted heap. Nor is a system call ever
 * interrupted.
 *
 * The first signal is remembered, for the stage to stop after a clean commit (store/report.h); a second one
 * ends the process at once. SIGHUP is left alone where the caller ignores it (nohup).
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

/* Before any other thread is made: they inherit what is blocked. A second call does nothing. */
void signals_watch(void);
/* The first of them, or 0. */
int signals_seen(void);

#endif
