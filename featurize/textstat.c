/* What captions are like, by language; see textstat.h. */
#include "featurize/textstat.h"

#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

#define TELL_EVERY 4096 /* captions */

struct place {
    uint32_t caption;
    uint16_t language;
};

static int by_place(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    if (p->caption != q->caption) return p->caption < q->caption ? -1 : 1;
    return (p->language > q->language) - (p->language < q->language);
}

static int by_count(const void *a, const void *b)
{
    const struct textstat_language *p = a, *q = b;
    if (p->n_captions != q->n_captions) return p->n_captions > q->n_captions ? -1 : 1;
    return strcmp(p->name, q->name);
}

/* Every caption of every language once. *places owned. */
static int list_places(struct corpus *c, struct place **places, size_t *n, struct error *err)
{
    struct corpus_pair *pairs = NULL;
    size_t n_pairs = 0;
    *n = 0;
    int rc = corpus_pairs(c, &pairs, &n_pairs, err);
    if (rc < 0) return rc;
    struct place *p = *places = memory_array(n_pairs, sizeof *p, MEMORY_MAX_TENSOR, err);
    for (size_t i = 0; p && i < n_pairs; i++)
        p[i] = (struct place){pairs[i].caption, pairs[i].language};
    memory_free(pairs);
    if (!p) return ERR_NOMEM;
    if (n_pairs) qsort(p, n_pairs, sizeof *p, by_place);
    for (size_t i = 0; i < n_pairs; i++)
        if (i == 0 || by_place(&p[i], &p[i - 1])) p[(*n)++] = p[i];
    return 0;
}

static int add(struct textstat_language *l, struct corpus *c, uint32_t caption,
               const struct tokenizer *tokenizer, int max_tokens, int32_t *ids, struct error *err)
{
    const char *text;
    size_t n;
    int n_whole = 0, n_unknown = 0, rc = corpus_caption_text(c, caption, &text, &n, NULL, err);
    if (rc == 0) rc = caption_measure(text, n, &l->measure, err);
    if (rc < 0) return rc;
    l->n_captions++;
    if (!tokenizer) return 0;
    rc = tokenizer_ids(tokenizer, text, n, max_tokens, ids, &n_whole, &n_unknown, err);
    if (rc < 0) return rc;
    l->n_tokens += (uint64_t)n_whole - 2;
    l->n_unknown += (uint64_t)n_unknown;
    l->n_truncated += n_whole > max_tokens;
    return 0;
}

int textstat_run(struct textstat *t, struct corpus *c, const struct tokenizer *tokenizer,
                 int max_tokens, const struct report *report, struct error *err)
{
    struct place *places = NULL;
    size_t n = 0;
    *t = (struct textstat){.n = corpus_n_names(c, NAME_LANGUAGE)};
    t->languages = memory_array(t->n, sizeof *t->languages, MEMORY_MAX_TENSOR, err);
    int32_t *ids = memory_array((uint64_t)(max_tokens > 2 ? max_tokens : 2), sizeof *ids,
                                MEMORY_MAX_SMALL, err);
    int rc = t->languages && ids ? list_places(c, &places, &n, err) : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < t->n; i++)
        t->languages[i].name = corpus_name(c, NAME_LANGUAGE, (uint16_t)i);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (i % TELL_EVERY == 0) report_progress(report, "captions", i, n, 0, 0);
        if (report_stopped(report)) rc = error_set(err, ERR_STOPPED, "stopped");
        if (rc == 0)
            rc = add(&t->languages[places[i].language], c, places[i].caption, tokenizer, max_tokens,
                     ids, err);
    }
    memory_free(places);
    memory_free(ids);
    if (rc < 0) {
        textstat_release(t);
        return rc;
    }
    if (t->n) qsort(t->languages, t->n, sizeof *t->languages, by_count);
    while (t->n && !t->languages[t->n - 1].n_captions) t->n--;
    return 0;
}

void textstat_release(struct textstat *t)
{
    memory_free(t->languages);
    *t = (struct textstat){0};
}
