/* The ingest stage: sources in, a corpus with images, captions, pairs and quarantine out.
 *
 *     struct ingest_options o = ingest_defaults();
 *     o.sources = paths; o.n_sources = 2; o.language = "zh";
 *     struct ingest_result r;
 *     rc = ingest_run("cache", &o, report, &r, &err);
 *
 * Rows are read in batches, their pictures decoded in parallel, and committed in order, one durable
 * transaction of about batch_bytes: the corpus is the same for any number of threads, and after
 * kill -9 the same command goes on. What is there already changes nothing. A bad record is
 * quarantined and counted, never stops the run. The quarantine of a source is what its last full
 * reading rejected: an earlier reject whose record is good now is taken out. Of a pair that is known
 * only what the row or the options say is changed, so that what `retag` set stays. Errors: ERR_BUDGET (more than max_bad rejects, or a
 * source whose every record was rejected), ERR_STOPPED; what was good up to then is committed in
 * both cases. ERR_DATA, ERR_NOT_FOUND, ERR_USAGE: a source that cannot be read at all.
 */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "ingest/caption.h"
#include "ingest/picture.h"
#include "ingest/source.h"
#include "store/corpus.h"
#include "store/error.h"
#include "store/report.h"

#define INGEST_DETECT "auto" /* as a language: told from the caption, "und" where unsure */

struct ingest_options {
    const char *const *sources; /* paths, patterns, or "-": source_expand */
    size_t n_sources;
    struct source_options source;
    const char *language;        /* of captions that name none, or INGEST_DETECT; NULL: und */
    struct caption_rule rule;    /* nfkc must be the corpus's; a new corpus takes it */
    int split;                   /* enum corpus_split, of rows that name none; -1: train */
    /* pairs and ids are filed under it; NULL: the last part of each source's path */
    const char *source_name;
    bool no_images;              /* register images by their declared id, without bytes */
    const char *classes;         /* path of classes.json, or NULL */
    bool retry_failed;           /* only records that stand in quarantine */
    int64_t max_bad;             /* rejects allowed in this run; negative: any number */
    double max_bad_percent;      /* of the records read; negative: any share. Judged at the end */
    struct picture_limits limits;
    uint32_t max_side_px;        /* larger pictures are kept as a JPEG of this longer side; 0: as they are */
    uint64_t batch_bytes;        /* a transaction; 64 MB */
    int n_threads;               /* 0: as OpenMP has it */
};
struct ingest_options ingest_defaults(void);

/* "25" or "1%" into max_bad or max_bad_percent; ERR_USAGE for anything else. */
int ingest_parse_max_bad(const char *text, struct ingest_options *o, struct error *err) MUST_CHECK;

#define INGEST_MAX_REASONS 48
struct ingest_reason {
    const char *word; /* static */
    uint64_t n, n_new;
};

struct ingest_result {
    uint64_t n_rows;         /* records read, bad ones among them */
    uint64_t n_images_new;   /* pictures that were not yet in the corpus */
    uint64_t n_images_old;   /* pictures of this run that were already there, by content */
    uint64_t n_warned;       /* new pictures that their decoder had warnings about */
    uint64_t n_reduced;      /* new pictures that max_side_px made smaller */
    uint64_t n_captions_new;
    uint64_t n_cut;          /* captions that rule.max_chars cut */
    uint64_t n_undetermined; /* pairs whose language is und */
    uint64_t n_pairs_new, n_pairs_changed, n_pairs_old;
    uint64_t n_prompts_new;  /* of the class list */
    uint64_t n_rejects;      /* all bad records of this run */
    uint64_t n_rejects_new;  /* those that were not in quarantine before: exit 3 */
    uint64_t n_rejects_gone; /* of earlier runs, taken out of quarantine: their record is good now, or gone */
    uint64_t n_passed;       /* records that retry_failed left alone */
    uint64_t n_image_bytes;  /* added */
    struct ingest_reason reasons[INGEST_MAX_REASONS]; /* in order of first appearance */
    size_t n_reasons;
};

/* Opens CACHE's corpus for writing and creates it when absent. *r is filled also on error. report
 * may be NULL. */
int ingest_run(const char *cache, const struct ingest_options *o, const struct report *report,
               struct ingest_result *r, struct error *err) MUST_CHECK;

#endif
