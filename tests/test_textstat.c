/* Counts of captions by language: characters, scripts, tokens, unknown and cut ones. */
#include "featurize/textstat.h"

#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

static struct error err;

static void add(struct corpus *c, const char *text, const char *language, uint32_t image)
{
    bool is_new, changed;
    struct corpus_pair p = {.image = image, .label = CORPUS_NO_NAME, .weight = 1};
    CHECK_OK(corpus_add_caption(c, text, strlen(text), &p.caption, &is_new, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_LANGUAGE, language, &p.language, &err), &err);
    CHECK_OK(corpus_add_pair(c, &p, NULL, 0, &is_new, &changed, &err), &err);
}

TEST(captions_count_once_a_language)
{
    struct scratch scratch;
    char *bytes = NULL;
    size_t n = 0;
    struct corpus *c;
    struct tokenizer *tokenizer;
    uint32_t image[2];
    uint16_t source;
    bool is_new;
    scratch_make(&scratch);
    CHECK_OK(corpus_open(&c, scratch.folder, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    for (int i = 0; i < 2; i++) {
        struct corpus_image im = {.format = IMAGE_JPEG, .orientation = 1};
        CHECK_OK(corpus_add_image(c, &im, i ? "b" : "a", 1, &image[i], &is_new, &err), &err);
    }
    CHECK_OK(corpus_intern(c, NAME_SOURCE, "s", &source, &err), &err);
    add(c, "red heart", "en", image[0]);
    add(c, "red heart", "en", image[1]); /* the same caption of another picture */
    add(c, "red heart", "de", image[0]); /* and in another language */
    add(c, "a b c d e f g h i j k l m n o p", "en", image[0]);
    add(c, "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa", "de", image[1]); /* a flag: one character */
    CHECK_OK(corpus_commit(c, &err), &err);
    CHECK_OK(file_read("tests/golden/altclip-tiny/model/sentencepiece.bpe.model", 1 << 24, &bytes,
                       &n, &err),
             &err);
    CHECK_OK(tokenizer_new(bytes, n, "golden", &tokenizer, &err), &err);
    struct textstat t;
    CHECK_OK(textstat_run(&t, c, tokenizer, 12, NULL, &err), &err);
    CHECK_EQ(t.n, 2);
    CHECK_STR(t.languages[1].name[0] == 'e' ? "en" : "de", t.languages[1].name);
    for (size_t i = 0; i < t.n; i++) {
        const struct textstat_language *l = &t.languages[i];
        bool is_en = !strcmp(l->name, "en");
        CHECK_EQ(l->n_captions, 2);
        CHECK_EQ(l->measure.n_clusters, is_en ? 9 + 31 : 9 + 1);
        CHECK_EQ(l->n_truncated, is_en);
        int32_t ids[64];
        int whole, unknown, n_tokens = 0, n_unknown = 0;
        const char *texts[] = {"red heart", is_en ? "a b c d e f g h i j k l m n o p"
                                                  : "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa"};
        for (int k = 0; k < 2; k++) {
            CHECK(tokenizer_ids(tokenizer, texts[k], strlen(texts[k]), 64, ids, &whole, &unknown,
                                &err) > 0);
            n_tokens += whole - 2;
            n_unknown += unknown;
        }
        CHECK_EQ(l->n_tokens, n_tokens);
        CHECK_EQ(l->n_unknown, n_unknown);
    }
    textstat_release(&t);
    CHECK_OK(textstat_run(&t, c, NULL, 0, NULL, &err), &err);
    CHECK_EQ(t.languages[0].n_tokens, 0);
    textstat_release(&t);
    tokenizer_free(tokenizer);
    memory_free(bytes);
    corpus_close(c);
    scratch_remove(&scratch);
}

TEST_MAIN
