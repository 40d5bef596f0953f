/* One face for three tokenizers, and the blocks they are kept in; see tokenizer.h. */
#include "featurize/tokenizer.h"

#include <limits.h>
#include <string.h>

#include "featurize/bytepair.h"
#include "featurize/sentencepiece.h"
#include "featurize/wordpiece.h"
#include "store/json.h"
#include "store/memory.h"

#define MAGIC    "{\"clipstill_tokenizer\":"
#define MAX_HEAD 1000 /* bytes of the line before the files */

struct tokenizer {
    enum tokenizer_kind kind;
    struct sentencepiece_model *pieces; /* the one that kind says */
    struct wordpiece *words;
    struct bytepair *pairs;
    char *model; /* the whole block */
    size_t n_model;
    const char *vocab, *merges; /* files inside of it */
    size_t n_vocab, n_merges;
    int32_t bos, eos;
};

static int open_pieces(struct tokenizer *t, const char *name, struct error *err)
{
    char why[300] = "";
    t->pieces = t->n_model ? sentencepiece_load(t->model, t->n_model, why, sizeof why) : NULL;
    if (!t->pieces || sentencepiece_n_pieces(t->pieces) < 3)
        return error_set(err, ERR_DATA, "%s: no SentencePiece model%s%s", name, *why ? ": " : "",
                         why);
    if (sentencepiece_unknown(t->pieces) != 0)
        return error_set(err, ERR_DATA,
                         "%s: the unknown piece is %d, XLM-R's vocabularies have it at 0", name,
                         sentencepiece_unknown(t->pieces));
    t->bos = TOKEN_BOS;
    t->eos = TOKEN_EOS;
    return 0;
}

/* Finds the files behind the line of JSON. */
static int split_block(struct tokenizer *t, const struct json *head, size_t n_head,
                       const char *name, struct error *err)
{
    int64_t n_vocab = json_int(json_get(head, "vocab_bytes"), -1);
    int64_t n_merges = json_int(json_get(head, "merges_bytes"), 0);
    int64_t rest = (int64_t)(t->n_model - n_head);
    if (n_vocab < 0 || n_merges < 0 || n_vocab > rest || n_merges != rest - n_vocab)
        return error_set(err, ERR_DATA, "%s: a tokenizer whose files do not fill its block", name);
    t->vocab = t->model + n_head;
    t->n_vocab = (size_t)n_vocab;
    t->merges = t->vocab + n_vocab;
    t->n_merges = (size_t)n_merges;
    return 0;
}

static int open_words(struct tokenizer *t, const struct json *head, const char *name,
                      struct error *err)
{
    struct words_rule rule = {.lower = json_bool(json_get(head, "lower"), true),
                              .accents = json_bool(json_get(head, "accents"), true),
                              .han = json_bool(json_get(head, "han"), true)};
    t->kind = TOKENIZER_WORDPIECE;
    int rc = wordpiece_new(t->vocab, t->n_vocab, name, &rule, &t->words, err);
    if (rc < 0) return rc;
    t->bos = t->words->bos;
    t->eos = t->words->eos;
    return 0;
}

static int open_pairs(struct tokenizer *t, const char *name, struct error *err)
{
    t->kind = TOKENIZER_BYTEPAIR;
    int rc = bytepair_new(t->vocab, t->n_vocab, t->merges, t->n_merges, name, &t->pairs, err);
    if (rc < 0) return rc;
    t->bos = t->pairs->bos;
    t->eos = t->pairs->eos;
    return 0;
}

static int open_block(struct tokenizer *t, const char *name, struct error *err)
{
    size_t most = t->n_model < MAX_HEAD ? t->n_model : MAX_HEAD;
    const char *line = memchr(t->model, '\n', most);
    if (!line) return error_set(err, ERR_DATA, "%s: a tokenizer without its first line", name);
    size_t n_head = (size_t)(line - t->model) + 1;
    struct json *head = json_read(t->model, n_head, name, err);
    if (!head) return err && err->code < 0 ? err->code : ERR_DATA;
    const char *kind = json_text(json_get(head, "clipstill_tokenizer"), "");
    int rc = split_block(t, head, n_head, name, err);
    if (rc == 0 && !strcmp(kind, "wordpiece"))
        rc = open_words(t, head, name, err);
    else if (rc == 0 && !strcmp(kind, "bytepair"))
        rc = open_pairs(t, name, err);
    else if (rc == 0)
        rc = error_set(err, ERR_DATA,
                       "%s: a tokenizer of kind \"%.40s\"; known are wordpiece and "
                       "bytepair",
                       name, kind);
    json_free(head);
    return rc;
}

int tokenizer_new(const void *model, size_t n, const char *name, struct tokenizer **out,
                  struct error *err)
{
    int rc = ERR_NOMEM;
    struct tokenizer *t = memory_array(1, sizeof *t, MEMORY_MAX_SMALL, err);
    if (!t) goto done;
    t->model = memory_copy(model, n, err);
    if (!t->model) goto done;
    t->n_model = n;
    bool is_block = n >= strlen(MAGIC) && !memcmp(t->model, MAGIC, strlen(MAGIC));
    rc = is_block ? open_block(t, name, err) : open_pieces(t, name, err);
done:
    if (rc < 0) tokenizer_free(t), t = NULL;
    *out = t;
    return rc;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t) return;
    sentencepiece_free(t->pieces);
    wordpiece_free(t->words);
    bytepair_free(t->pairs);
    memory_free(t->model);
    memory_free(t);
}

enum tokenizer_kind tokenizer_kind(const struct tokenizer *t)
{
    return t->kind;
}

