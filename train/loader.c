/* What a training run reads: see the header. Lists are train/roster, pixels train/pixels, features
 * train/targets, batches loaderfill.c. */
#include "train/loader_inside.h"

#include <stdio.h>
#include <string.h>

#include "store/fingerprint.h"
#include "store/memory.h"

#define DEFAULT_BYTES ((uint64_t)2 << 30)

static void image_record(const void *context, uint32_t position, uint32_t *number,
                         const uint8_t **key)
{
    const struct roster_image *i = &((const struct roster *)context)->images[position];
    *number = i->number;
    *key = i->key;
}

static void caption_record(const void *context, uint32_t position, uint32_t *number,
                           const uint8_t **key)
{
    const struct roster_caption *c = &((const struct roster *)context)->captions[position];
    *number = c->number;
    *key = c->key;
}

static int open_sets(struct loader *l, const struct loader_options *o, struct error *err)
{
    for (int i = 0; i < o->n_image_sets; i++, l->n_image_sets++) {
        int rc = featureset_open(&l->image_set[i], o->cache, o->image_sets[i], FEATURESET_READ,
                                 err);
        if (rc < 0) return rc;
    }
    for (int i = 0; i < o->n_text_sets; i++, l->n_text_sets++) {
        int rc = featureset_open(&l->text_set[i], o->cache, o->text_sets[i], FEATURESET_READ, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int pin(struct loader *l, const struct loader_options *o, struct error *err)
{
    if (o->pinned) return roster_read(&l->roster, l->corpus, o->pinned, o->n_pinned, err);
    struct roster_options r = {.want_pixels = o->want_pixels,
                               .n_views = o->augment ? 1 : (uint32_t)o->n_views,
                               .image_sets = l->image_set,
                               .text_sets = l->text_set,
                               .n_image_sets = l->n_image_sets,
                               .n_text_sets = l->n_text_sets,
                               .need_primary = o->need_primary,
                               .languages = o->languages,
                               .n_languages = o->n_languages,
                               .source_names = o->source_names,
                               .source_weights = o->source_weights,
                               .n_source_weights = o->n_source_weights};
    return roster_pin(&l->roster, l->corpus, &r, err);
}

/* Digest of the lists and of the sets' fingerprints. */
static int make_digest(struct loader *l, struct error *err)
{
    char *bytes;
    size_t n;
    int rc = roster_write(&l->roster, &bytes, &n, err);
    if (rc < 0) return rc;
    struct digest *d = digest_new(err);
    if (!d) {
        memory_free(bytes);
        return ERR_NOMEM;
    }
    digest_add(d, bytes, n);
    memory_free(bytes);
    for (int i = 0; i < l->n_image_sets + l->n_text_sets && rc == 0; i++) {
        struct featureset *set = i < l->n_image_sets ? l->image_set[i]
                                                     : l->text_set[i - l->n_image_sets];
        char *text = json_write(featureset_spec(set)->fingerprint, JSON_SORTED, err);
        if (text)
            digest_add(d, text, strlen(text) + 1);
        else
            rc = ERR_NOMEM;
        memory_free(text);
    }
    uint8_t sum[DIGEST_BYTES];
    digest_finish(d, sum);
    digest_to_hex(sum, l->digest);
    return rc;
}

static int tokenise(struct loader *l, const struct tokenizer *t, int max_tokens, struct error *err)
{
    uint32_t n = l->roster.n_captions;
    size_t capacity = 0, used = 0;
    l->max_tokens = max_tokens;
    l->offsets = memory_array((uint64_t)n + 1, sizeof *l->offsets, MEMORY_MAX_TENSOR, err);
    l->whole = memory_array(n, sizeof *l->whole, MEMORY_MAX_TENSOR, err);
    l->unknown = memory_array(n, sizeof *l->unknown, MEMORY_MAX_TENSOR, err);
    if (!l->offsets || !l->whole || !l->unknown) return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        const char *text;
        size_t n_text;
        int rc = memory_grow(&l->ids, &capacity, used + (size_t)max_tokens, sizeof *l->ids,
                             MEMORY_MAX_TENSOR, err);
        if (rc == 0)
            rc = corpus_caption_text(l->corpus, l->roster.captions[i].number, &text, &n_text, NULL,
                                     err);
        if (rc == 0)
            rc = tokenizer_ids(t, text, n_text, max_tokens, l->ids + used, &l->whole[i],
                               &l->unknown[i], err);
        if (rc < 0) return rc;
        used += (size_t)rc;
        l->offsets[i + 1] = (uint32_t)used;
    }
    return 0;
}

/* After view 0 a student sees one view for all its targets: every set must have been made from the
 * primary one's. */
static int check_plans(const struct loader *l, struct error *err)
{
    const struct featureset_spec *first = featureset_spec(l->image_set[0]);
    for (int i = 1; i < l->n_image_sets && l->roster.n_views > 1; i++) {
        const struct featureset_spec *spec = featureset_spec(l->image_set[i]);
        char text[400];
        struct json *differences = fingerprint_compare(json_get(first->replay, "view_plan"),
                                                       json_get(spec->replay, "view_plan"));
        bool same = json_size(differences) == 0;
        fingerprint_say(differences, text, sizeof text);
        json_free(differences);
        if (!same)
            return error_set(err, ERR_INCOMPATIBLE,
                             "sets %s and %s hold other views of a picture, which a student cannot "
                             "see at once: %s; give --views 1, or make one of them again",
                             first->name, spec->name, text);
    }
    return 0;
}

/* Preprocessing, view plan and pixel cache, as the primary image set's replay says. */
static int open_pixels(struct loader *l, const struct loader_options *o, struct error *err)
{
    struct pixels_options p = {.plan = view_plan_default()};
    if (l->n_image_sets) {
        const struct featureset_spec *spec = featureset_spec(l->image_set[0]);
        const struct json *preprocessing = json_get(spec->replay, "preprocessing");
        if (!preprocessing)
            return error_set(err, ERR_DATA,
                             "set %s keeps no preprocessing, so that a student cannot see what its "
                             "teacher saw; import "
                             "it again with \"preprocessing\" in its identity file",
                             spec->name);
        int rc = preprocess_read(preprocessing, spec->name, &l->preprocess, err);
        if (rc == 0)
            rc = view_plan_read(json_get(spec->replay, "view_plan"), spec->name, &p.plan, err);
        if (rc == 0) rc = check_plans(l, err);
        if (rc < 0) return rc;
    } else if (o->preprocess) {
        l->preprocess = *o->preprocess;
    } else {
        return error_set(err, ERR_USAGE,
                         "%s has no image features whose preprocessing could be replayed; start "
                         "from a student (--init)",
                         o->cache);
    }
    l->preprocess = preprocess_at_side(&l->preprocess, o->side);
    p.corpus = l->corpus;
    p.preprocess = l->preprocess;
    p.side = l->side = o->side;
    p.augment = o->augment;
    p.seed = o->seed;
    p.limit_bytes = o->pixel_bytes;
    p.n_images = l->roster.n_images;
    p.n_views = l->roster.n_views;
    return pixels_open(&l->pixels, &p, err);
}

static int open_targets(struct loader *l, const struct loader_options *o, struct error *err)
{
    uint64_t budget = o->feature_bytes ? o->feature_bytes : DEFAULT_BYTES;
    int rc = 0;
    for (int i = 0; i < l->n_image_sets && rc == 0; i++)
        rc = targets_open(&l->image_target[i], l->image_set[i], l->roster.n_images,
                          l->roster.n_views, &budget, image_record, &l->roster, err);
    for (int i = 0; i < l->n_text_sets && rc == 0; i++)
        rc = targets_open(&l->text_target[i], l->text_set[i], l->roster.n_captions, 1, &budget,
                          caption_record, &l->roster, err);
    return rc;
}

int loader_open(struct loader **out, const struct loader_options *o, struct error *err)
{
    struct loader *l = memory_array(1, sizeof *l, MEMORY_MAX_SMALL, err);
    if (!l) return ERR_NOMEM;
    l->seed = o->seed;
    l->augment = o->augment;
    l->token_drop = o->token_drop;
    l->token_split = o->token_split;
    int rc = corpus_open(&l->corpus, o->cache, CORPUS_READ, err);
    if (rc == 0) rc = open_sets(l, o, err);
    if (rc == 0) rc = pin(l, o, err);
    if (rc == 0) rc = make_digest(l, err);
    if (rc == 0 && o->tokenizer) rc = tokenise(l, o->tokenizer, o->max_tokens, err);
    if (rc == 0 && o->tokenizer && o->token_split > 0)
        rc = (l->subword = subword_new(o->tokenizer, err)) ? 0 : ERR_NOMEM;
    if (rc == 0 && o->want_pixels) rc = open_pixels(l, o, err);
    if (rc == 0) rc = open_targets(l, o, err);
    if (rc < 0) {
        loader_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

void loader_close(struct loader *l)
{
    if (!l) return;
    pixels_close(l->pixels);
    for (int i = 0; i < LOADER_MAX_SETS; i++) {
        targets_close(l->image_target[i]);
        targets_close(l->text_target[i]);
        featureset_close(l->image_set[i]);
        featureset_close(l->text_set[i]);
    }
    memory_free(l->ids);
    subword_free(l->subword);
    memory_free(l->offsets);
    memory_free(l->whole);
    memory_free(l->unknown);
    memory_free(l->want);
    memory_free(l->image_at);
    memory_free(l->caption_at);
    memory_free(l->views);
    roster_release(&l->roster);
    corpus_close(l->corpus);
    memory_free(l);
}

uint32_t loader_n(const struct loader *l, enum corpus_split split, enum loader_kind kind)
{
    if (split >= ROSTER_SPLITS) return 0;
    const struct roster_list *list = &l->roster.list[split];
    return kind == LOADER_IMAGES     ? list->n_images
           : kind == LOADER_CAPTIONS ? list->n_captions
                                     : list->n_pairs;
}

int loader_n_labels(const struct loader *l)
{
    return (int)l->roster.n_labels;
}

int loader_n_views(const struct loader *l)
{
    return (int)l->roster.n_views;
}

const struct preprocess *loader_preprocess(const struct loader *l)
{
    return &l->preprocess;
}

const char *loader_digest(const struct loader *l)
{
    return l->digest;
}

int loader_pinned(const struct loader *l, char **bytes, size_t *n, struct error *err)
{
    return roster_write(&l->roster, bytes, n, err);
}

struct json *loader_unknown(const struct loader *l)
{
    static const char *const split_name[ROSTER_SPLITS] = {"train", "val"};
    struct json *all = json_new_object();
    for (uint16_t language = 0; l->ids && language < corpus_n_names(l->corpus, NAME_LANGUAGE);
         language++) {
        struct json *one = json_new_object();
        for (int s = 0; s < ROSTER_SPLITS; s++) {
            const struct roster_list *list = &l->roster.list[s];
            uint64_t whole = 0, unknown = 0;
            for (uint32_t i = 0; i < list->n_pairs; i++) {
                if (list->pairs[i].language != language) continue;
                whole += (uint64_t)l->whole[list->pairs[i].caption] - 2; /* without bos and eos */
                unknown += (uint64_t)l->unknown[list->pairs[i].caption];
            }
            if (whole) json_set_number(one, split_name[s], (double)unknown / (double)whole);
        }
        if (json_size(one))
            json_set(all, corpus_name(l->corpus, NAME_LANGUAGE, language), one);
        else
            json_free(one);
    }
    return all;
}

void loader_multi_positive(struct loader *l, bool yes)
{
    l->multi_positive = yes;
}
