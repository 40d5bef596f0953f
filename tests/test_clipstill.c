/* The reader library's functions over a small cache, from inside the tree. tests/cli_install.sh uses them from outside, installed. */
#include "store/clipstill.h"

#include <pthread.h>

#include "store/corpus.h"
#include "store/featureset.h"
#include "store/memory.h"
#include "tests/scratch.h"

#define N   600
#define DIM 12

static struct scratch folder;
static float vectors[N][DIM];

static bool is_there(uint32_t i)
{
    return i % 3 == 1 && (i < 100 || i > 500);
}

static int add_records(struct corpus *c, struct error *err)
{
    uint16_t source, label, language;
    int rc = corpus_intern(c, NAME_SOURCE, "pairs.tsv", &source, err);
    if (rc == 0) rc = corpus_intern(c, NAME_LABEL, "dog", &label, err);
    if (rc == 0) rc = corpus_intern(c, NAME_LANGUAGE, "en", &language, err);
    for (int i = 0; i < N && rc == 0; i++) {
        char bytes[40];
        struct corpus_image image = {.format = IMAGE_PNG, .width_px = 1, .height_px = 1};
        struct corpus_pair pair = {.language = language, .source = source, .weight = 2};
        bool is_new, changed;
        pair.label = i ? label : CORPUS_NO_NAME;
        pair.split = (uint8_t)(i % SPLIT_N);
        sprintf(bytes, "picture %d", i);
        rc = corpus_add_image(c, &image, bytes, strlen(bytes), &pair.image, &is_new, err);
        sprintf(bytes, "text %d", i);
        if (rc == 0) rc = corpus_add_caption(c, bytes, strlen(bytes), &pair.caption, &is_new, err);
        if (rc == 0) rc = corpus_add_pair(c, &pair, NULL, 0, &is_new, &changed, err);
    }
    return rc;
}

static int add_set(struct error *err)
{
    struct featureset_spec spec = {.name = "text.x", .tap = "text.x", .tower = TOWER_TEXT};
    struct featureset *fs = NULL;
    spec.dim = DIM;
    spec.storage = STORAGE_F32;
    int rc = featureset_create(&fs, folder.folder, &spec, err);
    for (uint32_t i = 0; i < N && rc == 0; i++) {
        char text[20];
        uint8_t key[1][DIGEST_BYTES];
        for (int j = 0; j < DIM; j++)
            vectors[i][j] = (float)((i * 31 + (unsigned)j * 17) % 101) - 50;
        sprintf(text, "text %u", i);
        digest_of(text, strlen(text), key[0]);
        if (is_there(i)) rc = featureset_put(fs, 1, 1, &i, key, vectors[i], err);
    }
    featureset_close(fs);
    return rc;
}

static bool set_up(void)
{
    struct error err = {0};
    struct corpus *c = NULL;
    scratch_make(&folder);
    int rc = corpus_open(&c, folder.folder, CORPUS_WRITE, &err);
    if (rc == 0) rc = corpus_begin(c, &err);
    if (rc == 0) rc = add_records(c, &err);
    if (rc == 0) rc = corpus_commit(c, &err);
    corpus_close(c);
    if (rc == 0) rc = add_set(&err);
    if (rc < 0) CHECK_FAIL("set-up: %s", err.text);
    return rc == 0;
}

