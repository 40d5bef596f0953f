/* What was computed again, told; see verifydrift.h. */
#include "cli/verifydrift.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/option.h"
#include "cli/progress.h"

static const char *const states[] = {"recomputed", "stale", "imported", "other"};

static struct json *set_json(const struct recompute_set *s)
{
    struct json *j = json_new_object();
    json_set_string(j, "name", s->name);
    json_set_string(j, "state", states[s->state]);
    if (*s->why) json_set_string(j, "why", s->why);
    if (s->state != RECOMPUTE_DONE) return j;
    json_set_int(j, "n", (int64_t)s->n);
    json_set_int(j, "equal", (int64_t)s->n_equal);
    json_set_number(j, "min_cos", s->min_cos);
    json_set_number(j, "mean_cos", s->mean_cos);
    json_set_number(j, "cos_bound", s->cos_bound);
    json_set_number(j, "max_difference", s->max_difference);
    json_set_number(j, "difference_bound", s->difference_bound);
    json_set_number(j, "max_norm_difference", s->max_norm);
    json_set_number(j, "norm_bound", s->norm_bound);
    json_set_number(j, "mean_drift", s->mean_drift);
    json_set_number(j, "drift_bound", s->drift_bound);
    json_set_string(j, "worst_key", s->worst_key);
    json_set_int(j, "worst_view", s->worst_view);
    json_set_bool(j, "drifted", s->is_drifted);
    return j;
}

static void print_set(const struct recompute_set *s)
{
    if (s->state == RECOMPUTE_IMPORTED)
        printf("%-26s imported: no teacher's folder can compute it\n", s->name);
    if (s->state == RECOMPUTE_OTHER) printf("%-26s of another prefix: left alone\n", s->name);
    if (s->state != RECOMPUTE_DONE) return;
    printf("%-26s %" PRIu64 " recomputed, %" PRIu64
           " bit for bit; cosine min %.9f (bound %.9f), mean %.9f; worst %.16s... view %u\n",
           s->name, s->n, s->n_equal, s->min_cos, s->cos_bound, s->mean_cos, s->worst_key,
           s->worst_view);
    printf("  largest difference %.3g (bound %.3g), of norms %.2g (%.2g), mean drift %.2g (%.2g)\n",
           s->max_difference, s->difference_bound, s->max_norm, s->norm_bound, s->mean_drift,
           s->drift_bound);
}

int verifydrift_run(const char *cache, const struct recompute_options *o,
                    void (*finding)(void *context, const char *set, const char *text),
                    void *context, struct json **sets, struct error *err)
{
    struct recompute_result r;
    char text[900];
    int rc = recompute_run(cache, o, progress_start(), &r, err);
    *sets = json_new_array();
    for (size_t i = 0; i < r.n_sets && rc == 0; i++) {
        const struct recompute_set *s = &r.sets[i];
        json_push(*sets, set_json(s));
        if (!option_globals.json) print_set(s);
        if (s->state == RECOMPUTE_STALE)
            snprintf(text, sizeof text, "stale against %.100s: %s", o->teacher, s->why);
        else if (s->is_drifted)
            snprintf(text, sizeof text, "drifted, although its checksums hold: %s", s->why);
        else
            continue;
        finding(context, s->name, text);
    }
    recompute_result_release(&r);
    return rc;
}
