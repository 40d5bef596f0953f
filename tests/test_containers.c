/* The golden teachers in other containers: f16, bf16, PyTorch's file, shards; what stands in them
 * too much, and what is missing. */
#include "featurize/model.h"
#include "featurize/strangers.h"
#include "featurize/weightfile.h"
#include "tests/scratch.h"
#include "tests/towerkit.h"
#include "tests/weightkit.h"

static const char *const SETS[] = {"tests/golden/altclip-tiny", "../shared/golden/altclip-tiny",
                                   "../shared/golden/cnclip-tiny", "../shared/golden/clip-tiny"};
enum { N_SETS = sizeof SETS / sizeof *SETS, MAX_TENSORS = 400 };

/* The weights of a golden set, changed or not, for weightkit. */
struct weights {
    struct weightfile *file;
    struct tensor t[MAX_TENSORS];
    size_t n;
};

static void take_weights(struct weights *w, const char *set)
{
    struct error err = {0};
    char path[300];
    snprintf(path, sizeof path, "%s/model", set);
    kit_must(weightfile_open(path, &w->file, &err) == 0, &err);
    w->n = weightfile_n(w->file);
    if (w->n + 2 > MAX_TENSORS) abort();
    for (size_t i = 0; i < w->n; i++) w->t[i] = *weightfile_at(w->file, i);
}

/* Everything of a golden folder but the weights. */
static void copy_rest(const char *set, const char *to)
{
    struct error err = {0};
    char from[300], **names;
    size_t n;
    snprintf(from, sizeof from, "%s/model", set);
    kit_must(file_list(from, &names, &n, &err) == 0, &err);
    for (size_t i = 0; i < n; i++) {
        char path[400], *bytes;
        size_t n_bytes;
        if (!strcmp(names[i], "model.safetensors")) continue;
        snprintf(path, sizeof path, "%s/%s", from, names[i]);
        kit_must(file_read(path, 1 << 28, &bytes, &n_bytes, &err) == 0, &err);
        snprintf(path, sizeof path, "%s/%s", to, names[i]);
        kit_must(file_write(path, bytes, n_bytes, &err) == 0, &err);
        memory_free(bytes);
    }
    memory_free(names);
}

static double least_cosine(const char *set, const char *name, const float *unit)
{
    struct npy shape;
    double least = 1;
    float *want = kit_array(set, name, &shape);
    for (uint64_t i = 0; i < shape.n_rows; i++)
        least = fmin(least,
                     kit_cosine(unit + i * shape.n_cols, want + i * shape.n_cols, shape.n_cols));
    memory_free(want);
    return least;
}

static void check_folder(const char *set, const char *folder, const char *what, double cosine)
{
    struct error err = {0};
    struct model *m;
    struct npy u8;
    char path[300];
    const char *text[64];
    size_t n_text[64];
    static float out[64 * 64];
    CHECK_OK(model_open(&m, folder, MODEL_IMAGE | MODEL_TEXT | MODEL_MAPPED, &err), &err);
    CHECK_OK(tower_pack(m->image, NUMERICS_F32, &err), &err);
    CHECK_OK(tower_pack(m->text, NUMERICS_F32, &err), &err);
    snprintf(path, sizeof path, "%s/tokens.json", set);
    struct json *j = json_read_file(path, 1 << 24, &err);
    const struct json *captions = json_get(j, "captions");
    int n = (int)json_size(captions);
    CHECK(n > 5 && n <= 64 && m->projection_dim <= 64);
    for (int i = 0; i < n; i++) {
        text[i] = json_text(json_get(json_at(captions, (size_t)i), "text"), "");
        n_text[i] = strlen(text[i]);
    }
    CHECK_OK(model_embed_texts(m, NUMERICS_F32, n, text, n_text, out, NULL, &err), &err);
    double texts = least_cosine(set, "text_embeds.npy", out);
    snprintf(path, sizeof path, "%s/expected/pixels_u8.npy", set);
    CHECK_OK(npy_open(path, &u8, &err), &err);
    CHECK_OK(model_embed_pixels(m, NUMERICS_F32, (int)u8.n_rows, u8.data, out, NULL, &err), &err);
    double pictures = least_cosine(set, "image_embeds.npy", out);
    if (!(texts > cosine && pictures > cosine))
        CHECK_FAIL("%s, %s: cosines %.7f and %.7f", set, what, texts, pictures);
    printf("# %s, %s: 1 - cosine %.2g of texts, %.2g of pictures\n", set, what, 1 - texts,
           1 - pictures);
    npy_close(&u8);
    json_free(j);
    model_free(m);
}

/* f16 has 11 bits of a weight, bf16 has 8: their embeddings are so near to f32's. */
static const struct {
    const char *what;
    enum tensor_type type;
    bool is_torch;
    int shards;
    double cosine;
} CONTAINERS[] = {
    {"f32 in 2 shards of pytorch_model.bin", TENSOR_F32, true, 2, 0.9999999},
    {"f32 in 5 shards of safetensors", TENSOR_F32, false, 5, 0.9999999},
    {"f16 in safetensors", TENSOR_F16, false, 1, 0.99999},
    {"f16 in 3 shards of pytorch_model.bin", TENSOR_F16, true, 3, 0.99999},
    {"bf16 in 3 shards of safetensors", TENSOR_BF16, false, 3, 0.9997},
    {"bf16 in pytorch_model.bin", TENSOR_BF16, true, 1, 0.9997},
};

