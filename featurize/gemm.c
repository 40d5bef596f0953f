/* Matrix products on oneDNN 2.6; see gemm.h for the promises.
 *
 * One thread: a primitive remembers the number of threads it was made for, so every call that makes or runs one does so between
 * enter() and leave(), which set OpenMP's count to 1 for the calling thread alone; scratchpads are ours.
 *
 * Equal bits: rows go through tiles of 8 .. 256 rows, the last one padded with zeros. The 256-row tile is the reference. A smaller tile is used for a
 * shape only after it gave, on this machine and for this shape, the very bits of the 256-row tile over pseudo-random rows; where it does not
 * (oneDNN sums in another order for some sizes on some CPUs) small inputs are padded to 256 rows. Measured with 2.6.3 on AVX-512 and
 * AVX-512-bf16 cores: all tiles agree for all shapes tried. So one short text costs 8 or 16 rows, not 256, and the answer is the same.
 *
 * Weights are packed in the layout that oneDNN asks for with the 256-row tile; the smaller ones must take it as it is.
 *
 * General products (gradients, attention) are dnnl_sgemm in f32: measured as fast as matmul primitives for large shapes, two to three times faster for
 * small ones, and nothing is made per shape. In bf16 both operands are rounded into scratch and a matmul primitive is kept per shape. */
#include "featurize/gemm.h"

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "featurize/range.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

#define SCRATCH_BYTES ((size_t)8 << 30)
#define MAX_FAMILIES  1024
#define MAX_PRODUCTS  512 /* ragged batches bring ever new shapes: past this many, all are dropped */
#define N_TILES       6
#define LARGEST       (N_TILES - 1)

static const int64_t TILE_ROWS[N_TILES] = {8, 16, 32, 64, 128, 256};

struct primitive {
    dnnl_primitive_t run;
    dnnl_memory_t a, b, c, bias, scratchpad;
    size_t scratchpad_bytes;
};

enum tile_state { TILE_UNTRIED, TILE_GOOD, TILE_REFUSED };

/* The tiles of one weight shape. */
struct family {
    enum numerics numerics;
    bool packed, bias;
    int64_t n, k;
    dnnl_memory_desc_t weights;
    enum tile_state state[N_TILES];
    struct primitive tile[N_TILES];
};

/* A bf16 product of one shape. */
struct product {
    bool transpose_a, transpose_b;
    int64_t m, n, k, ldc;
    float beta;
    struct primitive primitive;
};

struct gemm {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct family *families;
    size_t n_families, families_capacity;
    struct product *products;
    size_t n_products, products_capacity;
    struct range scratch;
    size_t scratch_used;
};

struct packed_weight {
    void *data; /* owned; NULL when not packed */
    dnnl_memory_desc_t desc;
};

struct packed {
    enum numerics numerics;
    int n;
    struct packed_weight *weights; /* by parameter index */
};

static int failed(dnnl_status_t status, const char *what, int64_t m, int64_t n, int64_t k,
                  struct error *err)
{
    if (status == dnnl_out_of_memory)
        return error_set(err, ERR_NOMEM, "oneDNN is out of memory at %s", what);
    return error_set(err, ERR_USAGE,
                     "oneDNN cannot do %s of %lld x %lld x %lld on this CPU (status %d): if the "
                     "numerics are bf16, use f32",
                     what, (long long)m, (long long)n, (long long)k, (int)status);
}

static int enter(void)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

static void leave(int threads)
{
    omp_set_num_threads(threads);
}

static dnnl_data_type_t type_of(enum numerics numerics)
{
    return numerics == NUMERICS_BF16 ? dnnl_bf16 : dnnl_f32;
}

static size_t size_of(enum numerics numerics)
{
    return numerics == NUMERICS_BF16 ? sizeof(uint16_t) : sizeof(float);
}

/* Scratch of one call; given back by setting scratch_used to what it was. */
static void *scratch(struct gemm *g, size_t n_bytes, struct error *err)
{
    if (n_bytes > g->scratch.size - g->scratch_used) {
        error_set(err, ERR_NOMEM, "a matrix product needs more than %zu MiB of scratch",
                  g->scratch.size >> 20);
        return NULL;
    }
    void *p = g->scratch.base + g->scratch_used;
    g->scratch_used += (n_bytes + 63) / 64 * 64;
    return p;
}

