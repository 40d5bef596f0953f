/* Weight files: the golden teacher's, our own, and hostile ones with the sentence each must give. */
#include "featurize/safetensors.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

#include <unistd.h>

/* A file of a header and n_data bytes 0, 1, 2, ... */
static size_t build(uint8_t *out, const char *header, size_t n_data)
{
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(out + 8, header, n);
    for (size_t i = 0; i < n_data; i++) out[8 + n + i] = (uint8_t)i;
    return 8 + n + n_data;
}

TEST(every_type_becomes_f32)
{
    const char *header = "{\"a\":{\"dtype\":\"F16\",\"shape\":[6],\"data_offsets\":[0,12]},"
                         "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[12,16]},"
                         "\"c\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[16,24]},"
                         "\"d\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[24,32]}}";
    const uint8_t data[32] = {0,    0x3c, 0,    0xc0, 1, 0, 0xff, 0x7b,
                              0,    0x7c, 0,    0x80, /* 1 -2 2^-24 65504 inf -0 */
                              0x80, 0x3f, 0x20, 0xc0, /* 1 -2.5 */
                              0,    0,    0,    0,    0, 0, 0xe0, 0x3f}; /* 0.5 */
    uint8_t file[1000];
    size_t n = build(file, header, 32);
    memcpy(file + n - 32, data, 32);
    struct error err = {0};
    struct safetensors *s;
    CHECK_OK(safetensors_read(file, n, "m", &s, &err), &err);
    float x[6];
    CHECK_OK(tensor_f32(tensor_table_find(safetensors_table(s), "a"), x, &err), &err);
    CHECK(x[0] == 1 && x[1] == -2 && x[2] == 0x1p-24f && x[3] == 65504 && isinf(x[4]) &&
          x[5] == 0 && signbit(x[5]));
    CHECK_OK(tensor_f32(tensor_table_find(safetensors_table(s), "b"), x, &err), &err);
    CHECK(x[0] == 1 && x[1] == -2.5f);
    CHECK_OK(tensor_f32(tensor_table_find(safetensors_table(s), "c"), x, &err), &err);
    CHECK(x[0] == 0.5f);
    CHECK_EQ(tensor_f32(tensor_table_find(safetensors_table(s), "d"), x, &err), ERR_DATA);
    CHECK_HAS(err.text, "tensor d: type I64 cannot be weights");
    safetensors_close(s);
}

TEST(what_is_written_is_read_and_equal)
{
    const float a[6] = {1, 2, 3, 4, 5, 6}, b[1] = {-7};
    struct tensor t[2] = {{.name = "x.weight",
                           .type = TENSOR_F32,
                           .n_dims = 2,
                           .shape = {2, 3},
                           .n = 6,
                           .bytes = (const uint8_t *)a,
                           .n_bytes = 24},
                          {.name = "logit_scale",
                           .type = TENSOR_F32,
                           .n = 1,
                           .bytes = (const uint8_t *)b,
                           .n_bytes = 4}};
    struct error err = {0};
    struct json *meta = json_new_object();
    json_set_string(meta, "format", "pt");
    CHECK_OK(safetensors_write(scratch_here("model.safetensors"), 2, t, meta, &err), &err);
    char *first, *second;
    size_t n_first, n_second;
    CHECK_OK(file_read(scratch_here("model.safetensors"), 1 << 20, &first, &n_first, &err), &err);
    CHECK_OK(safetensors_write(scratch_here("model.safetensors"), 2, t, meta, &err), &err);
    CHECK_OK(file_read(scratch_here("model.safetensors"), 1 << 20, &second, &n_second, &err), &err);
    CHECK(n_first == n_second && !memcmp(first, second, n_first));
    struct safetensors *s;
    CHECK_OK(safetensors_read(second, n_second, "m", &s, &err), &err);
    CHECK_EQ(safetensors_table(s)->n, 2);
    const struct tensor *x = tensor_table_find(safetensors_table(s), "x.weight");
    CHECK(x->shape[0] == 2 && x->shape[1] == 3 && !memcmp(x->bytes, a, 24));
    CHECK(((uintptr_t)x->bytes & 7) == 0);
    safetensors_close(s);
    json_free(meta);
    memory_free(first);
    memory_free(second);
    unlink(scratch_here("model.safetensors"));
}

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

