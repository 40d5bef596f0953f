/* Model folders: embeddings equal Hugging Face's, threads do not matter, what is written is read,
 * what is broken is named.
 *
 * covers: modelembed modelsave embed
 */
#include <omp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "featurize/model.h"
#include "featurize/safetensors.h"
#include "featurize/weightfile.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/npy.h"
#include "tests/scratch.h"

static const char made[] = "tests/golden/altclip-tiny", own[] = "../shared/golden/altclip-tiny";

static const char *in_set(const char *set, const char *name)
{
    static char path[4][300];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", set, name);
    return p;
}

struct captions {
    struct json *json;
    int n;
    const char *text[64];
    size_t n_bytes[64];
};

static void captions_read(const char *set, struct captions *c)
{
    struct error err = {0};
    c->json = json_read_file(in_set(set, "tokens.json"), 1 << 24, &err);
    const struct json *list = json_get(c->json, "captions");
    c->n = (int)json_size(list);
    for (int i = 0; i < c->n; i++) {
        c->text[i] = json_text(json_get(json_at(list, (size_t)i), "text"), "");
        c->n_bytes[i] = strlen(c->text[i]);
    }
}

/* Rows against the golden ones: direction, and length times direction where raw_tolerance > 0. */
static void check_rows(const char *set, const char *name, const char *raw, const float *unit,
                       const float *norms, double cosine, double raw_tolerance)
{
    struct error err = {0};
    struct npy a, b;
    CHECK_OK(npy_open(in_set(set, name), &a, &err), &err);
    CHECK_OK(npy_open(in_set(set, raw), &b, &err), &err);
    float *want = memory_array(a.n_cols, sizeof *want, MEMORY_MAX_SMALL, &err);
    for (uint64_t i = 0; i < a.n_rows; i++) {
        double dot = 0, x = 0, y = 0, worst = 0;
        const float *row = unit + i * a.n_cols;
        npy_row_f32(&a, i, want);
        for (uint64_t k = 0; k < a.n_cols; k++) {
            dot += (double)row[k] * want[k];
            x += (double)row[k] * row[k];
            y += (double)want[k] * want[k];
        }
        CHECK(dot / sqrt(x * y) > cosine);
        npy_row_f32(&b, i, want);
        for (uint64_t k = 0; k < a.n_cols; k++)
            worst = fmax(worst, fabs((double)row[k] * norms[i] - want[k]));
        if (raw_tolerance > 0) CHECK_NEAR(worst, 0, raw_tolerance);
    }
    memory_free(want);
    npy_close(&a);
    npy_close(&b);
}

/* exp(logit_scale) * picture . text, within the golden tolerance. */
static void check_logits(const char *set, const struct model *m, int n, const float *pictures,
                         int n_texts, const float *texts)
{
    struct error err = {0};
    struct npy a;
    float want[64];
    CHECK_OK(npy_open(in_set(set, "expected/logits_per_image.npy"), &a, &err), &err);
    CHECK_EQ(a.n_cols, n_texts);
    for (int i = 0; i < n; i++) {
        npy_row_f32(&a, (uint64_t)i, want);
        for (int j = 0; j < n_texts; j++) {
            double dot = 0;
            for (int k = 0; k < m->projection_dim; k++)
                dot += (double)pictures[i * m->projection_dim + k] *
                       texts[j * m->projection_dim + k];
            CHECK_NEAR(dot * m->logit_scale, want[j], 2e-3);
        }
    }
    npy_close(&a);
}

static void check_folder(const char *set, const char *name, int parts, enum numerics numerics,
                         double cosine, double raw_tolerance)
{
    struct error err = {0};
    struct model *m;
    struct npy u8;
    struct captions c;
    CHECK_OK(model_open(&m, in_set(set, name), MODEL_IMAGE | MODEL_TEXT | parts, &err), &err);
    CHECK(!m->is_student);
    CHECK(!m->weights == !parts); /* the file stays open for mapped towers alone */
    CHECK_EQ(m->max_tokens, 64);
    CHECK_OK(tower_pack(m->image, numerics, &err), &err);
    CHECK_OK(tower_pack(m->text, numerics, &err), &err);
    CHECK_OK(npy_open(in_set(set, "expected/pixels_u8.npy"), &u8, &err), &err);
    captions_read(set, &c);
    float out[64 * 64], pictures[64 * 64], norms[64];
    CHECK(m->projection_dim <= 64);
    CHECK_OK(model_embed_pixels(m, numerics, (int)u8.n_rows, u8.data, pictures, norms, &err), &err);
    check_rows(set, "expected/image_embeds.npy", "expected/image_embeds_raw.npy", pictures, norms,
               cosine, raw_tolerance);
    CHECK_OK(model_embed_texts(m, numerics, c.n, c.text, c.n_bytes, out, norms, &err), &err);
    check_rows(set, "expected/text_embeds.npy", "expected/text_embeds_raw.npy", out, norms, cosine,
               raw_tolerance);
    if (numerics == NUMERICS_F32) check_logits(set, m, (int)u8.n_rows, pictures, c.n, out);
    json_free(c.json);
    npy_close(&u8);
    model_free(m);
}

