/* A JSON array of objects: rows, bad elements, cut documents. */
#include "ingest/jsonlist.h"

#include "tests/scratch.h"

static struct scratch s;
static struct error err;
static struct fields fields;

static struct jsonlist *open_text(const char *text, size_t n)
{
    struct stream *stream;
    struct jsonlist *j = NULL;
    scratch_make(&s);
    const char *path = scratch_bytes(&s, "m.json", text, n);
    if (stream_open(&stream, path, &err) < 0 || jsonlist_open(&j, stream, path, &fields, &err) < 0)
        CHECK_FAIL("%s", err.text);
    return j;
}

TEST(elements_are_rows)
{
    static const char text[] =
        "[\n {\"image\": \"a.jpg\", \"text\": \"one [,] \\\"\"},\n"
        " {\"image\": \"b.jpg\", \"captions\": {\"en\": [\"two\", \"three\"]}},\n"
        " 5, {\"image\": \"c.jpg\"}, {\"image\": \"d.jpg\", \"caption\": \"four\"} ]\n";
    struct jsonlist *j = open_text(text, sizeof text - 1);
    struct row row;
    const struct {
        const char *image, *caption, *reason;
    } want[] = {{"a.jpg", "one [,] \"", NULL},      {"b.jpg", "two", NULL},
                {"b.jpg", "three", NULL},           {NULL, NULL, "bad-json"},
                {"c.jpg", NULL, "missing-caption"}, {"d.jpg", "four", NULL}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        CHECK_EQ(jsonlist_next(j, &row, &err), 1);
        if (want[i].reason) {
            CHECK_STR(row.reason, want[i].reason);
            CHECK(row.record && row.message);
            continue;
        }
        CHECK(!row.reason);
        CHECK_STR(row.image, want[i].image);
        CHECK_STR(row.caption, want[i].caption);
    }
    CHECK_EQ(jsonlist_next(j, &row, &err), 0);
    CHECK_EQ(jsonlist_position(j), sizeof text - 2);
    jsonlist_close(j);
    scratch_remove(&s);
}

TEST(a_cut_array_ends_with_a_reject)
{
    static const char text[] =
        "[{\"image\": \"a\", \"caption\": \"x\"}, {\"image\": \"b\", \"caption\": \"y\"}]";
    for (size_t n = 1; n < sizeof text - 1; n++) {
        struct jsonlist *j = open_text(text, n);
        struct row row;
        int n_good = 0, n_bad = 0;
        while (jsonlist_next(j, &row, &err) > 0) row.reason ? n_bad++ : n_good++;
        CHECK_EQ(n_bad, 1);
        CHECK_EQ(n_good, (n > 30) + (n > 62));
        jsonlist_close(j);
        scratch_remove(&s);
    }
}

TEST(what_is_no_array)
{
    struct stream *stream;
    struct jsonlist *j;
    scratch_make(&s);
    const char *path = scratch_text(&s, "m.json", "{\"a\": 1}");
    CHECK_OK(stream_open(&stream, path, &err), &err);
    CHECK_EQ(jsonlist_open(&j, stream, path, &fields, &err), ERR_DATA);
    CHECK_HAS(err.text, "is not a JSON array");
    scratch_remove(&s);
}

TEST_MAIN
