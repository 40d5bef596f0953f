/* Latency in a child process; see latency.h. */
#include "train/latency.h"

#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "featurize/calibration.h"
#include "featurize/model.h"
#include "store/file.h"
#include "store/memory.h"

#define N_WARM 5

/* What the child sends through the pipe. */
struct message {
    int code;
    struct error error;
    struct latency latency;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct latency_times percentiles(double *ms, int n)
{
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    return (struct latency_times){n, ms[n / 2], ms[(n * 95 - 1) / 100]};
}

static int time_image(struct model *m, enum numerics numerics, int n_runs, double *ms,
                      struct error *err)
{
    int side = preprocess_side(&m->preprocess), rc = ERR_NOMEM;
    size_t n = (size_t)side * (size_t)side * 3;
    uint8_t *pixels = memory_array(n, 1, MEMORY_MAX_TENSOR, err);
    float *out = memory_array((uint64_t)m->projection_dim, sizeof *out, MEMORY_MAX_SMALL, err);
    if (!pixels || !out) goto done;
    for (size_t i = 0; i < n; i++) pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    rc = 0;
    for (int i = -N_WARM; i < n_runs && rc == 0; i++) {
        double start = now_ms();
        rc = model_embed_pixels(m, numerics, 1, pixels, out, NULL, err);
        if (i >= 0) ms[i] = now_ms() - start;
    }
done:
    memory_free(pixels);
    memory_free(out);
    return rc;
}

static int time_text(struct model *m, enum numerics numerics, int n_runs, const char *const *texts,
                     int n_texts, double *ms, struct error *err)
{
    int rc = 0;
    float *out = memory_array((uint64_t)m->projection_dim, sizeof *out, MEMORY_MAX_SMALL, err);
    if (!out) return ERR_NOMEM;
    for (int i = -N_WARM; i < n_runs && rc == 0; i++) {
        const char *text = texts[(i + N_WARM) % n_texts];
        size_t n = strlen(text);
        double start = now_ms();
        rc = model_embed_texts(m, numerics, 1, &text, &n, out, NULL, err);
        if (i >= 0) ms[i] = now_ms() - start;
    }
    memory_free(out);
    return rc;
}

/* int8 without a calibration: the time does not depend on it. */
static int pack(struct tower *t, enum numerics numerics, struct error *err)
{
    if (numerics == NUMERICS_INT8) tower_calibrate(t, calibration_plain(&t->params, err));
    return tower_pack(t, numerics, err);
}

static int measure(const char *dir, enum numerics numerics, int n_runs, const char *const *texts,
                   int n_texts, struct latency *l, struct error *err)
{
    struct model *m = NULL;
    struct rusage usage;
    double *ms = memory_array((uint64_t)n_runs, sizeof *ms, MEMORY_MAX_SMALL, err);
    int rc = ms ? model_open(&m, dir, MODEL_IMAGE | MODEL_TEXT | MODEL_MAPPED, err) : ERR_NOMEM;
    if (rc == 0 && m->image) {
        l->n_image_parameters = params_count(&m->image->params);
        rc = pack(m->image, numerics, err);
        if (rc == 0) rc = time_image(m, numerics, n_runs, ms, err);
        if (rc == 0) l->image = percentiles(ms, n_runs);
    }
    if (rc == 0 && m->text) {
        l->n_text_parameters = params_count(&m->text->params);
        rc = pack(m->text, numerics, err);
        if (rc == 0) rc = time_text(m, numerics, n_runs, texts, n_texts, ms, err);
        if (rc == 0) l->text = percentiles(ms, n_runs);
    }
    getrusage(RUSAGE_SELF, &usage);
    l->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    model_free(m);
    memory_free(ms);
    return rc;
}

/* The model's own files: not checkpoints, curves or logs. */
static uint64_t model_bytes(const char *dir)
{
    static const char *const names[] = {"config.json",           "preprocessor_config.json",
                                        "model.safetensors",     "sentencepiece.bpe.model",
                                        "tokenizer_config.json", "special_tokens_map.json",
                                        "pytorch_model.bin"};
    uint64_t n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = file_join(dir, names[i], NULL);
        if (path) n += file_size(path);
        memory_free(path);
    }
    return n;
}

/* Reads exactly one message; false at an early end. */
static bool receive(int fd, struct message *m)
{
    char *at = (char *)m;
    for (size_t n = 0; n < sizeof *m;) {
        ssize_t got = read(fd, at + n, sizeof *m - n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        n += (size_t)got;
    }
    return true;
}

int latency_measure(const char *dir, enum numerics numerics, int n_runs, const char *const *texts,
                    int n_texts, struct latency *l, struct error *err)
{
    int fd[2], status = 0;
    struct message m = {0};
    *l = (struct latency){0};
    if (pipe(fd) < 0) return error_errno(err, "cannot make a pipe");
    pid_t pid = fork();
    if (pid < 0) {
        close(fd[0]);
        close(fd[1]);
        return error_errno(err, "cannot start a process to measure %s in", dir);
    }
    if (pid == 0) {
        omp_set_num_threads(1);
        m.code = measure(dir, numerics, n_runs, texts, n_texts, &m.latency, &m.error);
        ssize_t sent = write(fd[1], &m, sizeof m); /* less than PIPE_BUF: whole or not at all */
        _exit(sent == sizeof m ? 0 : 1);
    }
    close(fd[1]);
    bool whole = receive(fd[0], &m);
    close(fd[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (!whole)
        return error_set(err, ERR_NOMEM,
                         "%s: the measuring process ended early (status %d); is there enough "
                         "memory for the model?",
                         dir, status);
    if (m.code < 0) return error_set(err, m.code, "%s", m.error.text);
    *l = m.latency;
    l->disk_bytes = model_bytes(dir);
    return 0;
}
