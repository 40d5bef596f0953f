/* Uniting a cache with other folders; see merge.h. The corpora are united by corpusmerge.c, a pair
 * of sets by featureset_merge.c; here is what belongs together, and in which order: check all of a
 * folder, then write the corpus, then its sets. */
#include "store/merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/file.h"
#include "store/fingerprint.h"
#include "store/memory.h"
#include "store/transfer.h"

#define GAP_BATCH 4096

struct merge {
    char *cache;
    struct merge_options options;
    struct merge_result result;
    size_t capacity; /* of result.sets */
};

/* A folder being united. */
struct unite {
    struct merge *m;
    const char *folder;
    struct corpus *into, *from; /* from: NULL when the folder has no corpus */
    char **names;               /* of its sets */
    size_t n_names;
    const struct report *report;
};

/* What places a set's records. */
struct placing {
    struct corpus *into, *from;
    enum featureset_tower tower;
    const char *folder;
};

int merge_open(struct merge **out, const char *cache, const struct merge_options *options,
               struct error *err)
{
    struct merge *m = memory_array(1, sizeof *m, MEMORY_MAX_SMALL, err);
    *out = NULL;
    if (!m) return ERR_NOMEM;
    m->options = *options;
    m->cache = memory_string(cache, err);
    if (!m->cache) {
        merge_close(m);
        return ERR_NOMEM;
    }
    *out = m;
    return 0;
}

void merge_close(struct merge *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->result.n_sets; i++) memory_free(m->result.sets[i].gaps);
    memory_free(m->result.sets);
    memory_free(m->cache);
    memory_free(m);
}

const struct merge_result *merge_result(const struct merge *m)
{
    return &m->result;
}

/* FOLDER/NAME is a folder: 1, 0, or ERR_NOMEM. */
static int has(const char *folder, const char *name, struct error *err)
{
    char *path = file_join(folder, name, err);
    if (!path) return ERR_NOMEM;
    int is_there = file_is_folder(path);
    memory_free(path);
    return is_there;
}

