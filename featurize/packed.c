/* Weights in the layout that oneDNN asks for with the largest tile of tiles.c, made once for
 * inference: layouts and room first, one after the other, then the values over threads, each
 * reading one weight at a time from the file or the f32 block. */
#include "featurize/packed.h"

#include <omp.h>

#include "store/memory.h"

/* One thread's own. */
struct packer {
    struct onednn o;
    float *scratch; /* one weight as f32, where the file has it otherwise */
    struct error error;
    int rc;
};

static int64_t rows_of(const struct param *t)
{
    return t->shape[0];
}

static int64_t cols_of(const struct param *t)
{
    return (int64_t)t->n / t->shape[0];
}

/* Whether weight `i` is in 8-bit integers. */
static bool in_int8(const struct packed *k, int i)
{
    return k->calibration && calibration_shift(k->calibration, i);
}

/* The layout of a weight as a whole, as weight `like` has it where that is not NULL. */
static int whole_reserve(struct onednn *o, enum numerics numerics, int64_t n, int64_t cols,
                         const struct packed_weight *like, struct packed_weight *out,
                         struct error *err)
{
    if (like) {
        out->desc = like->desc;
    } else {
        dnnl_status_t status = onednn_linear_layout(o, numerics, n, cols, PACKED_TILE_ROWS,
                                                    &out->desc);
        if (status)
            return onednn_failed(status, err, "a layer of %lld x %lld", (long long)n,
                                 (long long)cols);
    }
    out->data = memory_array(1, dnnl_memory_desc_get_size(&out->desc), MEMORY_MAX_TENSOR, err);
    return out->data ? 0 : ERR_NOMEM;
}

/* The layout of weight i, asked of oneDNN once a shape, and room for it. */
static int make_room(struct onednn *o, struct packed *k, const struct params *p, int i,
                     struct error *err)
{
    const struct param *t = &p->table[i];
    int64_t n = rows_of(t), cols = cols_of(t);
    if (in_int8(k, i)) return int8_reserve(o, n, cols, &k->int8[i], err);
    int same = 0;
    while (same < i && !(param_is_linear(&p->table[same]) && !in_int8(k, same) &&
                         rows_of(&p->table[same]) == n && cols_of(&p->table[same]) == cols))
        same++;
    if (k->blocks)
        return block_reserve(o, n, cols, k->numerics == NUMERICS_BF16,
                             same < i ? &k->blocks[same] : NULL, &k->blocks[i], err);
    return whole_reserve(o, k->numerics, n, cols, same < i ? &k->weights[same] : NULL,
                         &k->weights[i], err);
}

static int whole_fill(struct onednn *o, int64_t n, int64_t cols, const float *values,
                      struct packed_weight *out, struct error *err)
{
    dnnl_memory_desc_t plain;
    dnnl_status_t status = onednn_plain_weights(NUMERICS_F32, n, cols, &plain);
    if (!status) status = onednn_reorder(o, &plain, values, &out->desc, out->data);
    return status
               ? onednn_failed(status, err, "a layer of %lld x %lld", (long long)n, (long long)cols)
               : 0;
}

static void pack_weight(struct packer *w, struct packed *k, const struct params *p, int i)
{
    const struct param *t = &p->table[i];
    const float *values = params_values(p, i, w->scratch);
    int64_t n = rows_of(t), cols = cols_of(t);
    int threads = onednn_enter();
    if (in_int8(k, i))
        w->rc = int8_fill(&w->o, n, cols, values, calibration_shift(k->calibration, i), &k->int8[i],
                          &w->error);
    else if (k->blocks)
        w->rc = block_fill(&w->o, n, cols, values, &k->blocks[i], &w->error);
    else
        w->rc = whole_fill(&w->o, n, cols, values, &k->weights[i], &w->error);
    onednn_leave(threads);
    params_drop(p, i);
    if (w->rc < 0) error_prefix(&w->error, "%s: ", t->name);
}

