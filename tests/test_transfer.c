/* Import and export over a real corpus in /tmp. The sets of ../shared are imported in place when they exist.
 *
 * covers: transfer_export
 */
#include "store/transfer.h"

#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"
#include "store/npy.h"
#include "tests/scratch.h"

#define N   300
#define DIM 24

static struct scratch scratch;
static char *const cache = scratch.folder;
static float rows[N][DIM];

/* Files of a source in the cache's folder; each test changes what it needs before writing them. */
static struct {
    char npy[100], keys[100], identity[100];
} paths;

static int write_text(const char *path, const char *text, struct error *err)
{
    return file_write(path, text, strlen(text), err);
}

static int write_npy(const char *path, int n, struct error *err)
{
    struct npy_writer *w;
    int rc = npy_create(path, DIM, &w, err);
    for (int i = 0; i < n && rc == 0; i++) rc = npy_add_row(w, rows[i], err);
    if (rc == 0) return npy_finish(w, err);
    npy_abandon(w);
    return rc;
}

#define IDENTITY                                                                                   \
    "{\"model\": \"m\", \"tower\": \"image\", \"tap\": \"image.final\", \"dimension\": 24, "       \
    "\"normalized\": false, \"logit_scale\": 4.5, \"preprocessing\": {\"size\": 224}}"

/* Ids "pic0".."picN-1", one a line. */
static int write_keys(const char *path, int n, struct error *err)
{
    char text[N * 12];
    size_t used = 0;
    for (int i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "pic%d\r\n", i);
    return write_text(path, text, err);
}

/* A corpus of pictures without bytes, "pic0" .. and captions "text 0" .. */
static int make_corpus(int n, struct error *err)
{
    struct corpus *c = NULL;
    uint16_t source;
    int rc = corpus_open(&c, cache, CORPUS_WRITE, err);
    if (rc == 0) rc = corpus_begin(c, err);
    if (rc == 0) rc = corpus_intern(c, NAME_SOURCE, "pairs.tsv", &source, err);
    for (int i = 0; i < n && rc == 0; i++) {
        char id[20], text[20];
        struct corpus_image image = {0};
        uint32_t number;
        bool is_new;
        sprintf(id, "pic%d", i);
        sprintf(text, "text %d", i);
        corpus_key_of_id(id, image.key);
        rc = corpus_add_image(c, &image, NULL, 0, &number, &is_new, err);
        if (rc == 0) rc = corpus_add_id(c, source, id, image.key, err);
        if (rc == 0) rc = corpus_add_caption(c, text, strlen(text), &number, &is_new, err);
    }
    if (rc == 0) rc = corpus_commit(c, err);
    corpus_close(c);
    return rc;
}

static bool set_up(void)
{
    struct error err = {0};
    uint64_t state = 3;
    scratch_make(&scratch);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < DIM; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            rows[i][j] = (float)((double)(state >> 33) / 1e9 - 1);
        }
    snprintf(paths.npy, sizeof paths.npy, "%s/x.npy", cache);
    snprintf(paths.keys, sizeof paths.keys, "%s/x.keys.txt", cache);
    snprintf(paths.identity, sizeof paths.identity, "%s/x.identity.json", cache);
    int rc = make_corpus(N, &err);
    if (rc == 0) rc = write_npy(paths.npy, N, &err);
    if (rc == 0) rc = write_keys(paths.keys, N, &err);
    if (rc == 0) rc = write_text(paths.identity, IDENTITY, &err);
    if (rc < 0) CHECK_FAIL("set-up: %s", err.text);
    return rc == 0;
}

static int import(const char *name, const char *storage, bool allow_missing,
                  struct transfer_counts *counts, struct error *err)
{
    struct transfer_source from;
    struct corpus *c = NULL;
    transfer_source_defaults(&from);
    from.npy = paths.npy;
    from.keys = paths.keys;
    from.identity = paths.identity;
    from.name = name;
    from.allow_missing = allow_missing;
    int rc = storage ? codec_parse(storage, &from.storage, &from.epsilon, err) : 0;
    if (rc == 0) rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = transfer_import(c, cache, &from, NULL, counts, err);
    corpus_close(c);
    return rc;
}

static size_t n_sets(void)
{
    struct error err;
    char **names = NULL;
    size_t n = 0;
    if (featureset_list(cache, &names, &n, &err) < 0) CHECK_FAIL("list: %s", err.text);
    memory_free(names);
    return n;
}

