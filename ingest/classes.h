/* A class list with names and prompt templates in several languages, for zero-shot classification.
 *
 *     {"classes": {"dress": {"en": "dress", "zh": ["连衣裙", "裙子"]}, ...},
 *      "templates": {"en": ["a photo of a {}"], "zh": "一张{}的照片"}}
 *
 * A prompt is a template with a name in the place of every {}, normalised as a caption; a language
 * without a template uses the bare name. Equal prompts of a class and language count once. Classes
 * keep the order of the file, languages are sorted. Immutable after reading; any thread.
 */
#ifndef INGEST_CLASSES_H
#define INGEST_CLASSES_H

#include <stddef.h>

#include "store/error.h"
#include "store/report.h"

#define CLASSES_MAX 65534     /* labels of a corpus */
#define CLASSES_MAX_PROMPTS 10000000

struct corpus;
struct classes {
    size_t n_classes, n_languages, n_prompts;
    char **names;     // (n_classes) labels
    char **languages; // (n_languages) canonical tags
    char **prompts;   // all of them, by class, then language
    size_t *first;    // (n_classes * n_languages + 1) where each begins in prompts
    char *text;       /* the JSON as it was given */
};

/* ERR_DATA names the class or template that is wrong. *c owned: classes_free. */
int classes_read(struct classes **c, const char *path, struct error *err) MUST_CHECK;
/* The same from text, e.g. that of corpus_classes; `name` stands in errors. */
int classes_parse(struct classes **c, const char *text, size_t n, const char *name,
                  struct error *err) MUST_CHECK;
void classes_free(struct classes *c);
/* The prompts of a class in a language, borrowed from c; *n is 0 where the class has no name in it. */
void classes_prompts(const struct classes *c, size_t class_index, size_t language,
                     char *const **prompts, size_t *n);
/* Stores the list and every prompt as a caption without a pair, inside an open batch of a
 * CORPUS_WRITE handle. *n_new: prompts that were not yet there. */
int classes_store(const struct classes *c, struct corpus *corpus, size_t *n_new,
                  struct error *err) MUST_CHECK;

#endif
