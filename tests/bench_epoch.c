/* Reading feature sets: a million vectors of 768 values, made up (they compress as noise does).
 *
 * - Writing them: featureset_put, durable, two threads.
 * - In order, on one thread and on two, against a bare loop on one that unpacks the same zstd frames into a
 *   buffer and does nothing else: no checksum, no floats.
 * - A shuffled epoch on two threads, against py-lmdb (one f32 vector a record) and a mapped .npy, in
 *   batches of 4,096; with its anonymous memory.
 * - One vector at random, each in a block that is not unpacked yet, of 1,024 values.
 * - The shuffled epoch after the file was dropped from memory (posix_fadvise), against plain reads of
 *   the same blocks at random.
 * Seconds are the processor's, halved where two threads work (they wait asleep), so that neighbours on
 * the machine disturb less; of cold reads the wall's clock. */
#include "tests/bench.h"

#include <fcntl.h>
#include <omp.h>

#include "store/featureset_epoch.h"
#include "store/featureset_inside.h"
#include "store/file.h"
#include "store/memory.h"

enum { DIM = 768, PUT = 20480, PUTS = 49, N = PUT * PUTS, BATCH = 4096, PEER_N = 100000 };
enum { ONE_DIM = 1024, ONE_N = 40960, GETS = 2000 };

static const char *cache;
static float *pool, *out; // (PUT, ONE_DIM), (BATCH, ONE_DIM)
static uint32_t *numbers;
static uint8_t (*keys)[DIGEST_BYTES];
static struct compress *z[2];
static uint8_t *plain[2];

static struct featureset *make(const char *name, uint32_t dim, enum codec_storage storage)
{
    struct error err = {0};
    struct featureset *fs = NULL;
    struct featureset_spec spec = {.tap = "image.final", .dim = dim, .storage = storage};
    struct json *none = json_new_object();
    snprintf(spec.name, sizeof spec.name, "%s", name);
    spec.epsilon = storage == STORAGE_Q ? 1e-4f : 0;
    spec.fingerprint = spec.replay = none;
    bench_must(none && featureset_create(&fs, cache, &spec, &err) == 0, &err);
    json_free(none);
    return fs;
}

static struct featureset *open_set(const char *name)
{
    struct error err = {0};
    struct featureset *fs = NULL;
    bench_must(featureset_open(&fs, cache, name, FEATURESET_READ, &err) == 0, &err);
    return fs;
}

/* The pool once more, under the numbers from `first` on. */
static void put(struct featureset *fs, uint32_t first)
{
    struct error err = {0};
    for (uint32_t i = 0; i < PUT; i++) {
        numbers[i] = first + i;
        memset(keys[i], 0, DIGEST_BYTES);
        memcpy(keys[i], &numbers[i], 4);
    }
    bench_must(
        featureset_put(fs, 0, PUT, numbers, (const uint8_t(*)[DIGEST_BYTES])keys, pool, &err) == 0,
        &err);
}

static double anonymous_mb(void)
{
    char line[200];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) (void)sscanf(line, "RssAnon: %lf", &kb);
    if (f) fclose(f);
    return kb / 1e3;
}

struct reading {
    struct featureset *fs;
    bool in_order;
    int threads;
    uint64_t epoch;
    double (*clock)(void);
    double anonymous; /* the most, MB above what was there before */
};

static double read_epoch(void *ctx)
{
    struct reading *r = ctx;
    struct error err = {0};
    struct featureset_epoch *e;
    struct featureset_epoch_options o = {.seed = 1, .epoch = r->epoch++, .in_order = r->in_order};
    int64_t n;
    double before = anonymous_mb(), start = r->clock();
    omp_set_num_threads(r->threads);
    bench_must(featureset_epoch_open(&e, r->fs, &o, &err) == 0, &err);
    while ((n = featureset_epoch_next(e, BATCH, numbers, NULL, NULL, out, &err)) > 0)
        r->anonymous = fmax(r->anonymous, anonymous_mb() - before);
    bench_must(n == 0, &err);
    featureset_epoch_close(e);
    return (r->clock() - start) / (r->clock == bench_cpu ? r->threads : 1);
}

/* The frame of a block's record (store/block.h) into plain[thread]. */
static bool unpack(const struct featureset *fs, struct kv_bytes v, int thread)
{
    uint32_t n_plain, n_packed;
    (void)fs;
    memcpy(&n_plain, v.bytes + 32, 4);
    memcpy(&n_packed, v.bytes + 36, 4);
    return compress_unpack(z[thread], plain[thread], n_plain, v.bytes + v.n - 8 - n_packed,
                           n_packed, NULL) == 0;
}

