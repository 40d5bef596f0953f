/* JSON: strict reading with places in errors, round trips, and what cannot be written. */
#include "store/json.h"

#include "store/memory.h"
#include "tests/scratch.h"

static struct error err;

static struct json *parse(const char *text)
{
    return json_read(text, strlen(text), "here.jsonl:7", &err);
}

TEST(json_reads_values)
{
    struct json *j = parse("{\"a\": 1, \"b\": [true, 2.5, \"x\", null], \"c\": 3.0, \"d\": {\"e\": "
                           "-9007199254740993}}");
    CHECK(j && json_is_object(j));
    CHECK_EQ(json_int(json_get(j, "a"), 7), 1);
    CHECK_EQ(json_int(json_get(j, "missing"), 7), 7);
    CHECK_EQ(json_int(json_get(j, "c"), 7), 3);
    CHECK_EQ(json_int(json_at(json_get(j, "b"), 1), 7), 7); /* 2.5 is no integer */
    CHECK_EQ(json_int(json_get(json_get(j, "d"), "e"), 7), -9007199254740993);
    const struct json *b = json_get(j, "b");
    CHECK(json_is_array(b) && json_size(b) == 4 && json_size(j) == 4);
    CHECK(json_bool(json_at(b, 0), false));
    CHECK_NEAR(json_number(json_at(b, 1), 0), 2.5, 0);
    CHECK_NEAR(json_number(json_get(j, "a"), 0), 1, 0);
    CHECK_STR(json_text(json_at(b, 2), "y"), "x");
    CHECK_STR(json_text(json_at(b, 0), "y"), "y");
    CHECK(json_is_null(json_at(b, 3)) && json_is_null(json_at(b, 4)) && !json_is_null(b));
    const char *key;
    const struct json *value;
    CHECK(json_member(j, 2, &key, &value));
    CHECK_STR(key, "c");
    CHECK(!json_member(j, 4, &key, &value));
    CHECK(!json_member(b, 0, &key, &value));
    CHECK(!json_get(NULL, "a") && !json_at(NULL, 0) && json_size(NULL) == 0);
    json_free(j);
    json_free(NULL);
}

TEST(json_refuses_and_says_where)
{
    static const char *const bad[] = {
        "",
        "{",
        "{\"a\":1,\"a\":2}",
        "[1,]",
        "{'a':1}",
        "nul",
        "[\"\xff\"]",
        "\"a\\u0000b\"",
        "1 2",
        "[1e999]",
        "[NaN]",
        "99999999999999999999",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = 0;
        CHECK(!parse(bad[i]));
        CHECK_EQ(err.code, ERR_DATA);
        CHECK_HAS(err.text, "here.jsonl:7");
    }
    CHECK(!parse("{\n  \"a\": x}"));
    CHECK_HAS(err.text, "line 2, column 8");
    CHECK(!json_read("[1\0]", 4, "nul", &err));
    char deep[10000];
    memset(deep, '[', sizeof deep);
    CHECK(!json_read(deep, sizeof deep, "deep", &err));
    CHECK(!json_read_file("/nowhere/x.json", 100, &err));
    CHECK_EQ(err.code, ERR_NOT_FOUND);
}

TEST(json_writes_what_it_reads)
{
    struct json *j = json_new_object(), *a = json_new_array();
    json_set_string(j, "z", "tab\t\"q\" красное 苹果");
    json_set_int(j, "a", INT64_MIN);
    json_set_number(j, "third", 1.0 / 3);
    json_set_number(j, "nan", NAN);
    json_set_bool(j, "yes", true);
    json_set_string(j, "none", NULL);
    json_push_int(a, 1);
    json_push_number(a, -INFINITY);
    json_push_string(a, "x");
    json_push(a, json_clone(j));
    json_set(j, "list", a);
    char *sorted = json_write(j, JSON_SORTED, &err), *line = json_write(j, JSON_LINE, &err),
         *pretty = json_write(j, JSON_PRETTY, &err);
    CHECK(sorted && line && pretty);
    CHECK(!strncmp(sorted, "{\"a\":-9223372036854775808,\"list\":[1,null,\"x\",{\"a\":", 50));
    CHECK(!strncmp(line, "{\"z\":", 5) && !strchr(line, '\n') && strchr(pretty, '\n'));
    CHECK_HAS(line, "красное 苹果");
    struct json *back = parse(pretty), *other = parse(sorted);
    CHECK(json_same(back, j) && json_same(other, j) && !json_same(back, a) &&
          !json_same(back, NULL));
    CHECK_NEAR(json_number(json_get(back, "third"), 0), 1.0 / 3, 0);
    CHECK(json_is_null(json_get(back, "nan")) && json_is_null(json_get(back, "none")));
    memory_free(sorted);
    memory_free(line);
    memory_free(pretty);
    json_free(j);
    json_free(back);
    json_free(other);
}

TEST(json_is_written_to_a_file)
{
    struct scratch scratch;
    scratch_make(&scratch);
    const char *path = scratch_path(&scratch, "x.json");
    struct json *j = json_new_object(), *back[2];
    json_set_int(j, "a", 7);
    CHECK_OK(json_write_file(path, j, &err), &err);
    back[0] = json_read_file(path, 100, &err);
    json_set_int(j, "a", 8);
    CHECK_OK(json_write_in(scratch.folder, "x.json", j, &err), &err);
    back[1] = json_read_file(path, 100, &err);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(json_int(json_get(back[i], "a"), 0), 7 + i);
        json_free(back[i]);
    }
    CHECK_EQ(json_write_in("/nowhere", "x.json", j, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "/nowhere/x.json");
    json_free(j);
    scratch_remove(&scratch);
}

TEST(json_reals_are_as_short_as_they_can_be)
{
    static const double x[] = {0.1,
                               1e-5,
                               1.0 / 3,
                               2,
                               -0.0,
                               1e300,
                               5e-324,
                               123456789012345680.0,
                               0.30000001192092896,
                               1.7976931348623157e308};
    struct json *a = json_new_array();
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) json_push_number(a, x[i]);
    json_push_int(a, -12);
    json_push_string(a, "\\\" 0.10000000000000001 \"");
    char *text = json_write(a, JSON_LINE, &err);
    CHECK_STR(text, "[0.1,1e-05,0.3333333333333333,2.0,-0.0,1e+300,4.94065645841247e-324,1."
                    "2345678901234568e17,0.30000001192092896,1.7976931348623157e308,-12,"
                    "\"\\\\\\\" 0.10000000000000001 \\\"\"]");
    struct json *back = parse(text);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        CHECK(json_number(json_at(back, i), 7) == x[i]);
    CHECK(json_same(a, back));
    memory_free(text);
    json_free(a);
    json_free(back);
}

TEST(json_takes_text_that_is_no_utf8)
{
    struct json *j = json_new_object();
    json_set_string(j, "path", "caf\xe9.jpg");
    char *text = json_write(j, JSON_LINE, &err);
    CHECK_STR(text, "{\"path\":\"caf?.jpg\"}");
    memory_free(text);
    json_free(j);
}

/* A value that was lost on the way is never left out silently. */
TEST(json_remembers_a_lost_value)
{
    struct json *j = json_new_object();
    memory_fail_at(1);
    json_set_string(j, "path", "caf\xe9.jpg"); /* its copy fails */
    memory_fail_at(0);
    CHECK(!json_write(j, JSON_LINE, &err));
    CHECK_EQ(err.code, ERR_NOMEM);
    char *text = json_write(j, JSON_LINE, &err);
    CHECK_STR(text, "{}"); /* said once */
    memory_free(text);
    json_free(j);
}

TEST_MAIN
