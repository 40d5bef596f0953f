/* A text file line by line: ends of lines, marks, places, and a line too long to keep. */
#include "ingest/lines.h"

#include "tests/rowskit.h"

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

TEST(utf16_is_read_as_utf8)
{
    struct scratch s;
    scratch_make(&s);
    struct lines l;
    static const char text[] = "\xff\xfe"
                               "a\0\t\0\x29\x06\r\0\n\0\x3d\xd8\x00\xde";
    CHECK_OK(lines_open(&l, scratch_bytes(&s, "le", text, sizeof text - 1), &err), &err);
    CHECK_EQ(lines_next(&l, &err), 1);
    CHECK_STR(l.text, "a\t\xd8\xa9");
    CHECK_EQ(l.byte_offset, 3);
    CHECK_EQ(lines_next(&l, &err), 1);
    CHECK_STR(l.text, "\xf0\x9f\x98\x80");
    CHECK_EQ(l.byte_offset, 9);
    CHECK_EQ(lines_next(&l, &err), 0);
    lines_close(&l);
    /* blocks that end in the middle of characters, and half a unit at the end */
    size_t n = 200001;
    char *big = memory_array(n, 1, MEMORY_MAX_FILE, &err);
    if (!big) abort();
    memcpy(big, "\xfe\xff", 2);
    for (size_t i = 2; i + 3 < n; i += 4) memcpy(big + i, "\xd8\x3d\xde\x00", 4);
    CHECK_OK(lines_open(&l, scratch_bytes(&s, "be", big, n), &err), &err);
    CHECK_EQ(lines_next(&l, &err), 1);
    CHECK_EQ(l.n, (n - 2) / 4 * 4 + 1 + 3); /* a NUL, and half a unit */
    for (size_t i = 0; i + 3 < l.n - 4; i += 4)
        if (memcmp(l.text + i, "\xf0\x9f\x98\x80", 4)) CHECK_FAIL("character %zu", i / 4);
    CHECK_EQ(lines_next(&l, &err), 0);
    lines_close(&l);
    memory_free(big);
    scratch_remove(&s);
}

TEST(what_is_no_text_file)
{
    struct scratch s;
    scratch_make(&s);
    struct lines l;
    CHECK_EQ(lines_open(&l, s.folder, &err), ERR_USAGE);
    CHECK_EQ(lines_open(&l, scratch_path(&s, "absent"), &err), ERR_NOT_FOUND);
    CHECK_OK(lines_open(&l, scratch_bytes(&s, "empty", "", 0), &err), &err);
    CHECK_EQ(lines_next(&l, &err), 0);
    lines_close(&l);
    scratch_remove(&s);
}

/* Long lines of their own number, so that every block ends inside one. */
static struct pack numbered(size_t n_lines, size_t width)
{
    struct pack p = {0};
    for (size_t i = 1; i <= n_lines; i++) pack_text(&p, "%0*zu\r\n", (int)(width + i % 7), i);
    return p;
}

static void line_is(struct lines *l, size_t number, size_t width)
{
    char want[2000];
    snprintf(want, sizeof want, "%0*zu", (int)(width + number % 7), number);
    CHECK_EQ(lines_next(l, &err), 1);
    CHECK_STR(l->text, want);
    CHECK_EQ(l->line, number);
}

TEST(what_is_kept_comes_again)
{
    struct scratch s;
    scratch_make(&s);
    struct pack p = numbered(1500, 1000); /* 1.5 MB: some 23 blocks */
    struct pack gz = pack_gzip(p.bytes, p.n);
    const struct pack *texts[] = {&p, &gz};
    for (int i = 0; i < 2; i++) {
        struct lines l;
        const char *path = scratch_bytes(&s, "m", texts[i]->bytes, texts[i]->n);
        CHECK_OK(lines_open(&l, path, &err), &err);
        line_is(&l, 1, 1000);
        for (size_t from = 1; from < 1400; from += 97) {
            lines_keep(&l);
            for (size_t k = 1; k <= 140 && from + k <= 1500; k++) line_is(&l, from + k, 1000);
            lines_rewind(&l);
            lines_keep(&l);
            for (size_t k = 1; k <= 97; k++) line_is(&l, from + k, 1000);
            lines_drop(&l);
            lines_rewind(&l); /* nothing is kept: nothing happens */
        }
        CHECK(l.capacity < 1 << 20); /* what is dropped is let go */
        lines_close(&l);
    }
    pack_free(&gz);
    pack_free(&p);
    scratch_remove(&s);
}

TEST(a_broken_stream_ends_with_a_line_that_says_so)
{
    struct scratch s;
    scratch_make(&s);
    struct pack p = numbered(20000, 20), gz = pack_gzip(p.bytes, p.n);
    struct lines l;
    CHECK_OK(lines_open(&l, scratch_bytes(&s, "cut.gz", gz.bytes, gz.n - 1), &err), &err);
    size_t n = 0;
    uint64_t at = 0;
    while (lines_next(&l, &err) == 1 && !l.broken) {
        CHECK_EQ(l.byte_offset, at);
        CHECK_EQ(l.n, 20 + (n + 1) % 7); /* no half line is given for a whole one */
        at += l.n + 2;
        n++;
        if (n == 18000) lines_keep(&l);
    }
    CHECK(n > 18000 && n < 20000); /* the block that breaks is not given */
    CHECK_EQ(l.line, n + 1);
    CHECK(l.byte_offset > p.n - (128 << 10));
    size_t n_before = n;
    CHECK_STR(l.text, "");
    CHECK_HAS(l.broken, "cut.gz: cut off or broken");
    lines_rewind(&l);
    CHECK(l.broken == NULL);
    for (n = 18000; lines_next(&l, &err) == 1 && !l.broken; n++) {}
    CHECK_EQ(n, n_before);
    CHECK(l.broken != NULL); /* said again */
    CHECK_EQ(lines_next(&l, &err), 0);
    lines_close(&l);
    pack_free(&gz);
    pack_free(&p);
    scratch_remove(&s);
}

TEST(ends_of_all_kinds)
{
    const struct {
        const char *text;
        size_t n, n_lines, last; /* bytes of the last line */
    } cases[] = {{"\n", 1, 1, 0},           {"\r\n", 2, 1, 0},
                 {"\r", 1, 1, 0},           {"a\rb", 3, 1, 3},
                 {"a\r\r\n", 4, 1, 2},      {"a\n\r\n\n", 5, 3, 0},
                 {"\xef\xbb\xbf", 3, 0, 0}, {"\xef\xbb\xbf\n", 4, 1, 0},
                 {"\xef\xbb", 2, 1, 2},     {"\n\xef\xbb\xbf", 4, 2, 3}};
    struct scratch s;
    scratch_make(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lines l;
        size_t n = 0, last = 0;
        CHECK_OK(lines_open(&l, scratch_bytes(&s, "m", cases[i].text, cases[i].n), &err), &err);
        for (; lines_next(&l, &err) == 1; n++) last = l.n;
        if (n != cases[i].n_lines || last != cases[i].last)
            CHECK_FAIL("case %zu: %zu lines, %zu bytes in the last", i, n, last);
        lines_close(&l);
    }
    scratch_remove(&s);
}

TEST_MAIN
