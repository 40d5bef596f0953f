/* Forgetting; see forget.h. First a plan in memory, a byte a record and a pair; then the sets; then
 * the corpus. */
#include "store/forget.h"

#include <ctype.h>
#include <string.h>

#include "store/featureset.h"
#include "store/json.h"
#include "store/memory.h"

enum { STAYS = 0, GOES = 1, NAMED = 2, TOUCHED = 4, KEPT = 8 }; /* of a record or a pair */

/* A foreign id that goes. */
struct gone_id {
    uint16_t source;
    char *id; /* owned */
};

struct forget {
    struct corpus *c;
    char *cache;
    bool dry_run;
    char **names; /* of the sets */
    struct featureset **sets;
    size_t n_sets;
    uint8_t *image, *caption; /* (n) */
    uint32_t n_images, n_captions;
    struct corpus_pair *pairs;
    uint8_t *pair; /* (n_pairs) */
    size_t n_pairs;
    const struct where *where;
    uint8_t *source; /* (n names) GOES: of forget_where; TOUCHED: of anything that goes */
    bool by_source;
    struct gone_id *ids;
    size_t n_ids, ids_capacity;
    uint64_t *rejects;
    size_t n_rejects, rejects_capacity;
    char **texts; /* that name what goes: originals, captions, ids */
    size_t n_texts, texts_capacity;
    struct error *err; /* of visitors */
};

/* All sets, in order of their names. */
static int open_sets(struct forget *f, struct error *err)
{
    size_t n = 0;
    int rc = featureset_list(f->cache, &f->names, &n, err);
    if (rc < 0) return rc;
    f->sets = memory_array(n, sizeof *f->sets, MEMORY_MAX_SMALL, err);
    if (!f->sets) return ERR_NOMEM;
    for (; f->n_sets < n; f->n_sets++) {
        rc = featureset_open(&f->sets[f->n_sets], f->cache, f->names[f->n_sets],
                             f->dry_run ? FEATURESET_READ : FEATURESET_WRITE, err);
        if (rc < 0) return rc;
    }
    return 0;
}

int forget_open(struct forget **out, const char *cache, bool dry_run, struct error *err)
{
    struct corpus *c = NULL;
    struct forget *f = memory_array(1, sizeof *f, MEMORY_MAX_SMALL, err);
    if (!f) return ERR_NOMEM;
    f->dry_run = dry_run;
    f->cache = memory_string(cache, err);
    int rc = f->cache ? corpus_open(&c, cache, CORPUS_READ, err) : ERR_NOMEM;
    corpus_close(c); /* a mistyped name makes no cache */
    if (rc == 0) rc = corpus_open(&f->c, cache, dry_run ? CORPUS_READ : CORPUS_WRITE, err);
    if (rc == 0) rc = open_sets(f, err);
    if (rc == 0) rc = corpus_pairs(f->c, &f->pairs, &f->n_pairs, err);
    if (rc < 0) goto done;
    f->n_images = corpus_n_images(f->c);
    f->n_captions = corpus_n_captions(f->c);
    f->image = memory_array(f->n_images, 1, MEMORY_MAX_TENSOR, err);
    f->caption = memory_array(f->n_captions, 1, MEMORY_MAX_TENSOR, err);
    f->pair = memory_array(f->n_pairs, 1, MEMORY_MAX_TENSOR, err);
    f->source = memory_array(corpus_n_names(f->c, NAME_SOURCE), 1, MEMORY_MAX_SMALL, err);
    rc = f->image && f->caption && f->pair && f->source ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < f->n_pairs; i++)
        if (f->pairs[i].image >= f->n_images || f->pairs[i].caption >= f->n_captions)
            rc = error_set(err, ERR_CORRUPT,
                           "%s: a pair points to a record that is not there; run clipstill verify",
                           cache);
    if (rc < 0) goto done;
    *out = f;
    f = NULL;
done:
    forget_close(f);
    return rc;
}

void forget_close(struct forget *f)
{
    if (!f) return;
    for (size_t i = 0; i < f->n_sets; i++) featureset_close(f->sets[i]);
    for (size_t i = 0; i < f->n_ids; i++) memory_free(f->ids[i].id);
    for (size_t i = 0; i < f->n_texts; i++) memory_free(f->texts[i]);
    corpus_close(f->c);
    memory_free(f->texts);
    memory_free(f->rejects);
    memory_free(f->ids);
    memory_free(f->source);
    memory_free(f->pair);
    memory_free(f->pairs);
    memory_free(f->caption);
    memory_free(f->image);
    memory_free(f->sets);
    memory_free(f->names);
    memory_free(f->cache);
    memory_free(f);
}

