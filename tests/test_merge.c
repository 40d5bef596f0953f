/* Merging: shards of features and whole caches, moved bit for bit, renumbered by key, refused by
 * name with nothing written, and named gaps. Seeds are fixed.
 *
 * covers: corpusmerge featureset_merge
 */
#include "store/merge.h"

#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

#define DIM     24
#define N       600 /* pictures: more than two blocks of 256 */
#define SET     "image.final"
#define OTHER   "w2"
#define WEIGHTS "w1"

static struct scratch scratch;
static struct error err;

/* Picture i: its bytes are its name, which no decoder is asked about. */
static int picture(int i, char bytes[40])
{
    return snprintf(bytes, 40, "picture %d", i);
}

/* A corpus of the pictures from..to by `step`, in that order; each has a caption and a pair. */
static const char *make_corpus(const char *name, int from, int to, int step, const char *rule)
{
    const char *cache = scratch_path(&scratch, name);
    struct corpus *c;
    uint16_t language, source;
    if (corpus_open(&c, cache, CORPUS_WRITE, &err) < 0 || corpus_begin(c, &err) < 0) abort();
    if (rule && corpus_set_caption_rule(c, rule, &err) < 0) abort();
    if (corpus_intern(c, NAME_LANGUAGE, "en", &language, &err) < 0) abort();
    if (corpus_intern(c, NAME_SOURCE, "m.tsv", &source, &err) < 0) abort();
    for (int i = from; i != to; i += step) {
        char bytes[40], text[40];
        struct corpus_image image = {.width_px = 1, .height_px = 1, .format = IMAGE_PNG};
        struct corpus_pair pair = {
            .language = language, .source = source, .label = CORPUS_NO_NAME, .weight = 1};
        bool is_new, changed;
        int n = picture(i, bytes), n_text = snprintf(text, sizeof text, "caption %d", i / 2);
        if (corpus_add_image(c, &image, bytes, (size_t)n, &pair.image, &is_new, &err) < 0 ||
            corpus_add_caption(c, text, (size_t)n_text, &pair.caption, &is_new, &err) < 0 ||
            corpus_add_pair(c, &pair, NULL, 0, &is_new, &changed, &err) < 0 ||
            corpus_add_id(c, source, bytes, image.key, &err) < 0)
            abort();
    }
    if (corpus_commit(c, &err) < 0) abort();
    corpus_close(c);
    return cache;
}

/* The vector of picture i in view v. */
static void vector_of(int i, uint32_t v, float *x)
{
    uint64_t state = (uint64_t)i * 7919 + v * 104729 + 1;
    for (int j = 0; j < DIM; j++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[j] = i == 17 ? 0 : (float)((double)(state >> 33) / 1e9 - 1);
    }
}

/* Features of the pictures of `corpus` that lie in from..to, into the set of a cache or shard. */
static void featurise(const char *into, const char *corpus, int from, int to, uint32_t n_views,
                      const char *weights, int spoilt)
{
    struct corpus *c;
    struct featureset *fs;
    struct json *fingerprint = json_new_object();
    struct featureset_spec spec = {.name = SET,
                                   .tap = SET,
                                   .dim = DIM,
                                   .storage = STORAGE_Q,
                                   .epsilon = 1e-4f,
                                   .fingerprint = fingerprint,
                                   .tokenizer = "pieces",
                                   .n_tokenizer = 6};
    json_set_string(fingerprint, "weights", weights);
    int rc = featureset_open(&fs, into, SET, FEATURESET_WRITE, &err);
    if (rc == ERR_NOT_FOUND) rc = featureset_create(&fs, into, &spec, &err);
    if (rc < 0 || corpus_open(&c, corpus, CORPUS_READ, &err) < 0) abort();
    for (uint32_t v = 0; v < n_views; v++) {
        static uint8_t key[N][DIGEST_BYTES];
        static uint32_t number[N];
        static float x[N][DIM];
        size_t n = 0;
        for (int i = from; i < to; i++) {
            char bytes[40];
            digest_of(bytes, (size_t)picture(i, bytes), key[n]);
            if (corpus_image_number(c, key[n], &number[n], &err) < 0) continue;
            vector_of(i, v, x[n]);
            if (i == spoilt) x[n][0] += 1;
            n++;
        }
        if (featureset_put(fs, v, n, number, (const uint8_t(*)[DIGEST_BYTES])key, x[0], &err) < 0)
            abort();
    }
    corpus_close(c);
    featureset_close(fs);
    json_free(fingerprint);
}

