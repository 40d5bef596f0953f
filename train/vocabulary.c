/* Pruning the teacher's vocabulary to the corpus: see the header. */
#include "train/vocabulary.h"

#include <string.h>

#include "featurize/vocabtrain.h"
#include "ingest/caption.h"
#include "store/file.h"
#include "store/memory.h"

#define MAX_TOKENS    4096 /* of one caption, for counting */
#define MAX_KEEP_FILE ((uint64_t)1 << 28)

struct count {
    const struct tokenizer *tokenizer;
    uint8_t *keep; // by piece
    int32_t *ids;  // (MAX_TOKENS)
};

/* Marks the pieces of a text. Ids from 4 on are pieces from 3 on: the ones before are control
 * pieces, kept anyway. */
static int mark(struct count *c, const char *text, size_t n, struct error *err)
{
    int rc = tokenizer_ids(c->tokenizer, text, n, MAX_TOKENS, c->ids, NULL, NULL, err);
    for (int i = 0; i < rc; i++)
        if (c->ids[i] > TOKEN_UNK) c->keep[c->ids[i] - 1] = 1;
    return rc < 0 ? rc : 0;
}

static bool language_counts(struct corpus *corpus, uint16_t id, const char *const *languages,
                            size_t n)
{
    if (!languages) return true;
    const char *name = corpus_name(corpus, NAME_LANGUAGE, id);
    for (size_t i = 0; name && i < n; i++)
        if (!strcmp(languages[i], name)) return true;
    return false;
}

enum use { USE_PROMPT, USE_NOT, USE_TRAIN };

/* What each caption of the corpus is: train text, a prompt of the class list (no pair at all), or
 * neither. Owned. */
static uint8_t *caption_uses(struct corpus *corpus, const char *const *languages,
                             size_t n_languages, struct error *err)
{
    struct corpus_pair *pairs = NULL;
    size_t n_pairs = 0;
    uint8_t *use = memory_array(corpus_n_captions(corpus), 1, MEMORY_MAX_TENSOR, err);
    if (!use || corpus_pairs(corpus, &pairs, &n_pairs, err) < 0) {
        memory_free(use);
        return NULL;
    }
    for (size_t i = 0; i < n_pairs; i++) {
        uint8_t *at = &use[pairs[i].caption];
        if (pairs[i].split == SPLIT_TRAIN &&
            language_counts(corpus, pairs[i].language, languages, n_languages))
            *at = USE_TRAIN;
        else if (*at == USE_PROMPT)
            *at = USE_NOT;
    }
    memory_free(pairs);
    return use;
}

static int mark_corpus(struct count *c, struct corpus *corpus, const char *const *languages,
                       size_t n_languages, struct error *err)
{
    uint8_t *use = caption_uses(corpus, languages, n_languages, err);
    int rc = use ? 0 : err && err->code ? err->code : ERR_NOMEM;
    for (uint32_t i = 0; rc == 0 && i < corpus_n_captions(corpus); i++) {
        if (use[i] == USE_NOT) continue;
        const char *text;
        size_t n_text;
        rc = corpus_caption_text(corpus, i, &text, &n_text, NULL, err);
        if (rc == ERR_NOT_FOUND)
            rc = 0; /* forgotten */
        else if (rc == 0)
            rc = mark(c, text, n_text, err);
    }
    memory_free(use);
    return rc;
}

/* One text a line, normalised as captions are. Empty lines count nothing. */
static int mark_file(struct count *c, const char *path, struct error *err)
{
    char *bytes;
    size_t n, line = 0;
    struct caption_rule rule = caption_rule_defaults();
    int rc = file_read(path, MAX_KEEP_FILE, &bytes, &n, err);
    if (rc < 0) return rc;
    for (size_t at = 0; at < n && rc == 0;) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t length = end ? (size_t)(end - (bytes + at)) : n - at;
        struct caption text;
        struct caption_fault fault;
        line++;
        rc = caption_normalise(&rule, bytes + at, length, &text, &fault, err);
        if (rc == 0)
            rc = mark(c, text.text, text.n, err);
        else if (fault.reason && !strcmp(fault.reason, "empty"))
            rc = 0;
        else
            error_prefix(err, "%s:%zu: ", path, line);
        caption_release(&text);
        at += length + 1;
    }
    memory_free(bytes);
    return rc;
}

