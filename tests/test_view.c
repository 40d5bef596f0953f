/* Views are a pure function of (key, view, plan) that stays inside the picture. */
#include "featurize/view.h"
#include "tests/check.h"

static void key_of(uint32_t i, uint8_t key[DIGEST_BYTES])
{
    digest_of(&i, sizeof i, key);
}

TEST(view_0_is_the_whole_picture)
{
    struct view_plan plan = view_plan_default();
    uint8_t key[DIGEST_BYTES];
    key_of(1, key);
    struct view_box box = view_of(&plan, key, 0, 640, 480);
    CHECK(box.whole);
    CHECK(!box.flip);
    CHECK_EQ(box.width, 640);
    CHECK_EQ(box.height, 480);
}

TEST(views_are_pure_and_differ)
{
    struct view_plan plan = view_plan_default();
    uint8_t key[DIGEST_BYTES], other[DIGEST_BYTES];
    key_of(1, key);
    key_of(2, other);
    struct view_box a = view_of(&plan, key, 3, 640, 480), again = view_of(&plan, key, 3, 640, 480);
    CHECK_EQ(a.left, again.left);
    CHECK_EQ(a.top, again.top);
    CHECK_EQ(a.width, again.width);
    CHECK_EQ(a.height, again.height);
    CHECK_EQ(a.flip, again.flip);
    struct view_box b = view_of(&plan, key, 4, 640, 480), c = view_of(&plan, other, 3, 640, 480);
    CHECK(a.left != b.left || a.top != b.top || a.width != b.width);
    CHECK(a.left != c.left || a.top != c.top || a.width != c.width);
}

/* Written down once: a change of these numbers orphans every cached view. */
TEST(views_never_change)
{
    struct view_plan plan = view_plan_default();
    uint8_t key[DIGEST_BYTES] = {0};
    struct view_box a = view_of(&plan, key, 1, 640, 480), b = view_of(&plan, key, 2, 333, 1000);
    CHECK_EQ(a.left, 225);
    CHECK_EQ(a.top, 0);
    CHECK_EQ(a.width, 400);
    CHECK_EQ(a.height, 454);
    CHECK(!a.flip);
    CHECK_EQ(b.left, 0);
    CHECK_EQ(b.top, 278);
    CHECK_EQ(b.width, 333);
    CHECK_EQ(b.height, 444);
    CHECK(b.flip);
}

TEST(boxes_stay_inside_and_in_range)
{
    const uint32_t sizes[][2] = {{640, 480}, {480, 640}, {1, 1},       {1, 60000}, {60000, 1},
                                 {2, 3},     {224, 224}, {5000, 5000}, {17, 1000}, {65500, 65500}};
    struct view_plan plan = view_plan_default();
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint32_t w = sizes[s][0], h = sizes[s][1];
        for (uint32_t i = 0; i < 200; i++) {
            uint8_t key[DIGEST_BYTES];
            key_of(i, key);
            struct view_box b = view_of(&plan, key, 1 + i % 7, w, h);
            CHECK(b.width >= 1 && b.height >= 1);
            CHECK((uint64_t)b.left + b.width <= w && (uint64_t)b.top + b.height <= h);
            CHECK(!b.whole);
            if (w < 400 || h < 400) continue;
            double area = (double)b.width * b.height / ((double)w * h),
                   shape = (double)b.width / b.height;
            CHECK(area > 0.39 && area <= 1.0);
            CHECK(shape > 0.74 && shape < 1.34);
        }
    }
}

/* 4,000 boxes; means of uniform draws have a standard error below 0.01, so 0.03 is three of them and more. */
TEST(distribution_is_sane)
{
    struct view_plan plan = view_plan_default();
    plan.max_area_permille = 600;
    double area = 0, left = 0, wide = 0, flips = 0;
    const int n = 4000;
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        uint8_t key[DIGEST_BYTES];
        key_of(i, key);
        struct view_box b = view_of(&plan, key, 1, 1000, 1000);
        area += (double)b.width * b.height / 1e6 / n;
        left += b.left / (1000.0 - b.width) / n;
        wide += (b.width > b.height) / (double)n;
        flips += b.flip / (double)n;
    }
    CHECK_NEAR(area, 0.5, 0.01);
    CHECK_NEAR(left, 0.5, 0.03);
    CHECK_NEAR(wide, 0.5, 0.03);
    CHECK_NEAR(flips, 0.5, 0.03);
    plan.flip = false;
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t key[DIGEST_BYTES];
        key_of(i, key);
        CHECK(!view_of(&plan, key, 1, 100, 100).flip);
    }
}

TEST(plan_survives_json_and_is_checked)
{
    struct view_plan plan = {100, 900, 500, 2000, false}, back;
    struct json *j = view_plan_json(&plan);
    view_plan_read(j, &back);
    json_free(j);
    CHECK_EQ(back.min_area_permille, 100);
    CHECK_EQ(back.max_area_permille, 900);
    CHECK_EQ(back.min_aspect_permille, 500);
    CHECK_EQ(back.max_aspect_permille, 2000);
    CHECK(!back.flip);
    view_plan_read(NULL, &back);
    CHECK_EQ(back.min_area_permille, 400);
    struct error err = {0};
    CHECK_EQ(view_plan_check(&plan, &err), 0);
    plan.max_area_permille = 1001;
    CHECK_EQ(view_plan_check(&plan, &err), ERR_USAGE);
    CHECK_HAS(err.text, "100..1001 permille");
}

TEST_MAIN
