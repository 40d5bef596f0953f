/* Checkpoints: round trip, refusals by name, damage, the curve, the finished run. */
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"
#include "train/checkpoint.h"

static struct scratch scratch;
static char out[80];

static void fresh(void)
{
    scratch_make(&scratch);
    snprintf(out, sizeof out, "%s/out", scratch.folder);
}

static struct json *settings(double lr, const char *set)
{
    struct json *j = json_new_object(), *sets = json_new_object();
    json_set_number(j, "lr", lr);
    json_set_int(j, "batch", 64);
    json_set_string(sets, "image.final", set);
    json_set(j, "sets", sets);
    return j;
}

static int save(const struct json *s, int step, float *weights, int n_points, struct error *err)
{
    struct checkpoint k;
    int rc = checkpoint_open(&k, out, s, err);
    if (rc == 0) rc = checkpoint_add(&k, "weights", weights, 4 * sizeof *weights, err);
    if (rc == 0) rc = checkpoint_add(&k, "tokenizer", "abc", 3, err);
    struct json *progress = json_new_object();
    json_set_int(progress, "step", step);
    json_set_number(progress, "sum", 0.1 + 0.2);
    for (int i = 0; i < n_points && rc == 0; i++) rc = checkpoint_curve(&k, progress, err);
    if (rc == 0) rc = checkpoint_write_pinned(&k, "pins", 4, err);
    if (rc == 0) rc = checkpoint_save(&k, progress, err);
    if (rc == 0)
        rc = checkpoint_curve(&k, progress, err); /* a point after the checkpoint: cut on resume */
    json_free(progress);
    checkpoint_close(&k);
    return rc;
}

TEST(round_trip)
{
    fresh();
    struct error err = {0};
    struct json *s = settings(1e-3, "aa");
    float w[4] = {1, -2, 3.5F, 1e-30F}, back[4] = {0};
    CHECK_OK(save(s, 7, w, 2, &err), &err);
    struct checkpoint k;
    CHECK_OK(checkpoint_open(&k, out, s, &err), &err);
    CHECK(k.progress && !k.summary);
    CHECK_EQ(json_int(json_get(k.progress, "step"), 0), 7);
    CHECK(json_number(json_get(k.progress, "sum"), 0) == 0.1 + 0.2);
    size_t n;
    const char *tokenizer = checkpoint_block(&k, "tokenizer", &n);
    CHECK(tokenizer && n == 3 && !memcmp(tokenizer, "abc", 3));
    CHECK(!checkpoint_block(&k, "nothing", &n));
    CHECK_OK(checkpoint_add(&k, "weights", back, sizeof back, &err), &err);
    uint64_t before = file_size(k.curve_path);
    CHECK_OK(checkpoint_restore(&k, &err), &err);
    CHECK(!memcmp(w, back, sizeof w));
    CHECK_EQ(file_size(k.curve_path), before / 3 * 2);
    char *pins;
    CHECK_OK(checkpoint_read_pinned(&k, &pins, &n, &err), &err);
    CHECK_STR(pins, "pins");
    memory_free(pins);
    checkpoint_close(&k);
    json_free(s);
    scratch_remove(&scratch);
}

TEST(other_settings_are_refused_by_name)
{
    fresh();
    struct error err = {0};
    struct json *s = settings(1e-3, "aa"), *other = settings(2e-3, "bb");
    float w[4] = {0};
    CHECK_OK(save(s, 1, w, 0, &err), &err);
    struct checkpoint k;
    CHECK_EQ(checkpoint_open(&k, out, other, &err), ERR_EXISTS);
    CHECK_HAS(err.text, "lr was 0.001 and is 0.002 now");
    CHECK_HAS(err.text, "sets.image.final was \"aa\" and is \"bb\" now");
    CHECK(!strstr(err.text, "batch"));
    checkpoint_close(&k);
    json_free(s);
    json_free(other);
    scratch_remove(&scratch);
}

