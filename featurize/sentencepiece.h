/* The SentencePiece library behind seven C functions. featurize/tokenizer.c is the only caller.
 *
 * No exception crosses: a failure is NULL or -1, with a sentence in why. Threading: a loaded model
 * is read-only; any thread may encode.
 */
#ifndef FEATURIZE_SENTENCEPIECE_H
#define FEATURIZE_SENTENCEPIECE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sentencepiece_model;
/* From the bytes of a serialized ModelProto. Owned: sentencepiece_free. */
struct sentencepiece_model *sentencepiece_load(const void *bytes, size_t n, char *why, size_t size);
void sentencepiece_free(struct sentencepiece_model *m);
int sentencepiece_n_pieces(const struct sentencepiece_model *m);
/* the piece that stands for what is unknown */
int sentencepiece_unknown(const struct sentencepiece_model *m);
/* The text of a piece, borrowed from the model; NULL when there is no such piece. */
const char *sentencepiece_text(const struct sentencepiece_model *m, int piece);
/* The piece with this text, or the unknown one. */
int sentencepiece_find(const struct sentencepiece_model *m, const char *text, size_t n);
/* Pieces of a text; writes at most max of them and returns how many there are. -1 on failure. */
int64_t sentencepiece_encode(const struct sentencepiece_model *m, const char *text, size_t n,
                             int32_t *pieces, int64_t max, char *why, size_t size);

#ifdef __cplusplus
}
#endif

#endif
