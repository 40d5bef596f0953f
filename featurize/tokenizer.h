/* XLM-R's SentencePiece tokenizer: ids as Hugging Face's XLMRobertaTokenizer gives them.
 *
 *     tokenizer_new(bytes, n, "sentencepiece.bpe.model", &t, &err);
 *     int n_ids = tokenizer_ids(t, text, n_text, 77, ids, NULL, NULL, &err);   // <s> X </s>
 *
 * id = piece + 1, piece 0 (unknown) -> 3; <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> = pieces + 1;
 * "<s> X </s>", X cut so that </s> stays.
 * Threading: tokenizer_ids may be called from several threads. Library: sentencepiece, behind
 * featurize/sentencepiece.cc.
 */
#ifndef FEATURIZE_TOKENIZER_H
#define FEATURIZE_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

enum { TOKEN_BOS = 0, TOKEN_PAD = 1, TOKEN_EOS = 2, TOKEN_UNK = 3 };

struct tokenizer;
/* From the bytes of a SentencePiece model (copied). ERR_DATA when they are none, or not of XLM-R's
 * kind (piece 0 unknown). name stands in errors. */
int tokenizer_new(const void *model, size_t n, const char *name, struct tokenizer **t,
                  struct error *err) MUST_CHECK;
void tokenizer_free(struct tokenizer *t);
int tokenizer_vocab(const struct tokenizer *t); /* ids, <mask> included: pieces + 2 */
const void *tokenizer_model(const struct tokenizer *t, size_t *n); /* the bytes it was made of; borrowed */
/* Writes at most max_tokens ids (bos and eos included) and returns how many; *n_whole = count
 * before the cut; *n_unknown. Either may be NULL. max_tokens >= 2. */
int tokenizer_ids(const struct tokenizer *t, const char *text, size_t n, int max_tokens,
                  int32_t *ids, int *n_whole, int *n_unknown, struct error *err) MUST_CHECK;

/* The text of an id's piece (U+2581 stands for a space), borrowed; NULL for the control ids and beyond the vocabulary. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id);
/* The id of a piece's text, or -1. */
int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n);

/* A really smaller model, see featurize/prune.c: keeps the pieces with keep[piece] != 0, plus
 * control, unknown, user-defined, byte and single-character pieces; character map, scores and
 * trainer settings stay. *old_of_new (owned) maps new ids to old ids (ids, not pieces; <mask>
 * included); *model owned. // keep: (tokenizer_vocab - 2) by piece */
int tokenizer_prune(const struct tokenizer *t, const uint8_t *keep, char **model, size_t *n_model,
                    int32_t **old_of_new, int *n_new, struct error *err) MUST_CHECK;

#endif
