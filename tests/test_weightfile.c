/* The weights of a folder: the golden teacher's, shards, what is missing, and the order of
 * preference. */
#include "featurize/weightfile.h"

#include <unistd.h>

#include "featurize/safetensors.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

TEST(teacher_is_read)
{
    struct error err = {0};
    struct weightfile *w;
    CHECK_OK(weightfile_open("tests/golden/altclip-tiny/model", &w, &err), &err);
    const struct tensor *t = weightfile_find(w, "text_projection.weight");
    CHECK(t != NULL);
    CHECK_EQ(t->n_dims, 2);
    CHECK_EQ(t->shape[0], 40);
    CHECK_EQ(t->n, 1600);
    float x[1600];
    CHECK_OK(tensor_f32(t, x, &err), &err);
    CHECK(isfinite(x[0]) && x[0] != 0 && isfinite(x[1599]));
    CHECK_EQ(weightfile_find(w, "logit_scale")->n_dims, 0);
    CHECK_EQ(weightfile_find(w, "logit_scale")->n, 1);
    CHECK(weightfile_find(w, "no.such") == NULL);
    for (size_t i = 1; i < weightfile_n(w); i++)
        CHECK(strcmp(weightfile_at(w, i - 1)->name, weightfile_at(w, i)->name) < 0);
    CHECK(weightfile_at(w, weightfile_n(w)) == NULL);
    weightfile_close(w);
}

static void write_one(const char *name, const char *tensor, float value)
{
    struct error err = {0};
    struct tensor t = {
        .name = tensor, .type = TENSOR_F32, .n = 1, .bytes = (const uint8_t *)&value, .n_bytes = 4};
    CHECK_OK(safetensors_write(scratch_here(name), 1, &t, NULL, &err), &err);
}

static void write_text(const char *name, const char *text)
{
    struct error err = {0};
    CHECK_OK(file_write(scratch_here(name), text, strlen(text), &err), &err);
}

TEST(shards_are_one_table)
{
    struct error err = {0};
    struct weightfile *w;
    write_one("m-1.safetensors", "b", 1);
    write_one("m-2.safetensors", "a", 2);
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"b\":\"m-1.safetensors\",\"a\":"
                                               "\"m-2.safetensors\",\"c\":\"m-1.safetensors\"}}");
    CHECK_OK(weightfile_open(scratch_here("."), &w, &err), &err);
    CHECK_EQ(weightfile_n(w), 2);
    CHECK_STR(weightfile_at(w, 0)->name, "a");
    weightfile_close(w);

    write_one("m-2.safetensors", "b", 2);
    CHECK_EQ(weightfile_open(scratch_here("."), &w, &err), ERR_DATA);
    CHECK_HAS(err.text, "tensor b stands there twice");
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"b\":\"../m-1.safetensors\"}}");
    CHECK_EQ(weightfile_open(scratch_here("."), &w, &err), ERR_DATA);
    CHECK_HAS(err.text, "is no plain file name");
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"b\":\"m-3.safetensors\"}}");
    CHECK_EQ(weightfile_open(scratch_here("."), &w, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "m-3.safetensors");
    write_text("model.safetensors.index.json", "{}");
    CHECK_EQ(weightfile_open(scratch_here("."), &w, &err), ERR_DATA);
    CHECK_HAS(err.text, "no weight_map");
    unlink(scratch_here("model.safetensors.index.json"));
}

static void copy(const char *from, const char *name)
{
    struct error err = {0};
    char *bytes;
    size_t n;
    CHECK_OK(file_read(from, 1 << 26, &bytes, &n, &err), &err);
    CHECK_OK(file_write(scratch_here(name), bytes, n, &err), &err);
    memory_free(bytes);
}

TEST(pytorch_files_and_their_shards)
{
    struct error err = {0};
    struct weightfile *w;
    copy("tests/golden/altclip-tiny/model-bin/pytorch_model.bin", "p-1.bin");
    copy("tests/seeds/pickle/small.zip", "p-2.bin");
    write_text("pytorch_model.bin.index.json",
               "{\"weight_map\":{\"logit_scale\":\"p-1.bin\",\"w\":\"p-2.bin\"}}");
    CHECK_OK(weightfile_open(scratch_here("."), &w, &err), &err);
    CHECK_EQ(weightfile_n(w), 119 + 3);
    const struct tensor *t = weightfile_find(w, "w");
    float x[4];
    CHECK_OK(tensor_f32(t, x, &err), &err);
    CHECK(t->in_file && t->n == 4 && x[0] == 0 && x[3] == 3);
    tensor_drop(t);
    CHECK_EQ(weightfile_find(w, "b")->type, TENSOR_BOOL);
    CHECK_EQ(weightfile_find(w, "e")->n, 0);
    CHECK(weightfile_find(w, "visual_projection.weight") != NULL);
    weightfile_close(w);
    for (long nth = 1; nth < 40; nth++) {
        memory_fail_at(nth);
        int rc = weightfile_open(scratch_here("."), &w, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || (rc == ERR_NOMEM && !w));
        weightfile_close(w);
    }

    copy("tests/seeds/pickle/small.zip", "pytorch_model.bin"); /* goes before its index */
    CHECK_OK(weightfile_open(scratch_here("."), &w, &err), &err);
    CHECK_EQ(weightfile_n(w), 3);
    weightfile_close(w);
    write_one("model.safetensors", "x", 1); /* and this before all */
    CHECK_OK(weightfile_open(scratch_here("."), &w, &err), &err);
    CHECK_EQ(weightfile_n(w), 1);
    CHECK_STR(weightfile_at(w, 0)->name, "x");
    weightfile_close(w);
    unlink(scratch_here("model.safetensors"));
    copy("tests/seeds/pickle/legacy.bin", "pytorch_model.bin");
    CHECK_EQ(weightfile_open(scratch_here("."), &w, &err), ERR_DATA);
    CHECK_HAS(err.text, "pytorch_model.bin: a file in PyTorch's format of before 1.6");
    unlink(scratch_here("pytorch_model.bin"));
    unlink(scratch_here("pytorch_model.bin.index.json"));
}

TEST(a_file_written_to_in_use_is_noticed)
{
    struct error err = {0};
    struct weightfile *w;
    write_one("model.safetensors", "x", 1);
    CHECK_OK(weightfile_open(scratch_here("."), &w, &err), &err);
    CHECK_OK(weightfile_check(w, &err), &err);
    write_one("model.safetensors", "x", 2); /* another file of this name */
    CHECK_OK(weightfile_check(w, &err), &err);
    weightfile_close(w);
    CHECK_OK(weightfile_open(scratch_here("."), &w, &err), &err);
    FILE *f = fopen(scratch_here("model.safetensors"), "ab");
    if (!f || fputc(0, f) == EOF || fclose(f) != 0) abort();
    CHECK_EQ(weightfile_check(w, &err), ERR_DATA);
    CHECK_HAS(err.text, "model.safetensors was written to while it was in use");
    unlink(scratch_here("model.safetensors"));
    CHECK_OK(weightfile_check(w, &err), &err); /* removed: the map is still of it */
    weightfile_close(w);
    CHECK_OK(weightfile_check(NULL, &err), &err);
}

TEST(a_folder_without_weights_says_what_is_there)
{
    struct error err = {0};
    struct weightfile *w;
    CHECK_EQ(weightfile_open("tests/golden", &w, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "no weights: expected model.safetensors");
}

TEST_MAIN
