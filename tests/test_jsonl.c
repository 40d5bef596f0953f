/* JSON lines: the shapes of captions, ids, and lines that are bad.
 *
 * covers: jsonrow
 */
#include "ingest/jsonl.h"

#include "tests/rowskit.h"

static struct stream *stream;
static struct fields fields;
static struct jsonl *j;
static struct row row;
static struct error err;
static struct scratch s;

static void open_text(const char *text, size_t n)
{
    err = (struct error){0};
    scratch_make(&s);
    const char *path = scratch_bytes(&s, "m", text, n);
    if (stream_open(&stream, path, &err) < 0 || jsonl_open(&j, stream, path, &fields, &err) < 0)
        CHECK_FAIL("%s", err.text);
}

#define OPEN(text) open_text(text, sizeof text - 1)

static void close_text(void)
{
    CHECK_EQ(jsonl_next(j, &row, &err), 0);
    jsonl_close(j);
    scratch_remove(&s);
}

static void next_is(const char *image, const char *lang, const char *caption, uint64_t line)
{
    CHECK_EQ(jsonl_next(j, &row, &err), 1);
    if (row.reason) CHECK_FAIL("line %d: %s", (int)row.line, row.message);
    CHECK_STR(row.image ? row.image : "", image);
    CHECK_STR(row.lang ? row.lang : "", lang);
    CHECK_STR(row.caption, caption);
    CHECK_EQ(row.n_caption, strlen(caption));
    CHECK_EQ(row.line, line);
}

static void next_is_bad(const char *reason, const char *message, uint64_t line)
{
    CHECK_EQ(jsonl_next(j, &row, &err), 1);
    CHECK_STR(row.reason, reason);
    if (row.reason) CHECK_HAS(row.message, message);
    CHECK_EQ(row.line, line);
}

TEST(one_caption)
{
    OPEN("{\"image\": \"a.jpg\", \"lang\": \"en\", \"caption\": \"a \\u0022dog\\u0022\\n\"}\r\n\n  "
         "\n"
         "{\"caption\": \"cat\", \"language\": \"de\", \"image\": \"b.jpg\", \"label\": \"cat\", "
         "\"split\": \"val\", \"weight\": 3, \"x\": [1]}");
    next_is("a.jpg", "en", "a \"dog\"\n", 1);
    CHECK_NEAR(row.weight, 1, 0);
    CHECK(row.label == NULL && row.split == NULL && row.id == NULL);
    next_is("b.jpg", "de", "cat", 4);
    CHECK_STR(row.label, "cat");
    CHECK_STR(row.split, "val");
    CHECK_NEAR(row.weight, 3, 0);
    close_text();
}

TEST(several_captions_and_languages)
{
    OPEN("{\"image\": \"a\", \"lang\": \"fr\", \"captions\": [\"un\", \"deux\"]}\n"
         "{\"image\": \"b\", \"captions\": {\"en\": [\"one\", \"two\"], \"zh\": \"\xe4\xb8\xad\", "
         "\"ja\": [], \"de\": \"drei\"}}\n"
         "{\"image\": \"c\", \"captions\": \"solo\"}\n{\"image\": \"d\", \"caption\": [\"x\"]}\n");
    next_is("a", "fr", "un", 1);
    next_is("a", "fr", "deux", 1);
    next_is("b", "en", "one", 2);
    next_is("b", "en", "two", 2);
    next_is("b", "zh", "\xe4\xb8\xad", 2);
    next_is("b", "de", "drei", 2);
    next_is("c", "", "solo", 3);
    next_is("d", "", "x", 4);
    close_text();
}

TEST(ids)
{
    OPEN("{\"id\": 42, \"caption\": \"x\"}\n{\"id\": \"a-1\", \"image\": null, \"caption\": "
         "\"y\"}\n{\"id\": -7, \"image\": \"z\", \"caption\": \"z\"}\n");
    next_is("", "", "x", 1);
    CHECK_STR(row.id, "42");
    CHECK(row.image == NULL);
    next_is("", "", "y", 2);
    CHECK_STR(row.id, "a-1");
    next_is("z", "", "z", 3);
    CHECK_STR(row.id, "-7");
    close_text();
}

