/* Records and embeddings of a judgement; see evalset.h. */
#include "train/evalset.h"

#include <string.h>

#include "featurize/embed.h"
#include "store/memory.h"

#define NO_ROW UINT32_MAX
#define BATCH  256

/* A growing list of corpus numbers with the way back. */
struct rows {
    uint32_t *number, *row_of; /* row_of: (n_numbers), NO_ROW when absent */
    size_t capacity;
    uint32_t n;
};

static int rows_open(struct rows *r, uint32_t n_numbers, struct error *err)
{
    *r = (struct rows){0};
    r->row_of = memory_array(n_numbers, sizeof *r->row_of, MEMORY_MAX_TENSOR, err);
    if (!r->row_of) return ERR_NOMEM;
    memset(r->row_of, 0xff, (size_t)n_numbers * sizeof *r->row_of);
    return 0;
}

static int rows_add(struct rows *r, uint32_t number, struct error *err)
{
    if (r->row_of[number] != NO_ROW) return 0;
    if (memory_grow(&r->number, &r->capacity, (uint64_t)r->n + 1, sizeof *r->number,
                    MEMORY_MAX_TENSOR, err) < 0)
        return ERR_NOMEM;
    r->row_of[number] = r->n;
    r->number[r->n++] = number;
    return 0;
}

/* Does any of the sets have the record? Without sets everything counts. */
static int has_feature(struct featureset *const *sets, int n_sets, uint32_t number,
                       const uint8_t key[DIGEST_BYTES], struct error *err)
{
    uint8_t has = n_sets == 0;
    uint8_t keys[1][DIGEST_BYTES];
    memcpy(keys[0], key, DIGEST_BYTES);
    for (int i = 0; i < n_sets && !has; i++) {
        int rc = featureset_has(sets[i], 0, 1, &number, (const uint8_t(*)[DIGEST_BYTES])keys, &has,
                                err);
        if (rc < 0) return rc;
    }
    return has;
}

static int image_is_usable(const struct evalset *s, const struct evalset_sets *sets,
                           uint32_t number, struct error *err)
{
    struct corpus_image image;
    int rc = corpus_get_image(s->corpus, number, &image, err);
    return rc < 0 ? rc : has_feature(sets->images, sets->n_images, number, image.key, err);
}

static int caption_is_usable(const struct evalset *s, const struct evalset_sets *sets,
                             uint32_t number, struct error *err)
{
    const char *text;
    size_t n;
    uint8_t key[DIGEST_BYTES];
    int rc = corpus_caption_text(s->corpus, number, &text, &n, key, err);
    return rc < 0 ? rc : has_feature(sets->texts, sets->n_texts, number, key, err);
}

/* Remembers in `state` (0 unknown, 1 usable, 2 not) what was found for a number. */
static int usable(const struct evalset *s, const struct evalset_sets *sets, bool is_text,
                  uint32_t number, uint8_t *state, struct error *err)
{
    if (state[number] == 0) {
        int rc = is_text ? caption_is_usable(s, sets, number, err)
                         : image_is_usable(s, sets, number, err);
        if (rc < 0) return rc;
        state[number] = rc ? 1 : 2;
    }
    return state[number] == 1;
}

/* Keeps the pairs of the split whose two ends are usable; rows in order of first use. */
static int keep_split(struct evalset *s, const struct evalset_sets *sets, enum corpus_split split,
                      struct rows *images, struct rows *captions, uint8_t *image_state,
                      uint8_t *caption_state, struct error *err)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < s->n_pairs; i++) {
        struct corpus_pair p = s->pairs[i];
        if (p.split != split) continue;
        int image_ok = usable(s, sets, false, p.image, image_state, err);
        int caption_ok = usable(s, sets, true, p.caption, caption_state, err);
        if (image_ok < 0 || caption_ok < 0) return image_ok < 0 ? image_ok : caption_ok;
        if (!image_ok || !caption_ok) {
            s->n_left_out++;
            continue;
        }
        if (rows_add(images, p.image, err) < 0 || rows_add(captions, p.caption, err) < 0)
            return ERR_NOMEM;
        s->pairs[n_kept++] = p;
    }
    s->n_images = images->n;
    s->n_captions = captions->n;
    return (int)(n_kept > INT32_MAX ? INT32_MAX : n_kept);
}