struct text {
    struct digest *d;
    struct corpus *c;
};

static int hear(void *context, const char *line)
{
    struct text *t = context;
    digest_add(t->d, line, strlen(line) + 1);
    return 0;
}

static bool key_of(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    struct text *t = context;
    struct corpus_image image;
    if (corpus_get_image(t->c, number, &image, NULL) < 0) return false;
    memcpy(key, image.key, DIGEST_BYTES);
    return true;
}

/* Digest of the cache's canonical text, features included where there are some. */
static const char *dump(const char *cache)
{
    static char hex[4][DIGEST_HEX];
    static int turn;
    uint8_t digest[DIGEST_BYTES];
    struct text t = {.d = digest_new(&err)};
    struct featureset *fs = NULL;
    if (corpus_open(&t.c, cache, CORPUS_READ, &err) < 0 || corpus_dump(t.c, hear, &t, &err) < 0)
        abort();
    int rc = featureset_open(&fs, cache, SET, FEATURESET_READ, &err);
    if (rc == 0 && featureset_dump(fs, key_of, hear, &t, &err) < 0) abort();
    featureset_close(fs);
    corpus_close(t.c);
    digest_finish(t.d, digest);
    turn = (turn + 1) % 4;
    digest_to_hex(digest, hex[turn]);
    return hex[turn];
}

/* The last merge. */
static struct merge *m;

static int merge(const char *cache, const char *const *folders, int n, struct merge_options o)
{
    merge_close(m);
    memset(&err, 0, sizeof err);
    int rc = merge_open(&m, cache, &o, &err);
    for (int i = 0; rc == 0 && i < n; i++) rc = merge_folder(m, folders[i], NULL, &err);
    return rc == 0 ? merge_gaps(m, &err) : rc;
}

static int merge_one(const char *cache, const char *from)
{
    return merge(cache, &from, 1, (struct merge_options){0});
}

static const struct merge_set *set(void)
{
    return &merge_result(m)->sets[0];
}

static void end(void)
{
    merge_close(m);
    m = NULL;
    scratch_remove(&scratch);
}

TEST(shards_of_one_corpus_become_its_set)
{
    scratch_make(&scratch);
    const char *whole = make_corpus("whole", 0, N, 1, NULL),
               *cache = make_corpus("c", 0, N, 1, NULL);
    featurise(whole, whole, 0, N, 2, WEIGHTS, -1);
    const char *shards[3] = {scratch_path(&scratch, "s1"), scratch_path(&scratch, "s2"),
                             scratch_path(&scratch, "s3")};
    featurise(shards[0], cache, 0, 200, 2, WEIGHTS, -1);
    featurise(shards[1], cache, 200, 310, 2, WEIGHTS, -1);
    featurise(shards[2], cache, 310, N, 2, WEIGHTS, -1);
    CHECK_OK(merge(cache, shards, 3, (struct merge_options){0}), &err);
    CHECK_EQ(merge_result(m)->n_sets, 1);
    CHECK(set()->is_new);
    CHECK_EQ(set()->counts.n_new, 2 * N);
    CHECK_EQ(set()->counts.n_equal, 0);
    CHECK_EQ(merge_result(m)->n_missing, 0);
    CHECK_STR(dump(cache), dump(whole));
    /* again, and in another order: nothing is new */
    const char *again[2] = {shards[2], shards[0]};
    CHECK_OK(merge(cache, again, 2, (struct merge_options){0}), &err);
    CHECK_EQ(set()->counts.n_new, 0);
    CHECK_EQ(set()->counts.n_equal, 2 * (200 + N - 310));
    CHECK_STR(dump(cache), dump(whole));
    end();
}

