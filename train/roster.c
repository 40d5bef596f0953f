/* Pinning record lists: see the header. */
#include "train/roster.h"

#include <stdlib.h>
#include <string.h>

#include "store/memory.h"

#define MAGIC "CLIPPIN1"

/* What is known of every number of the corpus while lists are made. */
struct marks {
    uint8_t *image, *caption;                    /* bits: 1 << split, of pairs that count */
    uint32_t *image_position, *caption_position; /* in the tables; UINT32_MAX */
    uint32_t n_images, n_captions;
};

static void marks_release(struct marks *m)
{
    memory_free(m->image);
    memory_free(m->caption);
    memory_free(m->image_position);
    memory_free(m->caption_position);
}

static int marks_init(struct marks *m, struct corpus *c, struct error *err)
{
    m->n_images = corpus_n_images(c);
    m->n_captions = corpus_n_captions(c);
    m->image = memory_array(m->n_images, 1, MEMORY_MAX_TENSOR, err);
    m->caption = memory_array(m->n_captions, 1, MEMORY_MAX_TENSOR, err);
    m->image_position = memory_array(m->n_images, sizeof(uint32_t), MEMORY_MAX_TENSOR, err);
    m->caption_position = memory_array(m->n_captions, sizeof(uint32_t), MEMORY_MAX_TENSOR, err);
    if (!m->image || !m->caption || !m->image_position || !m->caption_position) return ERR_NOMEM;
    memset(m->image_position, 0xff, m->n_images * sizeof(uint32_t));
    memset(m->caption_position, 0xff, m->n_captions * sizeof(uint32_t));
    return 0;
}

static bool language_counts(struct corpus *c, const struct roster_options *o, uint16_t language)
{
    if (!o->languages) return true;
    const char *name = corpus_name(c, NAME_LANGUAGE, language);
    for (size_t i = 0; name && i < o->n_languages; i++)
        if (!strcmp(o->languages[i], name)) return true;
    return false;
}

static double source_factor(struct corpus *c, const struct roster_options *o, uint16_t source)
{
    const char *name = corpus_name(c, NAME_SOURCE, source);
    for (size_t i = 0; name && i < o->n_source_weights; i++)
        if (!strcmp(o->source_names[i], name)) return o->source_weights[i];
    return 1;
}

static bool same_teacher(struct featureset *a, struct featureset *b)
{
    const struct featureset_spec *x = featureset_spec(a), *y = featureset_spec(b);
    size_t n = featureset_prefix(x);
    return n == featureset_prefix(y) && !strncmp(x->name, y->name, n);
}

/* Is the record in every set of the teacher of sets[first], in every view of the run? */
static int has_teacher(struct featureset *const *sets, int n_sets, int first, uint32_t n_views,
                       uint32_t number, const uint8_t (*key)[DIGEST_BYTES], bool *yes,
                       struct error *err)
{
    *yes = true;
    for (int s = 0; s < n_sets && *yes; s++) {
        for (uint32_t v = 0; v < n_views && *yes && same_teacher(sets[first], sets[s]); v++) {
            uint8_t has = 0;
            int rc = featureset_has(sets[s], v, 1, &number, key, &has, err);
            if (rc < 0) return rc;
            *yes = has != 0;
        }
    }
    return 0;
}

/* Has any teacher (the first one, if only that counts) all its features of the record? */
static int is_taught(const struct roster_options *o, struct featureset *const *sets, int n_sets,
                     uint32_t n_views, uint32_t number, const uint8_t (*key)[DIGEST_BYTES],
                     bool *yes, struct error *err)
{
    int n_first = o->need_primary && n_sets > 1 ? 1 : n_sets, rc = 0;
    *yes = n_sets == 0;
    for (int s = 0; s < n_first && !*yes && rc == 0; s++)
        rc = has_teacher(sets, n_sets, s, n_views, number, key, yes, err);
    return rc;
}

