/* Rows in tiles; see tiles.h.
 *
 * Equal bits: rows go through tiles of 1 to 192 rows, the last one padded with zeros. oneDNN may
 * treat the last rows of a product differently, or one row alone, so a tile is used for a shape
 * only after it proved itself on this machine: the same random row in every position must come out
 * with the bits that the reference tile (192 rows) gives it. Measured with 2.6.3: with AVX-512, f32
 * and bf16, all numbers of rows agree; with AVX2 a row differs where the number of rows leaves 2
 * after division by 6 (8, 32, 128, 256 rows!), and a single row differs with AVX2 and below. Hence
 * the tile sizes, multiples of six, which agree everywhere tried. So one short text costs 12 rows,
 * not 192, and the answer is the same.
 *
 * What follows the product: in bf16 oneDNN does it before it writes (onednn_fuses), measured at
 * M = 192, N = 4096, K = 1024 on Zen 4: 220 GFLOP/s alone, 216 with quick_gelu to bf16, 210 with
 * passes of our own after it. In f32 it is done by vecmath on the tile, whose bits do not depend on
 * the machine, with the product in between as it would be alone. */
#include "featurize/tiles.h"

#include <string.h>

#include "featurize/packed.h"
#include "featurize/vecmath.h"
#include "store/memory.h"

#define MAX_FAMILIES 1024
#define N_TILES      7
#define LARGEST      (N_TILES - 1)

static const int64_t TILE_ROWS[N_TILES] = {1, 6, 12, 24, 48, 96, PACKED_TILE_ROWS};

enum tile_state { TILE_UNTRIED, TILE_GOOD, TILE_REFUSED };

/* The tiles of one kind of layer. */
struct tile_family {
    struct onednn_linear shape;
    bool packed;
    dnnl_memory_desc_t weights;
    int reference; /* the tile that defines the bits; -1: not chosen yet */
    enum tile_state state[N_TILES];
    struct onednn_matmul tile[N_TILES];
};

void tiles_release(struct tiles *t)
{
    for (size_t i = 0; i < t->n_families; i++)
        for (int k = 0; k < N_TILES; k++) onednn_matmul_release(&t->families[i].tile[k]);
    memory_free(t->families);
    *t = (struct tiles){0};
}

/* Pseudo-random values in [-1, 1) that fill a mantissa. */
static void fill_random(size_t n, uint64_t state, float *x)
{
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
}

/* Copies `rows` rows into a tile of the numerics' type, with zero rows after them. */
static void fill_tile(enum numerics numerics, int64_t tile, int64_t rows, int64_t k, struct rows x,
                      void *out)
{
    size_t n = (size_t)rows * (size_t)k, whole = (size_t)tile * (size_t)k,
           size = onednn_size(numerics);
    if (numerics == NUMERICS_BF16 && !x.half)
        vec_bf16(n, x.x, out);
    else
        memcpy(out, x.half ? (const void *)x.half : (const void *)x.x, n * size);
    memset((char *)out + n * size, 0, (whole - n) * size);
}

/* Bytes of one value that a family's primitives write. */
static size_t out_size(const struct tile_family *f)
{
    return f->shape.half ? sizeof(uint16_t) : sizeof(float);
}

/* Whether tile t gives a row, in every position, the bits that tile `reference` gives it in its
 * first. The weights are the caller's when packed, random otherwise (they may still be zero). Where
 * a row has few outputs, several rows are tried. */
