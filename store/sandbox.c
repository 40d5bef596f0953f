/* A check in a child process; see sandbox.h. The child writes lines to a pipe: "F" text, "P" done
 * total what, and at its end "E" code text or "D". A child that ends without one of the last two
 * has crashed.
 */
#include "store/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct sandbox {
    FILE *out;
    uint64_t last_shown;
};

void sandbox_finding(struct sandbox *box, const char *fmt, ...)
{
    struct error line; /* for its one-line text */
    char text[sizeof line.text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    error_set(&line, ERR_CORRUPT, "%s", text);
    fprintf(box->out, "F%s\n", line.text);
    fflush(box->out); /* a finding must survive a crash at the next record */
}

void sandbox_progress(struct sandbox *box, const char *what, uint64_t done, uint64_t total)
{
    if (done < total && done - box->last_shown < 1000) return;
    box->last_shown = done;
    fprintf(box->out, "P%" PRIu64 " %" PRIu64 " %s\n", done, total, what);
    fflush(box->out);
}

static _Noreturn void be_the_child(int fd, int (*work)(void *, struct sandbox *, struct error *),
                                   void *context)
{
    struct error err = {0};
    struct sandbox box = {.out = fdopen(fd, "w")};
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (!box.out || quiet < 0) _exit(1);
    dup2(quiet, STDERR_FILENO); /* a library's last words go nowhere: the signal is the finding */
    signal(SIGINT, SIG_IGN);    /* the parent decides */
    static const int fatal[] = {SIGBUS, SIGSEGV, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], SIG_DFL);
    int rc = work(context, &box, &err);
    if (rc < 0)
        fprintf(box.out, "E%d %s\n", rc, err.text);
    else
        fprintf(box.out, "D\n");
    _exit(fflush(box.out) ? 1 : 0);
}

/* What the parent has heard so far. */
struct heard {
    int n_findings, code;
    bool ended, stopped;
};

static void hear(const char *line, struct heard *h, void (*finding)(void *, const char *),
                 void *context, const struct report *report, struct error *err)
{
    uint64_t done, total;
    int at = 0;
    if (line[0] == 'F') {
        h->n_findings++;
        finding(context, line + 1);
    } else if (line[0] == 'P' &&
               sscanf(line, "P%" SCNu64 " %" SCNu64 " %n", &done, &total, &at) == 2) {
        report_progress(report, line + at, done, total, (uint64_t)h->n_findings, 0);
    } else if (line[0] == 'E' && sscanf(line, "E%d %n", &h->code, &at) == 1) {
        h->ended = true;
        error_set(err, h->code, "%s", line + at);
    } else if (line[0] == 'D') {
        h->ended = true;
    }
}

/* Hears the child out, and looks after every line, and five times a second while there is none, whether to
 * stop; the child is killed then. */
static void listen(int from, pid_t child, struct heard *h, void (*finding)(void *, const char *),
                   void *context, const struct report *report, struct error *err)
{
    char text[1200]; // longer than any line
    size_t n = 0;
    for (;;) {
        if (report_stopped(report)) {
            h->stopped = true;
            kill(child, SIGKILL);
            return;
        }
        struct pollfd wait = {.fd = from, .events = POLLIN};
        if (poll(&wait, 1, 200) <= 0) continue;
        ssize_t got = read(from, text + n, sizeof text - n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        n += (size_t)got;
        char *line = text, *end;
        while ((end = memchr(line, '\n', n))) {
            *end = 0;
            hear(line, h, finding, context, report, err);
            n -= (size_t)(end + 1 - line);
            line = end + 1;
        }
        if (n == sizeof text) n = 0;
        memmove(text, line, n);
    }
}

int sandbox_run(int (*work)(void *context, struct sandbox *box, struct error *err), void *context,
                void (*finding)(void *context, const char *text), void *finding_context,
                const struct report *report, struct error *err)
{
    int ends[2], status = 0;
    if (pipe2(ends, O_CLOEXEC) < 0) return error_errno(err, "a pipe to the checking process");
    pid_t child = fork();
    if (child < 0) {
        int rc = error_errno(err, "starting the checking process");
        close(ends[0]);
        close(ends[1]);
        return rc;
    }
    if (child == 0) be_the_child(ends[1], work, context);
    close(ends[1]);
    struct heard h = {0};
    listen(ends[0], child, &h, finding, finding_context, report, err);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (h.stopped) return error_set(err, ERR_STOPPED, "the check was stopped");
    if (h.code < 0) return h.code;
    if (!h.ended) {
        char text[200];
        if (WIFSIGNALED(status))
            snprintf(
                text, sizeof text,
                "the check was ended by signal %d (%s): the store is damaged, or the disk fails",
                WTERMSIG(status), strsignal(WTERMSIG(status)));
        else
            snprintf(text, sizeof text, "the check ended early with status %d",
                     WEXITSTATUS(status));
        h.n_findings++;
        finding(finding_context, text);
    }
    return h.n_findings;
}
