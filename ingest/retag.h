/* Changing what the pairs of a corpus say, without their files: language, split, label, weight.
 *
 *     struct retag_options o = retag_defaults();
 *     o.where = &where; o.language = "zh";
 *     rc = retag_run("cache", &o, report, &r, &err);
 *
 * Pairs that become equal to others (same image, caption, language and source) become one with them.
 * Features belong to images and captions and stay. Splits can be assigned by chance: then all pictures
 * of a group of near-duplicates (ingest/leaks.h) get the same split, a pure function of the seed and of
 * the smallest key in the group, so that pictures that come later change no earlier split unless they
 * join two groups. Committed in batches: after kill -9 the same command goes on.
 * Errors: those of the corpus; ERR_USAGE, ERR_NOT_FOUND (a condition that names nothing), ERR_STOPPED.
 */
#ifndef INGEST_RETAG_H
#define INGEST_RETAG_H

#include "store/corpus.h"
#include "store/report.h"
#include "store/where.h"

struct retag_options {
    struct where *where;  /* which pairs; bound by retag_run */
    const char *language; /* a tag; "auto": detected from the caption, und where unsure; NULL: as it is */
    const char *label;    /* "": none; NULL: as it is */
    int split;            /* enum corpus_split; -1: as it is */
    double weight;        /* 0: as it is */
    bool assign;          /* splits by chance, a group of near-duplicates together */
    double share[SPLIT_N]; /* of assign; they sum to 1 */
    uint64_t seed;
    bool dry_run; /* count, write nothing */
    int n_threads;
};
struct retag_options retag_defaults(void);
/* "80,10,10" or "80/10/10": train, val, test in any unit. ERR_USAGE otherwise. */
int retag_parse_shares(const char *text, double share[SPLIT_N], struct error *err) MUST_CHECK;

struct retag_result {
    uint64_t n_pairs;   /* that the conditions mean */
    uint64_t n_changed;
    uint64_t n_merged;  /* of these, became one with another */
    uint64_t n_split[SPLIT_N]; /* of the meant pairs, afterwards */
    uint64_t n_und;     /* language "auto": those left undetermined */
};
int retag_run(const char *cache, const struct retag_options *o, const struct report *report,
              struct retag_result *r, struct error *err) MUST_CHECK;

#endif
