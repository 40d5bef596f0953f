/* k-nearest-neighbour accuracy; see knn.h. */
#include "train/knn.h"

#include <string.h>

#include "store/memory.h"
#include "train/ranking.h"

static int vote(int k, const int32_t *near, const float *score, const uint16_t *label, int n_labels,
                int *count, double *sum)
{
    memset(count, 0, (size_t)n_labels * sizeof *count);
    memset(sum, 0, (size_t)n_labels * sizeof *sum);
    int best = label[near[0]];
    for (int i = 0; i < k; i++) {
        count[label[near[i]]]++;
        sum[label[near[i]]] += score[i];
    }
    for (int c = 0; c < n_labels; c++)
        if (count[c] > count[best] || (count[c] == count[best] && sum[c] > sum[best])) best = c;
    return best;
}

int knn_hits(int64_t n_train, const float *train, const uint16_t *train_label, int64_t n_query,
             const float *query, const uint16_t *query_label, int dim, int k, int n_labels,
             float *hit, struct error *err)
{
    int rc = ERR_NOMEM;
    int32_t *near = memory_array((uint64_t)n_query, (uint64_t)k * sizeof *near, MEMORY_MAX_TENSOR,
                                 err);
    float *score = memory_array((uint64_t)n_query, (uint64_t)k * sizeof *score, MEMORY_MAX_TENSOR,
                                err);
    int *count = memory_array((uint64_t)n_labels, sizeof *count, MEMORY_MAX_SMALL, err);
    double *sum = memory_array((uint64_t)n_labels, sizeof *sum, MEMORY_MAX_SMALL, err);
    if (!near || !score || !count || !sum) goto done;
    rc = ranking_top(n_query, query, n_train, train, dim, k, near, score, err);
    if (rc < 0) goto done;
    for (int64_t i = 0; i < n_query; i++)
        hit[i] = vote(k, near + i * k, score + i * k, train_label, n_labels, count, sum) ==
                 query_label[i];
done:
    memory_free(near);
    memory_free(score);
    memory_free(count);
    memory_free(sum);
    return rc;
}
