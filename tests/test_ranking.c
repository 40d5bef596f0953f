/* Ranks against a naive twin that sorts, ties against the model, NaN last, equal for any thread count.
 *
 * covers: knn
 */
#include "train/ranking.h"

#include <omp.h>

#include "tests/check.h"
#include "train/knn.h"

static uint64_t state = 88172645463325252u;

static float uniform(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)(state >> 40) / (float)(1 << 24) - 0.5f;
}

enum { Q = 130, C = 77, D = 24 };
static float queries[Q * D], candidates[C * D];

static void fill(void)
{
    for (int i = 0; i < Q * D; i++) queries[i] = uniform();
    for (int i = 0; i < C * D; i++) candidates[i] = uniform();
}

TEST(ranks_equal_a_naive_twin)
{
    struct error err = {0};
    int64_t offset[Q + 1];
    int32_t positive[Q * 2], rank[Q], again[Q];
    fill();
    for (int i = 0; i <= Q; i++) offset[i] = i * 2;
    for (int i = 0; i < Q; i++) {
        positive[2 * i] = i % 38;
        positive[2 * i + 1] = 38 + i % 39;
    }
    CHECK_OK(ranking_ranks(Q, queries, C, candidates, D, offset, positive, rank, &err), &err);
    for (int i = 0; i < Q; i++) {
        double s[C];
        for (int c = 0; c < C; c++) {
            s[c] = 0;
            for (int d = 0; d < D; d++) s[c] += (double)queries[i * D + d] * candidates[c * D + d];
        }
        double best = fmax(s[positive[2 * i]], s[positive[2 * i + 1]]);
        int above = 0;
        for (int c = 0; c < C; c++) above += s[c] > best + 1e-6;
        CHECK_EQ(rank[i], above + 1);
    }
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        CHECK_OK(ranking_ranks(Q, queries, C, candidates, D, offset, positive, again, &err), &err);
        CHECK(!memcmp(rank, again, sizeof rank));
    }
}

TEST(a_constant_model_hits_nothing)
{
    struct error err = {0};
    int64_t offset[Q + 1];
    int32_t positive[Q], rank[Q];
    for (int i = 0; i < Q * D; i++) queries[i] = 0.25f;
    for (int i = 0; i < C * D; i++) candidates[i] = 0.25f;
    for (int i = 0; i <= Q; i++) offset[i] = i;
    for (int i = 0; i < Q; i++) positive[i] = i % C;
    CHECK_OK(ranking_ranks(Q, queries, C, candidates, D, offset, positive, rank, &err), &err);
    for (int i = 0; i < Q; i++) CHECK_EQ(rank[i], C);
}

TEST(a_nan_ranks_last_and_no_positive_is_no_hit)
{
    struct error err = {0};
    int64_t offset[] = {0, 1, 1};
    int32_t positive[] = {0}, rank[2];
    fill();
    for (int d = 0; d < D; d++) candidates[d] = NAN;
    CHECK_OK(ranking_ranks(2, queries, C, candidates, D, offset, positive, rank, &err), &err);
    CHECK_EQ(rank[0], C + 1);
    CHECK_EQ(rank[1], C + 1);
}

TEST(top_is_sorted_and_bounded)
{
    struct error err = {0};
    int32_t top[Q * 5];
    float score[Q * 5];
    fill();
    CHECK_OK(ranking_top(Q, queries, C, candidates, D, 5, top, score, &err), &err);
    for (int i = 0; i < Q; i++)
        for (int k = 1; k < 5; k++) CHECK(score[i * 5 + k - 1] >= score[i * 5 + k]);
    CHECK_EQ(ranking_top(Q, queries, 3, candidates, D, 5, top, score, &err), ERR_USAGE);
}

TEST(neighbours_vote)
{
    struct error err = {0};
    /* two clusters on a circle; one stray of the other label does not turn the vote */
    float train[] = {1, 0, 0.9f, 0.1f, 0.95f, 0.05f, 0, 1, 0.1f, 0.9f, 0.05f, 0.95f};
    uint16_t label[] = {0, 0, 1, 1, 1, 1}, want[] = {0, 1};
    float query[] = {0.8f, 0.2f, 0.2f, 0.8f}, hit[2];
    CHECK_OK(knn_hits(6, train, label, 2, query, want, 2, 3, 2, hit, &err), &err);
    CHECK(hit[0] == 1 && hit[1] == 1);
    want[0] = 1;
    CHECK_OK(knn_hits(6, train, label, 2, query, want, 2, 3, 2, hit, &err), &err);
    CHECK(hit[0] == 0);
}

TEST_MAIN