struct corpus *forget_corpus(struct forget *f)
{
    return f->c;
}

void forget_keep(struct forget *f, uint32_t caption)
{
    if (caption < f->n_captions) f->caption[caption] |= KEPT;
}

int forget_image(struct forget *f, uint32_t number, struct error *err)
{
    struct corpus_image image;
    int rc = corpus_get_image(f->c, number, &image, err);
    if (rc == 0) f->image[number] |= GOES | NAMED;
    return rc;
}

int forget_caption(struct forget *f, uint32_t number, struct error *err)
{
    const char *text;
    size_t n;
    int rc = corpus_caption_text(f->c, number, &text, &n, NULL, err);
    if (rc < 0) return rc;
    if (f->caption[number] & KEPT)
        return error_set(err, ERR_USAGE,
                         "%s: the caption \"%.*s\" is a prompt of the class list; ingest a list "
                         "without it first (ingest --classes)",
                         f->cache, n < 80 ? (int)n : 80, text);
    f->caption[number] |= GOES | NAMED;
    return 0;
}

int forget_where(struct forget *f, struct where *where, struct error *err)
{
    int rc = where_bind(where, f->c, err);
    if (rc < 0) return rc;
    f->where = where;
    f->by_source = where->n > 0;
    for (size_t i = 0; i < where->n; i++) f->by_source &= where->words[i].key == WHERE_SOURCE;
    for (uint16_t s = 0; f->by_source && s < corpus_n_names(f->c, NAME_SOURCE); s++)
        if (where_matches(where, &(struct corpus_pair){.source = s})) f->source[s] |= GOES;
    return 0;
}

bool forget_touches(const struct forget *f, uint16_t source)
{
    return f->source[source] != STAYS;
}

/* Pairs that go, and the records they touch. */
static void plan_pairs(struct forget *f)
{
    for (size_t i = 0; i < f->n_pairs; i++) {
        const struct corpus_pair *p = &f->pairs[i];
        bool meant = f->where && where_matches(f->where, p);
        if (!meant && !(f->image[p->image] & GOES) && !(f->caption[p->caption] & GOES)) continue;
        f->pair[i] = GOES;
        f->source[p->source] |= TOUCHED;
        f->caption[p->caption] |= TOUCHED;
        if (meant) f->image[p->image] |= TOUCHED;
    }
}

/* What a pair or an id that stays leads to, stays. */
static void untouch(struct forget *f)
{
    for (size_t i = 0; i < f->n_pairs; i++) {
        if (f->pair[i]) continue;
        f->image[f->pairs[i].image] &= (uint8_t)~TOUCHED;
        f->caption[f->pairs[i].caption] &= (uint8_t)~TOUCHED;
    }
}

/* Images of the forgotten sources are touched, those that another one names are not. Two passes: a
 * later id may keep what an earlier one touched. */
static int touch_by_id(void *context, uint16_t source, const uint8_t key[DIGEST_BYTES],
                       const char *id)
{
    struct forget *f = context;
    uint32_t number;
    (void)id;
    if (!(f->source[source] & GOES)) return 0;
    int rc = corpus_image_number(f->c, key, &number, f->err);
    if (rc == 0) f->image[number] |= TOUCHED;
    return rc;
}

static int untouch_by_id(void *context, uint16_t source, const uint8_t key[DIGEST_BYTES],
                         const char *id)
{
    struct forget *f = context;
    uint32_t number;
    (void)id;
    if (f->source[source] & GOES) return 0;
    int rc = corpus_image_number(f->c, key, &number, f->err);
    if (rc == 0) f->image[number] &= (uint8_t)~TOUCHED;
    return rc;
}

static int keep_text(struct forget *f, char *text)
{
    int rc = text ? memory_grow(&f->texts, &f->texts_capacity, f->n_texts + 1, sizeof *f->texts,
                                MEMORY_MAX_TENSOR, f->err)
                  : ERR_NOMEM;
    if (rc == 0)
        f->texts[f->n_texts++] = text;
    else
        memory_free(text);
    return rc;
}

