/* `clipstill stat --text`: what the captions are like, by language. */
#ifndef CLI_STATTEXT_H
#define CLI_STATTEXT_H

#include "store/corpus.h"
#include "store/json.h"

/* Adds "text" to answer. tokenizer: the path of a SentencePiece model, or NULL: the one that the first
 * text set of the cache keeps, if any. max_tokens: where it cuts; 0: as the set has it, or 77. */
int stattext_add(struct json *answer, const char *cache, const char *tokenizer, int max_tokens,
                 struct error *err) MUST_CHECK;
void stattext_print(const struct json *answer);

#endif
