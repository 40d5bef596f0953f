/* Near-duplicate pictures across splits; see leaks.h. */
#include "ingest/leaks.h"

#include <string.h>

#include "ingest/picture.h"
#include "store/memory.h"

static int keep_edge(void *context, uint32_t a, uint32_t b, int distance)
{
    struct leaks *l = context;
    if (memory_grow(&l->edges, &l->edges_capacity, l->n_edges + 1, sizeof *l->edges,
                    MEMORY_MAX_TENSOR, NULL) < 0)
        return ERR_NOMEM;
    l->edges[l->n_edges++] = (struct leaks_edge){a, b, distance};
    return 0;
}

/* The likeness of an image whose record has none, out of its bytes. */
static int look(struct corpus *c, uint32_t number, struct picture *p, struct likeness *l,
                uint8_t *known, struct error *err)
{
    const uint8_t *bytes;
    size_t n;
    struct picture_limits limits = picture_limits_default();
    struct error why = {0};
    int rc = corpus_image_bytes(c, number, &bytes, &n, err);
    if (rc < 0 || n == 0) return rc;
    rc = picture_decode(bytes, n, &limits, true, p, &why);
    if (rc == ERR_NOMEM) return error_set(err, rc, "%s", why.text);
    *known = rc == 0;
    if (rc == 0) likeness_of(p->rgb, p->width_px, p->height_px, l);
    return 0;
}

static int find_groups(struct leaks *l, struct corpus *c, bool decode, int n_threads,
                       struct error *err)
{
    struct likeness *likeness = memory_array(l->n_images, sizeof *likeness, MEMORY_MAX_TENSOR, err);
    uint8_t *known = memory_array(l->n_images, 1, MEMORY_MAX_TENSOR, err);
    struct picture scratch = {0};
    int rc = likeness && known ? 0 : ERR_NOMEM;
    for (uint32_t i = 0; rc == 0 && i < l->n_images; i++) {
        struct corpus_image image;
        rc = corpus_get_image(c, i, &image, err);
        if (rc == ERR_NOT_FOUND) { /* forgotten: nobody's twin, and no picture that is not known */
            rc = 0;
            continue;
        }
        if (rc < 0) break;
        likeness[i] = image.likeness;
        known[i] = image.has_likeness;
        if (!image.has_likeness && decode) rc = look(c, i, &scratch, &likeness[i], &known[i], err);
        l->n_unknown += !known[i];
    }
    picture_release(&scratch);
    struct twins_options o = twins_defaults();
    o.n_threads = n_threads;
    if (rc == 0)
        rc = twins_find(likeness, known, l->n_images, &o, l->group, &l->counts, keep_edge, l, err);
    memory_free(known);
    memory_free(likeness);
    return rc;
}

static int find_splits(struct leaks *l, struct corpus *c, struct error *err)
{
    struct corpus_pair *pairs = NULL;
    size_t n = 0;
    int rc = corpus_pairs(c, &pairs, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (pairs[i].image < l->n_images)
            l->splits[pairs[i].image] |= (uint8_t)(1 << pairs[i].split);
    memory_free(pairs);
    return rc;
}

bool leaks_reaches(const struct leaks *l, uint32_t image, enum corpus_split split)
{
    return l->group_splits[l->group[image]] & 1 << split;
}

bool leaks_image(const struct leaks *l, uint32_t image)
{
    uint8_t splits = l->group_splits[l->group[image]];
    return l->splits[image] && splits & (splits - 1);
}

static void count(struct leaks *l)
{
    for (uint32_t i = 0; i < l->n_images; i++) {
        l->n_in_group[l->group[i]]++;
        l->group_splits[l->group[i]] |= l->splits[i];
    }
    for (uint32_t i = 0; i < l->n_images; i++)
        for (int s = 0; s < SPLIT_N; s++)
            l->n_leaking[s] += leaks_image(l, i) && l->splits[i] & 1 << s;
}

int leaks_open(struct leaks *l, struct corpus *c, bool decode, int n_threads, struct error *err)
{
    *l = (struct leaks){.n_images = corpus_n_images(c)};
    l->group = memory_array(l->n_images, sizeof *l->group, MEMORY_MAX_TENSOR, err);
    l->splits = memory_array(l->n_images, 1, MEMORY_MAX_TENSOR, err);
    l->n_in_group = memory_array(l->n_images, sizeof *l->n_in_group, MEMORY_MAX_TENSOR, err);
    l->group_splits = memory_array(l->n_images, 1, MEMORY_MAX_TENSOR, err);
    int rc = l->group && l->splits && l->n_in_group && l->group_splits ? 0 : ERR_NOMEM;
    if (rc == 0) rc = find_groups(l, c, decode, n_threads, err);
    if (rc == 0) rc = find_splits(l, c, err);
    if (rc == 0)
        count(l);
    else
        leaks_close(l);
    return rc;
}

void leaks_close(struct leaks *l)
{
    memory_free(l->edges);
    memory_free(l->group_splits);
    memory_free(l->n_in_group);
    memory_free(l->splits);
    memory_free(l->group);
    *l = (struct leaks){0};
}
