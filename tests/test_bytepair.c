/* Byte pairs, on a vocabulary made here: 512 bytes, a few merges. */
#include "featurize/bytepair.h"

#include "featurize/tokenizer.h"
#include "store/json.h"
#include "store/memory.h"
#include "tests/check.h"

static const char merges[] = "#version: 0.2\nr e\nre d</w>\na b\nab c\n' s</w>\nb c\n";

/* Ids: bytes in order of their value, the same at a word's end, the merges, begin, end. */
static char *make_vocab(const char *without, size_t *n)
{
    struct error err = {0};
    struct json *j = json_new_object();
    static const char *const joined[] = {"re", "red</w>", "ab", "abc", "'s</w>", "bc"};
    for (int i = 0, others = 0; i < 256; i++) {
        bool prints = (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        int c = prints ? i : 256 + others++;
        char text[16], last[16];
        if (c < 0x80)
            snprintf(text, sizeof text, "%c", c);
        else
            snprintf(text, sizeof text, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 63));
        snprintf(last, sizeof last, "%.8s</w>", text);
        if (strcmp(text, without)) json_set_int(j, text, i);
        json_set_int(j, last, 256 + i);
    }
    for (int i = 0; i < 6; i++)
        if (strcmp(joined[i], without)) json_set_int(j, joined[i], 512 + i);
    json_set_int(j, "<|startoftext|>", 518);
    if (strcmp(without, "<|endoftext|>")) json_set_int(j, "<|endoftext|>", 519);
    char *text = json_write(j, JSON_LINE, &err);
    json_free(j);
    *n = strlen(text);
    return text;
}

static struct bytepair *make(void)
{
    struct error err = {0};
    struct bytepair *b = NULL;
    size_t n;
    char *vocab = make_vocab("", &n);
    if (bytepair_new(vocab, n, merges, sizeof merges - 1, "dir", &b, &err) < 0) {
        CHECK_FAIL("%s", err.text);
        exit(1);
    }
    memory_free(vocab);
    return b;
}

static const char *ids_of(const struct bytepair *b, const char *text)
{
    static char line[400];
    struct error err = {0};
    int32_t ids[60];
    int64_t n = bytepair_encode(b, text, strlen(text), ids, 60, &err);
    int at = 0;
    CHECK(n >= 0 && n <= 60);
    *line = 0;
    for (int i = 0; i < n; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, "%s%d", i ? " " : "", ids[i]);
    return line;
}

TEST(bytes_are_joined_in_order_of_the_file)
{
    struct bytepair *b = make();
    CHECK_EQ(b->n_ids, 520);
    CHECK_STR(ids_of(b, "Red"), "513");
    CHECK_STR(ids_of(b, "red red"), "513 513");
    CHECK_STR(ids_of(b, "re"), "114 357"); /* "re" inside of a word is no "re</w>" */
    CHECK_STR(ids_of(b, "rex"), "512 376");
    CHECK_STR(ids_of(b, "abcx"), "515 376"); /* a b before b c */
    CHECK_STR(ids_of(b, "abab x"), "514 97 354 376");
    CHECK_STR(ids_of(b, "red's"), "513 516");
    CHECK_STR(ids_of(b, "!'s"), "33 295 371"); /* in a run of signs an apostrophe is a sign */
    CHECK_STR(ids_of(b, "12"), "305 306");     /* digits stand alone */
    CHECK_STR(ids_of(b, ""), "");
    CHECK_STR(ids_of(b, " \n\t"), "");
    bytepair_free(b);
}

TEST(any_text_is_known)
{
    struct bytepair *b = make();
    CHECK_STR(ids_of(b, "\xc3\xa9"), "195 425");
    CHECK_STR(ids_of(b, "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb"),
              "240 159 145 169 226 128 141 240 159 146 443"); /* one run: emoji, ZWJ, emoji */
    CHECK_STR(ids_of(b, "red\xff"
                        "x"),
              "512 100 376"); /* no UTF-8: left out */
    CHECK_STR(ids_of(b, "<|endoftext|>"), "60 380 101 110 100 111 102 116 101 120 372 124 318");
    bytepair_free(b);
}

TEST(a_long_word_takes_no_long_time)
{
    struct bytepair *b = make();
    struct error err = {0};
    enum { N = 1 << 20 };
    char *text = memory_array(N, 1, MEMORY_MAX_SMALL, &err);
    int32_t ids[4];
    for (int i = 0; i < N; i++) text[i] = "abc"[i % 3];
    CHECK_EQ(bytepair_encode(b, text, N, ids, 4, &err), (N + 2) / 3);
    CHECK_EQ(ids[0], 515);
    memory_free(text);
    bytepair_free(b);
}

TEST(the_end_token_stays_and_blocks_come_back)
{
    struct error err = {0};
    struct tokenizer *t;
    size_t n, n_block, n_file;
    char *vocab = make_vocab("", &n), *block;
    const void *file;
    int32_t ids[4];
    int whole;
    CHECK_OK(tokenizer_pack_bytepair(vocab, n, merges, sizeof merges - 1, &block, &n_block, &err),
             &err);
    CHECK_OK(tokenizer_new(block, n_block, "block", &t, &err), &err);
    CHECK_EQ(tokenizer_ids(t, "red red red red", 15, 4, ids, &whole, NULL, &err), 4);
    CHECK_EQ(ids[0], 518);
    CHECK_EQ(ids[3], 519);
    CHECK_EQ(whole, 6);
    CHECK_EQ(tokenizer_ids(t, "", 0, 4, ids, NULL, NULL, &err), 2);
    CHECK_STR(tokenizer_file(t, 1, &file, &n_file), "merges.txt");
    CHECK(n_file == sizeof merges - 1 && !memcmp(file, merges, n_file));
    CHECK(tokenizer_file(t, 2, &file, &n_file) == NULL);
    tokenizer_free(t);
    memory_free(block);
    memory_free(vocab);
}

static void refused(const char *without, const char *text, const char *says)
{
    struct error err = {0};
    struct bytepair *b;
    size_t n;
    char *vocab = make_vocab(without, &n);
    CHECK_EQ(bytepair_new(vocab, n, text, strlen(text), "dir", &b, &err), ERR_DATA);
    CHECK(b == NULL);
    CHECK_HAS(err.text, says);
    memory_free(vocab);
}

TEST(hostile_files_are_refused)
{
    struct error err = {0};
    struct bytepair *b;
    refused("<|endoftext|>", merges, "dir/vocab.json: the token \"<|endoftext|>\" is missing");
    refused("x", merges, "the token \"x\" is missing");
    refused("abc", merges, "dir/merges.txt:5: dir/vocab.json: the token \"abc\" is missing");
    refused("", "#\nab\n", "dir/merges.txt:2: expected two tokens");
    refused("", "#\na b c\n", "dir/merges.txt:2: expected two tokens");
    refused("", "#\nzz q\n", "dir/merges.txt:2");
    CHECK_EQ(bytepair_new("[", 1, "", 0, "dir", &b, &err), ERR_DATA);
    CHECK_HAS(err.text, "dir/vocab.json");
    CHECK_EQ(bytepair_new("{\"\xc4\x80\": 99999999}", 16, "", 0, "dir", &b, &err), ERR_DATA);
    CHECK_HAS(err.text, "is no id");
}

TEST_MAIN
