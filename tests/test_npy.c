/* NumPy files: those of NumPy itself, round trips, and headers that lie. */
#include "store/npy.h"

#include <unistd.h>

#include "store/memory.h"
#include "tests/scratch.h"

static struct error err;
static struct scratch scratch;
static char *const folder = scratch.folder;
static char path[100];

static void make_folder(void)
{
    scratch_make(&scratch);
    snprintf(path, sizeof path, "%s/a.npy", folder);
}

/* Writes a file of version 1 with this header text and these data, and opens it. */
static int open_made(const char *header, const void *data, size_t n_data, struct npy *a)
{
    char bytes[1000] = "\x93NUMPY\x01";
    size_t n = strlen(header);
    bytes[8] = (char)n;
    bytes[9] = (char)(n >> 8);
    memcpy(bytes + 10, header, n);
    if (n_data) memcpy(bytes + 10 + n, data, n_data);
    if (file_write(path, bytes, 10 + n + n_data, &err) < 0) abort();
    return npy_open(path, a, &err);
}

TEST(npy_reads_what_numpy_wrote)
{
    static const char *const files[] = {"image_embeds", "pixels", "vision_hidden", "text_embeds"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct npy a;
        char name[100];
        snprintf(name, sizeof name, "tests/golden/altclip-tiny/expected/%s.npy", files[i]);
        CHECK_OK(npy_open(name, &a, &err), &err);
        CHECK_EQ(a.type, NPY_F32);
        CHECK(a.n_dims >= 2 && a.n_rows > 0 && a.n_cols > 0);
        float *row = memory_array(a.n_cols, sizeof *row, MEMORY_MAX_TENSOR, &err);
        double sum = 0;
        npy_row_f32(&a, a.n_rows - 1, row);
        for (uint64_t k = 0; k < a.n_cols; k++) sum += (double)row[k] * (double)row[k];
        CHECK(isfinite(sum) && sum > 0);
        if (i == 0 || i == 3) CHECK_NEAR(sum, 1, 1e-5); /* unit vectors, summed from f32 */
        memory_free(row);
        npy_close(&a);
    }
    struct npy ids;
    CHECK_OK(npy_open("tests/golden/altclip-tiny/expected/input_ids.npy", &ids, &err), &err);
    CHECK(ids.type == NPY_I64 || ids.type == NPY_I32);
    npy_close(&ids);
}

TEST(npy_round_trip)
{
    make_folder();
    struct npy_writer *w;
    struct npy a;
    float row[3], back[3];
    CHECK_OK(npy_create(path, 3, &w, &err), &err);
    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < 3; k++) row[k] = (float)(i * 3 + k) / 7;
        CHECK_OK(npy_add_row(w, row, &err), &err);
    }
    CHECK(!file_exists(path)); /* in place only when whole */
    CHECK_OK(npy_finish(w, &err), &err);
    CHECK_OK(npy_open(path, &a, &err), &err);
    CHECK_EQ(a.n_rows, 1000);
    CHECK_EQ(a.n_cols, 3);
    CHECK_EQ(a.data - a.map.bytes, 128);
    npy_row_f32(&a, 999, back);
    CHECK(!memcmp(row, back, sizeof row));
    npy_close(&a);
    CHECK_OK(npy_create(path, 3, &w, &err), &err);
    npy_abandon(w);
    char **names;
    size_t n;
    CHECK_OK(file_list(folder, &names, &n, &err), &err);
    CHECK_EQ(n, 1);
    memory_free(names);
    scratch_remove(&scratch);
}

