/* clip-retrieval's folders: partitions are one matrix, keys come from the right column, and what does not fit together is refused.
 * The whole way there and back is in tests/cli_interchange.sh.
 *
 * covers: intake transfer_clip
 */
#include "store/clipfolder.h"

#include <unistd.h>

#include "store/memory.h"
#include "tests/scratch.h"

static struct scratch s;

/* FOLDER/x, a file of text. */
static void put(const char *name, const char *text)
{
    struct error err = {0};
    char *folder = file_folder_of(scratch_path(&s, name), &err);
    if (!folder || file_make_folder(folder, &err) < 0) CHECK_FAIL("%s", err.text);
    memory_free(folder);
    scratch_bytes(&s, name, text, strlen(text));
}

/* Rows first, first + 1, .. of one column and its half. */
static void put_npy(const char *name, int first, int n, uint32_t dim)
{
    struct error err = {0};
    struct npy_writer *w;
    float row[4];
    put(name, "");
    CHECK_OK(npy_create_as(scratch_path(&s, name), NPY_F16, dim, &w, &err), &err);
    for (int i = 0; i < n; i++) {
        for (uint32_t j = 0; j < dim; j++) row[j] = (float)(first + i) / (float)(j + 1);
        CHECK_OK(npy_add_row(w, row, &err), &err);
    }
    CHECK_OK(npy_finish(w, &err), &err);
}

static void set_up(void)
{
    scratch_make(&s);
    put_npy("img_emb/img_emb_00.npy", 0, 3, 2);
    put_npy("img_emb/img_emb_01.npy", 3, 2, 2);
    put_npy("text_emb/text_emb_00.npy", 10, 3, 4);
    put_npy("text_emb/text_emb_01.npy", 13, 2, 4);
    put("metadata/metadata_00.csv",
        "image_path,caption\na.jpg,one\nb.jpg,\"two, \"\"2\"\"\"\na.jpg,three\n");
    put("metadata/metadata_01.csv",
        "caption,x,image_path,image_key\nfour,,d.jpg,K4\nfive,,e.jpg,K5\n");
    put("image.identity.json", "{\"tower\": \"image\"}");
    put("text.identity.json", "{\"tower\": \"text\"}");
}

static char keys[200];

static int join(void *context, uint64_t row, const uint8_t *key, char *text, struct error *err)
{
    (void)context, (void)err;
    CHECK(!key);
    sprintf(keys + strlen(keys), "%d=%s;", (int)row, text);
    return 0;
}

static int read_tower(const char *tower, struct intake *in, struct error *err)
{
    static struct transfer_source from;
    transfer_source_defaults(&from);
    from.clip_retrieval = s.folder;
    from.tower = tower;
    *keys = 0;
    int rc = intake_open(in, &from, err);
    return rc == 0 ? intake_keys(in, join, NULL, err) : rc;
}

TEST(partitions_are_one_matrix)
{
    struct error err = {0};
    struct intake in;
    float row[4];
    uint64_t there;
    set_up();
    CHECK_OK(read_tower("image", &in, &err), &err);
    CHECK_STR(keys, "0=a.jpg;1=b.jpg;2=a.jpg;3=K4;4=K5;");
    CHECK_EQ(in.n_rows, 5);
    for (uint64_t i = 0; i < 5; i++) {
        intake_row(&in, i, row);
        CHECK_NEAR(row[0], (double)i, 0);
        CHECK_NEAR(row[1], (double)i / 2, 0);
    }
    CHECK_HAS(intake_place(&in, 3, &there), "img_emb_01.npy");
    CHECK_EQ(there, 0);
    intake_close(&in);
    CHECK_OK(read_tower("text", &in, &err), &err);
    CHECK_STR(keys, "0=one;1=two, \"2\";2=three;3=four;4=five;");
    intake_row(&in, 4, row);
    CHECK_NEAR(row[0], 14, 0);
    intake_close(&in);
    scratch_remove(&s);
}