static int make_images(struct roster *r, struct corpus *c, const struct roster_options *o,
                       struct marks *m, struct error *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_images; i++) n += m->image[i] != 0;
    r->images = memory_array(n, sizeof *r->images, MEMORY_MAX_TENSOR, err);
    if (!r->images) return ERR_NOMEM;
    for (uint32_t i = 0; i < m->n_images; i++) {
        if (!m->image[i]) continue;
        struct corpus_image image;
        int rc = corpus_get_image(c, i, &image, err);
        if (rc < 0) return rc;
        if (o->want_pixels && image.n_bytes == 0) continue;
        bool yes;
        rc = is_taught(o, o->image_sets, o->n_image_sets, r->n_views, i,
                       (const uint8_t(*)[32])image.key, &yes, err);
        if (rc < 0) return rc;
        if (!yes) continue;
        struct roster_image *at = &r->images[r->n_images];
        memcpy(at->key, image.key, DIGEST_BYTES);
        at->number = i;
        at->width_px = image.width_px;
        at->height_px = image.height_px;
        at->label = -1;
        m->image_position[i] = r->n_images++;
    }
    return 0;
}

static int make_captions(struct roster *r, struct corpus *c, const struct roster_options *o,
                         struct marks *m, struct error *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_captions; i++) n += m->caption[i] != 0;
    r->captions = memory_array(n, sizeof *r->captions, MEMORY_MAX_TENSOR, err);
    if (!r->captions) return ERR_NOMEM;
    for (uint32_t i = 0; i < m->n_captions; i++) {
        if (!m->caption[i]) continue;
        const char *text;
        size_t n_text;
        struct roster_caption *at = &r->captions[r->n_captions];
        int rc = corpus_caption_text(c, i, &text, &n_text, at->key, err);
        if (rc < 0) return rc;
        bool yes;
        rc = is_taught(o, o->text_sets, o->n_text_sets, 1, i, (const uint8_t(*)[32])at->key, &yes,
                       err);
        if (rc < 0) return rc;
        if (!yes) continue;
        at->number = i;
        m->caption_position[i] = r->n_captions++;
    }
    return 0;
}

static int compare_links(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Pair lists, labels and links. */
static int make_pairs(struct roster *r, struct corpus *c, const struct roster_options *o,
                      const struct marks *m, const struct corpus_pair *pairs, size_t n,
                      struct error *err)
{
    r->links = memory_array(n, sizeof *r->links, MEMORY_MAX_TENSOR, err);
    for (int s = 0; s < ROSTER_SPLITS; s++) {
        r->list[s].pairs = memory_array(n, sizeof *r->list[s].pairs, MEMORY_MAX_TENSOR, err);
        if (!r->list[s].pairs) return ERR_NOMEM;
    }
    if (!r->links) return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        uint32_t image = m->image_position[pairs[i].image];
        uint32_t caption = m->caption_position[pairs[i].caption];
        if (image == UINT32_MAX) continue;
        struct roster_image *at = &r->images[image];
        if (at->label < 0 && pairs[i].label != CORPUS_NO_NAME) at->label = pairs[i].label;
        if (caption == UINT32_MAX) continue;
        r->links[r->n_links++] = (uint64_t)image << 32 | caption;
        if (pairs[i].split >= ROSTER_SPLITS || !language_counts(c, o, pairs[i].language)) continue;
        float weight = (float)(pairs[i].weight * source_factor(c, o, pairs[i].source));
        if (!(weight > 0)) continue;
        struct roster_list *list = &r->list[pairs[i].split];
        list->pairs[list->n_pairs++] = (struct roster_pair){image, caption, pairs[i].language,
                                                            pairs[i].source, weight};
    }
    qsort(r->links, r->n_links, sizeof *r->links, compare_links);
    r->n_labels = corpus_n_names(c, NAME_LABEL);
    return 0;
}