static int tile_agrees(struct onednn *o, struct tile_family *f, int reference, int t,
                       const void *weights, bool *agrees, struct error *err)
{
    size_t mark = o->scratch_used, n = (size_t)f->shape.n, k = (size_t)f->shape.k,
           rows = (size_t)TILE_ROWS[LARGEST], line = n * out_size(f);
    int rc = ERR_NOMEM;
    float *values = onednn_scratch(o, (rows > n ? rows : n) * k * sizeof *values, err);
    void *x = onednn_scratch(o, rows * k * sizeof(float), err),
         *w = onednn_scratch(o, n * k * sizeof(float), err);
    char *want = onednn_scratch(o, rows * line, err), *got = onednn_scratch(o, rows * line, err);
    float *bias = onednn_scratch(o, n * sizeof *bias, err);
    if (!values || !x || !w || !want || !got || !bias) goto done;
    if (!f->packed) {
        fill_random(n * k, 2, values);
        fill_tile(f->shape.numerics, f->shape.n, f->shape.n, f->shape.k, (struct rows){.x = values},
                  w);
        weights = w;
    }
    fill_random(n, 3, bias);
    *agrees = true;
    rc = 0;
    for (uint64_t attempt = 0; rc == 0 && *agrees && attempt <= 256 / n; attempt++) {
        fill_random(k, 4 + attempt, values);
        for (size_t i = 1; i < rows; i++) memcpy(values + i * k, values, k * sizeof *values);
        fill_tile(f->shape.numerics, (int64_t)rows, (int64_t)rows, f->shape.k,
                  (struct rows){.x = values}, x);
        memset(want, 0, rows * line); /* what a sum is added to */
        memset(got, 0, rows * line);
        rc = onednn_matmul_run(o, &f->tile[reference], x, weights, bias, want, err);
        if (!rc) rc = onednn_matmul_run(o, &f->tile[t], x, weights, bias, got, err);
        for (size_t i = 0; rc == 0 && i < (size_t)TILE_ROWS[t]; i++)
            *agrees &= !memcmp(want, got + i * line, line);
    }
done:
    o->scratch_used = mark;
    return rc;
}

static int make_tile(struct onednn *o, struct tile_family *f, int t, struct error *err)
{
    dnnl_status_t status = onednn_linear_make(o, &f->shape, TILE_ROWS[t], &f->weights, &f->tile[t],
                                              NULL);
    return status ? onednn_failed(status, err, "a layer of %lld x %lld", (long long)f->shape.n,
                                  (long long)f->shape.k)
                  : 0;
}

/* The largest tile, if it treats all its rows alike; or else single rows. */
static int choose_reference(struct onednn *o, struct tile_family *f, const void *weights,
                            struct error *err)
{
    bool alike = false;
    int rc = make_tile(o, f, LARGEST, err);
    if (rc == 0) rc = tile_agrees(o, f, LARGEST, LARGEST, weights, &alike, err);
    if (rc == 0 && !alike) rc = make_tile(o, f, 0, err);
    if (rc < 0) return rc;
    f->reference = alike ? LARGEST : 0;
    f->state[LARGEST] = alike ? TILE_GOOD : TILE_REFUSED;
    f->state[f->reference] = TILE_GOOD;
    return 0;
}

/* Tile t, or the next larger one that may be used, or the reference; negative after an error. */
static int usable_tile(struct onednn *o, struct tile_family *f, int t, const void *weights,
                       struct error *err)
{
    int rc = f->reference < 0 ? choose_reference(o, f, weights, err) : 0;
    if (rc < 0) return rc;
    for (; t < N_TILES; t++) {
        if (f->state[t] == TILE_UNTRIED) {
            bool agrees = false;
            rc = make_tile(o, f, t, NULL);
            if (rc == 0) rc = tile_agrees(o, f, f->reference, t, weights, &agrees, err);
            if (rc == ERR_NOMEM) return rc;
            f->state[t] = agrees ? TILE_GOOD : TILE_REFUSED;
        }
        if (f->state[t] == TILE_GOOD) return t;
    }
    return f->reference;
}

static bool same_shape(const struct onednn_linear *a, const struct onednn_linear *b)
{
    return a->n == b->n && a->k == b->k && a->numerics == b->numerics && a->bias == b->bias &&
           a->half == b->half && a->after.act == b->after.act && a->after.beta == b->after.beta;
}

static struct tile_family *find_family(struct tiles *all, const struct onednn_linear *shape,
                                       const dnnl_memory_desc_t *packed, struct error *err)
{
    for (size_t i = 0; i < all->n_families; i++) {
        struct tile_family *f = &all->families[i];
        if (f->packed == !!packed && same_shape(&f->shape, shape)) return f;
    }
    if (memory_grow(&all->families, &all->capacity, all->n_families + 1, sizeof *all->families,
                    MAX_FAMILIES * sizeof *all->families, err) < 0)
        return NULL;
    struct tile_family *f = &all->families[all->n_families];
    *f = (struct tile_family){.shape = *shape, .packed = !!packed, .reference = -1};
    dnnl_status_t status = dnnl_success;
    if (packed)
        f->weights = *packed;
    else
        status = onednn_plain_weights(shape->numerics, shape->n, shape->k, &f->weights);
    if (!status) {
        all->n_families++;
        return f;
    }
    onednn_failed(status, err, "a layer of %lld x %lld", (long long)shape->n, (long long)shape->k);
    return NULL;
}

