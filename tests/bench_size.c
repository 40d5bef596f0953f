/* What each storage costs and keeps, on real features: bytes a vector of the whole file and of full blocks,
 * 1 - cos of all vectors, mean and worst, and how often a search still finds what it found.
 *
 *     bench_size [FILE.npy ...]      // ../shared/data where nothing is given and it is there
 *
 * Search: each of up to 500 vectors looks for its nearest among all others (cosine); R@K is how often the
 * nearest of the original vectors is among the K nearest of the stored ones, both sides stored. */
#include "tests/bench.h"

#include "store/block.h"
#include "store/featureset.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/npy.h"

enum { QUERIES = 500, MOST = 200000 };

static const char *cache;
static uint32_t n, dim;
static float *vectors, *stored, *unit; // (n, dim)
static uint32_t *numbers;
static uint8_t (*keys)[DIGEST_BYTES];
static uint32_t nearest[QUERIES];

static void *room(uint64_t count, uint64_t size)
{
    struct error err = {0};
    void *p = memory_array(count, size, MEMORY_MAX_TENSOR, &err);
    bench_must(p, &err);
    return p;
}

static void load(const char *path)
{
    struct error err = {0};
    struct npy a = {0};
    bench_must(npy_open(path, &a, &err) == 0, &err);
    n = (uint32_t)(a.n_rows < MOST ? a.n_rows : MOST);
    dim = (uint32_t)a.n_cols;
    vectors = room((uint64_t)n * dim, 4);
    stored = room((uint64_t)n * dim, 4);
    unit = room((uint64_t)n * dim, 4);
    numbers = room(n, sizeof *numbers);
    keys = room(n, sizeof *keys);
    for (uint32_t i = 0; i < n; i++) {
        float *x = vectors + (size_t)i * dim;
        double square = 0;
        numbers[i] = i;
        digest_of(&i, sizeof i, keys[i]);
        npy_row_f32(&a, i, x);
        for (uint32_t j = 0; j < dim; j++) square += (double)x[j] * (double)x[j];
        for (uint32_t j = 0; j < dim && square > 0; j++)
            unit[(size_t)i * dim + j] = (float)((double)x[j] / sqrt(square));
    }
    npy_close(&a);
}

static void unload(void)
{
    memory_free(vectors);
    memory_free(stored);
    memory_free(unit);
    memory_free(numbers);
    memory_free(keys);
}

static float dot(const float *a, const float *b)
{
    float lane[16] = {0}, sum = 0;
    uint32_t j = 0;
    for (; j + 16 <= dim; j += 16)
        for (int l = 0; l < 16; l++) lane[l] += a[j + l] * b[j + l];
    for (; j < dim; j++) sum += a[j] * b[j];
    for (int l = 0; l < 16; l++) sum += lane[l];
    return sum;
}

static uint32_t query(uint32_t q)
{
    return n <= QUERIES ? q : (uint32_t)((uint64_t)q * n / QUERIES);
}

static uint32_t n_queries(void)
{
    return n < QUERIES ? n : QUERIES;
}

static void find_nearest(void)
{
    for (uint32_t q = 0; q < n_queries(); q++) {
        uint32_t at = query(q);
        float best = -2;
        for (uint32_t i = 0; i < n; i++) {
            float s = i == at ? -2 : dot(unit + (size_t)at * dim, unit + (size_t)i * dim);
            if (s > best) best = s, nearest[q] = i;
        }
    }
}

/* Queries whose nearest of old is among the k nearest now, in percent, for k = 1 and 10. */
static void recall(double percent[2])
{
    uint32_t hit[2] = {0};
    for (uint32_t q = 0; q < n_queries(); q++) {
        uint32_t at = query(q), before = 0;
        const float *x = stored + (size_t)at * dim;
        float of_nearest = dot(x, stored + (size_t)nearest[q] * dim);
        for (uint32_t i = 0; i < n; i++)
            before += i != at && i != nearest[q] && dot(x, stored + (size_t)i * dim) >= of_nearest;
        hit[0] += before < 1;
        hit[1] += before < 10;
    }
    for (int k = 0; k < 2; k++) percent[k] = 100.0 * hit[k] / n_queries();
}

