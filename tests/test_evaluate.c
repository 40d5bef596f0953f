/* The whole judgement on a tiny cache: what is judged against what, and that records without
 * features are left out and counted.
 *
 * covers: evalset latency prompts
 */
#include "train/evaluate.h"

#include "featurize/model.h"
#include "tests/check.h"
#include "tests/traincache.h"
#include "train/distill.h"
#include "train/latency.h"
#include "train/prompts.h"

static struct traincache cache;
static char student[120];

static void __attribute__((constructor)) set_up(void)
{
    traincache_make(&cache);
    snprintf(student, sizeof student, "%s/student", cache.folder);
}

static void __attribute__((destructor)) tear_down(void)
{
    traincache_remove(&cache);
}

/* A student of a few steps: what it scores does not matter here. */
static int make_student(struct error *err)
{
    struct distill_options o = distill_options_default();
    struct distill_result r = {0};
    o.cache = cache.cache;
    o.out = student;
    o.image_arch = "vit:width=24,layers=2,heads=2,mlp=48,patch=16,size=32";
    o.text_arch = "text:width=24,layers=2,heads=2,mlp=48,embed=12,tokens=24";
    o.max_steps = 3;
    int rc = distill_run(&o, NULL, &r, err);
    json_free(r.summary);
    return rc;
}

static int n_rows(const struct json *answer, const char *system, const char *task)
{
    const struct json *rows = json_get(answer, "rows");
    int n = 0;
    for (size_t i = 0; i < json_size(rows); i++)
        n += !strcmp(json_text(json_get(json_at(rows, i), "system"), ""), system) &&
             !strcmp(json_text(json_get(json_at(rows, i), "task"), ""), task);
    return n;
}

TEST(teacher_student_and_crossed_systems_are_judged)
{
    struct error err = {0};
    struct json *answer = NULL;
    const char *models[] = {student};
    char out[160], in[160];
    struct evaluate_options o = evaluate_options_default();
    CHECK_OK(make_student(&err), &err);
    o.cache = cache.cache;
    o.models = models;
    o.n_models = 1;
    o.split = SPLIT_VAL;
    o.knn = 3;
    CHECK_OK(evaluate_run(&o, NULL, &answer, &err), &err);
    snprintf(out, sizeof out, "%s > teacher", student);
    snprintf(in, sizeof in, "teacher > %s", student);
    /* three languages, seven metrics each */
    CHECK_EQ(n_rows(answer, "teacher", "retrieval"), 21);
    CHECK_EQ(n_rows(answer, student, "retrieval"), 21);
    CHECK_EQ(n_rows(answer, out, "retrieval"), 21);
    CHECK_EQ(n_rows(answer, in, "retrieval"), 21);
    CHECK_EQ(n_rows(answer, "teacher", "knn"), 1);
    CHECK_EQ(n_rows(answer, student, "knn"), 1);
    CHECK_EQ(json_int(json_get(answer, "n_images"), 0), TC_IMAGES - TC_TRAIN);
    CHECK_EQ(json_int(json_get(answer, "n_left_out"), -1), 0);
    const struct json *row = json_at(json_get(answer, "rows"), 0);
    CHECK(json_number(json_get(row, "low"), 9) <= json_number(json_get(row, "value"), -1));
    CHECK(json_number(json_get(row, "high"), -1) >= json_number(json_get(row, "value"), 9));
    CHECK(json_number(json_get(row, "chance"), 0) > 0);
    json_free(answer);
}

TEST(the_same_judgement_gives_the_same_numbers)
{
    struct error err = {0};
    struct json *a = NULL, *b = NULL;
    const char *models[] = {student};
    struct evaluate_options o = evaluate_options_default();
    o.cache = cache.cache;
    o.models = models;
    o.n_models = 1;
    o.split = SPLIT_VAL;
    o.by_source = true;
    CHECK_OK(evaluate_run(&o, NULL, &a, &err), &err);
    CHECK_OK(evaluate_run(&o, NULL, &b, &err), &err);
    CHECK(json_same(a, b));
    json_free(a);
    json_free(b);
}