static int add_train(struct evalset *s, const struct evalset_sets *sets,
                     const struct corpus_pair *all, size_t n_all, struct rows *images,
                     uint8_t *image_state, struct error *err)
{
    for (size_t i = 0; i < n_all; i++) {
        if (all[i].split != SPLIT_TRAIN || all[i].label == CORPUS_NO_NAME) continue;
        int ok = usable(s, sets, false, all[i].image, image_state, err);
        if (ok < 0 || (ok && rows_add(images, all[i].image, err) < 0))
            return ok < 0 ? ok : ERR_NOMEM;
    }
    return 0;
}

static int add_prompts(struct evalset *s, const struct evalset_sets *sets, const uint32_t *prompts,
                       size_t n_prompts, struct rows *captions, uint8_t *caption_state,
                       struct error *err)
{
    s->prompt_row = memory_array(n_prompts, sizeof *s->prompt_row, MEMORY_MAX_TENSOR, err);
    if (!s->prompt_row) return ERR_NOMEM;
    for (size_t i = 0; i < n_prompts; i++) {
        int ok = usable(s, sets, true, prompts[i], caption_state, err);
        if (ok < 0 || (ok && rows_add(captions, prompts[i], err) < 0))
            return ok < 0 ? ok : ERR_NOMEM;
        s->prompt_row[i] = captions->row_of[prompts[i]];
    }
    return 0;
}

/* Labels of rows, and pairs turned from corpus numbers to rows. */
static int finish_rows(struct evalset *s, const struct corpus_pair *all, size_t n_all,
                       size_t n_kept, const struct rows *images, const struct rows *captions,
                       struct error *err)
{
    s->label = memory_array(images->n, sizeof *s->label, MEMORY_MAX_TENSOR, err);
    if (!s->label) return ERR_NOMEM;
    memset(s->label, 0xff, (size_t)images->n * sizeof *s->label); /* CORPUS_NO_NAME */
    for (size_t i = 0; i < n_all; i++) {
        uint32_t row = images->row_of[all[i].image];
        if (row != NO_ROW && all[i].label != CORPUS_NO_NAME) s->label[row] = all[i].label;
    }
    for (size_t i = 0; i < n_kept; i++) {
        s->pairs[i].image = images->row_of[s->pairs[i].image];
        s->pairs[i].caption = captions->row_of[s->pairs[i].caption];
    }
    s->n_pairs = n_kept;
    s->n_all_images = images->n;
    s->n_all_captions = captions->n;
    return 0;
}

int evalset_open(struct evalset **out, struct corpus *corpus, enum corpus_split split,
                 const struct evalset_sets *sets, const uint32_t *prompts, size_t n_prompts,
                 bool with_train, struct error *err)
{
    int rc = ERR_NOMEM;
    struct rows images = {0}, captions = {0};
    struct corpus_pair *all = NULL;
    uint8_t *image_state = NULL, *caption_state = NULL;
    size_t n_all = 0;
    struct evalset *s = memory_array(1, sizeof *s, MEMORY_MAX_SMALL, err);
    if (!s) goto done;
    *s = (struct evalset){.corpus = corpus};
    image_state = memory_array(corpus_n_images(corpus), 1, MEMORY_MAX_TENSOR, err);
    caption_state = memory_array(corpus_n_captions(corpus), 1, MEMORY_MAX_TENSOR, err);
    if (!image_state || !caption_state) goto done;
    rc = rows_open(&images, corpus_n_images(corpus), err);
    if (rc == 0) rc = rows_open(&captions, corpus_n_captions(corpus), err);
    if (rc == 0) rc = corpus_pairs(corpus, &all, &n_all, err);
    if (rc == 0) rc = corpus_pairs(corpus, &s->pairs, &s->n_pairs, err);
    if (rc < 0) goto done;
    int n_kept = rc = keep_split(s, sets, split, &images, &captions, image_state, caption_state,
                                 err);
    if (rc >= 0 && with_train) rc = add_train(s, sets, all, n_all, &images, image_state, err);
    if (rc >= 0) rc = add_prompts(s, sets, prompts, n_prompts, &captions, caption_state, err);
    if (rc >= 0) rc = finish_rows(s, all, n_all, (size_t)n_kept, &images, &captions, err);
    if (rc < 0) goto done;
    s->image = images.number;
    s->caption = captions.number;
    images.number = captions.number = NULL;
    *out = s;
    s = NULL;
    rc = 0;
done:
    memory_free(images.number);
    memory_free(images.row_of);
    memory_free(captions.number);
    memory_free(captions.row_of);
    memory_free(image_state);
    memory_free(caption_state);
    memory_free(all);
    evalset_free(s);
    return rc;
}