/* The whole vocabulary, of a kind that is not pruned. */
static int keep_all(const struct tokenizer *whole, struct vocabulary *v, struct error *err)
{
    size_t n;
    const void *bytes = tokenizer_model(whole, &n);
    v->n = v->n_before;
    return tokenizer_new(bytes, n, "the teacher's tokenizer", &v->tokenizer, err);
}

int vocabulary_make(const struct tokenizer *whole, struct corpus *corpus, const char *keep_vocab,
                    const char *const *languages, size_t n_languages, struct vocabulary *v,
                    struct error *err)
{
    *v = (struct vocabulary){.n_before = tokenizer_vocab(whole)};
    if (tokenizer_kind(whole) != TOKENIZER_SENTENCEPIECE) return keep_all(whole, v, err);
    struct count c = {.tokenizer = whole};
    char *model = NULL;
    size_t n_model;
    int rc = ERR_NOMEM;
    c.keep = memory_array((uint64_t)v->n_before, 1, MEMORY_MAX_SMALL, err);
    c.ids = memory_array(MAX_TOKENS, sizeof *c.ids, MEMORY_MAX_SMALL, err);
    if (!c.keep || !c.ids) goto done;
    rc = mark_corpus(&c, corpus, languages, n_languages, err);
    if (rc == 0 && keep_vocab) rc = mark_file(&c, keep_vocab, err);
    if (rc == 0) rc = tokenizer_prune(whole, c.keep, &model, &n_model, &v->old_of_new, &v->n, err);
    if (rc == 0) rc = tokenizer_new(model, n_model, "the pruned vocabulary", &v->tokenizer, err);
done:
    memory_free(model);
    memory_free(c.keep);
    memory_free(c.ids);
    if (rc < 0) vocabulary_release(v);
    return rc;
}

void vocabulary_release(struct vocabulary *v)
{
    tokenizer_free(v->tokenizer);
    memory_free(v->old_of_new);
    *v = (struct vocabulary){0};
}

int vocabulary_train(struct corpus *corpus, const char *const *languages, size_t n_languages,
                     int n_pieces, char **model, size_t *n_model, struct error *err)
{
    uint32_t n = corpus_n_captions(corpus);
    size_t n_texts = 0;
    uint8_t *use = caption_uses(corpus, languages, n_languages, err);
    const char **texts = memory_array(n, sizeof *texts, MEMORY_MAX_TENSOR, err);
    size_t *n_bytes = memory_array(n, sizeof *n_bytes, MEMORY_MAX_TENSOR, err);
    int rc = use && texts && n_bytes ? 0 : err && err->code ? err->code : ERR_NOMEM;
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        if (use[i] != USE_TRAIN) continue;
        rc = corpus_caption_text(corpus, i, &texts[n_texts], &n_bytes[n_texts], NULL, err);
        n_texts += rc == 0;
        if (rc == ERR_NOT_FOUND) rc = 0; /* forgotten */
    }
    if (rc == 0) {
        char why[300] = "";
        char *found = vocabtrain_run(n_texts, texts, n_bytes, n_pieces, n_model, why, sizeof why);
        *model = found ? memory_copy(found, *n_model, err) : NULL;
        if (!found)
            rc = error_set(err, ERR_DATA,
                           "cannot train a vocabulary of %d pieces on %zu captions: %s", n_pieces,
                           n_texts, why);
        else if (!*model)
            rc = ERR_NOMEM;
        vocabtrain_free(found);
    }
    memory_free(n_bytes);
    memory_free(texts);
    memory_free(use);
    return rc;
}
