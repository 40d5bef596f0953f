/* Stage 2 end to end on a tiny cache: the loss falls, masks matter, frozen towers stay, features
 * stand for pictures, runs go on.
 *
 * covers: vocabtrain
 */
#include <omp.h>
#include <unistd.h>

#include "featurize/model.h"
#include "tests/check.h"
#include "tests/traincache.h"
#include "train/align.h"
#include "train/loss.h"

static struct traincache cache;

static void __attribute__((constructor)) set_up(void)
{
    traincache_make(&cache);
}

static void __attribute__((destructor)) tear_down(void)
{
    traincache_remove(&cache);
}

static struct align_options options(const char *out)
{
    struct align_options o = align_options_default();
    o.cache = cache.cache;
    o.out = out;
    o.image_arch = "vit:width=24,layers=1,heads=2,mlp=48,patch=16,size=32";
    o.text_arch = "text:width=24,layers=1,heads=2,mlp=48,embed=12,tokens=24";
    o.epochs = 4;
    o.batch = 20;
    o.lr = 5e-3;
    o.checkpoint_every = 3;
    return o;
}

static int run(const struct align_options *o, const struct report *report, struct error *err)
{
    struct align_result r;
    int rc = align_run(o, report, &r, err);
    json_free(r.summary);
    return rc;
}

static const char *whole(void)
{
    struct error err = {0};
    struct align_options o = options(tc_path(&cache, "whole"));
    if (!file_exists(tc_path(&cache, "whole/run.json")) && run(&o, NULL, &err) < 0)
        tc_die("the whole run", &err);
    return tc_path(&cache, "whole");
}

TEST(losses_fall_and_the_student_loads)
{
    struct error err = {0};
    const char *const keys[] = {"loss_contrast", "loss_keep_image", "loss_keep_text"};
    for (int i = 0; i < 3; i++) {
        double first, last;
        tc_curve_ends(whole(), "align", keys[i], &first, &last);
        CHECK(last < 0.95 * first);
    }
    struct model *m;
    CHECK_OK(model_open(&m, whole(), MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK(m->image && m->text);
    CHECK(m->logit_scale > 0 &&
          fabs(m->logit_scale - 20) > 1e-3); /* starts at the teacher's, and is learned */
    CHECK_NEAR(m->logit_scale, 20, 5);
    model_free(m);
}

TEST(threads_do_not_matter)
{
    struct error err = {0};
    whole();
    struct align_options o = options(tc_path(&cache, "threads"));
    omp_set_num_threads(3);
    CHECK_OK(run(&o, NULL, &err), &err);
    omp_set_num_threads(2);
    CHECK(tc_same_file(whole(), o.out, "model.safetensors"));
}

static int stop_after;
static bool stopped(void *context)
{
    (void)context;
    return stop_after-- <= 0;
}

TEST(stopped_runs_go_on)
{
    struct error err = {0};
    struct report report = {.stopped = stopped};
    struct align_options o = options(tc_path(&cache, "stopped"));
    stop_after = 4;
    CHECK_EQ(run(&o, &report, &err), ERR_STOPPED);
    CHECK_HAS(err.text, "step 4");
    CHECK_OK(run(&o, NULL, &err), &err);
    CHECK(tc_same_file(whole(), o.out, "model.safetensors"));
    CHECK(tc_same_file(whole(), o.out, "curve.jsonl"));
    o.weight_keep = 0.5;
    CHECK_EQ(run(&o, NULL, &err), ERR_EXISTS);
    CHECK_HAS(err.text, "weight_keep");
}

/* Similarity distillation and the keep term each change what is learned; without text features they
 * cannot act. */
TEST(every_term_acts)
{
    struct error err = {0};
    struct align_options o = options(tc_path(&cache, "similar"));
    o.weight_similarity = 1;
    CHECK_OK(run(&o, NULL, &err), &err);
    CHECK(!tc_same_file(whole(), o.out, "model.safetensors"));
    double first, last;
    tc_curve_ends(o.out, "align", "loss_similarity", &first, &last);
    CHECK(last < first);
    o = options(tc_path(&cache, "multi"));
    o.multi_positive = true;
    CHECK_OK(run(&o, NULL, &err), &err);
    CHECK(!tc_same_file(whole(), o.out, "model.safetensors"));
}

static bool same_tower(const struct tower *a, const struct tower *b)
{
    return a->params.n_floats == b->params.n_floats &&
           !memcmp(a->params.w, b->params.w, a->params.n_floats * sizeof(float));
}

TEST(a_frozen_tower_stays)
{
    struct error err = {0};
    struct align_options o = options(tc_path(&cache, "frozen"));
    o.image_arch = o.text_arch = NULL;
    o.init = whole();
    o.freeze_image = true;
    CHECK_OK(run(&o, NULL, &err), &err);
    struct model *a, *b;
    CHECK_OK(model_open(&a, whole(), MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK_OK(model_open(&b, o.out, MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK(same_tower(a->image, b->image));
    CHECK(!same_tower(a->text, b->text));
    model_free(a);
    model_free(b);
}

/* A text student alone against cached image features, with a vocabulary trained on the captions. */
TEST(features_stand_for_pictures)
{
    struct error err = {0};
    struct align_options o = options(tc_path(&cache, "text"));
    char name[160], moved[160];
    snprintf(name, sizeof name, "%s/features/text.final", cache.cache);
    snprintf(moved, sizeof moved, "%s/moved1", cache.folder);
    CHECK_EQ(rename(name, moved), 0);
    snprintf(name, sizeof name, "%s/features/text.block1.mean", cache.cache);
    char moved2[160];
    snprintf(moved2, sizeof moved2, "%s/moved2", cache.folder);
    CHECK_EQ(rename(name, moved2), 0);
    o.image_arch = NULL;
    o.freeze_image_set = "image.final";
    o.vocab_size = 200;
    o.weight_similarity = 0.5; /* without texts of the teacher: its pictures guide the captions */
    int rc = run(&o, NULL, &err);
    CHECK_EQ(rename(moved2, name), 0);
    snprintf(name, sizeof name, "%s/features/text.final", cache.cache);
    CHECK_EQ(rename(moved, name), 0);
    CHECK_OK(rc, &err);
    double first, last;
    tc_curve_ends(o.out, "align", "loss_contrast", &first, &last);
    CHECK(last < 0.95 * first);
    tc_curve_ends(o.out, "align", "loss_similarity", &first, &last);
    CHECK(first > 0 && last < first);
    struct model *m;
    CHECK_OK(model_open(&m, o.out, MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK(!m->image && m->text);
    int vocab = tokenizer_vocab(m->tokenizer);
    CHECK(vocab > 40 && vocab <= 202);
    model_free(m);
}

TEST(what_cannot_work_is_refused)
{
    struct error err = {0};
    struct align_options o = options(tc_path(&cache, "refused"));
    o.freeze_image = o.freeze_text = true;
    CHECK_EQ(run(&o, NULL, &err), ERR_USAGE);
    o = options(tc_path(&cache, "refused"));
    o.freeze_image_set = "image.nothing";
    CHECK_EQ(run(&o, NULL, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "image.nothing");
    o = options(tc_path(&cache, "refused"));
    o.init = tc_path(&cache, "nowhere");
    CHECK(run(&o, NULL, &err) < 0);
    o = options(tc_path(&cache, "refused"));
    o.init = whole();
    o.image_arch = "vit:width=24,layers=2,heads=2,mlp=48,patch=16,size=32";
    CHECK_EQ(run(&o, NULL, &err), ERR_USAGE); /* another architecture beside --init */
}

TEST_MAIN
