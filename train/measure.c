/* Bootstrap intervals and chance levels; see measure.h. */
#include "train/measure.h"

#include <math.h>
#include <stdlib.h>

#include "store/memory.h"

/* SplitMix64: a counter generator, so that resample r is the same whatever came before. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double mean_of_parts(int n_parts, const double *sum, const double *count)
{
    double total = 0;
    int n = 0;
    for (int p = 0; p < n_parts; p++) {
        if (count[p] == 0) continue;
        total += sum[p] / count[p];
        n++;
    }
    return n ? total / n : 0;
}

/* Resample r draws n_clusters clusters with replacement, for all parts together. // means:
 * (MEASURE_RESAMPLES), sorted */
static void resample(int n_parts, int32_t n_clusters, const double *sum, const double *count,
                     uint64_t seed, double *part_sum, double *part_count, double *means)
{
    for (int r = 0; r < MEASURE_RESAMPLES; r++) {
        for (int p = 0; p < n_parts; p++) part_sum[p] = part_count[p] = 0;
        for (int32_t i = 0; i < n_clusters; i++) {
            uint64_t draw = mix(seed ^ mix(((uint64_t)r << 32) | (uint32_t)i));
            size_t c = (size_t)(((unsigned __int128)draw * (uint32_t)n_clusters) >> 64);
            for (int p = 0; p < n_parts; p++) {
                part_sum[p] += sum[c * (size_t)n_parts + (size_t)p];
                part_count[p] += count[c * (size_t)n_parts + (size_t)p];
            }
        }
        means[r] = mean_of_parts(n_parts, part_sum, part_count);
    }
    qsort(means, MEASURE_RESAMPLES, sizeof *means, by_value);
}

int measure_parts(int n_parts, const struct measure_part *parts, int32_t n_clusters, uint64_t seed,
                  double chance, struct measure *m, struct error *err)
{
    *m = (struct measure){NAN, NAN, NAN, chance, 0};
    for (int p = 0; p < n_parts; p++) m->n += parts[p].n;
    if (m->n == 0) return 0;
    int rc = ERR_NOMEM;
    uint64_t row = (uint64_t)n_parts * sizeof(double);
    double *sum = memory_array((uint64_t)n_clusters, row, MEMORY_MAX_TENSOR,
                               err); // (n_clusters, n_parts)
    double *count = memory_array((uint64_t)n_clusters, row, MEMORY_MAX_TENSOR, err);
    double *part = memory_array(2, row, MEMORY_MAX_SMALL, err);
    double *means = memory_array(MEASURE_RESAMPLES, sizeof *means, MEMORY_MAX_SMALL, err);
    if (!sum || !count || !part || !means) goto done;
    for (int p = 0; p < n_parts; p++) {
        for (int64_t i = 0; i < parts[p].n; i++) {
            size_t at = (size_t)parts[p].cluster[i] * (size_t)n_parts + (size_t)p;
            sum[at] += parts[p].hit[i];
            count[at] += 1;
            part[p] += parts[p].hit[i];
        }
        part[n_parts + p] = (double)parts[p].n;
    }
    m->value = mean_of_parts(n_parts, part, part + n_parts);
    resample(n_parts, n_clusters, sum, count, seed, part, part + n_parts, means);
    m->low = means[MEASURE_RESAMPLES * 25 / 1000];
    m->high = means[MEASURE_RESAMPLES * 975 / 1000];
    rc = 0;
done:
    memory_free(sum);
    memory_free(count);
    memory_free(part);
    memory_free(means);
    return rc;
}

int measure_mean(int64_t n, const float *hit, const int32_t *cluster, int32_t n_clusters,
                 uint64_t seed, double chance, struct measure *m, struct error *err)
{
    int32_t *own = NULL;
    if (!cluster) {
        own = memory_array((uint64_t)n, sizeof *own, MEMORY_MAX_TENSOR, err);
        if (!own) return ERR_NOMEM;
        for (int64_t i = 0; i < n; i++) own[i] = (int32_t)i;
        n_clusters = (int32_t)n;
    }
    struct measure_part part = {n, hit, cluster ? cluster : own};
    int rc = measure_parts(1, &part, n_clusters, seed, chance, m, err);
    memory_free(own);
    return rc;
}

double measure_chance_at(int64_t n_candidates, int64_t n_positives, int64_t k)
{
    if (n_positives <= 0 || n_candidates <= 0) return 0;
    double miss = 1; /* C(n - p, k) / C(n, k) = product over i < k of (n - p - i) / (n - i) */
    for (int64_t i = 0; i < k && i < n_candidates; i++) {
        int64_t left = n_candidates - n_positives - i;
        if (left <= 0) return 1;
        miss *= (double)left / (double)(n_candidates - i);
    }
    return 1 - miss;
}