/* Image and caption lists of the splits from the marks. */
static int make_lists(struct roster *r, const struct marks *m, struct error *err)
{
    for (int s = 0; s < ROSTER_SPLITS; s++) {
        struct roster_list *list = &r->list[s];
        list->images = memory_array(r->n_images, sizeof(uint32_t), MEMORY_MAX_TENSOR, err);
        list->captions = memory_array(r->n_captions, sizeof(uint32_t), MEMORY_MAX_TENSOR, err);
        if (!list->images || !list->captions) return ERR_NOMEM;
        uint8_t bit = (uint8_t)(1 << s), train = 1 << SPLIT_TRAIN;
        for (uint32_t i = 0; i < r->n_images; i++) {
            uint8_t mark = m->image[r->images[i].number];
            if (mark & bit && (s == SPLIT_TRAIN || !(mark & train)))
                list->images[list->n_images++] = i;
        }
        for (int strict = 1; strict >= 0 && list->n_captions == 0; strict--) {
            for (uint32_t i = 0; i < r->n_captions; i++) {
                uint8_t mark = m->caption[r->captions[i].number];
                if (mark & bit && (s == SPLIT_TRAIN || !strict || !(mark & train)))
                    list->captions[list->n_captions++] = i;
            }
        }
    }
    return 0;
}

int roster_pin(struct roster *r, struct corpus *c, const struct roster_options *o,
               struct error *err)
{
    struct corpus_pair *pairs = NULL;
    struct marks m = {0};
    size_t n = 0;
    *r = (struct roster){.n_views = o->n_image_sets ? UINT32_MAX : 1};
    for (int s = 0; s < o->n_image_sets; s++) {
        uint32_t has = featureset_n_views(o->image_sets[s]);
        if (has < r->n_views) r->n_views = has;
    }
    if (o->n_views && o->n_views < r->n_views) r->n_views = o->n_views;
    int rc = corpus_pairs(c, &pairs, &n, err);
    if (rc == 0) rc = marks_init(&m, c, err);
    if (rc < 0) goto done;
    for (size_t i = 0; i < n; i++) {
        if (pairs[i].split >= ROSTER_SPLITS || !language_counts(c, o, pairs[i].language)) continue;
        m.image[pairs[i].image] |= (uint8_t)(1 << pairs[i].split);
        m.caption[pairs[i].caption] |= (uint8_t)(1 << pairs[i].split);
    }
    rc = make_images(r, c, o, &m, err);
    if (rc == 0) rc = make_captions(r, c, o, &m, err);
    if (rc == 0) rc = make_pairs(r, c, o, &m, pairs, n, err);
    if (rc == 0) rc = make_lists(r, &m, err);
done:
    marks_release(&m);
    memory_free(pairs);
    if (rc < 0) roster_release(r);
    return rc;
}

void roster_release(struct roster *r)
{
    memory_free(r->images);
    memory_free(r->captions);
    memory_free(r->links);
    for (int s = 0; s < ROSTER_SPLITS; s++) {
        memory_free(r->list[s].images);
        memory_free(r->list[s].captions);
        memory_free(r->list[s].pairs);
    }
    *r = (struct roster){0};
}

bool roster_linked(const struct roster *r, uint32_t image, uint32_t caption)
{
    uint64_t link = (uint64_t)image << 32 | caption;
    return bsearch(&link, r->links, r->n_links, sizeof link, compare_links) != NULL;
}

/* The arrays in the order of the file. */
struct piece {
    void **at;
    uint32_t *n;
    size_t size;
};

enum { N_PIECES = 3 + 3 * ROSTER_SPLITS };

static void pieces_of(struct roster *r, struct piece *p)
{
    int k = 0;
    p[k++] = (struct piece){(void **)&r->images, &r->n_images, sizeof *r->images};
    p[k++] = (struct piece){(void **)&r->captions, &r->n_captions, sizeof *r->captions};
    p[k++] = (struct piece){(void **)&r->links, &r->n_links, sizeof *r->links};
    for (int s = 0; s < ROSTER_SPLITS; s++) {
        struct roster_list *l = &r->list[s];
        p[k++] = (struct piece){(void **)&l->images, &l->n_images, sizeof *l->images};
        p[k++] = (struct piece){(void **)&l->captions, &l->n_captions, sizeof *l->captions};
        p[k++] = (struct piece){(void **)&l->pairs, &l->n_pairs, sizeof *l->pairs};
    }
}

