/* Effort in words; see pace.h. */
#include "cli/pace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/option.h"
#include "cli/progress.h"
#include "store/memory.h"

static const char *const phases[] = {"reading and decoding", "forward pass", "writing"};
static const char *const keys[] = {"prepare", "compute", "store"};

/* Into text, which is returned. */
static const char *duration(double s, char text[32])
{
    if (s < 120)
        snprintf(text, 32, "%.1f s", s);
    else if (s < 2 * 3600)
        snprintf(text, 32, "%.0f minutes", s / 60);
    else
        snprintf(text, 32, "%.1f hours", s / 3600);
    return text;
}

/* "120 of 500 pictures in 3 views"; empty when no tap asks for any. */
static void part(char *text, size_t size, const struct survey *s, const char *what, uint32_t views)
{
    *text = 0;
    if (s->n_records == 0) return;
    int n = snprintf(text, size, "%" PRIu64 " of %" PRIu64 " %s", s->n_missing, s->n_records, what);
    if (views > 1) snprintf(text + n, size - (size_t)n, " in %u views", views);
}

static bool is_foreseen(const struct survey *s)
{
    return s->n_missing == 0 || s->forecast_s > 0;
}

static struct json *part_json(const struct survey *s)
{
    struct json *j = json_new_object();
    json_set_int(j, "records", (int64_t)s->n_records);
    json_set_int(j, "missing", (int64_t)s->n_missing);
    json_set_int(j, "inputs", (int64_t)s->n_inputs);
    json_set_int(j, "bytes", (int64_t)s->stored_bytes);
    if (s->forecast_s > 0) json_set_number(j, "forecast_seconds", s->forecast_s);
    return j;
}

static void plan_json(const struct featurize_plan *plan)
{
    struct json *j = json_new_object(), *both = json_new_object();
    json_set(both, "pictures", part_json(&plan->pictures));
    json_set(both, "captions", part_json(&plan->texts));
    json_set(j, "plan", both);
    char *text = json_write(j, JSON_LINE, NULL);
    if (text) progress_say("%s", text);
    memory_free(text);
    json_free(j);
}

void pace_plan(const struct featurize_plan *plan)
{
    const struct survey *p = &plan->pictures, *t = &plan->texts;
    char pictures[100], captions[100], time[32], foreseen[100] = "";
    if (!strcmp(option_globals.progress, "none")) return;
    if (!strcmp(option_globals.progress, "json")) {
        plan_json(plan);
        return;
    }
    part(pictures, sizeof pictures, p, "pictures", plan->n_views);
    part(captions, sizeof captions, t, "captions", 1);
    if (is_foreseen(p) && is_foreseen(t))
        snprintf(foreseen, sizeof foreseen, " and %s on %d thread%s",
                 duration(p->forecast_s + t->forecast_s, time), plan->n_threads,
                 plan->n_threads > 1 ? "s" : "");
    progress_say("featurize: %s%s%s to compute; about %.2f MB%s", pictures,
                 *pictures && *captions ? " and " : "", captions,
                 (double)(p->stored_bytes + t->stored_bytes) / 1e6, foreseen);
}

void pace_print(const char *what, const struct effort *e)
{
    double total = effort_total_s(e);
    char text[32];
    if (e->n_inputs == 0 || !(total > 0)) return;
    if (e->forecast_s > 0) {
        printf("%s: about %s on this machine, after the first %" PRIu64 "\n", what,
               duration(e->forecast_s, text), e->n_inputs);
        return;
    }
    printf("%s: %" PRIu64 " in %s, %.1f/s", what, e->n_inputs, duration(total, text),
           (double)e->n_inputs / total);
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
