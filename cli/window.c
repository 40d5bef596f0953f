/* How long a run may take; see window.h. */
#include "cli/window.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LONGEST (366.0 * 86400)

static struct {
    bool is_open, is_over;
    double end_s, asked_s;
    double step_s[2]; /* between the latest questions */
} window;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds of one unit; 0 for none. An absent one stands for seconds. */
static double unit(char c)
{
    static const char letters[] = "smh";
    static const double seconds[] = {1, 60, 3600};
    const char *at = c ? strchr(letters, c) : letters;
    return at ? seconds[at - letters] : 0;
}

int window_parse(const char *text, double *seconds, struct error *err)
{
    const char *at = text;
    double total = 0;
    bool good = *text != 0;
    while (good && *at) {
        char *end;
        double n = strtod(at, &end);
        good = *at >= '0' && *at <= '9' && end > at && unit(*end) > 0;
        if (!good) break;
        total += n * unit(*end);
        at = end + (*end != 0);
    }
    if (!good || !(total > 0 && total <= LONGEST))
        return error_set(
            err, ERR_USAGE,
            "time limit \"%s\": expected seconds or a time such as 5h30m, 45m, at most a year",
            text);
    *seconds = total;
    return 0;
}

int window_open(const char *text, struct error *err)
{
    double seconds;
    int rc = window_parse(text, &seconds, err);
    if (rc < 0) return rc;
    window.is_open = true;
    window.end_s = now_s() + seconds;
    return 0;
}

bool window_is_over(void)
{
    if (!window.is_open || window.is_over) return window.is_over;
    double now = now_s(), *step = window.step_s;
    step[1] = step[0];
    step[0] = window.asked_s > 0 ? now - window.asked_s
                                 : 0; /* what comes before the first is no step */
    window.asked_s = now;
    window.is_over = now + (step[0] > step[1] ? step[0] : step[1]) > window.end_s;
    return window.is_over;
}