static void refuse(int code, const char *word)
{
    struct error err = {0};
    struct intake in;
    CHECK_EQ(read_tower("image", &in, &err), code);
    CHECK_HAS(err.text, word);
    intake_close(&in);
}

TEST(what_does_not_fit_together)
{
    set_up();
    put("metadata/metadata_01.csv", "image_path\nd.jpg\n");
    refuse(ERR_DATA, "has 1 records, but ");
    put("metadata/metadata_01.csv", "caption,image_path\nd\ne,f\n");
    refuse(ERR_DATA, "line 2 has 1 fields");
    put("metadata/metadata_01.csv", "url\nd\n");
    refuse(ERR_DATA, "neither a column image_key nor image_path");
    CHECK_EQ(unlink(scratch_path(&s, "metadata/metadata_01.csv")), 0);
    refuse(ERR_NOT_FOUND, "metadata_01.csv is not there");
    put("metadata/metadata_01.parquet", "PAR1");
    refuse(ERR_DATA, "Parquet is not read; convert it with: python3");
    put_npy("img_emb/img_emb_01.npy", 0, 2, 3);
    put("metadata/metadata_01.csv", "image_path\nd.jpg\ne.jpg\n");
    refuse(ERR_DATA, "img_emb_01.npy has rows of 3 values");
    put("img_emb/img_emb_01.npy", "broken");
    refuse(ERR_DATA, "img_emb_01.npy: is not a NumPy .npy file");
    put("image.identity.json", "[]");
    refuse(ERR_DATA, "img_emb_01.npy");
    CHECK_EQ(unlink(scratch_path(&s, "image.identity.json")), 0);
    refuse(ERR_NOT_FOUND, "image.identity.json");
    scratch_remove(&s);
}

TEST(another_exports_files_are_not_mixed_in)
{
    struct error err = {0};
    struct clipfolder *w;
    struct clipfolder_layout image = {.image_dim = 2, .type = NPY_F32};
    set_up();
    CHECK_EQ(clipfolder_create(s.folder, &image, &w, &err), ERR_EXISTS);
    CHECK_HAS(err.text, "img_emb_00.npy is of another export");
    scratch_remove(&s);
    scratch_make(&s);
    put_npy("text_emb/text_emb_0.npy", 0, 1, 2);
    CHECK_EQ(clipfolder_create(s.folder, &image, &w, &err), ERR_EXISTS);
    CHECK_HAS(err.text, "text_emb_0.npy is of another export");
    CHECK(!w);
    scratch_remove(&s);
}

TEST(a_row_of_each_kind)
{
    struct error err = {0};
    struct clipfolder *w;
    struct clipfolder_layout both = {.image_dim = 2, .text_dim = 1, .type = NPY_F16};
    uint8_t key[2][DIGEST_BYTES] = {{0xab}, {0xcd}};
    float x[2] = {0.6f, 0.8f}, y[1] = {1};
    struct clipfolder_row row = {x, y, key[0], key[1], "k.jpg", "a, b", 4};
    char *text = NULL;
    size_t n;
    struct npy a;
    scratch_make(&s);
    CHECK_OK(clipfolder_create(s.folder, &both, &w, &err), &err);
    CHECK_OK(clipfolder_add(w, &row, &err), &err);
    CHECK_OK(clipfolder_finish(w, &err), &err);
    CHECK_OK(file_read(scratch_path(&s, "metadata/metadata_0.csv"), 1000, &text, &n, &err), &err);
    CHECK_HAS(text, "image_path,caption,image_key,caption_key\nk.jpg,\"a, b\",ab0000");
    CHECK_HAS(text, ",cd0000");
    CHECK_EQ(text[n - 1], '\n');
    memory_free(text);
    CHECK_OK(npy_open(scratch_path(&s, "img_emb/img_emb_0.npy"), &a, &err), &err);
    CHECK(a.type == NPY_F16 && a.n_rows == 1 && a.n_cols == 2);
    npy_close(&a);
    scratch_remove(&s);
}

TEST_MAIN
