/* Retrieval in both directions; see retrieval.h. Works on local numbers: the group's pictures and
 * captions, and two ragged lists of positives, one a direction. */
#include "train/retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/memory.h"
#include "train/ranking.h"

const int retrieval_k[RETRIEVAL_KS] = {1, 5, 10};

/* One kind of candidate: the rows in the group and the way back. */
struct side {
    uint32_t *row;     // (n) row of the evalset
    int32_t *local_of; // (n_rows) -1 when not in the group
    int64_t n;
    float *x; // (n, dim)
};

struct links {
    int64_t *offset; // (n_queries + 1)
    int32_t *positive;
};

static int side_open(struct side *side, uint32_t n_rows, struct error *err)
{
    side->row = memory_array(n_rows, sizeof *side->row, MEMORY_MAX_TENSOR, err);
    side->local_of = memory_array(n_rows, sizeof *side->local_of, MEMORY_MAX_TENSOR, err);
    if (!side->row || !side->local_of) return ERR_NOMEM;
    memset(side->local_of, 0xff, (size_t)n_rows * sizeof *side->local_of);
    return 0;
}

static void side_add(struct side *side, uint32_t row)
{
    if (side->local_of[row] >= 0) return;
    side->local_of[row] = (int32_t)side->n;
    side->row[side->n++] = row;
}

static int side_embed(struct side *side, const float *all, int dim, struct error *err)
{
    size_t n_bytes = (size_t)dim * sizeof *all;
    side->x = memory_array((uint64_t)side->n, n_bytes, MEMORY_MAX_TENSOR, err);
    if (!side->x) return ERR_NOMEM;
    for (int64_t i = 0; i < side->n; i++)
        memcpy(side->x + i * dim, all + (size_t)side->row[i] * (size_t)dim, n_bytes);
    return 0;
}

static void side_release(struct side *side)
{
    memory_free(side->row);
    memory_free(side->local_of);
    memory_free(side->x);
}

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Positives of every query among the candidates, ascending and without repeats, from all pairs of
 * the split. */
static int link_positives(const struct evalset *s, const struct side *queries,
                          const struct side *others, bool query_is_text, struct links *links,
                          struct error *err)
{
    links->offset = memory_array((uint64_t)queries->n + 2, sizeof *links->offset, MEMORY_MAX_TENSOR,
                                 err);
    links->positive = memory_array(s->n_pairs, sizeof *links->positive, MEMORY_MAX_TENSOR, err);
    if (!links->offset || !links->positive) return ERR_NOMEM;
    for (int pass = 0; pass < 2; pass++) { /* count, then fill */
        for (size_t i = 0; i < s->n_pairs; i++) {
            uint32_t query_row = query_is_text ? s->pairs[i].caption : s->pairs[i].image;
            uint32_t other_row = query_is_text ? s->pairs[i].image : s->pairs[i].caption;
            int32_t q = queries->local_of[query_row], o = others->local_of[other_row];
            if (q < 0 || o < 0) continue;
            if (pass == 0)
                links->offset[q + 2]++;
            else
                links->positive[links->offset[q + 1]++] = o;
        }
        for (int64_t q = 0; pass == 0 && q < queries->n; q++)
            links->offset[q + 2] += links->offset[q + 1];
    }
    int64_t n = 0;
    for (int64_t q = 0, begin = 0; q < queries->n; q++) {
        int64_t end = links->offset[q + 1];
        qsort(links->positive + begin, (size_t)(end - begin), sizeof *links->positive, by_number);
        links->offset[q] = n;
        for (int64_t i = begin; i < end; i++)
            if (i == begin || links->positive[i] != links->positive[i - 1])
                links->positive[n++] = links->positive[i];
        begin = end;
    }
    links->offset[queries->n] = n;
    return 0;
}