TEST(a_gap_is_named)
{
    scratch_make(&scratch);
    const char *cache = make_corpus("c", 0, N, 1, NULL);
    const char *shards[2] = {scratch_path(&scratch, "s1"), scratch_path(&scratch, "s3")};
    featurise(shards[0], cache, 0, 200, 2, WEIGHTS, -1);
    featurise(shards[1], cache, 310, N - 1, 2, WEIGHTS, -1);
    CHECK_OK(merge(cache, shards, 2, (struct merge_options){0}), &err);
    CHECK_EQ(set()->n_missing, 2 * 111);
    CHECK_EQ(set()->n_gaps, 4);
    for (size_t i = 0; i < set()->n_gaps; i += 2) {
        const struct merge_gap *gap = &set()->gaps[i];
        CHECK_EQ(gap[0].view, i / 2);
        CHECK_EQ(gap[0].first, 200);
        CHECK_EQ(gap[0].last, 309);
        CHECK_EQ(gap[1].view, i / 2);
        CHECK_EQ(gap[1].first, N - 1);
        CHECK_EQ(gap[1].last, N - 1);
    }
    end();
}

TEST(another_numbering_is_renumbered_by_key)
{
    scratch_make(&scratch);
    const char *whole = make_corpus("whole", 0, N, 1, NULL);
    featurise(whole, whole, 0, N, 1, WEIGHTS, -1);
    /* the other cache holds its pictures the other way round, and overlaps by a hundred */
    const char *a = make_corpus("a", 0, 350, 1, NULL), *b = make_corpus("b", N - 1, 249, -1, NULL);
    featurise(a, a, 0, 350, 1, WEIGHTS, -1);
    featurise(b, b, 250, N, 1, WEIGHTS, -1);
    CHECK_OK(merge_one(a, b), &err);
    CHECK_EQ(merge_result(m)->corpus.n_images, 250);
    CHECK_EQ(merge_result(m)->corpus.n_pairs, 250);
    CHECK_EQ(merge_result(m)->corpus.n_ids, 250);
    CHECK_EQ(set()->counts.n_new, 250);
    CHECK_EQ(set()->counts.n_equal, 100);
    CHECK_EQ(set()->n_missing, 0);
    CHECK_STR(dump(a), dump(whole));
    CHECK_OK(merge_one(a, b), &err);
    CHECK_EQ(merge_result(m)->corpus.n_images + merge_result(m)->corpus.n_pairs, 0);
    CHECK_EQ(set()->counts.n_new, 0);
    CHECK_STR(dump(a), dump(whole));
    end();
}

TEST(into_nothing_is_a_copy)
{
    scratch_make(&scratch);
    const char *a = make_corpus("a", 0, 50, 1, "nfkc-space-1"),
               *new = scratch_path(&scratch, "new");
    featurise(a, a, 0, 50, 1, WEIGHTS, -1);
    CHECK_OK(merge_one(new, a), &err);
    CHECK_STR(dump(new), dump(a));
    struct corpus *c;
    char *rule = NULL;
    CHECK_OK(corpus_open(&c, new, CORPUS_READ, &err), &err);
    CHECK_OK(corpus_caption_rule(c, &rule, &err), &err);
    CHECK_STR(rule, "nfkc-space-1");
    memory_free(rule);
    corpus_close(c);
    end();
}

