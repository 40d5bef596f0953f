/* Batches of a training run: lists, views, pixels whatever the cache's size, tokens, masks, pinning, weights.
 *
 * covers: loaderfill roster subword targets
 */
#include <omp.h>

#include "featurize/tokenizer.h"
#include "tests/check.h"
#include "tests/traincache.h"
#include "train/contrast.h"
#include "train/loader.h"

static struct traincache cache;
static struct tokenizer *tokenizer;

static void __attribute__((constructor)) set_up(void)
{
    struct error err;
    char *bytes;
    size_t n;
    traincache_make(&cache);
    if (file_read("tests/golden/altclip-tiny/model/sentencepiece.bpe.model", 1 << 24, &bytes, &n,
                  &err) < 0 ||
        tokenizer_new(bytes, n, "golden", &tokenizer, &err) < 0)
        tc_die("tokenizer", &err);
    memory_free(bytes);
}

static void __attribute__((destructor)) tear_down(void)
{
    tokenizer_free(tokenizer);
    traincache_remove(&cache);
}

static struct loader_options options(void)
{
    return (struct loader_options){.cache = cache.cache,
                                   .seed = 3,
                                   .image_sets = {"image.final", "image.block1@2x2"},
                                   .text_sets = {"text.final"},
                                   .n_image_sets = 2,
                                   .n_text_sets = 1,
                                   .want_pixels = true,
                                   .side = 32,
                                   .tokenizer = tokenizer,
                                   .max_tokens = 20};
}

TEST(lists_and_targets)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    CHECK_OK(loader_open(&l, &o, &err), &err);
    CHECK_EQ(loader_n(l, SPLIT_TRAIN, LOADER_IMAGES), TC_TRAIN);
    CHECK_EQ(loader_n(l, SPLIT_VAL, LOADER_IMAGES), TC_IMAGES - TC_TRAIN);
    CHECK_EQ(loader_n(l, SPLIT_TRAIN, LOADER_PAIRS), 3 * TC_TRAIN);
    CHECK_EQ(loader_n(l, SPLIT_TRAIN, LOADER_CAPTIONS), 2 * TC_TRAIN + TC_TRAIN / 3);
    CHECK_EQ(loader_n_views(l), TC_VIEWS);
    CHECK_EQ(loader_n_labels(l), 3);
    struct loader_batch b = {0};
    uint32_t index[4] = {7, 2, 2, 14};
    CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_IMAGES, 0, index, 4, &b, &err), &err);
    struct corpus *c;
    loader_close(l);
    CHECK_OK(corpus_open(&c, cache.cache, CORPUS_READ, &err), &err);
    for (int i = 0; i < 4; i++) {
        struct corpus_image image;
        CHECK_OK(corpus_get_image(c, b.image[i], &image, &err), &err);
        double dot[TC_VIEWS] = {0}, norm[TC_VIEWS] = {0};
        for (uint32_t v = 0; v < TC_VIEWS; v++) {
            for (int j = 0; j < TC_DIM; j++) {
                double x = (double)tc_value(image.key, v, j);
                dot[v] += x * (double)b.image_target[0][i * TC_DIM + j];
                norm[v] += x * x;
            }
        }
        double best = fmax(dot[0] / sqrt(norm[0]), dot[1] / sqrt(norm[1]));
        CHECK_NEAR(best, 1, 1e-5); /* the feature of one of its views */
        CHECK_EQ(b.label[i], (int)(b.image[i] % 3));
    }
    CHECK(!memcmp(b.image_target[0] + TC_DIM, b.image_target[0] + 2 * TC_DIM,
                  TC_DIM * sizeof(float)));
    CHECK(!memcmp(b.pixels + 32 * 32 * 3, b.pixels + 2 * 32 * 32 * 3, 32 * 32 * 3));
    corpus_close(c);
    loader_batch_release(&b);
}

/* Over the epochs every view comes, with its own pixels. */
TEST(views_take_turns)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    CHECK_OK(loader_open(&l, &o, &err), &err);
    struct loader_batch a = {0}, b = {0};
    uint32_t index[1] = {4};
    CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_IMAGES, 0, index, 1, &a, &err), &err);
    CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_IMAGES, 1, index, 1, &b, &err), &err);
    CHECK(memcmp(a.image_target[0], b.image_target[0], TC_DIM * sizeof(float)) != 0);
    CHECK(memcmp(a.pixels, b.pixels, 32 * 32 * 3) != 0);
    CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_IMAGES, 2, index, 1, &b, &err), &err);
    CHECK(!memcmp(a.pixels, b.pixels, 32 * 32 * 3));
    loader_batch_release(&a);
    loader_batch_release(&b);
    loader_close(l);
}

/* The same bytes with a pixel cache of nothing, of a few slots, of all, with any number of threads,
 * augmented or not. */