TEST(bad_lines_are_rows)
{
    OPEN("{\"image\": \"a\"\n[1]\n{\"image\": 5, \"caption\": \"x\"}\n{\"image\": "
         "\"a\"}\n{\"image\": \"a\", \"captions\": []}\n"
         "{\"image\": \"a\", \"captions\": [\"x\", 7, \"y\"]}\n{\"image\": \"a\", \"caption\": "
         "\"x\", \"weight\": 0}\n"
         "{\"image\": \"a\", \"caption\": \"x\", \"weight\": \"1\"}\n{\"image\": \"a\", \"image\": "
         "\"b\", \"caption\": \"x\"}\n"
         "{\"image\": \"a\", \"caption\": \"\xff\"}\n{\"image\": \"a\", \"caption\": "
         "\"a\\u0000b\"}\n{\"id\": 1.5, \"caption\": \"x\"}\n"
         "{\"image\": \"a\", \"caption\": 3}\n{\"image\": \"a\", \"captions\": {\"en\": []}}\n"
         "{\"image\": \"ok\", \"caption\": \"ok\"}\n");
    next_is_bad("bad-json", "not valid JSON", 1);
    CHECK_STR(row.record, "{\"image\": \"a\"");
    next_is_bad("bad-json", "an object", 2);
    next_is_bad("bad-member", "\"image\" must be a string", 3);
    next_is_bad("missing-caption", "no member", 4);
    next_is_bad("missing-caption", "empty", 5);
    next_is("a", "", "x", 6);
    next_is_bad("bad-member", "a caption must be a string", 6);
    next_is("a", "", "y", 6); /* its neighbours are not shifted */
    next_is_bad("bad-weight", "above 0", 7);
    next_is_bad("bad-weight", "above 0", 8);
    next_is_bad("bad-json", "duplicate", 9);
    next_is_bad("bad-json", "not valid JSON", 10);
    next_is_bad("bad-json", "not valid JSON", 11);
    next_is_bad("bad-member", "\"id\"", 12);
    next_is_bad("bad-member", "a caption must be a string", 13);
    next_is_bad("missing-caption", "no member", 14);
    next_is("ok", "", "ok", 15);
    close_text();
}

TEST(lines_too_long_and_streams_cut_off)
{
    struct pack p = {0};
    scratch_make(&s);
    char *blank = memory_array(1 << 20, 1, MEMORY_MAX_FILE, &err);
    if (!blank) abort();
    memset(blank, ' ', 1 << 20);
    for (int i = 0; i < 17; i++) pack_add(&p, blank, 1 << 20);
    pack_text(&p, "\n{\"image\": \"a\", \"caption\": \"c\"}\n");
    ROWS(scratch_bytes(&s, "long", p.bytes, p.n), SOURCE_JSONL, "a|||c\n"); /* blank all the same */
    p.bytes[0] = '{';
    ROWS(scratch_bytes(&s, "long", p.bytes, p.n), SOURCE_JSONL, "!line-too-long\na|||c\n");
    pack_free(&p);
    unsigned x = 1;
    for (int i = 0; i < 40000; i++)
        pack_text(&p, "{\"image\": \"%u\", \"caption\": \"c\"}\n", x = x * 1664525 + 1013904223);
    struct pack gz = pack_gzip(p.bytes, p.n);
    char *rows = rows_of(scratch_bytes(&s, "cut", gz.bytes, gz.n - 9), SOURCE_AUTO, NULL);
    CHECK_HAS(rows, "|||c\n!broken-source\n");
    CHECK(strlen(rows) > 500000);
    memory_free(rows);
    pack_free(&gz);
    pack_free(&p);
    memory_free(blank);
    scratch_remove(&s);
}

TEST(more_languages_than_a_record_may_have)
{
    struct pack p = {0};
    scratch_make(&s);
    pack_text(&p, "{\"image\": \"a\", \"captions\": {");
    for (int i = 0; i < 1001; i++) pack_text(&p, "%s\"x%d\": \"c\"", i ? "," : "", i);
    pack_text(&p, "}}\n");
    ROWS(scratch_bytes(&s, "m", p.bytes, p.n), SOURCE_JSONL, "!bad-member\n");
    pack_free(&p);
    scratch_remove(&s);
}

TEST_MAIN
