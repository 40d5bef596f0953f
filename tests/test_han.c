/* Simplified or traditional characters. */
#include "ingest/han.h"

#include "tests/check.h"

static bool is_traditional(const char *text)
{
    return han_is_traditional(text, strlen(text));
}

TEST(traditional)
{
    CHECK(is_traditional("一張照片"));
    CHECK(is_traditional("iPhone 的電腦"));
}

TEST(not_traditional)
{
    CHECK(!is_traditional("一张照片"));
    CHECK(!is_traditional("大象"));
    CHECK(!is_traditional("张張")); /* of both kinds */
    CHECK(!is_traditional("日本の写真"));
    CHECK(!is_traditional("a dog \U0001f438"));
    CHECK(!is_traditional("\U00020000")); /* in neither table */
    CHECK(!is_traditional(""));
    CHECK(!is_traditional("\xff"));
}

TEST_MAIN