static double bare_zstd(void *ctx)
{
    struct reading *r = ctx;
    struct error err = {0};
    struct kv_txn *txn = NULL;
    uint32_t n_blocks = (uint32_t)(featureset_n_vectors(r->fs, 0) / r->fs->shape.n_slots);
    struct kv_bytes *values = memory_array(n_blocks, sizeof *values, MEMORY_MAX_FILE, &err);
    bool ok = values != NULL;
    double start = bench_cpu();
    bench_must(ok && kv_begin_read(r->fs->kv, &txn, &err) == 0, &err);
    for (uint32_t i = 0; i < n_blocks; i++) {
        uint8_t key[FEATURESET_KEY_BYTES];
        featureset_block_key(0, i, key);
        bench_must(kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &values[i], &err) == 1, &err);
    }
#pragma omp parallel for schedule(dynamic) num_threads(r->threads)
    for (uint32_t i = 0; i < n_blocks; i++)
        if (!unpack(r->fs, values[i], omp_get_thread_num())) abort();
    kv_abort(txn);
    memory_free(values);
    return (bench_cpu() - start) / r->threads;
}

static void bench_order(struct featureset *fs, const char *name, int threads)
{
    double gb = (double)featureset_n_vectors(fs, 0) * DIM * 4 / 1e9;
    char title[120];
    struct reading r = {.fs = fs, .in_order = true, .threads = threads, .clock = bench_cpu};
    struct reading one = {.fs = fs, .threads = 1};
    snprintf(title, sizeof title, "%s in order, GB of f32, threads: %d, of bare zstd 1", name,
             threads);
    struct bench_entry e[] = {
        {.name = "clipstill", .work = gb, .run = read_epoch, .ctx = &r},
        {.name = "limit: bare zstd", .work = gb, .run = bare_zstd, .ctx = &one, .goal = ">= 0.8"}};
    bench_table(title, "GB/s", e, 2, 3);
}

static void bench_shuffle(struct featureset *fs)
{
    struct bench_peer npy, lmdb;
    char n[20], dim[20];
    snprintf(n, sizeof n, "%d", PEER_N);
    snprintf(dim, sizeof dim, "%d", DIM);
    bench_peer_open(&npy, "numpy", "tests/peer_feature.py",
                    (const char *const[]){"npy", cache, n, dim, NULL});
    bench_peer_open(&lmdb, "py-lmdb", "tests/peer_feature.py",
                    (const char *const[]){"lmdb", cache, n, dim, NULL});
    struct reading r = {.fs = fs, .threads = 2, .clock = bench_cpu};
    double gb = (double)N * DIM * 4 / 1e9, peer_gb = (double)PEER_N * DIM * 4 / 1e9;
    struct bench_entry e[] = {
        {.name = "clipstill", .work = gb, .run = read_epoch, .ctx = &r},
        {.name = "mapped .npy of f32, shuffled", .work = peer_gb, .peer = &npy, .ask = "shuffle"},
        {.name = "mapped .npy of f32, in order", .work = peer_gb, .peer = &npy, .ask = "order"},
        {.name = "f32, shuffled", .work = peer_gb, .peer = &lmdb, .ask = "shuffle"},
        {.name = "f32, in order", .work = peer_gb, .peer = &lmdb, .ask = "order"}};
    bench_table("shuffled epoch of q1e-4, GB of f32, two threads   goal >= 2", "GB/s", e, 5, 3);
    printf("  anonymous memory: %.1f MB beside the caller's buffers\n", r.anonymous);
    fflush(stdout);
    bench_peer_close(&lmdb); /* the later one first: it holds a copy of the other's pipe */
    bench_peer_close(&npy);
}

static void bench_one(const char *name, enum codec_storage storage, const char *goal)
{
    static double us[GETS];
    struct error err = {0};
    struct featureset *fs = make(name, ONE_DIM, storage);
    for (uint32_t first = 0; first < ONE_N; first += PUT) put(fs, first);
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    bench_must(cur, &err);
    uint32_t n_blocks = ONE_N / fs->shape.n_slots;
    for (uint32_t i = 0; i < GETS; i++) { /* one after the other: none is in the cursor any more */
        uint32_t number = i % n_blocks * fs->shape.n_slots + i * 37 % fs->shape.n_slots;
        uint8_t key[DIGEST_BYTES] = {0};
        memcpy(key, &number, 4);
        double start = bench_cpu();
        bench_must(featureset_get(cur, 0, number, key, out, NULL, &err) == 0, &err);
        us[i] = (bench_cpu() - start) * 1e6;
    }
    qsort(us, GETS, sizeof *us, bench_by_value);
    printf("  %-10s %6.0f us, 99 of 100 within %.0f us   goal < %s\n", name, us[GETS / 2],
           us[GETS * 99 / 100], goal);
    fflush(stdout);
    featureset_cursor_free(cur);
    featureset_close(fs);
}

