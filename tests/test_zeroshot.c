#include "train/zeroshot.h"

#include "tests/check.h"

/* Three classes on the axes, two prompts each that lean to either side of the axis: only their mean
 * points along it. */
static const float prompts[] = {0.8f,  0.6f, 0, 0.8f, -0.6f, 0,    0.6f, 0.8f,  0,
                                -0.6f, 0.8f, 0, 0,    0.6f,  0.8f, 0,    -0.6f, 0.8f};
static const int32_t prompt_class[] = {0, 0, 1, 1, 2, 2};

TEST(prompts_are_averaged)
{
    struct error err = {0};
    struct zeroshot z;
    float images[] = {0.99f, 0.1f, 0, 0.1f, 0.99f, 0, 0, 0.1f, 0.99f, 1, 0, 0};
    int32_t label[] = {0, 1, 2, -1};
    CHECK_OK(zeroshot_judge(4, images, label, 6, prompts, prompt_class, 3, 3, 1, &z, &err), &err);
    CHECK_NEAR(z.top1.value, 1, 0);
    CHECK_EQ(z.top1.n, 3); /* the unlabelled picture is not judged */
    CHECK_NEAR(z.top1.chance, 1.0 / 3, 1e-12);
    CHECK_NEAR(z.top5.chance, 1, 0);
}

TEST(a_constant_model_scores_nothing)
{
    struct error err = {0};
    struct zeroshot z;
    float images[] = {1, 0, 0, 1, 0, 0, 1, 0, 0}, same[18];
    int32_t label[] = {0, 1, 2};
    for (int i = 0; i < 18; i++) same[i] = i % 3 == 0;
    CHECK_OK(zeroshot_judge(3, images, label, 6, same, prompt_class, 3, 3, 1, &z, &err), &err);
    CHECK_NEAR(z.top1.value, 0, 0);
}

TEST(mean_over_classes_weighs_rare_ones_alike)
{
    struct error err = {0};
    struct zeroshot z;
    float images[] = {1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0};
    int32_t label[] = {0, 0, 0, 1};
    CHECK_OK(zeroshot_judge(4, images, label, 6, prompts, prompt_class, 3, 3, 1, &z, &err), &err);
    CHECK_NEAR(z.top1.value, 0.75, 1e-12);
    CHECK_NEAR(z.mean_class.value, 0.5, 1e-12);
}

TEST(a_class_without_prompt_is_named)
{
    struct error err = {0};
    struct zeroshot z;
    float images[] = {1, 0, 0};
    int32_t label[] = {0};
    CHECK_EQ(zeroshot_judge(1, images, label, 4, prompts, prompt_class, 3, 3, 1, &z, &err),
             ERR_DATA);
    CHECK_HAS(err.text, "class 3 of 3");
}

TEST_MAIN
