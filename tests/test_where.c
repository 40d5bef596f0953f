/* Conditions on pairs: what they mean, and what is said of bad ones. */
#include "store/where.h"

#include "store/file.h"
#include "tests/scratch.h"

static struct corpus *c;
static struct error err;
static struct scratch scratch;
static char *const cache = scratch.folder;

static void make(void)
{
    uint16_t id;
    scratch_make(&scratch);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    const char *languages[] = {"en", "de", "zh"}, *sources[] = {"coco", "field.tsv"};
    for (int i = 0; i < 3; i++)
        CHECK_OK(corpus_intern(c, NAME_LANGUAGE, languages[i], &id, &err), &err);
    for (int i = 0; i < 2; i++)
        CHECK_OK(corpus_intern(c, NAME_SOURCE, sources[i], &id, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_LABEL, "dress", &id, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
}

static void drop(void)
{
    corpus_close(c);
    scratch_remove(&scratch);
}

static const struct corpus_pair en = {.language = 0, .source = 0, .label = CORPUS_NO_NAME},
                                de = {.language = 1, .source = 1, .label = 0, .split = SPLIT_VAL};

static void means(const char *a, const char *b, bool wants_en, bool wants_de)
{
    const char *words[] = {a, b};
    struct where w;
    CHECK_OK(where_parse(&w, words, b ? 2 : a ? 1 : 0, &err), &err);
    CHECK_OK(where_bind(&w, c, &err), &err);
    if (where_matches(&w, &en) != wants_en || where_matches(&w, &de) != wants_de)
        CHECK_FAIL("%s %s means another pair", a ? a : "", b ? b : "");
    where_release(&w);
}

TEST(what_conditions_mean)
{
    make();
    means(NULL, NULL, true, true);
    means("lang=en", NULL, true, false);
    means("lang=zh|de", NULL, false, true);
    means("lang!=zh|de", NULL, true, false);
    means("lang!=zh", NULL, true, true);
    means("source=coco", "lang=de", false, false);
    means("source=field.tsv", "split=dev", false, true);
    means("split!=val", NULL, true, false);
    means("label=", NULL, true, false);
    means("label=dress|", NULL, true, true);
    means("label!=", NULL, false, true);
    drop();
}

static void refused(const char *word, int code, const char *sentence)
{
    struct where w;
    struct error why = {0};
    int rc = where_parse(&w, &word, 1, &why);
    if (rc == 0) rc = where_bind(&w, c, &why);
    CHECK_EQ(rc, code);
    CHECK_HAS(why.text, sentence);
    where_release(&w);
}

TEST(bad_conditions_are_named)
{
    make();
    refused("colour=red", ERR_USAGE, "'colour=red' is no condition");
    refused("lang", ERR_USAGE, "'lang' is no condition");
    refused("=x", ERR_USAGE, "is no condition");
    refused("lang=fr", ERR_NOT_FOUND, "lang=fr: the corpus has none; it has: en, de, zh");
    refused("split=trian", ERR_USAGE, "expected train, val or test");
    drop();
}

TEST_MAIN
