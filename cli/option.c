/* Option tables; see option.h. The parser, --help, the manual page and the README block all read
 * the same rows, so that they cannot disagree. */
#include "cli/option.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

struct option_globals option_globals = {.progress = "auto"};

static const struct option common[] = {
    {"threads", 'j', OPTION_INT, "N", "threads; 0 = as many as quota and affinity allow", 0, 1024,
     NULL, &option_globals.threads},
    {"json", 0, OPTION_FLAG, NULL, "the answer on stdout as one JSON object", 0, 0, NULL,
     &option_globals.json},
    {"progress", 0, OPTION_CHOICE, "HOW", "progress on stderr", 0, 0, "auto|none|json",
     &option_globals.progress},
    {"force", 0, OPTION_FLAG, NULL,
     "open a cache on a network file system, where no other machine does", 0, 0, NULL,
     &option_globals.force},
    {"time-limit", 0, OPTION_STRING, "TIME",
     "end before so long, as 5h30m, after a clean commit; the same command goes on", 0, 0, NULL,
     &option_globals.time_limit},
    {"quiet", 'q', OPTION_FLAG, NULL, "only errors on stderr", 0, 0, NULL, &option_globals.quiet},
    {"verbose", 'v', OPTION_FLAG, NULL, "more on stderr", 0, 0, NULL, &option_globals.verbose},
    {"help", 'h', OPTION_FLAG, NULL, "this text", 0, 0, NULL, &option_globals.help},
};
#define N_COMMON ((int)(sizeof common / sizeof *common))

/* Blocks that parsing made and that lists and positional words point into. */
static void **kept;
static size_t n_kept, kept_capacity;

/* Takes p; NULL when p is, or when memory is out. */
static void *keep(void *p, struct error *err)
{
    if (!p) return NULL;
    if (memory_grow(&kept, &kept_capacity, n_kept + 1, sizeof *kept, MEMORY_MAX_SMALL, err) < 0) {
        memory_free(p);
        return NULL;
    }
    return kept[n_kept++] = p;
}

void option_release(void)
{
    for (size_t i = 0; i < n_kept; i++) memory_free(kept[i]);
    memory_free(kept);
    kept = NULL;
    n_kept = kept_capacity = 0;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein distance of short words; 99 for long ones. */
static size_t distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), row[64];
    if (na > 60 || nb > 60) return 99;
    for (size_t j = 0; j <= nb; j++) row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[nb];
}