static bool is_same_folder(const char *a, const char *b)
{
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x && y && !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

/* The number and key in `into` of record `number` of a set. */
static int place(void *context, uint32_t number, uint32_t *to, uint8_t key[DIGEST_BYTES],
                 struct error *err)
{
    const struct placing *p = context;
    struct corpus *c = p->from ? p->from : p->into;
    bool is_text = p->tower == TOWER_TEXT;
    uint32_t n = is_text ? corpus_n_captions(c) : corpus_n_images(c);
    if (number >= n)
        return error_set(err, ERR_INCOMPATIBLE,
                         "%s: a set has a vector of %s %u, but the corpus%s has %u: it was made "
                         "from another corpus, or from a newer snapshot",
                         p->folder, is_text ? "caption" : "image", number,
                         p->from ? " beside it" : " of the cache", n);
    int rc = transfer_key(c, p->tower, number, key, err);
    if (rc == 0 && p->from)
        rc = is_text ? corpus_caption_number(p->into, key, to, err)
                     : corpus_image_number(p->into, key, to, err);
    else
        *to = number;
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 1;
}

/* The set as the cache has it; NULL when it has none. */
static int open_ours(struct featureset **fs, const char *cache, const char *name,
                     enum featureset_mode mode, struct error *err)
{
    char tail[FEATURESET_NAME_MAX + 16];
    snprintf(tail, sizeof tail, "features/%s", name);
    *fs = NULL;
    int rc = has(cache, tail, err);
    return rc > 0 ? featureset_open(fs, cache, name, mode, err) : rc;
}

static int create_ours(struct featureset **fs, const char *cache, struct featureset *from,
                       struct error *err)
{
    struct featureset_spec spec = *featureset_spec(from);
    char *tokenizer = NULL;
    int rc = featureset_tokenizer(from, &tokenizer, &spec.n_tokenizer, err);
    spec.tokenizer = tokenizer;
    if (rc == 0) rc = featureset_create(fs, cache, &spec, err);
    memory_free(tokenizer);
    return rc;
}

static struct merge_set *set_of(struct merge *m, const char *name, struct error *err)
{
    struct merge_result *r = &m->result;
    for (size_t i = 0; i < r->n_sets; i++)
        if (!strcmp(r->sets[i].name, name)) return &r->sets[i];
    if (memory_grow(&r->sets, &m->capacity, r->n_sets + 1, sizeof *r->sets, MEMORY_MAX_FILE, err) <
        0)
        return NULL;
    struct merge_set *s = &r->sets[r->n_sets++];
    *s = (struct merge_set){0};
    snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

/* Fingerprints, but for numerics where the user accepts another. */
static int compare_sets(const struct merge *m, const struct featureset *ours,
                        const struct featureset *theirs, struct error *err)
{
    const struct json *expected = featureset_spec(ours)->fingerprint;
    const struct json *found = featureset_spec(theirs)->fingerprint;
    struct json *differences = fingerprint_compare(expected, found);
    bool accepted = m->options.accept_numerics && fingerprint_only(differences, "numerics");
    json_free(differences);
    return accepted ? 0 : featureset_check(ours, found, err);
}

/* What comes in now, when it is not in the set's own numerics: theirs are others, or some of theirs
 * were accepted by them. */
static int note_numerics(struct featureset *ours, struct featureset *theirs, struct error *err)
{
    const struct json *found = featureset_spec(theirs)->fingerprint;
    const struct json *expected = featureset_spec(ours)->fingerprint;
    const char *own = json_text(json_get(expected, "numerics"), NULL);
    const char *other = json_text(json_get(found, "numerics"), NULL), *in = NULL;
    struct json *list = NULL;
    int rc = featureset_accepted(theirs, &list, err);
    if (own && other && strcmp(own, other)) in = other;
    for (size_t i = 0; rc == 0 && !in && i < json_size(list); i++)
        in = json_text(json_get(json_at(list, i), "numerics"), NULL);
    if (rc == 0) rc = featureset_accept(ours, in, err);
    json_free(list);
    return rc;
}

static int check_set(struct unite *u, const char *name, struct error *err)
{
    struct featureset *ours = NULL, *theirs = NULL;
    struct featureset_merge_counts counts;
    int rc = featureset_open(&theirs, u->folder, name, FEATURESET_READ, err);
    if (rc == 0) rc = open_ours(&ours, u->m->cache, name, FEATURESET_READ, err);
    if (rc == 0 && ours) rc = compare_sets(u->m, ours, theirs, err);
    if (rc == ERR_INCOMPATIBLE) error_prefix(err, "%s: ", u->folder);
    if (rc == 0) {
        struct placing p = {u->into, u->from, featureset_spec(theirs)->tower, u->folder};
        rc = featureset_merge(ours, theirs, true, place, &p, u->report, &counts, err);
    }
    featureset_close(ours);
    featureset_close(theirs);
    return rc;
}

static int unite_set(struct unite *u, const char *name, struct error *err)
{
    struct featureset *ours = NULL, *theirs = NULL;
    struct featureset_merge_counts counts = {0};
    struct merge_set *set = set_of(u->m, name, err);
    if (!set) return ERR_NOMEM;
    int rc = featureset_open(&theirs, u->folder, name, FEATURESET_READ, err);
    if (rc == 0) rc = open_ours(&ours, u->m->cache, name, FEATURESET_WRITE, err);
    if (rc == 0 && !ours) {
        rc = create_ours(&ours, u->m->cache, theirs, err);
        set->is_new = rc == 0;
    }
    /* what the check saw may have changed before the lock was taken */
    if (rc == 0) rc = compare_sets(u->m, ours, theirs, err);
    if (rc == 0) rc = note_numerics(ours, theirs, err);
    if (rc == 0) {
        struct placing p = {u->into, u->from, featureset_spec(theirs)->tower, u->folder};
        rc = featureset_merge(ours, theirs, false, place, &p, u->report, &counts, err);
    }
    if (rc == 0) rc = featureset_accept(ours, NULL, err);
    set->counts.n_new += counts.n_new;
    set->counts.n_equal += counts.n_equal;
    set->counts.n_left_out += counts.n_left_out;
    featureset_close(ours);
    featureset_close(theirs);
    return rc;
}

static int unite_corpus(struct unite *u, struct error *err)
{
    struct merge_result *r = &u->m->result;
    struct corpus_merge_counts n = {0};
    int rc = corpus_merge(u->into, u->from, u->report, &n, err);
    r->has_corpus = true;
    r->corpus.n_images += n.n_images;
    r->corpus.n_captions += n.n_captions;
    r->corpus.n_pairs += n.n_pairs;
    r->corpus.n_ids += n.n_ids;
    r->corpus.n_rejects += n.n_rejects;
    r->corpus.n_changed += n.n_changed;
    r->corpus.has_classes |= n.has_classes;
    return rc;
}

static int run(struct unite *u, struct error *err)
{
    bool with_corpus = u->from && !u->m->options.features_only;
    int rc = with_corpus ? corpus_merge_check(u->into, u->from, err) : 0;
    for (size_t i = 0; rc == 0 && i < u->n_names; i++) rc = check_set(u, u->names[i], err);
    if (rc == 0 && with_corpus) rc = unite_corpus(u, err);
    if (rc == 0 && with_corpus) { /* an ingest need not wait for the features */
        corpus_close(u->into);
        u->into = NULL;
        rc = corpus_open(&u->into, u->m->cache, CORPUS_READ, err);
    }
    for (size_t i = 0; rc == 0 && i < u->n_names; i++) rc = unite_set(u, u->names[i], err);
    return rc;
}

int merge_folder(struct merge *m, const char *folder, const struct report *report,
                 struct error *err)
{
    struct unite u = {.m = m, .folder = folder, .report = report};
    int has_corpus = has(folder, "corpus", err);
    int has_features = has_corpus < 0 ? has_corpus : has(folder, "features", err);
    if (has_features < 0) return has_features;
    if (is_same_folder(m->cache, folder))
        return error_set(err, ERR_USAGE, "%s is the cache itself: there is nothing to merge",
                         folder);
    if (!has_corpus && !has_features)
        return error_set(err, ERR_NOT_FOUND,
                         "%s holds neither a corpus nor features: a cache's folder is expected, or "
                         "what featurize --shard wrote",
                         folder);
    bool writes = has_corpus && !m->options.features_only;
    int rc = has_corpus ? corpus_open(&u.from, folder, CORPUS_READ, err) : 0;
    if (rc == 0) rc = corpus_open(&u.into, m->cache, writes ? CORPUS_WRITE : CORPUS_READ, err);
    if (rc == 0) rc = featureset_list(folder, &u.names, &u.n_names, err);
    if (rc == 0) rc = run(&u, err);
    memory_free(u.names);
    corpus_close(u.into);
    corpus_close(u.from);
    return rc;
}

static int add_gap(struct merge_set *set, size_t *capacity, uint32_t view, uint32_t number,
                   struct error *err)
{
    struct merge_gap *last = set->n_gaps ? &set->gaps[set->n_gaps - 1] : NULL;
    set->n_missing++;
    if (last && last->view == view && last->last + 1 == number) {
        last->last = number;
        return 0;
    }
    int rc = memory_grow(&set->gaps, capacity, set->n_gaps + 1, sizeof *set->gaps,
                         MEMORY_MAX_TENSOR, err);
    if (rc == 0) set->gaps[set->n_gaps++] = (struct merge_gap){view, number, number};
    return rc;
}

/* Records of one view, GAP_BATCH numbers at a time. */
static int view_gaps(struct corpus *c, struct featureset *fs, struct merge_set *set, uint32_t view,
                     size_t *capacity, struct error *err)
{
    static uint32_t number[GAP_BATCH];
    static uint8_t key[GAP_BATCH][DIGEST_BYTES], has_it[GAP_BATCH];
    enum featureset_tower tower = featureset_spec(fs)->tower;
    uint32_t n = tower == TOWER_TEXT ? corpus_n_captions(c) : corpus_n_images(c);
    for (uint64_t first = 0; first < n; first += GAP_BATCH) {
        size_t m = 0;
        for (uint64_t i = first; i < n && i < first + GAP_BATCH; i++) {
            int rc = transfer_key(c, tower, (uint32_t)i, key[m], err);
            if (rc == ERR_NOT_FOUND) continue;
            if (rc < 0) return rc;
            number[m++] = (uint32_t)i;
        }
        int rc = featureset_has(fs, view, m, number, (const uint8_t(*)[DIGEST_BYTES])key, has_it,
                                err);
        for (size_t i = 0; rc == 0 && i < m; i++)
            if (!has_it[i]) rc = add_gap(set, capacity, view, number[i], err);
        if (rc < 0) return rc;
    }
    return 0;
}

int merge_gaps(struct merge *m, struct error *err)
{
    struct corpus *c = NULL;
    int rc = corpus_open(&c, m->cache, CORPUS_READ, err);
    m->result.n_missing = 0;
    for (size_t i = 0; rc == 0 && i < m->result.n_sets; i++) {
        struct merge_set *set = &m->result.sets[i];
        struct featureset *fs = NULL;
        size_t capacity = 0;
        rc = featureset_open(&fs, m->cache, set->name, FEATURESET_READ, err);
        if (rc < 0) break;
        set->n_views = featureset_n_views(fs);
        for (uint32_t view = 0; rc == 0 && view < (set->n_views ? set->n_views : 1); view++)
            rc = view_gaps(c, fs, set, view, &capacity, err);
        m->result.n_missing += set->n_missing;
        featureset_close(fs);
    }
    corpus_close(c);
    return rc;
}
