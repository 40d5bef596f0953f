/* An epoch has every vector once, in an order that (seed, epoch) decide and nothing else. Seeds are
 * fixed. */
#include "store/featureset_epoch.h"

#include <omp.h>
#include <unistd.h>

#include "store/block.h"
#include "store/featureset_inside.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

#define DIM  8
#define MANY 18200 /* 71 whole blocks and a part: more than a window */
#define ROOM (MANY + 4096)
#define HOLE 700 /* a number without a vector, and a zero vector behind it */

static uint8_t keys[MANY][DIGEST_BYTES];
static uint32_t numbers[MANY], order[ROOM], order2[ROOM];
static float vectors[MANY][DIM], rows[ROOM][DIM], norms[ROOM];
static uint64_t checks[ROOM];
static struct scratch scratch;
static char *const cache = scratch.folder;

static void make_vectors(void)
{
    uint64_t state = 11;
    for (uint32_t i = 0; i < MANY; i++) {
        numbers[i] = i < HOLE ? i : i + 1;
        digest_of(&numbers[i], sizeof numbers[i], keys[i]);
        for (int j = 0; j < DIM; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            vectors[i][j] = i == HOLE ? 0 : (float)((double)(state >> 33) / 1e9 - 1);
        }
        if (i % 50 == 1) /* under q1e-7 the codes of such a one leave int16: kept raw */
            for (int j = 1; j < DIM; j++) vectors[i][j] *= 1e-7f;
    }
}

static struct featureset *make_set(enum codec_storage storage, float epsilon, uint32_t n)
{
    struct error err = {0};
    struct featureset *fs = NULL;
    struct json *none = json_new_object();
    struct featureset_spec spec = {
        .name = "s", .tap = "image.final", .dim = DIM, .storage = storage};
    spec.epsilon = epsilon;
    spec.fingerprint = spec.replay = none;
    make_vectors();
    scratch_make(&scratch);
    if (featureset_create(&fs, cache, &spec, &err) < 0 ||
        featureset_put(fs, 1, n, numbers, keys, vectors[0], &err) < 0)
        CHECK_FAIL("no set: %s", err.text);
    json_free(none);
    return fs;
}

static void drop_set(struct featureset *fs)
{
    featureset_close(fs);
    scratch_remove(&scratch);
}

/* The whole epoch by `step` rows; returns their number or an error. */
static int64_t read_all(struct featureset *fs, const struct featureset_epoch_options *o,
                        uint32_t step, uint32_t *to, struct error *err)
{
    struct featureset_epoch *e;
    int64_t n = 0, got = featureset_epoch_open(&e, fs, o, err);
    while (got >= 0 && n <= MANY) {
        got = featureset_epoch_next(e, step, to + n, checks + n, norms + n, rows[n], err);
        if (got <= 0) break;
        n += got;
    }
    featureset_epoch_close(e);
    return got < 0 ? got : n;
}

/* Place of a number in the arrays. */
static uint32_t place(uint32_t number)
{
    return number < HOLE ? number : number - 1;
}

static void check_rows(struct featureset *fs, uint32_t n)
{
    struct error err;
    static uint8_t seen[MANY];
    float want[DIM], norm;
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = place(order[i]);
        CHECK(order[i] != HOLE && at < n && !seen[at]);
        if (at >= n) continue;
        seen[at] = 1;
        CHECK_OK(featureset_get(cur, 1, order[i], keys[at], want, &norm, &err), &err);
        CHECK(!memcmp(want, rows[i], sizeof want) && norm == norms[i]);
        CHECK(checks[i] == block_check_of(keys[at]));
    }
    featureset_cursor_free(cur);
}

TEST(every_vector_comes_once_as_get_has_it)
{
    static const struct {
        enum codec_storage storage;
        float epsilon;
    } KINDS[] = {{STORAGE_F32, 0},
                 {STORAGE_F16, 0},
                 {STORAGE_BF16, 0},
                 {STORAGE_Q, 1e-4f},
                 {STORAGE_Q, 1e-7f}};
    for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++)
        for (int in_order = 0; in_order < 2; in_order++) {
            struct error err = {0};
            struct featureset *fs = make_set(KINDS[k].storage, KINDS[k].epsilon, MANY);
            struct featureset_epoch_options o = {
                .view = 1, .seed = 3, .epoch = 2, .in_order = in_order};
            CHECK_EQ(read_all(fs, &o, 1000, order, &err), MANY);
            check_rows(fs, MANY);
            for (uint32_t i = 1; i < MANY && in_order; i++) CHECK(order[i] > order[i - 1]);
            drop_set(fs);
        }
}