void evalset_free(struct evalset *s)
{
    if (!s) return;
    memory_free(s->image);
    memory_free(s->caption);
    memory_free(s->pairs);
    memory_free(s->label);
    memory_free(s->prompt_row);
    memory_free(s);
}

void evalset_release(struct evalset_embeddings *e)
{
    memory_free(e->image);
    memory_free(e->text);
    *e = (struct evalset_embeddings){0};
}

/* Cached unit vectors of n records. // *out (n, dim), owned */
static int read_set(const struct evalset *s, struct featureset *set, bool is_text,
                    const uint32_t *number, uint32_t n, float **out, struct error *err)
{
    int rc = ERR_NOMEM;
    uint32_t dim = featureset_spec(set)->dim;
    struct featureset_cursor *cur = featureset_cursor_new(set, err);
    float *x = memory_array(n, dim * sizeof *x, MEMORY_MAX_TENSOR, err);
    if (!cur || !x) goto done;
    for (uint32_t i = 0; i < n; i++) {
        struct corpus_image image = {0};
        const char *text;
        size_t n_text;
        rc = is_text ? corpus_caption_text(s->corpus, number[i], &text, &n_text, image.key, err)
                     : corpus_get_image(s->corpus, number[i], &image, err);
        if (rc == 0)
            rc = featureset_get(cur, 0, number[i], image.key, x + (size_t)i * dim, NULL, err);
        if (rc < 0) goto done;
    }
    *out = x;
    x = NULL;
    rc = 0;
done:
    featureset_cursor_free(cur);
    memory_free(x);
    return rc;
}

int evalset_teacher(const struct evalset *s, struct featureset *images, struct featureset *texts,
                    struct evalset_embeddings *e, struct error *err)
{
    *e = (struct evalset_embeddings){0};
    int rc = 0;
    if (images) {
        e->dim = (int)featureset_spec(images)->dim;
        rc = read_set(s, images, false, s->image, s->n_all_images, &e->image, err);
    }
    if (rc == 0 && texts) {
        if (e->dim && e->dim != (int)featureset_spec(texts)->dim)
            rc = error_set(err, ERR_INCOMPATIBLE,
                           "the image set '%s' has %d values a vector, the text set '%s' has %u: "
                           "they are not of "
                           "one space; name two sets of one teacher",
                           featureset_spec(images)->name, e->dim, featureset_spec(texts)->name,
                           featureset_spec(texts)->dim);
        e->dim = (int)featureset_spec(texts)->dim;
        if (rc == 0) rc = read_set(s, texts, true, s->caption, s->n_all_captions, &e->text, err);
    }
    if (rc < 0) evalset_release(e);
    return rc;
}

