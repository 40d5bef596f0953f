/* Retrieval on hand-made embeddings whose answers can be counted on paper. */
#include "train/retrieval.h"

#include "tests/check.h"

static bool is_language(const void *context, const struct corpus_pair *p)
{
    return p->language == *(const uint16_t *)context;
}

/* Three pictures e0, e1, e2; captions 0..3: own one each in language 0, and caption 3 shared by
 * pictures 0 and 1. */
static struct corpus_pair pairs[] = {
    {.image = 0, .caption = 0}, {.image = 1, .caption = 1},
    {.image = 2, .caption = 2}, {.image = 0, .caption = 3},
    {.image = 1, .caption = 3}, {.image = 2, .caption = 0, .language = 1},
};
static struct evalset set = {.n_images = 3,
                             .n_all_images = 3,
                             .n_captions = 4,
                             .n_all_captions = 4,
                             .pairs = pairs,
                             .n_pairs = 6};
static const float images[] = {1, 0, 0, 0, 1, 0, 0, 0, 1};

TEST(a_perfect_model_is_right_also_about_shared_captions)
{
    struct error err = {0};
    struct retrieval r;
    uint16_t language = 0;
    float texts[] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0.7f, 0.7f, 0};
    CHECK_OK(retrieval_judge(&set, is_language, &language, images, texts, 3, 1, &r, &err), &err);
    CHECK_EQ(r.n_images, 3);
    CHECK_EQ(r.n_captions, 4);
    CHECK_NEAR(r.at[TEXT_TO_IMAGE][0].value, 1, 0);
    CHECK_NEAR(r.at[IMAGE_TO_TEXT][0].value, 1, 0);
    CHECK_NEAR(r.mean_recall.value, 1, 1e-6);
    CHECK_EQ(r.at[TEXT_TO_IMAGE][0].n, 4);
    /* chance at 1: captions 1, 2 have one of three; 0 has two (picture 2 through the other
     * language), 3 has two */
    CHECK_NEAR(r.at[TEXT_TO_IMAGE][0].chance, (1.0 / 3 + 1.0 / 3 + 2.0 / 3 + 2.0 / 3) / 4, 1e-9);
}

TEST(a_constant_model_is_not_above_chance)
{
    struct error err = {0};
    struct retrieval r;
    uint16_t language = 0;
    float same_images[9], texts[12];
    for (int i = 0; i < 9; i++) same_images[i] = 1;
    for (int i = 0; i < 12; i++) texts[i] = 1;
    CHECK_OK(retrieval_judge(&set, is_language, &language, same_images, texts, 3, 1, &r, &err),
             &err);
    CHECK(r.at[TEXT_TO_IMAGE][0].value <= r.at[TEXT_TO_IMAGE][0].chance);
    CHECK(r.at[IMAGE_TO_TEXT][0].value <= r.at[IMAGE_TO_TEXT][0].chance);
}

TEST(a_wrong_model_is_wrong_and_recall_never_exceeds_one)
{
    struct error err = {0};
    struct retrieval r;
    uint16_t language = 0;
    float texts[] = {0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1};
    CHECK_OK(retrieval_judge(&set, is_language, &language, images, texts, 3, 1, &r, &err), &err);
    CHECK_NEAR(r.at[TEXT_TO_IMAGE][0].value, 0, 0);
    CHECK_NEAR(r.at[TEXT_TO_IMAGE][1].value, 1, 0); /* top 5 of 3 */
    CHECK_NEAR(r.at[TEXT_TO_IMAGE][1].chance, 1, 0);
}

TEST(an_empty_group_is_no_error)
{
    struct error err = {0};
    struct retrieval r;
    uint16_t language = 9;
    CHECK_OK(retrieval_judge(&set, is_language, &language, images, images, 3, 1, &r, &err), &err);
    CHECK_EQ(r.n_images, 0);
}

TEST_MAIN