/* Out of memory with the set's file; false where that is not possible. */
static void drop(const char *name)
{
    struct error err = {0};
    char path[200];
    snprintf(path, sizeof path, "%s/features/%s/data.mdb", cache, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0) error_errno(&err, "cannot open %s", path);
    bench_must(fd >= 0, &err);
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static double cold_epoch(void *ctx)
{
    struct reading r = *(struct reading *)ctx;
    drop("q");
    r.fs = open_set("q");
    double seconds = read_epoch(&r);
    featureset_close(r.fs);
    return seconds;
}

/* Blocks in an order as random, each looked up, faulted in and unpacked before the next. */
static double cold_plain(void *ctx)
{
    struct error err = {0};
    struct kv_txn *txn = NULL;
    (void)ctx;
    drop("q");
    struct featureset *fs = open_set("q");
    uint32_t n_blocks = N / fs->shape.n_slots;
    double start = bench_wall();
    bench_must(kv_begin_read(fs->kv, &txn, &err) == 0, &err);
    for (uint32_t i = 0; i < n_blocks; i++) {
        uint8_t key[FEATURESET_KEY_BYTES];
        struct kv_bytes v;
        featureset_block_key(0, (uint32_t)((uint64_t)i * 2654435761u % n_blocks), key);
        bench_must(kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &v, &err) == 1, &err);
        bench_must(unpack(fs, v, 0), &err);
    }
    kv_abort(txn);
    double seconds = bench_wall() - start;
    featureset_close(fs);
    return seconds;
}

static void set_up(void)
{
    struct error err = {0};
    cache = bench_folder();
    pool = memory_array((uint64_t)PUT * ONE_DIM, sizeof *pool, MEMORY_MAX_FILE, &err);
    out = memory_array((uint64_t)BATCH * ONE_DIM, sizeof *out, MEMORY_MAX_FILE, &err);
    numbers = memory_array(PUT, sizeof *numbers, MEMORY_MAX_FILE, &err);
    keys = memory_array(PUT, sizeof *keys, MEMORY_MAX_FILE, &err);
    bench_must(pool && out && numbers && keys, &err);
    for (size_t i = 0; i < (size_t)PUT * ONE_DIM; i++) {
        size_t column = i % DIM; /* correlated a little, with a few large columns */
        pool[i] = bench_noise(2 * i) + bench_noise(2 * i + 1) +
                  (column % 97 == 5 ? 6.0f : 0.3f * sinf((float)column));
    }
    for (int i = 0; i < 2; i++) {
        z[i] = compress_new(&err);
        plain[i] = z[i] ? memory_array(2 << 20, 1, MEMORY_MAX_FILE, &err) : NULL;
        bench_must(plain[i], &err);
    }
}

/* GB of f32 a second of two cores. */
static double put_all(struct featureset *fs, int puts)
{
    double start = bench_cpu();
    for (int i = 0; i < puts; i++) put(fs, (uint32_t)i * PUT);
    return puts * (double)PUT * DIM * 4 / 1e9 / ((bench_cpu() - start) / 2);
}

int main(int argc, char **argv)
{
    (void)argc;
    /* threads that wait sleep: the processor's seconds are those of work */
    if (!getenv("OMP_WAIT_POLICY")) {
        setenv("OMP_WAIT_POLICY", "passive", 1);
        execv("/proc/self/exe", argv);
    }
    omp_set_num_threads(2);
    set_up();
    struct featureset *q = make("q", DIM, STORAGE_Q), *f32 = make("f32", DIM, STORAGE_F32);
    bench_load("put into a feature set, durable, GB of f32, two threads");
    printf("  q1e-4 %58.2f GB/s   goal >= 1\n", put_all(q, PUTS));
    printf("  f32 %60.2f GB/s\n", put_all(f32, 5));
    for (int threads = 1; threads <= 2; threads++) {
        bench_order(q, "q1e-4", threads);
        bench_order(f32, "f32", threads);
    }
    bench_shuffle(q);
    featureset_close(q);
    featureset_close(f32);
    bench_load("one vector of 1,024 values at random, its block not unpacked yet");
    bench_one("one.q1e-4", STORAGE_Q, "400 us");
    bench_one("one.f32", STORAGE_F32, "1 ms");
    struct reading r = {.threads = 2, .clock = bench_wall};
    double gb = (double)N * DIM * 4 / 1e9;
    struct bench_entry cold[] = {
        {.name = "clipstill, shuffled epoch", .work = gb, .run = cold_epoch, .ctx = &r},
        {.name = "plain random reads of the blocks", .work = gb, .run = cold_plain}};
    bench_table("the file not in memory, GB of f32, two threads against one", "GB/s", cold, 2, 3);
    for (int i = 0; i < 2; i++) {
        compress_free(z[i]);
        memory_free(plain[i]);
    }
    memory_free(pool);
    memory_free(out);
    memory_free(numbers);
    memory_free(keys);
    return 0;
}
