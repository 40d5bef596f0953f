/* The teachers of a run as the cache knows them: their feature sets, space, logit scale and
 * tokenizer. No teacher's folder is opened.
 *
 *     teacher_open(&t, cache, names, n_names, &err);          // names NULL: every set of the cache
 *     int block = teacher_match_block(&t, &t.sets[i], n_blocks);  // the student's, by depth
 *     teacher_release(&t);
 *
 * The primary set of a tower is the one named "image.final" or "text.final", else the first whose
 * tap is final; it defines the student's output space. Further final sets are further teachers.
 * What is read from a set's replay object: "preprocessing", "view_plan", "logit_scale" (the factor
 * itself, not its logarithm), "max_tokens", "blocks" (layers of the teacher's tower; absent: the
 * deepest tap stands for the last). From its fingerprint: "weights", the digest that names the
 * space.
 */
#ifndef TRAIN_TEACHER_H
#define TRAIN_TEACHER_H

#include <stdbool.h>
#include <stddef.h>

#include "featurize/tower.h"
#include "store/featureset.h"

struct teacher_set {
    char name[FEATURESET_NAME_MAX + 1];
    bool is_text, is_final, is_primary;
    struct tap tap;              /* of the teacher */
    int cells, dim;              /* rows a record (G*G), columns a row */
    int blocks;                  /* of the teacher's tower; 0 unknown */
    char fingerprint[DIGEST_HEX]; /* SHA-256 of the fingerprint's canonical text */
    char space[DIGEST_HEX];      /* the weights' digest, or the fingerprint's */
};

struct teacher {
    struct teacher_set *sets; /* owned; image sets first, the primary one first of its tower */
    int n;
    double logit_scale;       /* of the primary teacher; 0 unknown */
    int max_tokens;           /* 0 unknown */
};

int teacher_open(struct teacher *t, const char *cache, const char *const *names, size_t n_names,
                 struct error *err) MUST_CHECK;
void teacher_release(struct teacher *t);
/* The student's block that matches a tap of the teacher, in proportion of depth: round(k * l / L),
 * at least 1 for k >= 1. */
int teacher_match_block(const struct teacher *t, const struct teacher_set *s, int student_blocks);
/* The SentencePiece model kept in a text set; *bytes owned, n = 0 when no set keeps one. */
int teacher_tokenizer(const struct teacher *t, const char *cache, char **bytes, size_t *n,
                      struct error *err) MUST_CHECK;

#endif