const char *option_nearest(const char *word, const char *const *names, int n)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) < 4 ? 2 : 4;
    for (int i = 0; i < n; i++) {
        size_t d = distance(word, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

static const struct option *at(const struct command *c, int i)
{
    return i < c->n_options ? &c->options[i] : &common[i - c->n_options];
}

static const struct option *find(const struct command *c, const char *name, size_t n_name,
                                 char letter)
{
    for (int i = 0; i < c->n_options + N_COMMON; i++) {
        const struct option *o = at(c, i);
        if (letter ? o->letter == letter
                   : strlen(o->name) == n_name && !strncmp(o->name, name, n_name))
            return o;
    }
    return NULL;
}

static int unknown_option(const struct command *c, const char *word, struct error *err)
{
    const char *names[128];
    int n = c->n_options + N_COMMON;
    if (n > 128) n = 128;
    for (int i = 0; i < n; i++) names[i] = at(c, i)->name;
    char bare[64];
    snprintf(bare, sizeof bare, "%s", word + strspn(word, "-"));
    bare[strcspn(bare, "=")] = 0;
    const char *near = option_nearest(bare, names, n);
    return error_set(err, ERR_USAGE, "unknown option '%s'%s%s%s; clipstill %s --help lists them",
                     word, near ? ": did you mean '--" : "", near ? near : "", near ? "'?" : "",
                     c->name);
}

static int add_item(struct option_list *list, const char *item, const struct option *o,
                    struct error *err)
{
    if (!list->items) {
        list->items = keep(
            memory_array(OPTION_LIST_MAX, sizeof *list->items, MEMORY_MAX_SMALL, err), err);
        if (!list->items) return ERR_NOMEM;
    }
    if (list->n == OPTION_LIST_MAX)
        return error_set(err, ERR_USAGE, "--%s is given more than %d times", o->name,
                         OPTION_LIST_MAX);
    list->items[list->n++] = item;
    return 0;
}

static int set_list(const struct option *o, const char *text, struct error *err)
{
    struct option_list *list = o->target;
    if (o->type == OPTION_REPEAT) return add_item(list, text, o, err);
    char *copy = keep(memory_string(text, err), err);
    if (!copy) return ERR_NOMEM;
    for (char *rest = copy, *item; (item = strsep(&rest, ","));) {
        if (!*item) return error_set(err, ERR_USAGE, "--%s '%s' has an empty item", o->name, text);
        int rc = add_item(list, item, o, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int set_number(const struct option *o, const char *text, struct error *err)
{
    char *end;
    errno = 0;
    double x = strtod(text, &end);
    bool limited = o->min != 0 || o->max != 0;
    double low = limited                   ? o->min
                 : o->type == OPTION_INT   ? INT_MIN
                 : o->type == OPTION_COUNT ? 0
                                           : -1e300;
    double high = limited                   ? o->max
                  : o->type == OPTION_INT   ? INT_MAX
                  : o->type == OPTION_COUNT ? 9e15
                                            : 1e300;
    bool is_number = *text && !*end && !errno && x == x;
    if (!is_number || (o->type != OPTION_NUMBER && x != floor(x)))
        return error_set(err, ERR_USAGE, "--%s takes a %s, not '%s'", o->name,
                         o->type == OPTION_NUMBER ? "number" : "whole number", text);
    if (x < low || x > high)
        return error_set(err, ERR_USAGE, "--%s takes a number from %g to %g, not '%s'", o->name,
                         low, high, text);
    if (o->type == OPTION_INT)
        *(int *)o->target = (int)x;
    else if (o->type == OPTION_COUNT)
        *(uint64_t *)o->target = (uint64_t)x;
    else
        *(double *)o->target = x;
    return 0;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = choices; p && *p; p += strcspn(p, "|"), p += *p == '|')
        if (strcspn(p, "|") == n && !strncmp(p, text, n)) return true;
    return false;
}

static int set_option(const struct option *o, const char *text, struct error *err)
{
    switch (o->type) {
    case OPTION_FLAG: *(bool *)o->target = true; return 0;
    case OPTION_INT:
    case OPTION_COUNT:
    case OPTION_NUMBER: return set_number(o, text, err);
    case OPTION_CHOICE:
        if (!is_choice(o->choices, text))
            return error_set(err, ERR_USAGE, "--%s takes one of %s, not '%s'", o->name, o->choices,
                             text);
        *(const char **)o->target = text;
        return 0;
    case OPTION_STRING: *(const char **)o->target = text; return 0;
    case OPTION_LIST:
    case OPTION_REPEAT: return set_list(o, text, err);
    }
    return 0;
}

/* One word that starts with a dash; *i is moved past a value taken from the next word. */
static int parse_word(const struct command *c, int argc, char **argv, int *i, struct error *err)
{
    char *word = argv[*i];
    const char *value = NULL;
    const struct option *o;
    if (word[1] == '-') {
        size_t n = strcspn(word + 2, "=");
        o = find(c, word + 2, n, 0);
        if (word[2 + n] == '=') value = word + 3 + n;
    } else {
        o = find(c, NULL, 0, word[1]);
        if (word[2]) value = word + 2 + (word[2] == '=');
    }
    if (!o) return unknown_option(c, word, err);
    if (o->type == OPTION_FLAG) {
        if (value)
            return error_set(err, ERR_USAGE, "--%s takes no value, but '%s' gives one", o->name,
                             word);
    } else if (!value) {
        if (*i + 1 >= argc)
            return error_set(err, ERR_USAGE, "--%s needs a value (%s)", o->name,
                             o->choices ? o->choices : o->arg);
        value = argv[++*i];
    }
    return set_option(o, value, err);
}

int option_parse(struct command *c, int argc, char **argv, struct error *err)
{
    c->positional = keep(
        memory_array((uint64_t)argc + 1, sizeof *c->positional, MEMORY_MAX_SMALL, err), err);
    if (!c->positional) return ERR_NOMEM;
    if (c->defaults) c->defaults();
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        if (!only_words && !strcmp(argv[i], "--")) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
            int rc = parse_word(c, argc, argv, &i, err);
            if (rc < 0) return rc;
        } else {
            c->positional[c->n_positional++] = argv[i];
        }
    }
    if (option_globals.help) return 1;
    if (c->n_positional < c->min_positional)
        return error_set(err, ERR_USAGE, "an argument is missing: usage: clipstill %s %s", c->name,
                         c->usage);
    if (c->max_positional >= 0 && c->n_positional > c->max_positional)
        return error_set(err, ERR_USAGE, "'%s' is one argument too many: usage: clipstill %s %s",
                         c->positional[c->max_positional], c->name, c->usage);
    return 0;
}

static void default_text(const struct option *o, char *out, size_t size)
{
    const char *s = NULL;
    *out = 0;
    if (o->type == OPTION_INT) snprintf(out, size, "%d", *(int *)o->target);
    if (o->type == OPTION_COUNT) snprintf(out, size, "%" PRIu64, *(uint64_t *)o->target);
    if (o->type == OPTION_NUMBER) snprintf(out, size, "%g", *(double *)o->target);
    if (o->type == OPTION_STRING || o->type == OPTION_CHOICE) s = *(const char **)o->target;
    if (s) snprintf(out, size, "%s", s);
}

static void describe_option(const struct option *o, enum option_style style, FILE *out)
{
    char head[160], value[120], tail[130] = "";
    const char *arg = o->type == OPTION_CHOICE ? o->choices : o->arg;
    snprintf(head, sizeof head, "--%s%s%s%s%c", o->name, arg ? " " : "", arg ? arg : "",
             o->letter ? ", -" : "", o->letter ? o->letter : 0);
    default_text(o, value, sizeof value);
    const char *more = o->type == OPTION_LIST     ? " (a,b,c or repeated)"
                       : o->type == OPTION_REPEAT ? " (repeatable)"
                                                  : "";
    if (*value) snprintf(tail, sizeof tail, " [%s]", value);
    if (style == OPTION_MARKDOWN) {
        fputs("| `", out);
        for (const char *p = head; *p; p++) fprintf(out, *p == '|' ? "\\|" : "%c", *p);
        fprintf(out, "` | %s%s | %s |\n", o->help, more, value);
    } else if (style == OPTION_MAN) {
        fprintf(out, ".TP\n\\fB%s\\fR\n%s%s%s\n", head, o->help, more, tail);
    } else {
        fprintf(out, "  %-32s %s%s%s\n", head, o->help, more, tail);
    }
}

void option_describe(const struct command *c, enum option_style style, FILE *out)
{
    if (style == OPTION_MARKDOWN)
        fprintf(out, "### `clipstill %s %s`\n\n%s.\n\n", c->name, c->usage, c->summary);
    else if (style == OPTION_MAN)
        fprintf(out, ".SS clipstill %s %s\n%s.\n", c->name, c->usage, c->summary);
    else
        fprintf(out, "usage: clipstill %s %s [options]\n\n%s.\n\n", c->name, c->usage, c->summary);
    if (style == OPTION_MARKDOWN && c->n_options)
        fprintf(out, "| option | meaning | default |\n| --- | --- | --- |\n");
    for (int i = 0; i < c->n_options; i++) describe_option(&c->options[i], style, out);
    if (style == OPTION_HELP) {
        fprintf(out, "%scommon to all commands:\n", c->n_options ? "\n" : "");
        for (int i = 0; i < N_COMMON; i++) describe_option(&common[i], style, out);
    }
    if (c->notes) fprintf(out, "\n%s\n", c->notes);
    if (style == OPTION_MARKDOWN) fputc('\n', out);
}