struct gemm *gemm_new(struct error *err)
{
    struct gemm *g = memory_array(1, sizeof *g, MEMORY_MAX_SMALL, err);
    if (!g) return NULL;
    int threads = enter();
    dnnl_status_t status = dnnl_engine_create(&g->engine, dnnl_cpu, 0);
    if (!status) status = dnnl_stream_create(&g->stream, g->engine, dnnl_stream_default_flags);
    leave(threads);
    if (status) {
        failed(status, "opening its engine", 0, 0, 0, err);
        goto fail;
    }
    if (range_open(&g->scratch, SCRATCH_BYTES, err) < 0) goto fail;
    return g;
fail:
    gemm_free(g);
    return NULL;
}

static void primitive_release(struct primitive *p)
{
    dnnl_memory_t memories[] = {p->a, p->b, p->c, p->bias, p->scratchpad};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->run) dnnl_primitive_destroy(p->run);
    *p = (struct primitive){0};
}

static void drop_products(struct gemm *g)
{
    for (size_t i = 0; i < g->n_products; i++) primitive_release(&g->products[i].primitive);
    g->n_products = 0;
}

void gemm_free(struct gemm *g)
{
    if (!g) return;
    drop_products(g);
    for (size_t i = 0; i < g->n_families; i++)
        for (int t = 0; t < N_TILES; t++) primitive_release(&g->families[i].tile[t]);
    memory_free(g->products);
    memory_free(g->families);
    range_close(&g->scratch);
    if (g->stream) dnnl_stream_destroy(g->stream);
    if (g->engine) dnnl_engine_destroy(g->engine);
    memory_free(g);
}

static bool isa_has(dnnl_cpu_isa_t wanted)
{
    return (dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

bool gemm_bf16_is_fast(void)
{
    return isa_has(dnnl_cpu_isa_avx512_core_bf16);
}

static char library_text[80];

static void write_library_text(void)
{
    const dnnl_version_t *v = dnnl_version();
    const char *isa = isa_has(dnnl_cpu_isa_avx512_core_amx)    ? "AMX"
                      : isa_has(dnnl_cpu_isa_avx512_core_bf16) ? "AVX-512 with bf16"
                      : isa_has(dnnl_cpu_isa_avx512_core)      ? "AVX-512"
                      : isa_has(dnnl_cpu_isa_avx2)             ? "AVX2"
                                                               : "SSE4.1 or other";
    snprintf(library_text, sizeof library_text, "oneDNN %d.%d.%d, %s", v->major, v->minor, v->patch,
             isa);
}

const char *gemm_library(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, write_library_text);
    return library_text;
}

/* c = a b (+ bias) (+ beta c) as a matmul primitive with a scratchpad of ours. Fills p, and *weights with the layout taken for b. */
static dnnl_status_t make_primitive(dnnl_engine_t engine, const dnnl_memory_desc_t *a,
                                    const dnnl_memory_desc_t *b, const dnnl_memory_desc_t *c,
                                    const dnnl_memory_desc_t *bias, float beta, struct primitive *p,
                                    dnnl_memory_desc_t *weights)
{
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = dnnl_matmul_desc_init(&matmul, a, b, bias, c);
    if (!status) status = dnnl_primitive_attr_create(&attr);
    if (!status) status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!status && beta != 0) {
        status = dnnl_post_ops_create(&ops);
        if (!status) status = dnnl_post_ops_append_sum(ops, beta);
        if (!status) status = dnnl_primitive_attr_set_post_ops(attr, ops);
    }
    if (!status) status = dnnl_primitive_desc_create(&desc, &matmul, attr, engine, NULL);
    if (!status) status = dnnl_primitive_create(&p->run, desc);
    if (!status) {
        const dnnl_memory_desc_t *taken = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md,
                                                                       0);
        const dnnl_memory_desc_t *pad = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md,
                                                                     0);
        if (weights) *weights = *taken;
        p->scratchpad_bytes = dnnl_memory_desc_get_size(pad);
        status = dnnl_memory_create(&p->a, a, engine, DNNL_MEMORY_NONE);
        if (!status) status = dnnl_memory_create(&p->b, taken, engine, DNNL_MEMORY_NONE);
        if (!status) status = dnnl_memory_create(&p->c, c, engine, DNNL_MEMORY_NONE);
        if (!status && bias) status = dnnl_memory_create(&p->bias, bias, engine, DNNL_MEMORY_NONE);
        if (!status) status = dnnl_memory_create(&p->scratchpad, pad, engine, DNNL_MEMORY_NONE);
    }
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (ops) dnnl_post_ops_destroy(ops);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status) primitive_release(p);
    return status;
}

