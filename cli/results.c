/* Tables of results; see results.h. The rows come in the order system, task, group, metric; a table
 * is found by scanning them: a few hundred rows, printed once. */
#include "cli/results.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAMES 256
#define CELL      10

struct names {
    const char *name[MAX_NAMES];
    int n;
};

static const char *field(const struct json *row, const char *key)
{
    return json_text(json_get(row, key), "");
}

static void add_name(struct names *names, const char *name)
{
    for (int i = 0; i < names->n; i++)
        if (!strcmp(names->name[i], name)) return;
    if (names->n < MAX_NAMES) names->name[names->n++] = name;
}

/* A table is one (task, by, metric). */
struct key {
    const char *task, *by, *metric;
};

static bool is_of(const struct json *row, const struct key *k)
{
    return !strcmp(field(row, "task"), k->task) && !strcmp(field(row, "by"), k->by) &&
           !strcmp(field(row, "metric"), k->metric);
}

static const struct json *find(const struct json *rows, const struct key *k, const char *system,
                               const char *group)
{
    for (size_t i = 0; i < json_size(rows); i++) {
        const struct json *row = json_at(rows, i);
        if (is_of(row, k) && !strcmp(field(row, "group"), group) &&
            (!system || !strcmp(field(row, "system"), system)))
            return row;
    }
    return NULL;
}

/* Columns on a terminal of UTF-8 text without wide characters: good enough for names and "±". */
static int width(const char *s)
{
    int n = 0;
    for (; *s; s++) n += (*s & 0xc0) != 0x80;
    return n;
}

static void print_cell(const char *text, FILE *out)
{
    fprintf(out, "%*s%s", CELL - width(text) > 0 ? CELL - width(text) : 1, "", text);
}

static void print_title(const struct key *k, FILE *out)
{
    const char *metric = k->metric;
    if (!strncmp(metric, "t2i ", 4))
        fprintf(out, "\n%s, text to image, %s, %% by %s (±: half of the 95%% interval)\n", k->task,
                metric + 4, k->by);
    else if (!strncmp(metric, "i2t ", 4))
        fprintf(out, "\n%s, image to text, %s, %% by %s (±: half of the 95%% interval)\n", k->task,
                metric + 4, k->by);
    else if (!strcmp(metric, "MR"))
        fprintf(out,
                "\n%s, mean recall (R@1, 5, 10, both directions), %% by %s (±: half of the 95%% "
                "interval)\n",
                k->task, k->by);
    else
        fprintf(out, "\n%s, %s, %% by %s (±: half of the 95%% interval)\n", k->task, metric, k->by);
}

static void print_head(const struct json *rows, const struct key *k, const struct names *groups,
                       int name_width, FILE *out)
{
    char cell[32];
    double sum = 0;
    fprintf(out, "%-*s", name_width, "");
    for (int g = 0; g < groups->n; g++) print_cell(groups->name[g], out);
    if (groups->n > 1) print_cell("mean", out);
    fprintf(out, "\n%-*s", name_width, "n");
    for (int g = 0; g < groups->n; g++) {
        snprintf(cell, sizeof cell, "%" PRId64,
                 json_int(json_get(find(rows, k, NULL, groups->name[g]), "n"), 0));
        print_cell(cell, out);
    }
    fprintf(out, "\n%-*s", name_width, "chance");
    for (int g = 0; g < groups->n; g++) {
        double chance = 100 *
                        json_number(json_get(find(rows, k, NULL, groups->name[g]), "chance"), NAN);
        sum += chance;
        snprintf(cell, sizeof cell, "%.1f", chance);
        print_cell(cell, out);
    }
    snprintf(cell, sizeof cell, "%.1f", sum / groups->n);
    if (groups->n > 1) print_cell(cell, out);
    fputc('\n', out);
}

static void print_system(const struct json *rows, const struct key *k, const struct names *groups,
                         const char *system, int name_width, FILE *out)
{
    char cell[48];
    double sum = 0;
    fprintf(out, "%s%*s", system, name_width - width(system), "");
    for (int g = 0; g < groups->n; g++) {
        const struct json *row = find(rows, k, system, groups->name[g]);
        double value = 100 * json_number(json_get(row, "value"), NAN);
        double half = 50 * (json_number(json_get(row, "high"), NAN) -
                            json_number(json_get(row, "low"), NAN));
        sum += value;
        if (isnan(value))
            snprintf(cell, sizeof cell, "-");
        else
            snprintf(cell, sizeof cell, "%.1f±%.1f", value, half);
        print_cell(cell, out);
    }
    snprintf(cell, sizeof cell, isnan(sum) ? "-" : "%.1f", sum / groups->n);
    if (groups->n > 1) print_cell(cell, out);
    fputc('\n', out);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_table(const struct json *rows, const struct key *k, FILE *out)
{
    struct names systems = {.n = 0}, groups = {.n = 0};
    int name_width = 8;
    for (size_t i = 0; i < json_size(rows); i++) {
        const struct json *row = json_at(rows, i);
        if (!is_of(row, k)) continue;
        add_name(&systems, field(row, "system"));
        add_name(&groups, field(row, "group"));
    }
    qsort(groups.name, (size_t)groups.n, sizeof *groups.name,
          by_name); /* the same columns in every table */
    for (int s = 0; s < systems.n; s++)
        if (width(systems.name[s]) + 2 > name_width) name_width = width(systems.name[s]) + 2;
    print_title(k, out);
    print_head(rows, k, &groups, name_width, out);
    for (int s = 0; s < systems.n; s++)
        print_system(rows, k, &groups, systems.name[s], name_width, out);
}

static bool is_wanted(const char *metric, const struct option_list *metrics)
{
    for (int i = 0; i < metrics->n; i++)
        if (!strcmp(metrics->items[i], metric)) return true;
    return metrics->n == 0;
}

void results_print(const struct json *rows, const struct option_list *metrics, FILE *out)
{
    struct key done[MAX_NAMES];
    int n_done = 0;
    for (size_t i = 0; i < json_size(rows) && n_done < MAX_NAMES; i++) {
        const struct json *row = json_at(rows, i);
        struct key k = {field(row, "task"), field(row, "by"), field(row, "metric")};
        bool seen = !is_wanted(k.metric, metrics);
        for (int d = 0; d < n_done && !seen; d++) seen = is_of(row, &done[d]);
        if (seen) continue;
        print_table(rows, &k, out);
        done[n_done++] = k;
    }
}