TEST(features_alone_leave_the_corpus_as_it_is)
{
    scratch_make(&scratch);
    const char *a = make_corpus("a", 0, 50, 1, NULL), *b = make_corpus("b", 69, 29, -1, NULL);
    featurise(b, b, 30, 70, 1, WEIGHTS, -1);
    CHECK_OK(merge(a, &b, 1, (struct merge_options){.features_only = true}), &err);
    CHECK_EQ(set()->counts.n_new, 20);
    CHECK_EQ(set()->counts.n_left_out, 20);
    CHECK_EQ(set()->n_missing, 30);
    CHECK(!merge_result(m)->has_corpus);
    struct corpus *c;
    CHECK_OK(corpus_open(&c, a, CORPUS_READ, &err), &err);
    CHECK_EQ(corpus_n_images(c), 50);
    corpus_close(c);
    end();
}

/* Each must leave the cache as it was: nothing half written. */
TEST(what_does_not_belong_is_refused_whole)
{
    scratch_make(&scratch);
    const char *cache = make_corpus("c", 0, 300, 1, NULL);
    featurise(cache, cache, 0, 100, 1, WEIGHTS, -1);
    const char *before = dump(cache), *shard = scratch_path(&scratch, "teacher");
    featurise(shard, cache, 100, 200, 1, OTHER, -1);
    CHECK_EQ(merge_one(cache, shard), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "weights");
    CHECK_HAS(err.text, shard);

    shard = scratch_path(
        &scratch, "codes"); /* one vector of a block that both have, and new ones before it */
    featurise(shard, cache, 90, 200, 1, WEIGHTS, 99);
    char bytes[40], hex[DIGEST_HEX];
    uint8_t key[DIGEST_BYTES];
    digest_of(bytes, (size_t)picture(99, bytes), key);
    digest_to_hex(key, hex);
    CHECK_EQ(merge_one(cache, shard), ERR_EXISTS);
    CHECK_HAS(err.text, hex);

    const char *other = make_corpus("x", 1000, 1300, 1, NULL);
    shard = scratch_path(&scratch, "foreign");
    featurise(shard, other, 1000, 1300, 1, WEIGHTS, -1);
    CHECK_EQ(merge_one(cache, shard), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "another corpus");

    other = make_corpus("y", 0, 400, 1, NULL);
    shard = scratch_path(&scratch, "newer");
    featurise(shard, other, 390, 400, 1, WEIGHTS, -1);
    CHECK_EQ(merge_one(cache, shard), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "newer snapshot");

    other = make_corpus("rule", 400, 500, 1, "nfkc-space-1");
    featurise(other, other, 400, 500, 1, WEIGHTS, -1);
    CHECK_EQ(merge_one(cache, other), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "nfkc-space-1");
    CHECK_HAS(err.text, "nfc-space-1");

    /* a cache whose pictures could come in, but not its features: neither does */
    other = make_corpus("z", 500, 600, 1, NULL);
    featurise(other, other, 500, 600, 1, OTHER, -1);
    CHECK_EQ(merge_one(cache, other), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "weights");
    other = make_corpus("v", 99, 200, 1, NULL);
    featurise(other, other, 99, 200, 1, WEIGHTS, 99);
    CHECK_EQ(merge_one(cache, other), ERR_EXISTS);
    CHECK_HAS(err.text, hex);

    CHECK_EQ(merge_one(cache, cache), ERR_USAGE);
    CHECK_EQ(merge_one(cache, scratch.folder), ERR_NOT_FOUND);
    CHECK_EQ(merge_one(cache, scratch_path(&scratch, "nowhere")), ERR_NOT_FOUND);
    CHECK_STR(dump(cache), before);
    end();
}

/* A corpus with one image under an id, and maybe a class list. */
static const char *small(const char *name, const char *bytes, const char *classes)
{
    const char *cache = scratch_path(&scratch, name);
    struct corpus *c;
    struct corpus_image image = {.width_px = 1, .height_px = 1, .format = IMAGE_PNG};
    uint16_t source;
    uint32_t number;
    bool is_new;
    if (corpus_open(&c, cache, CORPUS_WRITE, &err) < 0 || corpus_begin(c, &err) < 0 ||
        corpus_intern(c, NAME_SOURCE, "m.tsv", &source, &err) < 0 ||
        corpus_add_image(c, &image, bytes, strlen(bytes), &number, &is_new, &err) < 0 ||
        corpus_add_id(c, source, "one.jpg", image.key, &err) < 0 ||
        (classes && corpus_set_classes(c, classes, &err) < 0) || corpus_commit(c, &err) < 0)
        abort();
    corpus_close(c);
    return cache;
}

