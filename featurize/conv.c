/* Convolutions on oneDNN 2.6; see conv.h. Weights are reordered from PyTorch's layout into the one
 * that the primitive asks for; with a key the reordered copy is kept (inference), without one it is
 * made in each call (training, where the weights change with every step). */
#include "featurize/conv.h"

#include <string.h>

#include "featurize/onednn.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

#define MAX_ENTRIES 4096

enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS };

/* One primitive: x, w, y are input, weights, output, or their gradients. */
struct entry {
    enum direction direction;
    struct conv_shape shape;
    int batch;
    dnnl_primitive_t run,
        reorder; /* reorder: plain weights to the layout of w, or back for their gradient */
    dnnl_memory_t x, w, y, plain, scratchpad;
    size_t weights_bytes, scratchpad_bytes;
};

struct kept {
    int key;
    void *weights; /* owned */
};

struct conv {
    struct onednn o;
    struct entry *entries;
    size_t n_entries, entries_capacity;
    struct kept *kept;
    size_t n_kept, kept_capacity;
};

static int failed(dnnl_status_t status, const struct conv_shape *s, struct error *err)
{
    return onednn_failed(status, err, "a convolution of %d x %d x %d to %d, kernel %d, stride %d",
                         s->height, s->width, s->in, s->out, s->kernel, s->stride);
}

struct conv *conv_new(struct error *err)
{
    struct conv *c = memory_array(1, sizeof *c, MEMORY_MAX_SMALL, err);
    if (!c) return NULL;
    if (onednn_open(&c->o, err) == 0) return c;
    conv_free(c);
    return NULL;
}

static void entry_release(struct entry *e)
{
    dnnl_memory_t memories[] = {e->x, e->w, e->y, e->plain, e->scratchpad};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (e->run) dnnl_primitive_destroy(e->run);
    if (e->reorder) dnnl_primitive_destroy(e->reorder);
}

void conv_forget(struct conv *c)
{
    for (size_t i = 0; i < c->n_kept; i++) memory_free(c->kept[i].weights);
    c->n_kept = 0;
}

void conv_free(struct conv *c)
{
    if (!c) return;
    conv_forget(c);
    memory_free(c->kept);
    for (size_t i = 0; i < c->n_entries; i++) entry_release(&c->entries[i]);
    memory_free(c->entries);
    onednn_close(&c->o);
    memory_free(c);
}

static int out_length(int in, int kernel, int stride)
{
    return (in + 2 * ((kernel - 1) / 2) - kernel) / stride + 1;
}

int conv_out_height(const struct conv_shape *s)
{
    return out_length(s->height, s->kernel, s->stride);
}

int conv_out_width(const struct conv_shape *s)
{
    return out_length(s->width, s->kernel, s->stride);
}

struct descriptors {
    dnnl_memory_desc_t x, w, y, plain;
    dnnl_dims_t strides, left, right;
};

static dnnl_status_t describe(const struct conv_shape *s, int batch, struct descriptors *d)
{
    int height = conv_out_height(s), width = conv_out_width(s), pad = (s->kernel - 1) / 2;
    dnnl_dims_t x = {batch, s->in, s->height, s->width}, y = {batch, s->out, height, width};
    dnnl_dims_t w = {s->out, s->in, s->kernel, s->kernel};
    d->strides[0] = d->strides[1] = s->stride;
    d->left[0] = d->left[1] = pad;
    d->right[0] = (height - 1) * s->stride + s->kernel - s->height - pad;
    d->right[1] = (width - 1) * s->stride + s->kernel - s->width - pad;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&d->x, 4, x, dnnl_f32, dnnl_nhwc);
    if (!status) status = dnnl_memory_desc_init_by_tag(&d->y, 4, y, dnnl_f32, dnnl_nhwc);
    if (!status) status = dnnl_memory_desc_init_by_tag(&d->w, 4, w, dnnl_f32, dnnl_format_tag_any);
    if (!status) status = dnnl_memory_desc_init_by_tag(&d->plain, 4, w, dnnl_f32, dnnl_oihw);
    return status;
}

