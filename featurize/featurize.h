/* The featurise stage: corpus and teacher in, feature sets out.
 *
 *     struct featurize_options o = featurize_defaults();
 *     o.teacher = "AltCLIP"; o.taps = taps; o.n_taps = 3; o.n_views = 4;
 *     struct featurize_result r;
 *     rc = featurize_run("cache", &o, report, &r, &err);
 *     featurize_result_release(&r);
 *
 * A tap is kept in the set of its name ("image.final", "text.block3.mean"; with prefix "m18" in
 * "m18.image.final"), made on first use with its fingerprint. All taps of a tower come from one
 * forward pass; only what is missing is computed, so that the same command resumes, adds what is
 * new and extends the views. A set of another teacher, preprocessing, storage, ... is refused by
 * the component's name, never mixed.
 * Invariants: every batch is committed while the next is computed (featurize/scribe.h); after kill -9
 * at most these two are lost. Results do not depend on the number of threads, on batches or on what was there before.
 * Errors: ERR_USAGE (taps, store, no pictures in the cache), ERR_INCOMPATIBLE, ERR_LOCKED,
 * ERR_STOPPED after a clean commit, ERR_DATA when the teacher gives a NaN.
 */
#ifndef FEATURIZE_FEATURIZE_H
#define FEATURIZE_FEATURIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/effort.h"
#include "featurize/shard.h"
#include "featurize/view.h"
#include "store/error.h"
#include "store/featureset.h"
#include "store/report.h"

enum featurize_numerics { FEATURIZE_AUTO, FEATURIZE_F32, FEATURIZE_BF16, FEATURIZE_INT8 };

/* Of one tower, before anything is computed (featurize/survey.h). */
struct survey {
    uint64_t n_records, n_missing; /* pictures or captions: all, and those that lack something in some view */
    uint64_t n_inputs;             /* that will go through the tower: pictures, of every view, or captions */
    uint64_t stored_bytes;         /* that will be written, about */
    double forecast_s;             /* about; 0: not known, or nothing is missing */
};
struct featurize_plan {
    struct survey pictures, texts; /* n_records 0: no tap asks for that tower */
    uint32_t n_views;
    int n_threads;
};

struct featurize_options {
    const char *teacher;           /* a model's folder */
    const char *const *taps;       /* names; image.final and text.final by default */
    size_t n_taps;
    uint32_t n_views;              /* of pictures; 1: the teacher's own preprocessing only */
    struct view_plan plan;
    /* AUTO: what the existing set has; for a new one bf16 where it is fast, else f32, never int8 */
    enum featurize_numerics numerics;
    const char *calibration;       /* INT8: this file is read, or written when it is not there; NULL: none */
    double min_cosine;             /* INT8: what every vector of the sample must have to f32's; 0.99 */
    /* "f32", "f16", "bf16", "q1e-4"; NULL: what the existing set has; for a new one q1e-4 for final taps,
     * q1e-3 for others */
    const char *store;
    /* complete a set that was made in other numerics, in those of this run (AUTO: what is fast here);
     * recorded in the set */
    bool accept_numerics;
    const char *prefix;            /* of set names, for a second teacher; NULL: none */
    const char *const *languages;  /* captions of these alone (featurize/route.h); NULL: all */
    size_t n_languages;
    int max_tokens;                /* texts are cut here; 0: the teacher's own limit */
    bool apply_orientation;        /* turn pictures upright by EXIF; true */
    struct shard shard;            /* of pictures and captions; {0, 1}: all */
    /* where the sets are written, on this machine; NULL: into the cache. The cache is then read alone: what its
     * own sets have counts as there, and numerics and storage are theirs. `merge` unites. */
    const char *out;
    bool dry_run;                  /* count and estimate, write nothing */
    int n_threads;                 /* 0: as OpenMP has it */
    /* called once, before anything is computed, when something is missing; not in a dry run. NULL: nobody
     * wants to know, and nothing is foreseen */
    void (*planned)(const struct featurize_plan *plan);
};
struct featurize_options featurize_defaults(void);
/* "auto", "f32", "bf16", "int8"; ERR_USAGE for anything else. */
int featurize_parse_numerics(const char *text, enum featurize_numerics *numerics,
                             struct error *err) MUST_CHECK;

struct featurize_set {
    char name[FEATURESET_NAME_MAX + 1];
    uint64_t n_computed;   /* vectors of this run; in a dry run: that would be computed */
    uint64_t n_hits;       /* vectors that were there */
    uint64_t n_skipped;    /* of pictures that cannot be decoded */
    uint64_t stored_bytes; /* of the set afterwards; in a dry run: estimated for what is new */
    uint64_t as_f32_bytes; /* of the same vectors */
    bool is_new;
    /* In int8: the cosines to f32 of a sample of so many records when the set was made; else 0. */
    int n_sample;
    double cosine_mean, cosine_min;
};

struct featurize_result {
    struct featurize_set *sets; /* owned: featurize_result_release */
    size_t n_sets;
    uint64_t n_computed, n_hits; /* vectors, all sets together */
    uint64_t n_skipped;          /* pictures that cannot be decoded */
    struct effort pictures, texts; /* of this run; in a dry run: of the first batch, with the time of all */
    char numerics[8];            /* "f32", "bf16" or "int8" as used; of the picture tower when the two differ */
};

/* result is valid (counts so far) after every return; release it. */
int featurize_run(const char *cache, const struct featurize_options *o, const struct report *report,
                  struct featurize_result *result, struct error *err) MUST_CHECK;
void featurize_result_release(struct featurize_result *result);

#endif
