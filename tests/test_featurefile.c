/* Feature sets as safetensors: what is written is read by featurize/safetensors.h and by the importer, and what is damaged is refused. */
#include "store/featurefile.h"

#include "featurize/safetensors.h"
#include "store/memory.h"
#include "tests/scratch.h"

#define N   5
#define DIM 3

static struct scratch s;
static const float ROWS[N][DIM] = {
    {1, 0, 0}, {0.5f, -0.25f, 2}, {0, 0, 0}, {-3, 1e-3f, 8}, {7, 7, 7}};
static const float NORMS[N] = {1, 2, 0.5f, 1e9f, 3};

static uint8_t *key_of(int i)
{
    static uint8_t key[DIGEST_BYTES];
    digest_of(&i, sizeof i, key);
    return key;
}

static int write_file(const char *path, enum npy_type type, bool has_norms, struct error *err)
{
    struct featurefile *w = NULL;
    struct json *metadata = json_new_object();
    json_set_string(metadata, "identity", "{\"model\": \"m\"}");
    int rc = featurefile_create(path, N, DIM, type, has_norms, metadata, &w, err);
    for (int i = 0; rc == 0 && i < N; i++)
        rc = featurefile_add(w, key_of(i), ROWS[i], NORMS[i], err);
    json_free(metadata);
    if (rc == 0) return featurefile_finish(w, err);
    featurefile_abandon(w);
    return rc;
}

static int n_keys;

static int count_key(void *context, uint64_t row, const uint8_t *key, char *text, struct error *err)
{
    (void)context, (void)text, (void)err;
    n_keys += key && !memcmp(key, key_of((int)row), DIGEST_BYTES);
    return 0;
}

static void check_file(enum npy_type type, bool has_norms)
{
    struct error err = {0};
    struct intake in;
    struct transfer_source from;
    struct safetensors *st;
    char *bytes = NULL;
    size_t n;
    float row[DIM];
    const char *path = scratch_path(&s, "x.safetensors");
    CHECK_OK(write_file(path, type, has_norms, &err), &err);
    CHECK_OK(file_read(path, 1 << 20, &bytes, &n, &err), &err);
    CHECK_EQ((unsigned char)bytes[0] % 8, 0);
    CHECK_OK(safetensors_read(bytes, n, path, &st, &err), &err);
    CHECK_EQ(safetensors_table(st)->n, has_norms ? 3 : 2);
    const struct tensor *t = tensor_table_find(safetensors_table(st), "features");
    CHECK(t && t->n_dims == 2 && t->shape[0] == N && t->shape[1] == DIM);
    CHECK_EQ(t->type, type == NPY_F16 ? TENSOR_F16 : TENSOR_F32);
    t = tensor_table_find(safetensors_table(st), "keys");
    CHECK(t && t->type == TENSOR_U8 && t->shape[1] == 32 && !memcmp(t->bytes + 64, key_of(2), 32));
    t = tensor_table_find(safetensors_table(st), "norms");
    CHECK(!t == !has_norms && (!t || !memcmp(t->bytes, NORMS, sizeof NORMS)));
    safetensors_close(st);
    memory_free(bytes);

    transfer_source_defaults(&from);
    from.safetensors = path;
    CHECK_OK(intake_open(&in, &from, &err), &err);
    CHECK_EQ(in.n_rows, N);
    CHECK_EQ(in.n_cols, DIM);
    CHECK_STR(json_text(json_get(in.identity, "model"), ""), "m");
    n_keys = 0;
    CHECK_OK(intake_keys(&in, count_key, NULL, &err), &err);
    CHECK_EQ(n_keys, N);
    for (uint64_t i = 0; i < N; i++) {
        intake_row(&in, i, row);
        float by = has_norms ? NORMS[i] : 1;
        for (int j = 0; j < DIM; j++) /* f16 has 11 bits */
            CHECK_NEAR(row[j], ROWS[i][j] * by, fabsf(row[j]) * (type == NPY_F16 ? 5e-4 : 0));
    }
    intake_close(&in);
}

TEST(both_types_with_and_without_norms)
{
    scratch_make(&s);
    check_file(NPY_F32, true);
    check_file(NPY_F32, false);
    check_file(NPY_F16, true);
    check_file(NPY_F16, false);
    scratch_remove(&s);
}

TEST(a_number_too_large_for_f16)
{
    struct error err = {0};
    struct featurefile *w = NULL;
    struct json *metadata = json_new_object();
    float x = 70000;
    scratch_make(&s);
    const char *path = scratch_path(&s, "x");
    CHECK_OK(featurefile_create(path, 1, 1, NPY_F16, false, metadata, &w, &err), &err);
    CHECK_EQ(featurefile_add(w, key_of(0), &x, 1, &err), ERR_DATA);
    CHECK_HAS(err.text, "70000 does not fit f16");
    featurefile_abandon(w);
    CHECK_OK(featurefile_create(path, 2, 1, NPY_F32, false, metadata, &w, &err), &err);
    CHECK_OK(featurefile_add(w, key_of(0), &x, 1, &err), &err);
    CHECK_EQ(featurefile_finish(w, &err), ERR_USAGE);
    CHECK(!file_exists(path));
    json_free(metadata);
    scratch_remove(&s);
}

