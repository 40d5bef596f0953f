/* Feature sets: bytes a vector under q1e-4, against raw f32, raw f16 and the set's own f32 storage;
 * speed of put and get, against the same with f32 storage and against copying in memory; the worst
 * 1 - cos of all vectors beside the promised bound. Real features (OpenAI CLIP ViT-B/32 of photos)
 * where ../shared has them, otherwise made-up ones, which compress as noise does. Few vectors are put
 * as several views, so that what a file has once weighs less. */
#include "tests/bench.h"

#include "store/featureset.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/npy.h"

#define REAL    "../shared/data/flickr8k-clip/clip_vitb32_image_512.npy"
#define EPSILON 1e-4f
enum { VIEWS = 8, MADE_UP = 4000, MADE_UP_DIM = 768 };

static const char *cache;
static uint32_t n, dim;
static float *vectors, *out; // (n, dim)
static uint32_t *numbers;
static uint8_t (*keys)[DIGEST_BYTES];

struct kind {
    const char *name;
    enum codec_storage storage;
    struct featureset *fs;
};

static struct featureset *make(const char *name, enum codec_storage storage)
{
    struct error err = {0};
    struct featureset *fs = NULL;
    struct featureset_spec spec = {.tap = "image.final", .dim = dim, .storage = storage};
    struct json *none = json_new_object();
    snprintf(spec.name, sizeof spec.name, "%s", name);
    spec.epsilon = storage == STORAGE_Q ? EPSILON : 0;
    spec.fingerprint = spec.replay = none;
    bench_must(none && featureset_create(&fs, cache, &spec, &err) == 0, &err);
    json_free(none);
    return fs;
}

static double put(void *ctx)
{
    struct kind *k = ctx;
    struct error err = {0};
    char folder[200];
    featureset_close(k->fs);
    snprintf(folder, sizeof folder, "%s/features/%s", cache, k->name);
    bench_must(file_remove_folder(folder, &err) == 0, &err);
    k->fs = make(k->name, k->storage);
    double start = bench_cpu();
    for (uint32_t view = 0; view < VIEWS; view++)
        bench_must(featureset_put(k->fs, view, n, numbers, keys, vectors, &err) == 0, &err);
    return bench_cpu() - start;
}

/* A fresh cursor unpacks every block again. */
static double get(void *ctx)
{
    struct kind *k = ctx;
    struct error err = {0};
    double start = bench_cpu();
    struct featureset_cursor *cur = featureset_cursor_new(k->fs, &err);
    bench_must(cur, &err);
    for (uint32_t view = 0; view < VIEWS; view++)
        for (uint32_t i = 0; i < n; i++) {
            float *to = out + (size_t)i * dim;
            bench_must(featureset_get(cur, view, i, keys[i], to, NULL, &err) == 0, &err);
        }
    featureset_cursor_free(cur);
    return bench_cpu() - start;
}

static double copy(void *ctx)
{
    (void)ctx;
    double start = bench_cpu();
    for (int view = 0; view < VIEWS; view++) {
        memcpy(out, vectors, (size_t)n * dim * sizeof *out);
        __asm__ volatile("" ::"r"(out) : "memory");
    }
    return bench_cpu() - start;
}

static double worst_miss(void)
{
    double worst = 0;
    for (uint32_t i = 0; i < n; i++) {
        const float *a = vectors + (size_t)i * dim, *b = out + (size_t)i * dim;
        double ab = 0, aa = 0, bb = 0;
        for (uint32_t j = 0; j < dim; j++) {
            ab += (double)a[j] * b[j];
            aa += (double)a[j] * a[j];
            bb += (double)b[j] * b[j];
        }
        worst = fmax(worst, 1 - ab / sqrt(aa * bb));
    }
    return worst;
}