TEST(a_split_without_pairs_and_knn_without_labels_are_named)
{
    struct error err = {0};
    struct json *answer = NULL;
    struct evaluate_options o = evaluate_options_default();
    o.cache = cache.cache;
    o.split = SPLIT_TEST;
    CHECK_EQ(evaluate_run(&o, NULL, &answer, &err), ERR_DATA);
    CHECK_HAS(err.text, "split");
    o.split = SPLIT_VAL;
    o.image_set = "text.final";
    CHECK_EQ(evaluate_run(&o, NULL, &answer, &err), ERR_USAGE);
    o.image_set = "no.such.set";
    CHECK_EQ(evaluate_run(&o, NULL, &answer, &err), ERR_NOT_FOUND);
}

TEST(pairs_without_features_are_left_out_and_counted)
{
    struct error err = {0};
    struct json *answer = NULL;
    struct evaluate_options o = evaluate_options_default();
    traincache_add_pair(&cache, 0, "a caption that came after the features");
    o.cache = cache.cache;
    o.split = SPLIT_TRAIN;
    CHECK_OK(evaluate_run(&o, NULL, &answer, &err), &err);
    CHECK_EQ(json_int(json_get(answer, "n_left_out"), 0), 1);
    json_free(answer);
}

TEST(a_corpus_without_class_list_has_no_prompts)
{
    struct error err = {0};
    struct corpus *c = NULL;
    struct prompts p;
    CHECK_OK(corpus_open(&c, cache.cache, CORPUS_READ, &err), &err);
    CHECK_OK(prompts_open(&p, c, &err), &err);
    CHECK_EQ(p.n, 0);
    prompts_release(&p);
    corpus_close(c);
}

TEST(a_class_list_becomes_prompts_and_a_lost_one_is_named)
{
    struct error err = {0};
    struct corpus *c = NULL;
    struct prompts p;
    static const char list[] =
        "{\"classes\": {\"class 0\": {\"en\": \"zero\"}, \"class 1\": {\"en\": \"one\"}}, "
        "\"templates\": {\"en\": [\"a {}\", \"the {}\"]}}";
    static const char *const texts[] = {"a zero", "the zero", "a one", "the one"};
    bool is_new;
    uint32_t number;
    CHECK_OK(corpus_open(&c, cache.cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_set_classes(c, list, &err), &err);
    for (int i = 0; i < 3; i++)
        CHECK_OK(corpus_add_caption(c, texts[i], strlen(texts[i]), &number, &is_new, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
    CHECK_EQ(prompts_open(&p, c, &err), ERR_CORRUPT);
    CHECK_HAS(err.text, "the one");
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_add_caption(c, texts[3], strlen(texts[3]), &number, &is_new, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
    CHECK_OK(prompts_open(&p, c, &err), &err);
    CHECK_EQ(p.n, 4);
    CHECK_EQ(p.n_classes, 2);
    CHECK_EQ(prompts_class(&p, "class 1"), 1);
    CHECK_EQ(prompts_class(&p, "class 7"), -1);
    CHECK_EQ(p.class_of[3], 1);
    prompts_release(&p);
    corpus_close(c);
}

TEST(latency_has_times_memory_and_size)
{
    struct error err = {0};
    struct latency l;
    const char *texts[] = {"a red flower"};
    CHECK_OK(latency_measure(student, NUMERICS_F32, 20, texts, 1, &l, &err), &err);
    CHECK(l.image.p50_ms > 0 && l.image.p95_ms >= l.image.p50_ms);
    CHECK(l.text.p50_ms > 0 && l.text.n == 20);
    CHECK(l.disk_bytes > 10000 && l.peak_bytes > l.disk_bytes);
    CHECK(l.n_image_parameters > 1000 && l.n_text_parameters > 1000);
    CHECK_EQ(latency_measure("no/such/folder", NUMERICS_F32, 20, texts, 1, &l, &err),
             ERR_NOT_FOUND);
    CHECK_HAS(err.text, "no/such/folder");
}

TEST_MAIN
