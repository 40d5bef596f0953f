/* WordPiece, BERT's tokenizer: words of ingest/words.h cut into the longest pieces of vocab.txt.
 *
 *     wordpiece_new(bytes, n, "vocab.txt", &rule, &w, &err);
 *     int64_t n_found = wordpiece_encode(w, text, n, ids, room, &n_unknown, &err);
 *
 * vocab.txt has a token a line, the line's number is its id; "##x" continues a word. A word that
 * cannot be cut, or has over 200 characters (the number of the original code and of Chinese-CLIP's;
 * Hugging Face's has 100), is one [UNK]. Texts never yield control tokens: "[SEP]" is three words.
 * Read-only once made: any thread.
 */
#ifndef FEATURIZE_WORDPIECE_H
#define FEATURIZE_WORDPIECE_H

#include "featurize/lexicon.h"
#include "ingest/words.h"

struct wordpiece {
    struct lexicon *lexicon;
    struct words_rule rule;
    int32_t bos, eos, unk, pad; /* [CLS] [SEP] [UNK] [PAD] */
};

/* ERR_DATA naming the control token that the file lacks. *w owned: wordpiece_free. */
int wordpiece_new(const char *bytes, size_t n, const char *name, const struct words_rule *rule,
                  struct wordpiece **w, struct error *err) MUST_CHECK;
void wordpiece_free(struct wordpiece *w);
/* Writes the first `room` ids, without [CLS] and [SEP], and returns how many there are in all;
 * *n_unknown counts among those written. // ids (room) */
int64_t wordpiece_encode(const struct wordpiece *w, const char *text, size_t n, int32_t *ids,
                         int room, int *n_unknown, struct error *err) MUST_CHECK;

#endif
