/* Names of fields: aliases, mapping, and mappings that make no sense. */
#include "ingest/fields.h"

#include "tests/check.h"

static struct error err;

TEST(own_names_come_first)
{
    struct fields f = fields_defaults();
    const char *own[FIELD_N] = {"image", "id", "caption", "lang", "label", "split", "weight"};
    for (enum field i = 0; i < FIELD_N; i++) {
        CHECK_STR(fields_name(&f, i), own[i]);
        CHECK_STR(fields_alias(&f, i, 0), own[i]);
        int k = 0;
        while (fields_alias(&f, i, k)) k++;
        CHECK(k >= 1 && k <= 6);
    }
    CHECK_STR(fields_alias(&f, FIELD_CAPTION, 1), "text");
    CHECK_STR(fields_alias(&f, FIELD_IMAGE, 1), "file_name");
    CHECK_STR(fields_alias(&f, FIELD_LANG, 1), "language");
}

TEST(a_mapped_field_answers_to_that_name_alone)
{
    struct fields f = fields_defaults();
    CHECK_OK(fields_map(&f, "caption=title=x", &err), &err);
    CHECK_STR(fields_name(&f, FIELD_CAPTION), "title=x");
    CHECK(fields_alias(&f, FIELD_CAPTION, 1) == NULL);
    CHECK_STR(fields_alias(&f, FIELD_IMAGE, 1), "file_name");
    CHECK_EQ(fields_map(&f, "caption=other", &err), ERR_USAGE);
    CHECK_HAS(err.text, "caption is mapped twice: to 'title=x' and to 'other'");
}

TEST(what_maps_nothing)
{
    struct fields f = fields_defaults();
    char longest[FIELDS_MAX_NAME + 20] = "image=";
    const char *bad[] = {"",         "caption", "caption=", "=title", "Caption=title",
                         "captio=t", "text=t"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(fields_map(&f, bad[i], &err), ERR_USAGE);
        CHECK_HAS(err.text, "maps no field");
    }
    memset(longest + 6, 'x', FIELDS_MAX_NAME);
    CHECK_OK(fields_map(&f, longest, &err), &err);
    longest[6 + FIELDS_MAX_NAME] = 'x';
    memcpy(longest, "label=", 6);
    CHECK_EQ(fields_map(&f, longest, &err), ERR_USAGE);
    CHECK_HAS(err.text, "at most 200 bytes");
}

TEST_MAIN