/* Ranks of one direction to hits, (n_queries) for each K and their mean in the last row, with measures. */
static int judge_direction(const struct side *queries, const struct side *others,
                           const struct links *links, int dim, const int32_t *cluster,
                           int32_t n_clusters, uint64_t seed, struct measure *at, float *mean_hit,
                           double *mean_chance, struct error *err)
{
    int rc = ERR_NOMEM;
    int64_t n = queries->n;
    int32_t *rank = memory_array((uint64_t)n, sizeof *rank, MEMORY_MAX_TENSOR, err);
    float *hit = memory_array((uint64_t)n, sizeof *hit, MEMORY_MAX_TENSOR, err);
    if (!rank || !hit) goto done;
    rc = ranking_ranks(n, queries->x, others->n, others->x, dim, links->offset, links->positive,
                       rank, err);
    *mean_chance = 0;
    for (int k = 0; k < RETRIEVAL_KS && rc == 0; k++) {
        double chance = 0;
        for (int64_t i = 0; i < n; i++) {
            hit[i] = rank[i] <= retrieval_k[k];
            mean_hit[i] += hit[i] / RETRIEVAL_KS;
            chance += measure_chance_at(others->n, links->offset[i + 1] - links->offset[i],
                                        retrieval_k[k]) /
                      (double)n;
        }
        *mean_chance += chance / RETRIEVAL_KS;
        rc = measure_mean(n, hit, cluster, n_clusters, seed, chance, &at[k], err);
    }
done:
    memory_free(rank);
    memory_free(hit);
    return rc;
}

static int judge_group(const struct evalset *s, const struct side *images,
                       const struct side *captions, int dim, uint64_t seed, struct retrieval *r,
                       struct error *err)
{
    int rc = ERR_NOMEM;
    struct links of_text = {0}, of_image = {0};
    int32_t *text_cluster = memory_array((uint64_t)captions->n, sizeof *text_cluster,
                                         MEMORY_MAX_TENSOR, err);
    int32_t *image_cluster = memory_array((uint64_t)images->n, sizeof *image_cluster,
                                          MEMORY_MAX_TENSOR, err);
    float *text_hit = memory_array((uint64_t)captions->n, sizeof *text_hit, MEMORY_MAX_TENSOR, err);
    float *image_hit = memory_array((uint64_t)images->n, sizeof *image_hit, MEMORY_MAX_TENSOR, err);
    double text_chance, image_chance;
    if (!text_cluster || !image_cluster || !text_hit || !image_hit) goto done;
    rc = link_positives(s, captions, images, true, &of_text, err);
    if (rc == 0) rc = link_positives(s, images, captions, false, &of_image, err);
    if (rc < 0) goto done;
    for (int64_t i = 0; i < images->n; i++) image_cluster[i] = (int32_t)i;
    for (int64_t i = 0; i < captions->n; i++) text_cluster[i] = of_text.positive[of_text.offset[i]];
    int32_t n_clusters = (int32_t)images->n;
    rc = judge_direction(captions, images, &of_text, dim, text_cluster, n_clusters, seed,
                         r->at[TEXT_TO_IMAGE], text_hit, &text_chance, err);
    if (rc == 0)
        rc = judge_direction(images, captions, &of_image, dim, image_cluster, n_clusters, seed,
                             r->at[IMAGE_TO_TEXT], image_hit, &image_chance, err);
    if (rc < 0) goto done;
    struct measure_part parts[] = {{captions->n, text_hit, text_cluster},
                                   {images->n, image_hit, image_cluster}};
    rc = measure_parts(2, parts, n_clusters, seed, (text_chance + image_chance) / 2,
                       &r->mean_recall, err);
done:
    memory_free(of_text.offset);
    memory_free(of_text.positive);
    memory_free(of_image.offset);
    memory_free(of_image.positive);
    memory_free(text_cluster);
    memory_free(image_cluster);
    memory_free(text_hit);
    memory_free(image_hit);
    return rc;
}

int retrieval_judge(const struct evalset *s,
                    bool (*in_group)(const void *context, const struct corpus_pair *pair),
                    const void *context, const float *image, const float *text, int dim,
                    uint64_t seed, struct retrieval *r, struct error *err)
{
    struct side images = {0}, captions = {0};
    *r = (struct retrieval){0};
    int rc = side_open(&images, s->n_all_images, err);
    if (rc == 0) rc = side_open(&captions, s->n_all_captions, err);
    for (size_t i = 0; i < s->n_pairs && rc == 0; i++) {
        if (!in_group(context, &s->pairs[i])) continue;
        side_add(&images, s->pairs[i].image);
        side_add(&captions, s->pairs[i].caption);
    }
    r->n_images = images.n;
    r->n_captions = captions.n;
    if (rc == 0 && images.n) {
        rc = side_embed(&images, image, dim, err);
        if (rc == 0) rc = side_embed(&captions, text, dim, err);
        if (rc == 0) rc = judge_group(s, &images, &captions, dim, seed, r, err);
    }
    side_release(&images);
    side_release(&captions);
    return rc;
}
