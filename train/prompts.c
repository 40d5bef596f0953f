/* Class prompts as caption numbers; see prompts.h. */
#include "train/prompts.h"

#include <string.h>

#include "ingest/classes.h"
#include "store/memory.h"

static int find_caption(struct corpus *corpus, const char *text, uint32_t *number,
                        struct error *err)
{
    uint8_t key[DIGEST_BYTES];
    digest_of(text, strlen(text), key);
    int rc = corpus_caption_number(corpus, key, number, NULL);
    if (rc == ERR_NOT_FOUND)
        return error_set(err, ERR_CORRUPT,
                         "the class prompt '%s' is not among the captions: run `clipstill ingest "
                         "--classes` with the class list again",
                         text);
    return rc < 0 ? corpus_caption_number(corpus, key, number, err) : 0;
}

static int fill(struct prompts *p, const struct classes *c, struct corpus *corpus,
                struct error *err)
{
    for (size_t k = 0; k < c->n_classes; k++) {
        for (size_t l = 0; l < c->n_languages; l++) {
            char *const *texts;
            size_t n;
            classes_prompts(c, k, l, &texts, &n);
            for (size_t i = 0; i < n; i++) {
                int rc = find_caption(corpus, texts[i], &p->caption[p->n], err);
                if (rc < 0) return rc;
                p->class_of[p->n] = (int32_t)k;
                p->language[p->n++] = (int)l;
            }
        }
    }
    return 0;
}

int prompts_open(struct prompts *p, struct corpus *corpus, struct error *err)
{
    *p = (struct prompts){0};
    char *text = NULL;
    struct classes *c = NULL;
    int rc = corpus_classes(corpus, &text, err);
    if (rc < 0 || !text) return rc;
    rc = classes_parse(&c, text, strlen(text), "the corpus's class list", err);
    memory_free(text);
    if (rc < 0) return rc;
    p->owner = c;
    p->n_classes = (int)c->n_classes;
    p->n_languages = (int)c->n_languages;
    p->class_name = c->names;
    p->language_name = c->languages;
    p->caption = memory_array(c->n_prompts, sizeof *p->caption, MEMORY_MAX_TENSOR, err);
    p->class_of = memory_array(c->n_prompts, sizeof *p->class_of, MEMORY_MAX_TENSOR, err);
    p->language = memory_array(c->n_prompts, sizeof *p->language, MEMORY_MAX_TENSOR, err);
    rc = p->caption && p->class_of && p->language ? fill(p, c, corpus, err) : ERR_NOMEM;
    if (rc < 0) prompts_release(p);
    return rc;
}

void prompts_release(struct prompts *p)
{
    memory_free(p->caption);
    memory_free(p->class_of);
    memory_free(p->language);
    classes_free(p->owner);
    *p = (struct prompts){0};
}

int prompts_class(const struct prompts *p, const char *name)
{
    for (int i = 0; i < p->n_classes; i++)
        if (!strcmp(p->class_name[i], name)) return i;
    return -1;
}