/* From safetensors and from PyTorch's file, copied and mapped. */
static void check_set(const char *set, enum numerics numerics, double cosine, double raw_tolerance)
{
    check_folder(set, "model", 0, numerics, cosine, raw_tolerance);
    check_folder(set, "model", MODEL_MAPPED, numerics, cosine, raw_tolerance);
    check_folder(set, "model-bin", MODEL_MAPPED, numerics, cosine, raw_tolerance);
}

TEST(made_teacher_f32)
{
    check_set(made, NUMERICS_F32, 0.99999, 1e-4);
}

TEST(made_teacher_bf16)
{
    check_set(made, NUMERICS_BF16, 0.999, 0);
}

TEST(other_teacher_f32_and_bf16)
{
    if (!file_is_folder(own)) SKIP("../shared/golden/altclip-tiny is not there");
    check_set(own, NUMERICS_F32, 0.99999, 1e-4);
    check_set(own, NUMERICS_BF16, 0.999, 0);
}

TEST(threads_and_neighbours_do_not_matter)
{
    struct error err = {0};
    struct model *m;
    struct npy u8;
    struct captions c;
    CHECK_OK(model_open(&m, in_set(made, "model"), MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK_OK(npy_open(in_set(made, "expected/pixels_u8.npy"), &u8, &err), &err);
    captions_read(made, &c);
    static float first[2][64 * 64], again[2][64 * 64];
    int n_images = (int)u8.n_rows, threads = omp_get_max_threads(), dim = m->projection_dim;
    for (int t = 1; t <= 3; t++) {
        float(*to)[64 * 64] = t == 1 ? first : again;
        omp_set_num_threads(t);
        CHECK_OK(model_embed_pixels(m, NUMERICS_F32, n_images, u8.data, to[0], NULL, &err), &err);
        CHECK_OK(model_embed_texts(m, NUMERICS_F32, c.n, c.text, c.n_bytes, to[1], NULL, &err),
                 &err);
        if (t > 1) CHECK(!memcmp(first, again, sizeof first));
    }
    omp_set_num_threads(threads);
    for (int i = 0; i < c.n; i++) {
        float alone[64];
        CHECK_OK(
            model_embed_texts(m, NUMERICS_F32, 1, c.text + i, c.n_bytes + i, alone, NULL, &err),
            &err);
        CHECK(!memcmp(alone, first[1] + i * dim, (size_t)dim * sizeof(float)));
    }
    CHECK_OK(model_embed_texts(m, NUMERICS_F32, 0, c.text, c.n_bytes, first[0], NULL, &err), &err);
    json_free(c.json);
    npy_close(&u8);
    model_free(m);
}

TEST(what_is_saved_is_opened)
{
    struct error err = {0};
    struct model *m, *back;
    struct captions c;
    const char *dir = scratch_here("student");
    float a[64 * 64], b[64 * 64];
    CHECK_OK(model_open(&m, in_set(made, "model"), MODEL_IMAGE | MODEL_TEXT, &err), &err);
    m->is_student = true;
    m->max_tokens = 40;
    struct json *extra = json_new_object();
    json_set_string(extra, "space", "abc");
    CHECK_OK(model_save(m, dir, extra, &err), &err);
    json_free(extra);
    CHECK_OK(model_open(&back, dir, MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK(back->is_student);
    CHECK_EQ(back->max_tokens, 40);
    CHECK_EQ(back->projection_dim, m->projection_dim);
    CHECK(back->logit_scale == m->logit_scale);
    CHECK_STR(json_text(json_get(json_get(back->config, "clipstill"), "space"), NULL), "abc");
    CHECK(back->image->params.n_floats == m->image->params.n_floats);
    CHECK(!memcmp(back->image->params.w, m->image->params.w,
                  m->image->params.n_floats * sizeof(float)));
    captions_read(made, &c);
    CHECK_OK(model_embed_texts(m, NUMERICS_F32, c.n, c.text, c.n_bytes, a, NULL, &err), &err);
    CHECK_OK(model_embed_texts(back, NUMERICS_F32, c.n, c.text, c.n_bytes, b, NULL, &err), &err);
    CHECK(!memcmp(a, b, (size_t)c.n * (size_t)m->projection_dim * sizeof(float)));
    json_free(c.json);
    model_free(back);

    /* A student may have one tower only. */
    tower_free(m->image);
    m->image = NULL;
    CHECK_OK(model_save(m, scratch_here("text-only"), NULL, &err), &err);
    CHECK_OK(model_open(&back, scratch_here("text-only"), MODEL_IMAGE | MODEL_TEXT, &err), &err);
    CHECK(!back->image && back->text);
    CHECK_EQ(model_embed_pixels(back, NUMERICS_F32, 1, (const uint8_t *)"", a, NULL, &err),
             ERR_USAGE);
    model_free(back);
    model_free(m);
}

TEST(weights_digest_sees_tensors_not_layout)
{
    struct error err = {0};
    uint8_t image[32], text[32], again[32];
    const char *dir = scratch_here("digest"), *from = in_set(made, "model");
    char path[300], source[300];
    CHECK_OK(model_weights_digest(from, false, image, &err), &err);
    CHECK_OK(model_weights_digest(from, true, text, &err), &err);
    CHECK(memcmp(image, text, 32) != 0);
    CHECK_OK(model_weights_digest(in_set(made, "model-bin"), false, again, &err), &err);
    CHECK(!memcmp(again, image, 32)); /* whatever the container */
    CHECK_OK(model_weights_digest(in_set(made, "model-bin"), true, again, &err), &err);
    CHECK(!memcmp(again, text, 32));

    /* The same tensors in another order with other metadata; then one value changed in the text tower. */
    struct weightfile *s;
    CHECK_OK(weightfile_open(from, &s, &err), &err);
    size_t n = weightfile_n(s);
    struct tensor *t = memory_array(n + 1, sizeof *t, MEMORY_MAX_SMALL, &err);
    for (size_t i = 0; i < n; i++) t[i] = *weightfile_at(s, n - 1 - i);
    float pooler = 3;
    t[n] = (struct tensor){.name = "text_model.roberta.pooler.dense.bias",
                           .type = TENSOR_F32,
                           .n_dims = 1,
                           .shape = {1},
                           .n = 1,
                           .bytes = (const uint8_t *)&pooler,
                           .n_bytes = 4};
    CHECK_OK(file_make_folder(dir, &err), &err);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK_OK(safetensors_write(path, n + 1, t, NULL, &err), &err);
    CHECK_OK(model_weights_digest(dir, true, again, &err), &err);
    CHECK(!memcmp(again, text, 32));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(t[i].name, "text_projection.weight")) continue;
        float *copy = memory_array(t[i].n, sizeof *copy, MEMORY_MAX_SMALL, &err);
        memcpy(copy, t[i].bytes, t[i].n_bytes);
        copy[7] += 1e-3f;
        t[i].bytes = (const uint8_t *)copy;
        CHECK_OK(safetensors_write(path, n, t, NULL, &err), &err);
        memory_free(copy);
    }
    CHECK_OK(model_weights_digest(dir, true, again, &err), &err);
    CHECK(memcmp(again, text, 32) != 0);
    CHECK_OK(model_weights_digest(dir, false, again, &err), &err);
    CHECK(!memcmp(again, image, 32));
    snprintf(source, sizeof source, "%s", path);
    unlink(source);
    memory_free(t);
    weightfile_close(s);
}

/* A copy of the teacher's folder without `without`; returns it. */
static const char *copy_teacher(const char *name, const char *without)
{
    static const char *const files[] = {"config.json", "preprocessor_config.json",
                                        "model.safetensors", "sentencepiece.bpe.model",
                                        "tokenizer_config.json"};
    const char *dir = scratch_here(name);
    struct error err = {0};
    if (file_make_folder(dir, &err) < 0) abort();
    for (int i = 0; i < 5; i++) {
        char from[300], to[400], *bytes;
        size_t n;
        if (!strcmp(files[i], without)) continue;
        snprintf(from, sizeof from, "%s/model/%s", made, files[i]);
        snprintf(to, sizeof to, "%s/%s", dir, files[i]);
        if (file_read(from, 1 << 28, &bytes, &n, &err) < 0 || file_write(to, bytes, n, &err) < 0)
            abort();
        memory_free(bytes);
    }
    return dir;
}

static void put(const char *dir, const char *name, const char *text)
{
    struct error err = {0};
    char path[400];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    CHECK_OK(file_write(path, text, strlen(text), &err), &err);
}

static void refused(const char *dir, int parts, int code, const char *says)
{
    struct error err = {0};
    struct model *m;
    CHECK_EQ(model_open(&m, dir, parts, &err), code);
    CHECK(m == NULL);
    CHECK_HAS(err.text, says);
}

TEST(broken_folders_are_named)
{
    refused("/nonexistent/teacher", MODEL_IMAGE, ERR_NOT_FOUND,
            "/nonexistent/teacher: no such folder");
    refused("tests/golden", MODEL_IMAGE, ERR_NOT_FOUND, "config.json");
    refused(copy_teacher("no-weights", "model.safetensors"), MODEL_TEXT, ERR_NOT_FOUND,
            "no weights: expected model.safetensors");
    refused(copy_teacher("no-tokenizer", "sentencepiece.bpe.model"), MODEL_TEXT, ERR_NOT_FOUND,
            "sentencepiece.bpe.model");
    const char *fast = copy_teacher("fast-tokenizer", "sentencepiece.bpe.model");
    put(fast, "tokenizer.json", "{}");
    refused(fast, MODEL_TEXT, ERR_NOT_FOUND, "tokenizer.json alone is not read");
    refused(copy_teacher("no-preprocessor", "preprocessor_config.json"), MODEL_IMAGE, ERR_NOT_FOUND,
            "preprocessor_config.json");

    const char *dir = copy_teacher("truncated", "");
    char path[400];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK_EQ(truncate(path, (off_t)file_size(path) - 1000), 0);
    refused(dir, MODEL_IMAGE, ERR_DATA, "the file is truncated or broken");
    CHECK_EQ(truncate(path, 3), 0);
    refused(dir, MODEL_TEXT, ERR_DATA, "3 bytes are no safetensors file");

    dir = copy_teacher("misfit", "");
    put(dir, "config.json",
        "{\"model_type\": \"altclip\", \"projection_dim\": 41, \"vision_config\": "
        "{\"hidden_size\": 64, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
        "\"intermediate_size\": 128, \"image_size\": 56, \"patch_size\": 14}}");
    refused(dir, MODEL_IMAGE, ERR_DATA,
            "tensor visual_projection.weight has shape [40, 64], config.json asks for [41, 64]");
    put(dir, "config.json",
        "{\"model_type\": \"altclip\", \"projection_dim\": 40, \"vision_config\": "
        "{\"hidden_size\": 64, \"num_hidden_layers\": 4, \"num_attention_heads\": 4, "
        "\"intermediate_size\": 128, \"image_size\": 56, \"patch_size\": 14}}");
    refused(dir, MODEL_IMAGE, ERR_DATA, "is missing from the weights");
    put(dir, "config.json",
        "{\"model_type\": \"altclip\", \"projection_dim\": 40, \"vision_config\": "
        "{\"hidden_size\": 64, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
        "\"intermediate_size\": 128, \"image_size\": 84, \"patch_size\": 14}}");
    refused(dir, MODEL_IMAGE, ERR_DATA,
            "pictures of 56 pixels, but config.json's vision_config takes 84");
    put(dir, "config.json", "{\"model_type\": \"bert\"}");
    refused(dir, MODEL_IMAGE, ERR_DATA, "model_type");
    put(dir, "config.json", "{\"model_type\": ");
    refused(dir, MODEL_IMAGE, ERR_DATA, "config.json");
}

/* Every allocation fails once: an error each time, nothing leaked (the sanitizer build sees that),
 * and then it works. */
TEST(memory_running_out_is_said)
{
    struct error err = {0};
    struct model *m = NULL;
    int rc = ERR_NOMEM, nth = 1;
    for (; nth < 2000 && rc < 0; nth++) {
        memory_fail_at(nth);
        rc = model_open(&m, in_set(made, "model"), MODEL_IMAGE | MODEL_TEXT, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || rc == ERR_NOMEM);
    }
    CHECK(nth > 10 && rc == 0);
    const char *text[2] = {"red apple", "dog"};
    size_t n_bytes[2] = {9, 3};
    float out[2 * 64];
    rc = ERR_NOMEM;
    for (nth = 1; nth < 2000 && rc < 0; nth++) {
        memory_fail_at(nth);
        rc = model_embed_texts(m, NUMERICS_F32, 2, text, n_bytes, out, NULL, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || rc == ERR_NOMEM);
    }
    CHECK(nth > 3 && rc == 0);
    rc = ERR_NOMEM;
    for (nth = 1; nth < 2000 && rc < 0; nth++) {
        memory_fail_at(nth);
        rc = model_save(m, scratch_here("nomem"), NULL, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || rc == ERR_NOMEM);
    }
    CHECK(nth > 10 && rc == 0);
    model_free(m);
}

TEST_MAIN
