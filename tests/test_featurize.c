/* The featurise stage end to end on the golden teacher: right vectors, resume, kill -9, threads,
 * and refusals by name.
 *
 * covers: imagepass textpass tapset roll survey featureset_numerics
 */
#include <omp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "featurize/featurize.h"
#include "featurize/model.h"
#include "ingest/picture.h"
#include "store/corpus.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/npy.h"
#include "tests/corpuskit.h"
#include "tests/scratch.h"

static const char teacher[] = "tests/golden/altclip-tiny/model";

/* The golden pictures and captions from..to. */
static void fill(const char *cache, int from, int to)
{
    struct error err = {0};
    struct corpus *c;
    struct json *j = json_read_file("tests/golden/altclip-tiny/tokens.json", 1 << 24, &err);
    check_must(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    check_must(corpus_begin(c, &err), &err);
    for (int i = from; i < to && i < 6; i++) kit_add_golden(c, i);
    for (int i = from; i < to; i++) {
        const char *text = json_text(json_get(json_at(json_get(j, "captions"), (size_t)i), "text"),
                                     NULL);
        uint32_t number;
        bool is_new;
        if (text)
            check_must(corpus_add_caption(c, text, strlen(text), &number, &is_new, &err), &err);
    }
    check_must(corpus_commit(c, &err), &err);
    corpus_close(c);
    json_free(j);
}

static const char *new_cache(const char *name)
{
    const char *cache = scratch_here(name);
    fill(cache, 0, 12);
    return cache;
}

static int run(const char *cache, const struct featurize_options *o, struct featurize_result *r,
               struct error *err)
{
    int rc = featurize_run(cache, o, NULL, r, err);
    return rc;
}

static struct featurize_options options(void)
{
    struct featurize_options o = featurize_defaults();
    o.teacher = teacher;
    o.numerics = FEATURIZE_F32;
    return o;
}

static const char *const many[] = {"image.final", "image.block2@2x2", "text.final",
                                   "text.block3.mean", "image.block1.mean"};

static struct featurize_options many_options(uint32_t n_views)
{
    struct featurize_options o = options();
    o.taps = many;
    o.n_taps = 5;
    o.n_views = n_views;
    return o;
}

struct keys {
    struct corpus *c;
    struct digest *d; /* of what is dumped */
    bool is_text;
};

static int emit(void *context, const char *line)
{
    struct keys *k = context;
    digest_add(k->d, line, strlen(line));
    digest_add(k->d, "\n", 1);
    return 0;
}

static bool key_of(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    struct keys *k = context;
    struct corpus_image image;
    const char *text;
    size_t n;
    if (k->is_text) return corpus_caption_text(k->c, number, &text, &n, key, NULL) == 0;
    if (corpus_get_image(k->c, number, &image, NULL) < 0) return false;
    memcpy(key, image.key, DIGEST_BYTES);
    return true;
}

/* The digest of the dump of all sets. */
static void dump(const char *cache, char hex[DIGEST_HEX])
{
    struct error err = {0};
    char **names;
    size_t n;
    uint8_t digest[DIGEST_BYTES];
    struct keys keys = {0};
    check_must(corpus_open(&keys.c, cache, CORPUS_READ, &err), &err);
    check_must(featureset_list(cache, &names, &n, &err), &err);
    keys.d = digest_new(&err);
    for (size_t i = 0; i < n; i++) {
        struct featureset *fs;
        check_must(featureset_open(&fs, cache, names[i], FEATURESET_READ, &err), &err);
        keys.is_text = featureset_spec(fs)->tower == TOWER_TEXT;
        check_must(featureset_dump(fs, key_of, emit, &keys, &err), &err);
        featureset_close(fs);
    }
    digest_finish(keys.d, digest);
    digest_to_hex(digest, hex);
    memory_free(names);
    corpus_close(keys.c);
}

static void check_set(const char *cache, const char *name, const char *golden, bool is_text)
{
    struct error err = {0};
    struct featureset *fs;
    struct npy a;
    struct keys keys = {.is_text = is_text};
    CHECK_OK(corpus_open(&keys.c, cache, CORPUS_READ, &err), &err);
    CHECK_OK(featureset_open(&fs, cache, name, FEATURESET_READ, &err), &err);
    CHECK_OK(npy_open(golden, &a, &err), &err);
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    CHECK_EQ(featureset_n_vectors(fs, 0), a.n_rows);
    for (uint32_t i = 0; i < a.n_rows; i++) {
        float unit[64], norm, want[64];
        uint8_t key[DIGEST_BYTES];
        double worst = 0;
        CHECK(key_of(&keys, i, key));
        CHECK_OK(featureset_get(cur, 0, i, key, unit, &norm, &err), &err);
        npy_row_f32(&a, i, want);
        for (uint64_t k = 0; k < a.n_cols; k++)
            worst = fmax(worst, fabs((double)unit[k] * norm - want[k]));
        CHECK_NEAR(worst, 0, 1e-4);
    }
    featureset_cursor_free(cur);
    featureset_close(fs);
    npy_close(&a);
    corpus_close(keys.c);
}

TEST(vectors_equal_hugging_face)
{
    struct error err = {0};
    struct featurize_options o = options();
    struct featurize_result r;
    const char *cache = new_cache("golden");
    o.store = "f32";
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(r.n_sets, 2);
    CHECK_EQ(r.n_computed, 18);
    CHECK_EQ(r.n_hits, 0);
    CHECK_STR(r.sets[0].name, "image.final");
    CHECK_EQ(r.sets[1].n_computed, 12);
    CHECK(r.sets[1].is_new && r.sets[1].stored_bytes > 0);
    CHECK_EQ(r.sets[1].as_f32_bytes, 12 * 40 * 4);
    CHECK_STR(r.numerics, "f32");
    featurize_result_release(&r);
    check_set(cache, "image.final", "tests/golden/altclip-tiny/expected/image_embeds_raw.npy",
              false);
    check_set(cache, "text.final", "tests/golden/altclip-tiny/expected/text_embeds_raw.npy", true);
}

TEST(what_training_needs_is_kept)
{
    struct error err = {0};
    struct featurize_options o = many_options(1);
    struct featurize_result r;
    const char *cache = new_cache("replay");
    o.max_tokens = 20;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    featurize_result_release(&r);
    struct featureset *fs;
    CHECK_OK(featureset_open(&fs, cache, "image.block2@2x2", FEATURESET_READ, &err), &err);
    const struct featureset_spec *s = featureset_spec(fs);
    CHECK_EQ(s->dim, 4 * 64);
    CHECK_EQ(s->grid, 2);
    CHECK_EQ(s->storage, STORAGE_Q);
    CHECK_NEAR(s->epsilon, 1e-3, 1e-9);
    CHECK_STR(s->tap, "image.block2@2x2");
    CHECK_EQ(json_int(json_get(s->replay, "blocks"), 0), 3);
    CHECK_EQ(
        json_int(json_get(json_get(json_get(s->replay, "preprocessing"), "size"), "shortest_edge"),
                 0),
        56);
    featureset_close(fs);
    CHECK_OK(featureset_open(&fs, cache, "text.final", FEATURESET_READ, &err), &err);
    s = featureset_spec(fs);
    CHECK_NEAR(s->epsilon, 1e-4, 1e-9);
    CHECK_EQ(json_int(json_get(s->replay, "max_tokens"), 0), 20);
    CHECK_NEAR(json_number(json_get(s->replay, "logit_scale"), 0), 22.1979, 1e-3);
    CHECK_STR(json_text(json_get(s->fingerprint, "caption_rule"), NULL), "nfc-space-1");
    char *tokenizer, *file;
    size_t n_tokenizer, n_file;
    CHECK_OK(featureset_tokenizer(fs, &tokenizer, &n_tokenizer, &err), &err);
    CHECK_OK(file_read("tests/golden/altclip-tiny/model/sentencepiece.bpe.model", 1 << 24, &file,
                       &n_file, &err),
             &err);
    CHECK(n_file == n_tokenizer && !memcmp(file, tokenizer, n_file));
    memory_free(tokenizer);
    memory_free(file);
    featureset_close(fs);
}

/* Written down before views knew jitter: what changes it orphans every set of pictures there is. */
TEST(the_fingerprint_of_a_set_of_pictures_never_changes)
{
    struct error err = {0};
    struct featurize_options o = options();
    struct featurize_result r;
    struct featureset *fs;
    uint8_t digest[DIGEST_BYTES];
    char hex[DIGEST_HEX];
    const char *cache = new_cache("frozen");
    o.taps = (const char *const[]){"image.final"};
    o.n_taps = 1;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    featurize_result_release(&r);
    CHECK_OK(featureset_open(&fs, cache, "image.final", FEATURESET_READ, &err), &err);
    const struct json *f = featureset_spec(fs)->fingerprint;
    char *plan = json_write(json_get(f, "view_plan"), JSON_SORTED, &err);
    CHECK_STR(plan, "{\"flip\":true,\"max_area_permille\":1000,\"max_aspect_permille\":1333,"
                    "\"min_area_permille\":400,\"min_aspect_permille\":750}");
    char *text = json_write(f, JSON_SORTED, &err);
    digest_of(text, strlen(text), digest);
    digest_to_hex(digest, hex);
    CHECK_STR(hex, "34ada61b450421ee6f8d623625cf48fff589a8b6d9aba074870ac5f75df49fcc");
    memory_free(plan);
    memory_free(text);
    featureset_close(fs);
}

TEST(threads_do_not_matter)
{
    char first[DIGEST_HEX], hex[DIGEST_HEX], name[20];
    for (int t = 1; t <= 3; t++) {
        struct error err = {0};
        struct featurize_options o = many_options(2);
        struct featurize_result r;
        snprintf(name, sizeof name, "threads%d", t);
        const char *cache = new_cache(name);
        o.n_threads = t;
        CHECK_OK(run(cache, &o, &r, &err), &err);
        CHECK_EQ(r.n_computed, 6 * 2 * 3 + 12 * 2);
        featurize_result_release(&r);
        dump(cache, t == 1 ? first : hex);
        if (t > 1) CHECK_STR(hex, first);
    }
}

TEST(only_what_is_missing_is_computed)
{
    struct error err = {0};
    struct featurize_options o = many_options(1);
    struct featurize_result r;
    char whole[DIGEST_HEX], grown[DIGEST_HEX];
    const char *cache = scratch_here("grown"), *at_once = new_cache("at-once");
    fill(cache, 0, 4);
    o.n_taps = 3;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(r.n_computed, 4 + 4 + 4);
    featurize_result_release(&r);
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(r.n_computed, 0);
    CHECK_EQ(r.n_hits, 12);
    CHECK(!r.sets[0].is_new);
    featurize_result_release(&r);
    fill(cache, 2, 12); /* more records, more taps, more views */
    o = many_options(3);
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(r.n_hits, 12);
    CHECK_EQ(r.n_computed, 6 * 3 * 3 + 12 * 2 - 12);
    featurize_result_release(&r);
    CHECK_OK(run(at_once, &o, &r, &err), &err);
    featurize_result_release(&r);
    dump(cache, grown);
    dump(at_once, whole);
    CHECK_STR(grown, whole);
}

static bool kill_at(void *context)
{
    int *left = context;
    if ((*left)-- == 0) raise(SIGKILL);
    return false;
}

/* Not a test of its own: the process that kill_9_loses_nothing starts and that kills itself. */
TEST(child)
{
    const char *cache = getenv("FEATURIZE_CHILD");
    if (!cache) SKIP("runs inside kill_9_loses_nothing only");
    struct error err = {0};
    struct featurize_options o = many_options(3);
    struct featurize_result r;
    int left = atoi(getenv("FEATURIZE_KILL"));
    struct report report = {.context = &left, .stopped = kill_at};
    CHECK_OK(featurize_run(cache, &o, &report, &r, &err), &err);
    featurize_result_release(&r);
}

TEST(kill_9_loses_nothing)
{
    struct error err = {0};
    struct featurize_options o = many_options(3);
    struct featurize_result r;
    char killed[DIGEST_HEX], whole[DIGEST_HEX], at[12];
    const char *cache = new_cache("killed"), *other = new_cache("not-killed");
    int n_killed = 0;
    for (int i = 0; i < 6; i++) {
        snprintf(at, sizeof at, "%d", i % 4);
        pid_t pid = fork();
        if (pid == 0) {
            setenv("FEATURIZE_CHILD", cache, 1);
            setenv("FEATURIZE_KILL", at, 1);
            if (!freopen("/dev/null", "w", stdout)) _exit(1);
            execl("/proc/self/exe", "child", "--only", "child", (char *)NULL);
            _exit(127);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        n_killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        CHECK(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    }
    CHECK(n_killed >= 3);
    CHECK_OK(run(cache, &o, &r, &err), &err);
    featurize_result_release(&r);
    CHECK_OK(run(other, &o, &r, &err), &err);
    featurize_result_release(&r);
    dump(cache, killed);
    dump(other, whole);
    CHECK_STR(killed, whole);
}

static bool stop_at(void *context)
{
    int *left = context;
    return (*left)-- == 0;
}

TEST(a_stop_is_clean_and_goes_on)
{
    struct error err = {0};
    struct featurize_options o = many_options(3);
    struct featurize_result r;
    const char *cache = new_cache("stopped");
    int left = 2;
    struct report report = {.context = &left, .stopped = stop_at};
    CHECK_EQ(featurize_run(cache, &o, &report, &r, &err), ERR_STOPPED);
    CHECK_HAS(err.text, "stopped after 0 of 6 images; the same command goes on");
    CHECK_EQ(r.n_computed, 6 * 2 * 3);
    featurize_result_release(&r);
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(r.n_hits, 6 * 2 * 3);
    featurize_result_release(&r);
}

/* The teacher with one weight of a tower changed. */
static const char *changed_teacher(const char *name, const char *tensor, float value)
{
    struct error err = {0};
    struct model *m;
    const char *dir = scratch_here(name);
    check_must(model_open(&m, teacher, MODEL_IMAGE | MODEL_TEXT, &err), &err);
    struct tower *t = !strncmp(tensor, "text", 4) ? m->text : m->image;
    params_at(&t->params, params_find(&t->params, tensor))[3] = value;
    check_must(model_save(m, dir, NULL, &err), &err);
    model_free(m);
    return dir;
}

static void refused(const char *cache, const struct featurize_options *o, const char *says)
{
    struct error err = {0};
    struct featurize_result r;
    CHECK_EQ(run(cache, o, &r, &err), ERR_INCOMPATIBLE);
    CHECK_EQ(r.n_computed, 0);
    CHECK_HAS(err.text, says);
    CHECK_HAS(err.text, "delete");
    featurize_result_release(&r);
}

struct meddler {
    const char *path;
    int left; /* batches until the weights are written to */
};

static bool meddle_at(void *context)
{
    struct meddler *m = context;
    if (m->left-- == 0) {
        FILE *f = fopen(m->path, "r+b");
        if (!f || fseek(f, -1, SEEK_END) != 0 || fputc(1, f) == EOF || fclose(f) != 0) abort();
    }
    return false;
}

/* Nothing that was computed over a file that changed underneath is kept: pictures, then captions. */
TEST(weights_written_to_in_use_spoil_nothing)
{
    for (int at = 0; at < 2; at++) {
        struct error err = {0};
        struct featurize_options o = options();
        struct featurize_result r;
        char path[300];
        const char *cache = new_cache(at ? "meddled-texts" : "meddled-pictures");
        o.teacher = changed_teacher(at ? "meddled-1" : "meddled-0", "visual_projection.weight", 1);
        snprintf(path, sizeof path, "%s/model.safetensors", o.teacher);
        struct meddler m = {path, at};
        struct report report = {.context = &m, .stopped = meddle_at};
        CHECK_EQ(featurize_run(cache, &o, &report, &r, &err), ERR_DATA);
        CHECK_HAS(err.text, "was written to while it was in use");
        CHECK_EQ(r.n_computed, at ? 6 : 0);
        featurize_result_release(&r);
    }
}

TEST(other_origins_are_refused_by_component)
{
    struct error err = {0};
    struct featurize_options o = options();
    struct featurize_result r;
    char before[DIGEST_HEX], after[DIGEST_HEX];
    const char *cache = new_cache("refused");
    CHECK_OK(run(cache, &o, &r, &err), &err);
    featurize_result_release(&r);
    dump(cache, before);

    const char *text_changed = changed_teacher("text-changed", "text_projection.weight", 0.25f);
    o.teacher = changed_teacher("image-changed", "visual_projection.weight", 0.25f);
    refused(cache, &o, "feature set image.final is of another origin: weights (expected");
    o.teacher = text_changed;
    o.taps = (const char *const[]){"image.final"};
    o.n_taps = 1;
    CHECK_OK(run(cache, &o, &r, &err), &err); /* the image tower is the same */
    CHECK_EQ(r.n_hits, 6);
    featurize_result_release(&r);
    o.taps = (const char *const[]){"text.final"};
    refused(cache, &o, "feature set text.final is of another origin: weights (expected");

    o = options();
    o.max_tokens = 10;
    refused(cache, &o, "or give --max-tokens 64");
    refused(cache, &o, "max_tokens (expected 64, found 10)");
    o = options();
    o.numerics = FEATURIZE_BF16;
    refused(cache, &o, "numerics (expected \"f32\", found \"bf16.2\")");
    refused(cache, &o, "--accept-numerics");
    o = options();
    o.store = "f16";
    refused(cache, &o, "storage (expected \"q1e-4\", found \"f16\")");
    o = options();
    o.plan.min_area_permille = 300;
    refused(cache, &o, "view_plan.min_area_permille (expected 400, found 300)");
    o = options();
    o.plan.jitter = (struct jitter_strength){400, 400, 200, 100, 800};
    refused(cache, &o, "view_plan.jitter (expected absent, found \"0.4,0.4,0.2,0.1,0.8\")");
    refused(cache, &o, ", or leave out --jitter: it was made without");
    o = options();
    o.apply_orientation = false;
    refused(cache, &o, "preprocessing.apply_orientation (expected true, found false)");
    refused(cache, &o, "or leave out --no-exif");
    dump(cache, after);
    CHECK_STR(after, before);

    o = options();
    o.teacher = text_changed;
    o.prefix = "second";
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_STR(r.sets[1].name, "second.text.final");
    CHECK_EQ(r.n_computed, 18);
    featurize_result_release(&r);
}

/* Nothing is computed for the pictures when the set of texts will be refused. */
TEST(the_second_tower_is_looked_at_before_the_first_runs)
{
    struct error err = {0};
    struct featurize_options o = options();
    struct featurize_result r;
    const char *cache = new_cache("second");
    o.taps = (const char *const[]){"text.final"};
    o.n_taps = 1;
    o.store = "f32";
    CHECK_OK(run(cache, &o, &r, &err), &err);
    featurize_result_release(&r);
    o = options();
    o.store = "f16";
    refused(cache, &o, "feature set text.final is of another origin: storage");
    CHECK(!file_exists(scratch_here("second/features/image.final")));
}

TEST(other_numerics_are_accepted_and_recorded)
{
    struct error err = {0};
    struct featurize_options o = options();
    struct featurize_result r;
    struct featureset *fs;
    struct json *list;
    const char *cache = scratch_here("accept");
    o.taps = (const char *const[]){"text.final"};
    o.n_taps = 1;
    fill(cache, 0, 4);
    CHECK_OK(run(cache, &o, &r, &err), &err);
    featurize_result_release(&r);
    o.accept_numerics = true;
    o.numerics = FEATURIZE_BF16;
    for (int end = 4; end <= 8; end += 2) { /* nothing new, new ones, and more of the same */
        fill(cache, 0, end);
        CHECK_OK(run(cache, &o, &r, &err), &err);
        CHECK_EQ(r.n_hits, end == 4 ? 4 : end - 2);
        CHECK_EQ(r.n_computed, end == 4 ? 0 : 2);
        featurize_result_release(&r);
    }
    fill(cache, 0, 12);
    o.accept_numerics = false;
    refused(cache, &o, "--accept-numerics");
    o.numerics = FEATURIZE_AUTO; /* as the set */
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(r.n_computed, 4);
    featurize_result_release(&r);
    CHECK_OK(featureset_open(&fs, cache, "text.final", FEATURESET_READ, &err), &err);
    CHECK_OK(featureset_accepted(fs, &list, &err), &err);
    CHECK_EQ(json_size(list), 1);
    const struct json *entry = json_at(list, 0);
    CHECK_STR(json_text(json_get(entry, "numerics"), ""), "bf16.2");
    CHECK_EQ(json_int(json_at(json_get(entry, "from"), 0), -1), 4);
    CHECK_EQ(json_int(json_at(json_get(entry, "to"), 0), -1), 8);
    json_free(list);
    featureset_close(fs);
}

TEST(auto_takes_what_the_set_has)
{
    struct error err = {0};
    struct featurize_options o = options();
    struct featurize_result r;
    const char *cache = new_cache("auto");
    o.store = "f16";
    CHECK_OK(run(cache, &o, &r, &err), &err);
    featurize_result_release(&r);
    fill(cache, 0, 12);
    o.numerics = FEATURIZE_AUTO;
    o.store = NULL;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_STR(r.numerics, "f32");
    CHECK_EQ(r.n_hits, 18);
    featurize_result_release(&r);
}

TEST(a_dry_run_writes_nothing)
{
    struct error err = {0};
    struct featurize_options o = many_options(2);
    struct featurize_result r;
    const char *cache = scratch_here("dry");
    fill(cache, 0, 3);
    o.dry_run = true;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(r.n_computed, 3 * 2 * 3 + 3 * 2);
    CHECK(r.sets[0].is_new);
    uint64_t forecast = r.sets[0].stored_bytes;
    featurize_result_release(&r);
    CHECK(!file_exists(scratch_here("dry/features")));
    o.dry_run = false;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_NEAR((double)forecast / (double)r.sets[0].stored_bytes, 1,
               0.35); /* nothing but overhead */
    featurize_result_release(&r);
    fill(cache, 3, 5);
    o.dry_run = true;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(r.n_hits, 3 * 2 * 3 + 3 * 2);
    CHECK_EQ(r.n_computed, 2 * 2 * 3 + 2 * 2);
    featurize_result_release(&r);
}

static struct featurize_plan plan;
static int n_plans;

static void note_plan(const struct featurize_plan *p)
{
    plan = *p;
    n_plans++;
}

TEST(what_is_missing_is_told_before_anything_is_computed)
{
    struct error err = {0};
    struct featurize_options o = many_options(2);
    struct featurize_result r;
    const char *cache = scratch_here("planned");
    fill(cache, 0, 3);
    o.planned = note_plan;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(n_plans, 1);
    CHECK_EQ(plan.pictures.n_records, 3);
    CHECK_EQ(plan.pictures.n_missing, 3);
    CHECK_EQ(plan.pictures.n_inputs, 6);
    CHECK_EQ(plan.texts.n_missing, 3);
    CHECK_EQ(plan.n_views, 2);
    CHECK(plan.pictures.stored_bytes > 0 && plan.texts.stored_bytes > 0);
    CHECK(plan.pictures.forecast_s == 0); /* over before it could be foreseen */
    CHECK_EQ(r.n_hits, 0);
    featurize_result_release(&r);
    fill(cache, 3, 5);
    o.n_views = 3;
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(n_plans, 2);
    CHECK_EQ(plan.pictures.n_records, 5);
    CHECK_EQ(plan.pictures.n_missing, 5); /* the third view of the old ones, too */
    CHECK_EQ(plan.pictures.n_inputs, 3 * 1 + 2 * 3);
    CHECK_EQ(plan.texts.n_records, 5);
    CHECK_EQ(plan.texts.n_missing, 2);
    CHECK_EQ(r.n_hits, 3 * 2 * 3 + 3 * 2); /* counted once */
    featurize_result_release(&r);
    CHECK_OK(run(cache, &o, &r, &err), &err);
    CHECK_EQ(n_plans, 2); /* nothing is missing, nothing is said */
    featurize_result_release(&r);
}

/* Memory runs out at ever later places; what was committed stays, and the last run completes it. */
TEST(memory_running_out_loses_nothing)
{
    struct error err = {0};
    struct featurize_options o = many_options(2);
    struct featurize_result r;
    char failed[DIGEST_HEX], whole[DIGEST_HEX];
    const char *cache = new_cache("nomem"), *other = new_cache("mem");
    int rc = ERR_NOMEM, n_failed = -1;
    for (long nth = 1; rc < 0 && nth < 100000; nth += 1 + nth / 4, n_failed++) {
        memory_fail_at(nth);
        rc = run(cache, &o, &r, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || rc == ERR_NOMEM);
        featurize_result_release(&r);
    }
    CHECK(n_failed > 10);
    CHECK_OK(rc, &err);
    CHECK_OK(run(other, &o, &r, &err), &err);
    featurize_result_release(&r);
    dump(cache, failed);
    dump(other, whole);
    CHECK_STR(failed, whole);
}

static int n_warnings;
static void count_warning(void *context, const char *text)
{
    (void)context;
    CHECK_HAS(text, "is left out");
    n_warnings++;
}

TEST(an_undecodable_picture_is_left_out)
{
    struct error err = {0};
    struct featurize_options o = many_options(2);
    struct featurize_result r;
    const char *cache = new_cache("undecodable");
    struct corpus *c;
    struct corpus_image image = {
        .width_px = 3, .height_px = 3, .format = IMAGE_JPEG, .orientation = 1};
    uint32_t number;
    bool is_new;
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_add_image(c, &image, "no picture", 10, &number, &is_new, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
    corpus_close(c);
    struct report report = {.warn = count_warning};
    CHECK_OK(featurize_run(cache, &o, &report, &r, &err), &err);
    CHECK_EQ(n_warnings, 1);
    CHECK_EQ(r.n_skipped, 1);
    CHECK_EQ(r.sets[0].n_skipped, 2);
    CHECK_EQ(r.sets[0].n_computed, 12);
    featurize_result_release(&r);
}

TEST(a_nan_names_its_record)
{
    struct error err = {0};
    struct featurize_options o = options();
    struct featurize_result r;
    const char *cache = new_cache("nan");
    o.teacher = changed_teacher("nan-teacher", "text_projection.weight", NAN);
    CHECK_EQ(run(cache, &o, &r, &err), ERR_DATA);
    CHECK_HAS(err.text, "the teacher gives a NaN or an infinity for caption ");
    CHECK_HAS(err.text, "at text.final");
    CHECK_EQ(r.sets[1].n_computed, 0);
    featurize_result_release(&r);
}

TEST(wrong_requests_have_their_sentence)
{
    static const struct {
        const char *tap, *says;
        int code;
    } bad[] = {{"image.block9.mean", "tap image.block9.mean: the teacher's tower has blocks 0 to 3",
                ERR_USAGE},
               {"text.block1.hidden", "has all tokens of an input and cannot be kept", ERR_USAGE},
               {"picture.final", "tap \"picture.final\" is not understood", ERR_USAGE}};
    const char *cache = new_cache("wrong");
    for (int i = 0; i < 3; i++) {
        struct error err = {0};
        struct featurize_options o = options();
        struct featurize_result r;
        o.taps = &bad[i].tap;
        o.n_taps = 1;
        CHECK_EQ(run(cache, &o, &r, &err), bad[i].code);
        CHECK_HAS(err.text, bad[i].says);
        featurize_result_release(&r);
    }
    struct error err = {0};
    struct featurize_options o = options();
    struct featurize_result r;
    o.max_tokens = 65;
    CHECK_EQ(run(cache, &o, &r, &err), ERR_USAGE);
    CHECK_HAS(err.text, "max_tokens 65: this teacher takes at most 64");
    featurize_result_release(&r);
    o = options();
    o.teacher = "tests/golden/altclip-tiny";
    CHECK_EQ(run(cache, &o, &r, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "config.json");
    featurize_result_release(&r);
    o = options();
    CHECK_EQ(run(scratch_here("no-such-cache"), &o, &r, &err), ERR_NOT_FOUND);
    featurize_result_release(&r);

    struct corpus *c;
    struct corpus_image image = {0};
    uint32_t number;
    bool is_new;
    corpus_key_of_id("somewhere/else.jpg", image.key);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_add_image(c, &image, NULL, 0, &number, &is_new, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
    corpus_close(c);
    CHECK_EQ(run(cache, &o, &r, &err), ERR_USAGE);
    CHECK_HAS(err.text, "1 of 7 images were registered without their files (--no-images)");
    featurize_result_release(&r);
    enum featurize_numerics numerics;
    CHECK_EQ(featurize_parse_numerics("int4", &numerics, &err), ERR_USAGE);
    CHECK_EQ(featurize_parse_numerics("bf16", &numerics, &err), 0);
    CHECK_EQ(numerics, FEATURIZE_BF16);
}

TEST_MAIN
