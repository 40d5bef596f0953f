/* Forecasts against feature sets that are then written: within 10%, as `featurize --dry-run` promises.
 * Seeds are fixed. */
#include "featurize/forecast.h"

#include <unistd.h>

#include "store/featureset.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

#define N 3000

static uint64_t state = 21;

static float uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(state >> 40) / 8388608.0f - 1;
}

/* Columns of unequal size, as a teacher's are. */
static float *make(uint32_t dim)
{
    struct error err;
    float *x = memory_array((uint64_t)N * dim, sizeof *x, MEMORY_MAX_FILE, &err);
    for (size_t i = 0; x && i < (size_t)N * dim; i++)
        x[i] = (uniform() + uniform() + uniform()) * (i % dim % 7 ? 0.02f : 0.2f) +
               (i % dim == 3 ? 2.0f : 0);
    return x;
}

static uint64_t written(const struct featureset_spec *spec, const float *x, uint32_t n_views)
{
    static uint32_t numbers[N];
    static uint8_t keys[N][DIGEST_BYTES];
    struct error err = {0};
    struct featureset *fs = NULL;
    uint64_t stored = 0, as_f32;
    struct scratch scratch;
    scratch_make(&scratch);
    for (uint32_t i = 0; i < N; i++) {
        numbers[i] = i;
        digest_of(&i, sizeof i, keys[i]);
    }
    int rc = featureset_create(&fs, scratch.folder, spec, &err);
    for (uint32_t view = 0; view < n_views && rc == 0; view++)
        for (uint32_t i = 0; i < N && rc == 0; i += 256) { /* a block at a time, as a run does */
            uint32_t n = N - i < 256 ? N - i : 256;
            rc = featureset_put(fs, view, n, numbers + i, (const uint8_t(*)[DIGEST_BYTES])keys + i,
                                x + (size_t)i * spec->dim, &err);
        }
    if (rc == 0) featureset_bytes(fs, &stored, &as_f32);
    if (rc < 0) CHECK_FAIL("no set: %s", err.text);
    featureset_close(fs);
    scratch_remove(&scratch);
    return stored;
}

static void check_forecast(const char *store, uint32_t dim, uint32_t grid, uint32_t n_views)
{
    struct error err = {0};
    struct forecast f;
    struct codec codec;
    struct json *none = json_new_object();
    struct featureset_spec spec = {.name = "s", .tap = "t", .dim = dim, .grid = grid};
    static uint8_t tokenizer[300000];
    CHECK_OK(codec_parse(store, &spec.storage, &spec.epsilon, &err), &err);
    CHECK_OK(codec_init(&codec, spec.storage, dim, spec.epsilon, &err), &err);
    spec.fingerprint = spec.replay = none;
    spec.tokenizer = tokenizer;
    spec.n_tokenizer = sizeof tokenizer;
    float *x = make(dim);
    CHECK_OK(forecast_sample(&f, &codec, grid, x, 200, &err), &err);
    double want = (double)written(&spec, x, n_views);
    double got = (double)forecast_bytes(&f, (uint64_t)N * n_views, n_views, sizeof tokenizer);
    if (!(fabs(got / want - 1) <= 0.1))
        CHECK_FAIL("%s, %u values, %u views: %.0f bytes foreseen, %.0f written", store, dim,
                   n_views, got, want);
    memory_free(x);
    json_free(none);
}

TEST(bytes_are_foreseen_within_a_tenth)
{
    static const char *const STORES[] = {"f32", "f16", "bf16", "q1e-4", "q1e-3", "q1e-6"};
    for (size_t i = 0; i < sizeof STORES / sizeof *STORES; i++) {
        check_forecast(STORES[i], 128, 0, 2);
        check_forecast(STORES[i], 512, 0, 1);
        check_forecast(STORES[i], 1024, 4, 1);
        check_forecast(STORES[i], 2048, 0, 1);
    }
}

/* Columns of unequal size take less: the forecast errs on that side alone, and not by much. */
TEST(vectors_that_nobody_has_seen)
{
    static const char *const STORES[] = {"f16", "bf16", "q1e-4", "q1e-3"};
    struct json *none = json_new_object();
    for (size_t i = 0; i < sizeof STORES / sizeof *STORES; i++) {
        struct error err = {0};
        struct forecast f;
        struct codec codec;
        struct featureset_spec spec = {
            .name = "s", .tap = "t", .dim = 512, .fingerprint = none, .replay = none};
        CHECK_OK(codec_parse(STORES[i], &spec.storage, &spec.epsilon, &err), &err);
        CHECK_OK(codec_init(&codec, spec.storage, spec.dim, spec.epsilon, &err), &err);
        CHECK_OK(forecast_made_up(&f, &codec, 0, &err), &err);
        float *x = make(spec.dim);
        double off = (double)forecast_bytes(&f, N, 1, 0) / (double)written(&spec, x, 1);
        if (!(off > 0.95 && off < 1.6))
            CHECK_FAIL("%s: %.2f times what is written", STORES[i], off);
        memory_free(x);
    }
    json_free(none);
}

TEST(without_vectors_there_is_no_forecast)
{
    struct error err;
    struct codec codec;
    struct forecast f = {.n_slots = 5};
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    CHECK_OK(codec_init(&codec, STORAGE_Q, 8, 1e-4f, &err), &err);
    CHECK_OK(forecast_sample(&f, &codec, 0, x, 0, &err), &err);
    CHECK_EQ(f.n_slots, 0);
    CHECK_OK(forecast_sample(&f, &codec, 0, x, 1, &err), &err);
    CHECK_EQ(f.n_slots, 256);
    CHECK(forecast_bytes(&f, 1, 1, 0) > 0);
    for (long nth = 1; nth < 6; nth++) {
        memory_fail_at(nth);
        CHECK_EQ(forecast_sample(&f, &codec, 0, x, 1, &err), ERR_NOMEM);
        memory_fail_at(0);
    }
}

TEST_MAIN
