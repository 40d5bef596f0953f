/* The parameter table: offsets, alignment, counts and refusals. */
#include "tests/check.h"

#include "featurize/params.h"
#include "store/memory.h"

TEST(table_lays_tensors_side_by_side)
{
    struct error err = {0};
    struct params p = {0};
    CHECK_EQ(params_add(&p, "a.weight", PARAM_DECAY, 2, (int64_t[]){3, 5}, &err), 0);
    CHECK_EQ(params_add(&p, "scale", PARAM_NO_DECAY, 0, NULL, &err), 1);
    CHECK_EQ(params_add(&p, "bn.running_mean", PARAM_BUFFER, 1, (int64_t[]){17}, &err), 2);
    CHECK_OK(params_allocate(&p, &err), &err);
    CHECK_EQ(p.table[0].n, 15);
    CHECK_EQ(p.table[1].n, 1);
    CHECK_EQ(p.table[1].offset, 16);
    CHECK_EQ(p.table[2].offset, 32);
    CHECK_EQ(p.n_floats, 64);
    CHECK_EQ(params_count(&p), 16);
    CHECK_EQ(params_find(&p, "scale"), 1);
    CHECK_EQ(params_find(&p, "scal"), -1);
    CHECK_EQ((uintptr_t)params_at(&p, 2) % 64, 0);
    for (size_t i = 0; i < p.n_floats; i++) CHECK(p.w[i] == 0.0f);
    params_release(&p);
    CHECK(!p.w);
}

TEST(bad_declarations_are_refused_by_name)
{
    struct error err = {0};
    struct params p = {0};
    CHECK_EQ(params_add(&p, "a", PARAM_DECAY, 1, (int64_t[]){4}, &err), 0);
    CHECK_EQ(params_add(&p, "a", PARAM_DECAY, 1, (int64_t[]){4}, &err), ERR_DATA);
    CHECK_HAS(err.text, "\"a\" is declared twice");
    CHECK_EQ(params_add(&p, "b", PARAM_DECAY, 2, (int64_t[]){4, 0}, &err), ERR_DATA);
    CHECK_EQ(
        params_add(&p, "b", PARAM_DECAY, 2, (int64_t[]){(int64_t)1 << 40, (int64_t)1 << 40}, &err),
        ERR_DATA);
    CHECK_EQ(params_add(&p, "b", PARAM_DECAY, 5, (int64_t[]){1, 1, 1, 1, 1}, &err), ERR_DATA);
    char name[200];
    memset(name, 'x', sizeof name);
    name[128] = 0;
    CHECK_EQ(params_add(&p, name, PARAM_DECAY, 1, (int64_t[]){1}, &err), ERR_DATA);
    name[127] = 0;
    CHECK_EQ(params_add(&p, name, PARAM_DECAY, 1, (int64_t[]){1}, &err), 1);
    params_release(&p);
}

TEST(a_table_grows_past_its_first_capacity_and_reports_lack_of_memory)
{
    struct error err = {0};
    struct params p = {0};
    char name[20];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "w%d", i);
        CHECK_EQ(params_add(&p, name, PARAM_DECAY, 1, (int64_t[]){i + 1}, &err), i);
    }
    CHECK_EQ(params_find(&p, "w299"), 299);
    CHECK_EQ(params_count(&p), 300 * 301 / 2);
    memory_fail_at(1);
    CHECK_EQ(params_allocate(&p, &err), ERR_NOMEM);
    memory_fail_at(0);
    params_release(&p);
}

TEST_MAIN