TEST(records_and_pairs)
{
    struct clipstill *c;
    struct clipstill_error err = {0};
    struct clipstill_pair *pairs;
    uint8_t key[CLIPSTILL_KEY_BYTES], want[CLIPSTILL_KEY_BYTES];
    const uint8_t *bytes;
    const char *text;
    size_t n;
    uint32_t number;
    if (!set_up()) return;
    CHECK_OK(clipstill_open(&c, folder.folder, &err), &err);
    CHECK_EQ(clipstill_n_images(c), N);
    CHECK_EQ(clipstill_n_captions(c), N);
    CHECK_OK(clipstill_image_bytes(c, 41, &bytes, &n, &err), &err);
    CHECK(n == 10 && !memcmp(bytes, "picture 41", n));
    digest_of(bytes, n, want);
    CHECK_OK(clipstill_image_key(c, 41, key, &err), &err);
    CHECK(!memcmp(key, want, sizeof key));
    CHECK_OK(clipstill_image_number(c, key, &number, &err), &err);
    CHECK_EQ(number, 41);
    CHECK_EQ(clipstill_caption_number(c, key, &number, &err), CLIPSTILL_ERR_NOT_FOUND);
    CHECK_HAS(err.text, "no caption has the key ");
    CHECK_EQ(err.code, CLIPSTILL_ERR_NOT_FOUND);
    CHECK_EQ(clipstill_image_key(c, N, key, NULL), CLIPSTILL_ERR_NOT_FOUND);
    CHECK_OK(clipstill_caption_text(c, 7, &text, &n, &err), &err);
    CHECK(n == 6 && !memcmp(text, "text 7", n));
    CHECK_OK(clipstill_caption_key(c, 7, key, &err), &err);
    CHECK_OK(clipstill_caption_number(c, key, &number, &err), &err);
    CHECK_EQ(number, 7);
    CHECK_OK(clipstill_pairs(c, &pairs, &n, &err), &err);
    CHECK_EQ(n, N);
    CHECK(!pairs[0].label);
    CHECK_STR(pairs[1].label, "dog");
    CHECK_STR(pairs[1].language, "en");
    CHECK_STR(pairs[1].source, "pairs.tsv");
    CHECK_STR(pairs[2].split, "test");
    CHECK_NEAR(pairs[2].weight, 2, 0);
    clipstill_free(pairs);
    clipstill_close(c);
    scratch_remove(&folder);
}

static int check_vector(uint32_t i, const float *u, float norm)
{
    int n_bad = 0;
    for (int j = 0; j < DIM; j++) n_bad += fabsf(u[j] * norm - vectors[i][j]) > 1e-4f; /* of 50 */
    return n_bad;
}

TEST(vectors_one_by_one_and_in_order)
{
    struct clipstill *c;
    struct clipstill_set *s;
    struct clipstill_error err = {0};
    uint8_t key[CLIPSTILL_KEY_BYTES], want[CLIPSTILL_KEY_BYTES];
    float u[DIM], norm;
    uint32_t seen = 0, n_want = 0;
    int rc;
    if (!set_up()) return;
    CHECK_OK(clipstill_open(&c, folder.folder, &err), &err);
    CHECK_EQ(clipstill_set_open(c, "nope", &s, &err), CLIPSTILL_ERR_NOT_FOUND);
    CHECK_HAS(err.text, "text.x");
    CHECK(!s);
    CHECK_OK(clipstill_set_open(c, "text.x", &s, &err), &err);
    const struct clipstill_set_info *info = clipstill_set_info(s);
    CHECK_EQ(info->dim, DIM);
    CHECK_EQ(info->n_views, 2);
    CHECK(info->is_text);
    CHECK_STR(info->storage, "f32");
    CHECK_STR(info->fingerprint, "{}");
    for (uint32_t i = 0; i < N; i++) n_want += is_there(i);
    CHECK_EQ(clipstill_set_count(s, 1), n_want);
    CHECK_EQ(clipstill_set_count(s, 0), 0);
    for (uint32_t i = 0; i < N; i++) {
        rc = clipstill_get(s, 1, i, u, &norm, NULL);
        CHECK_EQ(rc, is_there(i) ? 0 : CLIPSTILL_ERR_NOT_FOUND);
        if (rc == 0) CHECK_EQ(check_vector(i, u, norm), 0);
    }
    for (uint32_t i = 0; (rc = clipstill_next(s, 1, &i, key, u, &norm, &err)) > 0; i++, seen++) {
        CHECK(is_there(i));
        CHECK_EQ(check_vector(i, u, norm), 0);
        CHECK_OK(clipstill_caption_key(c, i, want, &err), &err);
        CHECK(!memcmp(key, want, sizeof key));
        CHECK_OK(clipstill_get_key(s, 1, key, u, NULL, &err), &err);
        CHECK_EQ(check_vector(i, u, norm), 0);
    }
    CHECK_OK(rc, &err);
    CHECK_EQ(seen, n_want);
    uint32_t first = 100, none = 0;
    CHECK_EQ(clipstill_next(s, 1, &first, NULL, NULL, NULL, &err), 1);
    CHECK_EQ(first, 502);
    CHECK_EQ(clipstill_next(s, 0, &none, NULL, NULL, NULL, &err), 0);
    clipstill_set_close(s);
    clipstill_close(c);
    scratch_remove(&folder);
}

