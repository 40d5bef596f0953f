/* Feature sets end to end on a real LMDB environment in /tmp. Seeds are fixed.
 *
 * covers: featureset_dump featureset_get featureset_meta featureset_put featureset_verify
 */
#include "store/featureset.h"

#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/featureset_inside.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

#define DIM 48
#define N   700 /* two whole blocks and a part of a third */

static uint8_t keys[N][DIGEST_BYTES];
static float vectors[N][DIM];
static uint32_t numbers[N];

static struct scratch scratch;
static char *const cache = scratch.folder;

static void make_data(void)
{
    uint64_t state = 7;
    for (uint32_t i = 0; i < N; i++) {
        numbers[i] = i;
        digest_of(&i, sizeof i, keys[i]);
        for (int j = 0; j < DIM; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            vectors[i][j] = i == 11
                                ? 0
                                : (float)((double)(state >> 33) / 1e9 - 1) + (j == 5 ? 8.f : 0.f);
        }
    }
}

static void set_up(void)
{
    make_data();
    scratch_make(&scratch);
}

static int create(struct featureset **fs, const char *name, enum codec_storage storage,
                  struct error *err)
{
    struct featureset_spec spec = {.tap = "image.final", .dim = DIM, .storage = storage};
    struct json *fingerprint = json_new_object(), *replay = json_new_object();
    strcpy(spec.name, name);
    spec.epsilon = storage == STORAGE_Q ? 1e-4f : 0;
    json_set_string(fingerprint, "weights", "w1");
    json_set_int(fingerprint, "max_tokens", 77);
    json_set_number(replay, "logit_scale", 4.6);
    spec.fingerprint = fingerprint;
    spec.replay = replay;
    spec.tokenizer = "pieces";
    spec.n_tokenizer = 6;
    int rc = featureset_create(fs, cache, &spec, err);
    json_free(fingerprint);
    json_free(replay);
    return rc;
}

static double miss(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < DIM; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return 1 - ab / sqrt(aa * bb);
}

static bool key_of(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    (void)context;
    if (number < N) memcpy(key, keys[number], DIGEST_BYTES);
    return number < N;
}

/* A dump's digest, and findings counted. */
struct heard {
    struct digest *digest;
    size_t n;
    char last[1400];
};

static int hear_line(void *context, const char *line)
{
    struct heard *h = context;
    digest_add(h->digest, line, strlen(line) + 1);
    h->n++;
    snprintf(h->last, sizeof h->last, "%s", line);
    return 0;
}

static void hear_finding(void *context, const char *text)
{
    struct heard *h = context;
    h->n++;
    snprintf(h->last, sizeof h->last, "%s", text);
}

static void dump_digest(struct featureset *fs, char hex[DIGEST_HEX], size_t *n)
{
    struct error err;
    struct heard h = {.digest = digest_new(&err)};
    uint8_t digest[DIGEST_BYTES];
    int rc = featureset_dump(fs, key_of, hear_line, &h, &err);
    if (rc < 0) CHECK_FAIL("dump: %s", err.text);
    digest_finish(h.digest, digest);
    digest_to_hex(digest, hex);
    *n = h.n;
}

static int n_findings(struct featureset *fs, struct heard *h)
{
    struct error err;
    *h = (struct heard){0};
    int n = featureset_verify(fs, key_of, hear_finding, h, NULL, &err);
    if (n < 0) CHECK_FAIL("verify: %s", err.text);
    CHECK_EQ(n, h->n);
    return n;
}

static void check_all(struct featureset *fs, uint32_t view, double bound)
{
    struct error err;
    float out[DIM], norm;
    uint8_t has[N];
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    CHECK(cur != NULL);
    CHECK_OK(featureset_has(fs, view, N, numbers, keys, has, &err), &err);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t at = i * 389 % N; /* not in order of blocks */
        CHECK_EQ(has[at], 1);
        CHECK_OK(featureset_get(cur, view, at, keys[at], out, &norm, &err), &err);
        if (at == 11) CHECK(norm == 0 && out[0] == 0);
        if (at != 11) CHECK(miss(vectors[at], out) <= bound);
    }
    featureset_cursor_free(cur);
}

