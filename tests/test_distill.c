/* Stage 1 end to end on a tiny cache: the loss falls, and a killed, stopped or differently threaded
 * run gives the same bytes.
 *
 * covers: run setup teacher
 */
#include <omp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "featurize/model.h"
#include "tests/check.h"
#include "tests/traincache.h"
#include "train/distill.h"

static struct traincache cache;

static void __attribute__((constructor)) set_up(void)
{
    traincache_make(&cache);
}

static pid_t owner;
static void __attribute__((constructor)) remember(void)
{
    owner = getpid();
}

static void __attribute__((destructor)) tear_down(void)
{
    if (getpid() == owner) traincache_remove(&cache);
}

static struct distill_options options(const char *out)
{
    struct distill_options o = distill_options_default();
    o.cache = cache.cache;
    o.out = out;
    o.image_arch = "vit:width=24,layers=2,heads=2,mlp=48,patch=16,size=32";
    o.text_arch = "text:width=24,layers=2,heads=2,mlp=48,embed=12,tokens=24";
    o.epochs_image = 6;
    o.epochs_text = 8;
    o.batch_image = 9;
    o.batch_text = 20;
    o.lr_image = o.lr_text = 5e-3;
    o.checkpoint_every = 2;
    return o;
}

static int run(const struct distill_options *o, const struct report *report, bool *was_done,
               struct error *err)
{
    struct distill_result r;
    int rc = distill_run(o, report, &r, err);
    if (was_done) *was_done = r.was_done;
    json_free(r.summary);
    return rc;
}

/* The uninterrupted run that others are compared with, made once. */
static const char *whole(void)
{
    struct error err = {0};
    struct distill_options o = options(tc_path(&cache, "whole"));
    if (!file_exists(tc_path(&cache, "whole/run.json")) && run(&o, NULL, NULL, &err) < 0)
        tc_die("the whole run", &err);
    return tc_path(&cache, "whole");
}