TEST(conflicting_ids_and_classes_are_named)
{
    scratch_make(&scratch);
    static const char dog[] = "{\"classes\": {\"cat\": \"cat\", \"dog\": \"dog\"}}";
    static const char hound[] = "{\"classes\": {\"cat\": \"cat\", \"dog\": \"hound\"}}";
    static const char spaced[] = "{ \"classes\" : {\"dog\": \"dog\", \"cat\": \"cat\"}}";
    const char *a = small("a", "x", dog), *b = small("b", "y", NULL), *c = small("c", "x", hound),
               *d = small("d", "x", spaced), *e = small("e", "x", NULL);
    const char *before = dump(a);
    CHECK_EQ(merge_one(a, b), ERR_EXISTS);
    CHECK_HAS(err.text, "one.jpg");
    CHECK_HAS(err.text, "m.tsv");
    CHECK_EQ(merge_one(a, c), ERR_EXISTS);
    CHECK_HAS(err.text, "\"dog\"");
    CHECK_OK(merge_one(a, d), &err);
    CHECK_STR(dump(a), before);
    CHECK_OK(merge_one(e, a), &err);
    CHECK(merge_result(m)->corpus.has_classes);
    CHECK_STR(dump(e), before);
    end();
}

static bool stop_at_once(void *context)
{
    return ++*(int *)context > 1;
}

TEST(a_stopped_merge_goes_on)
{
    scratch_make(&scratch);
    const char *cache = make_corpus("c", 0, N, 1, NULL), *whole = make_corpus("w", 0, N, 1, NULL);
    const char *shard = scratch_path(&scratch, "s");
    featurise(shard, cache, 0, N, 2, WEIGHTS, -1);
    featurise(whole, whole, 0, N, 2, WEIGHTS, -1);
    int asked = 0;
    struct report report = {.context = &asked, .stopped = stop_at_once};
    CHECK_OK(merge_open(&m, cache, &(struct merge_options){0}, &err), &err);
    CHECK_EQ(merge_folder(m, shard, &report, &err), ERR_STOPPED);
    CHECK_EQ(merge_result(m)->sets[0].counts.n_new, N); /* the first view */
    CHECK_OK(merge_one(cache, shard), &err);
    CHECK_EQ(set()->counts.n_new, N);
    CHECK_STR(dump(cache), dump(whole));
    end();
}

TEST(any_failed_allocation_leaves_what_was_or_what_shall_be)
{
    scratch_make(&scratch);
    const char *a = make_corpus("a", 0, 20, 1, NULL), *b = make_corpus("b", 39, 9, -1, NULL);
    const char *whole = make_corpus("w", 0, 40, 1, NULL);
    featurise(a, a, 0, 20, 1, WEIGHTS, -1);
    featurise(b, b, 10, 40, 1, WEIGHTS, -1);
    featurise(whole, whole, 0, 40, 1, WEIGHTS, -1);
    int n_failed = 0, rc = -1;
    for (long nth = 1; rc < 0 && nth < 5000; nth++) {
        memory_fail_at(nth);
        rc = merge_one(a, b);
        memory_fail_at(0);
        if (rc < 0 && rc != ERR_NOMEM) CHECK_FAIL("allocation %ld: %s", nth, err.text);
        n_failed += rc < 0;
    }
    CHECK_EQ(rc, 0);
    CHECK(n_failed > 20);
    CHECK_STR(dump(a), dump(whole));
    end();
}

TEST_MAIN
