/* Engine, scratch, threads, status and the matmul primitive; see onednn.h. */
#include "featurize/onednn.h"

#include <omp.h>
#include <stdio.h>

#define SCRATCH_BYTES ((size_t)8 << 30)

int onednn_open(struct onednn *o, struct error *err)
{
    *o = (struct onednn){0};
    int threads = onednn_enter();
    dnnl_status_t status = dnnl_engine_create(&o->engine, dnnl_cpu, 0);
    if (!status) status = dnnl_stream_create(&o->stream, o->engine, dnnl_stream_default_flags);
    onednn_leave(threads);
    if (status) return onednn_failed(status, err, "anything");
    return range_open(&o->scratch, SCRATCH_BYTES, err);
}

void onednn_close(struct onednn *o)
{
    range_close(&o->scratch);
    if (o->stream) dnnl_stream_destroy(o->stream);
    if (o->engine) dnnl_engine_destroy(o->engine);
    *o = (struct onednn){0};
}

int onednn_enter(void)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

void onednn_leave(int threads)
{
    omp_set_num_threads(threads);
}

void *onednn_scratch(struct onednn *o, size_t n_bytes, struct error *err)
{
    size_t whole = (n_bytes + 63) / 64 * 64;
    if (n_bytes > o->scratch.size || whole > o->scratch.size - o->scratch_used) {
        error_set(err, ERR_NOMEM,
                  "a product needs more than the %zu MiB reserved for scratch: make the "
                  "micro-batch smaller",
                  o->scratch.size >> 20);
        return NULL;
    }
    void *p = o->scratch.base + o->scratch_used;
    o->scratch_used += whole;
    return p;
}

int onednn_failed(dnnl_status_t status, struct error *err, const char *fmt, ...)
{
    char what[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (status == dnnl_out_of_memory)
        return error_set(err, ERR_NOMEM, "oneDNN is out of memory at %s", what);
    return error_set(err, ERR_USAGE,
                     "oneDNN cannot do %s on this CPU (status %d); numerics f32 works everywhere",
                     what, (int)status);
}

static dnnl_data_type_t type_of(enum numerics numerics)
{
    return numerics == NUMERICS_BF16 ? dnnl_bf16 : dnnl_f32;
}

size_t onednn_size(enum numerics numerics)
{
    return numerics == NUMERICS_BF16 ? sizeof(uint16_t) : sizeof(float);
}

static dnnl_status_t make_memories(struct onednn *o, dnnl_primitive_desc_t desc,
                                   const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *c,
                                   const dnnl_memory_desc_t *bias, struct onednn_matmul *p,
                                   dnnl_memory_desc_t *taken)
{
    const dnnl_memory_desc_t *b = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *pad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    if (taken) *taken = *b;
    p->scratchpad_bytes = dnnl_memory_desc_get_size(pad);
    dnnl_status_t status = dnnl_memory_create(&p->a, a, o->engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&p->b, b, o->engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&p->c, c, o->engine, DNNL_MEMORY_NONE);
    if (!status && bias) status = dnnl_memory_create(&p->bias, bias, o->engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&p->scratchpad, pad, o->engine, DNNL_MEMORY_NONE);
    return status;
}

bool onednn_fuses(enum numerics numerics, enum act act)
{
    return numerics == NUMERICS_BF16 && act != ACT_RELU;
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, enum act act)
{
    switch (act) {
    case ACT_GELU: return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_erf, 0, 0);
    case ACT_QUICK_GELU: return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1.702f, 0);
    case ACT_SILU: return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1, 0);
    case ACT_GELU_TANH: return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_tanh, 0, 0);
    default: return act == ACT_NONE ? dnnl_success : dnnl_unimplemented;
    }
}

dnnl_status_t onednn_matmul_make(struct onednn *o, const dnnl_memory_desc_t *a,
                                 const dnnl_memory_desc_t *b, const dnnl_memory_desc_t *c,
                                 const dnnl_memory_desc_t *bias, struct onednn_after after,
                                 struct onednn_matmul *p, dnnl_memory_desc_t *taken)
{
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t desc = NULL;
    *p = (struct onednn_matmul){0};
    dnnl_status_t status = dnnl_matmul_desc_init(&matmul, a, b, bias, c);
    if (!status) status = dnnl_primitive_attr_create(&attr);
    if (!status) status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!status) status = dnnl_post_ops_create(&ops);
    if (!status) status = append_act(ops, after.act);
    if (!status && after.beta != 0) status = dnnl_post_ops_append_sum(ops, after.beta);
    if (!status) status = dnnl_primitive_attr_set_post_ops(attr, ops);
    if (!status) status = dnnl_primitive_desc_create(&desc, &matmul, attr, o->engine, NULL);
    if (!status) status = dnnl_primitive_create(&p->run, desc);
    if (!status) status = make_memories(o, desc, a, c, bias, p, taken);
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (ops) dnnl_post_ops_destroy(ops);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status) onednn_matmul_release(p);
    return status;
}