static int run_primitive(struct gemm *g, const struct primitive *p, const void *a, const void *b,
                         const float *bias, float *c, struct error *err)
{
    size_t mark = g->scratch_used;
    void *pad = scratch(g, p->scratchpad_bytes, err);
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
    dnnl_status_t status = dnnl_primitive_execute(p->run, g->stream, n, args);
    g->scratch_used = mark;
    return status ? failed(status, "running a product", 0, 0, 0, err) : 0;
}

/* Descriptors of y (m, n) = x (m, k) W^T, W [n, k]; weights of any layout when `weights` is NULL. */
static dnnl_status_t make_tile(dnnl_engine_t engine, enum numerics numerics, bool bias, int64_t m,
                               int64_t n, int64_t k, const dnnl_memory_desc_t *weights,
                               struct primitive *p, dnnl_memory_desc_t *taken)
{
    dnnl_memory_desc_t x, w, y, b;
    dnnl_dims_t x_dims = {m, k}, w_dims = {k, n}, y_dims = {m, n}, b_dims = {1, n};
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&x, 2, x_dims, type_of(numerics), dnnl_ab);
    if (!status && weights) w = *weights;
    if (!status && !weights)
        status = dnnl_memory_desc_init_by_tag(&w, 2, w_dims, type_of(numerics),
                                              dnnl_format_tag_any);
    if (!status) status = dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_tag(&b, 2, b_dims, dnnl_f32, dnnl_ab);
    if (!status) status = make_primitive(engine, &x, &w, &y, bias ? &b : NULL, 0, p, taken);
    return status;
}

static dnnl_status_t plain_weights(enum numerics numerics, int64_t n, int64_t k,
                                   dnnl_memory_desc_t *desc)
{
    dnnl_dims_t dims = {k, n};
    return dnnl_memory_desc_init_by_tag(desc, 2, dims, type_of(numerics), dnnl_ba);
}

/* Pseudo-random values in [-1, 1) that fill a mantissa. */
static void fill_random(size_t n, uint64_t state, float *x)
{
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
}

/* Copies `rows` rows into a tile of the numerics' type with zero rows after them. */
static void fill_tile(enum numerics numerics, int64_t tile, int64_t rows, int64_t k, const float *x,
                      void *out)
{
    size_t n = (size_t)rows * (size_t)k, whole = (size_t)tile * (size_t)k, size = size_of(numerics);
    if (numerics == NUMERICS_BF16)
        vec_bf16(n, x, out);
    else
        memcpy(out, x, n * size);
    memset((char *)out + n * size, 0, (whole - n) * size);
}

/* Whether tile t gives the bits of the largest one; the weights are the caller's when packed, random otherwise. */
static int tile_agrees(struct gemm *g, struct family *f, int t, const void *weights, bool *agrees,
                       struct error *err)
{
    size_t mark = g->scratch_used, n = (size_t)f->n, k = (size_t)f->k,
           rows = (size_t)TILE_ROWS[LARGEST];
    int rc = ERR_NOMEM;
    float *values = scratch(g, (rows > n ? rows : n) * k * sizeof *values, err);
    void *x = scratch(g, rows * k * sizeof(float), err),
         *w = scratch(g, n * k * sizeof(float), err);
    float *want = scratch(g, rows * n * sizeof *want, err),
          *got = scratch(g, rows * n * sizeof *got, err);
    float *bias = scratch(g, n * sizeof *bias, err);
    if (!values || !x || !w || !want || !got || !bias) goto done;
    if (!f->packed) {
        fill_random(n * k, 2, values);
        fill_tile(f->numerics, f->n, f->n, f->k, values, w);
        weights = w;
    }
    fill_random(rows * k, 1, values);
    fill_tile(f->numerics, (int64_t)rows, (int64_t)rows, f->k, values, x);
    fill_random(n, 3, bias);
    rc = run_primitive(g, &f->tile[LARGEST], x, weights, bias, want, err);
    if (!rc) rc = run_primitive(g, &f->tile[t], x, weights, bias, got, err);
    if (!rc) *agrees = !memcmp(want, got, (size_t)TILE_ROWS[t] * n * sizeof *got);
done:
    g->scratch_used = mark;
    return rc;
}

