/* Hugging Face's ids over SentencePiece's pieces; see tokenizer.h. */
#include "featurize/tokenizer.h"

#include <limits.h>
#include <string.h>

#include "featurize/sentencepiece.h"
#include "store/memory.h"

struct tokenizer {
    struct sentencepiece_model *pieces;
    char *model;
    size_t n_model;
};

int tokenizer_new(const void *model, size_t n, const char *name, struct tokenizer **out,
                  struct error *err)
{
    int rc = ERR_NOMEM;
    char why[300] = "";
    struct tokenizer *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    if (!t) goto done;
    t->model = memory_copy(model, n, err);
    if (!t->model) goto done;
    t->n_model = n;
    t->pieces = n ? sentencepiece_load(t->model, n, why, sizeof why) : NULL;
    if (!t->pieces || sentencepiece_n_pieces(t->pieces) < 3) {
        rc = error_set(err, ERR_DATA, "%s: no SentencePiece model%s%s", name, *why ? ": " : "",
                       why);
        goto done;
    }
    if (sentencepiece_unknown(t->pieces) != 0) {
        rc = error_set(err, ERR_DATA,
                       "%s: the unknown piece is %d, XLM-R's vocabularies have it at 0", name,
                       sentencepiece_unknown(t->pieces));
        goto done;
    }
    rc = 0;
done:
    if (rc < 0) tokenizer_free(t), t = NULL;
    *out = t;
    return rc;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t) return;
    sentencepiece_free(t->pieces);
    memory_free(t->model);
    memory_free(t);
}

int tokenizer_vocab(const struct tokenizer *t)
{
    return sentencepiece_n_pieces(t->pieces) + 2;
}

const void *tokenizer_model(const struct tokenizer *t, size_t *n)
{
    *n = t->n_model;
    return t->model;
}

int tokenizer_ids(const struct tokenizer *t, const char *text, size_t n, int max_tokens,
                  int32_t *ids, int *n_whole, int *n_unknown, struct error *err)
{
    if (max_tokens < 2)
        return error_set(err, ERR_USAGE, "max_tokens %d: at least 2 expected (<s> and </s>)",
                         max_tokens);
    char why[300] = "";
    int64_t n_found = sentencepiece_encode(t->pieces, text, n, ids + 1, max_tokens - 2, why,
                                           sizeof why);
    if (n_found < 0 || n_found > INT_MAX - 2)
        return error_set(err, ERR_DATA, "the tokenizer failed on \"%.*s\": %s",
                         n < 60 ? (int)n : 60, text, why);
    int n_kept = n_found < max_tokens - 2 ? (int)n_found : max_tokens - 2, unknown = 0;
    ids[0] = TOKEN_BOS;
    for (int i = 1; i <= n_kept; i++) {
        unknown += ids[i] == 0;
        ids[i] = ids[i] == 0 ? TOKEN_UNK : ids[i] + 1;
    }
    ids[n_kept + 1] = TOKEN_EOS;
    if (n_whole) *n_whole = (int)n_found + 2;
    if (n_unknown) *n_unknown = unknown;
    return n_kept + 2;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id)
{
    return id > TOKEN_UNK ? sentencepiece_text(t->pieces, id - 1) : NULL;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n)
{
    int piece = sentencepiece_find(t->pieces, text, n);
    return piece == sentencepiece_unknown(t->pieces) || piece + 1 <= TOKEN_UNK ? -1 : piece + 1;
}
