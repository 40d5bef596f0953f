/* Batches of a training run: see the header. Lists are train/roster, pixels train/pixels, features train/targets. */
#include "train/loader.h"

#include <stdio.h>
#include <string.h>

#include "store/memory.h"
#include "train/contrast.h"
#include "train/pixels.h"
#include "train/random.h"
#include "train/roster.h"
#include "train/targets.h"

#define DEFAULT_BYTES ((uint64_t)2 << 30)

struct loader {
    uint64_t seed;
    bool augment, multi_positive, unmasked;
    double token_drop;
    int max_tokens;
    struct corpus *corpus;
    struct roster roster;
    struct featureset *image_set[LOADER_MAX_SETS], *text_set[LOADER_MAX_SETS];
    struct targets *image_target[LOADER_MAX_SETS], *text_target[LOADER_MAX_SETS];
    int n_image_sets, n_text_sets;
    struct pixels *pixels; /* NULL: cached features stand for the pictures */
    struct preprocess preprocess;
    int side;
    int32_t *ids;                            // tokens of all captions
    uint32_t *offsets;                       // (n_captions + 1)
    int32_t *whole, *unknown;                // (n_captions) tokens before the cut, unknown ones
    struct pixels_want *want;                // (n_want)
    uint32_t *image_at, *caption_at, *views; // (n_want) positions of a batch
    int n_want;
    char digest[DIGEST_HEX];
};

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
        if (rc < 0) return rc;
        view_plan_read(json_get(spec->replay, "view_plan"), &p.plan);
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
    int rc = corpus_open(&l->corpus, o->cache, CORPUS_READ, err);
    if (rc == 0) rc = open_sets(l, o, err);
    if (rc == 0) rc = pin(l, o, err);
    if (rc == 0) rc = make_digest(l, err);
    if (rc == 0 && o->tokenizer) rc = tokenise(l, o->tokenizer, o->max_tokens, err);
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

