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
    effort_add(&e, EFFORT_STORE, &since);
    CHECK_EQ((int)effort_limit(&e), EFFORT_COMPUTE);
    CHECK(e.seconds[EFFORT_PREPARE] >= 0 && effort_total_s(&e) >= 6);
    e.seconds[EFFORT_STORE] += 1000;
    CHECK_EQ((int)effort_limit(&e), EFFORT_STORE);
}

TEST_MAIN
