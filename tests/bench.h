/* What the benchmark programs share: contestants that take turns, medians, and ratios of one
 * contestant to another, with the load of the machine beside them. Speeds of different runs are not
 * comparable, ratios within a run are.
 *
 *     struct bench_entry e[] = {{.name = "clipstill", .work = 20, .run = ours},
 *                               {.work = 20, .peer = &pillow, .ask = "run", .goal = ">= 2"}};
 *     bench_table("decode", "pictures/s", e, 2, 5);     // entry 0 against each of the others
 *
 * A peer is a process, in Python (a script *.py) or node (*.js), that lives as long as its benchmark:
 * it says "ready VERSION" or "absent: REASON" once, then answers each line with a line: the seconds
 * that the asked round took, or a word. So starting it and its libraries never counts. Everything
 * uses one thread. Seconds are the processor's (both sides), so that neighbours on the machine
 * disturb less; where a disk is waited for they are the clock's.
 */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/error.h"
#include "store/file.h"
#include "store/memory.h"

#define BENCH_MAX_ROUNDS 15
#define BENCH_MAX_ARGS 32

struct bench_peer {
    FILE *to, *from; /* NULL when absent */
    pid_t pid;
    char name[200];  /* "Pillow 9.4.0", or "Pillow (absent: why)" */
};

struct bench_entry {
    const char *name;         /* of a peer: what follows its name, or NULL */
    double work;              /* units a round; the same kind for all entries */
    double (*run)(void *ctx); /* seconds of one round */
    void *ctx;
    struct bench_peer *peer;  /* instead of run */
    const char *ask;          /* the line that asks for a round */
    const char *goal;         /* of entry 0 against this one, e.g. ">= 2"; NULL: none is set */
    bool rested; /* a round begins when the threads of the one before have ceased to spin */
    double seconds[BENCH_MAX_ROUNDS];
};

static inline void bench_must(bool ok, const struct error *err)
{
    if (ok) return;
    fprintf(stderr, "benchmark: cannot go on: %s\n", err->text);
    exit(1);
}

struct bench_folder {
    char path[80];
    int until; /* open as long as this process lives */
    pid_t remover;
};

static inline struct bench_folder *bench_folder_own(void)
{
    static struct bench_folder f;
    return &f;
}

static inline const char *bench_folder_path(void) { return bench_folder_own()->path; }

static inline void bench_folder_remove(void)
{
    close(bench_folder_own()->until);
    waitpid(bench_folder_own()->remover, NULL, 0);
}

/* A folder under TMPDIR or /tmp that goes when the program ends, be it by a signal: a child waits for
 * that, and ^C in a terminal is not for it. */
static inline const char *bench_folder(void)
{
    struct error err = {0};
    struct bench_folder *f = bench_folder_own();
    const char *base = getenv("TMPDIR");
    int ends[2];
    snprintf(f->path, sizeof f->path, "%.50s/clipstill-bench-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(f->path)) error_errno(&err, "cannot make %s", f->path);
    bench_must(!err.code, &err);
    fflush(NULL);
    f->remover = pipe2(ends, O_CLOEXEC) < 0 ? -1 : fork();
    if (f->remover < 0) error_errno(&err, "cannot watch over %s", f->path);
    bench_must(!err.code, &err);
    if (f->remover == 0) {
        char c;
        setsid();
        signal(SIGTERM, SIG_IGN); /* pkill bench_x sends it to both */
        close(ends[1]);
        while (read(ends[0], &c, 1) > 0) {}
        if (file_remove_folder(f->path, &err) < 0) fprintf(stderr, "%s\n", err.text);
        _exit(0);
    }
    close(ends[0]);
    f->until = ends[1];
    atexit(bench_folder_remove);
    return f->path;
}

/* A reproducible number in [-1, 1). */
static inline float bench_noise(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)((z ^ (z >> 31)) >> 40) / (float)(1 << 23) - 1.0f;
}

/* n of them; owned: memory_free. */
static inline float *bench_floats(size_t n)
{
    struct error err = {0};
    float *x = memory_array(n, sizeof *x, MEMORY_MAX_FILE, &err);
    bench_must(x, &err);
    for (size_t i = 0; i < n; i++) x[i] = bench_noise(i);
    return x;
}

