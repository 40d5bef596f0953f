/* The corpus: nothing twice, nothing lost, nothing half, and every flipped byte found.
 *
 * covers: corpusdump corpuslookup corpusrecord corpusreject corpusverify
 */
#include "store/corpus.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/corpusrecord.h"
#include "store/file.h"
#include "store/format.h"
#include "store/memory.h"
#include "tests/scratch.h"
#include "tests/dumptext.h"

static struct scratch scratch;
static char *const cache = scratch.folder;
static struct error err;

static int wait_for(pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

/* Picture i: 100 to 9,000 bytes that look like nothing. */
static size_t picture_of(int i, char bytes[9000])
{
    size_t n = 100 + (size_t)i * 977 % 8900;
    for (size_t k = 0; k < n; k++) bytes[k] = (char)(i * 31 + (int)k * 7 + (int)(k >> 8));
    return n;
}

static int text_of(int i, char text[64])
{
    return snprintf(text, 64, "caption %d, красное яблоко", i);
}

/* Row i: picture i % 40 with caption i % 70; two languages, two sources, labels now and then. */
static int add_row(struct corpus *c, int i)
{
    char bytes[9000], text[64], id[32], label[32];
    uint32_t image_number = 0, caption_number = 0;
    uint16_t language = 0, source = 0, label_id = CORPUS_NO_NAME;
    bool is_new, changed;
    struct corpus_image image = {.width_px = 10 + (uint32_t)(i % 40),
                                 .height_px = 20,
                                 .format = IMAGE_JPEG,
                                 .orientation = 1};
    size_t n = picture_of(i % 40, bytes);
    int rc = corpus_add_image(c, &image, bytes, n, &image_number, &is_new, &err);
    int n_text = text_of(i % 70, text);
    if (rc == 0) rc = corpus_add_caption(c, text, (size_t)n_text, &caption_number, &is_new, &err);
    if (rc == 0) rc = corpus_intern(c, NAME_LANGUAGE, i % 2 ? "ru" : "en", &language, &err);
    if (rc == 0) rc = corpus_intern(c, NAME_SOURCE, i % 3 ? "web" : "field", &source, &err);
    snprintf(label, sizeof label, "label %d", i % 5);
    if (rc == 0 && i % 4 == 0) rc = corpus_intern(c, NAME_LABEL, label, &label_id, &err);
    struct corpus_pair pair = {.image = image_number,
                               .caption = caption_number,
                               .language = language,
                               .source = source,
                               .label = label_id,
                               .split = (uint8_t)(i % 3),
                               .weight = 1 + 0.5f * (float)(i % 2)};
    snprintf(text, sizeof text, "  Caption %d ", i);
    if (rc == 0)
        rc = corpus_add_pair(c, &pair, i % 7 ? NULL : text, strlen(text), &is_new, &changed, &err);
    snprintf(id, sizeof id, "id-%d", i % 40);
    if (rc == 0) rc = corpus_add_id(c, source, id, image.key, &err);
    struct corpus_reject reject = {.source = "/a/b/pairs.tsv",
                                   .line = (uint64_t)i,
                                   .reason = "missing-file",
                                   .message = "no such file",
                                   .record = id};
    if (rc == 0 && i % 10 == 0) rc = corpus_add_reject(c, &reject, NULL, NULL, &err);
    return rc;
}

/* Rows 0..99 in the order i * step mod 100, `batch` at a time. */
static int ingest(int step, int batch)
{
    struct corpus *c = NULL;
    int rc = corpus_open(&c, cache, CORPUS_WRITE, &err);
    for (int i = 0; rc == 0 && i < 100; i++) {
        if (i % batch == 0) rc = corpus_begin(c, &err);
        if (rc == 0) rc = add_row(c, i * step % 100);
        if (rc == 0 && i == 50) rc = corpus_set_classes(c, "{\"b\": [1, 2],  \"a\": \"x\"}", &err);
        if (rc == 0 && (i % batch == batch - 1 || i == 99)) rc = corpus_commit(c, &err);
    }
    corpus_close(c);
    return rc;
}

/* Owned; "" on failure. */
static char *dump(void)
{
    struct corpus *c = NULL;
    struct text t = {0};
    int rc = corpus_open(&c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = corpus_dump(c, append, &t, &err);
    corpus_close(c);
    if (rc == 0 && t.p) return t.p;
    CHECK_FAIL("dump failed: %s", err.text);
    memory_free(t.p);
    return memory_string("", NULL);
}

static void print_finding(void *context, const char *text)
{
    (void)context;
    CHECK_FAIL("%s", text);
}

static void count_finding(void *context, const char *text)
{
    struct text *t = context;
    append(t, text);
}

/* Findings; their text in *t. */
static int verify(struct text *t)
{
    struct corpus *c = NULL;
    int rc = corpus_open(&c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = corpus_verify(c, count_finding, t, NULL, &err);
    corpus_close(c);
    return rc;
}

static int n_lines(const char *text, const char *word)
{
    int n = 0;
    for (const char *p = text; *p; p = strchr(p, '\n') + 1)
        n += !strncmp(p, word, strlen(word)) && p[strlen(word)] == ' ';
    return n;
}

TEST(corpus_same_rows_in_any_order_and_batches_dump_the_same)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    char *one = dump();
    CHECK_EQ(n_lines(one, "image"), 40);
    CHECK_EQ(n_lines(one, "caption"), 70);
    CHECK_EQ(n_lines(one, "pair"), 100);
    CHECK_EQ(n_lines(one, "reject"), 10);
    CHECK_EQ(n_lines(one, "classes"), 1);
    CHECK(!strstr(one, "/a/b"));
    CHECK_HAS(one, "\"source\":\"pairs.tsv\"");
    CHECK_HAS(one, "красное яблоко");
    CHECK_HAS(one, "\"original\":\"  Caption 7 \"");
    CHECK_OK(ingest(1, 7), &err); /* again: nothing changes */
    char *again = dump();
    CHECK_STR(one, again);
    struct text findings = {0};
    CHECK_EQ(verify(&findings), 0);
    CHECK(!findings.p);
    scratch_remove(&scratch);
    scratch_make(&scratch);
    CHECK_OK(ingest(37, 9), &err);
    char *other = dump();
    CHECK_STR(one, other);
    scratch_remove(&scratch);
    memory_free(one);
    memory_free(again);
    memory_free(other);
}

TEST(corpus_counts_and_reads_back)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 30), &err);
    struct corpus *c;
    struct corpus_counts counts;
    CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
    CHECK_OK(corpus_counts(c, &counts, &err), &err);
    CHECK_EQ(counts.n_images, 40);
    CHECK_EQ(counts.n_captions, 70);
    CHECK_EQ(counts.n_pairs, 100);
    CHECK_EQ(counts.n_sources, 2);
    CHECK_EQ(counts.n_rejects, 10);
    CHECK_EQ(counts.n_prompts, 0);
    uint64_t n_bytes = 0;
    char expected[9000], text[64];
    for (int i = 0; i < 40; i++) {
        size_t n = picture_of(i, expected), found;
        const uint8_t *bytes;
        uint8_t key[DIGEST_BYTES];
        uint32_t number;
        digest_of(expected, n, key);
        CHECK_OK(corpus_image_number(c, key, &number, &err), &err);
        CHECK_OK(corpus_image_bytes(c, number, &bytes, &found, &err), &err);
        CHECK(found == n && !memcmp(bytes, expected, n));
        struct corpus_image image;
        CHECK_OK(corpus_get_image(c, number, &image, &err), &err);
        CHECK_EQ(image.width_px, 10 + i);
        CHECK_EQ(image.format, IMAGE_JPEG);
        n_bytes += n;
    }
    CHECK_EQ(counts.n_image_bytes, n_bytes);
    uint32_t number;
    CHECK_OK(corpus_image_of_id(c, "field", "id-3", &number, &err), &err);
    CHECK_EQ(corpus_image_of_id(c, NULL, "id-3", &number, &err), 0);
    CHECK_EQ(corpus_image_of_id(c, "web", "id-999", &number, &err), ERR_NOT_FOUND);
    CHECK_EQ(corpus_image_of_id(c, "nowhere", "id-3", &number, &err), ERR_NOT_FOUND);
    CHECK_EQ(corpus_n_names(c, NAME_LABEL), 5);
    uint16_t id;
    CHECK_OK(corpus_find_name(c, NAME_LANGUAGE, "ru", &id, &err), &err);
    CHECK_STR(corpus_name(c, NAME_LANGUAGE, id), "ru");
    CHECK(!corpus_name(c, NAME_LANGUAGE, 2));
    struct corpus_pair *pairs;
    size_t n_pairs;
    CHECK_OK(corpus_pairs(c, &pairs, &n_pairs, &err), &err);
    CHECK_EQ(n_pairs, 100);
    for (size_t i = 1; i < n_pairs; i++) CHECK(pairs[i - 1].image <= pairs[i].image);
    const char *p;
    size_t n;
    int n_text = text_of(0, text);
    CHECK_OK(corpus_caption_text(c, 0, &p, &n, NULL, &err), &err);
    CHECK(n == (size_t)n_text && !memcmp(p, text, n));
    CHECK_EQ(corpus_caption_text(c, 70, &p, &n, NULL, &err), ERR_NOT_FOUND);
    char *classes;
    CHECK_OK(corpus_classes(c, &classes, &err), &err);
    CHECK_STR(classes, "{\"b\": [1, 2],  \"a\": \"x\"}");
    memory_free(classes);
    memory_free(pairs);
    corpus_close(c);
    scratch_remove(&scratch);
}