TEST(hostile_headers_each_get_their_sentence)
{
    static const struct {
        const char *header;
        size_t n_data;
        const char *says;
    } bad[] = {
        {ONE("F32", "[2]", "[0,8]"), 7,
         "tensor w: bytes 0 to 8 do not lie in the 7 bytes of data: the file is truncated"},
        {ONE("F32", "[2]", "[8,0]"), 8, "bytes 8 to 0 do not lie"},
        {ONE("F32", "[2]", "[-8,0]"), 8, "bytes -8 to 0 do not lie"},
        {ONE("F32", "[2]", "[0,4]"), 8, "tensor w: 4 bytes of data, its shape and type need 8"},
        {ONE("F32", "[2]", "[0]"), 8, "do not lie"},
        {ONE("F32", "[2]", "\"x\""), 8, "do not lie"},
        {ONE("F8", "[2]", "[0,8]"), 8, "tensor w: unknown dtype \"F8\""},
        {ONE("F32", "[-1]", "[0,8]"), 8, "tensor w: absurd shape"},
        {ONE("F32", "[4294967296,4294967296,4294967296]", "[0,8]"), 8, "absurd shape"},
        {ONE("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 8, "shape must be an array of at most 8"},
        {ONE("F32", "7", "[0,4]"), 8, "shape must be an array"},
        {"{\"w\":3}", 0, "an object with dtype, shape and data_offsets expected"},
        {"[]", 0, "the header is no JSON object"},
        {"{\"w\":", 0, "m"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,5]},\"b\":{\"dtype\":\"U8\","
         "\"shape\":[4],\"data_offsets\":[4,8]}}",
         8, "tensors a and b overlap"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t file[1000];
        size_t n = build(file, bad[i].header, bad[i].n_data);
        struct error err = {0};
        struct safetensors *s;
        CHECK_EQ(safetensors_read(file, n, "m", &s, &err), ERR_DATA);
        CHECK(s == NULL);
        CHECK_HAS(err.text, bad[i].says);
    }
}

TEST(lengths_that_lie_are_refused)
{
    uint8_t file[100] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    struct error err = {0};
    struct safetensors *s;
    CHECK_EQ(safetensors_read(file, 100, "m", &s, &err), ERR_DATA);
    CHECK_HAS(err.text, "no safetensors file (at most 100000000 expected)");
    memset(file, 0, 8);
    file[0] = 93;
    CHECK_EQ(safetensors_read(file, 100, "m", &s, &err), ERR_DATA);
    CHECK_HAS(err.text, "truncated: the header has 93 bytes, the file 100");
    CHECK_EQ(safetensors_read(file, 7, "m", &s, &err), ERR_DATA);
    CHECK_HAS(err.text, "7 bytes are no safetensors file");
    CHECK_EQ(safetensors_read(file, 0, "m", &s, &err), ERR_DATA);
}

/* The teacher's file cut anywhere: refused every time, never read past its end. */
TEST(a_truncated_teacher_is_refused)
{
    struct error err = {0};
    char *bytes;
    size_t n;
    CHECK_OK(
        file_read("tests/golden/altclip-tiny/model/model.safetensors", 1 << 28, &bytes, &n, &err),
        &err);
    for (size_t cut = 0; cut < n; cut += 1 + n / 40) {
        struct safetensors *s;
        char *part = memory_copy(bytes, cut, &err);
        CHECK_EQ(safetensors_read(part, cut, "cut", &s, &err), ERR_DATA);
        memory_free(part);
    }
    memory_free(bytes);
}

TEST_MAIN