TEST(what_is_put_is_got)
{
    static const double BOUND[] = {1e-13, 2.5e-7, 1e-4, 8e-6};
    struct error err;
    struct featureset *fs = NULL;
    struct heard h;
    set_up();
    for (enum codec_storage s = STORAGE_F32; s <= STORAGE_BF16; s++) {
        char name[8];
        snprintf(name, sizeof name, "set%d", (int)s);
        CHECK_OK(create(&fs, name, s, &err), &err);
        CHECK_EQ(featureset_n_views(fs), 0);
        CHECK_OK(featureset_put(fs, 0, N, numbers, keys, vectors[0], &err), &err);
        CHECK_OK(featureset_put(fs, 2, N, numbers, keys, vectors[0], &err), &err);
        check_all(fs, 0, BOUND[s]);
        featureset_close(fs);
        CHECK_OK(featureset_open(&fs, cache, name, FEATURESET_READ, &err), &err);
        check_all(fs, 2, BOUND[s]);
        CHECK_EQ(featureset_n_views(fs), 3);
        CHECK_EQ(featureset_n_vectors(fs, 0), N);
        CHECK_EQ(featureset_n_vectors(fs, 1), 0);
        CHECK_EQ(featureset_n_vectors(fs, 2), N);
        CHECK_EQ(n_findings(fs, &h), 0);
        CHECK_EQ(featureset_put(fs, 0, 1, numbers, keys, vectors[0], &err), ERR_USAGE);
        featureset_close(fs);
    }
    scratch_remove(&scratch);
}

