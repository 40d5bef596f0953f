/* The ingest stage; see ingest.h. A turn reads rows and their picture files (serial), decodes what
 * is new (parallel) and stores row by row in order (serial); a transaction holds turns until it has
 * about batch_bytes, so that the corpus does not depend on threads and a killed run loses one
 * transaction at most. */
#include "ingest/ingest.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/caption.h"
#include "ingest/classes.h"
#include "ingest/deposit.h"
#include "ingest/quarantine.h"
#include "ingest/stream.h"
#include "store/file.h"
#include "store/memory.h"

#define TURN_ROWS      4096
#define TURN_PARTS     4 /* turns of a full transaction */
#define MAX_BATCH_ROWS (1 << 17)

struct item {
    struct row row;
    char *block; /* its strings; owned */
    size_t shot; /* NO_SHOT: none */
};
#define NO_SHOT SIZE_MAX

struct stage {
    const struct ingest_options *o;
    const struct report *report;
    struct ingest_result *r;
    struct corpus *corpus;
    struct shots *shots;
    struct quarantine *quarantine;
    struct item *items; // (TURN_ROWS)
    size_t n_items, batch_rows;
    uint64_t n_text; /* bytes of the rows kept for this turn */
    int n_threads;
    bool in_batch;
};

struct ingest_options ingest_defaults(void)
{
    return (struct ingest_options){.rule = caption_rule_defaults(),
                                   .split = -1,
                                   .source = source_defaults(),
                                   .max_bad = -1,
                                   .max_bad_percent = -1,
                                   .limits = picture_limits_default(),
                                   .batch_bytes = (uint64_t)64 << 20};
}

int ingest_parse_max_bad(const char *text, struct ingest_options *o, struct error *err)
{
    char *end;
    errno = 0;
    double share = strtod(text, &end);
    if (end != text && !strcmp(end, "%") && share >= 0 && share <= 100) {
        o->max_bad_percent = share;
        return 0;
    }
    long long n = strtoll(text, &end, 10);
    if (end == text || *end || n < 0 || errno)
        return error_set(
            err, ERR_USAGE,
            "'%s' is no budget of bad records; expected a number or a share such as 1%%", text);
    o->max_bad = n;
    return 0;
}

static int begin(struct stage *s, struct error *err)
{
    if (s->in_batch) return 0;
    int rc = corpus_begin(s->corpus, err);
    s->in_batch = rc == 0;
    return rc;
}

static int commit(struct stage *s, struct error *err)
{
    if (!s->in_batch) return 0;
    s->in_batch = false;
    s->batch_rows = 0;
    return corpus_commit(s->corpus, err);
}

static void clear_turn(struct stage *s)
{
    for (size_t i = 0; i < s->n_items; i++) memory_free(s->items[i].block);
    s->n_items = 0;
    s->n_text = 0;
    shots_settle(s->shots);
}

/* Keeps a row for this turn, and its picture file. */
static int keep_picture(struct stage *s, const struct source *source, const struct row *row,
                        size_t *shot, struct error *err)
{
    char *path = NULL;
    int rc;
    if (row->picture) { /* told apart by its place in the source */
        char place[64];
        snprintf(place, sizeof place, "@%" PRIu64 ":%" PRIu64, row->line, row->byte_offset);
        path = file_join(source_path(source), place, err);
        rc = path ? shots_hold(s->shots, path, row->picture, row->n_picture, s->corpus, shot, err)
                  : ERR_NOMEM;
    } else {
        path = file_join(source_folder(source), row->image, err);
        rc = path ? shots_get(s->shots, path, s->corpus, shot, err) : ERR_NOMEM;
    }
    memory_free(path);
    return rc;
}

static int keep(struct stage *s, const struct source *source, const struct row *row,
                struct error *err)
{
    struct item *item = &s->items[s->n_items];
    *item = (struct item){.shot = NO_SHOT};
    int rc = row_copy(row, &item->row, &item->block, err);
    if (rc < 0) return rc;
    s->n_items++;
    s->n_text += row->n_caption;
    bool has_picture = row->picture || (row->image && *row->image);
    if (row->reason || s->o->no_images || !has_picture) return 0;
    return keep_picture(s, source, row, &item->shot, err);
}

/* Reads a turn: up to TURN_ROWS rows and a part of a transaction's bytes. 1: there is more; 0: the
 * source is at its end. */
static int read_turn(struct stage *s, struct source *source, struct error *err)
{
    int rc = 1;
    while (rc > 0 && s->n_items < TURN_ROWS &&
           shots_bytes(s->shots) + s->n_text < s->o->batch_bytes / TURN_PARTS) {
        struct row row;
        rc = source_next(source, &row, err);
        if (rc <= 0) break;
        if (s->o->retry_failed && !quarantine_holds(s->quarantine, &row)) {
            s->r->n_passed++;
            continue;
        }
        int kept = keep(s, source, &row, err);
        if (kept < 0) return kept;
    }
    return rc;
}

