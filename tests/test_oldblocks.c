/* Sets whose blocks are of version 1, as caches made before version 2 have them, are read, checked, added to,
 * merged, forgotten from and salvaged like others; what is written into them is of version 2. */
#include <stdlib.h>
#include <unistd.h>

#include "store/digest.h"
#include "store/featureset_epoch.h"
#include "store/featureset_inside.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/salvage.h"
#include "tests/scratch.h"

enum { DIM = 48, N = 700, HALF = 300 }; /* block 1 of three is filled by two puts */

static struct scratch scratch;
static char *const cache = scratch.folder;
static uint8_t keys[N][DIGEST_BYTES];
static float vectors[N][DIM];
static uint32_t numbers[N];
static struct error err;

static void set_up(void)
{
    uint64_t state = 7;
    for (uint32_t i = 0; i < N; i++) {
        numbers[i] = i;
        digest_of(&i, sizeof i, keys[i]);
        for (int j = 0; j < DIM; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            vectors[i][j] = (float)((double)(state >> 33) / 1e9 - 1);
        }
    }
    scratch_make(&scratch);
}

/* A set of the first n vectors, open for writing. */
static void make(struct featureset **fs, const char *name, size_t n)
{
    struct featureset_spec spec = {
        .tap = "text.final", .tower = TOWER_TEXT, .dim = DIM, .storage = STORAGE_Q};
    struct json *none = json_new_object();
    strcpy(spec.name, name);
    spec.epsilon = 1e-4f;
    spec.fingerprint = spec.replay = none;
    CHECK_OK(featureset_create(fs, cache, &spec, &err), &err);
    json_free(none);
    CHECK_OK(
        featureset_put(*fs, 0, n, numbers, (const uint8_t(*)[DIGEST_BYTES])keys, vectors[0], &err),
        &err);
}

static void check_version(struct featureset *fs, uint32_t block, int version)
{
    struct kv_txn *txn = NULL;
    struct kv_bytes v = {0};
    uint8_t key[FEATURESET_KEY_BYTES];
    featureset_block_key(0, block, key);
    CHECK_OK(kv_begin_read(fs->kv, &txn, &err), &err);
    CHECK_EQ(kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &v, &err), 1);
    CHECK_EQ(v.bytes[4], version);
    kv_abort(txn);
}

