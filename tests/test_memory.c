/* Checked allocation: limits, overflow, growth, the countdown. */
#include "store/memory.h"

#include "tests/check.h"

static struct error err;

TEST(memory_is_zeroed_aligned_and_limited)
{
    for (uint64_t n = 0; n < 300; n += 13) {
        unsigned char *p = memory_array(n, 3, MEMORY_MAX_SMALL, &err);
        CHECK(p && ((uintptr_t)p & 63) == 0);
        for (uint64_t i = 0; i < 3 * n; i++) CHECK_EQ(p[i], 0);
        memset(p, 0xff, 3 * n);
        memory_free(p);
    }
    CHECK(!memory_array(MEMORY_MAX_SMALL + 1, 1, MEMORY_MAX_SMALL, &err));
    CHECK_EQ(err.code, ERR_NOMEM);
    CHECK(!memory_array(UINT64_MAX / 2, 3, UINT64_MAX, &err)); /* the product wraps */
    CHECK(!memory_array(UINT64_MAX - 5, 1, UINT64_MAX, &err)); /* the header would wrap */
    memory_free(NULL);
}

TEST(memory_grows_and_keeps)
{
    uint32_t *p = NULL;
    size_t capacity = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK_OK(memory_grow(&p, &capacity, i + 1, sizeof *p, MEMORY_MAX_SMALL, &err), &err);
        CHECK_EQ(p[i], 0);
        p[i] = i * 3;
    }
    for (uint32_t i = 0; i < 1000; i++) CHECK_EQ(p[i], i * 3);
    size_t before = capacity;
    uint32_t *same = p;
    CHECK_EQ(memory_grow(&p, &capacity, 1 << 24, sizeof *p, MEMORY_MAX_SMALL, &err), ERR_NOMEM);
    CHECK(p == same && capacity == before && p[999] == 2997);
    /* a need that fits is met even where doubling would pass the limit */
    CHECK_OK(
        memory_grow(&p, &capacity, capacity + 1, sizeof *p, capacity * sizeof *p * 3 / 2, &err),
        &err);
    CHECK_EQ(capacity, before + 1);
    memory_free(p);
}

TEST(memory_copies)
{
    char *s = memory_string("héllo", &err), *b = memory_copy("a\0b", 3, &err),
         *none = memory_copy(NULL, 0, &err);
    CHECK_STR(s, "héllo");
    CHECK(b && !memcmp(b, "a\0b", 4));
    CHECK_STR(none, "");
    memory_free(s);
    memory_free(b);
    memory_free(none);
}

TEST(memory_fails_at_the_nth)
{
    memory_fail_at(3);
    char *a = memory_string("a", &err), *b = memory_string("b", &err),
         *c = memory_string("c", &err), *d = memory_string("d", &err);
    CHECK(a && b && !c && d);
    CHECK_EQ(err.code, ERR_NOMEM);
    memory_free(a);
    memory_free(b);
    memory_free(d);
    memory_fail_at(0);
    a = memory_string("a", &err);
    CHECK(a);
    memory_free(a);
}

TEST(room_is_zeroed_and_bounded)
{
    size_t n = (size_t)5 << 20;
    uint8_t *p = memory_room(n, 1, MEMORY_MAX_FILE, &err);
    CHECK(p && (uintptr_t)p % 64 == 0);
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) any |= p[i];
    CHECK_EQ(any, 0);
    memset(p, 1, n);
    memory_free_room(p);
    memory_free_room(NULL);
    CHECK(!memory_room(UINT64_MAX, 2, MEMORY_MAX_TENSOR, &err));
    CHECK_EQ(err.code, ERR_NOMEM);
    CHECK(!memory_room(MEMORY_MAX_SMALL, 2, MEMORY_MAX_SMALL, &err));
    memory_fail_at(1);
    p = memory_room(n, 1, MEMORY_MAX_FILE, &err);
    memory_fail_at(0);
    CHECK(!p);
    CHECK_HAS(err.text, "out of memory");
}

TEST_MAIN