/* Makes tile t of f on first use; f->state[t] says afterwards whether it may be used. */
static int prepare_tile(struct gemm *g, struct family *f, int t, const void *weights,
                        struct error *err)
{
    if (f->state[t] != TILE_UNTRIED) return 0;
    if (t != LARGEST) {
        int rc = prepare_tile(g, f, LARGEST, weights, err);
        if (rc < 0) return rc;
    }
    dnnl_status_t status = make_tile(g->engine, f->numerics, f->bias, TILE_ROWS[t], f->n, f->k,
                                     &f->weights, &f->tile[t], NULL);
    bool agrees = t == LARGEST;
    if (status && t == LARGEST) return failed(status, "a product", TILE_ROWS[t], f->n, f->k, err);
    if (!status && t != LARGEST) {
        int rc = tile_agrees(g, f, t, weights, &agrees, err);
        if (rc < 0) return rc;
    }
    f->state[t] = agrees ? TILE_GOOD : TILE_REFUSED;
    return 0;
}

static struct family *find_family(struct gemm *g, enum numerics numerics,
                                  const struct packed_weight *packed, bool bias, int64_t n,
                                  int64_t k, struct error *err)
{
    for (size_t i = 0; i < g->n_families; i++) {
        struct family *f = &g->families[i];
        if (f->n == n && f->k == k && f->numerics == numerics && f->packed == !!packed &&
            f->bias == bias)
            return f;
    }
    int rc = memory_grow(&g->families, &g->families_capacity, g->n_families + 1,
                         sizeof *g->families, MAX_FAMILIES * sizeof *g->families, err);
    if (rc < 0) return NULL;
    struct family *f = &g->families[g->n_families];
    *f = (struct family){.numerics = numerics, .packed = !!packed, .bias = bias, .n = n, .k = k};
    if (packed)
        f->weights = packed->desc;
    else if (plain_weights(numerics, n, k, &f->weights)) {
        error_set(err, ERR_USAGE, "oneDNN cannot describe weights of %lld x %lld", (long long)n,
                  (long long)k);
        return NULL;
    }
    g->n_families++;
    return f;
}

/* The smallest tile that holds what is left if it wastes at most an eighth, or else the largest that fits. */
static int choose_tile(int64_t rest)
{
    for (int t = 0; t < N_TILES; t++)
        if (TILE_ROWS[t] >= rest)
            return t == 0 || (TILE_ROWS[t] - rest) * 8 <= TILE_ROWS[t] ? t : t - 1;
    return LARGEST;
}

static int run_tile(struct gemm *g, struct family *f, int t, int64_t rows, const float *x,
                    const void *weights, const float *bias, float *y, struct error *err)
{
    int64_t tile = TILE_ROWS[t];
    size_t mark = g->scratch_used;
    const void *in = x;
    float *out = y;
    int rc = ERR_NOMEM;
    if (rows < tile || f->numerics == NUMERICS_BF16) {
        void *copy = scratch(g, (size_t)tile * (size_t)f->k * size_of(f->numerics), err);
        if (!copy) goto done;
        fill_tile(f->numerics, tile, rows, f->k, x, copy);
        in = copy;
    }
    if (rows < tile) {
        out = scratch(g, (size_t)tile * (size_t)f->n * sizeof *out, err);
        if (!out) goto done;
    }
    rc = run_primitive(g, &f->tile[t], in, weights, bias, out, err);
    if (!rc && out != y) memcpy(y, out, (size_t)rows * (size_t)f->n * sizeof *y);
done:
    g->scratch_used = mark;
    return rc;
}

