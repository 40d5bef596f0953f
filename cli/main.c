/* clipstill: finds the command, parses its options, runs it, maps what it returned to the exit code. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/window.h"
#include "cli/threads.h"
#include "store/kv.h"

static struct command *const commands[] = {
    &cmd_ingest, &cmd_retag,  &cmd_featurize, &cmd_shrink, &cmd_distill,  &cmd_align,
    &cmd_eval,   &cmd_embed,  &cmd_bench,     &cmd_stat,   &cmd_verify,   &cmd_dump,
    &cmd_export, &cmd_import, &cmd_forget,    &cmd_gc,     &cmd_snapshot, &cmd_merge,
};
#define N_COMMANDS ((int)(sizeof commands / sizeof *commands))

static const char exit_codes[] = "exit codes: 0 done; 1 failed; 2 usage; 3 done, with rejects "
                                 "within the budget; 4 budget exceeded or a\n"
                                 "quality gate failed; 5 store corrupt or incompatible; 6 locked "
                                 "by another run; 7 out of disk or memory;\n"
                                 "128+n stopped by signal n after a clean commit. Running the same "
                                 "command again is how one resumes.\n";

static void print_overview(FILE *out)
{
    fprintf(
        out,
        "usage: clipstill COMMAND [options]\n\n"
        "Compute the teacher once. Retrain the student every night, on a CPU, from the cache.\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out,
            "\nclipstill COMMAND --help tells more.  clipstill help --markdown | --man prints the "
            "reference.\n\n%s",
            exit_codes);
}

/* The whole reference in one format, from the same option tables. */
static int print_reference(const char *format)
{
    enum option_style style = !strcmp(format, "--man") ? OPTION_MAN : OPTION_MARKDOWN;
    if (style == OPTION_MAN)
        printf(".TH CLIPSTILL 1 \"\" \"clipstill %s\"\n.SH NAME\nclipstill \\- distil multilingual "
               "vision-language models from a feature cache\n.SH COMMANDS\n",
               CLIPSTILL_VERSION);
    for (int i = 0; i < N_COMMANDS; i++) {
        if (commands[i]->defaults) commands[i]->defaults();
        option_describe(commands[i], style, stdout);
    }
    if (style == OPTION_MAN) printf(".SH EXIT STATUS\n%s", exit_codes);
    return 0;
}

static struct command *find_command(const char *word, struct error *err)
{
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) {
        if (!strcmp(commands[i]->name, word)) return commands[i];
        names[i] = commands[i]->name;
    }
    const char *near = option_nearest(word, names, N_COMMANDS);
    error_set(err, ERR_USAGE, "'%s' is no command%s%s%s; clipstill --help lists them", word,
              near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

static int run_command(int argc, char **argv, struct error *err)
{
    struct command *c = find_command(argv[1], err);
    if (!c) return ERR_USAGE;
    int rc = option_parse(c, argc - 2, argv + 2, err);
    if (rc < 0) return rc;
    if (rc == 1) {
        option_describe(c, OPTION_HELP, stdout);
        return 0;
    }
    threads_set(option_globals.threads);
    if (option_globals.force) kv_allow_network();
    if (option_globals.time_limit && (rc = window_open(option_globals.time_limit, err)) < 0)
        return rc;
    return c->run(c, err);
}

/* A standard stream that the caller closed would be the next file that is opened, and an answer
 * would be printed into a store. For reading only, so that writing still fails. */
static void keep_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd) _exit(1);
}

/* Everything that begins with a word of its own. */
static int run_word(int argc, char **argv, struct error *err)
{
    const char *word = argv[1];
    if (!strcmp(word, "--version")) {
        printf("clipstill %s\n", CLIPSTILL_VERSION);
        return 0;
    }
    if (!strcmp(word, "help") && argc > 2 && argv[2][0] == '-') return print_reference(argv[2]);
    if (!strcmp(word, "help") && argc > 2) {
        argv[1] = argv[2];
        argv[2] = (char *)"--help";
    } else if (!strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h")) {
        print_overview(stdout);
        return 0;
    }
    return run_command(argc, argv, err);
}

/* The kernel's word for a mapped page that cannot be read, and what LMDB does with a page that makes no
 * sense: an address out of all bounds, or an assertion of its own. */
static void on_fatal(int n)
{
    static const char text[] =
        "clipstill: a page of a mapped file cannot be read or makes no sense: "
        "the file is damaged or the disk fails; see clipstill verify\n";
    (void)n;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(COMMAND_CORRUPT);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    keep_standard_streams();
    signal(SIGBUS, on_fatal);
#ifndef __SANITIZE_ADDRESS__ /* which reports these itself */
    signal(SIGSEGV, on_fatal);
    signal(SIGABRT, on_fatal);
#endif
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of a write, like a full disk */
    if (argc < 2) {
        print_overview(stderr);
        return 2;
    }
    int rc = run_word(argc, argv, &err);
    progress_end();
    bool is_lost = fflush(stdout) || ferror(stdout);
    if (is_lost && (rc >= 0 || !*err.text))
        rc = error_set(&err, ERR_IO, "the answer could not be written to standard output");
    if (rc < 0) fprintf(stderr, "clipstill: %s\n", *err.text ? err.text : error_word(rc));
    option_release();
    return command_exit_code(rc, progress_signal());
}
