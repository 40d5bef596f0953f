/* Weights in the layout that oneDNN asks for with the largest tile of gemm.c, made once for
 * inference. */
#include "featurize/packed.h"

#include <string.h>

#include "store/memory.h"

/* Linear weights: matrices and 1 x 1 or patch convolutions, not tables of embeddings. */
static bool is_linear_weight(const struct param *p)
{
    size_t length = strlen(p->name);
    if (p->kind == PARAM_BUFFER || length < 7 || strcmp(p->name + length - 7, ".weight"))
        return false;
    if (p->n_dims == 4)
        return strstr(p->name, "patch_embedding") || (p->shape[2] == 1 && p->shape[3] == 1);
    return p->n_dims == 2 && !strstr(p->name, "_embedding");
}

static dnnl_status_t reorder(struct onednn *o, const dnnl_memory_desc_t *from_desc,
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

static int pack_weight(struct onednn *o, enum numerics numerics, const float *w, int64_t n,
                       int64_t k, struct packed_weight *out, struct error *err)
{
    struct onednn_matmul tile;
    dnnl_memory_desc_t plain;
    dnnl_status_t status = onednn_linear_make(o, numerics, false, PACKED_TILE_ROWS, n, k, NULL,
                                              &tile, &out->desc);
    onednn_matmul_release(&tile);
    if (!status) status = onednn_plain_weights(NUMERICS_F32, n, k, &plain);
    if (!status) {
        out->data = memory_array(1, dnnl_memory_desc_get_size(&out->desc), MEMORY_MAX_TENSOR, err);
        if (!out->data) return ERR_NOMEM;
        status = reorder(o, &plain, w, &out->desc, out->data);
    }
    return status ? onednn_failed(status, err, "a layer of %lld x %lld", (long long)n, (long long)k)
                  : 0;
}

struct packed *packed_new(const struct params *p, enum numerics numerics, struct error *err)
{
    struct onednn o = {0};
    int threads = onednn_enter(), rc = ERR_NOMEM;
    struct packed *k = memory_array(1, sizeof *k, MEMORY_MAX_SMALL, err);
    if (!k) goto done;
    k->numerics = numerics;
    k->weights = memory_array((uint64_t)p->n, sizeof *k->weights, MEMORY_MAX_FILE, err);
    if (!k->weights) goto done;
    k->n = p->n;
    rc = onednn_open(&o, err);
    for (int i = 0; i < p->n && rc == 0; i++) {
        const struct param *t = &p->table[i];
        if (!is_linear_weight(t)) continue;
        int64_t rows = t->shape[0], cols = (int64_t)t->n / rows;
        rc = pack_weight(&o, numerics, params_at(p, i), rows, cols, &k->weights[i], err);
        if (rc < 0) error_prefix(err, "%s: ", t->name);
    }
done:
    onednn_close(&o);
    onednn_leave(threads);
    if (rc == 0) return k;
    packed_free(k);
    return NULL;
}

void packed_free(struct packed *k)
{
    if (!k) return;
    for (int i = 0; i < k->n; i++) memory_free(k->weights[i].data);
    memory_free(k->weights);
    memory_free(k);
}
