/* A JSON document element by element: however it is written, wherever it is cut, whatever stands in its
 * elements.
 */
#include "ingest/document.h"

#include "store/json.h"
#include "tests/rowskit.h"

static struct scratch s;
static struct error err;
static struct document *d;

static int open_bytes(const char *bytes, size_t n)
{
    struct stream *stream = NULL;
    const char *path = scratch_bytes(&s, "d.json", bytes, n);
    err = (struct error){0};
    d = NULL;
    int rc = stream_open(&stream, path, &err);
    return rc < 0 ? rc : document_open(&d, stream, path, &err);
}

/* The elements of an array: each number "n", "!" for a bad one, "." at its end; or what document_array
 * said. */
static const char *elements(const char *name)
{
    static char out[4000];
    struct json *value;
    const char *why = NULL;
    uint64_t offset = 0, last = 0;
    size_t at = 0;
    int rc = document_array(d, name, &err);
    if (rc <= 0) return rc == 0 ? "none" : error_word(rc);
    *out = '\0';
    while (at < sizeof out - 50 && document_next(d, &value, &offset, &why)) {
        CHECK(offset >= last);
        last = offset;
        if (value) {
            at += (size_t)sprintf(out + at, "%d", (int)json_int(json_get(value, "n"), -1));
            struct json *again = document_at(d, offset);
            CHECK(again && json_same(value, again));
            json_free(again);
        } else {
            CHECK(why && *why);
            at += (size_t)sprintf(out + at, "!");
        }
        json_free(value);
    }
    CHECK(!document_next(d, &value, &offset, &why)); /* the end stays the end */
    strcat(out, ".");
    return out;
}

static void holds(const char *text, const char *array, const char *want)
{
    if (open_bytes(text, strlen(text)) < 0) {
        CHECK_FAIL("%s", err.text);
        return;
    }
    const char *found = elements(array);
    if (strcmp(found, want)) CHECK_FAIL("%s: %s, not %s", text, found, want);
    document_close(d);
}

TEST(arrays_wherever_they_stand)
{
    scratch_make(&s);
    const char *line =
        "{\"info\":{\"a\":[1,{\"b\":[]}]},\"x\":[{\"n\":1},{\"n\":2}],\"y\":[{\"n\":3}]}";
    const char *pretty =
        "\xef\xbb\xbf\n{\n  \"y\": [\n    {\n      \"n\": 3\n    }\n  ],\r\n\t\"info\": "
        "\"]}\\\"[{\\\\\",\n  \"x\": [\n    { \"n\": 1 } ,\n    { \"n\": 2 }\n  ]\n}\n";
    const char *texts[] = {line, pretty};
    for (int i = 0; i < 2; i++) {
        holds(texts[i], "x", "12.");
        holds(texts[i], "y", "3.");
        holds(texts[i], "z", "none");
        holds(texts[i], "info", "none"); /* no array */
    }
    holds("{}", "x", "none");
    holds("{\"x\": []}", "x", ".");
    holds("{\"x\": [ ]}", "x", ".");
    holds("{\"x\": null, \"y\": true, \"z\": -1.5e3, \"a\": [{\"n\": 4}]}", "a", "4.");
    holds("{\"xx\": [{\"n\": 1}], \"x\": [{\"n\": 2}]}", "x", "2.");
    scratch_remove(&s);
}

TEST(one_array_after_the_other_and_back)
{
    scratch_make(&s);
    const char *text = "{\"x\": [{\"n\": 1}], \"y\": [{\"n\": 2}]}";
    CHECK_OK(open_bytes(text, strlen(text)), &err);
    CHECK_STR(elements("y"), "2.");
    CHECK_STR(elements("x"), "1.");
    CHECK_STR(elements("y"), "2.");
    CHECK_EQ(document_size(d), strlen(text));
    CHECK(document_position(d) <= document_size(d));
    CHECK(document_at(d, 1000) == NULL);
    document_close(d);
    scratch_remove(&s);
}

