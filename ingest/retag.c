/* Changing what pairs say; see retag.h. */
#include "ingest/retag.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/caption.h"
#include "ingest/langid.h"
#include "ingest/leaks.h"
#include "store/bytes.h"
#include "store/memory.h"

#define BATCH_PAIRS 65536

struct retagging {
    const struct retag_options *o;
    struct corpus *c;
    struct retag_result *r;
    char language[CAPTION_MAX_LANGUAGE]; /* canonical */
    uint8_t *split;                      // (n_images) of assign; else NULL
};

struct retag_options retag_defaults(void)
{
    return (struct retag_options){.split = -1, .seed = 1};
}

int retag_parse_shares(const char *text, double share[SPLIT_N], struct error *err)
{
    double sum = 0;
    const char *at = text;
    for (int s = 0; s < SPLIT_N; s++) {
        char *end;
        share[s] = strtod(at, &end);
        bool ok = end != at && share[s] >= 0 && isfinite(share[s]) &&
                  (s + 1 < SPLIT_N ? *end == ',' || *end == '/' : *end == '\0');
        if (!ok)
            return error_set(err, ERR_USAGE,
                             "'%s' are no shares of splits; expected train/val/test, e.g. 80/10/10",
                             text);
        sum += share[s];
        at = end + 1;
    }
    if (!(sum > 0)) return error_set(err, ERR_USAGE, "'%s': all shares are 0", text);
    for (int s = 0; s < SPLIT_N; s++) share[s] /= sum;
    return 0;
}

/* A number in [0, 1) out of the seed and a key's first bytes. */
static double chance(uint64_t seed, uint64_t key)
{
    uint8_t text[16];
    bytes_put_u64(bytes_put_u64(text, seed), key);
    return (double)(digest_short(text, sizeof text) >> 11) * 0x1p-53;
}

static int assign_splits(struct retagging *t, struct error *err)
{
    struct leaks l;
    uint64_t *least = NULL;
    int rc = leaks_open(&l, t->c, true, t->o->n_threads, err);
    if (rc < 0) return rc;
    t->split = memory_array(l.n_images, 1, MEMORY_MAX_TENSOR, err);
    least = memory_array(l.n_images, sizeof *least, MEMORY_MAX_TENSOR, err);
    if (!t->split || !least) rc = ERR_NOMEM;
    for (uint32_t i = 0; rc == 0 && i < l.n_images; i++) least[i] = UINT64_MAX;
    for (uint32_t i = 0; rc == 0 && i < l.n_images; i++) {
        struct corpus_image image;
        rc = corpus_get_image(t->c, i, &image, err);
        if (rc == ERR_NOT_FOUND) { /* forgotten */
            rc = 0;
            continue;
        }
        if (rc < 0) break;
        struct bytes_reader r = bytes_reader(image.key, 8);
        uint64_t key = bytes_key_u64(&r), *of_group = &least[l.group[i]];
        if (key < *of_group) *of_group = key;
    }
    for (uint32_t i = 0; rc == 0 && i < l.n_images; i++) {
        double x = chance(t->o->seed, least[l.group[i]]), sum = 0;
        int s = 0;
        while (s + 1 < SPLIT_N && x >= (sum += t->o->share[s])) s++;
        t->split[i] = (uint8_t)s;
    }
    memory_free(least);
    leaks_close(&l);
    return rc;
}

static int detect(struct retagging *t, const struct corpus_pair *p, char *tag, size_t size,
                  struct error *err)
{
    const char *text;
    size_t n;
    int rc = corpus_caption_text(t->c, p->caption, &text, &n, NULL, err);
    if (rc < 0) return rc;
    if (!langid_detect(text, n, tag, size)) strcpy(tag, "und");
    t->r->n_und += !strcmp(tag, "und");
    return 0;
}