TEST(corpus_refuses_what_makes_no_sense)
{
    scratch_make(&scratch);
    struct corpus *c, *d;
    bool is_new, changed;
    uint32_t number;
    uint16_t source;
    CHECK_EQ(corpus_open(&c, cache, CORPUS_READ, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, cache);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_EQ(corpus_open(&d, cache, CORPUS_WRITE, &err), ERR_LOCKED);
    CHECK_EQ(corpus_add_caption(c, "x", 1, &number, &is_new, &err), ERR_USAGE);
    CHECK_EQ(corpus_commit(c, &err), ERR_USAGE);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_EQ(corpus_begin(c, &err), ERR_USAGE);
    CHECK_EQ(corpus_add_caption(c, "", 0, &number, &is_new, &err), ERR_USAGE);
    CHECK_OK(corpus_add_caption(c, "x", 1, &number, &is_new, &err), &err);
    struct corpus_image image = {0}, other = {0};
    corpus_key_of_id("1", image.key);
    corpus_key_of_id("2", other.key);
    CHECK_OK(corpus_add_image(c, &image, NULL, 0, &number, &is_new, &err), &err);
    CHECK_OK(corpus_add_image(c, &other, NULL, 0, &number, &is_new, &err), &err);
    CHECK(is_new);
    CHECK_OK(corpus_intern(c, NAME_SOURCE, "s", &source, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_LANGUAGE, "en", &source, &err), &err);
    struct corpus_pair good = {.label = CORPUS_NO_NAME, .weight = 1}, bad = good;
    bad.image = 2;
    CHECK_EQ(corpus_add_pair(c, &bad, NULL, 0, &is_new, &changed, &err), ERR_USAGE);
    bad = good;
    bad.weight = NAN;
    CHECK_EQ(corpus_add_pair(c, &bad, NULL, 0, &is_new, &changed, &err), ERR_USAGE);
    bad = good;
    bad.label = 3;
    CHECK_EQ(corpus_add_pair(c, &bad, NULL, 0, &is_new, &changed, &err), ERR_USAGE);
    CHECK_OK(corpus_add_pair(c, &good, NULL, 0, &is_new, &changed, &err), &err);
    CHECK(is_new && !changed);
    good.split = SPLIT_VAL;
    CHECK_OK(corpus_add_pair(c, &good, NULL, 0, &is_new, &changed, &err), &err);
    CHECK(!is_new && changed);
    CHECK_OK(corpus_add_pair(c, &good, "x", 1, &is_new, &changed, &err), &err);
    CHECK(!is_new && !changed);
    CHECK_OK(corpus_add_id(c, 0, "one", image.key, &err), &err);
    CHECK_OK(corpus_add_id(c, 0, "one", image.key, &err), &err);
    CHECK_EQ(corpus_add_id(c, 0, "one", other.key, &err), ERR_EXISTS);
    CHECK_EQ(corpus_add_id(c, 1, "one", image.key, &err), ERR_USAGE);
    struct corpus_reject reject = {.source = "s", .line = 4, .reason = "bad", .record = "r"};
    CHECK_OK(corpus_add_reject(c, &reject, NULL, &is_new, &err), &err);
    CHECK(is_new);
    reject.message = "other words";
    CHECK_OK(corpus_add_reject(c, &reject, NULL, &is_new, &err), &err);
    CHECK(!is_new);
    CHECK_OK(corpus_commit(c, &err), &err);
    const uint8_t *bytes;
    size_t n = 1;
    CHECK_OK(corpus_image_bytes(c, 0, &bytes, &n, &err), &err);
    CHECK_EQ(n, 0);
    corpus_close(c);
    struct text findings = {0};
    CHECK_EQ(verify(&findings), 0);
    scratch_remove(&scratch);
}

TEST(corpus_abort_leaves_nothing)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    char *before = dump();
    struct corpus *c;
    uint16_t id;
    uint32_t number;
    bool is_new;
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_LANGUAGE, "zh-Hans", &id, &err), &err);
    CHECK_OK(corpus_add_caption(c, "new", 3, &number, &is_new, &err), &err);
    CHECK_EQ(number, 70);
    CHECK(corpus_batch_bytes(c) > 0);
    corpus_abort(c);
    CHECK_EQ(corpus_find_name(c, NAME_LANGUAGE, "zh-Hans", &id, &err), ERR_NOT_FOUND);
    CHECK_EQ(corpus_n_captions(c), 70);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_add_caption(c, "other", 5, &number, &is_new, &err), &err);
    CHECK_EQ(number, 70);
    corpus_close(c); /* aborts */
    char *after = dump();
    CHECK_STR(before, after);
    memory_free(before);
    memory_free(after);
    scratch_remove(&scratch);
}