const struct featureset_spec *loader_set(const struct loader *l, bool is_text, int i)
{
    return featureset_spec(is_text ? l->text_set[i] : l->image_set[i]);
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

void loader_mask_negatives(struct loader *l, bool yes)
{
    l->unmasked = !yes;
}

/* Systematic sampling: n draws at (j + u) * total / n along the cumulative weights. With equal weights every pair once. */
static void sample_pairs(const struct loader *l, uint32_t epoch, uint32_t *drawn)
{
    const struct roster_list *list = &l->roster.list[SPLIT_TRAIN];
    double total = 0, upto = 0, u = random_uniform(l->seed, RANDOM_SAMPLE_PAIR + epoch, 0);
    for (uint32_t i = 0; i < list->n_pairs; i++) total += list->pairs[i].weight;
    uint32_t j = 0;
    for (uint32_t i = 0; i < list->n_pairs; i++) {
        upto += list->pairs[i].weight / total * list->n_pairs;
        while (j < list->n_pairs && j + u < upto) drawn[j++] = i;
    }
    while (j < list->n_pairs) drawn[j++] = list->n_pairs - 1;
}

void loader_order(const struct loader *l, enum loader_kind kind, uint32_t epoch, uint32_t *order)
{
    static const uint64_t stream[] = {RANDOM_SHUFFLE_IMAGE, RANDOM_SHUFFLE_TEXT,
                                      RANDOM_SHUFFLE_PAIR};
    uint32_t n = loader_n(l, SPLIT_TRAIN, kind);
    if (kind != LOADER_PAIRS) {
        random_permutation(l->seed, stream[kind] + epoch, n, order);
        return;
    }
    sample_pairs(l, epoch, order);
    for (uint32_t i = n; i-- > 1;) { /* Fisher-Yates over the draws */
        uint64_t bits = random_bits(l->seed, stream[kind] + epoch, i) >> 32;
        uint32_t j = (uint32_t)((bits * (i + 1)) >> 32), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

void loader_batch_release(struct loader_batch *b)
{
    memory_free(b->pixels);
    memory_free(b->ids);
    memory_free(b->offsets);
    for (int i = 0; i < LOADER_MAX_SETS; i++) {
        memory_free(b->image_target[i]);
        memory_free(b->text_target[i]);
    }
    memory_free(b->label);
    memory_free(b->weight);
    memory_free(b->image);
    memory_free(b->caption);
    memory_free(b->cells);
    *b = (struct loader_batch){0};
}

static void *make(uint64_t n, uint64_t size, bool *failed, struct error *err)
{
    void *p = memory_array(n, size, MEMORY_MAX_TENSOR, err);
    *failed |= !p;
    return p;
}

/* Room for n records in the batch and in the loader's own lists. */
static int reserve(struct loader *l, enum loader_kind kind, struct loader_batch *b, int n,
                   struct error *err)
{
    bool failed = false;
    uint64_t m = (uint64_t)n;
    if (n > l->n_want) {
        memory_free(l->want);
        memory_free(l->image_at);
        memory_free(l->caption_at);
        memory_free(l->views);
        l->want = make(m, sizeof *l->want, &failed, err);
        l->image_at = make(m, sizeof *l->image_at, &failed, err);
        l->caption_at = make(m, sizeof *l->caption_at, &failed, err);
        l->views = make(m, sizeof *l->views, &failed, err);
        l->n_want = failed ? 0 : n;
    }
    if (failed || n <= b->max_n) return failed ? ERR_NOMEM : 0;
    loader_batch_release(b);
    bool images = kind != LOADER_CAPTIONS, captions = kind != LOADER_IMAGES;
    if (images && l->pixels)
        b->pixels = make(m, (uint64_t)l->side * (uint64_t)l->side * 3, &failed, err);
    if (captions && l->ids)
        b->ids = make(m * (uint64_t)l->max_tokens, sizeof *b->ids, &failed, err);
    b->offsets = make(m + 1, sizeof *b->offsets, &failed, err);
    for (int i = 0; images && i < l->n_image_sets; i++)
        b->image_target[i] = make(m, featureset_spec(l->image_set[i])->dim * sizeof(float), &failed,
                                  err);
    for (int i = 0; captions && i < l->n_text_sets; i++)
        b->text_target[i] = make(m, featureset_spec(l->text_set[i])->dim * sizeof(float), &failed,
                                 err);
    b->label = make(m, sizeof *b->label, &failed, err);
    b->weight = make(m, sizeof *b->weight, &failed, err);
    b->image = make(m, sizeof *b->image, &failed, err);
    b->caption = make(m, sizeof *b->caption, &failed, err);
    if (kind == LOADER_PAIRS) b->cells = make(m * m, 1, &failed, err);
    if (failed) return ERR_NOMEM;
    b->max_n = n;
    return 0;
}

static int fill_images(struct loader *l, bool train, uint32_t epoch, struct loader_batch *b,
                       struct error *err)
{
    for (int i = 0; i < b->n; i++) {
        const struct roster_image *r = &l->roster.images[l->image_at[i]];
        uint64_t offset = random_bits(l->seed, RANDOM_VIEW, l->image_at[i]) >> 32;
        uint32_t view = train ? (uint32_t)((offset + epoch) % l->roster.n_views) : 0;
        l->views[i] = view;
        l->want[i] = (struct pixels_want){.position = l->image_at[i],
                                          .number = r->number,
                                          .key = r->key,
                                          .view = view,
                                          .augment = train && l->augment,
                                          .epoch = epoch};
        b->image[i] = r->number;
        b->label[i] = r->label;
    }
    int rc = l->pixels ? pixels_fill(l->pixels, b->n, l->want, b->pixels, err) : 0;
    for (int s = 0; s < l->n_image_sets && rc == 0; s++) {
        size_t dim = featureset_spec(l->image_set[s])->dim;
        for (int i = 0; i < b->n && rc == 0; i++)
            rc = targets_get(l->image_target[s], l->image_at[i], l->views[i],
                             b->image_target[s] + (size_t)i * dim, err);
    }
    return rc;
}

/* Copies a caption's tokens but for those dropped in this epoch; returns how many. A caption whose inner tokens would all go
 * stays whole. */
static int32_t copy_tokens(const struct loader *l, uint32_t caption, bool train, uint32_t epoch,
                           int32_t *out)
{
    uint32_t begin = l->offsets[caption], end = l->offsets[caption + 1];
    int32_t n = 0;
    for (uint32_t i = begin; i < end; i++) {
        bool drop = train && l->token_drop > 0 && i > begin && i + 1 < end &&
                    random_uniform(l->seed, RANDOM_TOKEN + epoch, i) < l->token_drop;
        if (!drop) out[n++] = l->ids[i];
    }
    if (n > 2) return n;
    memcpy(out, l->ids + begin, (end - begin) * sizeof *out);
    return (int32_t)(end - begin);
}

static int fill_captions(struct loader *l, bool train, uint32_t epoch, struct loader_batch *b,
                         struct error *err)
{
    int rc = 0;
    b->offsets[0] = 0;
    for (int i = 0; i < b->n; i++) {
        uint32_t at = l->caption_at[i];
        b->caption[i] = l->roster.captions[at].number;
        if (!l->ids) continue;
        b->offsets[i + 1] = b->offsets[i] +
                            copy_tokens(l, at, train, epoch, b->ids + b->offsets[i]);
    }
    for (int s = 0; s < l->n_text_sets && rc == 0; s++) {
        size_t dim = featureset_spec(l->text_set[s])->dim;
        for (int i = 0; i < b->n && rc == 0; i++)
            rc = targets_get(l->text_target[s], l->caption_at[i], 0,
                             b->text_target[s] + (size_t)i * dim, err);
    }
    return rc;
}

/* Which captions are no negatives of an image: those linked to it in the corpus. An equal picture or an equal text in the batch is
 * one record, and so linked as well. */
static void fill_cells(const struct loader *l, struct loader_batch *b)
{
    uint8_t linked = l->unmasked ? CELL_NEGATIVE : l->multi_positive ? CELL_POSITIVE : CELL_MASKED;
    for (int i = 0; i < b->n; i++)
        for (int j = 0; j < b->n; j++)
            b->cells[i * b->n + j] = i == j ? CELL_POSITIVE
                                     : roster_linked(&l->roster, l->image_at[i], l->caption_at[j])
                                         ? linked
                                         : CELL_NEGATIVE;
}

int loader_fill(struct loader *l, enum corpus_split split, enum loader_kind kind, uint32_t epoch,
                const uint32_t *index, int n, struct loader_batch *b, struct error *err)
{
    int rc = reserve(l, kind, b, n, err);
    if (rc < 0) return rc;
    const struct roster_list *list = &l->roster.list[split];
    b->n = n;
    for (int i = 0; i < n; i++) {
        b->weight[i] = kind == LOADER_PAIRS ? list->pairs[index[i]].weight : 1;
        b->label[i] = -1;
        if (kind == LOADER_IMAGES) l->image_at[i] = list->images[index[i]];
        if (kind == LOADER_CAPTIONS) l->caption_at[i] = list->captions[index[i]];
        if (kind != LOADER_PAIRS) continue;
        l->image_at[i] = list->pairs[index[i]].image;
        l->caption_at[i] = list->pairs[index[i]].caption;
    }
    if (kind != LOADER_CAPTIONS) rc = fill_images(l, split == SPLIT_TRAIN, epoch, b, err);
    if (rc == 0 && kind != LOADER_IMAGES)
        rc = fill_captions(l, split == SPLIT_TRAIN, epoch, b, err);
    if (rc == 0 && kind == LOADER_PAIRS) fill_cells(l, b);
    return rc;
}
