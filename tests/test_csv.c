/* Comma-separated values, in and out. */
#include "store/csv.h"

#include "store/file.h"
#include "tests/scratch.h"

static struct scratch s;

static void expect_record(struct csv *t, int line, const char *joined)
{
    struct error err = {0};
    char got[200] = "";
    CHECK_EQ(csv_next(t, &err), 1);
    CHECK_EQ(t->line, line);
    for (size_t i = 0; i < t->n_fields; i++) {
        strcat(got, i ? "|" : "");
        strcat(got, t->fields[i]);
    }
    CHECK_STR(got, joined);
}

TEST(records_of_every_kind)
{
    struct error err = {0};
    struct csv t;
    scratch_make(&s);
    const char *path = scratch_text(&s, "x.csv",
                                    "\xef\xbb\xbf"
                                    "a,b,c\r\n1,,\n\"x, \"\"y\"\"\nz\",\"\",q\"r\n\"last\",end");
    CHECK_OK(csv_open(&t, path, &err), &err);
    expect_record(&t, 1, "a|b|c");
    CHECK_EQ(csv_find(&t, "b"), 1);
    CHECK_EQ(csv_find(&t, "d"), -1);
    expect_record(&t, 2, "1||");
    expect_record(&t, 3, "x, \"y\"\nz||q\"r");
    expect_record(&t, 5, "last|end");
    CHECK_EQ(csv_next(&t, &err), 0);
    csv_close(&t);
    scratch_remove(&s);
}

TEST(what_is_no_csv)
{
    struct error err = {0};
    struct csv t;
    scratch_make(&s);
    CHECK_OK(csv_open(&t, scratch_text(&s, "a", "x\n\"open"), &err), &err);
    expect_record(&t, 1, "x");
    CHECK_EQ(csv_next(&t, &err), ERR_DATA);
    CHECK_HAS(err.text, "line 2: a field in quotes");
    csv_close(&t);
    CHECK_OK(csv_open(&t, scratch_text(&s, "b", "\"x\"y,z\n"), &err), &err);
    CHECK_EQ(csv_next(&t, &err), ERR_DATA);
    csv_close(&t);
    CHECK_EQ(csv_open(&t, scratch_text(&s, "c", "a\0b"), &err), ERR_DATA);
    csv_close(&t);
    CHECK_EQ(csv_open(&t, scratch_path(&s, "none"), &err), ERR_NOT_FOUND);
    csv_close(&t);
    CHECK_OK(csv_open(&t, scratch_text(&s, "d", ""), &err), &err);
    CHECK_EQ(csv_next(&t, &err), 0);
    csv_close(&t);
    scratch_remove(&s);
}

TEST(what_is_put_comes_back)
{
    static const char *const FIELDS[] = {
        "plain", "", "a,b", "\"", "say \"hi\"", "line\nbreak", "\r", "ends in \"", "\xe7\x8b\x97"};
    enum { N = sizeof FIELDS / sizeof *FIELDS };
    struct error err = {0};
    struct outfile *f;
    struct csv t;
    scratch_make(&s);
    const char *path = scratch_path(&s, "x.csv");
    CHECK_OK(outfile_create(path, &f, &err), &err);
    for (int i = 0; i < N; i++) {
        CHECK_OK(csv_put(f, FIELDS[i], strlen(FIELDS[i]), &err), &err);
        CHECK_OK(outfile_add(f, i < N - 1 ? "," : "\n", 1, &err), &err);
    }
    CHECK_OK(outfile_finish(f, &err), &err);
    CHECK_OK(csv_open(&t, path, &err), &err);
    CHECK_EQ(csv_next(&t, &err), 1);
    CHECK_EQ(t.n_fields, N);
    for (size_t i = 0; i < t.n_fields; i++) CHECK_STR(t.fields[i], FIELDS[i]);
    CHECK_EQ(csv_next(&t, &err), 0);
    csv_close(&t);
    scratch_remove(&s);
}

TEST_MAIN
