/* Views of tensors: every half as f32, values from anywhere in a tensor, tables by name. */
#include "featurize/tensor.h"
#include "store/memory.h"
#include "tests/check.h"

/* By the definition of IEEE 754 binary16. */
static float half(uint32_t h)
{
    uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
    double x = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
               : exponent     ? ldexp(1024 + mantissa, (int)exponent - 25)
                              : ldexp(mantissa, -24);
    return (float)(h >> 15 ? -x : x);
}

TEST(all_halves_are_exact)
{
    struct error err = {0};
    static uint8_t bytes[2 * 65536];
    static float x[65536];
    for (uint32_t h = 0; h < 65536; h++) {
        bytes[2 * h] = (uint8_t)h;
        bytes[2 * h + 1] = (uint8_t)(h >> 8);
    }
    struct tensor t = {.type = TENSOR_F16, .n = 65536, .bytes = bytes, .n_bytes = sizeof bytes};
    CHECK_OK(tensor_f32(&t, x, &err), &err);
    int n_wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float want = half(h);
        if (isnan(want) ? !isnan(x[h]) : memcmp(&want, x + h, 4) != 0) n_wrong++;
    }
    CHECK_EQ(n_wrong, 0);
    t.type = TENSOR_BF16;
    CHECK_OK(tensor_f32(&t, x, &err), &err);
    for (uint32_t h = 0; h < 65536; h++) {
        uint32_t bits;
        memcpy(&bits, x + h, 4);
        if (bits != h << 16) n_wrong++;
    }
    CHECK_EQ(n_wrong, 0);
}

TEST(values_are_taken_in_place_only_where_they_are_aligned_floats)
{
    _Alignas(8) uint8_t bytes[64] = {0};
    float values[3] = {1.5F, -2, 3}, scratch[3];
    double wide[3] = {1.5, -2, 3};
    memcpy(bytes + 4, values, sizeof values);
    struct tensor t = {.type = TENSOR_F32, .n = 3, .bytes = bytes + 4, .n_bytes = 12};
    CHECK(tensor_values(&t, 1, 2, scratch) == (const float *)(const void *)(bytes + 8));
    memcpy(bytes + 5, values, sizeof values);
    t.bytes = bytes + 5;
    CHECK(tensor_values(&t, 1, 2, scratch) == scratch);
    CHECK(scratch[0] == -2 && scratch[1] == 3);
    memcpy(bytes + 3, wide, sizeof wide);
    t = (struct tensor){.type = TENSOR_F64, .n = 3, .bytes = bytes + 3, .n_bytes = 24};
    CHECK(tensor_values(&t, 0, 3, scratch) == scratch);
    CHECK(!memcmp(scratch, values, sizeof values));
    tensor_drop(&t); /* memory of our own is never let go */
    CHECK(!memcmp(bytes + 3, wide, sizeof wide));
}

TEST(a_table_finds_by_name_and_refuses_twins)
{
    struct error err = {0};
    struct tensor_table table = {0};
    static const char *const names[] = {"c", "a", "b", "a.b"};
    for (int i = 0; i < 4; i++)
        CHECK_OK(tensor_table_add(&table, &(struct tensor){.name = names[i], .n = (size_t)i}, &err),
                 &err);
    CHECK_OK(tensor_table_finish(&table, "w", &err), &err);
    CHECK_EQ(tensor_table_find(&table, "c")->n, 0);
    CHECK_EQ(tensor_table_find(&table, "a.b")->n, 3);
    CHECK(!tensor_table_find(&table, "d"));
    CHECK_OK(tensor_table_add(&table, &(struct tensor){.name = "b"}, &err), &err);
    CHECK_EQ(tensor_table_finish(&table, "w", &err), ERR_DATA);
    CHECK_STR(err.text, "w: tensor b stands there twice");
    tensor_table_release(&table);
    CHECK(!tensor_table_find(&table, "a"));
    memory_fail_at(1);
    CHECK_EQ(tensor_table_add(&table, &(struct tensor){.name = "b"}, &err), ERR_NOMEM);
    memory_fail_at(0);
    CHECK_EQ(tensor_type_of("BF16"), TENSOR_BF16);
    CHECK_EQ(tensor_type_of("bf16"), -1);
}

TEST_MAIN
