/* Operations of known towers, counted by hand, and time by phase. */
#include "featurize/effort.h"

#include "tests/check.h"

static const struct tap final = {.kind = TAP_FINAL};

TEST(a_picture_of_vit_l_14)
{
    struct tower_config c = {.arch = ARCH_VIT,
                             .width = 1024,
                             .layers = 24,
                             .mlp = 4096,
                             .projection_dim = 768,
                             .image_size = 224,
                             .patch = 14};
    /* patches, 24 blocks of linears and attention over 257 tokens, projection */
    double want = 2.0 * 256 * 588 * 1024 +
                  24 * (2.0 * 257 * (4 * 1048576.0 + 2 * 4194304.0) + 4.0 * 257 * 257 * 1024) +
                  2.0 * 1024 * 768;
    CHECK_EQ((long long)effort_flop(&c, 0, &final, 1), (long long)want);
    CHECK(want > 161e9 && want < 163e9); /* the figure that everybody quotes: 81 G multiply-adds */
}

TEST(it_stops_at_the_last_tap)
{
    struct tower_config c = {
        .arch = ARCH_TEXT, .width = 8, .layers = 4, .mlp = 16, .projection_dim = 4};
    struct tap inner[] = {{.kind = TAP_MEAN, .block = 1}, {.kind = TAP_MEAN, .block = 2}};
    double block = 2.0 * 5 * (4 * 64 + 2 * 128) + 4.0 * 25 * 8;
    CHECK_EQ((long long)effort_flop(&c, 5, inner, 1), (long long)block);
    CHECK_EQ((long long)effort_flop(&c, 5, inner, 2), (long long)(2 * block));
    CHECK_EQ((long long)effort_flop(&c, 5, &final, 1), (long long)(4 * block + 2 * 8 * 4));
    inner[0].block = 0;
    CHECK_EQ((long long)effort_flop(&c, 5, inner, 1), 0);
}

TEST(time_goes_to_its_phase)
{
    struct effort e = {0};
    double since = effort_now() - 5, first = since;
    effort_add(&e, EFFORT_COMPUTE, &since);
    CHECK(since >= first + 5);
    CHECK(e.seconds[EFFORT_COMPUTE] >= 5);
    since -= 1;
    effort_add(&e, EFFORT_PREPARE, &since);
    CHECK_EQ((int)effort_limit(&e), EFFORT_COMPUTE);
    CHECK(effort_total_s(&e) >= 6);
}

/* Storing goes beside the two others: it limits only what is faster than it. */
TEST(what_limits_is_what_the_rest_waits_for)
{
    struct effort e = {.seconds = {4, 5, 8}, .waited_s = 0.5};
    CHECK_EQ((int)effort_limit(&e), EFFORT_COMPUTE);
    CHECK_NEAR(effort_total_s(&e), 9.5, 1e-9);
    e.seconds[EFFORT_PREPARE] = 6;
    CHECK_EQ((int)effort_limit(&e), EFFORT_PREPARE);
    e.seconds[EFFORT_STORE] = 12;
    CHECK_EQ((int)effort_limit(&e), EFFORT_STORE);
}

TEST(a_part_foretells_the_whole)
{
    struct effort e = {.n_inputs = 10, .seconds = {4, 5, 8}};
    effort_foresee(&e, 100, 300);             /* pictures, and passes of three views each */
    CHECK_NEAR(e.forecast_s, 8 * 30.0, 1e-9); /* the disk */
    e.seconds[EFFORT_STORE] = 1;
    effort_foresee(&e, 100, 300);
    CHECK_NEAR(e.forecast_s, 4 * 10.0 + 5 * 30.0, 1e-9);
    e = (struct effort){0};
    effort_foresee(&e, 100, 300);
    CHECK(e.forecast_s == 0);
}

TEST_MAIN
