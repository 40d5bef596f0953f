/* Towers over mapped weights: to the bit what copied weights give, packed and run, in every float
 * type of the file; what is small is copied, what is large is not; refusals. */
#include "featurize/towerload.h"

#include "featurize/safetensors.h"
#include "tests/scratch.h"
#include "tests/towerkit.h"

#define SET "tests/golden/altclip-tiny"

static struct scratch scratch;
static char *const folder = scratch.folder;

enum { MIXED = TENSOR_TYPES }; /* every tensor of another type than the one before */

/* One value as `type`: bf16 and f16 cut off, what is too small for f16 as zero. */
static void narrow(enum tensor_type type, float x, uint8_t *out)
{
    double wide = x;
    uint32_t bits;
    memcpy(&bits, &x, 4);
    int exponent = (int)(bits >> 23 & 255) - 112;
    uint32_t half = bits >> 16 & 0x8000;
    if (exponent > 0) half |= (uint32_t)exponent << 10 | (bits >> 13 & 1023);
    if (type == TENSOR_BF16) half = bits >> 16;
    if (type == TENSOR_F64)
        memcpy(out, &wide, 8);
    else if (type == TENSOR_F32)
        memcpy(out, &x, 4);
    else
        memcpy(out, &half, 2);
}

/* `from`, of floats, as `type`; its bytes are owned. */
static struct tensor convert(const struct tensor *from, enum tensor_type type)
{
    struct error err = {0};
    struct tensor t = *from;
    size_t size = tensor_type_bytes(type);
    uint8_t *bytes = memory_array(from->n, size, MEMORY_MAX_FILE, &err);
    kit_must(bytes, &err);
    for (size_t k = 0; k < from->n; k++) {
        float x;
        memcpy(&x, from->bytes + 4 * k, 4);
        narrow(type, x, bytes + size * k);
    }
    t.type = type;
    t.bytes = bytes;
    t.n_bytes = from->n * size;
    return t;
}

/* Tensors that no tower asks for, which move the others off their alignment. */
static size_t strangers(struct tensor *t, size_t shift)
{
    static const int64_t ids[3] = {7, 8, 9};
    t[0] = (struct tensor){.name = "a",
                           .type = TENSOR_BOOL,
                           .n_dims = 1,
                           .shape = {(int64_t)shift},
                           .n = shift,
                           .n_bytes = shift,
                           .bytes = (const uint8_t *)"\1\0\1"};
    t[1] = (struct tensor){.name = "none",
                           .type = TENSOR_F32,
                           .n_dims = 2,
                           .shape = {0, 5},
                           .bytes = (const uint8_t *)""};
    t[2] = (struct tensor){.name = "position_ids",
                           .type = TENSOR_I64,
                           .n_dims = 2,
                           .shape = {1, 3},
                           .n = 3,
                           .n_bytes = sizeof ids,
                           .bytes = (const uint8_t *)ids};
    return 3;
}

/* A folder with the golden weights as `type`, `shift` bytes off their alignment, in two shards. */
static void write_as(int type, size_t shift)
{
    static const enum tensor_type mixed[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_F64};
    struct error err = {0};
    struct weightfile *w;
    struct tensor t[400];
    char path[100];
    const struct tensor *from;
    struct json *metadata = json_new_object(), *index = json_new_object(), *map = json_new_object();
    json_set_string(metadata, "format", "pt");
    kit_must(weightfile_open(SET "/model", &w, &err) == 0, &err);
    size_t n = strangers(t, shift), n_strangers = n;
    for (size_t i = 0; (from = weightfile_at(w, i)); i++)
        t[n++] = convert(from, type == MIXED ? mixed[i % 4] : (enum tensor_type)type);
    for (size_t part = 0; part < 2; part++) {
        size_t first = part * n / 2, end = (part + 1) * n / 2;
        const char *name = part ? "two.safetensors" : "one.safetensors";
        snprintf(path, sizeof path, "%s/%s", folder, name);
        kit_must(safetensors_write(path, end - first, t + first, metadata, &err) == 0, &err);
        json_set_string(map, t[first].name, name);
    }
    json_set(index, "weight_map", map);
    char *text = json_write(index, JSON_LINE, &err);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    kit_must(text && file_write(path, text, strlen(text), &err) == 0, &err);
    for (size_t i = n_strangers; i < n; i++) memory_free((void *)(uintptr_t)t[i].bytes);
    memory_free(text);
    json_free(index);
    json_free(metadata);
    weightfile_close(w);
}

