/* Captions by language; see route.h. */
#include "featurize/route.h"

#include <string.h>

#include "ingest/classes.h"
#include "store/memory.h"

struct route {
    struct corpus *corpus;
    const char *const *languages;
    size_t n;
    bool *found;     // (n)
    uint8_t *wanted; // (corpus_n_captions)
};

/* The place of a tag among the languages, or n. */
static size_t place_of(const struct route *r, const char *tag)
{
    size_t i = 0;
    while (i < r->n && strcmp(r->languages[i], tag)) i++;
    return i;
}

static int mark_pairs(struct route *r, struct error *err)
{
    struct corpus_pair *pairs = NULL;
    size_t n = 0;
    int rc = corpus_pairs(r->corpus, &pairs, &n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *tag = corpus_name(r->corpus, NAME_LANGUAGE, pairs[i].language);
        size_t at = tag ? place_of(r, tag) : r->n;
        if (at == r->n) continue;
        r->found[at] = true;
        r->wanted[pairs[i].caption] = 1;
    }
    memory_free(pairs);
    return rc;
}

/* A prompt that is not among the captions is left to whoever judges by it. */
static void mark_prompts(struct route *r, const struct classes *list)
{
    for (size_t l = 0; l < list->n_languages; l++) {
        size_t at = place_of(r, list->languages[l]);
        if (at == r->n) continue;
        r->found[at] = true;
        for (size_t k = 0; k < list->n_classes; k++) {
            char *const *texts;
            size_t n;
            classes_prompts(list, k, l, &texts, &n);
            for (size_t i = 0; i < n; i++) {
                uint8_t key[DIGEST_BYTES];
                uint32_t number;
                digest_of(texts[i], strlen(texts[i]), key);
                if (corpus_caption_number(r->corpus, key, &number, NULL) == 0)
                    r->wanted[number] = 1;
            }
        }
    }
}

static int mark_classes(struct route *r, struct error *err)
{
    char *text = NULL;
    struct classes *list = NULL;
    int rc = corpus_classes(r->corpus, &text, err);
    if (rc == 0 && text)
        rc = classes_parse(&list, text, strlen(text), "the corpus's class list", err);
    if (list) mark_prompts(r, list);
    classes_free(list);
    memory_free(text);
    return rc;
}

int route_captions(struct corpus *c, const char *const *languages, size_t n, uint8_t **wanted,
                   struct error *err)
{
    struct route r = {.corpus = c, .languages = languages, .n = n};
    r.found = memory_array(n, sizeof *r.found, MEMORY_MAX_SMALL, err);
    r.wanted = memory_array(corpus_n_captions(c), 1, MEMORY_MAX_TENSOR, err);
    int rc = r.found && r.wanted ? mark_pairs(&r, err) : ERR_NOMEM;
    if (rc == 0) rc = mark_classes(&r, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (!r.found[i])
            rc = error_set(
                err, ERR_USAGE,
                "--lang %s: no caption of the corpus and no class prompt is in that language; "
                "`clipstill stat` lists those that are",
                languages[i]);
    memory_free(r.found);
    if (rc < 0) memory_free(r.wanted), r.wanted = NULL;
    *wanted = r.wanted;
    return rc;
}