TEST(npy_converts_every_type)
{
    make_folder();
    struct npy a;
    float out[2];
    uint16_t f16[] = {0xc100, 0x3555}; /* -2.5, 0.333251953125 */
    float f32[] = {-2.5f, 0.5f};
    double f64[] = {-2.5, 0.5};
    uint8_t u8[] = {255, 1};
    int32_t i32[] = {-7, 5};
    int64_t i64[] = {-7, 5};
    CHECK_OK(open_made("{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }\n", f16, 4, &a),
             &err);
    CHECK(a.n_rows == 2 && a.n_cols == 1);
    npy_row_f32(&a, 0, out);
    npy_row_f32(&a, 1, out + 1);
    CHECK(out[0] == -2.5f && out[1] == 0.333251953125f);
    npy_close(&a);
    CHECK_OK(open_made("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}", f32, 8, &a),
             &err);
    npy_row_f32(&a, 0, out);
    CHECK(out[0] == -2.5f && out[1] == 0.5f);
    npy_close(&a);
    CHECK_OK(open_made("{\"shape\": (1, 2, 1), \"descr\": \"<f8\", \"fortran_order\": False}", f64,
                       16, &a),
             &err);
    npy_row_f32(&a, 0, out);
    CHECK(out[0] == -2.5f && out[1] == 0.5f);
    npy_close(&a);
    CHECK_OK(open_made("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2)}", u8, 2, &a),
             &err);
    npy_row_f32(&a, 0, out);
    CHECK(out[0] == 255 && out[1] == 1);
    npy_close(&a);
    CHECK_OK(open_made("{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2)}", i32, 8, &a),
             &err);
    npy_row_f32(&a, 0, out);
    CHECK(out[0] == -7 && out[1] == 5);
    npy_close(&a);
    CHECK_OK(open_made("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2)}", i64, 16, &a),
             &err);
    npy_row_f32(&a, 0, out);
    CHECK(out[0] == -7 && out[1] == 5);
    npy_close(&a);
    CHECK_OK(open_made("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5)}", NULL, 0, &a),
             &err);
    CHECK(a.n_rows == 0 && a.n_cols == 5);
    npy_close(&a);
    scratch_remove(&scratch);
}

TEST(npy_refuses_headers_that_lie)
{
    static const struct {
        const char *header, *why;
    } bad[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}",
         "16 bytes of data, 8 are there"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "4 bytes of data, 8 are there"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
         "too large"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693953, 1)}",
         "too large"}, /* wraps to 8 */
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 2)}", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2)}", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", "no dimension"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2,)}", "Fortran"},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", "type"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", "type"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "type"},
        {"{'descr': '<f4', 'fortran_order': False}", "lacks"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "repeated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", "unknown"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", "after"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,", "shape"},
        {"{'descr': '<f4", "type"},
        {"{", "malformed"},
        {"", "dictionary"},
    };
    make_folder();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct npy a;
        CHECK_EQ(open_made(bad[i].header, "12345678", 8, &a), ERR_DATA);
        CHECK_HAS(err.text, bad[i].why);
        CHECK_HAS(err.text, path);
        CHECK(!a.map.bytes);
    }
    scratch_remove(&scratch);
}

/* A good file cut at every length, and with every byte of its head changed: an error or an array,
 * never a crash. */
TEST(npy_survives_damage)
{
    make_folder();
    struct npy a;
    char *bytes;
    size_t n;
    CHECK_OK(open_made("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n", "12345678",
                       8, &a),
             &err);
    npy_close(&a);
    CHECK_OK(file_read(path, 1000, &bytes, &n, &err), &err);
    for (size_t cut = 0; cut < n; cut++) {
        CHECK_OK(file_write(path, bytes, cut, &err), &err);
        CHECK_EQ(npy_open(path, &a, &err), ERR_DATA);
    }
    for (size_t i = 0; i < n - 8; i++) {
        for (int x = 1; x < 256; x = x * 3 + 1) {
            bytes[i] ^= (char)x;
            FILE *f = fopen(path, "wb"); /* file_write would sync a thousand times */
            CHECK(f && fwrite(bytes, n, 1, f) == 1 && fclose(f) == 0);
            bytes[i] ^= (char)x;
            if (npy_open(path, &a, &err) < 0) continue;
            float row[8];
            CHECK(a.n_rows * a.n_cols <= 8);
            for (uint64_t r = 0; r < a.n_rows; r++) npy_row_f32(&a, r, row);
            npy_close(&a);
        }
    }
    memory_free(bytes);
    scratch_remove(&scratch);
}

TEST_MAIN