/* What the pair is to become. Names are made, inside the open batch. */
static int decide(struct retagging *t, const struct corpus_pair *from, struct corpus_pair *to,
                  struct error *err)
{
    const struct retag_options *o = t->o;
    char tag[CAPTION_MAX_LANGUAGE];
    int rc = 0;
    *to = *from;
    if (o->split >= 0) to->split = (uint8_t)o->split;
    if (t->split) to->split = t->split[from->image];
    if (o->weight > 0) to->weight = (float)o->weight;
    if (o->label && !*o->label) to->label = CORPUS_NO_NAME;
    if (o->label && *o->label) rc = corpus_intern(t->c, NAME_LABEL, o->label, &to->label, err);
    if (rc < 0 || !o->language) return rc;
    strcpy(tag, t->language);
    if (!*tag) rc = detect(t, from, tag, sizeof tag, err);
    return rc < 0 ? rc : corpus_intern(t->c, NAME_LANGUAGE, tag, &to->language, err);
}

static bool is_same(const struct corpus_pair *a, const struct corpus_pair *b)
{
    return a->language == b->language && a->label == b->label && a->split == b->split &&
           a->weight == b->weight;
}

/* One batch of pairs, from *at on. */
static int run_batch(struct retagging *t, const struct corpus_pair *pairs, size_t n, size_t *at,
                     struct error *err)
{
    int rc = corpus_begin(t->c, err);
    if (rc < 0) return rc;
    for (size_t changed = 0; rc == 0 && *at < n && changed < BATCH_PAIRS; ++*at) {
        struct corpus_pair to;
        if (!where_matches(t->o->where, &pairs[*at])) continue;
        t->r->n_pairs++;
        rc = decide(t, &pairs[*at], &to, err);
        if (rc < 0) break;
        t->r->n_split[to.split]++;
        if (is_same(&to, &pairs[*at])) continue;
        changed++;
        t->r->n_changed++;
        if (!t->o->dry_run) rc = corpus_change_pair(t->c, &pairs[*at], &to, err);
    }
    if (rc < 0 || t->o->dry_run) {
        corpus_abort(t->c);
        return rc;
    }
    return corpus_commit(t->c, err);
}

static int change_all(struct retagging *t, const struct report *report, struct error *err)
{
    struct corpus_pair *pairs = NULL;
    struct corpus_counts counts;
    size_t n = 0, at = 0;
    int rc = where_bind(t->o->where, t->c, err);
    if (rc == 0) rc = corpus_pairs(t->c, &pairs, &n, err);
    if (rc == 0 && t->o->assign) rc = assign_splits(t, err);
    while (rc == 0 && at < n) {
        if (report_stopped(report))
            rc = error_set(err, ERR_STOPPED, "stopped; what was changed so far is kept");
        else
            rc = run_batch(t, pairs, n, &at, err);
        report_progress(report, "retag", at, n, 0, t->r->n_pairs - t->r->n_changed);
    }
    if (rc == 0) rc = corpus_counts(t->c, &counts, err);
    if (rc == 0) t->r->n_merged = n - counts.n_pairs;
    memory_free(pairs);
    return rc;
}

int retag_run(const char *cache, const struct retag_options *o, const struct report *report,
              struct retag_result *r, struct error *err)
{
    struct retagging t = {.o = o, .r = r};
    *r = (struct retag_result){0};
    if (!o->language && !o->label && o->split < 0 && !(o->weight > 0) && !o->assign)
        return error_set(err, ERR_USAGE, "nothing to change was named");
    if (o->split >= 0 && o->assign)
        return error_set(err, ERR_USAGE, "a split is either set or assigned, not both");
    int rc = 0;
    if (o->language && strcmp(o->language, "auto"))
        rc = caption_language(o->language, t.language, sizeof t.language, NULL);
    if (rc < 0)
        return error_set(err, ERR_USAGE,
                         "'%s' is no language tag; expected something like en, zh or auto",
                         o->language);
    rc = corpus_open(&t.c, cache, CORPUS_READ, err); /* a writer would make it */
    corpus_close(t.c);
    t.c = NULL;
    if (rc == 0) rc = corpus_open(&t.c, cache, CORPUS_WRITE, err);
    if (rc == 0) rc = change_all(&t, report, err);
    memory_free(t.split);
    corpus_close(t.c);
    return rc;
}