/* A refusal that leaves no set behind. */
static void expect_refusal(int code, const char *word)
{
    struct error err = {0};
    struct transfer_counts counts;
    CHECK_EQ(import(NULL, NULL, false, &counts, &err), code);
    CHECK_HAS(err.text, word);
    CHECK_EQ(n_sets(), 0);
}

TEST(an_import_is_exported_and_imported_again)
{
    struct error err;
    struct transfer_counts counts;
    struct corpus *c = NULL;
    struct featureset *fs = NULL;
    struct npy a;
    char prefix[100];
    float row[DIM];
    if (!set_up()) return;
    CHECK_OK(import(NULL, "f32", false, &counts, &err), &err);
    CHECK_EQ(counts.n_rows, N);
    CHECK_EQ(counts.n_new, N);
    CHECK_STR(counts.set, "image.final");
    CHECK_OK(import(NULL, "f32", false, &counts, &err), &err);
    CHECK_EQ(counts.n_new, 0);
    CHECK_EQ(counts.n_hit, N);

    snprintf(prefix, sizeof prefix, "%s/out", cache);
    CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
    CHECK_OK(featureset_open(&fs, cache, "image.final", FEATURESET_READ, &err), &err);
    CHECK_NEAR(json_number(json_get(featureset_spec(fs)->replay, "logit_scale"), 0), 4.5, 0);
    CHECK_EQ(json_int(json_get(json_get(featureset_spec(fs)->replay, "preprocessing"), "size"), 0),
             224);
    CHECK_OK(transfer_export(c, fs, &(struct transfer_target){.npy = prefix}, NULL, &counts, &err),
             &err);
    CHECK_EQ(counts.n_rows, N);
    CHECK_EQ(transfer_export(c, fs, &(struct transfer_target){.npy = prefix, .view = 1}, NULL,
                             &counts, &err),
             ERR_NOT_FOUND);
    featureset_close(fs);
    corpus_close(c);

    snprintf(paths.npy, sizeof paths.npy, "%s/out.npy", cache);
    snprintf(paths.keys, sizeof paths.keys, "%s/out.keys.txt", cache);
    snprintf(paths.identity, sizeof paths.identity, "%s/out.identity.json", cache);
    CHECK_OK(import("again", "f32", false, &counts, &err), &err);
    CHECK_EQ(counts.n_new, N);
    CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
    CHECK_OK(featureset_open(&fs, cache, "again", FEATURESET_READ, &err), &err);
    struct featureset_cursor *cur = featureset_cursor_new(fs, &err);
    for (uint32_t i = 0; i < N; i++) {
        uint8_t key[DIGEST_BYTES];
        char id[20];
        uint32_t number;
        float norm;
        sprintf(id, "pic%u", i);
        CHECK_OK(corpus_image_of_id(c, NULL, id, &number, &err), &err);
        CHECK_OK(transfer_key(c, TOWER_IMAGE, number, key, &err), &err);
        CHECK_OK(featureset_get(cur, 0, number, key, row, &norm, &err), &err);
        for (int j = 0; j < DIM; j++)
            CHECK_NEAR(row[j] * norm, rows[i][j], 1e-6); /* two roundings of f32 below 4 */
    }
    featureset_cursor_free(cur);
    featureset_close(fs);
    corpus_close(c);
    CHECK_OK(npy_open(paths.npy, &a, &err), &err);
    CHECK_EQ(a.n_rows, N);
    npy_close(&a);
    scratch_remove(&scratch);
}

TEST(text_rows_are_found_by_caption)
{
    struct error err;
    struct transfer_counts counts;
    if (!set_up()) return;
    CHECK_OK(write_npy(paths.npy, 3, &err), &err);
    CHECK_OK(write_text(paths.keys, "\xef\xbb\xbftext 7\ntext 0\ntext 299", &err), &err);
    CHECK_OK(write_text(paths.identity,
                        "{\"model\": \"m\", \"tower\": \"text\", \"dimension\": 24}", &err),
             &err);
    CHECK_OK(import(NULL, NULL, false, &counts, &err), &err);
    CHECK_STR(counts.set, "text.final");
    CHECK_EQ(counts.n_new, 3);
    scratch_remove(&scratch);
}

