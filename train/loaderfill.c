/* Orders and batches of a training run: see loader.h. */
#include <string.h>

#include "store/memory.h"
#include "train/contrast.h"
#include "train/loader_inside.h"
#include "train/random.h"

/* Systematic sampling: n draws at (j + u) * total / n along the cumulative weights. With equal
 * weights every pair once. */
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

/* Row i of every set's targets. A pinned record that no teacher has features of any more was
 * forgotten while the run goes on. */
static int fill_targets(struct targets *const *from, struct featureset *const *sets, int n_sets,
                        uint32_t position, uint32_t view, float *const *out, int i,
                        struct error *err)
{
    bool taught = n_sets == 0;
    for (int s = 0; s < n_sets; s++) {
        bool has;
        int rc = targets_get(from[s], position, view,
                             out[s] + (size_t)i * featureset_spec(sets[s])->dim, &has, err);
        if (rc < 0) return rc;
        taught |= has;
    }
    return taught ? 0
                  : error_set(
                        err, ERR_NOT_FOUND, "%s of the run's pinned list has no features any more",
                        featureset_spec(sets[0])->tower == TOWER_IMAGE ? "a picture" : "a caption");
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
    for (int i = 0; i < b->n && rc == 0; i++)
        rc = fill_targets(l->image_target, l->image_set, l->n_image_sets, l->image_at[i],
                          l->views[i], b->image_target, i, err);
    return rc;
}

/* A token that is spelled with two others in this epoch. */
static bool is_split(const struct loader *l, uint32_t epoch, uint32_t at, int32_t pair[2])
{
    return l->subword &&
           random_uniform(l->seed, RANDOM_SPLIT + epoch, 2 * (uint64_t)at) < l->token_split &&
           subword_cut(l->subword, l->ids[at],
                       random_uniform(l->seed, RANDOM_SPLIT + epoch, 2 * (uint64_t)at + 1), pair);
}

/* Copies a caption's tokens but for those dropped in this epoch, some spelled with two; returns how many, max_tokens at the
 * most. A caption whose inner tokens would all go stays whole. */
static int32_t copy_tokens(const struct loader *l, uint32_t caption, bool train, uint32_t epoch,
                           int32_t *out)
{
    uint32_t begin = l->offsets[caption], end = l->offsets[caption + 1];
    int32_t n = 0, pair[2];
    for (uint32_t i = begin; i < end; i++) {
        bool inner = train && i > begin && i + 1 < end;
        if (inner && l->token_drop > 0 &&
            random_uniform(l->seed, RANDOM_TOKEN + epoch, i) < l->token_drop)
            continue;
        bool room = n + (int32_t)(end - i) < l->max_tokens;
        if (inner && room && is_split(l, epoch, i, pair)) {
            out[n++] = pair[0];
            out[n++] = pair[1];
        } else {
            out[n++] = l->ids[i];
        }
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
    for (int i = 0; i < b->n && rc == 0; i++)
        rc = fill_targets(l->text_target, l->text_set, l->n_text_sets, l->caption_at[i], 0,
                          b->text_target, i, err);
    return rc;
}

/* Which captions are no negatives of an image: those linked to it in the corpus. An equal picture
 * or an equal text in the batch is one record, and so linked as well. */
static void fill_cells(const struct loader *l, struct loader_batch *b)
{
    uint8_t linked = l->multi_positive ? CELL_POSITIVE : CELL_MASKED;
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
