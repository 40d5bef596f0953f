/* Initial students out of a teacher's weights: whole, pruned, halved, resampled, factorised.
 *
 * covers: inherit vocabulary
 */
#include <unistd.h>

#include "featurize/model.h"
#include "tests/check.h"
#include "tests/traincache.h"
#include "train/shrink.h"

#define TEACHER "tests/golden/altclip-tiny/model"

static struct traincache cache;

static void __attribute__((constructor)) set_up(void)
{
    traincache_make(&cache);
}

static void __attribute__((destructor)) tear_down(void)
{
    traincache_remove(&cache);
}

enum { N = 4 };
static const char *const texts[N] = {"A red flower number 3 on a white wall",
                                     "Bild 5 mit einer roten Blume", "一张红色的照片 2",
                                     "A red flower number 11 on a white wall"};

/* Embeddings of random pictures at the model's side and of the texts. // (N, dim) */
static int embed(const char *dir, int *dim, float **image, float **text, struct error *err)
{
    struct model *m = NULL;
    uint8_t *pixels = NULL;
    size_t lengths[N];
    int rc = model_open(&m, dir, MODEL_IMAGE | MODEL_TEXT, err);
    if (rc < 0) return rc;
    *dim = m->projection_dim;
    size_t side = (size_t)m->image->config.image_size, n = N * side * side * 3;
    pixels = memory_array(n, 1, MEMORY_MAX_TENSOR, err);
    *image = memory_array(N, (uint64_t)*dim * sizeof(float), MEMORY_MAX_TENSOR, err);
    *text = memory_array(N, (uint64_t)*dim * sizeof(float), MEMORY_MAX_TENSOR, err);
    for (size_t i = 0; i < n; i++) /* coarse blocks, so that another side sees nearly the same */
        pixels[i] = (uint8_t)random_bits(9, i / (side * side * 3),
                                         (i / (side * 3) % side) * 4 / side * 12 +
                                             (i / 3 % side) * 4 / side * 3 + i % 3);
    for (int i = 0; i < N; i++) lengths[i] = strlen(texts[i]);
    rc = model_embed_pixels(m, NUMERICS_F32, N, pixels, *image, NULL, err);
    if (rc == 0) rc = model_embed_texts(m, NUMERICS_F32, N, texts, lengths, *text, NULL, err);
    memory_free(pixels);
    model_free(m);
    return rc;
}

static double least_cosine(int dim, const float *a, const float *b)
{
    double least = 1;
    for (int i = 0; i < N; i++) {
        double dot = 0;
        for (int j = 0; j < dim; j++) dot += (double)a[i * dim + j] * b[i * dim + j];
        if (dot < least) least = dot;
    }
    return least;
}

/* Shrinks and gives the least cosine of the student's embeddings to the teacher's. */
static int shrink(struct shrink_options *o, const char *name, double *image, double *text,
                  struct json **summary, struct error *err)
{
    char out[120];
    struct shrink_result r;
    int dim, other;
    float *a[2] = {0}, *b[2] = {0};
    snprintf(out, sizeof out, "%s/%s", cache.folder, name);
    o->teacher = TEACHER;
    o->out = out;
    int rc = shrink_run(o, NULL, &r, err);
    if (rc == 0) rc = embed(TEACHER, &dim, &a[0], &a[1], err);
    if (rc == 0) rc = embed(out, &other, &b[0], &b[1], err);
    if (rc == 0) {
        CHECK_EQ(dim, other);
        *image = least_cosine(dim, a[0], b[0]);
        *text = least_cosine(dim, a[1], b[1]);
    }
    for (int i = 0; i < 2; i++) {
        memory_free(a[i]);
        memory_free(b[i]);
    }
    if (summary)
        *summary = r.summary;
    else
        json_free(r.summary);
    return rc;
}

TEST(a_whole_student_is_the_teacher)
{
    struct error err = {0};
    struct shrink_options o = {0};
    double image, text;
    CHECK_OK(shrink(&o, "whole", &image, &text, NULL, &err), &err);
    CHECK(image > 0.99999);
    CHECK(text > 0.99999);
    CHECK_EQ(shrink(&o, "whole", &image, &text, NULL, &err), ERR_EXISTS);
}

/* The pruned vocabulary holds every piece of the train text: its embeddings stay. */
TEST(a_pruned_vocabulary_changes_no_train_text)
{
    struct error err = {0};
    struct shrink_options o = {.cache = cache.cache};
    struct json *summary;
    double image, text;
    CHECK_OK(shrink(&o, "pruned", &image, &text, &summary, &err), &err);
    CHECK(text > 0.99999);
    CHECK(json_int(json_get(summary, "vocabulary"), 0) <
          json_int(json_get(summary, "teacher_vocabulary"), 0));
    json_free(summary);
}

TEST(half_a_student_runs_and_is_smaller)
{
    struct error err = {0};
    struct shrink_options o = {.image_arch = "vit:layers=1,width=32,heads=4",
                               .text_arch = "text:layers=1,width=32,heads=4"};
    struct json *summary;
    double image, text;
    CHECK_OK(shrink(&o, "half", &image, &text, &summary, &err), &err);
    CHECK(isfinite(image) && isfinite(text));
    CHECK(json_int(json_get(summary, "text_parameters"), 0) <
          json_int(json_get(summary, "teacher_text_parameters"), 0));
    CHECK(json_int(json_get(summary, "image_parameters"), 0) <
          json_int(json_get(summary, "teacher_image_parameters"), 0));
    json_free(summary);
}

/* A rank one below the width loses next to nothing, a low rank much. The teacher's rows are random:
 * their axes all weigh alike. */
TEST(a_factorised_embedding_approximates)
{
    struct error err = {0};
    double image, high, low;
    struct shrink_options o = {.cache = cache.cache, .text_arch = "text:embed=47"};
    CHECK_OK(shrink(&o, "rank-high", &image, &high, NULL, &err), &err);
    CHECK_NEAR(high, 1, 0.02);
    o.text_arch = "text:embed=8";
    CHECK_OK(shrink(&o, "rank-low", &image, &low, NULL, &err), &err);
    CHECK(low < high - 0.01);
}

TEST(another_picture_side_resamples_positions)
{
    struct error err = {0};
    struct model *m;
    CHECK_OK(model_open(&m, TEACHER, MODEL_IMAGE, &err), &err);
    char arch[60];
    snprintf(arch, sizeof arch, "vit:size=%d", 2 * m->image->config.image_size);
    model_free(m);
    struct shrink_options o = {.image_arch = arch};
    double image, text;
    CHECK_OK(shrink(&o, "side", &image, &text, NULL, &err), &err);
    CHECK(image > 0.5); /* the same pictures at twice the side: near, not equal */
    CHECK(text > 0.99999);
}

TEST(a_larger_student_is_refused)
{
    struct error err = {0};
    struct shrink_options o = {.text_arch = "text:layers=40"};
    double image, text;
    CHECK_EQ(shrink(&o, "larger", &image, &text, NULL, &err), ERR_USAGE);
    CHECK_HAS(err.text, "layers");
}

TEST(a_mobilevit_starts_at_random)
{
    struct error err = {0};
    struct shrink_options o = {.image_arch = "mobilevit-xxs:size=64"};
    double image, text;
    CHECK_OK(shrink(&o, "mobile", &image, &text, NULL, &err), &err);
    CHECK(isfinite(image));
    CHECK(text > 0.99999);
}

TEST_MAIN