/* The final embedding of one input; owned. */
static float *embed(struct tower *t, enum numerics numerics)
{
    struct error err = {0};
    const struct tap tap = {TAP_FINAL, 0, 0};
    static const int32_t ids[] = {0, 17, 1999, 45, 2}, offsets[] = {0, 5};
    struct value *out;
    size_t side = (size_t)t->config.image_size, dim = (size_t)t->config.projection_dim;
    float *pixels = kit_pixels(side * side * 3 + 1), *copy = kit_pixels(dim);
    kit_must(tower_pack(t, numerics, &err) == 0, &err);
    struct exec *e = kit_exec(t, EXEC_INFER, numerics);
    struct tower_input in = {.n = 1, .pixels = pixels, .ids = ids, .offsets = offsets};
    kit_must(tower_forward(t, e, &in, &tap, 1, &out, &err) == 0, &err);
    memcpy(copy, out->x, dim * sizeof *copy);
    exec_free(e);
    memory_free(pixels);
    return copy;
}

static void compare(const struct weightfile *w, bool is_text)
{
    struct error err = {0};
    struct tower_config c = kit_config(SET, is_text);
    struct tower *mapped, *copied;
    CHECK_OK(tower_load(&mapped, &c, w, "here", true, &err), &err);
    CHECK_OK(tower_load(&copied, &c, w, "here", false, &err), &err);
    CHECK_EQ(params_count(&mapped->params), params_count(&copied->params));
    CHECK(mapped->params.n_floats * 10 < copied->params.n_floats);
    for (int k = 0; k < 2; k++) {
        float *a = embed(mapped, (enum numerics)k), *b = embed(copied, (enum numerics)k);
        CHECK(!memcmp(a, b, (size_t)c.projection_dim * sizeof *a));
        memory_free(a);
        memory_free(b);
    }
    tower_free(mapped);
    tower_free(copied);
}

TEST(mapped_weights_give_the_bits_of_copied_ones)
{
    static const struct {
        int type;
        size_t shift;
    } files[] = {{TENSOR_F32, 0},  {TENSOR_F32, 3}, {TENSOR_F16, 0}, {TENSOR_F16, 1},
                 {TENSOR_BF16, 2}, {TENSOR_F64, 1}, {MIXED, 0},      {MIXED, 3}};
    struct error err = {0};
    scratch_make(&scratch);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct weightfile *w;
        write_as(files[i].type, files[i].shift);
        kit_must(weightfile_open(folder, &w, &err) == 0, &err);
        CHECK_EQ(weightfile_n(w), 115 + 3);
        if (files[i].type != MIXED)
            CHECK_EQ(weightfile_find(w, "visual_projection.weight")->type,
                     (enum tensor_type)files[i].type);
        compare(w, false);
        compare(w, true);
        weightfile_close(w);
    }
    scratch_remove(&scratch);
}

TEST(a_mapped_tower_runs_only_once_packed_for_these_numerics)
{
    struct error err = {0};
    struct weightfile *w;
    struct tower *t;
    struct tower_config c = kit_config(SET, true);
    const struct tap tap = {TAP_FINAL, 0, 0};
    static const int32_t ids[] = {0, 2}, offsets[] = {0, 2};
    struct tower_input in = {.n = 1, .ids = ids, .offsets = offsets};
    struct value *out;
    kit_must(weightfile_open(SET "/model", &w, &err) == 0, &err);
    CHECK_OK(tower_load(&t, &c, w, "here", true, &err), &err);
    int word = params_find(&t->params, "text_model.roberta.embeddings.word_embeddings.weight");
    CHECK(word >= 0 && !params_at(&t->params, word));
    CHECK(params_row(&t->params, word, 7, NULL) ==
          (const float *)(const void *)weightfile_find(w, t->params.table[word].name)->bytes +
              7 * (ptrdiff_t)c.width);
    for (int k = 0; k < 2; k++) { /* not packed; packed for the other */
        struct exec *e = kit_exec(t, EXEC_INFER, NUMERICS_BF16);
        CHECK_EQ(tower_forward(t, e, &in, &tap, 1, &out, &err), ERR_USAGE);
        CHECK_HAS(err.text, "are to be packed for these numerics first");
        exec_free(e);
        CHECK_OK(tower_pack(t, NUMERICS_F32, &err), &err);
    }
    tower_free(t);
    weightfile_close(w);
}

TEST(a_lack_of_memory_is_reported_and_nothing_leaks)
{
    struct error err = {0};
    struct weightfile *w;
    struct tower_config c = kit_config(SET, true);
    int rc = ERR_NOMEM;
    kit_must(weightfile_open(SET "/model", &w, &err) == 0, &err);
    for (long nth = 1; rc == ERR_NOMEM && nth < 500; nth++) {
        struct tower *t;
        memory_fail_at(nth);
        rc = tower_load(&t, &c, w, "here", true, &err);
        if (rc == 0) rc = tower_pack(t, NUMERICS_F32, &err);
        memory_fail_at(0);
        tower_free(t);
    }
    CHECK_EQ(rc, 0);
    weightfile_close(w);
}

TEST_MAIN
