/* The execution of a network by one thread: an arena for activations, a tape for the backward pass,
 * oneDNN primitives.
 *
 *     struct exec *e = exec_new(EXEC_INFER, NUMERICS_F32, &err); // one a thread, made serially
 *     exec_bind(e, &tower->params, tower->packed);
 *     struct value *y = op_linear(e, x, w, b);                         // featurize/op.h
 *     if (exec_failed(e, &err)) ... // errors are sticky: ops on NULL give NULL
 *     exec_reset(e); // forgets values and tape, keeps the memory
 *
 * Parallelism lies outside: a batch is cut into fixed micro-batches (never depending on the number
 * of threads), each run by one thread on its own exec from beginning to end; oneDNN runs with one
 * thread a call. Where there are fewer micro-batches than threads, a pass in inference may borrow
 * the others (exec_lend). So results do not depend on thread count. Nothing here mallocs inside a
 * micro-batch: the arena is a reserved address range that is touched as it is used.
 *
 * A value is a row-major f32 matrix: tokens (sum of T, D), pictures channels-last (B*H*W, C),
 * sequences concatenated without padding. EXEC_INFER: no tape; exec_mark/exec_release give memory
 * back inside a forward pass. EXEC_TRAIN: every op records a node; batch norm uses the
 * micro-batch's statistics. train/backward.h walks the tape.
 * Library: none here (oneDNN lives behind featurize/gemm.h and featurize/conv.h).
 */
#ifndef FEATURIZE_EXEC_H
#define FEATURIZE_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "featurize/params.h"
#include "store/error.h"

enum exec_mode { EXEC_INFER, EXEC_TRAIN };
/* Of matrix products and, in BF16 inference, of what only they read; everything else is f32. INT8:
 * the matrices of a calibrated tower's blocks (featurize/calibration.h), other products f32. */
enum numerics { NUMERICS_F32, NUMERICS_BF16, NUMERICS_INT8 };

struct value {
    float *x;       // (rows, cols); NULL in an operand kept in bf16 alone
    uint16_t *half; // (rows, cols) x in bf16, which products read instead; NULL: none is kept
    float *dx; // (rows, cols) gradient; NULL until the backward pass wants it
    int64_t rows, cols;
    bool needs_grad; /* false for inputs */
    bool stale;      /* x was added to since half was written */
};

enum op_kind {
    OP_LINEAR,     /* y = x W^T + b */
    OP_LAYER_NORM, /* over columns */
    OP_BATCH_NORM, /* over rows */
    OP_ACT,        /* gelu (erf), quick_gelu, silu, relu, tanh-gelu */
    OP_ADD,        /* y = a + b */
    OP_ATTENTION,  /* softmax(q k^T / sqrt(d)) v, ragged sequences, heads */
    OP_EMBED,      /* y[i] = W[index[i]] rows of a parameter */
    OP_ADD_EMBED,  /* y[i] = x[i] + W[index[i]] */
    OP_GATHER,     /* y[i] = x[index[i]] rows of a value; -1 gives a zero row */
    OP_POOL,       /* y[i] = mean of x[index[offset[i]..offset[i+1]]] */
    OP_CONCAT,     /* columns of a, then columns of b */
    OP_PREPEND,    /* class token: y of (B*(N+1), D) from x (B*N, D) and a parameter row */
    OP_CONV,       /* k x k full convolution, channels-last */
    OP_DEPTHWISE,  /* 3 x 3 depthwise convolution, channels-last */
    OP_KINDS
};

/* One executed op. Arrays live in the arena. */
struct node {
    enum op_kind kind;
    struct value *in[3]; /* x; or a, b; or q, k, v */
    struct value *out;
    int weight, bias; /* parameter indices or -1 */
    int aux[8];       /* kind-specific integers, see op.c */
    float eps;
    const int32_t *index, *offset; /* borrowed copies in the arena */
    int64_t n_index;
    float *saved, *saved2; /* kind-specific: row statistics, probabilities */
};

#define EXEC_MAX_TEAM 64

struct packed; /* weights in the layout the kernels like, made once: featurize/gemm.h */
struct gemm;   /* primitives of one thread: featurize/gemm.h */
struct conv;   /* featurize/conv.h */

struct exec {
    enum exec_mode mode;
    enum numerics numerics;
    const struct params *params; /* borrowed */
    const struct packed *packed; /* borrowed; NULL: plain weights */
    char *arena;                 /* reserved range */
    size_t arena_used, arena_size;
    struct node *nodes; /* the tape, in order; in a range of its own */
    int n_nodes, max_nodes;
    struct gemm *gemm;
    struct conv *conv;
    struct gemm *team[EXEC_MAX_TEAM]; /* borrowed; [0] is gemm. What exec_split works with */
    int n_team;
    struct error error; /* sticky: the first failure */
};

struct exec *exec_new(enum exec_mode mode, enum numerics numerics, struct error *err) MUST_CHECK;
void exec_free(struct exec *e);
void exec_bind(struct exec *e, const struct params *params, const struct packed *packed);
void exec_reset(struct exec *e);
/* Copies the sticky error to err and returns its (negative) code, or 0. */
int exec_failed(const struct exec *e, struct error *err);
void exec_fail(struct exec *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

size_t exec_mark(const struct exec *e);            /* EXEC_INFER */
void exec_release(struct exec *e, size_t mark);    /* no-op in EXEC_TRAIN */
void *exec_alloc(struct exec *e, size_t n_bytes);  /* 64-byte aligned, not zeroed; NULL after a failure */
struct value *exec_value(struct exec *e, int64_t rows, int64_t cols); /* not zeroed */
/* A value for what only products will read: in EXEC_INFER with NUMERICS_BF16 it has `half` alone,
 * else it is an exec_value. */
struct value *exec_operand(struct exec *e, int64_t rows, int64_t cols);
/* Gives a value just made a `half` beside x where exec_operand would; false after a failure. */
bool exec_add_half(struct exec *e, struct value *v);
/* A value over the caller's memory (input pixels), without gradient. */
struct value *exec_input(struct exec *e, const float *x, int64_t rows, int64_t cols);
/* v->dx, zeroed at first asking; NULL when v needs no gradient. */
float *exec_grad(struct exec *e, struct value *v);
/* Lends e the gemms of `n` other execs, which must rest while a pass runs on e: the ops of inference
 * share their rows out to as many threads more, for a batch too small to be cut. 0: alone again. */
void exec_lend(struct exec *e, struct exec *const *others, int n);
/* Units [first, end) of an op, with a gemm and a number of the thread's own. Units are independent. */
typedef int exec_part(void *ctx, struct gemm *g, int thread, int64_t first, int64_t end,
                      struct error *err);
/* Runs part over [0, n), cut for the team at multiples of `step`; a failure sticks to e. */
int exec_split(struct exec *e, int64_t n, int64_t step, exec_part *part, void *ctx);
/* The next node of the tape, or NULL when not recording. */
struct node *exec_record(struct exec *e, enum op_kind kind);

#endif
