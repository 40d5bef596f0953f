/* One option table a command: it feeds the parser, ranges, --help, the manual page and the README
 * block.
 *
 *     static const struct option table[] = {
 *         {"batch", 0, OPTION_INT, "N", "records a step", 1, 65536, NULL, &batch},
 *         {"numerics", 0, OPTION_CHOICE, "HOW", "arithmetic of products", 0, 0, "auto|f32|bf16",
 *          &numerics},
 *     };
 *     rc = option_parse(&command, argc, argv, &err);   // fills command.positional, .n_positional
 *
 * The value a target holds before parsing is its default and is printed by --help. Long names,
 * --name VALUE or --name=VALUE; short only -h -v -q -j -n -o; `--` ends options. Errors are
 * ERR_USAGE: they quote the bad text and offer the nearest name.
 */
#ifndef CLI_OPTION_H
#define CLI_OPTION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "store/error.h"

enum option_type {
    OPTION_FLAG,   /* bool *: set to true */
    OPTION_INT,    /* int * */
    OPTION_COUNT,  /* uint64_t * */
    OPTION_NUMBER, /* double * */
    OPTION_STRING, /* const char ** */
    OPTION_CHOICE, /* const char **, one of choices ("a|b|c") */
    OPTION_LIST,   /* struct option_list *: may be repeated, values may be separated by commas */
    OPTION_REPEAT, /* struct option_list *: repeated, commas kept (texts, file names) */
};

#define OPTION_LIST_MAX 4096
struct option_list {
    const char **items; /* live until option_release */
    int n;
};

struct option {
    const char *name; /* without dashes */
    char letter;      /* 0 when none */
    enum option_type type;
    const char *arg;  /* placeholder in help; NULL for flags */
    const char *help; /* one line, lower case, no full stop */
    double min, max;  /* OPTION_INT, OPTION_COUNT, OPTION_NUMBER; both 0: what the type holds */
    const char *choices;
    void *target;
};

struct command {
    const char *name, *summary, *usage;   /* usage: "CACHE SOURCE..." */
    int min_positional, max_positional;   /* max < 0: any number */
    const struct option *options;
    int n_options;
    const char *notes; /* printed after the options; may be NULL */
    void (*defaults)(void); /* fills the targets before parsing and before help; may be NULL */
    int (*run)(const struct command *self, struct error *err);
    const char **positional; /* filled by option_parse */
    int n_positional;
};

/* Parses the words after the command's name for the command's own options and the common ones.
 * Returns 1 when --help was asked for, 0, or ERR_USAGE. */
int option_parse(struct command *c, int argc, char **argv, struct error *err) MUST_CHECK;

/* Frees what parsing made: items of lists and positional words. */
void option_release(void);

/* What every command accepts. */
struct option_globals {
    bool quiet, verbose, json, help, force;
    int threads;          /* 0: as many as the machine lets us use */
    const char *progress;   /* auto|none|json */
    const char *time_limit; /* cli/window.h; NULL: none */
};
extern struct option_globals option_globals;

enum option_style { OPTION_HELP, OPTION_MARKDOWN, OPTION_MAN };
void option_describe(const struct command *c, enum option_style style, FILE *out);
/* The nearest of n names to `word`, or NULL when nothing is near. */
const char *option_nearest(const char *word, const char *const *names, int n);

#endif