static int student_images(const struct evalset *s, struct model *m, enum numerics numerics,
                          float *out, struct error *err)
{
    const void *bytes[BATCH];
    size_t n_bytes[BATCH];
    for (uint32_t i = 0; i < s->n_all_images; i += BATCH) {
        int n = (int)(s->n_all_images - i < BATCH ? s->n_all_images - i : BATCH), rc, bad = 0;
        for (int k = 0; k < n; k++) {
            const uint8_t *b;
            rc = corpus_image_bytes(s->corpus, s->image[i + (uint32_t)k], &b, &n_bytes[k], err);
            if (rc < 0) return rc;
            if (n_bytes[k] == 0)
                return error_set(
                    err, ERR_NOT_FOUND,
                    "image number %u was registered without its file (--no-images), so an image "
                    "tower cannot be judged on it",
                    s->image[i + (uint32_t)k]);
            bytes[k] = b;
        }
        rc = embed_pictures(m, numerics, n, bytes, n_bytes,
                            out + (size_t)i * (size_t)m->projection_dim, NULL, &bad, err);
        if (rc < 0) {
            error_prefix(err, "image number %u: ", s->image[i + (uint32_t)bad]);
            return rc;
        }
    }
    return 0;
}

static int student_texts(const struct evalset *s, struct model *m, enum numerics numerics,
                         float *out, struct error *err)
{
    const char *text[BATCH];
    size_t n_bytes[BATCH];
    for (uint32_t i = 0; i < s->n_all_captions; i += BATCH) {
        int n = (int)(s->n_all_captions - i < BATCH ? s->n_all_captions - i : BATCH), rc;
        for (int k = 0; k < n; k++) {
            rc = corpus_caption_text(s->corpus, s->caption[i + (uint32_t)k], &text[k], &n_bytes[k],
                                     NULL, err);
            if (rc < 0) return rc;
        }
        rc = model_embed_texts(m, numerics, n, text, n_bytes,
                               out + (size_t)i * (size_t)m->projection_dim, NULL, err);
        if (rc < 0) return rc;
    }
    return 0;
}

int evalset_student(const struct evalset *s, struct model *m, enum numerics numerics,
                    struct evalset_embeddings *e, struct error *err)
{
    int rc = 0;
    size_t row = (size_t)m->projection_dim * sizeof(float);
    *e = (struct evalset_embeddings){.dim = m->projection_dim};
    if (m->image) {
        e->image = memory_array(s->n_all_images, row, MEMORY_MAX_TENSOR, err);
        rc = e->image ? student_images(s, m, numerics, e->image, err) : ERR_NOMEM;
    }
    if (rc == 0 && m->text) {
        e->text = memory_array(s->n_all_captions, row, MEMORY_MAX_TENSOR, err);
        rc = e->text ? student_texts(s, m, numerics, e->text, err) : ERR_NOMEM;
    }
    if (rc < 0) evalset_release(e);
    return rc;
}

/* Rows of `from` under the numbers of `to`. // *out (n_to, dim), owned; NULL of NULL */
static int take_rows(const float *from, const uint32_t *from_number, uint32_t n_from,
                     const uint32_t *to_number, uint32_t n_to, uint32_t n_numbers, int dim,
                     float **out, struct error *err)
{
    struct rows at;
    *out = NULL;
    if (!from) return 0;
    int rc = rows_open(&at, n_numbers, err);
    size_t row = (size_t)dim * sizeof(float);
    if (rc == 0) *out = memory_array(n_to, row, MEMORY_MAX_TENSOR, err);
    for (uint32_t i = 0; i < n_from && *out; i++) at.row_of[from_number[i]] = i;
    for (uint32_t i = 0; i < n_to && *out; i++)
        memcpy(*out + (size_t)i * (size_t)dim, from + (size_t)at.row_of[to_number[i]] * (size_t)dim,
               row);
    memory_free(at.row_of);
    return *out ? 0 : ERR_NOMEM;
}

int evalset_take(const struct evalset *from, const struct evalset_embeddings *all,
                 const struct evalset *to, struct evalset_embeddings *e, struct error *err)
{
    *e = (struct evalset_embeddings){.dim = all->dim};
    int rc = take_rows(all->image, from->image, from->n_all_images, to->image, to->n_all_images,
                       corpus_n_images(to->corpus), all->dim, &e->image, err);
    if (rc == 0)
        rc = take_rows(all->text, from->caption, from->n_all_captions, to->caption,
                       to->n_all_captions, corpus_n_captions(to->corpus), all->dim, &e->text, err);
    if (rc < 0) evalset_release(e);
    return rc;
}
