/* The arena, the tape and the sticky error of one thread; see exec.h. Both ranges are reserved
 * address space: nothing moves, so pointers into the tape and into values stay valid until
 * exec_reset, and a reset costs nothing. */
#include "featurize/exec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "featurize/conv.h"
#include "featurize/gemm.h"
#include "featurize/range.h"
#include "store/memory.h"

#define ARENA_BYTES ((size_t)16 << 30)
#define MAX_NODES   65536
#define ALIGN       64

struct exec *exec_new(enum exec_mode mode, enum numerics numerics, struct error *err)
{
    struct range arena = {0}, tape = {0};
    struct exec *e = memory_array(1, sizeof *e, MEMORY_MAX_SMALL, err);
    if (!e) return NULL;
    e->mode = mode;
    e->numerics = numerics;
    if (range_open(&arena, ARENA_BYTES, err) < 0) goto fail;
    e->arena = arena.base;
    e->arena_size = arena.size;
    if (mode == EXEC_TRAIN) {
        if (range_open(&tape, MAX_NODES * sizeof *e->nodes, err) < 0) goto fail;
        e->nodes = (struct node *)(void *)tape.base;
        e->max_nodes = (int)(tape.size / sizeof *e->nodes);
    }
    e->gemm = e->team[0] = gemm_new(err);
    if (!e->gemm) goto fail;
    e->n_team = 1;
    e->conv = conv_new(err);
    if (!e->conv) goto fail;
    return e;
fail:
    exec_free(e);
    return NULL;
}

void exec_free(struct exec *e)
{
    if (!e) return;
    conv_free(e->conv);
    gemm_free(e->gemm);
    struct range arena = {.base = e->arena, .size = e->arena_size};
    struct range tape = {.base = (char *)e->nodes, .size = (size_t)e->max_nodes * sizeof *e->nodes};
    range_close(&arena);
    range_close(&tape);
    memory_free(e);
}

void exec_bind(struct exec *e, const struct params *params, const struct packed *packed)
{
    e->params = params;
    e->packed = packed;
    conv_forget(e->conv);
}

void exec_reset(struct exec *e)
{
    e->arena_used = 0;
    e->n_nodes = 0;
    e->error = (struct error){0};
}

int exec_failed(const struct exec *e, struct error *err)
{
    if (e->error.code && err) *err = e->error;
    return e->error.code;
}

void exec_fail(struct exec *e, int code, const char *fmt, ...)
{
    if (e->error.code) return;
    char text[sizeof e->error.text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    error_set(&e->error, code, "%s", text);
}

size_t exec_mark(const struct exec *e)
{
    return e->arena_used;
}

void exec_release(struct exec *e, size_t mark)
{
    if (e->mode == EXEC_INFER) e->arena_used = mark;
}

void *exec_alloc(struct exec *e, size_t n_bytes)
{
    if (e->error.code) return NULL;
    size_t free_bytes = e->arena_size - e->arena_used;
    if (n_bytes > free_bytes || free_bytes - n_bytes < ALIGN) {
        exec_fail(e, ERR_NOMEM,
                  "a micro-batch needs more than the %zu MiB reserved for its activations: make it "
                  "smaller",
                  e->arena_size >> 20);
        return NULL;
    }
    void *p = e->arena + e->arena_used;
    e->arena_used += (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    return p;
}

static struct value *new_value(struct exec *e, int64_t rows, int64_t cols)
{
    uint64_t n;
    if (rows < 0 || cols <= 0 || __builtin_mul_overflow((uint64_t)rows, (uint64_t)cols, &n) ||
        n > e->arena_size) {
        exec_fail(e, ERR_NOMEM, "a value of %lld x %lld floats is empty or too large",
                  (long long)rows, (long long)cols);
        return NULL;
    }
    struct value *v = exec_alloc(e, sizeof *v);
    if (v) *v = (struct value){.rows = rows, .cols = cols};
    return v;
}

struct value *exec_value(struct exec *e, int64_t rows, int64_t cols)
{
    struct value *v = new_value(e, rows, cols);
    if (!v) return NULL;
    v->x = exec_alloc(e, (size_t)rows * (size_t)cols * sizeof *v->x);
    v->needs_grad = e->mode == EXEC_TRAIN;
    return v->x ? v : NULL;
}

static bool keeps_halves(const struct exec *e)
{
    return e->mode == EXEC_INFER && e->numerics == NUMERICS_BF16;
}

bool exec_add_half(struct exec *e, struct value *v)
{
    if (!v) return false;
    if (keeps_halves(e))
        v->half = exec_alloc(e, (size_t)v->rows * (size_t)v->cols * sizeof *v->half);
    return !e->error.code;
}

struct value *exec_operand(struct exec *e, int64_t rows, int64_t cols)
{
    if (!keeps_halves(e)) return exec_value(e, rows, cols);
    struct value *v = new_value(e, rows, cols);
    return exec_add_half(e, v) ? v : NULL;
}

struct value *exec_input(struct exec *e, const float *x, int64_t rows, int64_t cols)
{
    struct value *v = new_value(e, rows, cols);
    if (v) v->x = (float *)x; /* only read: no op writes to its input */
    return v;
}

float *exec_grad(struct exec *e, struct value *v)
{
    if (!v || !v->needs_grad) return NULL;
    if (!v->dx) {
        size_t n_bytes = (size_t)v->rows * (size_t)v->cols * sizeof *v->dx;
        v->dx = exec_alloc(e, n_bytes);
        if (v->dx) memset(v->dx, 0, n_bytes);
    }
    return v->dx;
}

struct node *exec_record(struct exec *e, enum op_kind kind)
{
    if (e->mode != EXEC_TRAIN || e->error.code) return NULL;
    if (e->n_nodes == e->max_nodes) {
        exec_fail(e, ERR_NOMEM, "a forward pass of more than %d operations cannot be recorded",
                  e->max_nodes);
        return NULL;
    }
    struct node *node = &e->nodes[e->n_nodes++];
    *node = (struct node){.kind = kind, .weight = -1, .bias = -1};
    return node;
}

void exec_lend(struct exec *e, struct exec *const *others, int n)
{
    e->n_team = 1;
    for (int i = 0; i < n && e->n_team < EXEC_MAX_TEAM; i++)
        if (others[i] != e) e->team[e->n_team++] = others[i]->gemm;
}

/* Where thread i of n begins. */
static int64_t cut(int64_t n, int64_t step, int i, int n_team)
{
    return i == n_team ? n : n * i / n_team / step * step;
}

int exec_split(struct exec *e, int64_t n, int64_t step, exec_part *part, void *ctx)
{
    int n_team = e->n_team;
    struct gemm **team = e->team;
    if (e->error.code) return e->error.code;
    if (n_team == 1) return part(ctx, e->gemm, 0, 0, n, &e->error);
    struct error errors[EXEC_MAX_TEAM];
    for (int i = 0; i < n_team; i++) errors[i].code = 0;
#pragma omp parallel for default(none) num_threads(n_team) schedule(static, 1)                     \
    shared(n_team, team, errors, n, step, part, ctx)
    for (int i = 0; i < n_team; i++) {
        int64_t first = cut(n, step, i, n_team), end = cut(n, step, i + 1, n_team);
        if (first < end) (void)!part(ctx, team[i], i, first, end, &errors[i]);
    }
    for (int i = 0; i < n_team && !e->error.code; i++)
        if (errors[i].code) e->error = errors[i];
    return e->error.code;
}