/* Features of a transformer: correlated, with a few large columns. */
static void make_up(void)
{
    uint64_t state = 1;
    for (size_t i = 0; i < (size_t)n * dim; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(state >> 33) * 0x1p-31 - 0.5;
        }
        size_t column = i % dim;
        vectors[i] = (float)(0.03 * sum + (column % 97 == 5 ? 0.2 : 0.01 * sin((double)column)));
    }
}

static const char *load(void)
{
    struct error err = {0};
    struct npy a = {0};
    bool real = file_exists(REAL);
    if (real) bench_must(npy_open(REAL, &a, &err) == 0, &err);
    n = real ? (uint32_t)a.n_rows : MADE_UP;
    dim = real ? (uint32_t)a.n_cols : MADE_UP_DIM;
    vectors = memory_array((uint64_t)n * dim, sizeof *vectors, MEMORY_MAX_FILE, &err);
    out = memory_array((uint64_t)n * dim, sizeof *out, MEMORY_MAX_FILE, &err);
    numbers = memory_array(n, sizeof *numbers, MEMORY_MAX_FILE, &err);
    keys = memory_array(n, sizeof *keys, MEMORY_MAX_FILE, &err);
    bench_must(vectors && out && numbers && keys, &err);
    for (uint32_t i = 0; i < n; i++) {
        numbers[i] = i;
        digest_of(&i, sizeof i, keys[i]);
        if (real) npy_row_f32(&a, i, vectors + (size_t)i * dim);
    }
    if (real)
        npy_close(&a);
    else
        make_up();
    return real ? "real CLIP features" : "made-up features (no real ones here)";
}

static void sizes(const char *what, struct kind *q, struct kind *f32)
{
    uint64_t stored, plain, raw;
    char title[160];
    snprintf(title, sizeof title, "size of %u %s of %u values, put as %d views", n, what, dim,
             VIEWS);
    bench_load(title);
    featureset_bytes(q->fs, &stored, &raw);
    featureset_bytes(f32->fs, &plain, &raw);
    double each = (double)stored / ((double)n * VIEWS);
    printf("  clipstill q1e-4, the whole file %37.1f bytes a vector\n", each);
    printf("  raw f32 %61.1f   %.2fx of q1e-4   goal >= 5 on real features\n", 4.0 * dim,
           4.0 * dim / each);
    printf("  raw f16 %61.1f   %.2fx of q1e-4\n", 2.0 * dim, 2.0 * dim / each);
    printf("  clipstill f32, the whole file %39.1f   %.2fx of q1e-4\n",
           (double)plain / ((double)n * VIEWS), (double)plain / (double)stored);
    get(q);
    double worst = worst_miss();
    printf("  largest 1 - cos of all vectors: %.3g, %.3f of the bound %.0e   goal <= 1\n", worst,
           worst / (double)EPSILON, (double)EPSILON);
}

int main(void)
{
    cache = bench_folder();
    const char *what = load();
    struct kind q = {.name = "q", .storage = STORAGE_Q},
                f32 = {.name = "f32", .storage = STORAGE_F32};
    double mb = (double)VIEWS * n * dim * 4 / 1e6;
    struct bench_entry puts[] = {{.name = "clipstill q1e-4", .work = mb, .run = put, .ctx = &q},
                                 {.name = "clipstill f32", .work = mb, .run = put, .ctx = &f32}};
    bench_table("put into a feature set, MB of f32, one thread", "MB/s", puts, 2, 5);
    struct bench_entry gets[] = {{.name = "clipstill q1e-4", .work = mb, .run = get, .ctx = &q},
                                 {.name = "clipstill f32", .work = mb, .run = get, .ctx = &f32},
                                 {.name = "limit: memcpy of f32", .work = mb, .run = copy}};
    bench_table("get from a feature set, blocks unpacked anew, MB of f32, one thread", "MB/s", gets,
                3, 7);
    sizes(what, &q, &f32);
    featureset_close(q.fs);
    featureset_close(f32.fs);
    memory_free(vectors);
    memory_free(out);
    memory_free(numbers);
    memory_free(keys);
    return 0;
}
