/* What the captions of a corpus are like, by language: characters, scripts, and how a tokenizer takes
 * them.
 *
 *     textstat_run(&t, corpus, tokenizer, 77, report, &err);
 *     for (size_t i = 0; i < t.n; i++) use(&t.languages[i]);
 *     textstat_release(&t);
 *
 * A caption counts once in every language that a pair gives it. One pass over the captions; 8 bytes of
 * memory a pair while it runs. One owner.
 */
#ifndef FEATURIZE_TEXTSTAT_H
#define FEATURIZE_TEXTSTAT_H

#include "featurize/tokenizer.h"
#include "ingest/caption.h"
#include "store/corpus.h"
#include "store/report.h"

struct textstat_language {
    const char *name; /* borrowed from the corpus */
    uint64_t n_captions;
    struct caption_measure measure; /* code points, grapheme clusters, scripts */
    /* with a tokenizer; <s> and </s> are not counted */
    uint64_t n_tokens;    /* before any cut */
    uint64_t n_unknown;   /* tokens that are <unk> */
    uint64_t n_truncated; /* captions that do not fit */
};

struct textstat {
    struct textstat_language *languages; // (n) by number of captions, most first
    size_t n;
};

/* tokenizer NULL: characters and scripts only. max_tokens: where it cuts, <s> and </s> counted. */
int textstat_run(struct textstat *t, struct corpus *c, const struct tokenizer *tokenizer,
                 int max_tokens, const struct report *report, struct error *err) MUST_CHECK;
void textstat_release(struct textstat *t);

#endif
