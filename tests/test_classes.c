/* Class lists: prompts by class and language, and what is refused. */
#include "ingest/classes.h"

#include "store/file.h"
#include "store/memory.h"
#include "tests/check.h"

static void prompts_are(const struct classes *c, size_t class_index, size_t language,
                        const char *want)
{
    char *const *prompts;
    size_t n;
    char text[500] = "";
    classes_prompts(c, class_index, language, &prompts, &n);
    for (size_t i = 0; i < n; i++) {
        strcat(text, i ? "|" : "");
        strcat(text, prompts[i]);
    }
    CHECK_STR(text, want);
}

TEST(prompts)
{
    static const char text[] =
        "{\"classes\": {\"t-shirt\": {\"zh\": \"T\xe6\x81\xa4\", \"en\": [\"t-shirt\", \"tee\"]},"
        " \"hat\": {\"EN\": [\"hat\", \"hat \"], \"iw\": \"x\", \"de\": \"Hut\"}},"
        " \"templates\": {\"en\": [\"a {}\", \"{} or {}\"], \"zh\": \"\xe4\xb8\x80{}\", \"he\": "
        "\"{}!\", \"ko\": \"{}\"}}";
    struct classes *c = NULL;
    struct error err = {0};
    CHECK_OK(classes_parse(&c, text, sizeof text - 1, "classes.json", &err), &err);
    CHECK_EQ(c->n_classes, 2);
    CHECK_STR(c->names[0], "t-shirt"); /* in the order of the file */
    CHECK_STR(c->names[1], "hat");
    CHECK_EQ(c->n_languages, 4);
    CHECK_STR(c->languages[0], "de");
    CHECK_STR(c->languages[1], "en");
    CHECK_STR(c->languages[2], "he");
    CHECK_STR(c->languages[3], "zh");
    prompts_are(c, 0, 0, "");
    prompts_are(c, 0, 1, "a t-shirt|t-shirt or t-shirt|a tee|tee or tee");
    prompts_are(c, 0, 3, "\xe4\xb8\x80T\xe6\x81\xa4");
    prompts_are(c, 1, 0, "Hut");              /* no template: the bare name */
    prompts_are(c, 1, 1, "a hat|hat or hat"); /* equal prompts once */
    prompts_are(c, 1, 2, "x!");
    CHECK_EQ(c->n_prompts, 9);
    CHECK_STR(c->text, text);
    classes_free(c);
}

static void refused(const char *text, const char *sentence)
{
    struct classes *c = NULL;
    struct error err = {0};
    CHECK_EQ(classes_parse(&c, text, strlen(text), "classes.json", &err), ERR_DATA);
    CHECK_HAS(err.text, "classes.json");
    CHECK_HAS(err.text, sentence);
    CHECK(c == NULL);
}

TEST(bad_lists_are_refused_by_name)
{
    refused("{\"classes\": {\"a\": {\"en\": \"x\"}}", "not valid JSON");
    refused("{}", "a member \"classes\"");
    refused("{\"classes\": {}}", "a member \"classes\"");
    refused("{\"classes\": {\"hat\": \"hat\"}}", "class 'hat': an object");
    refused("{\"classes\": {\"hat\": {}}}", "class 'hat': an object");
    refused("{\"classes\": {\"hat\": {\"en\": []}}}", "class 'hat': a name must be");
    refused("{\"classes\": {\"hat\": {\"en\": [1]}}}", "class 'hat': a name must be");
    refused("{\"classes\": {\"hat\": {\"english\": \"x\"}}}", "'english' is no language tag");
    refused("{\"classes\": {\"hat\": {\"he\": \"x\", \"iw\": \"y\"}}}", "named twice");
    refused("{\"classes\": {\" \": {\"en\": \"x\"}}}", "empty");
    refused("{\"classes\": {\"hat\": {\"en\": \" \"}}}", "the prompt of ' '");
    refused("{\"classes\": {\"hat\": {\"en\": \"x\"}}, \"templates\": {\"en\": \"a photo\"}}",
            "template 'a photo': has no {}");
    refused("{\"classes\": {\"hat\": {\"en\": \"x\"}}, \"templates\": [\"{}\"]}",
            "\"templates\" must be");
}

TEST(a_real_list)
{
    struct classes *c = NULL;
    struct error err = {0};
    if (!file_exists("../shared/data/clothing/classes.json"))
        SKIP("../shared/data/clothing is not here");
    CHECK_OK(classes_read(&c, "../shared/data/clothing/classes.json", &err), &err);
    CHECK_EQ(c->n_classes, 10);
    CHECK_EQ(c->n_languages, 9);
    CHECK_EQ(c->n_prompts, 90);
    classes_free(c);
}

TEST(failed_allocations)
{
    static const char text[] =
        "{\"classes\": {\"a\": {\"en\": [\"x\", \"y\"]}}, \"templates\": {\"en\": \"a {}\"}}";
    int rc = ERR_NOMEM, n = 0;
    for (long nth = 1; rc == ERR_NOMEM && nth < 100; nth++, n++) {
        struct classes *c = NULL;
        struct error err = {0};
        memory_fail_at(nth);
        rc = classes_parse(&c, text, sizeof text - 1, "classes.json", &err);
        memory_fail_at(0);
        classes_free(c);
    }
    CHECK_EQ(rc, 0);
    CHECK(n > 8);
}

TEST_MAIN
