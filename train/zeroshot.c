/* Zero-shot classification; see zeroshot.h. */
#include "train/zeroshot.h"

#include <math.h>
#include <string.h>

#include "store/memory.h"
#include "train/ranking.h"

/* Mean of a class's prompts, normalised. // weight (n_classes, dim) */
static int class_vectors(int64_t n_prompts, const float *prompt, const int32_t *prompt_class,
                         int n_classes, int dim, float *weight, struct error *err)
{
    for (int64_t i = 0; i < n_prompts; i++)
        for (int d = 0; d < dim; d++)
            weight[(size_t)prompt_class[i] * (size_t)dim + (size_t)d] += prompt[i * dim + d];
    for (int c = 0; c < n_classes; c++) {
        float *w = weight + (size_t)c * (size_t)dim;
        double square = 0;
        for (int d = 0; d < dim; d++) square += (double)w[d] * w[d];
        if (!(square > 0))
            return error_set(err, ERR_DATA, "class %d of %d has no prompt", c + 1, n_classes);
        for (int d = 0; d < dim; d++) w[d] = (float)(w[d] / sqrt(square));
    }
    return 0;
}

/* Hits at k, and the mean over classes when mean_class is asked for. */
static int measure_ranks(int64_t n, const int32_t *rank, const int32_t *label, int n_classes, int k,
                         uint64_t seed, struct measure *m, struct measure *mean_class,
                         struct error *err)
{
    int rc = ERR_NOMEM;
    float *hit = memory_array((uint64_t)n, sizeof *hit, MEMORY_MAX_TENSOR, err);
    int32_t *cluster = memory_array((uint64_t)n, sizeof *cluster, MEMORY_MAX_TENSOR, err);
    struct measure_part *parts = memory_array((uint64_t)n_classes, sizeof *parts, MEMORY_MAX_SMALL,
                                              err);
    float *by_class = memory_array((uint64_t)n, sizeof *by_class, MEMORY_MAX_TENSOR, err);
    double chance = measure_chance_at(n_classes, 1, k);
    if (!hit || !cluster || !parts || !by_class) goto done;
    for (int64_t i = 0; i < n; i++) hit[i] = rank[i] <= k;
    rc = measure_mean(n, hit, NULL, 0, seed, chance, m, err);
    if (rc < 0 || !mean_class) goto done;
    int64_t at = 0;
    for (int c = 0; c < n_classes; c++) {
        parts[c] = (struct measure_part){0, by_class + at, cluster + at};
        for (int64_t i = 0; i < n; i++) {
            if (label[i] != c) continue;
            by_class[at] = hit[i];
            cluster[at++] = (int32_t)i;
            parts[c].n++;
        }
    }
    rc = measure_parts(n_classes, parts, (int32_t)n, seed, chance, mean_class, err);
done:
    memory_free(hit);
    memory_free(cluster);
    memory_free(parts);
    memory_free(by_class);
    return rc;
}

int zeroshot_judge(int64_t n_images, const float *image, const int32_t *label, int64_t n_prompts,
                   const float *prompt, const int32_t *prompt_class, int n_classes, int dim,
                   uint64_t seed, struct zeroshot *z, struct error *err)
{
    int rc = ERR_NOMEM;
    int64_t n = 0;
    *z = (struct zeroshot){0};
    float *weight = memory_array((uint64_t)n_classes, (uint64_t)dim * sizeof *weight,
                                 MEMORY_MAX_TENSOR, err);
    float *query = memory_array((uint64_t)n_images, (uint64_t)dim * sizeof *query,
                                MEMORY_MAX_TENSOR, err);
    int32_t *want = memory_array((uint64_t)n_images, sizeof *want, MEMORY_MAX_TENSOR, err);
    int32_t *rank = memory_array((uint64_t)n_images, sizeof *rank, MEMORY_MAX_TENSOR, err);
    int64_t *offset = memory_array((uint64_t)n_images + 1, sizeof *offset, MEMORY_MAX_TENSOR, err);
    if (!weight || !query || !want || !rank || !offset) goto done;
    for (int64_t i = 0; i < n_images; i++) {
        if (label[i] < 0) continue;
        memcpy(query + n * dim, image + i * dim, (size_t)dim * sizeof *query);
        want[n++] = label[i];
        offset[n] = n;
    }
    rc = class_vectors(n_prompts, prompt, prompt_class, n_classes, dim, weight, err);
    if (rc == 0) rc = ranking_ranks(n, query, n_classes, weight, dim, offset, want, rank, err);
    if (rc == 0)
        rc = measure_ranks(n, rank, want, n_classes, 1, seed, &z->top1, &z->mean_class, err);
    if (rc == 0) rc = measure_ranks(n, rank, want, n_classes, 5, seed, &z->top5, NULL, err);
done:
    memory_free(weight);
    memory_free(query);
    memory_free(want);
    memory_free(rank);
    memory_free(offset);
    return rc;
}
