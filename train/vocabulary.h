/* The vocabulary of a student: the teacher's SentencePiece model pruned to what the corpus needs.
 *
 *     vocabulary_make(tokenizer, corpus, keep_vocab, languages, n, &v, &err);   // v.tokenizer, v.old_of_new
 *     vocabulary_release(&v);
 *
 * Pieces are counted over the train text, the prompts of the class list and the lines of
 * keep_vocab; every piece that occurs is kept (with its prefixes' single characters, controls and
 * the character map: featurize/tokenizer.h). Other kinds of tokenizers, whose pieces are made of
 * each other, are kept whole.
 */
#ifndef TRAIN_VOCABULARY_H
#define TRAIN_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#include "featurize/tokenizer.h"
#include "store/corpus.h"

struct vocabulary {
    struct tokenizer *tokenizer; /* owned */
    int32_t *old_of_new;         // (n) owned; NULL when nothing was pruned
    int n, n_before;             /* ids */
};

int vocabulary_make(const struct tokenizer *whole, struct corpus *corpus, const char *keep_vocab,
                    const char *const *languages, size_t n_languages, struct vocabulary *v,
                    struct error *err) MUST_CHECK;
/* A SentencePiece model of at most n_pieces pieces trained on the train text. *model owned: memory_free. */
int vocabulary_train(struct corpus *corpus, const char *const *languages, size_t n_languages,
                     int n_pieces, char **model, size_t *n_model, struct error *err) MUST_CHECK;
void vocabulary_release(struct vocabulary *v);

#endif