/* The id's record goes with its image, or with its source. */
static int plan_id(void *context, uint16_t source, const uint8_t key[DIGEST_BYTES], const char *id)
{
    struct forget *f = context;
    uint32_t number;
    int rc = corpus_image_number(f->c, key, &number, f->err);
    if (rc < 0) return rc;
    if (!(f->image[number] & GOES) && !(f->source[source] & GOES)) return 0;
    f->source[source] |= TOUCHED;
    rc = memory_grow(&f->ids, &f->ids_capacity, f->n_ids + 1, sizeof *f->ids, MEMORY_MAX_TENSOR,
                     f->err);
    if (rc < 0) return rc;
    f->ids[f->n_ids] = (struct gone_id){source, memory_string(id, f->err)};
    if (!f->ids[f->n_ids].id) return ERR_NOMEM;
    f->n_ids++;
    return f->image[number] & NAMED ? keep_text(f, memory_string(id, f->err)) : 0;
}

/* Texts of the captions that go by name, and of captions that only a named image had. */
static int plan_texts(struct forget *f)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < f->n_pairs; i++) {
        const struct corpus_pair *p = &f->pairs[i];
        char *original = NULL;
        if (!(f->image[p->image] & NAMED) && !(f->caption[p->caption] & NAMED)) continue;
        rc = corpus_pair_original(f->c, p, &original, f->err);
        if (rc == 0 && original) rc = keep_text(f, original);
        if (rc == 0 && f->image[p->image] & NAMED && f->caption[p->caption] & GOES)
            f->caption[p->caption] |= NAMED;
    }
    for (uint32_t i = 0; rc == 0 && i < f->n_captions; i++) {
        const char *text;
        size_t n;
        if (!(f->caption[i] & NAMED)) continue;
        rc = corpus_caption_text(f->c, i, &text, &n, NULL, f->err);
        if (rc == 0) rc = keep_text(f, memory_copy(text, n, f->err));
    }
    return rc;
}

static bool is_edge(char c)
{
    return !isalnum((unsigned char)c) && (unsigned char)c < 0x80;
}

/* text holds word, not as a part of longer words of ASCII. */
static bool mentions(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; n && (p = strstr(p, word)); p++)
        if ((p == text || is_edge(p[-1]) || is_edge(word[0])) &&
            (!p[n] || is_edge(p[n]) || is_edge(word[n - 1])))
            return true;
    return false;
}

static bool reject_goes(const struct forget *f, const struct json *reject)
{
    const char *source = json_text(json_get(reject, "source"), ""), *slash = strrchr(source, '/');
    const char *parts[] = {json_text(json_get(reject, "record"), ""),
                           json_text(json_get(reject, "member"), ""),
                           json_text(json_get(reject, "message"), "")};
    const char *base = slash && slash[1] ? slash + 1 : source;
    uint16_t id;
    if (f->by_source &&
        ((corpus_find_name(f->c, NAME_SOURCE, base, &id, NULL) == 0 && f->source[id] & GOES) ||
         (corpus_find_name(f->c, NAME_SOURCE, source, &id, NULL) == 0 && f->source[id] & GOES)))
        return true;
    for (size_t i = 0; i < f->n_texts; i++)
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            if (mentions(parts[k], f->texts[i])) return true;
    return false;
}

static int plan_reject(void *context, uint64_t number, const char *text)
{
    struct forget *f = context;
    struct json *reject = json_read(text, strlen(text), "quarantine", f->err);
    if (!reject) return ERR_CORRUPT;
    bool goes = reject_goes(f, reject);
    json_free(reject);
    if (!goes) return 0;
    int rc = memory_grow(&f->rejects, &f->rejects_capacity, f->n_rejects + 1, sizeof *f->rejects,
                         MEMORY_MAX_TENSOR, f->err);
    if (rc == 0) f->rejects[f->n_rejects++] = number;
    return rc;
}

