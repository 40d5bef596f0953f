#include "train/measure.h"

#include "tests/check.h"

TEST(chance_is_exact_for_one_positive)
{
    CHECK_NEAR(measure_chance_at(200, 1, 10), 0.05, 1e-12);
    CHECK_NEAR(measure_chance_at(10, 10, 1), 1, 1e-12);
    CHECK_NEAR(measure_chance_at(10, 0, 5), 0, 0);
    /* 2 positives of 4, top 1: 1/2; top 2: 1 - C(2,2)/C(4,2) = 5/6 */
    CHECK_NEAR(measure_chance_at(4, 2, 1), 0.5, 1e-12);
    CHECK_NEAR(measure_chance_at(4, 2, 2), 5.0 / 6, 1e-12);
}

TEST(interval_covers_the_mean_and_narrows_with_n)
{
    struct error err = {0};
    static float hit[4000];
    for (int i = 0; i < 4000; i++) hit[i] = i % 4 == 0;
    struct measure few, many;
    CHECK_OK(measure_mean(100, hit, NULL, 0, 1, 0.1, &few, &err), &err);
    CHECK_OK(measure_mean(4000, hit, NULL, 0, 1, 0.1, &many, &err), &err);
    CHECK_NEAR(few.value, 0.25, 1e-9);
    CHECK(few.low < 0.25 && few.high > 0.25);
    /* normal theory: half width 1.96 * sqrt(p(1-p)/n) = 0.085 and 0.0134; a third of slack */
    CHECK_NEAR((few.high - few.low) / 2, 0.085, 0.028);
    CHECK_NEAR((many.high - many.low) / 2, 0.0134, 0.0045);
    CHECK_EQ(many.n, 4000);
    CHECK_NEAR(many.chance, 0.1, 0);
}

TEST(clusters_widen_the_interval)
{
    struct error err = {0};
    static float hit[1000];
    static int32_t cluster[1000];
    for (int i = 0; i < 1000; i++) {
        cluster[i] = i / 10; /* ten equal answers each: 100 independent queries, not 1000 */
        hit[i] = (i / 10) % 2;
    }
    struct measure alone, together;
    CHECK_OK(measure_mean(1000, hit, NULL, 0, 7, 0, &alone, &err), &err);
    CHECK_OK(measure_mean(1000, hit, cluster, 100, 7, 0, &together, &err), &err);
    CHECK_NEAR(alone.value, together.value, 0);
    CHECK(together.high - together.low > 2 * (alone.high - alone.low));
}

TEST(parts_are_averaged_each_by_itself)
{
    struct error err = {0};
    float a[] = {1, 1, 1, 1}, b[] = {0, 1};
    int32_t ca[] = {0, 0, 1, 1}, cb[] = {0, 1};
    struct measure_part parts[] = {{4, a, ca}, {2, b, cb}, {0, NULL, NULL}};
    struct measure m;
    CHECK_OK(measure_parts(3, parts, 2, 5, 0, &m, &err), &err);
    CHECK_NEAR(m.value, 0.75, 1e-12); /* (1 + 1/2) / 2, not 5/6 */
    CHECK_EQ(m.n, 6);
    CHECK_NEAR(m.low, 0.5, 1e-12); /* cluster 0 drawn twice */
    CHECK_NEAR(m.high, 1, 1e-12);
}

TEST(no_query_gives_no_number)
{
    struct error err = {0};
    struct measure m;
    CHECK_OK(measure_mean(0, NULL, NULL, 0, 1, 0.5, &m, &err), &err);
    CHECK(isnan(m.value) && m.n == 0);
}

TEST_MAIN