int roster_write(const struct roster *r, char **bytes, size_t *n, struct error *err)
{
    struct roster copy = *r;
    struct piece p[N_PIECES];
    pieces_of(&copy, p);
    size_t total = 8 + 2 * sizeof(uint32_t) + N_PIECES * sizeof(uint32_t);
    for (int k = 0; k < N_PIECES; k++) total += *p[k].n * p[k].size;
    char *out = memory_array(total, 1, MEMORY_MAX_TENSOR, err);
    if (!out) return ERR_NOMEM;
    uint32_t head[2] = {r->n_views, r->n_labels};
    memcpy(out, MAGIC, 8);
    memcpy(out + 8, head, sizeof head);
    size_t at = 8 + sizeof head;
    for (int k = 0; k < N_PIECES; k++, at += sizeof(uint32_t))
        memcpy(out + at, p[k].n, sizeof(uint32_t));
    for (int k = 0; k < N_PIECES; k++) {
        memcpy(out + at, *p[k].at, *p[k].n * p[k].size);
        at += *p[k].n * p[k].size;
    }
    *bytes = out;
    *n = total;
    return 0;
}

/* Positions inside the tables, and every record under its number in the corpus. */
static int check(const struct roster *r, struct corpus *c, struct error *err)
{
    for (uint32_t i = 0; i < r->n_images; i++) {
        struct corpus_image image;
        int rc = corpus_get_image(c, r->images[i].number, &image, err);
        if (rc == 0 && memcmp(image.key, r->images[i].key, DIGEST_BYTES))
            rc = error_set(err, ERR_NOT_FOUND, "another image stands under number %u",
                           r->images[i].number);
        if (rc < 0) {
            error_prefix(err, "an image of the run's pinned list is gone from the corpus: ");
            return rc;
        }
    }
    for (uint32_t i = 0; i < r->n_captions; i++) {
        const char *text;
        size_t n;
        uint8_t key[DIGEST_BYTES];
        int rc = corpus_caption_text(c, r->captions[i].number, &text, &n, key, err);
        if (rc == 0 && memcmp(key, r->captions[i].key, DIGEST_BYTES))
            rc = error_set(err, ERR_NOT_FOUND, "another caption stands under number %u",
                           r->captions[i].number);
        if (rc < 0) {
            error_prefix(err, "a caption of the run's pinned list is gone from the corpus: ");
            return rc;
        }
    }
    bool good = true;
    for (int s = 0; s < ROSTER_SPLITS; s++) {
        const struct roster_list *l = &r->list[s];
        for (uint32_t i = 0; i < l->n_images; i++) good &= l->images[i] < r->n_images;
        for (uint32_t i = 0; i < l->n_captions; i++) good &= l->captions[i] < r->n_captions;
        for (uint32_t i = 0; i < l->n_pairs; i++)
            good &= l->pairs[i].image < r->n_images && l->pairs[i].caption < r->n_captions;
    }
    return good ? 0 : error_set(err, ERR_CORRUPT, "the run's pinned list points outside itself");
}

int roster_read(struct roster *r, struct corpus *c, const char *bytes, size_t n, struct error *err)
{
    *r = (struct roster){0};
    struct piece p[N_PIECES];
    pieces_of(r, p);
    size_t at = 8 + 2 * sizeof(uint32_t);
    size_t total = at + N_PIECES * sizeof(uint32_t);
    if (n < total || memcmp(bytes, MAGIC, 8))
        return error_set(err, ERR_CORRUPT, "the run's pinned list is damaged");
    memcpy(&r->n_views, bytes + 8, sizeof(uint32_t));
    memcpy(&r->n_labels, bytes + 12, sizeof(uint32_t));
    for (int k = 0; k < N_PIECES; k++, at += sizeof(uint32_t)) {
        memcpy(p[k].n, bytes + at, sizeof(uint32_t));
        total += *p[k].n * p[k].size;
    }
    int rc = total == n ? 0
                        : error_set(err, ERR_CORRUPT,
                                    "the run's pinned list has %zu bytes, not %zu", n, total);
    for (int k = 0; k < N_PIECES && rc == 0; k++) {
        *p[k].at = memory_array(*p[k].n, p[k].size, MEMORY_MAX_TENSOR, err);
        if (!*p[k].at) {
            rc = ERR_NOMEM;
            break;
        }
        memcpy(*p[k].at, bytes + at, *p[k].n * p[k].size);
        at += *p[k].n * p[k].size;
    }
    if (rc == 0) rc = check(r, c, err);
    if (rc < 0) roster_release(r);
    return rc;
}