/* A tile costs its rows, but reading the weights for it as much as six rows at least. */
static int64_t tile_cost(int t)
{
    return TILE_ROWS[t] < 6 ? 6 : TILE_ROWS[t];
}

/* What `rest` rows cost, and with which tile they best begin: the smallest that holds them all, or
 * the one below it and others after that. */
static int64_t choose_tile(int64_t rest, int *first)
{
    int t = 0, next;
    if (rest <= 0) return 0;
    while (t < LARGEST && TILE_ROWS[t] < rest) t++;
    *first = t;
    if (t == 0 || TILE_ROWS[t] <= rest) return tile_cost(t);
    int64_t split = tile_cost(t - 1) + choose_tile(rest - TILE_ROWS[t - 1], &next);
    if (split >= tile_cost(t)) return tile_cost(t);
    *first = t - 1;
    return split;
}

static struct rows rows_at(struct rows r, int64_t i, int64_t cols)
{
    return (struct rows){r.x ? r.x + i * cols : NULL, r.half ? r.half + i * cols : NULL};
}

/* What the primitive left to do: act, then the sum or the rounding, then the way to y. */
static void finish(const struct gemm_layer *l, bool fused, int64_t rows, float *out, struct rows y)
{
    size_t n = (size_t)rows * (size_t)l->n;
    if (!fused) activation_run(l->act, n, out, out);
    if (y.half)
        vec_bf16(n, out, y.half);
    else if (l->add && !fused)
        vec_add(n, out, y.x);
    else if (out != y.x)
        memcpy(y.x, out, n * sizeof *out);
}

static int run_tile(struct onednn *o, struct tile_family *f, const struct gemm_layer *l, int t,
                    int64_t rows, struct rows x, const void *weights, struct rows y,
                    struct error *err)
{
    int64_t tile = TILE_ROWS[t], n = l->n, k = l->k;
    size_t mark = o->scratch_used, n_in = (size_t)tile * (size_t)k, n_out = (size_t)(rows * n);
    bool fused = onednn_fuses(l->numerics, l->act), whole = rows == tile;
    bool direct = whole && (f->shape.half || (y.x && (fused || !l->add)));
    const void *in = x.half ? (const void *)x.half : (const void *)x.x;
    void *out = y.half ? (void *)y.half : (void *)y.x;
    int rc = ERR_NOMEM;
    if (!whole || (l->numerics == NUMERICS_BF16 && !x.half)) {
        void *copy = onednn_scratch(o, n_in * onednn_size(l->numerics), err);
        if (!copy) goto done;
        fill_tile(l->numerics, tile, rows, k, x, copy);
        in = copy;
    }
    if (!direct) {
        out = onednn_scratch(o, (size_t)(tile * n) * out_size(f), err);
        if (!out) goto done;
        if (l->add && fused) memcpy(out, y.x, n_out * sizeof *y.x);
    }
    rc = onednn_matmul_run(o, &f->tile[t], in, weights, l->b, out, err);
    if (rc < 0) goto done;
    if (f->shape.half && !direct)
        memcpy(y.half, out, n_out * sizeof *y.half);
    else if (!f->shape.half)
        finish(l, fused, rows, out, y);
done:
    o->scratch_used = mark;
    return rc;
}

int tiles_run(struct tiles *all, struct onednn *o, const struct gemm_layer *l,
              const dnnl_memory_desc_t *packed, const void *weights, int64_t m, struct rows x,
              struct rows y, struct error *err)
{
    struct onednn_linear shape = {
        .numerics = l->numerics, .bias = l->b != NULL, .n = l->n, .k = l->k};
    if (onednn_fuses(l->numerics, l->act)) {
        shape.half = y.half != NULL;
        shape.after = (struct onednn_after){.act = l->act, .beta = l->add ? 1.0f : 0.0f};
    }
    struct tile_family *f = find_family(all, &shape, packed, err);
    if (!f) return ERR_NOMEM;
    for (int64_t row = 0; row < m;) {
        int t = 0;
        choose_tile(m - row, &t);
        t = usable_tile(o, f, t, weights, err);
        if (t < 0) return t;
        int64_t rows = m - row < TILE_ROWS[t] ? m - row : TILE_ROWS[t];
        int rc = run_tile(o, f, l, t, rows, rows_at(x, row, l->k), weights, rows_at(y, row, l->n),
                          err);
        if (rc < 0) return rc;
        row += rows;
    }
    return 0;
}