TEST(golden_teachers_in_every_container)
{
    int n_sets = 0;
    for (int i = 0; i < N_SETS; i++) {
        if (!kit_has(SETS[i])) continue;
        n_sets++;
        struct weights w;
        take_weights(&w, SETS[i]);
        for (size_t k = 0; k < sizeof CONTAINERS / sizeof *CONTAINERS; k++) {
            struct scratch at;
            scratch_make(&at);
            copy_rest(SETS[i], at.folder);
            weightkit_write(at.folder, w.n, w.t, CONTAINERS[k].type, CONTAINERS[k].is_torch,
                            CONTAINERS[k].shards);
            check_folder(SETS[i], at.folder, CONTAINERS[k].what, CONTAINERS[k].cosine);
            scratch_remove(&at);
        }
        weightfile_close(w.file);
    }
    CHECK(n_sets >= 1);
}

static char said[800];

static void hear(void *ctx, const char *text)
{
    (void)ctx;
    snprintf(said, sizeof said, "%s", text);
}

/* Opening the folder fails with one sentence that has all of these. */
static void refused(const char *folder, int code, const char *one, const char *two)
{
    struct error err = {0};
    struct model *m;
    CHECK_EQ(model_open(&m, folder, MODEL_IMAGE | MODEL_TEXT | MODEL_MAPPED, &err), code);
    CHECK(!m);
    CHECK_HAS(err.text, folder);
    CHECK_HAS(err.text, one);
    CHECK_HAS(err.text, two);
    CHECK(!strchr(err.text, '\n'));
}

/* A folder with the weights in three shards. */
static void make_shards(struct scratch *at, const struct weights *w, bool is_torch)
{
    scratch_make(at);
    copy_rest(SETS[0], at->folder);
    weightkit_write(at->folder, w->n, w->t, TENSOR_F16, is_torch, 3);
}

TEST(tensors_too_many_are_named_and_one_too_few_is_fatal)
{
    static const float x[2] = {1, 2};
    struct error err = {0};
    struct weights w;
    struct scratch at;
    struct model *m;
    take_weights(&w, SETS[0]);
    struct tensor extra = {.name = "text_model.roberta.adapter.weight",
                           .type = TENSOR_F32,
                           .n_dims = 1,
                           .shape = {2},
                           .n = 2,
                           .bytes = (const uint8_t *)x,
                           .n_bytes = sizeof x};
    for (int is_torch = 0; is_torch < 2; is_torch++) {
        struct report report = {.warn = hear};
        w.t[w.n++] = extra;
        make_shards(&at, &w, is_torch);
        CHECK_OK(model_open(&m, at.folder, MODEL_IMAGE | MODEL_TEXT | MODEL_MAPPED, &err), &err);
        CHECK_EQ(strangers_warn(m, &report), 1);
        CHECK_HAS(said, extra.name);
        model_free(m);
        scratch_remove(&at);
        w.n--;
        struct tensor last = w.t[w.n - 1]; /* the last by name: visual_projection.weight */
        w.n--;
        make_shards(&at, &w, is_torch);
        refused(at.folder, ERR_DATA, last.name, "is missing from the weights");
        scratch_remove(&at);
        w.t[w.n++] = last;
    }
    weightfile_close(w.file);
}

static void cut(const char *path, uint64_t n)
{
    if (file_size(path) < n || truncate(path, (off_t)n)) CHECK_FAIL("%s is no shard", path);
}

static void check_damage(const struct weights *w, bool is_torch)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    const char *second = is_torch ? "pytorch_model-00002-of-00003.bin"
                                  : "model-00002-of-00003.safetensors",
               *index = is_torch ? "pytorch_model.bin.index.json" : "model.safetensors.index.json",
               *nothing = is_torch ? "zip archive" : "no safetensors file";
    struct scratch at;
    char path[300];
    make_shards(&at, w, is_torch);
    snprintf(path, sizeof path, "%s", scratch_path(&at, second));
    cut(path, file_size(path) - 100);
    refused(at.folder, ERR_DATA, second, "the file is truncated or broken");
    cut(path, 1000);
    refused(at.folder, ERR_DATA, second, "truncated");
    cut(path, 4);
    refused(at.folder, ERR_DATA, second, nothing);
    cut(path, 0);
    refused(at.folder, ERR_DATA, second, nothing);
    scratch_bytes(&at, second, pointer, sizeof pointer - 1);
    refused(at.folder, ERR_DATA, second, "git-lfs pointer: fetch the file itself");
    unlink(path);
    refused(at.folder, ERR_NOT_FOUND, index, second);
    refused(at.folder, ERR_NOT_FOUND, "is not in the folder", "fetch it too");
    scratch_bytes(&at, index, "{\"weight_map\": {\"a\": 7}}", 24);
    refused(at.folder, ERR_DATA, index, "no plain file name");
    scratch_remove(&at);
}

TEST(a_shard_that_is_missing_or_cut_is_told)
{
    struct weights w;
    take_weights(&w, SETS[0]);
    for (int is_torch = 0; is_torch < 2; is_torch++) check_damage(&w, is_torch);
    weightfile_close(w.file);
}

TEST_MAIN
