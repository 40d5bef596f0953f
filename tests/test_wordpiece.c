/* WordPiece and the words of BERT, on a vocabulary made here.
 *
 * covers: words lexicon
 */
#include "featurize/tokenizer.h"
#include "store/memory.h"
#include "tests/check.h"

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nred\ndress\n##es\n,\n\xe8\xa3\x99\n"
                            "cafe\nt\n##s\n!\n\xf0\x9f\x91\x97\ndres\n$\nis\n'\n";

static struct tokenizer *make(const char *text, size_t n, bool lower)
{
    struct error err = {0};
    struct tokenizer *t = NULL;
    char *block = NULL;
    size_t n_block;
    struct words_rule rule = {lower, lower, true};
    if (tokenizer_pack_wordpiece(&rule, text, n, &block, &n_block, &err) < 0 ||
        tokenizer_new(block, n_block, "vocab.txt", &t, &err) < 0) {
        CHECK_FAIL("%s", err.text);
        exit(1);
    }
    memory_free(block);
    return t;
}

/* "2 4 5 3" */
static const char *ids_of(const struct tokenizer *t, const char *text, int most)
{
    static char line[400];
    struct error err = {0};
    int32_t ids[100];
    int n = tokenizer_ids(t, text, strlen(text), most, ids, NULL, NULL, &err), at = 0;
    if (n < 0) CHECK_FAIL("%s", err.text);
    *line = 0;
    for (int i = 0; i < n; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, "%s%d", i ? " " : "", ids[i]);
    return line;
}

TEST(words_and_pieces)
{
    struct tokenizer *t = make(vocab, sizeof vocab - 1, true);
    CHECK_EQ(tokenizer_vocab(t), 18);
    CHECK_STR(ids_of(t, "Red  dresses,", 100), "2 4 5 6 7 3");
    CHECK_STR(ids_of(t, "CAF\xc3\x89", 100), "2 9 3"); /* lower case, no accent */
    CHECK_STR(ids_of(t, "cafe\xcc\x81", 100), "2 9 3");
    CHECK_STR(ids_of(t,
                     "red\xe8\xa3\x99"
                     "dress",
                     100),
              "2 4 8 5 3");
    CHECK_STR(ids_of(t, "", 100), "2 3");
    CHECK_STR(ids_of(t, " \t\n\xe3\x80\x80", 100), "2 3"); /* an ideographic space */
    CHECK_STR(ids_of(t, "dressx red", 100), "2 1 4 3");    /* a word is known whole or not */
    CHECK_STR(ids_of(t, "\xf0\x9f\x91\x97", 100), "2 13 3");
    CHECK_STR(ids_of(t, "\xf0\x9f\x91\x97\xef\xb8\x8f", 100),
              "2 13 3"); /* a variation selector is a mark */
    CHECK_STR(ids_of(t,
                     "re\xe2\x80\x8d"
                     "d",
                     100),
              "2 4 3"); /* ZWJ is dropped */
    CHECK_STR(ids_of(t, "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb", 100), "2 1 3");
    CHECK_STR(ids_of(t, "$!it's", 100), "2 15 12 1 17 1 3");
    CHECK_STR(ids_of(t, "[SEP]", 100), "2 1 1 1 3"); /* no control token out of a text */
    CHECK_STR(ids_of(t, "red\xff!", 100), "2 4 12 3");
    tokenizer_free(t);
    t = make(vocab, sizeof vocab - 1, false);
    CHECK_STR(ids_of(t, "Red red", 100), "2 1 4 3");
    tokenizer_free(t);
}

TEST(the_end_token_stays)
{
    struct tokenizer *t = make(vocab, sizeof vocab - 1, true);
    struct error err = {0};
    int32_t ids[4];
    int whole, unknown;
    CHECK_EQ(tokenizer_ids(t, "red red red red", 15, 4, ids, &whole, &unknown, &err), 4);
    CHECK_EQ(ids[3], 3);
    CHECK_EQ(whole, 6);
    CHECK_EQ(tokenizer_ids(t, "zzz red zzz zzz", 15, 4, ids, &whole, &unknown, &err), 4);
    CHECK_EQ(unknown, 1);
    CHECK_STR(ids_of(t, "red red", 2), "2 3");
    tokenizer_free(t);
}

TEST(a_word_of_200_characters_and_one_of_201)
{
    static const char one[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##a\n";
    struct tokenizer *t = make(one, sizeof one - 1, true);
    struct error err = {0};
    char text[202];
    int32_t ids[300];
    memset(text, 'a', sizeof text);
    CHECK_EQ(tokenizer_ids(t, text, 200, 300, ids, NULL, NULL, &err), 202);
    CHECK_EQ(ids[200], 5);
    CHECK_EQ(tokenizer_ids(t, text, 201, 300, ids, NULL, NULL, &err), 3);
    CHECK_EQ(ids[1], 1);
    tokenizer_free(t);
}

TEST(lines_end_as_they_may)
{
    static const char dos[] = "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\nred\r\nred";
    struct tokenizer *t = make(dos, sizeof dos - 1, true);
    CHECK_EQ(tokenizer_vocab(t), 6);
    CHECK_STR(ids_of(t, "red", 9), "2 5 3"); /* the last of two */
    tokenizer_free(t);
}

TEST(hostile_files_are_refused)
{
    struct error err = {0};
    struct tokenizer *t;
    struct words_rule rule = {true, true, true};
    const char *bad[] = {"", "\n\n\n", "red\ndress\n", "[CLS]\n[SEP]\n[UNK]\n"};
    for (int i = 0; i < 4; i++) {
        char *block;
        size_t n;
        CHECK_OK(tokenizer_pack_wordpiece(&rule, bad[i], strlen(bad[i]), &block, &n, &err), &err);
        CHECK_EQ(tokenizer_new(block, n, "x/vocab.txt", &t, &err), ERR_DATA);
        CHECK_HAS(err.text, "x/vocab.txt: no line \"[");
        memory_free(block);
    }
    const char *blocks[] = {"{\"clipstill_tokenizer\":", "{\"clipstill_tokenizer\": 3}\n",
                            "{\"clipstill_tokenizer\": \"wordpiece\", \"vocab_bytes\": 9}\nabc",
                            "{\"clipstill_tokenizer\": \"wordpiece\", \"vocab_bytes\": -1}\n",
                            "{\"clipstill_tokenizer\": \"magic\", \"vocab_bytes\": 0}\n"};
    for (int i = 0; i < 5; i++)
        CHECK_EQ(tokenizer_new(blocks[i], strlen(blocks[i]), "block", &t, &err), ERR_DATA);
}

TEST_MAIN