/* The writer is another process, killed in the middle of batch after batch; the same rows complete
 * what is missing. */
TEST(corpus_survives_kill_9_in_mid_batch)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    char *whole = dump();
    scratch_remove(&scratch);
    scratch_make(&scratch);
    for (int round = 0; round < 4; round++) {
        pid_t child = fork();
        if (child == 0) {
            struct corpus *c;
            if (corpus_open(&c, cache, CORPUS_WRITE, &err) < 0 || corpus_begin(c, &err) < 0)
                _exit(1);
            for (int i = 0; i < 20 * round + 10; i++) {
                if (add_row(c, i) < 0) _exit(2);
                if (i % 20 == 19 && (corpus_commit(c, &err) < 0 || corpus_begin(c, &err) < 0))
                    _exit(3);
            }
            raise(SIGKILL);
        }
        CHECK_EQ(wait_for(child), 1000 + SIGKILL);
        struct text findings = {0};
        CHECK_EQ(verify(&findings), 0);
        struct corpus *c;
        CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
        CHECK_EQ(corpus_n_images(c), round > 2 ? 40 : 20 * round);
        corpus_close(c);
    }
    CHECK_OK(ingest(1, 100), &err);
    char *resumed = dump();
    CHECK_STR(whole, resumed);
    memory_free(whole);
    memory_free(resumed);
    scratch_remove(&scratch);
}

