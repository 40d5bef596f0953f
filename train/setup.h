/* What both stages do before their first step and after their last: settings, tokenizer, networks,
 * records, checkpoint, the student's folder.
 *
 *     setup_begin(&s, &options, settings, &err);              // s.done: the run was finished before
 *     ... student_add_target(s.student, ...), student_prepare, setup_resume(&s, ...) ...
 *     ... run_stage(&s.run, ...) ...
 *     setup_end(&s, &summary, &err);
 *     setup_release(&s);
 *
 * A resumed run takes its tokenizer and its record lists from the checkpoint, so that texts and
 * records which came later change nothing.
 */
#ifndef TRAIN_SETUP_H
#define TRAIN_SETUP_H

#include <stdbool.h>
#include <stdint.h>

#include "store/report.h"
#include "train/checkpoint.h"
#include "train/loader.h"
#include "train/run.h"
#include "train/student.h"
#include "train/teacher.h"

struct setup_options {
    const char *cache, *out, *init; /* init: "random" or a student's folder */
    const char *image_arch, *text_arch;
    bool no_image, no_text;
    bool need_text, need_image;      /* a tower even when the cache has no features for it */
    const char *freeze_image_set;    /* cached features stand for the image tower */
    bool no_intermediate;
    bool need_primary;               /* records that only further teachers have features of are left out */
    const char *const *sets;
    size_t n_sets;
    const char *const *languages;
    size_t n_languages;
    const char *const *source_names;
    const double *source_weights;
    size_t n_source_weights;
    const char *keep_vocab, *tokenizer;
    int vocab_size;                  /* > 0: a tokenizer may be trained on the train captions */
    int n_views;
    bool augment;
    double token_drop; /* chance that a token of a train caption is left out, drawn anew every epoch; 0 */
    double token_split; /* chance that one is spelled with two others (train/subword.h); 0 */
    uint64_t seed, pixel_bytes;
    enum numerics numerics;
};

struct setup {
    const struct setup_options *o; /* borrowed */
    const struct report *report;
    struct teacher teacher;
    struct json *settings;         /* owned; the caller's, completed */
    struct checkpoint checkpoint;
    struct student *student;
    struct loader *loader;
    struct run run;
    /* in the loader's order */
    const struct teacher_set *image_set[LOADER_MAX_SETS], *text_set[LOADER_MAX_SETS];
    int n_image_sets, n_text_sets;
    int vocab_before, vocab;       /* ids; 0 without text */
    char *tokenizer_bytes;         /* the student's SentencePiece model */
    size_t n_tokenizer_bytes;
    bool from_init; /* the image tower, and so its preprocessing */
    bool done;
};

/* What both stages say of their schedule, into the settings that pin a run. */
void setup_schedule(struct json *settings, const struct optimiser_config *optimiser, int patience,
                    bool keep_best);
/* settings is taken. Features of another space than init's student was made for: ERR_INCOMPATIBLE. */
int setup_begin(struct setup *s, const struct setup_options *o, struct json *settings,
                const struct report *report, struct error *err) MUST_CHECK;
/* After student_prepare: pins the run, or goes on from its checkpoint. */
int setup_resume(struct setup *s, bool keep_best, uint64_t checkpoint_every, struct error *err) MUST_CHECK;
/* Writes the student's folder and OUT/run.json. *summary is owned by the caller. */
int setup_end(struct setup *s, struct json **summary, struct error *err) MUST_CHECK;
void setup_release(struct setup *s);

#endif