int tokenizer_vocab(const struct tokenizer *t)
{
    if (t->kind == TOKENIZER_WORDPIECE) return lexicon_n_ids(t->words->lexicon);
    if (t->kind == TOKENIZER_BYTEPAIR) return t->pairs->n_ids;
    return sentencepiece_n_pieces(t->pieces) + 2;
}

const void *tokenizer_model(const struct tokenizer *t, size_t *n)
{
    *n = t->n_model;
    return t->model;
}

const struct words_rule *tokenizer_rule(const struct tokenizer *t)
{
    return t->kind == TOKENIZER_WORDPIECE ? &t->words->rule : NULL;
}

const char *tokenizer_file(const struct tokenizer *t, int i, const void **bytes, size_t *n)
{
    static const char *const names[][2] = {[TOKENIZER_SENTENCEPIECE] = {"sentencepiece.bpe.model"},
                                           [TOKENIZER_WORDPIECE] = {"vocab.txt"},
                                           [TOKENIZER_BYTEPAIR] = {"vocab.json", "merges.txt"}};
    if (i > 1 || !names[t->kind][i]) return NULL;
    bool whole = t->kind == TOKENIZER_SENTENCEPIECE;
    *bytes = whole ? t->model : i ? t->merges : t->vocab;
    *n = whole ? t->n_model : i ? t->n_merges : t->n_vocab;
    return names[t->kind][i];
}

/* The line, and the files behind it. head is taken. */
static int pack(struct json *head, const char *vocab, size_t n_vocab, const char *merges,
                size_t n_merges, char **block, size_t *n, struct error *err)
{
    json_set_int(head, "vocab_bytes", (int64_t)n_vocab);
    json_set_int(head, "merges_bytes", (int64_t)n_merges);
    char *line = json_write(head, JSON_LINE, err);
    json_free(head);
    if (!line) return ERR_NOMEM;
    size_t n_line = strlen(line);
    *n = n_line + 1 + n_vocab + n_merges;
    *block = memory_array(*n, 1, MEMORY_MAX_TENSOR, err);
    if (*block) {
        memcpy(*block, line, n_line);
        (*block)[n_line] = '\n';
        memcpy(*block + n_line + 1, vocab, n_vocab);
        if (n_merges) memcpy(*block + n_line + 1 + n_vocab, merges, n_merges);
    }
    memory_free(line);
    return *block ? 0 : ERR_NOMEM;
}

int tokenizer_pack_wordpiece(const struct words_rule *rule, const char *vocab, size_t n_vocab,
                             char **block, size_t *n, struct error *err)
{
    struct json *head = json_new_object();
    json_set_string(head, "clipstill_tokenizer", "wordpiece");
    json_set_bool(head, "lower", rule->lower);
    json_set_bool(head, "accents", rule->accents);
    json_set_bool(head, "han", rule->han);
    return pack(head, vocab, n_vocab, NULL, 0, block, n, err);
}

int tokenizer_pack_bytepair(const char *vocab, size_t n_vocab, const char *merges, size_t n_merges,
                            char **block, size_t *n, struct error *err)
{
    struct json *head = json_new_object();
    json_set_string(head, "clipstill_tokenizer", "bytepair");
    return pack(head, vocab, n_vocab, merges, n_merges, block, n, err);
}

/* SentencePiece's pieces as ids; see wordpiece_encode. */
static int64_t encode_pieces(const struct tokenizer *t, const char *text, size_t n, int32_t *ids,
                             int room, int *n_unknown, struct error *err)
{
    char why[300] = "";
    int64_t n_found = sentencepiece_encode(t->pieces, text, n, ids, room, why, sizeof why);
    if (n_found < 0 || n_found > INT_MAX - 2)
        return error_set(err, ERR_DATA, "the tokenizer failed on \"%.*s\": %s",
                         n < 60 ? (int)n : 60, text, why);
    *n_unknown = 0;
    for (int i = 0; i < room && i < n_found; i++) {
        *n_unknown += ids[i] == 0;
        ids[i] = ids[i] == 0 ? TOKEN_UNK : ids[i] + 1;
    }
    return n_found;
}

int tokenizer_ids(const struct tokenizer *t, const char *text, size_t n, int max_tokens,
                  int32_t *ids, int *n_whole, int *n_unknown, struct error *err)
{
    if (max_tokens < 2)
        return error_set(err, ERR_USAGE, "max_tokens %d: at least 2 expected (<s> and </s>)",
                         max_tokens);
    int room = max_tokens - 2, unknown = 0;
    int64_t n_found = 0;
    switch (t->kind) {
    case TOKENIZER_SENTENCEPIECE:
        n_found = encode_pieces(t, text, n, ids + 1, room, &unknown, err);
        break;
    case TOKENIZER_WORDPIECE:
        n_found = wordpiece_encode(t->words, text, n, ids + 1, room, &unknown, err);
        break;
    case TOKENIZER_BYTEPAIR:
        n_found = bytepair_encode(t->pairs, text, n, ids + 1, room, err);
        break;
    }
    if (n_found < 0) return (int)n_found;
    int n_kept = n_found < room ? (int)n_found : room;
    ids[0] = t->bos;
    ids[n_kept + 1] = t->eos;
    if (n_whole) *n_whole = (int)n_found + 2;
    if (n_unknown) *n_unknown = unknown;
    return n_kept + 2;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id)
{
    if (t->kind != TOKENIZER_SENTENCEPIECE) return NULL;
    return id > TOKEN_UNK ? sentencepiece_text(t->pieces, id - 1) : NULL;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n)
{
    if (t->kind != TOKENIZER_SENTENCEPIECE) return -1;
    int piece = sentencepiece_find(t->pieces, text, n);
    return piece == sentencepiece_unknown(t->pieces) || piece + 1 <= TOKEN_UNK ? -1 : piece + 1;
}
