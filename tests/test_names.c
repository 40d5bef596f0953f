/* Interned names: both directions, cutting back. */
#include "store/names.h"

#include "store/memory.h"
#include "tests/check.h"

TEST(names_find_what_was_added)
{
    struct error err;
    struct names names = {0};
    char text[32];
    CHECK_EQ(names_find(&names, "x", 1), -1);
    for (int i = 0; i < 3000; i++)
        CHECK_OK(names_add(&names, text, (size_t)sprintf(text, "name %d", i), &err), &err);
    for (int i = 0; i < 3000; i++) {
        CHECK_EQ(names_find(&names, text, (size_t)sprintf(text, "name %d", i)), i);
        CHECK_STR(names.text[i], text);
    }
    CHECK_EQ(names_find(&names, "name 3000", 9), -1);
    CHECK_EQ(names_find(&names, "name 30", 6), 3); /* by length, not to the NUL */
    names_cut(&names, 100);
    CHECK_EQ(names_find(&names, "name 99", 7), 99);
    CHECK_EQ(names_find(&names, "name 100", 8), -1);
    CHECK_OK(names_add(&names, "", 0, &err), &err);
    CHECK_EQ(names_find(&names, "", 0), 100);
    names_release(&names);
    names_release(&names);
}

TEST(names_survive_a_failed_allocation)
{
    struct error err;
    struct names names = {0};
    for (int nth = 1; nth <= 3; nth++) {
        memory_fail_at(nth);
        CHECK_EQ(names_add(&names, "a", 1, &err), ERR_NOMEM);
        memory_fail_at(0);
        CHECK_EQ(names_find(&names, "a", 1), -1);
        names_release(&names);
    }
    CHECK_OK(names_add(&names, "a", 1, &err), &err);
    CHECK_EQ(names_find(&names, "a", 1), 0);
    names_release(&names);
}

TEST_MAIN
