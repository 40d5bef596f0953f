/* `clipstill eval`: teacher and students judged on the same records of a split, from the cache
 * alone.
 *
 *     struct evaluate_options o = evaluate_options_default();
 *     o.cache = "C"; o.models = dirs; o.n_models = 2;
 *     rc = evaluate_run(&o, report, &answer, &err);         // answer: JSON, owned
 *
 * Systems: "teacher" (cached features), "teacher NAME" for every further one (sets NAME.image.final and
 * NAME.text.final; on the records that it has features of), each student by its folder, and the crossed pairs that show
 * whether it lives in the teacher's space: "DIR > teacher" (student pictures, teacher texts),
 * "teacher > DIR" (teacher pictures, student texts). Tasks: retrieval a group (train/retrieval.h),
 * zero-shot a language (train/zeroshot.h), k-NN (train/knn.h). Every number comes with n, a 95%
 * interval and its chance level.
 *
 * The answer: {"split", "n_images", "n_captions", "n_left_out", "n_leaking" (pictures
 * with a near-duplicate in train), "systems": [{"name", "parameters",
 * ...}], "rows": [{"system", "task": "retrieval"|"zero-shot"|"knn", "by": "lang"|"source"|"label",
 * "group", "metric": "t2i R@1", "value", "low", "high", "chance", "n"}]}.
 */
#ifndef TRAIN_EVALUATE_H
#define TRAIN_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "featurize/exec.h"
#include "store/corpus.h"
#include "store/json.h"
#include "store/report.h"

struct evaluate_options {
    const char *cache;
    const char *const *models; /* student (or teacher) folders */
    size_t n_models;
    const char *image_set, *text_set; /* the teacher's; NULL: image.final and text.final where they exist */
    enum corpus_split split;
    bool by_language, by_source, by_label; /* groups of retrieval */
    int knn;                               /* neighbours; 0: no k-NN */
    bool no_retrieval, no_zero_shot;
    enum numerics numerics; /* of the students */
    uint64_t seed;          /* of the bootstrap */
};

struct evaluate_options evaluate_options_default(void);
int evaluate_run(const struct evaluate_options *o, const struct report *report,
                 struct json **answer, struct error *err) MUST_CHECK;

#endif