TEST(pixels_do_not_depend_on_cache_or_threads)
{
    struct error err;
    uint32_t order[TC_TRAIN];
    for (int augment = 0; augment < 2; augment++) {
        uint8_t digest[DIGEST_BYTES], first[DIGEST_BYTES];
        for (int k = 0; k < 4; k++) {
            struct loader *l;
            struct loader_options o = options();
            o.augment = augment;
            o.pixel_bytes = k == 0 ? 1 : k == 1 ? 40000 : 0;
            o.feature_bytes = k == 0 ? 1 : 0;
            omp_set_num_threads(k == 3 ? 3 : 1 + k % 2);
            CHECK_OK(loader_open(&l, &o, &err), &err);
            struct loader_batch b = {0};
            struct digest *d = digest_new(&err);
            for (uint32_t epoch = 0; epoch < 3; epoch++) {
                loader_order(l, LOADER_IMAGES, epoch, order);
                CHECK_OK(
                    loader_fill(l, SPLIT_TRAIN, LOADER_IMAGES, epoch, order, TC_TRAIN, &b, &err),
                    &err);
                digest_add(d, b.pixels, (size_t)TC_TRAIN * 32 * 32 * 3);
                digest_add(d, b.image_target[1], TC_TRAIN * TC_HIDDEN * 4 * sizeof(float));
                CHECK_OK(loader_fill(l, SPLIT_VAL, LOADER_IMAGES, epoch, (uint32_t[]){0, 1, 2}, 3,
                                     &b, &err),
                         &err);
                digest_add(d, b.pixels, (size_t)3 * 32 * 32 * 3);
            }
            digest_finish(d, digest);
            if (k == 0) memcpy(first, digest, sizeof first);
            CHECK(!memcmp(first, digest, sizeof first));
            loader_batch_release(&b);
            loader_close(l);
        }
    }
}

TEST(order_is_a_permutation_by_epoch)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    CHECK_OK(loader_open(&l, &o, &err), &err);
    uint32_t a[3 * TC_TRAIN], b[3 * TC_TRAIN];
    loader_order(l, LOADER_PAIRS, 0, a);
    int seen[3 * TC_TRAIN] = {0};
    for (int i = 0; i < 3 * TC_TRAIN; i++) seen[a[i]]++;
    for (int i = 0; i < 3 * TC_TRAIN; i++) CHECK_EQ(seen[i], 1);
    loader_order(l, LOADER_PAIRS, 1, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    loader_order(l, LOADER_PAIRS, 0, b);
    CHECK(!memcmp(a, b, sizeof a));
    loader_close(l);
}

/* Field pairs weigh three times as much: over an epoch each is drawn about three times as often. */
TEST(sources_are_mixed_by_weight)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    o.source_names = (const char *const[]){"field"};
    o.source_weights = (const double[]){3};
    o.n_source_weights = 1;
    CHECK_OK(loader_open(&l, &o, &err), &err);
    struct loader_batch b = {0};
    uint32_t order[3 * TC_TRAIN];
    int field = 0, draws = 0;
    for (uint32_t epoch = 0; epoch < 8; epoch++) {
        loader_order(l, LOADER_PAIRS, epoch, order);
        CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_PAIRS, epoch, order, 3 * TC_TRAIN, &b, &err),
                 &err);
        for (int i = 0; i < b.n; i++) field += b.image[i] % 4 == 0;
        draws += b.n;
    }
    double share = 4 * 3.0 / (4 * 3.0 + 11); /* 4 field photos of 15 */
    CHECK_NEAR((double)field / draws, share, 0.02);
    loader_batch_release(&b);
    loader_close(l);
}

/* Photos 0, 1, 2 share a Chinese caption: it is no negative of any of them. */
TEST(shared_captions_are_masked)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    CHECK_OK(loader_open(&l, &o, &err), &err);
    struct loader_batch b = {0};
    uint32_t all[3 * TC_TRAIN];
    for (uint32_t i = 0; i < 3 * TC_TRAIN; i++) all[i] = i;
    int n = 3 * TC_TRAIN, n_masked = 0;
    CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_PAIRS, 0, all, n, &b, &err), &err);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            if (i == j) continue;
            bool linked = b.image[i] == b.image[j];
            for (int k = 0; k < n; k++)
                linked |= b.image[k] == b.image[i] && b.caption[k] == b.caption[j];
            CHECK_EQ(b.cells[i * n + j], linked ? CELL_MASKED : CELL_NEGATIVE);
            n_masked += linked && b.image[i] != b.image[j];
        }
    }
    CHECK(n_masked > 0);
    loader_batch_release(&b);
    loader_close(l);
}

TEST(tokens_are_the_tokenizers)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    CHECK_OK(loader_open(&l, &o, &err), &err);
    struct loader_batch b = {0};
    CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_CAPTIONS, 0, (uint32_t[]){5, 0}, 2, &b, &err),
             &err);
    CHECK_EQ(b.offsets[0], 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(b.ids[b.offsets[i]], TOKEN_BOS);
        CHECK_EQ(b.ids[b.offsets[i + 1] - 1], TOKEN_EOS);
        CHECK(b.offsets[i + 1] - b.offsets[i] <= 20);
    }
    struct json *unknown = loader_unknown(l);
    CHECK(json_number(json_get(json_get(unknown, "zh"), "train"), 0) > 0);
    json_free(unknown);
    loader_batch_release(&b);
    loader_close(l);
}