TEST(what_was_forgotten_is_passed_over)
{
    struct error e = {0};
    struct clipstill_error err = {0};
    struct corpus *corpus = NULL;
    struct featureset *fs = NULL;
    struct clipstill *c;
    struct clipstill_set *s;
    static const uint32_t GONE[] = {1, 2, 4};
    uint64_t n_gone;
    uint8_t key[CLIPSTILL_KEY_BYTES];
    if (!set_up()) return;
    CHECK_OK(featureset_open(&fs, folder.folder, "text.x", FEATURESET_WRITE, &e), &e);
    CHECK_OK(featureset_forget(fs, 3, GONE, false, &n_gone, &e), &e);
    CHECK_EQ(n_gone, 2);
    featureset_close(fs);
    CHECK_OK(corpus_open(&corpus, folder.folder, CORPUS_WRITE, &e), &e);
    CHECK_OK(corpus_begin(corpus, &e), &e);
    for (uint32_t i = 0; i < 3; i++) {
        struct corpus_pair pair = {.image = GONE[i], .caption = GONE[i]};
        CHECK_OK(corpus_remove_pair(corpus, &pair, &e), &e);
        CHECK_OK(corpus_remove_caption(corpus, GONE[i], &e), &e);
    }
    CHECK_OK(corpus_commit(corpus, &e), &e);
    corpus_close(corpus);
    CHECK_OK(clipstill_open(&c, folder.folder, &err), &err);
    CHECK_OK(clipstill_set_open(c, "text.x", &s, &err), &err);
    CHECK_EQ(clipstill_n_captions(c), N);
    CHECK_EQ(clipstill_caption_key(c, 4, key, &err), CLIPSTILL_ERR_NOT_FOUND);
    uint32_t first = 0;
    CHECK_EQ(clipstill_next(s, 1, &first, NULL, NULL, NULL, &err), 1);
    CHECK_EQ(first, 7);
    clipstill_set_close(s);
    clipstill_close(c);
    scratch_remove(&folder);
}

static struct clipstill *shared;

static void *read_all(void *unused)
{
    struct clipstill_set *s;
    struct clipstill_error err = {0};
    float u[DIM], norm;
    intptr_t n_bad = clipstill_set_open(shared, "text.x", &s, &err) < 0;
    for (uint32_t i = 0; !n_bad && clipstill_next(s, 1, &i, NULL, u, &norm, &err) > 0; i++)
        n_bad += check_vector(i, u, norm);
    if (!n_bad) clipstill_set_close(s);
    (void)unused;
    return (void *)n_bad;
}

TEST(threads_with_a_set_each)
{
    struct clipstill_error err = {0};
    pthread_t t[4];
    void *bad = NULL;
    if (!set_up()) return;
    CHECK_OK(clipstill_open(&shared, folder.folder, &err), &err);
    for (int i = 0; i < 4; i++) CHECK_EQ(pthread_create(&t[i], NULL, read_all, NULL), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(pthread_join(t[i], &bad), 0);
        CHECK(!bad);
    }
    clipstill_close(shared);
    scratch_remove(&folder);
}

TEST(what_is_not_there_and_memory_that_is_out)
{
    struct clipstill *c;
    struct clipstill_set *s;
    struct clipstill_error err = {0};
    CHECK_EQ(clipstill_open(&c, "/tmp/clipstill-no-such-cache", &err), CLIPSTILL_ERR_NOT_FOUND);
    CHECK_HAS(err.text, "no-such-cache");
    CHECK(!c);
    clipstill_close(NULL);
    clipstill_set_close(NULL);
    clipstill_free(NULL);
    if (!set_up()) return;
    CHECK(clipstill_open(&c, scratch_text(&folder, "file", "no cache"), &err) < 0);
    CHECK_HAS(err.text, "/file");
    for (int nth = 1; nth < 200; nth++) {
        memory_fail_at(nth);
        int rc = clipstill_open(&c, folder.folder, &err);
        if (rc == 0) rc = clipstill_set_open(c, "text.x", &s, &err);
        memory_fail_at(0);
        if (rc == 0) {
            CHECK(nth > 8);
            clipstill_set_close(s);
            clipstill_close(c);
            break;
        }
        CHECK_EQ(rc, CLIPSTILL_ERR_NOMEM);
        clipstill_close(c);
    }
    scratch_remove(&folder);
}

TEST_MAIN
