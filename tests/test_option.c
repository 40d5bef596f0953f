/* The option parser: values, ranges, did-you-mean; and the tables of results.
 *
 * covers: results
 */
#include "cli/option.h"

#include "cli/results.h"
#include "tests/check.h"

static int number;
static uint64_t count;
static double real;
static bool flag;
static const char *word, *choice;
static struct option_list list, repeated;

static const struct option options[] = {
    {"number", 'n', OPTION_INT, "N", "a number", 1, 10, NULL, &number},
    {"count", 0, OPTION_COUNT, "N", "a count", 0, 0, NULL, &count},
    {"real", 0, OPTION_NUMBER, "X", "a real", 0, 1, NULL, &real},
    {"flag", 0, OPTION_FLAG, NULL, "a flag", 0, 0, NULL, &flag},
    {"word", 'o', OPTION_STRING, "S", "a word", 0, 0, NULL, &word},
    {"choice", 0, OPTION_CHOICE, "HOW", "a choice", 0, 0, "one|two", &choice},
    {"list", 0, OPTION_LIST, "S", "a list", 0, 0, NULL, &list},
    {"repeated", 0, OPTION_REPEAT, "S", "texts", 0, 0, NULL, &repeated},
};

static void defaults(void)
{
    number = 3;
    count = 7;
    real = 0.5;
    flag = false;
    word = NULL;
    choice = "one";
    list = repeated = (struct option_list){0};
}

static int parse(struct command *c, struct error *err, int argc, const char *const *words)
{
    option_release();
    *c = (struct command){.name = "test",
                          .summary = "A test",
                          .usage = "CACHE",
                          .min_positional = 1,
                          .max_positional = 1,
                          .options = options,
                          .n_options = sizeof options / sizeof *options,
                          .defaults = defaults};
    return option_parse(c, argc, (char **)words, err);
}
#define PARSE(...)                                                                                 \
    parse(&c, &err, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                 \
          (const char *[]){__VA_ARGS__})

TEST(values_of_every_type)
{
    struct error err = {0};
    struct command c;
    CHECK_OK(PARSE("cache", "--number", "4", "--count=9000000000", "--real", "0.25", "--flag", "-o",
                   "x", "--choice=two", "--list", "a,b", "--list=c", "--repeated", "d, e"),
             &err);
    CHECK_EQ(number, 4);
    CHECK_EQ(count, 9000000000);
    CHECK_NEAR(real, 0.25, 0);
    CHECK(flag);
    CHECK_STR(word, "x");
    CHECK_STR(choice, "two");
    CHECK_EQ(list.n, 3);
    CHECK_STR(list.items[2], "c");
    CHECK_EQ(repeated.n, 1);
    CHECK_STR(repeated.items[0], "d, e");
    CHECK_STR(c.positional[0], "cache");
}

TEST(defaults_stand_and_words_after_two_dashes_are_words)
{
    struct error err = {0};
    struct command c;
    CHECK_OK(PARSE("--", "--number"), &err);
    CHECK_EQ(number, 3);
    CHECK_STR(c.positional[0], "--number");
}

TEST(mistakes_are_quoted_with_help)
{
    struct error err = {0};
    struct command c;
    CHECK_EQ(PARSE("cache", "--nubmer", "4"), ERR_USAGE);
    CHECK_HAS(err.text, "'--nubmer': did you mean '--number'?");
    CHECK_EQ(PARSE("cache", "--number", "11"), ERR_USAGE);
    CHECK_HAS(err.text, "from 1 to 10, not '11'");
    CHECK_EQ(PARSE("cache", "--number", "2.5"), ERR_USAGE);
    CHECK_EQ(PARSE("cache", "--number", "2x"), ERR_USAGE);
    CHECK_EQ(PARSE("cache", "--number", ""), ERR_USAGE);
    CHECK_EQ(PARSE("cache", "--real", "nan"), ERR_USAGE);
    CHECK_EQ(PARSE("cache", "--count", "-1"), ERR_USAGE);
    CHECK_EQ(PARSE("cache", "--number"), ERR_USAGE);
    CHECK_HAS(err.text, "--number needs a value");
    CHECK_EQ(PARSE("cache", "--flag=yes"), ERR_USAGE);
    CHECK_EQ(PARSE("cache", "--choice", "three"), ERR_USAGE);
    CHECK_HAS(err.text, "one of one|two, not 'three'");
    CHECK_EQ(PARSE("cache", "--list", "a,,b"), ERR_USAGE);
    CHECK_EQ(PARSE("--flag"), ERR_USAGE);
    CHECK_HAS(err.text, "usage: clipstill test CACHE");
    CHECK_EQ(PARSE("cache", "more"), ERR_USAGE);
    CHECK_HAS(err.text, "'more' is one argument too many");
}

TEST(help_shows_names_choices_and_defaults)
{
    struct error err = {0};
    struct command c;
    char text[4000] = "";
    CHECK_OK(PARSE("cache"), &err);
    FILE *f = fmemopen(text, sizeof text, "w");
    option_describe(&c, OPTION_HELP, f);
    fclose(f);
    CHECK_HAS(text, "usage: clipstill test CACHE [options]");
    CHECK_HAS(text, "--number N, -n");
    CHECK_HAS(text, "a number [3]");
    CHECK_HAS(text, "--choice one|two");
    CHECK_HAS(text, "--threads");
}

TEST(results_are_a_table_with_n_and_chance)
{
    struct error err = {0};
    char text[2000] = "";
    static const char rows[] = "[{\"system\":\"teacher\",\"task\":\"retrieval\",\"by\":\"lang\","
                               "\"group\":\"en\",\"metric\":\"t2i R@1\",\"value\":0.5,"
                               "\"low\":0.4,\"high\":0.6,\"chance\":0.1,\"n\":40},"
                               "{\"system\":\"teacher\",\"task\":\"retrieval\",\"by\":\"lang\","
                               "\"group\":\"zh\",\"metric\":\"t2i R@1\",\"value\":null,"
                               "\"low\":null,\"high\":null,\"chance\":0.2,\"n\":0},"
                               "{\"system\":\"teacher\",\"task\":\"retrieval\",\"by\":\"lang\","
                               "\"group\":\"en\",\"metric\":\"MR\",\"value\":1,"
                               "\"low\":1,\"high\":1,\"chance\":0.1,\"n\":40}]";
    struct json *j = json_read(rows, sizeof rows - 1, "rows", &err);
    CHECK(j);
    struct option_list only = {(const char *[]){"t2i R@1"}, 1};
    FILE *f = fmemopen(text, sizeof text, "w");
    results_print(j, &only, f);
    fclose(f);
    CHECK_STR(text, "\nretrieval, text to image, R@1, % by lang (±: half of the 95% interval)\n"
                    "                 en        zh      mean\n"
                    "n                40         0\n"
                    "chance         10.0      20.0      15.0\n"
                    "teacher   50.0±10.0         -         -\n");
    json_free(j);
}

TEST(what_parsing_made_is_freed)
{
    option_release(); /* the leak sanitizer watches; twice is fine */
    option_release();
}

TEST_MAIN
