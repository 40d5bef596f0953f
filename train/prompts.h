/* Class prompts of a corpus, ready for zero-shot judging: every prompt with its class, its language
 * and its caption number.
 */
#ifndef TRAIN_PROMPTS_H
#define TRAIN_PROMPTS_H

#include <stddef.h>
#include <stdint.h>

#include "store/corpus.h"

struct classes;
struct prompts {
    size_t n;
    uint32_t *caption;   // (n) corpus numbers
    int32_t *class_of;   // (n)
    int *language;       // (n)
    int n_classes, n_languages;
    char *const *class_name, *const *language_name; /* borrowed from `owner` */
    struct classes *owner;
};

/* A corpus without a class list gives n == 0. A prompt that is not in the corpus: ERR_CORRUPT. */
int prompts_open(struct prompts *p, struct corpus *corpus, struct error *err) MUST_CHECK;
void prompts_release(struct prompts *p);
/* The class of that name, or -1. */
int prompts_class(const struct prompts *p, const char *name);

#endif