/* Bytes of a record of a full block, a vector: what a large set comes to. */
static double full_block(const struct codec *codec)
{
    struct error err = {0};
    struct block_shape shape;
    bench_must(block_shape_init(&shape, codec, 0, &err) == 0, &err);
    uint32_t count = n < shape.n_slots ? n : shape.n_slots;
    struct block_row *rows = room(count, sizeof *rows);
    uint8_t *codes = room(count, codec_capacity(codec)),
            *record = room(block_record_capacity(&shape), 1),
            *plain = room(block_plain_capacity(&shape), 1);
    struct compress *z = compress_new(&err);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *code = codes + i * codec_capacity(codec);
        rows[i] = (struct block_row){.slot = i, .code = code};
        rows[i].kind = codec_encode(codec, vectors + (size_t)i * dim, code, &rows[i].norm, &err);
        bench_must(rows[i].kind >= 0, &err);
    }
    int64_t bytes = block_encode(&shape, 0, 0, rows, count, plain, z, record, &err);
    bench_must(bytes > 0, &err);
    compress_free(z);
    memory_free(rows);
    memory_free(codes);
    memory_free(record);
    memory_free(plain);
    return (double)bytes / count;
}

static void judge(const char *store)
{
    struct error err = {0};
    struct featureset *fs = NULL;
    struct codec codec;
    struct json *none = json_new_object();
    struct featureset_spec spec = {
        .tap = "image.final", .dim = dim, .fingerprint = none, .replay = none};
    snprintf(spec.name, sizeof spec.name, "%s", store);
    bench_must(codec_parse(store, &spec.storage, &spec.epsilon, &err) == 0, &err);
    bench_must(codec_init(&codec, spec.storage, dim, spec.epsilon, &err) == 0, &err);
    bench_must(featureset_create(&fs, cache, &spec, &err) == 0, &err);
    bench_must(featureset_put(fs, 0, n, numbers, keys, vectors, &err) == 0, &err);
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    bench_must(cur, &err);
    double worst = 0, sum = 0, percent[2];
    for (uint32_t i = 0; i < n; i++) {
        float *out = stored + (size_t)i * dim;
        const float *x = vectors + (size_t)i * dim;
        double ab = 0, aa = 0, bb = 0;
        bench_must(featureset_get(cur, 0, i, keys[i], out, NULL, &err) == 0, &err);
        for (uint32_t j = 0; j < dim; j++) {
            ab += (double)x[j] * (double)out[j];
            aa += (double)x[j] * (double)x[j];
            bb += (double)out[j] * (double)out[j];
        }
        double miss = aa > 0 ? fmax(0, 1 - ab / sqrt(aa * bb)) : 0;
        worst = fmax(worst, miss);
        sum += miss;
    }
    featureset_cursor_free(cur);
    uint64_t bytes, as_f32;
    featureset_bytes(fs, &bytes, &as_f32);
    recall(percent);
    double each = (double)bytes / n, full = full_block(&codec);
    printf("| `%s` | %.0f | %.0f | %.2f | %.1e | %.1e | %.1f | %.1f |\n", store, each, full,
           4.0 * dim / full, sum / n, worst, percent[0], percent[1]);
    fflush(stdout);
    featureset_close(fs);
    json_free(none);
}

static void table(const char *path)
{
    static const char *const STORES[] = {"f32",   "f16",   "bf16",  "q1e-6",
                                         "q1e-5", "q1e-4", "q1e-3", "q1e-2"};
    struct error err = {0};
    char folder[200];
    if (!file_exists(path)) {
        printf("\n%s: not here\n", path);
        return;
    }
    load(path);
    find_nearest();
    printf("\n%s: %u vectors of %u values\n\n", path, n, dim);
    printf("| storage | bytes a vector, file | full block | times smaller than f32 | 1 - cos, mean "
           "| worst | R@1 %% | R@10 %% |\n");
    printf("|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof STORES / sizeof *STORES; i++) judge(STORES[i]);
    snprintf(folder, sizeof folder, "%s/features", cache);
    bench_must(file_remove_folder(folder, &err) == 0, &err);
    unload();
}

int main(int argc, char **argv)
{
    cache = bench_folder();
    for (int i = 1; i < argc; i++) table(argv[i]);
    if (argc < 2) {
        table("../shared/data/flickr8k-clip/clip_vitb32_image_512.npy");
        table("../shared/data/clothing/mobilenet_v1_1024.npy");
    }
    return 0;
}
