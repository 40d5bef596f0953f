/* A text file line by line: ends of lines, marks, places, and a line too long to keep. */
#include "ingest/lines.h"

#include "store/memory.h"
#include "tests/scratch.h"

static struct error err;

TEST(ends_marks_and_places)
{
    struct scratch s;
    scratch_make(&s);
    const char *path = scratch_text(&s, "a.txt",
                                    "\xef\xbb\xbf"
                                    "one\r\n\ntwo\0x\nlast\r");
    struct lines l;
    CHECK_OK(lines_open(&l, path, &err), &err);
    const struct {
        const char *text;
        size_t n;
        uint64_t at;
    } want[] = {{"one", 3, 3}, {"", 0, 8}, {"two\0x", 5, 9}, {"last", 4, 15}};
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_EQ(lines_next(&l, &err), 1);
        CHECK_EQ(l.n, want[i].n);
        CHECK(!memcmp(l.text, want[i].text, want[i].n + 1));
        CHECK_EQ(l.line, i + 1);
        CHECK_EQ(l.byte_offset, want[i].at);
        CHECK(!l.too_long);
    }
    CHECK_EQ(lines_next(&l, &err), 0);
    CHECK_EQ(lines_next(&l, &err), 0);
    lines_close(&l);
    lines_close(&l); /* twice is fine */
    scratch_remove(&s);
}

TEST(a_line_too_long_is_passed_over)
{
    struct scratch s;
    scratch_make(&s);
    size_t n = LINES_MAX_BYTES + 5;
    char *bytes = memory_array(n, 1, MEMORY_MAX_FILE, &err);
    if (!bytes) abort();
    memset(bytes, 'a', n);
    bytes[LINES_MAX_BYTES + 1] = '\n'; /* one byte too many; then "aaa" without an end */
    struct lines l;
    CHECK_OK(lines_open(&l, scratch_bytes(&s, "long", bytes, n), &err), &err);
    CHECK_EQ(lines_next(&l, &err), 1);
    CHECK(l.too_long);
    CHECK_EQ(l.n, LINES_MAX_BYTES);
    CHECK_EQ(lines_next(&l, &err), 1);
    CHECK(!l.too_long);
    CHECK_STR(l.text, "aaa");
    CHECK_EQ(l.byte_offset, LINES_MAX_BYTES + 2);
    lines_close(&l);
    memory_free(bytes);
    scratch_remove(&s);
}

TEST(what_is_no_text_file)
{
    struct scratch s;
    scratch_make(&s);
    struct lines l;
    CHECK_EQ(lines_open(&l,
                        scratch_bytes(&s, "le",
                                      "\xff\xfe"
                                      "a",
                                      4),
                        &err),
             ERR_DATA);
    CHECK_HAS(err.text, "UTF-16");
    CHECK_EQ(lines_open(&l, scratch_bytes(&s, "be", "\xfe\xff", 2), &err), ERR_DATA);
    CHECK_EQ(lines_open(&l, s.folder, &err), ERR_USAGE);
    CHECK_EQ(lines_open(&l, scratch_path(&s, "absent"), &err), ERR_NOT_FOUND);
    CHECK_OK(lines_open(&l, scratch_bytes(&s, "empty", "", 0), &err), &err);
    CHECK_EQ(lines_next(&l, &err), 0);
    lines_close(&l);
    scratch_remove(&s);
}

TEST_MAIN