int gemm_linear(struct gemm *g, enum numerics numerics, const struct packed *packed, int weight,
                int64_t m, int64_t n, int64_t k, const float *x, const float *w, const float *b,
                float *y, struct error *err)
{
    if (m == 0) return 0;
    const struct packed_weight *pw = NULL;
    if (packed && weight >= 0 && weight < packed->n && packed->numerics == numerics &&
        packed->weights[weight].data)
        pw = &packed->weights[weight];
    int threads = enter();
    size_t mark = g->scratch_used;
    int rc = ERR_NOMEM;
    const void *weights = pw ? pw->data : (const void *)w;
    struct family *f = find_family(g, numerics, pw, b != NULL, n, k, err);
    if (!f) goto done;
    if (!pw && numerics == NUMERICS_BF16) {
        uint16_t *rounded = scratch(g, (size_t)n * (size_t)k * sizeof *rounded, err);
        if (!rounded) goto done;
        vec_bf16((size_t)n * (size_t)k, w, rounded);
        weights = rounded;
    }
    for (int64_t row = 0; row < m;) {
        int t = choose_tile(m - row);
        rc = prepare_tile(g, f, t, weights, err);
        if (rc < 0) goto done;
        if (f->state[t] == TILE_REFUSED) t = LARGEST;
        int64_t rows = m - row < TILE_ROWS[t] ? m - row : TILE_ROWS[t];
        rc = run_tile(g, f, t, rows, x + row * k, weights, b, y + row * n, err);
        if (rc < 0) goto done;
        row += rows;
    }
done:
    g->scratch_used = mark;
    leave(threads);
    return rc;
}

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

static int pack_weight(dnnl_engine_t engine, dnnl_stream_t stream, enum numerics numerics,
                       const float *w, int64_t n, int64_t k, struct packed_weight *out,
                       struct error *err)
{
    struct primitive tile = {0};
    dnnl_memory_t from = NULL, to = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    dnnl_memory_desc_t plain;
    int rc = ERR_NOMEM;
    dnnl_status_t status = make_tile(engine, numerics, false, TILE_ROWS[LARGEST], n, k, NULL, &tile,
                                     &out->desc);
    if (!status) status = plain_weights(NUMERICS_F32, n, k, &plain);
    if (status) goto done;
    out->data = memory_array(1, dnnl_memory_desc_get_size(&out->desc), MEMORY_MAX_TENSOR, err);
    if (!out->data) goto done;
    status = dnnl_memory_create(&from, &plain, engine, (void *)w);
    if (!status) status = dnnl_memory_create(&to, &out->desc, engine, out->data);
    if (!status)
        status = dnnl_reorder_primitive_desc_create(&desc, &plain, engine, &out->desc, engine,
                                                    NULL);
    if (!status) status = dnnl_primitive_create(&reorder, desc);
    if (status) goto done;
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    status = dnnl_primitive_execute(reorder, stream, 2, args);
    if (!status) status = dnnl_stream_wait(stream);
    rc = 0;
done:
    if (status) rc = failed(status, "packing weights", 0, n, k, err);
    primitive_release(&tile);
    if (from) dnnl_memory_destroy(from);
    if (to) dnnl_memory_destroy(to);
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (reorder) dnnl_primitive_destroy(reorder);
    return rc;
}

