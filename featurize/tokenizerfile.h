/* A tokenizer in a model's folder: Hugging Face's files <-> struct tokenizer.
 *
 *     tokenizerfile_read(dir, TOKENIZER_WORDPIECE, &t, &max_tokens, &err);
 *
 * SentencePiece: sentencepiece.bpe.model. WordPiece: vocab.txt, and do_lower_case, strip_accents,
 * tokenize_chinese_chars of tokenizer_config.json. Byte pairs: vocab.json and merges.txt. Students
 * are read by what their folder has.
 */
#ifndef FEATURIZE_TOKENIZERFILE_H
#define FEATURIZE_TOKENIZERFILE_H

#include "featurize/tokenizer.h"

/* The kind whose file stands in the folder; SentencePiece when none does. */
enum tokenizer_kind tokenizerfile_kind(const char *dir);
/* *t owned: tokenizer_free. *max_tokens becomes tokenizer_config.json's model_max_length where that
 * is less. ERR_NOT_FOUND names the file. */
int tokenizerfile_read(const char *dir, enum tokenizer_kind kind, struct tokenizer **t,
                       int *max_tokens, struct error *err) MUST_CHECK;
/* The files and tokenizer_config.json. */
int tokenizerfile_write(const char *dir, const struct tokenizer *t, int max_tokens,
                        struct error *err) MUST_CHECK;

#endif
