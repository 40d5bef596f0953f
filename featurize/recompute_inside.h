/* What the files of recompute share: recompute.c (verdicts), recomputesample.c (which vectors),
 * recomputerun.c (the teacher over them). Nobody else includes this. */
#ifndef FEATURIZE_RECOMPUTE_INSIDE_H
#define FEATURIZE_RECOMPUTE_INSIDE_H

#include "featurize/identity.h"
#include "featurize/recompute.h"
#include "store/codec.h"
#include "store/corpus.h"

struct sampled {
    uint64_t hash; /* of seed, key and view */
    uint32_t number, view;
};

/* The sample of a set, in order of (number, view). *sample owned: memory_free. */
int sample_of(struct corpus *c, struct featureset *fs, const struct recompute_options *o,
              struct sampled **sample, size_t *n, struct error *err) MUST_CHECK;

/* A set's stored vectors against computed ones. */
struct comparison {
    struct recompute_set *set;
    struct codec codec;
    struct featureset_cursor *cursor;
    float *stored, *own; // (dim) unit vectors: as stored, and the computed one through its own code
    uint8_t *code;
};
/* // computed (n, dim), not normalised */
int comparison_rows(struct comparison *c, size_t n, const struct sampled *s,
                    const uint8_t (*keys)[DIGEST_BYTES], const float *computed,
                    struct error *err) MUST_CHECK;

struct recompute_job {
    struct corpus *corpus;
    struct model *model;
    const struct identity *identity;
    struct tap tap;
    enum numerics numerics;
    int n_threads;
    const struct report *report;
};
/* Batch after batch through the tower and into the comparison. */
int recompute_job_run(struct recompute_job *job, uint32_t dim, const struct sampled *sample, size_t n,
                      struct comparison *compare, struct error *err) MUST_CHECK;

#endif
