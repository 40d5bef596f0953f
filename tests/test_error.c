/* Errors as values: one line, codes of errno, prefixes, no overflow. */
#include "store/error.h"

#include <errno.h>

#include "tests/check.h"

TEST(error_is_one_line)
{
    struct error err;
    CHECK_EQ(error_set(&err, ERR_DATA, "%s: bad\n\x1b[31m", "a\tb"), ERR_DATA);
    CHECK_STR(err.text, "a?b: bad??[31m");
    CHECK_EQ(err.code, ERR_DATA);
    CHECK_EQ(error_set(NULL, ERR_IO, "x"), ERR_IO);
}

TEST(error_is_cut_not_overrun)
{
    struct error err;
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    error_set(&err, ERR_DATA, "%s", text);
    CHECK_EQ(strlen(err.text), sizeof err.text - 1);
    error_prefix(&err, "%s: ", text);
    CHECK(strlen(err.text) < sizeof err.text);
    CHECK_EQ(err.code, ERR_DATA);
}

TEST(error_of_errno)
{
    struct error err;
    static const struct {
        int e, code;
    } cases[] = {{ENOSPC, ERR_NOSPACE},
                 {EDQUOT, ERR_NOSPACE},
                 {ENOMEM, ERR_NOMEM},
                 {ENOENT, ERR_NOT_FOUND},
                 {EACCES, ERR_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        errno = cases[i].e;
        CHECK_EQ(error_errno(&err, "/some/%s", "path"), cases[i].code);
        CHECK_HAS(err.text, "/some/path: ");
        CHECK_HAS(err.text, strerror(cases[i].e));
        errno = cases[i].e;
        CHECK_EQ(error_errno(NULL, "x"), cases[i].code);
    }
}

TEST(error_prefix_keeps_what_was_said)
{
    struct error err;
    error_set(&err, ERR_CORRUPT, "block 3 fails");
    error_prefix(&err, "set %s: ", "image.final");
    CHECK_STR(err.text, "set image.final: block 3 fails");
    CHECK_EQ(err.code, ERR_CORRUPT);
    error_prefix(NULL, "x");
}

TEST(error_words_are_distinct)
{
    for (int a = 0; a >= ERR_EXISTS; a--) {
        CHECK(strcmp(error_word(a), "unknown"));
        for (int b = a - 1; b >= ERR_EXISTS; b--) CHECK(strcmp(error_word(a), error_word(b)));
    }
    CHECK_STR(error_word(-99), "unknown");
}

TEST_MAIN