TEST(damage_is_seen)
{
    fresh();
    struct error err = {0};
    struct json *s = settings(1e-3, "aa");
    float w[4] = {1, 2, 3, 4};
    CHECK_OK(save(s, 1, w, 0, &err), &err);
    char path[120], *bytes;
    size_t n;
    snprintf(path, sizeof path, "%s/checkpoint/state", out);
    CHECK_OK(file_read(path, 1 << 20, &bytes, &n, &err), &err);
    struct checkpoint k;
    for (size_t at = 0; at < n; at += 37) { /* a flipped bit anywhere */
        bytes[at] ^= 1;
        CHECK_OK(file_write(path, bytes, n, &err), &err);
        int rc = checkpoint_open(&k, out, s, &err);
        CHECK(rc == ERR_CORRUPT || rc == ERR_INCOMPATIBLE);
        checkpoint_close(&k);
        bytes[at] ^= 1;
    }
    CHECK_OK(file_write(path, bytes, n - 5, &err), &err);
    CHECK_EQ(checkpoint_open(&k, out, s, &err), ERR_CORRUPT);
    checkpoint_close(&k);
    CHECK_OK(file_write(path, bytes, n, &err), &err);
    CHECK_OK(checkpoint_open(&k, out, s, &err), &err);
    float three[3];
    CHECK_OK(checkpoint_add(&k, "weights", three, sizeof three, &err), &err);
    CHECK_EQ(checkpoint_restore(&k, &err), ERR_CORRUPT);
    CHECK_HAS(err.text, "weights");
    checkpoint_close(&k);
    memory_free(bytes);
    json_free(s);
    scratch_remove(&scratch);
}

TEST(a_second_run_waits_and_leftovers_go)
{
    fresh();
    struct error err = {0};
    struct json *s = settings(1e-3, "aa");
    struct checkpoint first, second;
    CHECK_OK(checkpoint_open(&first, out, s, &err), &err);
    CHECK_EQ(checkpoint_open(&second, out, s, &err), ERR_LOCKED);
    CHECK_HAS(err.text, out);
    checkpoint_close(&second);
    char a[120], b[120];
    snprintf(a, sizeof a, "%s/model.safetensors.tmp-1", out);
    snprintf(b, sizeof b, "%s/checkpoint/state.tmp-1", out);
    CHECK_OK(file_write(a, "half", 4, &err), &err);
    CHECK_OK(file_write(b, "half", 4, &err), &err);
    checkpoint_close(&first);
    CHECK_OK(checkpoint_open(&second, out, s, &err), &err);
    CHECK(!file_exists(a) && !file_exists(b));
    checkpoint_close(&second);
    json_free(s);
    scratch_remove(&scratch);
}

TEST(a_finished_run_is_a_hit)
{
    fresh();
    struct error err = {0};
    struct json *s = settings(1e-3, "aa"), *other = settings(1e-4, "aa");
    float w[4] = {0};
    CHECK_OK(save(s, 1, w, 1, &err), &err);
    struct checkpoint k;
    CHECK_OK(checkpoint_open(&k, out, s, &err), &err);
    CHECK_OK(checkpoint_finish(&k, k.progress, &err), &err);
    CHECK(!file_exists(k.folder));
    checkpoint_close(&k);
    CHECK_OK(checkpoint_open(&k, out, s, &err), &err);
    CHECK(k.summary && !k.progress);
    CHECK_EQ(json_int(json_get(k.summary, "step"), 0), 1);
    checkpoint_close(&k);
    CHECK_EQ(checkpoint_open(&k, out, other, &err), ERR_EXISTS);
    checkpoint_close(&k);
    json_free(s);
    json_free(other);
    scratch_remove(&scratch);
}

TEST(a_foreign_model_is_not_overwritten)
{
    fresh();
    struct error err = {0};
    struct json *s = settings(1e-3, "aa");
    char path[120];
    CHECK_OK(file_make_folder(out, &err), &err);
    snprintf(path, sizeof path, "%s/config.json", out);
    CHECK_OK(file_write(path, "{}", 2, &err), &err);
    struct checkpoint k;
    CHECK_EQ(checkpoint_open(&k, out, s, &err), ERR_EXISTS);
    checkpoint_close(&k);
    json_free(s);
    scratch_remove(&scratch);
}

TEST_MAIN