/* The forward descriptor serves the gradients as a hint. */
static dnnl_status_t primitive_desc(struct conv *c, enum direction direction,
                                    const struct descriptors *d, dnnl_primitive_desc_t *out)
{
    dnnl_convolution_desc_t conv;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t hint = NULL;
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (!status) status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!status)
        status = dnnl_convolution_forward_desc_init(
            &conv, direction == FORWARD ? dnnl_forward_inference : dnnl_forward_training, alg,
            &d->x, &d->w, NULL, &d->y, d->strides, d->left, d->right);
    if (!status) status = dnnl_primitive_desc_create(&hint, &conv, attr, c->o.engine, NULL);
    if (!status && direction == FORWARD) {
        *out = hint;
        hint = NULL;
    } else if (!status) {
        status = direction == BACKWARD_DATA
                     ? dnnl_convolution_backward_data_desc_init(&conv, alg, &d->x, &d->w, &d->y,
                                                                d->strides, d->left, d->right)
                     : dnnl_convolution_backward_weights_desc_init(
                           &conv, alg, &d->x, &d->w, NULL, &d->y, d->strides, d->left, d->right);
        if (!status) status = dnnl_primitive_desc_create(out, &conv, attr, c->o.engine, hint);
    }
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

static dnnl_status_t make_reorder(struct conv *c, const dnnl_memory_desc_t *from,
                                  const dnnl_memory_desc_t *to, dnnl_primitive_t *out)
{
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(&desc, from, c->o.engine, to,
                                                              c->o.engine, NULL);
    if (!status) status = dnnl_primitive_create(out, desc);
    if (desc) dnnl_primitive_desc_destroy(desc);
    return status;
}

static dnnl_status_t make_entry(struct conv *c, struct entry *e)
{
    struct descriptors d;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = describe(&e->shape, e->batch, &d);
    if (!status) status = primitive_desc(c, e->direction, &d, &desc);
    if (!status) status = dnnl_primitive_create(&e->run, desc);
    if (status) goto done;
    bool gradient = e->direction == BACKWARD_WEIGHTS;
    const dnnl_memory_desc_t *w = dnnl_primitive_desc_query_md(
        desc, gradient ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *pad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    e->weights_bytes = dnnl_memory_desc_get_size(w);
    e->scratchpad_bytes = dnnl_memory_desc_get_size(pad);
    status = gradient ? make_reorder(c, w, &d.plain, &e->reorder)
                      : make_reorder(c, &d.plain, w, &e->reorder);
    if (!status) status = dnnl_memory_create(&e->x, &d.x, c->o.engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&e->w, w, c->o.engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&e->y, &d.y, c->o.engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&e->plain, &d.plain, c->o.engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&e->scratchpad, pad, c->o.engine, DNNL_MEMORY_NONE);
done:
    if (desc) dnnl_primitive_desc_destroy(desc);
    return status;
}

static struct entry *find_entry(struct conv *c, enum direction direction,
                                const struct conv_shape *s, int batch, struct error *err)
{
    for (size_t i = 0; i < c->n_entries; i++) {
        struct entry *e = &c->entries[i];
        if (e->direction == direction && e->batch == batch && !memcmp(&e->shape, s, sizeof *s))
            return e;
    }
    if (memory_grow(&c->entries, &c->entries_capacity, c->n_entries + 1, sizeof *c->entries,
                    MAX_ENTRIES * sizeof *c->entries, err) < 0)
        return NULL;
    struct entry *e = &c->entries[c->n_entries];
    *e = (struct entry){.direction = direction, .shape = *s, .batch = batch};
    dnnl_status_t status = make_entry(c, e);
    if (status) {
        entry_release(e);
        failed(status, s, err);
        return NULL;
    }
    c->n_entries++;
    return e;
}

static dnnl_status_t run_reorder(struct conv *c, struct entry *e, void *w, void *plain)
{
    dnnl_memory_set_data_handle(e->w, w);
    dnnl_memory_set_data_handle(e->plain, plain);
    bool gradient = e->direction == BACKWARD_WEIGHTS;
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, gradient ? e->w : e->plain},
                               {DNNL_ARG_TO, gradient ? e->plain : e->w}};
    return dnnl_primitive_execute(e->reorder, c->o.stream, 2, args);
}