static int make_packers(const struct params *p, struct packer *w, int n, struct error *err)
{
    size_t most = 0;
    for (int i = 0; i < p->n; i++)
        if (param_is_linear(&p->table[i]) && !params_at(p, i) && p->table[i].n > most)
            most = p->table[i].n;
    for (int i = 0; i < n; i++) {
        int rc = onednn_open(&w[i].o, err);
        if (rc < 0) return rc;
        w[i].scratch = memory_array(most, sizeof *w[i].scratch, MEMORY_MAX_TENSOR, err);
        if (!w[i].scratch) return ERR_NOMEM;
    }
    return 0;
}

static int pack_all(struct packed *k, const struct params *p, struct packer *w, int n_threads,
                    struct error *err)
{
#pragma omp parallel for default(none) num_threads(n_threads) schedule(dynamic, 1) shared(k, p, w)
    for (int i = 0; i < k->n; i++) {
        struct packer *own = &w[omp_get_thread_num()];
        if (own->rc == 0 && param_is_linear(&p->table[i])) pack_weight(own, k, p, i);
    }
    for (int i = 0; i < n_threads; i++) {
        if (w[i].rc == 0) continue;
        if (err) *err = w[i].error;
        return w[i].rc;
    }
    return 0;
}

/* What a CPU without exact sums can do instead. */
static int check_int8(struct error *err)
{
    if (gemm_int8_is_exact()) return 0;
    return error_set(err, ERR_USAGE,
                     "numerics int8 needs a CPU that adds 8-bit products without saturation "
                     "(AVX-512 VNNI or AMX), and this one does not: take bf16 or f32");
}

/* c NULL: nothing in int8. */
static struct packed *pack(const struct params *p, enum numerics numerics,
                           const struct calibration *c, struct error *err)
{
    int n_threads = omp_get_max_threads(), rc = ERR_NOMEM;
    struct packed *k = memory_array(1, sizeof *k, MEMORY_MAX_SMALL, err);
    struct packer *packers = memory_array((uint64_t)n_threads, sizeof *packers, MEMORY_MAX_SMALL,
                                          err);
    if (!k || !packers) goto done;
    k->numerics = numerics;
    if (numerics == NUMERICS_F32 || !gemm_bf16_is_fast())
        k->blocks = memory_array((uint64_t)p->n, sizeof *k->blocks, MEMORY_MAX_FILE, err);
    else
        k->weights = memory_array((uint64_t)p->n, sizeof *k->weights, MEMORY_MAX_FILE, err);
    if (!k->blocks && !k->weights) goto done;
    k->n = p->n;
    k->calibration = c;
    if (c) k->int8 = memory_array((uint64_t)p->n, sizeof *k->int8, MEMORY_MAX_FILE, err);
    if (c && (!k->int8 || check_int8(err) < 0)) goto done;
    int threads = onednn_enter();
    rc = make_packers(p, packers, n_threads, err);
    for (int i = 0; i < p->n && rc == 0; i++) {
        if (!param_is_linear(&p->table[i])) continue;
        rc = make_room(&packers[0].o, k, p, i, err);
        if (rc < 0) error_prefix(err, "%s: ", p->table[i].name);
    }
    onednn_leave(threads);
    if (rc == 0) rc = pack_all(k, p, packers, n_threads, err);
done:
    for (int i = 0; packers && i < n_threads; i++) {
        memory_free(packers[i].scratch);
        onednn_close(&packers[i].o);
    }
    memory_free(packers);
    if (rc == 0) return k;
    packed_free(k);
    return NULL;
}

struct packed *packed_new(const struct params *p, enum numerics numerics, struct error *err)
{
    return pack(p, numerics, NULL, err);
}

struct packed *packed_new_int8(const struct params *p, const struct calibration *c,
                               struct error *err)
{
    return pack(p, NUMERICS_F32, c, err);
}

void packed_observe(struct packed *k, struct observed *o)
{
    k->observed = o;
}

bool packed_has_blocks(const struct packed *k)
{
    return k && k->blocks;
}

void packed_free(struct packed *k)
{
    if (!k) return;
    for (int i = 0; k->int8 && i < k->n; i++) int8_release(&k->int8[i]);
    memory_free(k->int8);
    for (int i = 0; k->blocks && i < k->n; i++) block_release(&k->blocks[i]);
    memory_free(k->blocks);
    for (int i = 0; k->weights && i < k->n; i++) memory_free(k->weights[i].data);
    memory_free(k->weights);
    memory_free(k);
}