static bool over_budget(const struct stage *s)
{
    return s->o->max_bad >= 0 && s->r->n_rejects > (uint64_t)s->o->max_bad;
}

/* Stores the turn's rows in order. The count of good rows, or an error. */
static int64_t store_turn(struct stage *s, struct deposit *d, struct error *err)
{
    int64_t n_good = 0;
    int rc = begin(s, err);
    for (size_t i = 0; rc >= 0 && i < s->n_items && !over_budget(s); i++) {
        struct item *item = &s->items[i];
        rc = deposit_row(d, &item->row,
                         item->shot == NO_SHOT ? NULL : shots_at(s->shots, item->shot), err);
        n_good += rc == 1;
    }
    s->batch_rows += s->n_items;
    return rc < 0 ? rc : n_good;
}

static void tell(const struct stage *s, const struct source *source, uint64_t rows_before)
{
    uint64_t done, total, rows = s->r->n_rows - rows_before;
    source_progress(source, &done, &total);
    uint64_t expected = total && done ? (uint64_t)((double)rows * (double)total / (double)done) : 0;
    report_progress(s->report, "ingest", s->r->n_rows, expected ? rows_before + expected : 0,
                    s->r->n_rejects, s->r->n_pairs_old);
}

static int budget_error(const struct stage *s, struct error *err)
{
    return error_set(err, ERR_BUDGET,
                     "%llu of %llu records were rejected, at most %lld are allowed (--max-bad); "
                     "what was good before is kept",
                     (unsigned long long)s->r->n_rejects, (unsigned long long)s->r->n_rows,
                     (long long)s->o->max_bad);
}

static int run_turns(struct stage *s, struct source *source, struct deposit *d, uint64_t *n_good,
                     struct error *err)
{
    uint64_t rows_before = s->r->n_rows;
    int more = 1;
    while (more > 0) {
        if (report_stopped(s->report))
            return error_set(err, ERR_STOPPED, "stopped; what was read so far is kept");
        more = read_turn(s, source, err);
        int rc = more < 0 ? more : shots_decode(s->shots, err);
        int64_t good = rc < 0 ? rc : store_turn(s, d, err);
        clear_turn(s);
        if (good < 0) return (int)good;
        *n_good += (uint64_t)good;
        tell(s, source, rows_before);
        if (over_budget(s)) return budget_error(s, err);
        if (corpus_batch_bytes(s->corpus) >= s->o->batch_bytes || s->batch_rows >= MAX_BATCH_ROWS)
            rc = commit(s, err);
        if (rc < 0) return rc;
    }
    return 0;
}

/* What a source that gave nothing is told. */
static int judge_source(const struct source *source, uint64_t n_rows, uint64_t n_good,
                        struct error *err)
{
    enum source_format kind = source_kind(source);
    if (n_rows == 0)
        return error_set(err, ERR_DATA, "%s: %s", source_path(source),
                         kind == SOURCE_FOLDER  ? "holds no picture"
                         : kind == SOURCE_JSONL ? "is empty; one JSON object a line is expected"
                         : kind == SOURCE_WEBDATASET                ? "holds no sample"
                         : kind == SOURCE_TSV || kind == SOURCE_CSV ? "has a header but no rows"
                                                                    : "holds no record");
    if (n_good == 0)
        return error_set(err, ERR_BUDGET, "%s: every record was rejected (%llu)",
                         source_path(source), (unsigned long long)n_rows);
    return 0;
}

/* The whole source was read: what it no longer rejects leaves the quarantine. Standard input is
 * another source each time. */
static int end_source(struct stage *s, const char *path, struct error *err)
{
    if (!strcmp(path, STREAM_STDIN)) return 0;
    int rc = begin(s, err);
    return rc < 0 ? rc : quarantine_end(s->quarantine, s->corpus, &s->r->n_rejects_gone, err);
}

static int run_source(struct stage *s, const char *path, struct error *err)
{
    struct source *source = NULL;
    uint64_t rows_before = s->r->n_rows, passed_before = s->r->n_passed, n_good = 0;
    char *name = s->o->source_name ? memory_string(s->o->source_name, err)
                                   : source_default_name(path, err);
    if (!name) return ERR_NOMEM;
    int rc = source_open(&source, path, &s->o->source, s->report, err);
    quarantine_begin(s->quarantine, path);
    if (rc == 0) {
        struct deposit d = {.corpus = s->corpus,
                            .options = s->o,
                            .result = s->r,
                            .quarantine = s->quarantine,
                            .source_path = path,
                            .source_name = name};
        rc = run_turns(s, source, &d, &n_good, err);
        if (rc == 0) rc = end_source(s, path, err);
        if (rc == 0 && s->r->n_passed == passed_before)
            rc = judge_source(source, s->r->n_rows - rows_before, n_good, err);
    }
    source_close(source);
    memory_free(name);
    return rc;
}

