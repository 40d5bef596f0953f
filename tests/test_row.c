/* One record of a manifest: a copy outlives its reader, weights are numbers above 0. */
#include "ingest/row.h"

#include <math.h>

#include "store/memory.h"
#include "tests/check.h"

TEST(a_copy_stands_alone)
{
    struct error err = {0};
    char image[] = "a.jpg", caption[] = "two\0parts", lang[] = "de";
    struct row from = {.image = image,
                       .caption = caption,
                       .n_caption = sizeof caption - 1,
                       .lang = lang,
                       .weight = 2.5,
                       .line = 7,
                       .byte_offset = 99};
    struct row to;
    char *block;
    CHECK_OK(row_copy(&from, &to, &block, &err), &err);
    memset(image, 'x', sizeof image - 1);
    memset(caption, 'x', sizeof caption - 1);
    memset(lang, 'x', sizeof lang - 1);
    CHECK_STR(to.image, "a.jpg");
    CHECK_EQ(to.n_caption, 9);
    CHECK(!memcmp(to.caption, "two\0parts", 10)); /* and a NUL behind it */
    CHECK_STR(to.lang, "de");
    CHECK(!to.id && !to.label && !to.split && !to.message && !to.record);
    CHECK_EQ(to.line, 7);
    CHECK_EQ(to.byte_offset, 99);
    CHECK_NEAR(to.weight, 2.5, 0);
    memory_free(block);
}

TEST(a_reject_keeps_its_place)
{
    struct row r = {.line = 3, .byte_offset = 40};
    row_reject(&r, "bad-utf8", "line 3: no UTF-8", "abc");
    CHECK_STR(r.reason, "bad-utf8");
    CHECK_STR(r.message, "line 3: no UTF-8");
    CHECK_STR(r.record, "abc");
    CHECK_EQ(r.line, 3);
    CHECK_EQ(r.byte_offset, 40);
}

TEST(weights)
{
    const struct {
        const char *text;
        double want; /* 0: refused */
    } cases[] = {{"1", 1}, {"0.25", 0.25}, {"1e3", 1000}, {"0", 0},   {"-1", 0},    {"", 0},
                 {"x", 0}, {"1x", 0},      {"nan", 0},    {"inf", 0}, {"1e-60", 0}, {"1e60", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double w = -7;
        CHECK_EQ(row_weight(cases[i].text, &w), cases[i].want > 0 ? 0 : ERR_DATA);
        CHECK_NEAR(w, cases[i].want > 0 ? cases[i].want : -7, 0);
    }
}

TEST_MAIN
