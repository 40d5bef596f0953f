/* Effort in words; see pace.h. */
#include "cli/pace.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const phases[] = {"reading and decoding", "forward pass", "writing"};
static const char *const keys[] = {"prepare", "compute", "store"};

static void print_duration(double s)
{
    if (s < 120)
        printf("%.1f s", s);
    else if (s < 2 * 3600)
        printf("%.0f minutes", s / 60);
    else
        printf("%.1f hours", s / 3600);
}

void pace_print(const char *what, const struct effort *e)
{
    double total = effort_total_s(e);
    if (e->n_inputs == 0 || !(total > 0)) return;
    if (e->forecast_s > 0) {
        printf("%s: about ", what);
        print_duration(e->forecast_s);
        printf(" on this machine, after the first %" PRIu64 "\n", e->n_inputs);
        return;
    }
    printf("%s: %" PRIu64 " in ", what, e->n_inputs);
    print_duration(total);
    printf(", %.1f/s", (double)e->n_inputs / total);
    if (e->flop > 0 && e->seconds[EFFORT_COMPUTE] > 0)
        printf(", %.0f GFLOP/s in the forward pass", e->flop / e->seconds[EFFORT_COMPUTE] / 1e9);
    printf("; time: %s %.0f%%, %s %.0f%%, waiting for writing %.0f%%; limited by %s\n",
           phases[EFFORT_PREPARE], 100 * e->seconds[EFFORT_PREPARE] / total, phases[EFFORT_COMPUTE],
           100 * e->seconds[EFFORT_COMPUTE] / total, 100 * e->waited_s / total,
           phases[effort_limit(e)]);
}

struct json *pace_json(const struct effort *e)
{
    struct json *j = json_new_object(), *seconds = json_new_object();
    double total = effort_total_s(e);
    json_set_int(j, "inputs", (int64_t)e->n_inputs);
    json_set_number(j, "per_second", total > 0 ? (double)e->n_inputs / total : 0);
    json_set_number(j, "gflops",
                    e->seconds[EFFORT_COMPUTE] > 0 ? e->flop / e->seconds[EFFORT_COMPUTE] / 1e9
                                                   : 0);
    for (int i = 0; i < EFFORT_PHASES; i++) json_set_number(seconds, keys[i], e->seconds[i]);
    json_set_number(seconds, "waited", e->waited_s);
    json_set(j, "seconds", seconds);
    json_set_string(j, "limited_by", e->n_inputs ? keys[effort_limit(e)] : "nothing");
    if (e->forecast_s > 0) json_set_number(j, "forecast_seconds", e->forecast_s);
    return j;
}