TEST(losses_fall_and_the_student_loads)
{
    struct error err = {0};
    const char *out = tc_path(&cache, "whole");
    struct distill_options o = options(out);
    bool done;
    CHECK_OK(run(&o, NULL, &done, &err), &err);
    CHECK(!done);
    const char *const keys[][2] = {{"image", "loss_image.final"},
                                   {"image", "loss_image.block1@2x2"},
                                   {"text", "loss_text.final"},
                                   {"text", "loss_text.block1.mean"}};
    for (int i = 0; i < 4; i++) {
        double first, last;
        tc_curve_ends(out, keys[i][0], keys[i][1], &first, &last);
        CHECK(last < 0.9 * first);
    }
    double first, last;
    tc_curve_ends(out, "text", "val_cosine", &first, &last);
    CHECK(last > first && last > 0.5);
    struct model *m;
    CHECK_OK(model_open(&m, out, MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK(m->is_student);
    CHECK_EQ(m->projection_dim, TC_DIM);
    CHECK_EQ(preprocess_side(&m->preprocess), 32);
    CHECK_NEAR(m->logit_scale, 20, 1e-4);
    CHECK(tokenizer_vocab(m->tokenizer) < 2002); /* really pruned */
    CHECK_STR(json_text(json_get(json_get(json_get(m->config, "clipstill"), "space"), "image"), ""),
              "tiny image");
    model_free(m);
    CHECK_OK(run(&o, NULL, &done, &err), &err);
    CHECK(done);
    o.lr_image = 4e-3;
    CHECK_EQ(run(&o, NULL, NULL, &err), ERR_EXISTS);
    CHECK_HAS(err.text, "lr_image");
}

TEST(threads_do_not_matter)
{
    struct error err = {0};
    struct distill_options o = options(tc_path(&cache, "threads1"));
    o.epochs_image = o.epochs_text = 2;
    o.image_arch = "mobilevit-xxs:size=32";
    for (int threads = 1; threads <= 3; threads++) {
        char name[16];
        snprintf(name, sizeof name, "threads%d", threads);
        o.out = tc_path(&cache, name);
        omp_set_num_threads(threads);
        CHECK_OK(run(&o, NULL, NULL, &err), &err);
    }
    omp_set_num_threads(2);
    CHECK(tc_same_file(tc_path(&cache, "threads1"), tc_path(&cache, "threads2"),
                       "model.safetensors"));
    CHECK(tc_same_file(tc_path(&cache, "threads1"), tc_path(&cache, "threads3"),
                       "model.safetensors"));
}

static int stop_after;
static bool stopped(void *context)
{
    (void)context;
    return stop_after-- <= 0;
}

/* Stopped by a signal again and again: a checkpoint each time, then the same bytes. */
TEST(stopped_runs_go_on)
{
    struct error err = {0};
    struct report report = {.stopped = stopped};
    struct distill_options o = options(tc_path(&cache, "stopped"));
    int rc = ERR_STOPPED, n = 0;
    for (; rc == ERR_STOPPED && n < 100; n++) {
        stop_after = 3 + n % 3;
        rc = run(&o, &report, NULL, &err);
    }
    CHECK_OK(rc, &err);
    CHECK(n > 3);
    CHECK(tc_same_file(whole(), o.out, "model.safetensors"));
    CHECK(tc_same_file(whole(), o.out, "curve.jsonl"));
    CHECK(tc_same_file(whole(), o.out, "run.json"));
}

static int die_at;
static void die(void *context, const char *what, uint64_t step, uint64_t total, uint64_t a,
                uint64_t b)
{
    (void)context, (void)what, (void)step, (void)total, (void)a, (void)b;
    if (--die_at == 0) raise(SIGKILL);
}

/* kill -9 after any step, also between checkpoints. */
TEST(killed_runs_go_on)
{
    struct error err = {0};
    struct distill_options o = options(tc_path(&cache, "killed"));
    int n_killed = 0;
    for (int k = 0; k < 30; k++) {
        pid_t child = fork();
        if (child == 0) {
            struct report report = {.progress = die};
            omp_set_num_threads(1); /* the parent's OpenMP pool is not there after fork */
            die_at = 5;
            _exit(run(&o, &report, NULL, &err) < 0);
        }
        int status;
        waitpid(child, &status, 0);
        if (WIFEXITED(status)) {
            CHECK_EQ(WEXITSTATUS(status), 0);
            break;
        }
        n_killed++;
    }
    CHECK(n_killed > 1);
    CHECK(tc_same_file(whole(), o.out, "model.safetensors"));
    CHECK(tc_same_file(whole(), o.out, "curve.jsonl"));
}

TEST(a_diverged_run_fails_by_name)
{
    struct error err = {0};
    struct distill_options o = options(tc_path(&cache, "diverged"));
    o.lr_image = 1e30;
    o.optimiser.clip = 0;
    o.optimiser.warmup = 0;
    CHECK_EQ(run(&o, NULL, NULL, &err), ERR_DIVERGED);
    CHECK_HAS(err.text, "step");
}

TEST(the_label_baseline_learns_labels)
{
    struct error err = {0};
    struct distill_options o = options(tc_path(&cache, "label"));
    o.loss = DISTILL_LABEL;
    o.epochs_image = 12;
    CHECK_OK(run(&o, NULL, NULL, &err), &err);
    double first, last;
    tc_curve_ends(o.out, "image", "loss_label", &first, &last);
    CHECK(last < 0.9 * first);
    struct model *m;
    CHECK_OK(model_open(&m, o.out, MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK(m->image && !m->text);
    model_free(m);
}

TEST(labels_help_beside_features)
{
    struct error err = {0};
    struct distill_options o = options(tc_path(&cache, "both"));
    double first, last;
    o.weight_label = 0.5;
    o.epochs_image = 12;
    CHECK_OK(run(&o, NULL, NULL, &err), &err);
    tc_curve_ends(o.out, "image", "loss_label", &first, &last);
    CHECK(last < 0.95 * first);
    tc_curve_ends(o.out, "image", "loss_image.final", &first, &last);
    CHECK(last < 0.95 * first);
    tc_curve_ends(o.out, "text", "loss_text.final", &first, &last);
    CHECK(last < first); /* the text tower learns from features alone */
}

TEST(a_student_of_another_teacher_is_refused)
{
    struct error err = {0};
    struct distill_options o = options(tc_path(&cache, "other"));
    o.image_arch = o.text_arch = NULL;
    o.init = whole();
    o.epochs_image = o.epochs_text = 1;
    CHECK_OK(run(&o, NULL, NULL, &err), &err);
    /* The same student, said to be of another space. */
    char name[200], *bytes;
    size_t n;
    snprintf(name, sizeof name, "%s/config.json", o.init);
    CHECK_OK(file_read(name, 1 << 20, &bytes, &n, &err), &err);
    char *at = strstr(bytes, "tiny image");
    CHECK(at != NULL);
    if (at) memcpy(at, "TINY", 4);
    CHECK_OK(file_write(name, bytes, n, &err), &err);
    memory_free(bytes);
    o.out = tc_path(&cache, "other2");
    CHECK_EQ(run(&o, NULL, NULL, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "another teacher");
}

TEST_MAIN