/* The weights in the layout of e: kept under key, or in scratch. NULL with err. */
static void *reordered(struct conv *c, struct entry *e, const float *w, int key, struct error *err)
{
    for (size_t i = 0; key >= 0 && i < c->n_kept; i++)
        if (c->kept[i].key == key) return c->kept[i].weights;
    void *to = NULL;
    if (key < 0) {
        to = onednn_scratch(&c->o, e->weights_bytes, err);
        if (!to) return NULL;
    } else {
        if (memory_grow(&c->kept, &c->kept_capacity, c->n_kept + 1, sizeof *c->kept,
                        MAX_ENTRIES * sizeof *c->kept, err) < 0)
            return NULL;
        to = memory_array(1, e->weights_bytes, MEMORY_MAX_TENSOR, err);
        if (!to) return NULL;
        c->kept[c->n_kept++] = (struct kept){.key = key, .weights = to};
    }
    dnnl_status_t status = run_reorder(c, e, to, (void *)w);
    if (!status) return to;
    failed(status, &e->shape, err);
    return NULL;
}

static int run_entry(struct conv *c, struct entry *e, const void *x, void *w, const void *y,
                     struct error *err)
{
    size_t mark = c->o.scratch_used;
    void *pad = onednn_scratch(&c->o, e->scratchpad_bytes, err);
    if (!pad) return ERR_NOMEM;
    dnnl_memory_set_data_handle(e->x, (void *)x);
    dnnl_memory_set_data_handle(e->w, w);
    dnnl_memory_set_data_handle(e->y, (void *)y);
    dnnl_memory_set_data_handle(e->scratchpad, pad);
    static const int names[3][3] = {
        [FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
        [BACKWARD_DATA] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
        [BACKWARD_WEIGHTS] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST},
    };
    const int *name = names[e->direction];
    dnnl_exec_arg_t args[4] = {
        {name[0], e->x}, {name[1], e->w}, {name[2], e->y}, {DNNL_ARG_SCRATCHPAD, e->scratchpad}};
    dnnl_status_t status = dnnl_primitive_execute(e->run, c->o.stream, 4, args);
    c->o.scratch_used = mark;
    return status ? failed(status, &e->shape, err) : 0;
}

int conv_forward(struct conv *c, const struct conv_shape *s, int batch, const float *x,
                 const float *w, int key, float *y, struct error *err)
{
    int threads = onednn_enter(), rc = ERR_NOMEM;
    size_t mark = c->o.scratch_used;
    size_t x_step = (size_t)s->height * (size_t)s->width * (size_t)s->in;
    size_t y_step = (size_t)conv_out_height(s) * (size_t)conv_out_width(s) * (size_t)s->out;
    struct entry *e = find_entry(c, FORWARD, s, 1, err);
    void *weights = e ? reordered(c, e, w, key, err) : NULL;
    if (!weights) goto done;
    rc = 0;
    for (int i = 0; i < batch && rc == 0; i++)
        rc = run_entry(c, e, x + (size_t)i * x_step, weights, y + (size_t)i * y_step, err);
done:
    c->o.scratch_used = mark;
    onednn_leave(threads);
    return rc;
}

int conv_backward_data(struct conv *c, const struct conv_shape *s, int batch, const float *dy,
                       const float *w, float *dx, struct error *err)
{
    if (batch == 0) return 0;
    int threads = onednn_enter(), rc = ERR_NOMEM;
    size_t mark = c->o.scratch_used;
    struct entry *e = find_entry(c, BACKWARD_DATA, s, batch, err);
    void *weights = e ? reordered(c, e, w, -1, err) : NULL;
    if (weights) rc = run_entry(c, e, dx, weights, dy, err);
    c->o.scratch_used = mark;
    onednn_leave(threads);
    return rc;
}

int conv_backward_weights(struct conv *c, const struct conv_shape *s, int batch, const float *x,
                          const float *dy, float *dw, struct error *err)
{
    if (batch == 0) return 0;
    int threads = onednn_enter(), rc = ERR_NOMEM;
    size_t mark = c->o.scratch_used,
           n = (size_t)s->out * (size_t)s->in * (size_t)s->kernel * (size_t)s->kernel;
    struct entry *e = find_entry(c, BACKWARD_WEIGHTS, s, batch, err);
    void *weights = e ? onednn_scratch(&c->o, e->weights_bytes, err) : NULL;
    float *plain = weights ? onednn_scratch(&c->o, n * sizeof *plain, err) : NULL;
    if (!plain) goto done;
    rc = run_entry(c, e, x, weights, dy, err);
    if (rc < 0) goto done;
    dnnl_status_t status = run_reorder(c, e, weights, plain);
    rc = status ? failed(status, s, err) : 0;
    if (rc == 0) vec_add(n, plain, dw);
done:
    c->o.scratch_used = mark;
    onednn_leave(threads);
    return rc;
}