TEST(meta_comes_back)
{
    struct error err;
    struct featureset *fs = NULL;
    char *tokenizer = NULL, **names = NULL;
    size_t n = 0;
    set_up();
    CHECK_OK(create(&fs, "b.final", STORAGE_Q, &err), &err);
    featureset_close(fs);
    CHECK_OK(create(&fs, "a.final", STORAGE_F16, &err), &err);
    featureset_close(fs);
    CHECK_EQ(create(&fs, "a.final", STORAGE_F16, &err), ERR_EXISTS);
    CHECK_EQ(create(&fs, "../x", STORAGE_F16, &err), ERR_USAGE);
    CHECK_OK(featureset_list(cache, &names, &n, &err), &err);
    CHECK_EQ(n, 2);
    CHECK_STR(names[0], "a.final");
    CHECK_STR(names[1], "b.final");
    memory_free(names);
    CHECK_OK(featureset_open(&fs, cache, "b.final", FEATURESET_READ, &err), &err);
    const struct featureset_spec *spec = featureset_spec(fs);
    CHECK_STR(spec->name, "b.final");
    CHECK_STR(spec->tap, "image.final");
    CHECK_EQ(spec->dim, DIM);
    CHECK_EQ(spec->storage, STORAGE_Q);
    CHECK(spec->epsilon == 1e-4f);
    CHECK_NEAR(json_number(json_get(spec->replay, "logit_scale"), 0), 4.6, 0);
    CHECK_OK(featureset_tokenizer(fs, &tokenizer, &n, &err), &err);
    CHECK_EQ(n, 6);
    CHECK_STR(tokenizer, "pieces");
    memory_free(tokenizer);
    featureset_close(fs);
    CHECK_EQ(featureset_open(&fs, cache, "c", FEATURESET_READ, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "a.final, b.final");
    scratch_remove(&scratch);
}

TEST(a_foreign_fingerprint_is_named)
{
    struct error err;
    struct featureset *fs = NULL;
    set_up();
    CHECK_OK(create(&fs, "s", STORAGE_Q, &err), &err);
    struct json *same = json_clone(featureset_spec(fs)->fingerprint), *other = json_clone(same);
    CHECK_OK(featureset_check(fs, same, &err), &err);
    json_set_string(other, "weights", "w2");
    json_set_int(other, "threads", 3);
    CHECK_EQ(featureset_check(fs, other, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "weights (expected \"w1\", found \"w2\")");
    CHECK_HAS(err.text, "threads (expected absent, found 3)");
    CHECK(!strstr(err.text, "max_tokens"));
    struct json *less = json_new_object();
    json_set_string(less, "weights", "w1");
    CHECK_EQ(featureset_check(fs, less, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "max_tokens (expected 77, found absent)");
    json_free(same);
    json_free(other);
    json_free(less);
    featureset_close(fs);
    scratch_remove(&scratch);
}

TEST(partial_blocks_fill_up)
{
    struct error err;
    struct featureset *fs = NULL;
    uint8_t has[N];
    float out[DIM];
    set_up();
    CHECK_OK(create(&fs, "s", STORAGE_Q, &err), &err);
    CHECK_OK(featureset_put(fs, 0, 10, numbers + 250, keys + 250, vectors[250], &err), &err);
    CHECK_OK(featureset_has(fs, 0, N, numbers, keys, has, &err), &err);
    for (int i = 0; i < N; i++) CHECK_EQ(has[i], i >= 250 && i < 260);
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    CHECK_EQ(featureset_get(cur, 0, 249, keys[249], out, NULL, &err), ERR_NOT_FOUND);
    CHECK_EQ(featureset_get(cur, 0, 600, keys[600], out, NULL, &err), ERR_NOT_FOUND);
    CHECK_EQ(featureset_get(cur, 1, 250, keys[250], out, NULL, &err), ERR_NOT_FOUND);
    CHECK_OK(featureset_put(fs, 0, 260, numbers, keys, vectors[0], &err), &err);
    CHECK_OK(featureset_get(cur, 0, 249, keys[249], out, NULL, &err), &err);
    CHECK_EQ(featureset_n_vectors(fs, 0), 260);
    featureset_cursor_free(cur);
    featureset_close(fs);
    scratch_remove(&scratch);
}

TEST(another_key_or_vector_is_refused)
{
    struct error err;
    struct featureset *fs = NULL;
    uint8_t has[1];
    float out[DIM];
    set_up();
    CHECK_OK(create(&fs, "s", STORAGE_Q, &err), &err);
    CHECK_OK(featureset_put(fs, 0, 300, numbers, keys, vectors[0], &err), &err);
    uint64_t stored, again, as_f32;
    featureset_bytes(fs, &stored, &as_f32);
    CHECK_EQ(as_f32, 300 * DIM * 4);
    CHECK_OK(featureset_put(fs, 0, 300, numbers, keys, vectors[0], &err), &err);
    featureset_bytes(fs, &again, &as_f32);
    CHECK_EQ(stored, again);

    CHECK_EQ(featureset_put(fs, 0, 1, numbers + 5, keys + 5, vectors[6], &err), ERR_EXISTS);
    CHECK_EQ(featureset_put(fs, 0, 1, numbers + 5, keys + 6, vectors[5], &err), ERR_CORRUPT);
    CHECK_EQ(featureset_has(fs, 0, 1, numbers + 5, keys + 6, has, &err), ERR_CORRUPT);
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    CHECK_EQ(featureset_get(cur, 0, 5, keys[6], out, NULL, &err), ERR_CORRUPT);
    CHECK_HAS(err.text, "another key");
    featureset_cursor_free(cur);

    uint32_t twice[2] = {400, 400};
    uint8_t same_keys[2][DIGEST_BYTES];
    memcpy(same_keys[0], keys[400], DIGEST_BYTES);
    memcpy(same_keys[1], keys[400], DIGEST_BYTES);
    CHECK_EQ(featureset_put(fs, 0, 2, twice, same_keys, vectors[400], &err), ERR_EXISTS);
    CHECK_EQ(featureset_n_vectors(fs, 0), 300);
    featureset_close(fs);
    scratch_remove(&scratch);
}

/* A record given twice with equal vectors is one, also behind a block that is full. */
TEST(a_record_given_twice_is_stored_once)
{
    struct error err;
    struct featureset *fs = NULL;
    static uint32_t twice[257];
    static uint8_t twice_keys[257][DIGEST_BYTES];
    static float twice_vectors[257][DIM];
    set_up();
    CHECK_OK(create(&fs, "s", STORAGE_F32, &err), &err);
    for (uint32_t i = 0; i < 257; i++) {
        uint32_t from = i < 256 ? i : 255;
        twice[i] = from;
        memcpy(twice_keys[i], keys[from], DIGEST_BYTES);
        memcpy(twice_vectors[i], vectors[from], sizeof vectors[from]);
    }
    CHECK_OK(featureset_put(fs, 0, 257, twice, (const uint8_t(*)[DIGEST_BYTES])twice_keys,
                            twice_vectors[0], &err),
             &err);
    CHECK_EQ(featureset_n_vectors(fs, 0), 256);
    featureset_close(fs);
    scratch_remove(&scratch);
}

TEST(a_nan_stores_nothing)
{
    struct error err;
    struct featureset *fs = NULL;
    set_up();
    CHECK_OK(create(&fs, "s", STORAGE_Q, &err), &err);
    vectors[321][3] = NAN;
    CHECK_EQ(featureset_put(fs, 0, N, numbers, keys, vectors[0], &err), ERR_DATA);
    CHECK_HAS(err.text, "row 321");
    CHECK_EQ(featureset_n_vectors(fs, 0), 0);
    CHECK_EQ(featureset_n_views(fs), 0);
    featureset_close(fs);
    scratch_remove(&scratch);
}

/* Fills a set in one of several ways; all must give the same dump. */
static void fill(struct featureset *fs, int way)
{
    struct error err = {0};
    int rc = 0;
    if (way == 0) rc = featureset_put(fs, 0, N, numbers, keys, vectors[0], &err);
    for (uint32_t i = N; way == 1 && i-- > 0 && rc == 0;) /* one by one, backwards: 20 of them */
        rc = i % 35 ? 0 : featureset_put(fs, 0, 1, numbers + i, keys + i, vectors[i], &err);
    if (way == 1 && rc == 0) rc = featureset_put(fs, 0, N, numbers, keys, vectors[0], &err);
    if (way == 2) {
        static float shuffled[N][DIM];
        static uint8_t shuffled_keys[N][DIGEST_BYTES];
        uint32_t order[N];
        for (uint32_t i = 0; i < N; i++) {
            order[i] = i * 389 % N;
            memcpy(shuffled[i], vectors[order[i]], sizeof shuffled[i]);
            memcpy(shuffled_keys[i], keys[order[i]], DIGEST_BYTES);
        }
        rc = featureset_put(fs, 0, 333, order, shuffled_keys, shuffled[0], &err);
        if (rc == 0)
            rc = featureset_put(fs, 0, N - 333, order + 333, shuffled_keys + 333, shuffled[333],
                                &err);
    }
    if (rc < 0) CHECK_FAIL("put: %s", err.text);
}

TEST(dump_depends_on_neither_order_nor_threads)
{
    struct error err;
    char hex[9][DIGEST_HEX];
    size_t n;
    int before = omp_get_max_threads();
    set_up();
    for (int run = 0; run < 9; run++) {
        struct featureset *fs = NULL;
        omp_set_num_threads(run / 3 + 1);
        CHECK_OK(create(&fs, "s", STORAGE_Q, &err), &err);
        fill(fs, run % 3);
        dump_digest(fs, hex[run], &n);
        CHECK_EQ(n, N + 4);
        CHECK_STR(hex[run], hex[0]);
        featureset_close(fs);
        char *folder = file_join(cache, "features/s", &err);
        CHECK_OK(file_remove_folder(folder, &err), &err);
        memory_free(folder);
    }
    omp_set_num_threads(before);
    scratch_remove(&scratch);
}

/* The child puts batch after batch and is killed in the middle of it; what it had committed is
 * whole, and the rest can go on. */
static void put_until_killed(void)
{
    struct error err;
    struct featureset *fs = NULL;
    omp_set_num_threads(1); /* OpenMP's threads of the parent are gone here */
    if (featureset_open(&fs, cache, "s", FEATURESET_WRITE, &err) < 0) _exit(1);
    for (uint32_t i = 0; i + 20 <= N; i += 20)
        if (featureset_put(fs, 0, 20, numbers + i, keys + i, vectors[i], &err) < 0) _exit(2);
    pause();
    _exit(3);
}

TEST(kill_nine_leaves_whole_batches)
{
    struct error err;
    struct featureset *fs = NULL;
    struct heard h;
    char hex[2][DIGEST_HEX];
    size_t n;
    set_up();
    CHECK_OK(create(&fs, "whole", STORAGE_Q, &err), &err);
    CHECK_OK(featureset_put(fs, 0, N, numbers, keys, vectors[0], &err), &err);
    CHECK_EQ(n_findings(fs, &h), 0);
    featureset_close(fs);
    CHECK_OK(create(&fs, "s", STORAGE_Q, &err), &err);
    featureset_close(fs);
    for (int round = 0; round < 5; round++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) put_until_killed();
        usleep(2000 + 7000 * (useconds_t)round);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        CHECK(WIFSIGNALED(status));
        CHECK_OK(featureset_open(&fs, cache, "s", FEATURESET_READ, &err), &err);
        CHECK_EQ(featureset_n_vectors(fs, 0) % 20, 0);
        if (n_findings(fs, &h)) CHECK_FAIL("finding: %s", h.last);
        featureset_close(fs);
    }
    CHECK_OK(featureset_open(&fs, cache, "s", FEATURESET_WRITE, &err), &err);
    CHECK_OK(featureset_put(fs, 0, N, numbers, keys, vectors[0], &err), &err);
    CHECK_EQ(featureset_n_vectors(fs, 0), N);
    featureset_close(fs);
    char *whole = file_join(cache, "features/whole", &err),
         *s = file_join(cache, "features/s", &err);
    for (int i = 0; i < 2; i++) { /* the dump holds the set's name: give both the same */
        CHECK_OK(featureset_open(&fs, cache, "s", FEATURESET_READ, &err), &err);
        dump_digest(fs, hex[i], &n);
        featureset_close(fs);
        CHECK_OK(file_remove_folder(s, &err), &err);
        if (i == 0) CHECK_EQ(rename(whole, s), 0);
    }
    CHECK_STR(hex[0], hex[1]);
    memory_free(whole);
    memory_free(s);
    scratch_remove(&scratch);
}

/* Writes a meta value behind the set's back: with its checksum, or raw. */
static int tamper(const char *name, const void *bytes, size_t n, bool raw, struct error *err)
{
    static const char *const TABLES[] = {"blocks", "meta"};
    struct kv_config config = {.mode = KV_WRITE, .tables = TABLES, .n_tables = 2};
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    char *folder = file_join(cache, "features/s", err);
    int rc = kv_open(&kv, folder, &config, err);
    if (rc == 0) rc = kv_begin_write(kv, &txn, err);
    if (rc == 0 && raw) rc = kv_put(txn, FEATURESET_META, name, strlen(name), bytes, n, err);
    if (rc == 0 && !raw) rc = featureset_meta_put(txn, name, bytes, n, err);
    if (rc == 0) rc = kv_commit(txn, err);
    kv_close(kv);
    memory_free(folder);
    return rc;
}

TEST(another_version_or_damaged_meta_is_refused)
{
    struct error err;
    struct featureset *fs = NULL;
    uint32_t format = FEATURESET_FORMAT + 1;
    set_up();
    CHECK_OK(create(&fs, "s", STORAGE_Q, &err), &err);
    featureset_close(fs);
    CHECK_OK(tamper("format", &format, sizeof format, false, &err), &err);
    CHECK_EQ(featureset_open(&fs, cache, "s", FEATURESET_READ, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "version 2");
    format = FEATURESET_FORMAT;
    CHECK_OK(tamper("format", &format, sizeof format, false, &err), &err);
    CHECK_OK(featureset_open(&fs, cache, "s", FEATURESET_READ, &err), &err);
    featureset_close(fs);
    CHECK_OK(tamper("counts", "0123456789012345ckecksum", 24, true, &err), &err);
    CHECK_EQ(featureset_open(&fs, cache, "s", FEATURESET_READ, &err), ERR_CORRUPT);
    CHECK_HAS(err.text, "checksum");
    scratch_remove(&scratch);
}

/* Every allocation of opening and putting fails once: an error, no crash, and nothing stored. */
TEST(every_failed_allocation_is_an_error)
{
    struct error err;
    struct featureset *fs = NULL;
    long nth = 1;
    set_up();
    CHECK_OK(create(&fs, "s", STORAGE_Q, &err), &err);
    featureset_close(fs);
    for (bool done = false; !done && nth < 500; nth++) {
        memory_fail_at(nth);
        int rc = featureset_open(&fs, cache, "s", FEATURESET_WRITE, &err);
        if (rc == 0) rc = featureset_put(fs, 0, N, numbers, keys, vectors[0], &err);
        memory_fail_at(0);
        done = rc == 0;
        if (!done) CHECK_EQ(rc, ERR_NOMEM);
        if (fs) CHECK_EQ(featureset_n_vectors(fs, 0), done ? N : 0);
        featureset_close(fs);
    }
    CHECK(nth > 20 && nth < 500);
    scratch_remove(&scratch);
}

/* Flips a bit of the data file, or cuts it there. */
static bool damage(const char *name, off_t at, bool cut)
{
    char path[200];
    snprintf(path, sizeof path, "%s/features/%s/data.mdb", cache, name);
    if (cut) return truncate(path, at) == 0;
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;
    bool ok = fd >= 0 && pread(fd, &byte, 1, at) == 1;
    byte ^= 0x10;
    ok = ok && pwrite(fd, &byte, 1, at) == 1;
    if (fd >= 0) close(fd);
    return ok;
}

TEST(verify_finds_damage)
{
    struct error err;
    struct featureset *fs = NULL;
    struct heard h;
    float out[DIM];
    set_up();
    CHECK_OK(create(&fs, "s", STORAGE_F32, &err), &err);
    CHECK_OK(featureset_put(fs, 0, N, numbers, keys, vectors[0], &err), &err);
    CHECK_EQ(n_findings(fs, &h), 0);
    keys[300][0] ^= 1; /* the corpus says another key */
    CHECK_EQ(n_findings(fs, &h), 1);
    CHECK_HAS(h.last, "record 300 of view 0");
    keys[300][0] ^= 1;
    uint64_t stored, as_f32;
    featureset_bytes(fs, &stored, &as_f32);
    featureset_close(fs);
    CHECK(damage("s", (off_t)stored / 2, false)); /* in the middle of the blocks' overflow pages */
    CHECK_OK(featureset_open(&fs, cache, "s", FEATURESET_READ, &err), &err);
    CHECK(n_findings(fs, &h) >= 1);
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    int n_corrupt = 0;
    for (uint32_t i = 0; i < N; i++)
        n_corrupt += featureset_get(cur, 0, i, keys[i], out, NULL, &err) == ERR_CORRUPT;
    CHECK(n_corrupt > 0 && n_corrupt < N);
    featureset_cursor_free(cur);
    CHECK(damage("s", (off_t)stored / 3,
                 true)); /* the file is cut under the open map: a SIGBUS in the child */
    CHECK(n_findings(fs, &h) >= 1);
    featureset_close(fs);
    scratch_remove(&scratch);
}

TEST_MAIN
