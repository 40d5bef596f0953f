/* A SentencePiece model trained on the corpus's own texts, for a text student whose teacher left no
 * tokenizer.
 *
 * Unigram model, every character kept, nmt_nfkc normalisation, no byte fallback, <unk> <s> </s> as
 * pieces 0 1 2 as in XLM-R; deterministic (one thread, no sampling). No exception crosses. Library:
 * sentencepiece_train. train/vocabulary.c is the only caller.
 */
#ifndef FEATURIZE_VOCABTRAIN_H
#define FEATURIZE_VOCABTRAIN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* At most n_pieces pieces (fewer where the texts do not give as many). The serialised model, owned:
 * vocabtrain_free; NULL with a sentence in why. */
char *vocabtrain_run(size_t n, const char *const *texts, const size_t *n_bytes, int n_pieces,
                     size_t *n_model, char *why, size_t size);
void vocabtrain_free(char *model);

#ifdef __cplusplus
}
#endif

#endif