/* Every allocation of a batch fails in turn: an error each time, and the batch that goes through at
 * last is whole. */
TEST(corpus_survives_any_failed_allocation)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    char *whole = dump();
    scratch_remove(&scratch);
    scratch_make(&scratch);
    struct corpus *c;
    int nth = 1, n_failed = 0, done = 0;
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    for (; !done && nth < 5000; nth += 1 + nth / 10) {
        memory_fail_at(nth);
        int rc = corpus_begin(c, &err);
        for (int i = 0; rc == 0 && i < 30; i++) rc = add_row(c, i);
        if (rc == 0) rc = corpus_commit(c, &err);
        memory_fail_at(0);
        corpus_abort(c);
        done = rc == 0;
        n_failed += rc == ERR_NOMEM;
        CHECK(rc == 0 || rc == ERR_NOMEM);
    }
    CHECK(done && n_failed > 10);
    corpus_close(c);
    struct text findings = {0};
    CHECK_EQ(verify(&findings), 0);
    CHECK_OK(ingest(1, 100), &err);
    char *resumed = dump();
    CHECK_STR(whole, resumed);
    memory_free(whole);
    memory_free(resumed);
    scratch_remove(&scratch);
}

TEST(corpus_reader_sees_its_snapshot_until_refresh)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    int up[2], down[2];
    char x = 'x';
    if (pipe(up) || pipe(down)) abort();
    pid_t child = fork();
    if (child == 0) {
        struct corpus *c;
        int bad = 0;
        uint32_t number;
        uint8_t key[DIGEST_BYTES];
        digest_of("later", 5, key);
        if (corpus_open(&c, cache, CORPUS_READ, &err) < 0 || write(up[1], &x, 1) != 1 ||
            read(down[0], &x, 1) != 1)
            _exit(100);
        bad |= corpus_n_captions(c) != 70 ||
               corpus_caption_number(c, key, &number, &err) != ERR_NOT_FOUND;
        bad |= (corpus_refresh(c, &err) < 0) << 1;
        bad |= (corpus_n_captions(c) != 71 || corpus_caption_number(c, key, &number, &err) != 0)
               << 2;
        corpus_close(c);
        _exit(bad);
    }
    struct corpus *c;
    uint32_t number;
    bool is_new;
    CHECK_EQ(read(up[0], &x, 1), 1);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_add_caption(c, "later", 5, &number, &is_new, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
    CHECK_EQ(write(down[1], &x, 1), 1);
    CHECK_EQ(wait_for(child), 0);
    corpus_close(c);
    scratch_remove(&scratch);
}

