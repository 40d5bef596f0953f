/* The arena, the tape and the sticky error.
 *
 * covers: range
 */
#include "tests/check.h"

#include "featurize/exec.h"
#include "featurize/op.h"
#include "store/memory.h"

static struct exec *make(enum exec_mode mode)
{
    struct error err = {0};
    struct exec *e = exec_new(mode, NUMERICS_F32, &err);
    if (!e) {
        printf("# %s\n", err.text);
        abort();
    }
    return e;
}

TEST(memory_is_aligned_and_given_back)
{
    struct exec *e = make(EXEC_INFER);
    size_t start = exec_mark(e);
    char *a = exec_alloc(e, 3), *b = exec_alloc(e, 0), *c = exec_alloc(e, 65),
         *d = exec_alloc(e, 1);
    CHECK(a && b && c && d);
    CHECK_EQ((size_t)a % 64, 0);
    CHECK_EQ(c - a, 64);
    CHECK_EQ(d - c, 128);
    size_t mark = exec_mark(e);
    char *again = exec_alloc(e, 1000);
    exec_release(e, mark);
    CHECK(exec_alloc(e, 8) == (void *)again);
    exec_reset(e);
    CHECK_EQ(exec_mark(e), start);
    exec_free(e);
}

TEST(training_keeps_everything_until_reset)
{
    struct exec *e = make(EXEC_TRAIN);
    size_t mark = exec_mark(e);
    char *a = exec_alloc(e, 100);
    exec_release(e, mark);
    CHECK(exec_alloc(e, 100) != (void *)a);
    CHECK_EQ(e->n_nodes, 0);
    CHECK(exec_record(e, OP_ADD) != NULL);
    CHECK_EQ(e->n_nodes, 1);
    exec_reset(e);
    CHECK_EQ(e->n_nodes, 0);
    exec_free(e);
}

TEST(inference_records_nothing)
{
    struct exec *e = make(EXEC_INFER);
    CHECK(!exec_record(e, OP_ADD));
    CHECK_EQ(exec_failed(e, NULL), 0);
    struct value *v = exec_value(e, 2, 2);
    CHECK(!v->needs_grad);
    CHECK(!exec_grad(e, v));
    exec_free(e);
}

TEST(gradients_begin_at_zero_and_inputs_have_none)
{
    struct exec *e = make(EXEC_TRAIN);
    float x[6] = {1, 2, 3, 4, 5, 6};
    memset(exec_alloc(e, 4096), 0xff, 4096);
    exec_reset(e);
    struct value *in = exec_input(e, x, 2, 3), *v = exec_value(e, 3, 5);
    CHECK(in->x == x);
    CHECK(!exec_grad(e, in));
    float *dx = exec_grad(e, v);
    for (int i = 0; i < 15; i++) CHECK(dx[i] == 0.0f);
    dx[3] = 1;
    CHECK(exec_grad(e, v) == dx);
    CHECK(dx[3] == 1.0f);
    exec_free(e);
}

TEST(the_first_error_sticks_until_reset)
{
    struct error err = {0};
    struct exec *e = make(EXEC_TRAIN);
    CHECK(!exec_alloc(e, (size_t)1 << 60));
    exec_fail(e, ERR_DATA, "a later failure");
    CHECK_EQ(exec_failed(e, &err), ERR_NOMEM);
    CHECK_HAS(err.text, "make it smaller");
    CHECK(!exec_alloc(e, 1));
    CHECK(!exec_value(e, 1, 1));
    CHECK(!exec_record(e, OP_ADD));
    CHECK(!op_act(e, NULL, ACT_GELU));
    exec_reset(e);
    CHECK_EQ(exec_failed(e, &err), 0);
    CHECK(exec_alloc(e, 1) != NULL);
    CHECK(!exec_value(e, INT64_MAX, 4));
    CHECK_EQ(exec_failed(e, &err), ERR_NOMEM);
    exec_free(e);
}

TEST(a_tape_has_an_end)
{
    struct error err = {0};
    struct exec *e = make(EXEC_TRAIN);
    for (int i = 0; i < e->max_nodes; i++) CHECK(exec_record(e, OP_ACT));
    CHECK(!exec_record(e, OP_ACT));
    CHECK_EQ(exec_failed(e, &err), ERR_NOMEM);
    exec_free(e);
}

TEST(every_failed_allocation_is_reported)
{
    for (long nth = 1; nth < 10; nth++) {
        struct error err = {0};
        memory_fail_at(nth);
        struct exec *e = exec_new(EXEC_TRAIN, NUMERICS_F32, &err);
        memory_fail_at(0);
        if (e) {
            CHECK(nth > 1);
            exec_free(e);
            return;
        }
        CHECK_EQ(err.code, ERR_NOMEM);
    }
    CHECK_FAIL("an exec needs more than nine allocations");
}

TEST_MAIN