static inline double bench_clock(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds of the processor; of the wall's clock. */
static inline double bench_cpu(void) { return bench_clock(CLOCK_PROCESS_CPUTIME_ID); }
static inline double bench_wall(void) { return bench_clock(CLOCK_MONOTONIC); }

/* One line of the peer without its newline; false when it has gone. */
static inline bool bench_read(struct bench_peer *p, char *line, int size)
{
    if (!p->from || !fgets(line, size, p->from)) return false;
    line[strcspn(line, "\n")] = 0;
    return true;
}

/* args: further words for the script, NULL at the end. An absent peer is not an error. */
static inline void bench_peer_open(struct bench_peer *p, const char *name, const char *script,
                                   const char *const *args)
{
    int down[2], up[2];
    size_t length = strlen(script);
    bool node = length > 3 && !strcmp(script + length - 3, ".js");
    const char *argv[BENCH_MAX_ARGS + 3] = {node ? "node" : "/usr/bin/python3", script};
    for (int i = 0; args && args[i] && i < BENCH_MAX_ARGS; i++) argv[i + 2] = args[i];
    *p = (struct bench_peer){0};
    snprintf(p->name, sizeof p->name, "%s (absent: %s does not start)", name, argv[0]);
    signal(SIGPIPE, SIG_IGN);
    /* a peer that held another's pipe would keep that one from seeing its end */
    if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC) < 0) return;
    fflush(NULL);
    p->pid = fork();
    if (p->pid == 0) {
        dup2(down[0], 0);
        dup2(up[1], 1);
        setenv("OMP_NUM_THREADS", "1", 1);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(down[0]), close(up[1]);
    p->to = fdopen(down[1], "w");
    p->from = fdopen(up[0], "r");
    char line[160];
    bool here = p->pid > 0 && bench_read(p, line, sizeof line);
    bool ready = here && !strncmp(line, "ready ", 6);
    if (here) snprintf(p->name, sizeof p->name, ready ? "%s %s" : "%s (%s)", name, ready ? line + 6 : line);
    if (ready) return;
    fclose(p->to), fclose(p->from);
    p->to = p->from = NULL;
    waitpid(p->pid, NULL, 0);
}

static inline void bench_peer_close(struct bench_peer *p)
{
    if (!p->to) return;
    fclose(p->to), fclose(p->from);
    p->to = p->from = NULL;
    waitpid(p->pid, NULL, 0);
}

/* The peer's answer to a line; it must be there. */
static inline void bench_peer_ask(struct bench_peer *p, const char *ask, char *line, int size)
{
    fprintf(p->to, "%s\n", ask);
    fflush(p->to);
    struct error err = {0};
    if (!bench_read(p, line, size)) error_set(&err, ERR_IO, "%s ended at \"%s\"", p->name, ask);
    bench_must(!err.code, &err);
}

static inline double bench_round(struct bench_entry *e)
{
    char line[64];
    if (!e->peer) return e->run(e->ctx);
    bench_peer_ask(e->peer, e->ask, line, sizeof line);
    return atof(line);
}

static inline bool bench_present(const struct bench_entry *e)
{
    return e->peer ? e->peer->to != NULL : e->run != NULL;
}

static inline int bench_by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts a copy: median, least and most. */
static inline void bench_spread(const double *x, int n, double out[3])
{
    double sorted[BENCH_MAX_ROUNDS];
    memcpy(sorted, x, (size_t)n * sizeof *x);
    qsort(sorted, (size_t)n, sizeof *sorted, bench_by_value);
    out[0] = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    out[1] = sorted[0];
    out[2] = sorted[n - 1];
}

static inline void bench_load(const char *title)
{
    double load[1] = {-1};
    if (getloadavg(load, 1) != 1) load[0] = -1;
    printf("\n%s (load average %.1f)\n", title, load[0]);
}

static inline void bench_line(const struct bench_entry *first, const struct bench_entry *e, int rounds,
                              const char *unit)
{
    double s[3], ratio[BENCH_MAX_ROUNDS], r[3];
    char label[300];
    const char *name = e->name ? e->name : "";
    snprintf(label, sizeof label, "%s%s%s", e->peer ? e->peer->name : "", e->peer ? " " : "", name);
    if (!bench_present(e)) {
        printf("  %-58s not compared\n", label);
        return;
    }
    bench_spread(e->seconds, rounds, s);
    printf("  %-58s %10.4g %s", label, e->work / s[0], unit);
    for (int i = 0; i < rounds; i++)
        ratio[i] = first->work / first->seconds[i] * e->seconds[i] / e->work;
    bench_spread(ratio, rounds, r);
    if (e != first) printf("   %s is %.2fx this [%.2f, %.2f]", first->name, r[0], r[1], r[2]);
    if (e != first && e->goal) printf("   goal %s", e->goal);
    printf("\n");
}

/* One round of each that does not count, then `rounds` in turn. A ratio is the median of the
 * rounds' ratios, with the least and the most in brackets. */
static inline void bench_table(const char *title, const char *unit, struct bench_entry *e, int n,
                               int rounds)
{
    for (int k = -1; k < rounds; k++)
        for (int i = 0; i < n; i++) {
            if (!bench_present(&e[i])) continue;
            if (e[i].rested) usleep(300000);
            double s = bench_round(&e[i]);
            if (k >= 0) e[i].seconds[k] = s;
        }
    bench_load(title);
    for (int i = 0; i < n; i++) bench_line(&e[0], &e[i], rounds, unit);
    fflush(stdout);
}

#endif
