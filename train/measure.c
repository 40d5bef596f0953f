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

static void resample(int32_t n_clusters, const double *sum, const double *count, uint64_t seed,
                     double *means)
{
    for (int r = 0; r < MEASURE_RESAMPLES; r++) {
        double total = 0, n = 0;
        for (int32_t i = 0; i < n_clusters; i++) {
            uint64_t draw = mix(seed ^ mix(((uint64_t)r << 32) | (uint32_t)i));
            int32_t c = (int32_t)(((unsigned __int128)draw * (uint32_t)n_clusters) >> 64);
            total += sum[c];
            n += count[c];
        }
        means[r] = n > 0 ? total / n : 0;
    }
    qsort(means, MEASURE_RESAMPLES, sizeof *means, by_value);
}

int measure_mean(int64_t n, const float *hit, const int32_t *cluster, int32_t n_clusters, uint64_t seed,
                 double chance, struct measure *m, struct error *err)
{
    *m = (struct measure){NAN, NAN, NAN, chance, n};
    if (n == 0) return 0;
    int rc = ERR_NOMEM;
    if (!cluster) n_clusters = (int32_t)n;
    double *sum = memory_array((uint64_t)n_clusters, sizeof *sum, MEMORY_MAX_TENSOR, err);
    double *count = memory_array((uint64_t)n_clusters, sizeof *count, MEMORY_MAX_TENSOR, err);
    double *means = memory_array(MEASURE_RESAMPLES, sizeof *means, MEMORY_MAX_SMALL, err);
    if (!sum || !count || !means) goto done;
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t c = cluster ? cluster[i] : (int32_t)i;
        sum[c] += hit[i];
        count[c] += 1;
        total += hit[i];
    }
    resample(n_clusters, sum, count, seed, means);
    m->value = total / (double)n;
    m->low = means[MEASURE_RESAMPLES * 25 / 1000];
    m->high = means[MEASURE_RESAMPLES * 975 / 1000];
    rc = 0;
done:
    memory_free(sum);
    memory_free(count);
    memory_free(means);
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
