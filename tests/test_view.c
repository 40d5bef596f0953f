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

static struct view_plan jittered(void)
{
    struct view_plan plan = view_plan_default();
    plan.jitter = (struct jitter_strength){400, 400, 200, 100, 800};
    return plan;
}

/* The boxes are those of the plan without it; four of five views are jittered, each in its own way. */
TEST(jitter_is_pure_and_comes_on_top)
{
    struct view_plan plain = view_plan_default(), plan = jittered();
    struct jitter last = {0};
    int n = 0, n_same = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint8_t key[DIGEST_BYTES];
        key_of(i / 5, key);
        struct view_box a = view_of(&plain, key, i % 5, 640, 480),
                        b = view_of(&plan, key, i % 5, 640, 480),
                        again = view_of(&plan, key, i % 5, 100, 900);
        CHECK_EQ(a.jitter.n, 0);
        CHECK(!memcmp(&b.jitter, &again.jitter, sizeof b.jitter));
        if (i % 5 == 0) CHECK_EQ(b.jitter.n, 0);
        n += b.jitter.n > 0;
        n_same += b.jitter.n > 0 && !memcmp(&b.jitter, &last, sizeof last);
        last = b.jitter;
        b.jitter = a.jitter;
        CHECK(a.whole == b.whole && a.flip == b.flip && a.left == b.left && a.top == b.top &&
              a.width == b.width && a.height == b.height);
    }
    CHECK_NEAR(n / 800.0, 0.8, 0.05); /* standard error 0.014 */
    CHECK_EQ(n_same, 0);
}

/* Written down once, as the boxes above. */
TEST(jitters_never_change)
{
    struct view_plan plan = jittered();
    uint8_t key[DIGEST_BYTES] = {0};
    char text[200] = "";
    for (uint32_t view = 1; view < 4; view++) {
        struct jitter j = view_of(&plan, key, view, 640, 480).jitter;
        for (int i = 0; i < j.n; i++)
            sprintf(text + strlen(text), " %d:%d", j.kind[i], j.amount[i]);
        strcat(text, ";");
    }
    CHECK_STR(text, " 2:14681 1:22711 3:-17 0:13817; 0:12140 2:17209 1:10185 3:-5;"
                    " 2:16198 1:12384 0:13987 3:17;");
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

static void survives(const struct view_plan *plan)
{
    struct error err = {0};
    struct view_plan back;
    memset(&back, 0xff, sizeof back);
    struct json *j = view_plan_json(plan);
    CHECK_OK(view_plan_read(j, "a set", &back, &err), &err);
    CHECK_EQ(json_is_null(json_get(j, "jitter")), jitter_is_none(&plan->jitter));
    json_free(j);
    CHECK_EQ(back.min_area_permille, plan->min_area_permille);
    CHECK_EQ(back.max_area_permille, plan->max_area_permille);
    CHECK_EQ(back.min_aspect_permille, plan->min_aspect_permille);
    CHECK_EQ(back.max_aspect_permille, plan->max_aspect_permille);
    CHECK_EQ(back.flip, plan->flip);
    CHECK(!memcmp(&back.jitter, &plan->jitter, sizeof back.jitter));
    CHECK_OK(view_plan_check(&back, &err), &err);
}

TEST(plan_survives_json_and_is_checked)
{
    struct error err = {0};
    struct view_plan plan = {100, 900, 500, 2000, false, {0}}, back;
    survives(&plan);
    plan.jitter = (struct jitter_strength){1000, 125, 0, 500, 1};
    survives(&plan);
    CHECK_OK(view_plan_read(NULL, "a set", &back, &err), &err);
    CHECK_EQ(back.min_area_permille, 400);
    CHECK(jitter_is_none(&back.jitter));
    plan.max_area_permille = 1001;
    CHECK_EQ(view_plan_check(&plan, &err), ERR_USAGE);
    CHECK_HAS(err.text, "100..1001 permille");
    plan = view_plan_default();
    plan.jitter.hue_permille = 501;
    CHECK_EQ(view_plan_check(&plan, &err), ERR_USAGE);
    CHECK_HAS(err.text, "hue 501 permille");
}

/* A later version's jitter, say: taken for none, a student would see other pixels than its teacher. */
TEST(a_jitter_that_is_not_understood_is_refused)
{
    struct view_plan plan;
    static const char *const bad[] = {"{\"jitter\":\"0.4,0.4,0.2,0.1,0.8,solarize\"}",
                                      "{\"jitter\":{\"hue\":0.1}}", "{\"jitter\":0.4}"};
    for (int i = 0; i < 3; i++) {
        struct error err = {0};
        struct json *j = json_read(bad[i], strlen(bad[i]), "test", &err);
        CHECK_EQ(view_plan_read(j, "image.final", &plan, &err), ERR_DATA);
        CHECK_HAS(err.text, "image.final: a view plan that this version does not read");
        json_free(j);
    }
}

TEST_MAIN
