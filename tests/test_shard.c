/* Shards of a corpus: every number in exactly one, in whole units, and none moves when the corpus grows. */
#include "featurize/shard.h"
#include "tests/check.h"

#include <string.h>

enum { MOST = 5000 };

static uint32_t owner[MOST];

static void deal(uint32_t n_total, uint32_t count, uint32_t *seen)
{
    memset(seen, 0xff, MOST * sizeof *seen);
    for (uint32_t k = 0; k < count; k++) {
        struct shard s = {k, count};
        uint32_t before = 0;
        for (uint32_t i = 0; i < shard_n(&s, n_total); i++) {
            uint32_t number = shard_number(&s, i);
            CHECK(number < n_total && seen[number] == UINT32_MAX);
            CHECK(i == 0 || number > before);
            seen[number] = k;
            before = number;
        }
    }
    for (uint32_t i = 0; i < n_total; i++)
        CHECK(seen[i] != UINT32_MAX && seen[i] == seen[i - i % SHARD_UNIT]);
}

TEST(every_number_is_in_one_shard_and_stays_there)
{
    static const uint32_t totals[] = {0, 1, 255, 256, 257, 700, 1024, 4999};
    uint32_t now[MOST];
    for (uint32_t count = 1; count <= 9; count++) {
        deal(MOST - 1, count, owner);
        for (size_t t = 0; t < sizeof totals / sizeof *totals; t++) {
            deal(totals[t], count, now);
            CHECK(!memcmp(now, owner, totals[t] * sizeof *now));
        }
    }
}

TEST(one_shard_is_everything)
{
    struct shard s;
    struct error err;
    CHECK_OK(shard_parse("1/1", &s, &err), &err);
    CHECK_EQ(shard_n(&s, 1000), 1000);
    CHECK_EQ(shard_number(&s, 999), 999);
    CHECK_OK(shard_parse("16/16", &s, &err), &err);
    CHECK_EQ(s.index, 15);
}

TEST(what_is_no_shard_is_refused)
{
    static const char *const bad[] = {"",     "3",    "0/4", "5/4",      "1/0",
                                      "-1/4", "1/4x", "a/b", "1/1000000"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct shard s;
        struct error err = {0};
        CHECK_EQ(shard_parse(bad[i], &s, &err), ERR_USAGE);
        CHECK_HAS(err.text, "i/n");
    }
}

TEST_MAIN
