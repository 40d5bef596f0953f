/* One system under judgement: two embedding matrices over the rows of an evalset, and the tables
 * that follow from them.
 *
 *     struct judge j = {.o = options, .corpus = c, .set = s, .prompts = &prompts, .report = r, .rows = rows};
 *     judge_pair(&j, &(struct judged){"teacher", image, text, dim}, &err);   // retrieval, zero-shot
 *     judge_knn(&j, &system, &err);
 *
 * Every number becomes an object in `rows` (train/evaluate.h says of what shape). A task that the
 * system lacks a side for is left out.
 */
#ifndef TRAIN_JUDGE_H
#define TRAIN_JUDGE_H

#include "store/json.h"
#include "train/evalset.h"
#include "train/evaluate.h"
#include "train/prompts.h"

struct judge { /* all borrowed */
    const struct evaluate_options *o;
    struct corpus *corpus;
    const struct evalset *set;
    const struct prompts *prompts;
    const struct report *report;
    struct json *rows;
};

struct judged {
    const char *name;
    const float *image,
        *text; // (set->n_all_images, dim), (set->n_all_captions, dim); NULL: no such tower
    int dim;
};

/* Retrieval by group and zero-shot classification by language; a language without all of its prompts is
 * left out, with a warning when it has some. */
int judge_pair(struct judge *j, const struct judged *s, struct error *err) MUST_CHECK;
/* The labels of the K nearest train pictures, K = o->knn; nothing when 0. ERR_DATA without labels. */
int judge_knn(struct judge *j, const struct judged *s, struct error *err) MUST_CHECK;

#endif
