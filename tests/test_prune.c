/* A pruned vocabulary is a real model: smaller, loaded by the library, and equal wherever its
 * pieces suffice. */
#include "featurize/tokenizer.h"
#include "store/file.h"
#include "store/json.h"
#include "store/memory.h"
#include "tests/check.h"

static struct tokenizer *load(void)
{
    char *bytes;
    size_t n;
    struct tokenizer *t;
    struct error err = {0};
    const char *path = "tests/golden/altclip-tiny/model/sentencepiece.bpe.model";
    if (file_read(path, 1 << 28, &bytes, &n, &err) < 0 ||
        tokenizer_new(bytes, n, path, &t, &err) < 0) {
        printf("# %s\n", err.text);
        exit(1);
    }
    memory_free(bytes);
    return t;
}

/* The golden captions, all of them or the odd ones. */
static struct json *captions(void)
{
    struct error err = {0};
    return json_read_file("tests/golden/altclip-tiny/tokens.json", 1 << 24, &err);
}

static const char *caption(const struct json *j, size_t i)
{
    return json_text(json_get(json_at(json_get(j, "captions"), i), "text"), NULL);
}

static uint8_t *pieces_of_captions(const struct tokenizer *t, const struct json *j, size_t n)
{
    struct error err = {0};
    uint8_t *keep = memory_array((uint64_t)tokenizer_vocab(t), 1, MEMORY_MAX_SMALL, &err);
    for (size_t i = 0; i < n; i++) {
        int32_t ids[1000];
        const char *text = caption(j, i);
        int n_ids = tokenizer_ids(t, text, strlen(text), 1000, ids, NULL, NULL, &err);
        for (int k = 0; k < n_ids; k++)
            if (ids[k] > TOKEN_UNK) keep[ids[k] - 1] = 1;
    }
    return keep;
}

TEST(texts_of_kept_pieces_keep_their_pieces)
{
    struct error err = {0};
    struct tokenizer *t = load(), *small;
    struct json *j = captions();
    size_t n_captions = json_size(json_get(j, "captions")), n_model, n_old;
    uint8_t *keep = pieces_of_captions(t, j, n_captions);
    char *model;
    int32_t *old_of_new;
    int n_new;
    CHECK_OK(tokenizer_prune(t, keep, &model, &n_model, &old_of_new, &n_new, &err), &err);
    tokenizer_model(t, &n_old);
    CHECK(n_model < n_old);
    CHECK(n_new < tokenizer_vocab(t));
    CHECK_OK(tokenizer_new(model, n_model, "small", &small, &err), &err);
    CHECK_EQ(tokenizer_vocab(small), n_new);
    CHECK_EQ(old_of_new[n_new - 1], tokenizer_vocab(t) - 1);
    for (size_t i = 0; i < n_captions; i++) {
        int32_t a[1000], b[1000];
        const char *text = caption(j, i);
        int na = tokenizer_ids(t, text, strlen(text), 1000, a, NULL, NULL, &err);
        int nb = tokenizer_ids(small, text, strlen(text), 1000, b, NULL, NULL, &err);
        CHECK_EQ(na, nb);
        for (int k = 0; k < na && k < nb; k++) CHECK_EQ(old_of_new[b[k]], a[k]);
    }
    tokenizer_free(small);
    tokenizer_free(t);
    json_free(j);
    memory_free(keep);
    memory_free(model);
    memory_free(old_of_new);
}

/* With nothing asked for, single characters still spell everything that was known. */
TEST(nothing_known_becomes_unknown)
{
    struct error err = {0};
    struct tokenizer *t = load(), *small;
    struct json *j = captions();
    uint8_t *keep = memory_array((uint64_t)tokenizer_vocab(t), 1, MEMORY_MAX_SMALL, &err);
    char *model;
    size_t n_model;
    int32_t *old_of_new;
    int n_new;
    CHECK_OK(tokenizer_prune(t, keep, &model, &n_model, &old_of_new, &n_new, &err), &err);
    CHECK_OK(tokenizer_new(model, n_model, "small", &small, &err), &err);
    for (size_t i = 0; i < json_size(json_get(j, "captions")); i++) {
        int32_t ids[2000];
        const char *text = caption(j, i);
        int before, after;
        CHECK_OK(tokenizer_ids(t, text, strlen(text), 2000, ids, NULL, &before, &err), &err);
        CHECK_OK(tokenizer_ids(small, text, strlen(text), 2000, ids, NULL, &after, &err), &err);
        CHECK_EQ(after, before);
    }
    for (int i = 5; i < n_new; i++) CHECK(old_of_new[i - 1] < old_of_new[i]);
    tokenizer_free(small);
    tokenizer_free(t);
    json_free(j);
    memory_free(keep);
    memory_free(model);
    memory_free(old_of_new);
}

TEST(keeping_everything_changes_no_byte)
{
    struct error err = {0};
    struct tokenizer *t = load();
    uint8_t *keep = memory_array((uint64_t)tokenizer_vocab(t), 1, MEMORY_MAX_SMALL, &err);
    memset(keep, 1, (size_t)tokenizer_vocab(t));
    char *model;
    size_t n_model, n_old;
    int32_t *old_of_new;
    int n_new;
    CHECK_OK(tokenizer_prune(t, keep, &model, &n_model, &old_of_new, &n_new, &err), &err);
    const void *whole = tokenizer_model(t, &n_old);
    CHECK_EQ(n_model, n_old);
    CHECK(n_model == n_old && !memcmp(model, whole, n_old));
    CHECK_EQ(n_new, tokenizer_vocab(t));
    for (int i = 0; i < n_new; i++) CHECK_EQ(old_of_new[i], i);
    tokenizer_free(t);
    memory_free(keep);
    memory_free(model);
    memory_free(old_of_new);
}

TEST(memory_running_out_leaks_nothing)
{
    struct error err = {0};
    struct tokenizer *t = load();
    uint8_t *keep = memory_array((uint64_t)tokenizer_vocab(t), 1, MEMORY_MAX_SMALL, &err);
    for (int nth = 1; nth <= 6; nth++) {
        char *model = NULL;
        size_t n_model;
        int32_t *old_of_new = NULL;
        int n_new;
        memory_fail_at(nth);
        int rc = tokenizer_prune(t, keep, &model, &n_model, &old_of_new, &n_new, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || rc == ERR_NOMEM);
        memory_free(model);
        memory_free(old_of_new);
    }
    tokenizer_free(t);
    memory_free(keep);
}

TEST_MAIN