TEST(the_order_is_of_seed_and_epoch_alone)
{
    struct error err = {0};
    struct featureset *fs = make_set(STORAGE_Q, 1e-3f, MANY);
    struct featureset_epoch_options o = {.view = 1, .seed = 3, .epoch = 2};
    int threads = omp_get_max_threads();
    CHECK_EQ(read_all(fs, &o, 4096, order, &err), MANY);
    omp_set_num_threads(1);
    CHECK_EQ(read_all(fs, &o, 4096, order2, &err), MANY);
    CHECK(!memcmp(order, order2, MANY * sizeof *order));
    omp_set_num_threads(3);
    CHECK_EQ(read_all(fs, &o, 17, order2, &err), MANY);
    CHECK(!memcmp(order, order2, MANY * sizeof *order));
    omp_set_num_threads(threads);
    for (int which = 0; which < 2; which++) {
        struct featureset_epoch_options other = o;
        *(which ? &other.seed : &other.epoch) += 1;
        CHECK_EQ(read_all(fs, &other, 4096, order2, &err), MANY);
        uint32_t n_same = 0;
        for (uint32_t i = 0; i < MANY; i++) n_same += order[i] == order2[i];
        CHECK(n_same < 20); /* one is expected of two random orders */
    }
    drop_set(fs);
}

/* The first thousand rows come from all blocks of a window, and a window is 64 blocks of all. */
TEST(a_batch_is_mixed_from_64_blocks)
{
    struct error err = {0};
    struct featureset *fs = make_set(STORAGE_Q, 1e-3f, MANY);
    struct featureset_epoch_options o = {.view = 1, .seed = 8};
    bool hit[MANY / 256 + 1] = {false};
    uint32_t n_blocks = 0, n_near = 0;
    CHECK_EQ(read_all(fs, &o, 4096, order, &err), MANY);
    for (int i = 0; i < 1000; i++) {
        n_blocks += !hit[order[i] / 256];
        hit[order[i] / 256] = true;
        n_near += order[i + 1] / 256 == order[i] / 256;
    }
    CHECK_EQ(n_blocks, FEATURESET_EPOCH_WINDOW);
    CHECK(n_near < 40); /* 1000 / 64 are expected */
    drop_set(fs);
}

TEST(empty_views_and_bad_options)
{
    struct error err = {0};
    struct featureset *fs = make_set(STORAGE_F16, 0, 10);
    struct featureset_epoch *e;
    struct featureset_epoch_options o = {.view = 0};
    CHECK_EQ(read_all(fs, &o, 5, order, &err), 0);
    o.view = 1;
    CHECK_EQ(read_all(fs, &o, 3, order, &err), 10);
    check_rows(fs, 10);
    o.window = FEATURESET_EPOCH_MAX_WINDOW + 1;
    CHECK_EQ(featureset_epoch_open(&e, fs, &o, &err), ERR_USAGE);
    CHECK_HAS(err.text, "4097 blocks");
    CHECK(!e);
    drop_set(fs);
}

TEST(a_damaged_block_ends_the_epoch_by_name)
{
    struct error err = {0};
    struct featureset *fs = make_set(STORAGE_Q, 1e-4f, MANY);
    struct featureset_epoch_options o = {.view = 1};
    struct kv_txn *txn;
    struct kv_bytes v;
    uint8_t key[FEATURESET_KEY_BYTES], copy[8192];
    featureset_block_key(1, 40, key);
    CHECK_OK(kv_begin_write(fs->kv, &txn, &err), &err);
    CHECK_EQ(kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &v, &err), 1);
    size_t n = v.n;
    CHECK(n <= sizeof copy);
    memcpy(copy, v.bytes, n);
    copy[n / 2] ^= 1;
    CHECK_OK(kv_put(txn, FEATURESET_BLOCKS, key, sizeof key, copy, n, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    CHECK_EQ(read_all(fs, &o, 4096, order, &err), ERR_CORRUPT);
    CHECK_HAS(err.text, "block 40 of view 1");
    CHECK_HAS(err.text, "features/s");

    struct featureset_epoch *e;
    o.window = 1;
    o.in_order = true;
    CHECK_OK(featureset_epoch_open(&e, fs, &o, &err), &err);
    featureset_block_key(1, 0, key);
    CHECK_OK(kv_begin_write(fs->kv, &txn, &err), &err);
    CHECK_OK(kv_delete(txn, FEATURESET_BLOCKS, key, sizeof key, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    CHECK_EQ(featureset_epoch_next(e, 1, order, checks, norms, rows[0], &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "block 0 of view 1 has gone");
    featureset_epoch_close(e);
    drop_set(fs);
}

TEST(every_failed_allocation_is_an_error_without_a_leak)
{
    struct error err = {0};
    struct featureset *fs = make_set(STORAGE_Q, 1e-4f, MANY);
    struct featureset_epoch_options o = {.view = 1};
    long nth = 1;
    for (; nth < 1000; nth++) {
        memory_fail_at(nth);
        int64_t n = read_all(fs, &o, 4096, order, &err);
        memory_fail_at(0);
        if (n == MANY) break;
        CHECK_EQ(n, ERR_NOMEM);
    }
    CHECK(nth > 60 && nth < 1000);
    drop_set(fs);
}

TEST_MAIN