/* Every block as version 1 has it, and the set digest with it. */
static void make_old(struct featureset *fs)
{
    static struct featureset_counts counts;
    static uint8_t record[1 << 20];
    struct kv_txn *txn = NULL;
    CHECK_OK(kv_begin_write(fs->kv, &txn, &err), &err);
    CHECK_OK(featureset_counts_get(txn, &counts, &err), &err);
    counts.digest = 0;
    for (uint32_t i = 0; i < counts.n_blocks; i++) {
        struct kv_bytes v;
        uint8_t key[FEATURESET_KEY_BYTES];
        featureset_block_key(0, i, key);
        CHECK_EQ(kv_get(txn, FEATURESET_BLOCKS, key, sizeof key, &v, &err), 1);
        size_t n = v.n;
        memcpy(record, v.bytes, n);
        record[4] = 1;
        uint64_t sum = digest_short(record, n - 8);
        memcpy(record + n - 8, &sum, 8);
        counts.digest += sum;
        CHECK_OK(kv_put(txn, FEATURESET_BLOCKS, key, sizeof key, record, n, &err), &err);
    }
    CHECK_OK(featureset_counts_put(txn, &counts, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    check_version(fs, 0, 1);
}

static bool key_of(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    (void)context;
    if (number < N) memcpy(key, keys[number], DIGEST_BYTES);
    return number < N;
}

static void tell(void *context, const char *text)
{
    (void)context;
    CHECK_FAIL("%s", text);
}

static int hash_line(void *context, const char *line)
{
    digest_add(context, line, strlen(line) + 1);
    return 0;
}

/* Both sets are sound, and one dump but for their names. */
static void check_equal(struct featureset *a, struct featureset *b)
{
    struct featureset *const sets[2] = {a, b};
    uint8_t digest[2][DIGEST_BYTES];
    char name[FEATURESET_NAME_MAX + 1];
    for (int i = 0; i < 2; i++) {
        struct digest *d = digest_new(&err);
        strcpy(name, sets[i]->spec.name);
        strcpy(sets[i]->spec.name, "same");
        CHECK_OK(featureset_dump(sets[i], key_of, hash_line, d, &err), &err);
        strcpy(sets[i]->spec.name, name);
        digest_finish(d, digest[i]);
        CHECK_EQ(featureset_verify(sets[i], key_of, tell, NULL, NULL, &err), 0);
    }
    CHECK(!memcmp(digest[0], digest[1], DIGEST_BYTES));
}

static void check_epoch(struct featureset *fs, uint32_t n)
{
    struct featureset_epoch_options o = {.seed = 3};
    struct featureset_epoch *e = NULL;
    static float rows[N][DIM];
    CHECK_OK(featureset_epoch_open(&e, fs, &o, &err), &err);
    CHECK_EQ(featureset_epoch_next(e, N, NULL, NULL, NULL, rows[0], &err), n);
    featureset_epoch_close(e);
}

static int here(void *context, uint32_t number, uint32_t *to, uint8_t key[DIGEST_BYTES],
                struct error *e)
{
    (void)e;
    *to = number;
    return key_of(context, number, key);
}

static void check_merge(struct featureset *into, struct featureset *from, uint64_t n_new,
                        uint64_t n_equal)
{
    struct featureset_merge_counts counts;
    CHECK_OK(featureset_merge(into, from, false, here, NULL, NULL, &counts, &err), &err);
    CHECK_EQ(counts.n_new, n_new);
    CHECK_EQ(counts.n_equal, n_equal);
}

TEST(old_blocks_are_read_and_added_to)
{
    set_up();
    struct featureset *old = NULL, *fresh = NULL;
    make(&old, "old", HALF);
    make(&fresh, "new", HALF);
    make_old(old);
    check_equal(old, fresh);
    check_epoch(old, HALF);
    for (int i = 0; i < 2; i++)
        CHECK_OK(featureset_put(i ? old : fresh, 0, N, numbers,
                                (const uint8_t(*)[DIGEST_BYTES])keys, vectors[0], &err),
                 &err);
    check_version(old, 0, 1); /* nothing came: it stays as it is */
    check_version(old, 1, 2);
    check_version(old, 2, 2);
    check_equal(old, fresh);
    check_epoch(old, N);
    featureset_close(old);
    featureset_close(fresh);
    scratch_remove(&scratch);
}

TEST(old_and_new_blocks_merge)
{
    set_up();
    struct featureset *old = NULL, *fresh = NULL, *third = NULL;
    make(&old, "old", N);
    make(&fresh, "new", HALF);
    make(&third, "third", 1);
    make_old(old);
    check_merge(old, fresh, 0, HALF);
    check_version(old, 1, 1);
    check_merge(fresh, old, N - HALF, HALF);
    check_merge(fresh, old, 0, N);
    check_equal(old, fresh);
    make_old(third);
    check_merge(third, old, N - 1, 1);
    check_version(third, 0, 2);
    check_equal(third, fresh);
    featureset_close(old);
    featureset_close(fresh);
    featureset_close(third);
    scratch_remove(&scratch);
}

TEST(old_blocks_are_forgotten_from)
{
    static const uint32_t GONE[] = {3, 299};
    uint64_t n_gone;
    set_up();
    struct featureset *old = NULL, *fresh = NULL;
    make(&old, "old", HALF);
    make(&fresh, "new", HALF);
    make_old(old);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(featureset_forget(i ? old : fresh, 2, GONE, false, &n_gone, &err), &err);
        CHECK_EQ(n_gone, 2);
    }
    check_version(old, 0, 2);
    check_equal(old, fresh);
    featureset_close(old);
    featureset_close(fresh);
    scratch_remove(&scratch);
}

/* One bit in the planes of every record of this block and version that lies in old's file, free pages
 * and all; returns how many there were. */
static int spoil(char *file, size_t n, uint8_t version, uint8_t block)
{
    const uint8_t head[16] = {'C', 'S', 'F', 'B', version, 0, STORAGE_Q, 0, 0, 0, 0, 0, block};
    const size_t planes = 40 + 2 * 32 + 12 * 256;
    int n_spoilt = 0;
    for (size_t at = 0; at + planes + 100 < n; at++) {
        if (memcmp(file + at, head, sizeof head) != 0) continue;
        file[at + planes + 90] ^= 4;
        n_spoilt++;
    }
    return n_spoilt;
}

static void count(void *context, const char *text)
{
    (void)text;
    ++*(int *)context;
}

/* Block 0 of old is of version 1, blocks 1 and 2 of version 2; what block 1 was lies in free pages. */
TEST(old_blocks_are_salvaged)
{
    enum { SOUND, SPOILT, NO_HEADS, CASES };
    static const uint64_t KEPT[CASES] = {N, N - 256, N};
    struct featureset *old = NULL, *fresh = NULL;
    char path[100], *file = NULL;
    size_t n;
    set_up();
    make(&old, "old", HALF);
    make(&fresh, "new", N);
    make_old(old);
    CHECK_OK(
        featureset_put(old, 0, N, numbers, (const uint8_t(*)[DIGEST_BYTES])keys, vectors[0], &err),
        &err);
    check_version(old, 0, 1);
    check_version(old, 1, 2);
    featureset_close(old);
    snprintf(path, sizeof path, "%s/features/old/data.mdb", cache);
    CHECK_OK(file_read(path, 1 << 26, &file, &n, &err), &err);
    spoil(file, n, 2, 0); /* else it could be kept by what it was before it was made old */
    for (int i = 0; i < CASES; i++) {
        int n_told = 0;
        struct salvage how = {.cache = cache, .lost = count, .context = &n_told};
        struct salvage_result result = {0};
        if (i != SOUND) CHECK(spoil(file, n, 1, 0) > 0); /* the second time it mends */
        if (i == NO_HEADS) memset(file, 0, 2 * 4096);
        CHECK_OK(file_write(path, file, n, &err), &err);
        CHECK_OK(salvage_featureset(&how, "old", key_of, NULL, N, &result, &err), &err);
        CHECK(!result.is_gone);
        CHECK_EQ(result.kept.n_vectors, KEPT[i]);
        CHECK_EQ(n_told, i == SPOILT);
        CHECK_OK(featureset_open(&old, cache, "old", FEATURESET_WRITE, &err), &err);
        CHECK_OK(featureset_put(old, 0, N, numbers, (const uint8_t(*)[DIGEST_BYTES])keys,
                                vectors[0], &err),
                 &err);
        check_version(old, 0, 2);
        check_equal(old, fresh);
        featureset_close(old);
    }
    memory_free(file);
    featureset_close(fresh);
    scratch_remove(&scratch);
}

TEST_MAIN
