/* Fingerprints side by side: every component that differs, by name, and nothing else. */
#include "store/fingerprint.h"

#include "tests/check.h"

#define A "5be5a9c01f3200000000000000000000000000000000000000000000000000aa"
#define B "04ab000000000000000000000000000000000000000000000000000000000000"

static struct json *read(const char *text)
{
    struct error err;
    struct json *j = json_read(text, strlen(text), "test", &err);
    if (!j) abort();
    return j;
}

static const char *differ(const char *expected, const char *found, struct json **list)
{
    static char text[600];
    struct json *a = read(expected), *b = read(found);
    *list = fingerprint_compare(a, b);
    json_free(a);
    json_free(b);
    return fingerprint_say(*list, text, sizeof text);
}

TEST(equal_ones_have_no_difference)
{
    struct json *list;
    CHECK_STR(
        differ("{\"a\": 1, \"b\": {\"c\": [1, 2]}}", "{\"b\": {\"c\": [1, 2]}, \"a\": 1}", &list),
        "");
    CHECK_EQ(json_size(list), 0);
    CHECK(!fingerprint_only(list, "a"));
    json_free(list);
}

TEST(digests_are_cut_and_members_are_named)
{
    struct json *list;
    CHECK_STR(differ("{\"weights\": \"" A "\"}", "{\"weights\": \"" B "\"}", &list),
              "weights (expected \"5be5a9c01f32...\", found \"04ab00000000...\")");
    CHECK(fingerprint_only(list, "weights"));
    CHECK(!fingerprint_only(list, "weight"));
    json_free(list);
    CHECK_STR(differ("{\"p\": {\"resample\": 3, \"size\": 9}, \"n\": \"f32\"}",
                     "{\"p\": {\"resample\": 2, \"size\": 9}, \"n\": \"bf16\"}", &list),
              "p.resample (expected 3, found 2); n (expected \"f32\", found \"bf16\")");
    CHECK(!fingerprint_only(list, "n"));
    json_free(list);
}

TEST(what_one_side_lacks_is_absent)
{
    struct json *list;
    CHECK_STR(differ("{\"a\": 1}", "{\"b\": {\"c\": 2}}", &list),
              "a (expected 1, found absent); b (expected absent, found {\"c\":2})");
    json_free(list);
}

TEST(text_is_cut_to_its_room)
{
    struct json *list;
    char text[20];
    differ("{\"a\": 1, \"b\": 2}", "{}", &list);
    CHECK_STR(fingerprint_say(list, text, sizeof text), "a (expected 1, foun");
    json_free(list);
}

TEST_MAIN