TEST(dropped_tokens_change_by_epoch_and_never_touch_the_ends)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    o.token_drop = 0.5;
    CHECK_OK(loader_open(&l, &o, &err), &err);
    struct loader_batch whole = {0}, b = {0};
    uint32_t index[1] = {0};
    CHECK_OK(loader_fill(l, SPLIT_VAL, LOADER_CAPTIONS, 0, index, 1, &whole, &err), &err);
    CHECK_OK(loader_fill(l, SPLIT_VAL, LOADER_CAPTIONS, 1, index, 1, &b, &err), &err);
    CHECK_EQ(b.offsets[1], whole.offsets[1]); /* validation is never thinned */
    int shortest = 1000, longest = 0;
    for (uint32_t epoch = 0; epoch < 20; epoch++) {
        CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_CAPTIONS, epoch, index, 1, &b, &err), &err);
        int n = b.offsets[1];
        CHECK(n > 2);
        CHECK_EQ(b.ids[0], TOKEN_BOS);
        CHECK_EQ(b.ids[n - 1], TOKEN_EOS);
        if (n < shortest) shortest = n;
        if (n > longest) longest = n;
        CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_CAPTIONS, epoch, index, 1, &whole, &err), &err);
        CHECK(whole.offsets[1] == n && !memcmp(whole.ids, b.ids, (size_t)n * sizeof *b.ids));
    }
    CHECK(shortest < longest);
    loader_batch_release(&whole);
    loader_batch_release(&b);
    loader_close(l);
}

/* The text that ids spell, spaces as U+2581. */
static void spell(const struct tokenizer *t, const int32_t *ids, int n, char *text)
{
    *text = 0;
    for (int i = 0; i < n; i++) {
        const char *piece = tokenizer_piece(t, ids[i]);
        if (piece) strcat(text, piece);
    }
}

TEST(split_tokens_spell_the_same_text_in_other_pieces)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    struct loader_batch whole = {0}, b = {0};
    uint32_t index[1] = {0};
    char want[400], got[400];
    int longest = 0;
    o.max_tokens = 60; /* room for longer spellings */
    CHECK_OK(loader_open(&l, &o, &err), &err);
    CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_CAPTIONS, 0, index, 1, &whole, &err), &err);
    spell(o.tokenizer, whole.ids, whole.offsets[1], want);
    loader_close(l);
    o.token_split = 0.5;
    CHECK_OK(loader_open(&l, &o, &err), &err);
    for (uint32_t epoch = 0; epoch < 20; epoch++) {
        CHECK_OK(loader_fill(l, SPLIT_TRAIN, LOADER_CAPTIONS, epoch, index, 1, &b, &err), &err);
        CHECK(b.offsets[1] >= whole.offsets[1] && b.offsets[1] <= o.max_tokens);
        spell(o.tokenizer, b.ids, b.offsets[1], got);
        CHECK_STR(got, want);
        if (b.offsets[1] > longest) longest = b.offsets[1];
    }
    CHECK(longest > whole.offsets[1]);
    loader_batch_release(&whole);
    loader_batch_release(&b);
    loader_close(l);
}

TEST(a_pinned_run_does_not_see_later_records)
{
    struct error err;
    struct loader *l;
    struct loader_options o = options();
    CHECK_OK(loader_open(&l, &o, &err), &err);
    char *pinned, digest[DIGEST_HEX];
    size_t n;
    CHECK_OK(loader_pinned(l, &pinned, &n, &err), &err);
    snprintf(digest, sizeof digest, "%s", loader_digest(l));
    loader_close(l);
    traincache_add_pair(&cache, 3, "Bild 4 mit einer roten Blume");
    CHECK_OK(loader_open(&l, &o, &err), &err);
    CHECK(strcmp(digest, loader_digest(l)) != 0);
    loader_close(l);
    o.pinned = pinned;
    o.n_pinned = n;
    CHECK_OK(loader_open(&l, &o, &err), &err);
    CHECK_STR(loader_digest(l), digest);
    CHECK_EQ(loader_n(l, SPLIT_TRAIN, LOADER_PAIRS), 3 * TC_TRAIN);
    loader_close(l);
    pinned[n / 2]++;
    int rc = loader_open(&l, &o, &err);
    CHECK(rc < 0 || strcmp(digest, loader_digest(l)) != 0);
    if (rc == 0) loader_close(l);
    o.n_pinned = n - 4;
    CHECK_EQ(loader_open(&l, &o, &err), ERR_CORRUPT);
    memory_free(pinned);
}

TEST_MAIN