static int plan(struct forget *f, struct error *err)
{
    int rc = 0;
    f->err = err;
    plan_pairs(f);
    if (f->by_source) rc = corpus_each_id(f->c, touch_by_id, f, err);
    if (rc == 0 && f->by_source) rc = corpus_each_id(f->c, untouch_by_id, f, err);
    if (rc < 0) return rc;
    untouch(f);
    for (uint32_t i = 0; i < f->n_images; i++)
        if (f->image[i] & TOUCHED) f->image[i] |= GOES;
    for (uint32_t i = 0; i < f->n_captions; i++)
        if (f->caption[i] & TOUCHED && !(f->caption[i] & KEPT)) f->caption[i] |= GOES;
    rc = corpus_each_id(f->c, plan_id, f, err);
    if (rc == 0) rc = plan_texts(f);
    return rc < 0 ? rc : corpus_each_reject(f->c, plan_reject, f, err);
}

/* The numbers that go; owned. */
static uint32_t *numbers_of(const uint8_t *state, uint32_t n, size_t *n_out, struct error *err)
{
    *n_out = 0;
    for (uint32_t i = 0; i < n; i++) *n_out += state[i] & GOES;
    uint32_t *out = memory_array(*n_out, sizeof *out, MEMORY_MAX_TENSOR, err);
    size_t k = 0;
    for (uint32_t i = 0; out && i < n; i++)
        if (state[i] & GOES) out[k++] = i;
    return out;
}

static int forget_features(struct forget *f, const struct report *report, struct forget_result *r,
                           struct error *err)
{
    size_t n_images, n_captions;
    uint32_t *images = numbers_of(f->image, f->n_images, &n_images, err);
    uint32_t *captions = numbers_of(f->caption, f->n_captions, &n_captions, err);
    int rc = images && captions ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < f->n_sets; i++) {
        bool is_text = featureset_spec(f->sets[i])->tower == TOWER_TEXT;
        uint64_t n = 0;
        report_progress(report, "forget features", i, f->n_sets, 0, 0);
        rc = featureset_forget(f->sets[i], is_text ? n_captions : n_images,
                               is_text ? captions : images, f->dry_run, &n, err);
        r->n_vectors += n;
        r->n_sets += n > 0;
        if (rc == 0 && report_stopped(report))
            rc = error_set(err, ERR_STOPPED, "forget was stopped; the same command goes on");
    }
    memory_free(images);
    memory_free(captions);
    return rc;
}

static int count(struct forget *f, struct forget_result *r, struct error *err)
{
    for (size_t i = 0; i < f->n_pairs; i++) r->n_pairs += f->pair[i] == GOES;
    for (uint32_t i = 0; i < f->n_captions; i++) r->n_captions += f->caption[i] & GOES;
    for (uint32_t i = 0; i < f->n_images; i++) {
        struct corpus_image image;
        if (!(f->image[i] & GOES)) continue;
        int rc = corpus_get_image(f->c, i, &image, err);
        if (rc < 0) return rc;
        r->n_images++;
        r->n_image_bytes += image.n_bytes;
    }
    r->n_ids = f->n_ids;
    r->n_rejects = f->n_rejects;
    return 0;
}

static int forget_records(struct forget *f, struct error *err)
{
    int rc = corpus_begin(f->c, err);
    if (rc < 0) return rc;
    for (size_t i = 0; rc == 0 && i < f->n_pairs; i++)
        if (f->pair[i]) rc = corpus_remove_pair(f->c, &f->pairs[i], err);
    for (size_t i = 0; rc == 0 && i < f->n_ids; i++)
        rc = corpus_remove_id(f->c, f->ids[i].source, f->ids[i].id, err);
    for (size_t i = 0; rc == 0 && i < f->n_rejects; i++)
        rc = corpus_remove_reject(f->c, f->rejects[i], err);
    for (uint32_t i = 0; rc == 0 && i < f->n_images; i++)
        if (f->image[i] & GOES) rc = corpus_remove_image(f->c, i, err);
    for (uint32_t i = 0; rc == 0 && i < f->n_captions; i++)
        if (f->caption[i] & GOES) rc = corpus_remove_caption(f->c, i, err);
    if (rc == 0) return corpus_commit(f->c, err);
    corpus_abort(f->c);
    return rc;
}

int forget_run(struct forget *f, const struct report *report, struct forget_result *r,
               struct error *err)
{
    *r = (struct forget_result){0};
    int rc = plan(f, err);
    if (rc == 0) rc = count(f, r, err);
    if (rc == 0) rc = forget_features(f, report, r, err);
    if (rc == 0 && !f->dry_run) rc = forget_records(f, err);
    return rc;
}
