/* Parts: each record is in one of t. */
#include "store/part.h"

#include "tests/check.h"

TEST(every_record_is_in_one_part)
{
    struct part all = {0};
    CHECK(part_is_all(&all) && part_has_number(&all, 5) &&
          part_has_key(&all, (const uint8_t *)"x", 1));
    for (uint32_t t = 1; t <= 9; t++)
        for (uint64_t number = 0; number < 100; number++) {
            int n_number = 0, n_key = 0;
            uint8_t key[6] = {9, 9, 0, 0, 0, (uint8_t)number};
            for (uint32_t n = 1; n <= t; n++) {
                struct part part = {n, t};
                n_number += part_has_number(&part, number);
                n_key += part_has_key(&part, key, sizeof key);
            }
            CHECK_EQ(n_number, 1);
            CHECK_EQ(n_key, 1);
        }
}

TEST(parts_are_read)
{
    struct error err = {0};
    struct part part;
    CHECK_OK(part_parse("3/7", &part, &err), &err);
    CHECK_EQ(part.n, 3);
    CHECK_EQ(part.t, 7);
    CHECK_OK(part_parse("65536/65536", &part, &err), &err);
    const char *bad[] = {"",    "3",    "0/7",  "8/7",  "-1/7",    "3/7x",
                         "3/",  "/7",   " 3/7", "3/-7", "1/65537", "1000000/2000000",
                         "a/b", "3/ 7x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(part_parse(bad[i], &part, &err), ERR_USAGE);
    CHECK_HAS(err.text, "as 3/7");
}

TEST_MAIN
