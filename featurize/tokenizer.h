/* The tokenizers of teachers: XLM-R's SentencePiece, BERT's WordPiece, CLIP's byte pairs.
 *
 *     tokenizer_new(bytes, n, "sentencepiece.bpe.model", &t, &err);
 *     int n_ids = tokenizer_ids(t, text, n_text, 77, ids, NULL, NULL, &err);   // <s> X </s>
 *
 * All give "begin X end" with X cut so that the end stays, and ids as Hugging Face's classes do.
 * SentencePiece: id = piece + 1, piece 0 (unknown) -> 3; <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> =
 * pieces + 1. The others: featurize/wordpiece.h, featurize/bytepair.h.
 *
 * A tokenizer is made of one block of bytes, which feature sets, checkpoints and fingerprints keep: a
 * SentencePiece model as it is, else a line of JSON ({"clipstill_tokenizer": "wordpiece", ...}) and
 * the files behind it. Folders are read and written by featurize/tokenizerfile.h.
 *
 * Threading: tokenizer_ids may be called from several threads. Library: sentencepiece, behind
 * featurize/sentencepiece.cc.
 */
#ifndef FEATURIZE_TOKENIZER_H
#define FEATURIZE_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "ingest/words.h"
#include "store/error.h"

enum { TOKEN_BOS = 0, TOKEN_PAD = 1, TOKEN_EOS = 2, TOKEN_UNK = 3 }; /* SentencePiece's */
enum tokenizer_kind { TOKENIZER_SENTENCEPIECE, TOKENIZER_WORDPIECE, TOKENIZER_BYTEPAIR };

struct tokenizer;
/* From a block (copied). ERR_DATA when it is none, or a SentencePiece model not of XLM-R's kind
 * (piece 0 unknown). name stands in errors. */
int tokenizer_new(const void *model, size_t n, const char *name, struct tokenizer **t,
                  struct error *err) MUST_CHECK;
void tokenizer_free(struct tokenizer *t);
enum tokenizer_kind tokenizer_kind(const struct tokenizer *t);
int tokenizer_vocab(const struct tokenizer *t); /* ids; SentencePiece: pieces + 2, <mask> included */
const void *tokenizer_model(const struct tokenizer *t, size_t *n); /* the bytes it was made of; borrowed */
/* Writes at most max_tokens ids (bos and eos included) and returns how many; *n_whole = count
 * before the cut; *n_unknown. Either may be NULL. max_tokens >= 2. */
int tokenizer_ids(const struct tokenizer *t, const char *text, size_t n, int max_tokens,
                  int32_t *ids, int *n_whole, int *n_unknown, struct error *err) MUST_CHECK;

/* The text of an id's piece (U+2581 stands for a space), borrowed; NULL for the control ids, beyond
 * the vocabulary, and of other kinds than SentencePiece. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id);
/* The id of a piece's text, or -1; SentencePiece alone. */
int32_t tokenizer_find(const struct tokenizer *t, const char *text, size_t n);

/* SentencePiece alone: a really smaller model, see featurize/prune.c: keeps the pieces with keep[piece] != 0, plus
 * control, unknown, user-defined, byte and single-character pieces; character map, scores and
 * trainer settings stay. *old_of_new (owned) maps new ids to old ids (ids, not pieces; <mask>
 * included); *model owned. // keep: (tokenizer_vocab - 2) by piece */
int tokenizer_prune(const struct tokenizer *t, const uint8_t *keep, char **model, size_t *n_model,
                    int32_t **old_of_new, int *n_new, struct error *err) MUST_CHECK;

/* The block of a vocab.txt, and of vocab.json with merges.txt; *block owned: memory_free. */
int tokenizer_pack_wordpiece(const struct words_rule *rule, const char *vocab, size_t n_vocab,
                             char **block, size_t *n, struct error *err) MUST_CHECK;
int tokenizer_pack_bytepair(const char *vocab, size_t n_vocab, const char *merges, size_t n_merges,
                            char **block, size_t *n, struct error *err) MUST_CHECK;
/* File `i` of a block as it stood in the folder: its name (static) and bytes (borrowed); NULL past
 * the last. */
const char *tokenizer_file(const struct tokenizer *t, int i, const void **bytes, size_t *n);
const struct words_rule *tokenizer_rule(const struct tokenizer *t); /* WordPiece; else NULL */

#endif
