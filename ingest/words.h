/* Words of a text as two tokenizers cut them before they look anything up: BERT's and CLIP's.
 *
 *     struct words w = {0};
 *     words_bert(text, n, &rule, &w, err);      // or words_clip(text, n, &w, err)
 *     for (size_t i = 0; i < w.n; i++) ... w.text + words_begin(&w, i), w.end[i] ...
 *     words_release(&w);
 *
 * BERT (BasicTokenizer of the original code and of Hugging Face): controls are dropped, white space
 * separates, each CJK ideograph and each punctuation mark is a word, the rest is lower-cased and
 * loses its accents (NFD without the marks) where the rule says so. CLIP: lower case; a contraction
 * ('s 't 're 've 'm 'll 'd), a run of letters, one digit, or a run of anything else; white space
 * separates. The repairs of ftfy are not made: captions are NFC already (ingest/caption.h).
 *
 * Pure; any thread. Library: ICU. Callers: featurize/wordpiece.c, featurize/bytepair.c.
 */
#ifndef INGEST_WORDS_H
#define INGEST_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/error.h"

struct words_rule {
    bool lower;   /* do_lower_case */
    bool accents; /* strip_accents */
    bool han;     /* tokenize_chinese_chars */
};

struct words {
    char *text;    /* owned; the words' UTF-8, one behind the other */
    uint32_t *end; // (n) owned
    size_t n, n_text;
    size_t end_capacity;
};

/* Into *w (zeroed by the caller). Bytes that are no UTF-8 are left out. ERR_DATA for a text too
 * long to be one (16 MiB), ERR_NOMEM. */
int words_bert(const char *text, size_t n, const struct words_rule *rule, struct words *w,
               struct error *err) MUST_CHECK;
int words_clip(const char *text, size_t n, struct words *w, struct error *err) MUST_CHECK;
size_t words_begin(const struct words *w, size_t i); /* where word i begins in text */
void words_release(struct words *w);

#endif