static int open_bytes(const void *bytes, size_t n, struct error *err)
{
    struct intake in;
    struct transfer_source from;
    transfer_source_defaults(&from);
    from.safetensors = scratch_bytes(&s, "bad.safetensors", bytes, n);
    int rc = intake_open(&in, &from, err);
    float *row = memory_array(in.n_cols, sizeof *row, MEMORY_MAX_SMALL, NULL);
    for (uint64_t i = 0; rc == 0 && i < in.n_rows; i++) intake_row(&in, i, row);
    if (rc == 0) rc = intake_keys(&in, count_key, NULL, err);
    memory_free(row);
    intake_close(&in);
    return rc;
}

/* Header text and n_data zero bytes behind it. */
static int open_header(const char *header, size_t n_data, struct error *err)
{
    char bytes[2000] = {0};
    bytes[0] = (char)(strlen(header) & 255);
    bytes[1] = (char)(strlen(header) >> 8);
    strcpy(bytes + 8, header);
    return open_bytes(bytes, 8 + strlen(header) + n_data, err);
}

TEST(what_is_cut_off_or_lies_is_refused)
{
    struct error err = {0};
    char *bytes = NULL;
    size_t n;
    scratch_make(&s);
    const char *path = scratch_path(&s, "x.safetensors");
    CHECK_OK(write_file(path, NPY_F32, true, &err), &err);
    CHECK_OK(file_read(path, 1 << 20, &bytes, &n, &err), &err);
    CHECK_OK(open_bytes(bytes, n, &err), &err);
    for (size_t cut = 0; cut < n; cut++) CHECK_EQ(open_bytes(bytes, cut, &err), ERR_DATA);
    for (size_t i = 0; i < n; i++) { /* whatever it says then, it lies inside the file */
        bytes[i] ^= (char)(1 << i % 8);
        (void)open_bytes(bytes, n, &err);
        bytes[i] ^= (char)(1 << i % 8);
    }
    memory_free(bytes);
#define F "\"features\": {\"dtype\": \"F32\", \"shape\": [2, 1], \"data_offsets\": [0, 8]}"
#define K ", \"keys\": {\"dtype\": \"U8\", \"shape\": [2, 32], \"data_offsets\": [8, 72]}"
#define M ", \"__metadata__\": {\"identity\": \"{}\"}}"
    static const char *const BAD[][2] = {
        {"{}", "no tensor \"features\""},
        {"[]", "no tensor \"features\""},
        {"{" F M, "no tensor \"keys\""},
        {"{" F K "}", "no \"identity\""},
        {"{" F K ", \"__metadata__\": {\"identity\": \"[]\"}}", "expected a JSON object"},
        {"{" F K ", \"__metadata__\": {\"identity\": \"{\"}}", "bad.safetensors"},
        {"{\"features\": {\"dtype\": \"BF16\", \"shape\": [2, 1], \"data_offsets\": [0, 4]}" K M,
         "type \"BF16\""},
        {"{\"features\": {\"dtype\": \"F32\", \"shape\": [8], \"data_offsets\": [0, 32]}" K M,
         "[n, dim]"},
        {"{\"features\": {\"dtype\": \"F32\", \"shape\": [2, 1], \"data_offsets\": [0, 4]}" K M,
         "cut off or broken"},
        {"{\"features\": {\"dtype\": \"F32\", \"shape\": [2, 1], \"data_offsets\": [80, 88]}" K M,
         "cut off or broken"},
        {"{\"features\": {\"dtype\": \"F32\", \"shape\": [-2, 1], \"data_offsets\": [0, 8]}" K M,
         "no matrix"},
        {"{\"features\": {\"dtype\": \"F32\", \"shape\": [4611686018427387904, 4], "
         "\"data_offsets\": [0, 8]}" K M,
         "no matrix"},
        {"{" F ", \"keys\": {\"dtype\": \"U8\", \"shape\": [1, 32], \"data_offsets\": [8, 40]}" M,
         "keys must be U8 of [2, 32]"},
        {"{" F K ", \"norms\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}" M,
         "norms must be F32 of [2]"},
    };
    CHECK_OK(open_header("{" F K M, 72, &err), &err);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        CHECK_EQ(open_header(BAD[i][0], 72, &err), ERR_DATA);
        CHECK_HAS(err.text, BAD[i][1]);
    }
    scratch_remove(&s);
}

TEST_MAIN