/* Whatever is wrong with the arguments is said before anything is written. */
static int check_arguments(const struct ingest_options *o, const struct source_paths *paths,
                           struct classes **classes, struct error *err)
{
    char tag[CAPTION_MAX_LANGUAGE];
    if (o->n_sources == 0 && !o->classes)
        return error_set(
            err, ERR_USAGE,
            "nothing to ingest: name a manifest, a folder of pictures, or a class list");
    if (o->language && strcmp(o->language, INGEST_DETECT) &&
        caption_language(o->language, tag, sizeof tag, NULL) < 0)
        return error_set(
            err, ERR_USAGE,
            "'%s' is no language tag; expected something like en, zh or pt-BR, or auto",
            o->language);
    if (o->source_name && (!*o->source_name || strlen(o->source_name) > 1000))
        return error_set(err, ERR_USAGE, "a source name has 1 to 1000 bytes");
    for (size_t i = 0; i < paths->n; i++) {
        struct source *source;
        const char *path = paths->path[i];
        if (!strcmp(path, STREAM_STDIN) || file_is_special(path)) continue;
        int rc = source_open(&source, path, &o->source, NULL, err);
        if (rc < 0) return rc;
        source_close(source);
    }
    return o->classes ? classes_read(classes, o->classes, err) : 0;
}

/* All captions of a corpus are normalised by one rule. A corpus that has captions keeps its own: NFKC
 * is refused where it has another; without the option what the corpus has is taken. */
static int settle_rule(struct stage *s, struct ingest_options *o, struct error *err)
{
    char *rule = NULL;
    struct corpus_counts counts;
    int rc = corpus_caption_rule(s->corpus, &rule, err);
    if (rc == 0) rc = corpus_counts(s->corpus, &counts, err);
    if (rc < 0) goto done;
    bool is_same = !strcmp(rule, caption_rule_name(&o->rule));
    if (is_same) goto done;
    if (!o->rule.nfkc) {
        o->rule.nfkc = true;
    } else if (counts.n_captions) {
        rc = error_set(err, ERR_USAGE,
                       "the captions of this corpus are normalised by %s, not %s; --nfkc needs a "
                       "new cache",
                       rule, caption_rule_name(&o->rule));
    } else {
        rc = begin(s, err);
        if (rc == 0) rc = corpus_set_caption_rule(s->corpus, caption_rule_name(&o->rule), err);
    }
done:
    memory_free(rule);
    return rc;
}

static int store_classes(struct stage *s, const struct classes *classes, struct error *err)
{
    size_t n_new;
    int rc = begin(s, err);
    if (rc == 0) rc = classes_store(classes, s->corpus, &n_new, err);
    if (rc == 0) s->r->n_prompts_new = n_new;
    return rc;
}

static int judge_share(const struct stage *s, struct error *err)
{
    double limit = s->o->max_bad_percent, n = (double)s->r->n_rejects, all = (double)s->r->n_rows;
    if (limit < 0 || n * 100 <= limit * all) return 0;
    return error_set(err, ERR_BUDGET,
                     "%.0f of %.0f records were rejected (%.2f%%), at most %g%% are allowed "
                     "(--max-bad); what was good is kept",
                     n, all, 100 * n / all, limit);
}

int ingest_run(const char *cache, const struct ingest_options *options, const struct report *report,
               struct ingest_result *r, struct error *err)
{
    struct ingest_options settled = *options, *o = &settled;
    struct classes *classes = NULL;
    struct source_paths paths = {0};
    struct stage s = {.o = o,
                      .report = report,
                      .r = r,
                      .n_threads = o->n_threads > 0 ? o->n_threads : omp_get_max_threads()};
    *r = (struct ingest_result){0};
    int rc = source_expand(o->sources, o->n_sources, &paths, err);
    if (rc == 0) rc = check_arguments(o, &paths, &classes, err);
    if (rc < 0) goto done;
    rc = ERR_NOMEM;
    if (!(s.shots = shots_new(&o->limits, o->max_side_px, s.n_threads, err))) goto done;
    if (!(s.items = memory_array(TURN_ROWS, sizeof *s.items, MEMORY_MAX_SMALL, err))) goto done;
    rc = corpus_open(&s.corpus, cache, CORPUS_WRITE, err);
    if (rc == 0) rc = settle_rule(&s, o, err);
    if (rc == 0) rc = quarantine_open(&s.quarantine, s.corpus, err);
    if (rc == 0 && classes) rc = store_classes(&s, classes, err);
    for (size_t i = 0; rc == 0 && i < paths.n; i++) rc = run_source(&s, paths.path[i], err);
    if (rc == 0) rc = judge_share(&s, err);
    if (rc == 0 || rc == ERR_BUDGET || rc == ERR_STOPPED || rc == ERR_DATA) {
        int committed = commit(&s, err);
        if (committed < 0) rc = committed;
    }
done:
    if (s.items) clear_turn(&s);
    quarantine_close(s.quarantine);
    corpus_close(s.corpus);
    memory_free(s.items);
    shots_free(s.shots);
    classes_free(classes);
    source_paths_release(&paths);
    return rc;
}