int onednn_matmul_run(struct onednn *o, const struct onednn_matmul *p, const void *a, const void *b,
                      const float *bias, void *c, struct error *err)
{
    size_t mark = o->scratch_used;
    void *pad = onednn_scratch(o, p->scratchpad_bytes, err);
    if (!pad) return ERR_NOMEM;
    dnnl_memory_set_data_handle(p->a, (void *)a);
    dnnl_memory_set_data_handle(p->b, (void *)b);
    dnnl_memory_set_data_handle(p->c, c);
    dnnl_memory_set_data_handle(p->scratchpad, pad);
    dnnl_exec_arg_t args[5] = {{DNNL_ARG_SRC, p->a},
                               {DNNL_ARG_WEIGHTS, p->b},
                               {DNNL_ARG_DST, p->c},
                               {DNNL_ARG_SCRATCHPAD, p->scratchpad}};
    int n = 4;
    if (p->bias) {
        dnnl_memory_set_data_handle(p->bias, (void *)bias);
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, p->bias};
    }
    dnnl_status_t status = dnnl_primitive_execute(p->run, o->stream, n, args);
    o->scratch_used = mark;
    return status ? onednn_failed(status, err, "a product that it accepted before") : 0;
}

void onednn_matmul_release(struct onednn_matmul *p)
{
    dnnl_memory_t memories[] = {p->a, p->b, p->c, p->bias, p->scratchpad};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->run) dnnl_primitive_destroy(p->run);
    *p = (struct onednn_matmul){0};
}

dnnl_status_t onednn_linear_make(struct onednn *o, const struct onednn_linear *l, int64_t m,
                                 const dnnl_memory_desc_t *weights, struct onednn_matmul *p,
                                 dnnl_memory_desc_t *taken)
{
    dnnl_memory_desc_t x, w, y, b;
    dnnl_dims_t x_dims = {m, l->k}, w_dims = {l->k, l->n}, y_dims = {m, l->n}, b_dims = {1, l->n};
    dnnl_data_type_t type = type_of(l->numerics), out = l->half ? dnnl_bf16 : dnnl_f32;
    *p = (struct onednn_matmul){0};
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&x, 2, x_dims, type, dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_tag(&w, 2, w_dims, type, dnnl_format_tag_any);
    if (!status) status = dnnl_memory_desc_init_by_tag(&y, 2, y_dims, out, dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_tag(&b, 2, b_dims, dnnl_f32, dnnl_ab);
    if (!status)
        status = onednn_matmul_make(o, &x, weights ? weights : &w, &y, l->bias ? &b : NULL,
                                    l->after, p, taken);
    return status;
}

dnnl_status_t onednn_linear_layout(struct onednn *o, enum numerics numerics, int64_t n, int64_t k,
                                   int64_t m, dnnl_memory_desc_t *layout)
{
    struct onednn_matmul tile;
    struct onednn_linear shape = {.numerics = numerics, .n = n, .k = k};
    dnnl_status_t status = onednn_linear_make(o, &shape, m, NULL, &tile, layout);
    onednn_matmul_release(&tile);
    return status;
}

dnnl_status_t onednn_plain_weights(enum numerics numerics, int64_t n, int64_t k,
                                   dnnl_memory_desc_t *desc)
{
    dnnl_dims_t dims = {k, n};
    return dnnl_memory_desc_init_by_tag(desc, 2, dims, type_of(numerics), dnnl_ba);
}

dnnl_status_t onednn_reorder(struct onednn *o, const dnnl_memory_desc_t *from_desc,
                             const void *from, const dnnl_memory_desc_t *to_desc, void *to)
{
    dnnl_memory_t source = NULL, target = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t run = NULL;
    dnnl_status_t status = dnnl_memory_create(&source, from_desc, o->engine, (void *)from);
    if (!status) status = dnnl_memory_create(&target, to_desc, o->engine, to);
    if (!status)
        status = dnnl_reorder_primitive_desc_create(&desc, from_desc, o->engine, to_desc, o->engine,
                                                    NULL);
    if (!status) status = dnnl_primitive_create(&run, desc);
    if (!status) {
        dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
        status = dnnl_primitive_execute(run, o->stream, 2, args);
    }
    if (source) dnnl_memory_destroy(source);
    if (target) dnnl_memory_destroy(target);
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (run) dnnl_primitive_destroy(run);
    return status;
}