static const char *const names[] = {"meta",     "images",       "image_bytes", "image_keys",
                                    "captions", "caption_keys", "pairs",       "names",
                                    "ids",      "rejects",      "reject_keys"};
enum { N_TABLES = sizeof names / sizeof *names };

/* Flips one bit of a record in the middle of a table, behind the corpus's back. */
static void flip(int table, int bit)
{
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_cursor *cur;
    struct kv_bytes k, v;
    uint64_t n;
    struct kv_config config = {.mode = KV_WRITE, .tables = names, .n_tables = N_TABLES};
    char folder[80];
    snprintf(folder, sizeof folder, "%s/corpus", cache);
    CHECK_OK(kv_open(&kv, folder, &config, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK_OK(kv_count(txn, table, &n, &err), &err);
    CHECK_OK(kv_cursor_open(txn, table, &cur, &err), &err);
    CHECK_EQ(kv_cursor_first(cur, &k, &v, &err), 1);
    for (uint64_t i = 0; i < n / 2; i++) CHECK_EQ(kv_cursor_next(cur, &k, &v, &err), 1);
    char *key = memory_copy(k.bytes, k.n, &err), *value = memory_copy(v.bytes, v.n, &err);
    size_t n_key = k.n, n_value = v.n;
    kv_cursor_close(cur);
    value[(size_t)bit / 8 % n_value] ^= (char)(1 << bit % 8);
    CHECK_OK(kv_put(txn, table, key, n_key, value, n_value, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    memory_free(key);
    memory_free(value);
    kv_close(kv);
}

TEST(corpus_verify_finds_a_flipped_bit_in_every_table)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    for (int table = 0; table < N_TABLES; table++) {
        struct text findings = {0};
        flip(table, 5 + 24);
        int n = verify(&findings);
        CHECK(n > 0 || n == ERR_CORRUPT); /* a bad head is refused at opening */
        if (n == ERR_CORRUPT)
            CHECK_HAS(err.text, names[table]);
        else if (findings.p)
            CHECK_HAS(findings.p, table == 2 ? "images" : names[table]);
        memory_free(findings.p);
        flip(table, 5 + 24); /* back */
        findings = (struct text){0};
        CHECK_EQ(verify(&findings), 0);
    }
    scratch_remove(&scratch);
}

TEST(corpus_getters_do_not_return_damaged_bytes)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    flip(2, 77);  /* the bytes of image 20 */
    flip(4, 300); /* caption 35 */
    struct corpus *c;
    const uint8_t *bytes;
    const char *text;
    size_t n;
    CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
    CHECK_EQ(corpus_image_bytes(c, 20, &bytes, &n, &err), ERR_CORRUPT);
    CHECK_OK(corpus_image_bytes(c, 21, &bytes, &n, &err), &err);
    CHECK_EQ(corpus_caption_text(c, 35, &text, &n, NULL, &err), ERR_CORRUPT);
    CHECK_OK(corpus_caption_text(c, 34, &text, &n, NULL, &err), &err);
    corpus_close(c);
    scratch_remove(&scratch);
}

/* A caller's key is taken as it is: the same record as with one made here, and one that belongs to
 * other bytes is found by whoever reads them. */
TEST(corpus_trusts_a_key_and_finds_a_wrong_one)
{
    struct corpus *c;
    struct text findings = {0};
    char bytes[9000];
    const uint8_t *stored;
    uint32_t number, again;
    bool is_new;
    struct corpus_image image = {.format = IMAGE_JPEG, .orientation = 1};
    scratch_make(&scratch);
    size_t n = picture_of(1, bytes);
    digest_of(bytes, n, image.key);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_add_image_keyed(c, &image, bytes, n, &number, &is_new, &err), &err);
    CHECK(is_new && image.n_bytes == n);
    CHECK_OK(corpus_add_image(c, &image, bytes, n, &again, &is_new, &err), &err);
    CHECK(!is_new && again == number);
    CHECK_OK(corpus_commit(c, &err), &err);
    CHECK_OK(corpus_image_bytes(c, number, &stored, &n, &err), &err);
    CHECK_EQ(corpus_verify(c, count_finding, &findings, NULL, &err), 0);
    n = picture_of(2, bytes);
    image.key[0] ^= 1;
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_add_image_keyed(c, &image, bytes, n, &number, &is_new, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
    CHECK_EQ(corpus_image_bytes(c, number, &stored, &n, &err), ERR_CORRUPT);
    CHECK(corpus_verify(c, count_finding, &findings, NULL, &err) > 0);
    corpus_close(c);
    memory_free(findings.p);
    scratch_remove(&scratch);
}

/* Writes the format record of another version, under a right checksum: the first 8 bytes of
 * SHA-256("\0" "format" "clipstill corpus" VERSION 00 00 00). */
static void set_version(char version)
{
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_config config = {.mode = KV_WRITE, .tables = names, .n_tables = N_TABLES};
    char folder[80];
    unsigned char record[28] = "clipstill corpus", hashed[27] = "\0formatclipstill corpus",
                  digest[DIGEST_BYTES];
    record[16] = hashed[23] = (unsigned char)version;
    digest_of(hashed, sizeof hashed, digest);
    memcpy(record + 20, digest, 8);
    snprintf(folder, sizeof folder, "%s/corpus", cache);
    CHECK_OK(kv_open(&kv, folder, &config, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK_OK(kv_put(txn, 0, "format", 6, record, sizeof record, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    kv_close(kv);
}

TEST(corpus_of_another_version_is_refused)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    set_version(9);
    struct corpus *c;
    CHECK_EQ(corpus_open(&c, cache, CORPUS_READ, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "version 9");
    CHECK_EQ(corpus_open(&c, cache, CORPUS_WRITE, &err), ERR_INCOMPATIBLE);
    scratch_remove(&scratch);
}

TEST(corpus_of_version_1_is_read_and_made_new)
{
    uint8_t number[4] = {0, 0, 0, 3}, body[RECORD_IMAGE_BYTES];
    struct corpus_image image;
    struct corpus *c;
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_get_image(c, 3, &image, &err), &err);
    record_encode_image(&image, body);
    CHECK_OK(record_replace(c, TABLE_IMAGES, number, 4, body, 46, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
    corpus_close(c);
    set_version(1);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(corpus_open(&c, cache, i ? CORPUS_WRITE : CORPUS_READ, &err), &err);
        CHECK_OK(corpus_get_image(c, 3, &image, &err), &err);
        CHECK_EQ(image.orientation, 1);
        CHECK(!image.has_likeness && !image.has_icc && !image.is_reduced);
        CHECK_EQ(record_check_format(c, &err), i ? FORMAT_CORPUS_VERSION : 1);
        CHECK_OK(corpus_verify(c, print_finding, NULL, NULL, &err), &err);
        corpus_close(c);
    }
    scratch_remove(&scratch);
}

TEST(rejects_are_taken_out)
{
    struct corpus *c;
    uint64_t number[3];
    bool is_new;
    scratch_make(&scratch);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    struct corpus_reject reject = {.source = "s", .reason = "bad", .record = "r"};
    for (uint64_t i = 0; i < 3; i++) {
        reject.line = i + 1;
        CHECK_OK(corpus_add_reject(c, &reject, &number[i], &is_new, &err), &err);
        CHECK_EQ(number[i], i);
    }
    CHECK_OK(corpus_remove_reject(c, 1, &err), &err);
    CHECK_EQ(corpus_remove_reject(c, 1, &err), ERR_NOT_FOUND);
    CHECK_OK(corpus_commit(c, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    reject.line = 2; /* comes again behind the others */
    CHECK_OK(corpus_add_reject(c, &reject, &number[1], &is_new, &err), &err);
    CHECK(is_new);
    CHECK_EQ(number[1], 3);
    CHECK_OK(corpus_commit(c, &err), &err);
    struct corpus_counts counts;
    CHECK_OK(corpus_counts(c, &counts, &err), &err);
    CHECK_EQ(counts.n_rejects, 3);
    CHECK_OK(corpus_verify(c, print_finding, NULL, NULL, &err), &err);
    corpus_close(c);
    scratch_remove(&scratch);
}

TEST(pairs_are_changed)
{
    struct corpus *c;
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 20), &err);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    struct corpus_pair *pairs, to;
    size_t n, n_after;
    uint16_t language;
    CHECK_OK(corpus_pairs(c, &pairs, &n, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_LANGUAGE, "sw", &language, &err), &err);
    to = pairs[0];
    to.language = language;
    to.split = SPLIT_VAL;
    CHECK_OK(corpus_change_pair(c, &pairs[0], &to, &err), &err);
    CHECK_EQ(corpus_change_pair(c, &pairs[0], &to, &err), ERR_NOT_FOUND);
    CHECK_OK(corpus_commit(c, &err), &err);
    memory_free(pairs);
    CHECK_OK(corpus_pairs(c, &pairs, &n_after, &err), &err);
    CHECK_EQ(n_after, n);
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += pairs[i].language == language && pairs[i].split == SPLIT_VAL;
    CHECK_EQ(found, 1);
    CHECK_OK(corpus_verify(c, print_finding, NULL, NULL, &err), &err);
    memory_free(pairs);
    corpus_close(c);
    scratch_remove(&scratch);
}

static void *read_all(void *context)
{
    struct corpus *c = context;
    char expected[9000];
    struct error e;
    intptr_t n_bad = 0;
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < 40; i++) {
            const uint8_t *bytes;
            size_t n;
            size_t want = picture_of(i, expected);
            n_bad += corpus_image_bytes(c, (uint32_t)i, &bytes, &n, &e) < 0 || n != want ||
                     memcmp(bytes, expected, n);
        }
    return (void *)n_bad;
}

TEST(corpus_is_read_by_threads)
{
    scratch_make(&scratch);
    CHECK_OK(ingest(1, 100), &err);
    struct corpus *c;
    CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK_EQ(pthread_create(&threads[i], NULL, read_all, c), 0);
    for (int i = 0; i < 4; i++) {
        void *n_bad;
        pthread_join(threads[i], &n_bad);
        CHECK_EQ((intptr_t)n_bad, 0);
    }
    corpus_close(c);
    scratch_remove(&scratch);
}

TEST_MAIN
