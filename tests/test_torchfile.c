/* PyTorch's files: the golden twin of the safetensors teacher, strided and shared tensors, types,
 * and hand-made hostile dictionaries, each with its sentence. */
#include "featurize/torchfile.h"

#include <stdlib.h>

#include "featurize/safetensors.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/check.h"
#include "tests/torchkit.h"
#include "tests/zipkit.h"

#define GOLDEN "tests/golden/altclip-tiny/"

static const float VALUES[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

/* {"w": the tensor} with storage 0 = VALUES; returns the length. */
static size_t build(uint8_t *out, const struct torchkit_tensor *t)
{
    struct torchkit s = {.n = 0};
    torchkit_op(&s, "\x80\x02}(");
    torchkit_text(&s, "w");
    torchkit_tensor(&s, t);
    torchkit_op(&s, "u.");
    struct zipkit_entry e[] = {{.name = "m/data.pkl", .bytes = s.bytes, .n = s.n},
                               {.name = "m/data/0", .bytes = VALUES, .n = sizeof VALUES}};
    return zipkit_build(out, e, 2, false);
}

#define FLOATS "ctorch\nFloatStorage\n"
#define PLAIN                                                                                      \
    {                                                                                              \
        .class = FLOATS, .key = "0", .n_stored = 12, .n_dims = 2, .shape = {3, 4}, .stride = {     \
            4,                                                                                     \
            1                                                                                      \
        }                                                                                          \
    }

TEST(the_golden_twin_has_the_same_tensors)
{
    struct error err = {0};
    struct file_map bin, safe;
    struct torchfile *t;
    struct safetensors *s;
    if (file_map(GOLDEN "model-bin/pytorch_model.bin", &bin, &err) < 0 ||
        file_map(GOLDEN "model/model.safetensors", &safe, &err) < 0)
        abort();
    CHECK_OK(torchfile_read(bin.bytes, bin.n, "bin", &t, &err), &err);
    CHECK_OK(safetensors_read(safe.bytes, safe.n, "safe", &s, &err), &err);
    const struct tensor_table *a = torchfile_table(t), *b = safetensors_table(s);
    CHECK(b->n > 100);
    CHECK_EQ(a->n, b->n + 4); /* position_ids and a pooler, as checkpoints of that time have them */
    for (size_t i = 0; i < b->n; i++) {
        const struct tensor *want = &b->list[i], *x = tensor_table_find(a, want->name);
        if (!x || x->type != want->type || x->n_dims != want->n_dims ||
            x->n_bytes != want->n_bytes) {
            CHECK_STR(want->name, "the same in both");
            continue;
        }
        CHECK(!memcmp(x->shape, want->shape, sizeof *x->shape * (size_t)x->n_dims));
        CHECK(!memcmp(x->bytes, want->bytes, x->n_bytes));
        CHECK(x->bytes > bin.bytes && x->bytes < bin.bytes + bin.n); /* no copy */
    }
    torchfile_close(t);
    safetensors_close(s);
    file_unmap(&bin);
    file_unmap(&safe);
}

static void holds(const struct torchkit_tensor *spec, enum tensor_type type, size_t n,
                  const void *want)
{
    struct error err = {0};
    struct torchfile *t;
    uint8_t file[8000];
    CHECK_OK(torchfile_read(file, build(file, spec), "m.bin", &t, &err), &err);
    const struct tensor *w = tensor_table_find(torchfile_table(t), "w");
    CHECK(w != NULL);
    CHECK_EQ(w->type, type);
    CHECK_EQ(w->n, n);
    CHECK(!memcmp(w->bytes, want, w->n_bytes));
    torchfile_close(t);
}

TEST(views_are_put_in_order)
{
    struct torchkit_tensor t = PLAIN;
    holds(&t, TENSOR_F32, 12, VALUES);
    t = (struct torchkit_tensor){.class = FLOATS,
                                 .key = "0",
                                 .n_stored = 12,
                                 .n_dims = 2,
                                 .shape = {4, 3},
                                 .stride = {1, 4}};
    holds(&t, TENSOR_F32, 12, (const float[]){0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11});
    t = (struct torchkit_tensor){.class = FLOATS,
                                 .key = "0",
                                 .n_stored = 12,
                                 .offset = 5,
                                 .n_dims = 2,
                                 .shape = {2, 2},
                                 .stride = {4, 1}};
    holds(&t, TENSOR_F32, 4, (const float[]){5, 6, 9, 10});
    t = (struct torchkit_tensor){.class = FLOATS,
                                 .key = "0",
                                 .n_stored = 12,
                                 .offset = 4,
                                 .n_dims = 3,
                                 .shape = {1, 4, 1},
                                 .stride = {99, 1, 7}};
    holds(&t, TENSOR_F32, 4, VALUES + 4); /* the stride of a dimension of one says nothing */
    t = (struct torchkit_tensor){.class = FLOATS,
                                 .key = "0",
                                 .n_stored = 12,
                                 .offset = 3,
                                 .n_dims = 2,
                                 .shape = {2, 3},
                                 .stride = {0, 1}};
    holds(&t, TENSOR_F32, 6, (const float[]){3, 4, 5, 3, 4, 5});
    t = (struct torchkit_tensor){.class = FLOATS, .key = "0", .n_stored = 12, .offset = 11};
    holds(&t, TENSOR_F32, 1, VALUES + 11); /* a scalar */
    t = (struct torchkit_tensor){.class = FLOATS,
                                 .key = "0",
                                 .n_stored = 12,
                                 .offset = 12,
                                 .n_dims = 2,
                                 .shape = {0, 5},
                                 .stride = {5, 1}};
    holds(&t, TENSOR_F32, 0, "");
}

TEST(types_are_those_of_the_storage_or_of_the_tensor)
{
    static const struct {
        const char *class;
        enum tensor_type type;
        int64_t n;
    } classes[] = {
        {"ctorch\nDoubleStorage\n", TENSOR_F64, 6},     {"ctorch\nHalfStorage\n", TENSOR_F16, 24},
        {"ctorch\nBFloat16Storage\n", TENSOR_BF16, 24}, {"ctorch\nLongStorage\n", TENSOR_I64, 6},
        {"ctorch\nIntStorage\n", TENSOR_I32, 12},       {"ctorch\nShortStorage\n", TENSOR_I16, 24},
        {"ctorch\nCharStorage\n", TENSOR_I8, 48},       {"ctorch\nByteStorage\n", TENSOR_U8, 48},
        {"ctorch\nBoolStorage\n", TENSOR_BOOL, 48}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        struct torchkit_tensor t = {.class = classes[i].class,
                                    .key = "0",
                                    .n_stored = classes[i].n,
                                    .n_dims = 1,
                                    .shape = {classes[i].n},
                                    .stride = {1}};
        holds(&t, classes[i].type, (size_t)classes[i].n, VALUES);
    }
    struct torchkit_tensor t = PLAIN; /* as PyTorch 2 writes what has no typed storage */
    t.class = "ctorch.storage\nUntypedStorage\n";
    t.function = "ctorch._utils\n_rebuild_tensor_v3\n";
    t.dtype = "ctorch\nfloat32\n";
    t.n_stored = 48;
    holds(&t, TENSOR_F32, 12, VALUES);
    t.dtype = "ctorch\nbfloat16\n";
    holds(&t, TENSOR_BF16, 12, VALUES);
}

static void refused(const uint8_t *file, size_t n, const char *says)
{
    struct error err = {0};
    struct torchfile *t;
    CHECK_EQ(torchfile_read(file, n, "m.bin", &t, &err), ERR_DATA);
    CHECK(!t);
    CHECK_HAS(err.text, says);
    CHECK_HAS(err.text, "m.bin: ");
}

static void refused_spec(struct torchkit_tensor t, const char *says)
{
    uint8_t file[8000];
    refused(file, build(file, &t), says);
}

TEST(hostile_tensors_each_get_their_sentence)
{
    static const int64_t big = (int64_t)1 << 40;
    struct torchkit_tensor t = PLAIN;
    t.offset = 1;
    refused_spec(t, "tensor w: it reaches beyond its storage");
    t.offset = -1;
    refused_spec(t, "tensor w: rebuilt in an unknown way");
    t.offset = INT64_MAX;
    refused_spec(t, "it reaches beyond its storage");
    t = (struct torchkit_tensor)PLAIN;
    t.stride[0] = 5;
    refused_spec(t, "it reaches beyond its storage");
    t.stride[0] = -4;
    refused_spec(t, "absurd shape or strides");
    t.stride[0] = INT64_MAX;
    refused_spec(t, "absurd shape or strides");
    t = (struct torchkit_tensor)PLAIN;
    t.shape[0] = big;
    t.stride[0] = 0;
    refused_spec(t, "copies of strided tensors larger than the file");
    t.shape[1] = big;
    refused_spec(t, "absurd shape or strides");
    t = (struct torchkit_tensor)PLAIN;
    t.n_stored = 13;
    refused_spec(t, "entry data/0 has 48 bytes, 13 values of 4 expected");
    t.n_stored = -1;
    refused_spec(t, "entry data/0 has 48 bytes");
    t = (struct torchkit_tensor)PLAIN;
    t.key = "1";
    refused_spec(t, "entry data/1 is missing from the archive");
    t.key = "../data/0";
    refused_spec(t, "entry data/../data/0 is missing");
    t = (struct torchkit_tensor)PLAIN;
    t.class = "ctorch\nComplexFloatStorage\n";
    refused_spec(t, "names torch.ComplexFloatStorage, which is no part of plain weights");
    t.class = "ctorch\nfloat32\n";
    refused_spec(t, "a storage of an unknown form");
    t = (struct torchkit_tensor)PLAIN;
    t.function = "cposix\nsystem\n";
    refused_spec(t, "names posix.system");
    t.function = "ctorch._utils\n_rebuild_tensor_v3\n";
    refused_spec(t, "rebuilt in an unknown way"); /* without its type */
    t = (struct torchkit_tensor)PLAIN;
    t.n_dims = 3;
    t.shape[2] = 1;
    t.stride[2] = 1;
    t.shape[0] = 4;
    refused_spec(t, "it reaches beyond its storage");
}

/* An archive with this pickle and, when given, a byte order. */
static size_t around(uint8_t *out, const void *pickle, size_t n, const char *order)
{
    struct zipkit_entry e[] = {
        {.name = "m/data.pkl", .bytes = pickle, .n = n},
        {.name = "m/data/0", .bytes = VALUES, .n = sizeof VALUES},
        {.name = "m/byteorder", .bytes = order, .n = order ? strlen(order) : 0}};
    return zipkit_build(out, e, order ? 3 : 2, true);
}

TEST(hostile_files_each_get_their_sentence)
{
    uint8_t file[8000] = {0};
    struct zipkit_entry none = {.name = "m/x/data.pkl", .bytes = "", .n = 0};
#define REFUSED(pickle, says) refused(file, around(file, pickle, sizeof pickle - 1, NULL), says)
    REFUSED("\x80\x02N.", "no dictionary of tensors");
    REFUSED("\x80\x02].", "no dictionary of tensors");
    REFUSED("\x80\x02}.", "a dictionary without a tensor");
    REFUSED("\x80\x02}X\1\0\0\0wK\1s.", "a dictionary without a tensor");
    REFUSED("\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n)Rs.",
            "w: rebuilt in an unknown way");
    REFUSED("\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(NK\0NNNNtRs.",
            "w: without a storage");
    REFUSED("\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(NQK\0NNNNtRs.",
            "a storage of an unknown form");
    REFUSED("\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(NQK\0NNNNtRs",
            "ends without STOP");
    refused(file, zipkit_build(file, &none, 1, false), "a zip archive without data.pkl");
    refused(file, around(file, "\x80\x02}.", 4, "big"), "byte order \"big\", \"little\" expected");
    refused((const uint8_t *)"", 0, "no PyTorch file");
    refused((const uint8_t *)"version https://git-lfs", 23, "looks like a git-lfs pointer");
    refused((const uint8_t *)"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a", 11,
            "format of before 1.6");
    memset(file, 0, 600);
    memcpy(file + 257, "ustar", 5);
    refused(file, 600, "format of before 1.6");
}

/* Two names of one tensor, parameters, and entries that are no tensors. */
TEST(a_dictionary_may_hold_more_than_tensors)
{
    struct error err = {0};
    struct torchfile *t;
    struct torchkit s = {.n = 0};
    struct torchkit_tensor plain = PLAIN;
    uint8_t file[8000];
    torchkit_op(&s, "\x80\x02"
                    "ccollections\nOrderedDict\n)R(");
    torchkit_text(&s, "b");
    torchkit_op(&s, "ctorch._utils\n_rebuild_parameter\n(");
    torchkit_tensor(&s, &plain);
    torchkit_op(&s, "\x88)tR");
    torchkit_text(&s, "a");
    torchkit_tensor(&s, &plain);
    torchkit_text(&s, "epoch");
    torchkit_number(&s, 3);
    torchkit_number(&s, 4);
    torchkit_text(&s, "a key that is no text");
    torchkit_op(&s, "u}b.");
    CHECK_OK(torchfile_read(file, around(file, s.bytes, s.n, "little"), "m.bin", &t, &err), &err);
    const struct tensor_table *table = torchfile_table(t);
    CHECK_EQ(table->n, 2);
    CHECK_STR(table->list[0].name, "a");
    CHECK(table->list[0].bytes == table->list[1].bytes);
    torchfile_close(t);
    for (long nth = 1; nth < 20; nth++) {
        memory_fail_at(nth);
        int rc = torchfile_read(file, around(file, s.bytes, s.n, "little"), "m.bin", &t, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || (rc == ERR_NOMEM && !t));
        torchfile_close(t);
    }
    s.n -= 3;
    torchkit_text(&s, "a");
    torchkit_tensor(&s, &plain);
    torchkit_op(&s, "s.");
    refused(file, around(file, s.bytes, s.n, NULL), ""); /* SETITEMS is missing */
}

TEST(a_name_twice_is_refused)
{
    struct torchkit s = {.n = 0};
    struct torchkit_tensor plain = PLAIN;
    uint8_t file[8000];
    torchkit_op(&s, "\x80\x02}(");
    for (int i = 0; i < 2; i++) {
        torchkit_text(&s, "w");
        torchkit_tensor(&s, &plain);
    }
    torchkit_op(&s, "u.");
    refused(file, around(file, s.bytes, s.n, NULL), "tensor w stands there twice");
}

TEST_MAIN
