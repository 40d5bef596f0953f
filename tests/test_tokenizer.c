/* Token ids equal those of Hugging Face's XLMRobertaTokenizer.
 *
 * covers: sentencepiece
 */
#include "featurize/tokenizer.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"
#include "store/npy.h"
#include "tests/check.h"

static struct tokenizer *load(const char *teacher)
{
    char path[300], *bytes;
    size_t n;
    struct tokenizer *t;
    struct error err = {0};
    snprintf(path, sizeof path, "%s/model/sentencepiece.bpe.model", teacher);
    if (file_read(path, 1 << 28, &bytes, &n, &err) < 0 ||
        tokenizer_new(bytes, n, path, &t, &err) < 0) {
        CHECK_FAIL("%s", err.text);
        exit(1);
    }
    memory_free(bytes);
    return t;
}

static void check_ids(const struct json *want, const int32_t *ids, int n, const char *text)
{
    bool same = (size_t)n == json_size(want);
    for (int i = 0; same && i < n; i++) same = ids[i] == json_int(json_at(want, (size_t)i), -1);
    if (!same) CHECK_FAIL("\"%.60s\": %d ids, expected %d", text, n, (int)json_size(want));
}

static void check_list(const struct tokenizer *t, const struct json *list, int max_tokens)
{
    struct error err = {0};
    static int32_t ids[100000];
    CHECK(json_size(list) > 0);
    for (size_t i = 0; i < json_size(list); i++) {
        const struct json *c = json_at(list, i);
        const char *text = json_text(json_get(c, "text"), NULL);
        int whole, unknown,
            n = tokenizer_ids(t, text, strlen(text), 100000, ids, &whole, &unknown, &err);
        CHECK_OK(n, &err);
        check_ids(json_get(c, "ids"), ids, n, text);
        CHECK_EQ(whole, n);
        n = tokenizer_ids(t, text, strlen(text), max_tokens, ids, &whole, &unknown, &err);
        CHECK_OK(n, &err);
        check_ids(json_get(c, "ids_max"), ids, n, text);
        CHECK_EQ(whole, json_size(json_get(c, "ids")));
        int found = 0;
        for (int k = 0; k < n; k++) found += ids[k] == TOKEN_UNK;
        CHECK_EQ(unknown, found);
    }
}

static void check_teacher(const char *teacher)
{
    char path[300];
    struct error err = {0};
    struct tokenizer *t = load(teacher);
    snprintf(path, sizeof path, "%s/tokens.json", teacher);
    struct json *j = json_read_file(path, 1 << 24, &err);
    CHECK(j != NULL);
    int max_tokens = (int)json_int(json_get(j, "max_tokens"), 0);
    CHECK_EQ(tokenizer_vocab(t), json_int(json_get(j, "mask"), 0) + 1);
    check_list(t, json_get(j, "captions"), max_tokens);
    check_list(t, json_get(j, "edge"), max_tokens);
    json_free(j);
    tokenizer_free(t);
}

TEST(made_captions_and_edge_cases)
{
    check_teacher("tests/golden/altclip-tiny");
}

TEST(other_captions_and_edge_cases)
{
    if (!file_is_folder("../shared/golden/altclip-tiny")) SKIP("../shared/golden is not there");
    check_teacher("../shared/golden/altclip-tiny");
}

TEST(the_end_token_stays)
{
    struct tokenizer *t = load("tests/golden/altclip-tiny");
    struct error err = {0};
    int32_t ids[8];
    int whole;
    CHECK_EQ(tokenizer_ids(t, "red apple and dog face", 22, 3, ids, &whole, NULL, &err), 3);
    CHECK_EQ(ids[0], TOKEN_BOS);
    CHECK_EQ(ids[2], TOKEN_EOS);
    CHECK(whole > 3);
    CHECK_EQ(tokenizer_ids(t, "red apple", 9, 2, ids, NULL, NULL, &err), 2);
    CHECK_EQ(ids[1], TOKEN_EOS);
    CHECK_EQ(tokenizer_ids(t, "", 0, 8, ids, &whole, NULL, &err), 2);
    CHECK_EQ(whole, 2);
    CHECK_EQ(tokenizer_ids(t, "red", 3, 1, ids, NULL, NULL, &err), ERR_USAGE);
    CHECK_HAS(err.text, "max_tokens 1: at least 2");
    tokenizer_free(t);
}

TEST(what_is_no_model_is_refused)
{
    struct error err = {0};
    struct tokenizer *t;
    const char *bad[] = {"", "{}", "\x0a\xff\xff\xff\xff\x0f", "hello, this is no model"};
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(tokenizer_new(bad[i], strlen(bad[i]), "x.model", &t, &err), ERR_DATA);
        CHECK_HAS(err.text, "x.model: no SentencePiece model");
        CHECK(t == NULL);
    }
    char *bytes;
    size_t n;
    CHECK_OK(file_read("tests/golden/altclip-tiny/model/sentencepiece.bpe.model", 1 << 28, &bytes,
                       &n, &err),
             &err);
    for (size_t cut = 1; cut < n; cut += 1 + n / 20) {
        int rc = tokenizer_new(bytes, cut, "cut.model", &t, &err);
        if (rc == 0) tokenizer_free(t); /* cut between two pieces: a smaller model */
        CHECK(rc == 0 || rc == ERR_DATA);
    }
    memory_free(bytes);
}

TEST_MAIN
