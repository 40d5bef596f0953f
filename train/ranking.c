/* Exact ranking by tiles of the score matrix; see ranking.h. A tile of queries against all
 * candidates is one product on one thread, so that memory stays O(tile * candidates) and a result
 * does not depend on the number of threads. */
#include "train/ranking.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "featurize/gemm.h"
#include "store/memory.h"

#define TILE 64

/* What is done with the scores of one query. // scores (n_candidates) */
struct consumer {
    void (*row)(const struct consumer *self, int64_t query, const float *scores);
    int64_t n_candidates;
    const int64_t *offset;
    const int32_t *positive;
    int32_t *rank, *top;
    float *score;
    int k;
};

static void rank_row(const struct consumer *self, int64_t query, const float *scores)
{
    int64_t begin = self->offset[query], end = self->offset[query + 1], n_above = 0;
    float best = -INFINITY;
    for (int64_t i = begin; i < end; i++)
        if (scores[self->positive[i]] > best) best = scores[self->positive[i]];
    if (begin == end || best == -INFINITY) {
        self->rank[query] = (int32_t)self->n_candidates + 1;
        return;
    }
    for (int64_t c = 0; c < self->n_candidates; c++) n_above += scores[c] >= best;
    for (int64_t i = begin; i < end; i++) n_above -= scores[self->positive[i]] >= best;
    self->rank[query] = (int32_t)n_above + 1;
}

static void top_row(const struct consumer *self, int64_t query, const float *scores)
{
    int32_t *top = self->top + query * self->k;
    int n = 0;
    for (int64_t c = 0; c < self->n_candidates; c++) {
        float s = isnan(scores[c]) ? -INFINITY : scores[c];
        int at = n;
        while (at > 0 && s > scores[top[at - 1]]) at--;
        if (at == self->k) continue;
        if (n < self->k) n++;
        memmove(top + at + 1, top + at, (size_t)(n - 1 - at) * sizeof *top);
        top[at] = (int32_t)c;
    }
    for (int i = 0; self->score && i < n; i++) self->score[query * self->k + i] = scores[top[i]];
}

static int each_row(int64_t n_queries, const float *queries, int64_t n_candidates,
                    const float *candidates, int dim, const struct consumer *consumer,
                    struct error *err)
{
    int n_threads = omp_get_max_threads(), rc = ERR_NOMEM;
    int64_t n_tiles = (n_queries + TILE - 1) / TILE;
    struct gemm **gemms = memory_array((uint64_t)n_threads, sizeof *gemms, MEMORY_MAX_SMALL, err);
    int *codes = memory_array((uint64_t)n_tiles, sizeof *codes, MEMORY_MAX_TENSOR, err);
    float *scores = memory_array((uint64_t)n_threads * TILE,
                                 (uint64_t)n_candidates * sizeof *scores, MEMORY_MAX_TENSOR, err);
    if (!gemms || !codes || !scores) goto done;
    for (int t = 0; t < n_threads; t++)
        if (!(gemms[t] = gemm_new(err))) goto done;
#pragma omp parallel for schedule(dynamic) default(none) num_threads(n_threads) shared(            \
    gemms, codes, scores, n_tiles, n_queries, queries, n_candidates, candidates, dim, consumer)
    for (int64_t tile = 0; tile < n_tiles; tile++) {
        int64_t first = tile * TILE, n = n_queries - first < TILE ? n_queries - first : TILE;
        float *s = scores + (int64_t)omp_get_thread_num() * TILE * n_candidates;
        codes[tile] = gemm_product(gemms[omp_get_thread_num()], NUMERICS_F32, false, true, n,
                                   n_candidates, dim, 1, queries + first * dim, dim, candidates,
                                   dim, 0, s, n_candidates, NULL);
        for (int64_t i = 0; i < n && codes[tile] == 0; i++)
            consumer->row(consumer, first + i, s + i * n_candidates);
    }
    rc = 0;
    for (int64_t tile = 0; tile < n_tiles; tile++)
        if (codes[tile] < 0) rc = error_set(err, codes[tile], "a product of scores failed");
done:
    for (int t = 0; gemms && t < n_threads; t++) gemm_free(gemms[t]);
    memory_free(gemms);
    memory_free(codes);
    memory_free(scores);
    return rc;
}

int ranking_ranks(int64_t n_queries, const float *queries, int64_t n_candidates,
                  const float *candidates, int dim, const int64_t *offset, const int32_t *positive,
                  int32_t *rank, struct error *err)
{
    struct consumer c = {.row = rank_row,
                         .n_candidates = n_candidates,
                         .offset = offset,
                         .positive = positive,
                         .rank = rank};
    return each_row(n_queries, queries, n_candidates, candidates, dim, &c, err);
}

int ranking_top(int64_t n_queries, const float *queries, int64_t n_candidates,
                const float *candidates, int dim, int k, int32_t *top, float *score,
                struct error *err)
{
    if (k < 1 || k > n_candidates)
        return error_set(err, ERR_USAGE, "cannot take the %d best of %lld candidates", k,
                         (long long)n_candidates);
    struct consumer c = {
        .row = top_row, .n_candidates = n_candidates, .top = top, .score = score, .k = k};
    return each_row(n_queries, queries, n_candidates, candidates, dim, &c, err);
}