TEST(bad_sources_write_nothing)
{
    struct error err;
    if (!set_up()) return;
    CHECK_OK(write_keys(paths.keys, N - 1, &err), &err);
    expect_refusal(ERR_DATA, "has 299 lines");
    CHECK_OK(write_text(paths.keys, "pic0\n\npic1\n", &err), &err);
    expect_refusal(ERR_DATA, "line 2 is empty");
    CHECK_OK(write_keys(paths.keys, N, &err), &err);
    rows[17][5] = NAN;
    CHECK_OK(write_npy(paths.npy, N, &err), &err);
    expect_refusal(ERR_DATA, "row 17 ");
    rows[17][5] = 0;
    CHECK_OK(write_npy(paths.npy, N, &err), &err);
    static const char *const BAD[][2] = {
        {"{\"model\": \"m\", \"tower\": \"image\", \"dimension\": 25, \"preprocessing\": {}}",
         "\"dimension\": 25"},
        {"{\"model\": \"m\", \"tower\": \"image\", \"dimension\": 24}", "preprocessing"},
        {"{\"model\": \"m\", \"tower\": \"picture\", \"dimension\": 24, \"preprocessing\": {}}",
         "tower"},
        {"{\"tower\": \"image\", \"dimension\": 24, \"preprocessing\": {}}", "model"},
        {"{\"model\": \"m\", \"tower\": \"image\", \"tap\": \"text.final\", \"dimension\": 24, "
         "\"preprocessing\": {}}",
         "tap"},
        {"{\"model\": \"m\", \"tower\": \"image\", \"dimension\": 24, \"normalized\": true, "
         "\"preprocessing\": {}}",
         "normalized"},
        {"{\"model\": ", "JSON"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        CHECK_OK(write_text(paths.identity, BAD[i][0], &err), &err);
        expect_refusal(ERR_DATA, BAD[i][1]);
    }
    scratch_remove(&scratch);
}

TEST(unknown_and_repeated_keys)
{
    struct error err;
    struct transfer_counts counts;
    if (!set_up()) return;
    CHECK_OK(write_npy(paths.npy, 3, &err), &err);
    CHECK_OK(write_text(paths.keys, "pic1\nnobody\npic2\n", &err), &err);
    expect_refusal(ERR_DATA, "1 of 3 keys are not in the corpus (\"nobody\")");
    CHECK_OK(write_text(paths.keys, "pic1\npic2\npic1\n", &err), &err);
    expect_refusal(ERR_DATA, "line 3 names the same record as line 1");
    memcpy(rows[2], rows[0], sizeof rows[2]);
    CHECK_OK(write_npy(paths.npy, 3, &err), &err);
    CHECK_OK(import(NULL, NULL, false, &counts, &err), &err);
    CHECK_EQ(counts.n_new, 2);
    CHECK_EQ(counts.n_duplicate, 1);
    CHECK_OK(write_text(paths.keys, "pic1\nnobody\npic5\n", &err), &err);
    CHECK_OK(import("other", NULL, true, &counts, &err), &err);
    CHECK_EQ(counts.n_new, 2);
    CHECK_EQ(counts.n_unknown, 1);
    scratch_remove(&scratch);
}

TEST(another_identity_or_vector_is_refused)
{
    struct error err;
    struct transfer_counts counts;
    if (!set_up()) return;
    CHECK_OK(import("s", NULL, false, &counts, &err), &err);
    CHECK_EQ(import("s", "q1e-3", false, &counts, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "storage (expected \"q1e-4\", found \"q1e-3\")");
    CHECK_OK(
        write_text(
            paths.identity,
            "{\"model\": \"m2\", \"tower\": \"image\", \"dimension\": 24, \"preprocessing\": {}}",
            &err),
        &err);
    CHECK_EQ(import("s", NULL, false, &counts, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "model (expected \"m\", found \"m2\")");
    CHECK_OK(write_text(paths.identity, IDENTITY, &err), &err);
    rows[4][0] += 1;
    CHECK_OK(write_npy(paths.npy, N, &err), &err);
    CHECK_EQ(import("s", NULL, false, &counts, &err), ERR_EXISTS);
    scratch_remove(&scratch);
}

/* The set "s" to PATH as safetensors, or a clip-retrieval folder. */
static int export_to(const char *path, bool is_clip, struct error *err)
{
    struct transfer_counts counts;
    struct transfer_target to = {.safetensors = path};
    struct corpus *c = NULL;
    struct featureset *fs = NULL;
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = featureset_open(&fs, cache, "s", FEATURESET_READ, err);
    if (rc == 0)
        rc = is_clip ? transfer_export_clip(c, fs, NULL, path, &to, NULL, &counts, err)
                     : transfer_export(c, fs, &to, NULL, &counts, err);
    featureset_close(fs);
    corpus_close(c);
    return rc;
}

static int import_from(const char *path, bool is_clip, struct error *err)
{
    struct transfer_counts counts;
    struct transfer_source from;
    struct corpus *c = NULL;
    transfer_source_defaults(&from);
    from.safetensors = is_clip ? NULL : path;
    from.clip_retrieval = is_clip ? path : NULL;
    from.tower = "image";
    from.name = is_clip ? "from_clip" : "from_file";
    int rc = corpus_open(&c, cache, CORPUS_READ, err);
    if (rc == 0) rc = transfer_import(c, cache, &from, NULL, &counts, err);
    if (rc == 0) CHECK_EQ(counts.n_rows, N);
    corpus_close(c);
    return rc;
}

/* Every allocation fails once: ERR_NOMEM, no file under its name, no set; then the work succeeds. */
static void expect_nomem(int (*work)(const char *path, bool is_clip, struct error *err),
                         const char *path, bool is_clip)
{
    int nth = 1;
    for (;; nth++) {
        struct error err = {0};
        memory_fail_at(nth);
        int rc = work(path, is_clip, &err);
        memory_fail_at(0);
        if (rc == 0) break;
        CHECK_EQ(rc, ERR_NOMEM);
        if (rc != ERR_NOMEM) return;
        if (work == export_to && !is_clip) CHECK(!file_exists(path));
    }
    CHECK(nth > 20);
}

TEST(memory_that_is_out_leaves_nothing_half)
{
    struct error err;
    struct transfer_counts counts;
    char file[100], folder[100];
    if (!set_up()) return;
    CHECK_OK(import("s", NULL, false, &counts, &err), &err);
    snprintf(file, sizeof file, "%s/x.safetensors", cache);
    snprintf(folder, sizeof folder, "%s/clip", cache);
    expect_nomem(export_to, file, false);
    expect_nomem(export_to, folder, true);
    expect_nomem(import_from, file, false);
    expect_nomem(import_from, folder, true);
    CHECK_EQ(n_sets(), 3);
    scratch_remove(&scratch);
}

/* The ids of a keys file as a corpus without bytes; then the real features, whole. */
static void import_real(const char *stem, uint64_t n, uint32_t dim)
{
    struct error err;
    struct corpus *c = NULL;
    struct transfer_counts counts;
    char *text = NULL, *rest = NULL;
    size_t n_text;
    uint16_t source;
    scratch_make(&scratch);
    snprintf(paths.npy, sizeof paths.npy, "%s.npy", stem);
    snprintf(paths.keys, sizeof paths.keys, "%s.keys.txt", stem);
    snprintf(paths.identity, sizeof paths.identity, "%s.identity.json", stem);
    CHECK_OK(file_read(paths.keys, MEMORY_MAX_SMALL, &text, &n_text, &err), &err);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_SOURCE, "captions.jsonl", &source, &err), &err);
    for (char *id = strtok_r(text, "\n", &rest); id; id = strtok_r(NULL, "\n", &rest)) {
        struct corpus_image image = {0};
        uint32_t number;
        bool is_new;
        corpus_key_of_id(id, image.key);
        CHECK_OK(corpus_add_image(c, &image, NULL, 0, &number, &is_new, &err), &err);
        CHECK_OK(corpus_add_id(c, source, id, image.key, &err), &err);
    }
    CHECK_OK(corpus_commit(c, &err), &err);
    corpus_close(c);
    memory_free(text);
    CHECK_OK(import(NULL, NULL, false, &counts, &err), &err);
    CHECK_EQ(counts.n_new, n);
    struct featureset *fs = NULL;
    CHECK_OK(featureset_open(&fs, cache, "image.final", FEATURESET_READ, &err), &err);
    CHECK_EQ(featureset_spec(fs)->dim, dim);
    CHECK_EQ(featureset_n_vectors(fs, 0), n);
    CHECK_EQ(featureset_verify(fs, NULL, NULL, NULL, NULL, &err), 0);
    featureset_close(fs);
    scratch_remove(&scratch);
}

TEST(real_clip_features)
{
    if (!file_exists("../shared/data/flickr8k-clip/clip_vitb32_image_512.npy"))
        SKIP("../shared/data/flickr8k-clip is not here");
    import_real("../shared/data/flickr8k-clip/clip_vitb32_image_512", 800, 512);
}

TEST(real_mobilenet_features)
{
    if (!file_exists("../shared/data/clothing/mobilenet_v1_1024.npy"))
        SKIP("../shared/data/clothing is not here");
    import_real("../shared/data/clothing/mobilenet_v1_1024", 1875, 1024);
}

TEST_MAIN