struct packed *packed_new(const struct params *p, enum numerics numerics, struct error *err)
{
    struct gemm *g = NULL;
    int threads = enter(), rc = ERR_NOMEM;
    struct packed *k = memory_array(1, sizeof *k, MEMORY_MAX_SMALL, err);
    if (!k) goto done;
    k->numerics = numerics;
    k->weights = memory_array((uint64_t)p->n, sizeof *k->weights, MEMORY_MAX_FILE, err);
    if (!k->weights) goto done;
    k->n = p->n;
    g = gemm_new(err);
    if (!g) goto done;
    for (int i = 0; i < p->n; i++) {
        const struct param *t = &p->table[i];
        if (!is_linear_weight(t)) continue;
        int64_t rows = t->shape[0], cols = (int64_t)t->n / rows;
        rc = pack_weight(g->engine, g->stream, numerics, params_at(p, i), rows, cols,
                         &k->weights[i], err);
        if (rc < 0) {
            error_prefix(err, "%s: ", t->name);
            goto done;
        }
    }
    rc = 0;
done:
    gemm_free(g);
    leave(threads);
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

static struct product *find_product(struct gemm *g, const struct product *wanted, struct error *err)
{
    for (size_t i = 0; i < g->n_products; i++) {
        struct product *p = &g->products[i];
        if (p->m == wanted->m && p->n == wanted->n && p->k == wanted->k && p->ldc == wanted->ldc &&
            p->transpose_a == wanted->transpose_a && p->transpose_b == wanted->transpose_b &&
            p->beta == wanted->beta)
            return p;
    }
    if (g->n_products == MAX_PRODUCTS) drop_products(g);
    int rc = memory_grow(&g->products, &g->products_capacity, g->n_products + 1,
                         sizeof *g->products, MAX_PRODUCTS * sizeof *g->products, err);
    if (rc < 0) return NULL;
    struct product *p = &g->products[g->n_products];
    *p = *wanted;
    dnnl_memory_desc_t a, b, c;
    dnnl_dims_t a_dims = {p->m, p->k}, b_dims = {p->k, p->n}, c_dims = {p->m, p->n},
                c_strides = {p->ldc, 1};
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&a, 2, a_dims, dnnl_bf16,
                                                        p->transpose_a ? dnnl_ba : dnnl_ab);
    if (!status)
        status = dnnl_memory_desc_init_by_tag(&b, 2, b_dims, dnnl_bf16,
                                              p->transpose_b ? dnnl_ba : dnnl_ab);
    if (!status) status = dnnl_memory_desc_init_by_strides(&c, 2, c_dims, dnnl_f32, c_strides);
    if (!status) status = make_primitive(g->engine, &a, &b, &c, NULL, p->beta, &p->primitive, NULL);
    if (status) {
        failed(status, "a product", p->m, p->n, p->k, err);
        return NULL;
    }
    g->n_products++;
    return p;
}

/* A compact bf16 copy of a matrix, scaled. */
static uint16_t *round_matrix(struct gemm *g, int64_t rows, int64_t cols, float scale,
                              const float *x, int64_t ld, struct error *err)
{
    uint16_t *out = scratch(g, (size_t)rows * (size_t)cols * sizeof *out, err);
    float *line = scale == 1.0f ? NULL : scratch(g, (size_t)cols * sizeof *line, err);
    if (!out || (scale != 1.0f && !line)) return NULL;
    if (scale == 1.0f && ld == cols) {
        vec_bf16((size_t)rows * (size_t)cols, x, out);
        return out;
    }
    for (int64_t i = 0; i < rows; i++) {
        const float *from = x + i * ld;
        if (line) {
            for (int64_t j = 0; j < cols; j++) line[j] = scale * from[j];
            from = line;
        }
        vec_bf16((size_t)cols, from, out + i * cols);
    }
    return out;
}

static int product_bf16(struct gemm *g, const struct product *wanted, float alpha, const float *a,
                        int64_t lda, const float *b, int64_t ldb, float *c, struct error *err)
{
    size_t mark = g->scratch_used;
    int rc = ERR_NOMEM;
    int64_t m = wanted->m, n = wanted->n, k = wanted->k;
    bool ta = wanted->transpose_a, tb = wanted->transpose_b;
    struct product *p = find_product(g, wanted, err);
    if (!p) {
        rc = ERR_USAGE;
        goto done;
    }
    uint16_t *a16 = round_matrix(g, ta ? k : m, ta ? m : k, alpha, a, lda, err);
    uint16_t *b16 = round_matrix(g, tb ? n : k, tb ? k : n, 1.0f, b, ldb, err);
    if (a16 && b16) rc = run_primitive(g, &p->primitive, a16, b16, NULL, c, err);
done:
    g->scratch_used = mark;
    return rc;
}

int gemm_product(struct gemm *g, enum numerics numerics, bool transpose_a, bool transpose_b,
                 int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                 const float *b, int64_t ldb, float beta, float *c, int64_t ldc, struct error *err)
{
    if (m == 0 || n == 0) return 0;
    if (k == 0) {
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
        return 0;
    }
    int threads = enter(), rc = 0;
    if (numerics == NUMERICS_BF16) {
        struct product wanted = {.transpose_a = transpose_a,
                                 .transpose_b = transpose_b,
                                 .m = m,
                                 .n = n,
                                 .k = k,
                                 .ldc = ldc,
                                 .beta = beta};
        rc = product_bf16(g, &wanted, alpha, a, lda, b, ldb, c, err);
    } else {
        dnnl_status_t status = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k,
                                          alpha, a, lda, b, ldb, beta, c, ldc);
        if (status) rc = failed(status, "a product", m, n, k, err);
    }
    leave(threads);
    return rc;
}
