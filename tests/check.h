/* A small TAP-like harness: every test program includes this once.
 *
 *     TEST(codec_round_trips) { CHECK_EQ(a, b); CHECK(ok); CHECK_OK(f(&err), &err); CHECK_NEAR(x, y, 1e-4); }
 *     TEST_MAIN
 *
 * Prints "ok 3 - name" or "not ok 3 - name" with expression and both values, goes on after a failed
 * check, exits 1 if any failed. SKIP("why") ends a test as skipped and says so. `PROGRAM --only
 * NAME` runs one.
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/error.h"

#define CHECK_MAX_TESTS 400

struct check_test {
    const char *name;
    void (*run)(void);
};

static struct check_test check_tests[CHECK_MAX_TESTS];
static int check_n_tests;
static int check_failures; /* in the running test */
static const char *check_skipped;

#define TEST(name)                                                                                 \
    static void test_##name(void);                                                                 \
    __attribute__((constructor)) static void check_add_##name(void)                                \
    {                                                                                              \
        if (check_n_tests == CHECK_MAX_TESTS) abort();                                             \
        check_tests[check_n_tests++] = (struct check_test){#name, test_##name};                    \
    }                                                                                              \
    static void test_##name(void)

#define CHECK_FAIL(...)                                                                            \
    do {                                                                                           \
        check_failures++;                                                                          \
        printf("# %s:%d: ", __FILE__, __LINE__);                                                   \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
    } while (0)

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) CHECK_FAIL("CHECK(%s) is false", #cond);                                      \
    } while (0)

#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        long long check_a = (long long)(a), check_b = (long long)(b);                              \
        if (check_a != check_b) CHECK_FAIL("%s == %s: %lld != %lld", #a, #b, check_a, check_b);    \
    } while (0)

#define CHECK_STR(a, b)                                                                            \
    do {                                                                                           \
        const char *check_a = (a), *check_b = (b);                                                 \
        if (!check_a || !check_b || strcmp(check_a, check_b))                                      \
            CHECK_FAIL("%s == %s: \"%s\" != \"%s\"", #a, #b, check_a ? check_a : "(null)",         \
                       check_b ? check_b : "(null)");                                              \
    } while (0)

/* Text a contains text b. */
#define CHECK_HAS(a, b)                                                                            \
    do {                                                                                           \
        const char *check_a = (a), *check_b = (b);                                                 \
        if (!check_a || !strstr(check_a, check_b))                                                 \
            CHECK_FAIL("%s should contain \"%s\": \"%s\"", #a, check_b,                            \
                       check_a ? check_a : "(null)");                                              \
    } while (0)

#define CHECK_NEAR(a, b, tolerance)                                                                \
    do {                                                                                           \
        double check_a = (a), check_b = (b), check_t = (tolerance);                                \
        if (!(fabs(check_a - check_b) <= check_t))                                                 \
            CHECK_FAIL("%s ~ %s: %.9g != %.9g (within %.3g)", #a, #b, check_a, check_b, check_t);  \
    } while (0)

/* A call that must return >= 0; prints the error's text otherwise and returns from the test. */
#define CHECK_OK(call, err)                                                                        \
    do {                                                                                           \
        int check_rc = (call);                                                                     \
        if (check_rc < 0) {                                                                        \
            CHECK_FAIL("%s failed with %s: %s", #call, error_word(check_rc), (err)->text);         \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define SKIP(why)                                                                                  \
    do {                                                                                           \
        check_skipped = (why);                                                                     \
        return;                                                                                    \
    } while (0)

/* Of a set-up, without which no test can run: ends the program. */
static inline void check_must(int rc, const struct error *err)
{
    if (rc >= 0) return;
    printf("Bail out! %s: %s\n", error_word(rc), err->text);
    exit(1);
}

#define TEST_MAIN                                                                                  \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        const char *only = argc > 2 && !strcmp(argv[1], "--only") ? argv[2] : NULL;                \
        int n_failed = 0;                                                                          \
        setvbuf(stdout, NULL, _IOLBF, 0);                                                          \
        for (int i = 0; i < check_n_tests; i++) {                                                  \
            if (only && strcmp(only, check_tests[i].name)) continue;                               \
            check_failures = 0;                                                                    \
            check_skipped = NULL;                                                                  \
            check_tests[i].run();                                                                  \
            if (check_failures) n_failed++;                                                        \
            printf("%s %d - %s%s%s\n", check_failures ? "not ok" : "ok", i + 1,                    \
                   check_tests[i].name, check_skipped ? " # SKIP " : "",                           \
                   check_skipped ? check_skipped : "");                                            \
        }                                                                                          \
        return n_failed ? 1 : 0;                                                                   \
    }

#endif
