/* Changing what pairs say, and splits that keep near-duplicates together.
 *
 * covers: leaks
 */
#include "ingest/retag.h"

#include <unistd.h>

#include "ingest/leaks.h"
#include "store/file.h"
#include "tests/scratch.h"

static struct error err;
static struct scratch scratch;
static char *const cache = scratch.folder;

static void drop(void)
{
    scratch_remove(&scratch);
}

/* A corpus of drawn likenesses: image i has group i / 2, twins two bits apart. */
static void make(uint32_t n)
{
    struct corpus *c;
    scratch_make(&scratch);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    uint16_t en, source;
    CHECK_OK(corpus_intern(c, NAME_LANGUAGE, "und", &en, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_SOURCE, "s", &source, &err), &err);
    for (uint32_t i = 0; i < n; i++) {
        char text[60];
        bool is_new, changed;
        struct corpus_pair p = {.language = en,
                                .source = source,
                                .label = CORPUS_NO_NAME,
                                .split = i % 2 ? SPLIT_TEST : SPLIT_TRAIN,
                                .weight = 1};
        struct corpus_image image = {.format = IMAGE_JPEG, .orientation = 1, .has_likeness = true};
        image.likeness.hash = (i / 2 + 1) * 0x9e3779b97f4a7c15u ^ (i % 2 ? 3u : 0u);
        memset(image.likeness.colour, 128, 8);
        snprintf(text, sizeof text, i % 3 ? "bytes %u" : "\xe4\xb8\x80\xe5\xbc\xa0%u", i);
        CHECK_OK(corpus_add_image(c, &image, text, strlen(text), &p.image, &is_new, &err), &err);
        snprintf(text, sizeof text,
                 i % 3 ? "the dog and the cat are sitting on the old wall number %u"
                       : "\xea\xb0\x9c\xec\x99\x80 \xea\xb3\xa0\xec\x96\x91\xec\x9d\xb4 %u",
                 i);
        CHECK_OK(corpus_add_caption(c, text, strlen(text), &p.caption, &is_new, &err), &err);
        CHECK_OK(corpus_add_pair(c, &p, NULL, 0, &is_new, &changed, &err), &err);
    }
    CHECK_OK(corpus_commit(c, &err), &err);
    corpus_close(c);
}

static struct retag_result run(struct retag_options o, const char *condition)
{
    struct where w;
    struct retag_result r = {0};
    o.where = &w;
    int rc = where_parse(&w, &condition, condition ? 1 : 0, &err);
    if (rc == 0) rc = retag_run(cache, &o, NULL, &r, &err);
    if (rc < 0) CHECK_FAIL("%s", err.text);
    where_release(&w);
    return r;
}

static uint64_t n_leaking(void)
{
    struct corpus *c = NULL;
    struct leaks l = {0};
    int rc = corpus_open(&c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = leaks_open(&l, c, true, 0, &err);
    if (rc < 0) CHECK_FAIL("%s", err.text);
    uint64_t n = 0;
    for (uint32_t i = 0; i < l.n_images; i++) {
        n += leaks_image(&l, i);
        CHECK_EQ(l.group[i], i / 2 * 2);
        CHECK_EQ(l.n_in_group[i / 2 * 2], 2);
    }
    CHECK_EQ(n, l.n_leaking[0] + l.n_leaking[1] + l.n_leaking[2]);
    leaks_close(&l);
    corpus_close(c);
    return n;
}

TEST(splits_keep_twins_together)
{
    make(400);
    CHECK_EQ(n_leaking(), 400);
    struct retag_options o = retag_defaults();
    o.assign = true;
    CHECK_OK(retag_parse_shares("80/10/10", o.share, &err), &err);
    o.dry_run = true;
    struct retag_result r = run(o, NULL);
    CHECK_EQ(n_leaking(), 400);
    o.dry_run = false;
    struct retag_result again = run(o, NULL);
    CHECK_EQ(again.n_changed, r.n_changed);
    CHECK_EQ(n_leaking(), 0);
    CHECK_EQ(again.n_split[0] + again.n_split[1] + again.n_split[2], 400);
    CHECK(again.n_split[SPLIT_TRAIN] > 260 && again.n_split[SPLIT_VAL] > 10 &&
          again.n_split[SPLIT_TEST] > 10);
    CHECK_EQ(run(o, NULL).n_changed, 0); /* the same seed, the same splits */
    o.seed = 2;
    CHECK(run(o, NULL).n_changed > 0);
    drop();
}

TEST(languages_are_set_and_detected)
{
    make(60);
    struct retag_options o = retag_defaults();
    o.language = "auto";
    struct retag_result r = run(o, "split=train");
    CHECK_EQ(r.n_pairs, 30);
    CHECK_EQ(r.n_und, 0);
    CHECK_EQ(r.n_changed, 30);
    o.language = "EN-gb";
    CHECK_EQ(run(o, "lang=en").n_pairs, 20);
    CHECK_EQ(run(o, "lang=en-GB").n_changed, 0);
    CHECK_EQ(run(o, "lang=ko").n_pairs, 10);
    struct corpus *c;
    CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
    CHECK_EQ(corpus_verify(c, NULL, NULL, NULL, &err), 0);
    corpus_close(c);
    drop();
}

TEST(labels_splits_and_weights_are_set)
{
    make(10);
    struct retag_options o = retag_defaults();
    o.label = "dog";
    o.split = SPLIT_VAL;
    o.weight = 2.5;
    CHECK_EQ(run(o, "split=test").n_changed, 5);
    o.label = "";
    struct retag_result r = run(o, "label=dog");
    CHECK_EQ(r.n_changed, 5);
    CHECK_EQ(r.n_split[SPLIT_VAL], 5);
    drop();
}

TEST(what_makes_no_sense_is_refused)
{
    struct retag_options o = retag_defaults();
    struct retag_result r;
    struct where w = {0};
    double share[SPLIT_N];
    o.where = &w;
    CHECK_EQ(retag_run("/tmp/clipstill-absent", &o, NULL, &r, &err), ERR_USAGE);
    CHECK_HAS(err.text, "nothing to change");
    o.language = "english";
    CHECK_EQ(retag_run("/tmp/clipstill-absent", &o, NULL, &r, &err), ERR_USAGE);
    CHECK_HAS(err.text, "'english' is no language tag");
    o.language = "en";
    CHECK_EQ(retag_run("/tmp/clipstill-absent", &o, NULL, &r, &err), ERR_NOT_FOUND);
    CHECK(!file_exists("/tmp/clipstill-absent"));
    CHECK_EQ(retag_parse_shares("80/20", share, &err), ERR_USAGE);
    CHECK_EQ(retag_parse_shares("0/0/0", share, &err), ERR_USAGE);
    CHECK_EQ(retag_parse_shares("80/10/-1", share, &err), ERR_USAGE);
    CHECK_OK(retag_parse_shares("8,1,1", share, &err), &err);
    CHECK_NEAR(share[0], 0.8, 1e-12);
}

TEST_MAIN
