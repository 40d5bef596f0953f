/* What cli/ gives a stage as its struct report: a progress line on a terminal (at most six times a
 * second), JSON lines when asked, warnings on stderr, and the signal flag. One a process; main
 * thread.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "store/report.h"

/* From here on a signal asks the stage to stop after a clean commit, and a second one ends the process at once
 * (cli/signals.h). Before any parallel region. Borrowed; lives as long as the process. */
const struct report *progress_start(void);
/* Ends the line on the terminal. */
void progress_end(void);
/* The signal that asked to stop, or 0. */
int progress_signal(void);
/* One line to stderr unless --quiet. */
void progress_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