TEST(bad_elements_cost_themselves)
{
    scratch_make(&s);
    holds("{\"x\": [{\"n\": 1}, 5, \"a,]}\", {\"n\": 2}]}", "x", "1!!2.");
    holds("{\"x\": [{\"n\": 1, \"n\": 1}, {\"n\": 2}]}", "x", "!2.");
    holds("{\"x\": [{\"n\": 1 \"m\": [{}]}, {\"n\": 2}]}", "x", "!2.");
    holds("{\"x\": [{\"n\": \"\xff\"}, {\"n\": 2}]}", "x", "!2.");
    holds("{\"x\": [{\"n\": 1}, {\"n\": \"\\u0000\"}, {\"n\": 2}]}", "x", "1!2.");
    holds("{\"x\": [[{\"n\": 1}], {\"n\": 2}]}", "x", "!2.");
    holds("{\"x\": [{\"n\": 1},, {\"n\": 2}]}", "x", "1!2.");
    holds("{\"x\": [{\"n\": 1} {\"n\": 2}]}", "x", "1!."); /* the rest is lost, and said to be */
    holds("{\"x\": [{\"n\": 1}, ]}", "x", "1!.");
    holds("{\"x\": [}", "x", "!!.");
    holds("{\"x\": [{\"s\": \"]}\\\"[{\\\\\", \"n\": 1}, {\"n\": 2, \"s\": \"\\\\\"}]}", "x",
          "12.");
    scratch_remove(&s);
}

TEST(what_is_no_object)
{
    scratch_make(&s);
    const char *texts[] = {"", " ", "[]", "5", "{x: 1}", "{\"x\"}", "{\"a\" \"x\": []}", "{,}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        holds(texts[i], "x", "data");
        CHECK_HAS(err.text, "JSON");
    }
    scratch_remove(&s);
}

TEST(cut_anywhere_nothing_is_silent)
{
    scratch_make(&s);
    const char *text =
        "{\"info\": {\"v\": [1, \"}\"]}, \"x\": [{\"n\": 1, \"s\": \"a\\\"]\"}, {\"n\": 2}], "
        "\"y\": [{\"n\": 3}]}";
    size_t n = strlen(text), x_end = (size_t)(strstr(text, "], \"y\"") - text), y_end = n - 2;
    for (size_t cut = 0; cut < n; cut++) {
        CHECK_OK(open_bytes(text, cut), &err);
        const char *x = elements("x");
        if (cut > x_end ? strcmp(x, "12.") : !strchr(x, '!') && strcmp(x, "data"))
            CHECK_FAIL("cut at %zu: x is %s", cut, x);
        const char *y = elements("y");
        if (cut > y_end ? strcmp(y, "3.") : !strchr(y, '!') && strcmp(y, "data"))
            CHECK_FAIL("cut at %zu: y is %s", cut, y);
        document_close(d);
    }
    scratch_remove(&s);
}

TEST(large_and_deep_elements)
{
    scratch_make(&s);
    struct pack p = {0};
    char *long_text = memory_array(DOCUMENT_MAX_ELEMENT, 1, MEMORY_MAX_FILE, &err);
    if (!long_text) abort();
    memset(long_text, 'a', DOCUMENT_MAX_ELEMENT);
    pack_text(&p, "{\"x\": [{\"n\": 1, \"s\": \"");
    pack_add(&p, long_text, DOCUMENT_MAX_ELEMENT - 17); /* this one has just the limit */
    pack_text(&p, "\"}, {\"n\": 2, \"s\": \"");
    pack_add(&p, long_text, DOCUMENT_MAX_ELEMENT - 16);
    pack_text(&p, "\"}, {\"n\": 3}, {\"n\": 4, \"deep\": ");
    for (int i = 0; i < 200000; i++) pack_add(&p, "[", 1);
    for (int i = 0; i < 200000; i++) pack_add(&p, "]", 1);
    pack_text(&p, "}, {\"n\": 5}, ");
    for (int i = 0; i < 200000; i++) pack_add(&p, "{\"a\":", 5);
    for (int i = 0; i < 200000; i++) pack_add(&p, "}", 1);
    pack_text(&p, ", {\"n\": 6}]}");
    CHECK_OK(open_bytes(p.bytes, p.n), &err);
    CHECK_STR(elements("x"), "1!3!5!6.");
    document_close(d);
    memory_free(long_text);
    pack_free(&p);
    scratch_remove(&s);
}

TEST(packed_documents_are_unpacked_first)
{
    scratch_make(&s);
    const char *text = "{\"x\": [{\"n\": 1}, {\"n\": 2}]}";
    struct pack gz = pack_gzip(text, strlen(text));
    CHECK_OK(open_bytes(gz.bytes, gz.n), &err);
    CHECK_STR(elements("x"), "12.");
    CHECK_EQ(document_size(d), strlen(text));
    document_close(d);
    CHECK_EQ(open_bytes(gz.bytes, gz.n - 3), ERR_DATA);
    CHECK_HAS(err.text, "cut off");
    CHECK(d == NULL);
    pack_free(&gz);
    scratch_remove(&s);
}

TEST_MAIN
