/* Tables: columns by name, quoting, line ends, lines that are bad, and where each record stands in
 * the file. */
#include "ingest/table.h"

#include "ingest/lines.h"
#include "store/memory.h"
#include "tests/scratch.h"

static struct stream *stream;
static struct fields fields;
static struct table *t;
static struct row row;
static struct error err;
static struct scratch s;

static void open_text(const char *text, size_t n, char delimiter)
{
    err = (struct error){0};
    scratch_make(&s);
    const char *path = scratch_bytes(&s, "m", text, n);
    if (stream_open(&stream, path, &err) < 0 ||
        table_open(&t, stream, path, delimiter == ',', &fields, NULL, &err) < 0)
        CHECK_FAIL("%s", err.text);
}

#define OPEN(text, delimiter) open_text(text, sizeof text - 1, delimiter)

static void close_text(void)
{
    CHECK_EQ(t ? table_next(t, &row, &err) : 0, 0);
    table_close(t);
    scratch_remove(&s);
}

static void next_is(const char *image, const char *caption, uint64_t line, uint64_t byte_offset)
{
    CHECK_EQ(table_next(t, &row, &err), 1);
    if (row.reason) CHECK_FAIL("line %d: %s", (int)row.line, row.message);
    CHECK_STR(row.image, image);
    CHECK_STR(row.caption, caption);
    CHECK_EQ(row.n_caption, strlen(caption));
    CHECK_EQ(row.line, line);
    CHECK_EQ(row.byte_offset, byte_offset);
}

static void next_is_bad(const char *reason, const char *message, uint64_t line)
{
    CHECK_EQ(table_next(t, &row, &err), 1);
    CHECK_STR(row.reason, reason);
    if (row.reason) CHECK_HAS(row.message, message);
    CHECK_EQ(row.line, line);
}

TEST(columns_in_any_order)
{
    OPEN("weight\tcaption\tLang\timage\tsplit\tlabel\tid\n2.5\ta dog\ten\ta.jpg\tval\tdog\t17\n\ta "
         "cat\t\tb.jpg\t\t\t\n",
         '\t');
    next_is("a.jpg", "a dog", 2, 41);
    CHECK_STR(row.lang, "en");
    CHECK_STR(row.split, "val");
    CHECK_STR(row.label, "dog");
    CHECK_STR(row.id, "17");
    CHECK_NEAR(row.weight, 2.5, 0);
    next_is("b.jpg", "a cat", 3, 71);
    CHECK_STR(row.lang, "");
    CHECK_NEAR(row.weight, 1, 0);
    close_text();
}

TEST(line_ends_and_marks)
{
    OPEN("\xef\xbb\xbfimage\tcaption\r\na.jpg\tdog\r\n\r\n\nb.jpg\tcat", '\t');
    next_is("a.jpg", "dog", 2, 18);
    next_is("b.jpg", "cat", 5, 32);
    close_text();
}

TEST(tabs_do_not_quote)
{
    OPEN("image\tcaption\na.jpg\t\"a \"\"dog\"\nb.jpg\t5\" pipe, long\n", '\t');
    next_is("a.jpg", "\"a \"\"dog\"", 2, 14);
    next_is("b.jpg", "5\" pipe, long", 3, 30);
    close_text();
}

TEST(commas_quote_as_rfc_4180)
{
    OPEN("image,caption,lang\n\"a.jpg\",\"a \"\"big\"\" dog, \r\nrunning\",en\nb.jpg,5\" "
         "pipe,de\nc.jpg,\"\",en\n",
         ',');
    next_is("a.jpg", "a \"big\" dog, \nrunning", 2, 19); /* the CR of a line end is not kept */
    next_is("b.jpg", "5\" pipe", 4, 57);
    next_is("c.jpg", "", 5, 74);
    close_text();
}

TEST(broken_quotes_cost_one_record)
{
    OPEN("image,caption\na.jpg,\"dog\"s\nb.jpg,\"cat\nc.jpg,cow\n", ',');
    next_is_bad("bad-quoting", "field 2 goes on behind its closing quote", 2);
    next_is_bad("bad-quoting", "field 2 opens a quote that is not closed", 3);
    next_is("c.jpg", "cow", 4, 38);
    close_text();
}

TEST(bad_rows_are_rows)
{
    OPEN("image\tcaption\tweight\na.jpg\tdog\nb.jpg\tcat\t1\tx\nc.jpg\tcow\tnan\nd.jpg\tbee\t0\ne."
         "jpg\tant\t1e400\nf.jpg\tfox\t 2\n",
         '\t');
    next_is_bad("wrong-field-count", "2 fields, the header 3", 2);
    CHECK_STR(row.record, "a.jpg\tdog");
    next_is_bad("wrong-field-count", "4 fields, the header 3", 3);
    next_is_bad("bad-weight", "nan", 4);
    next_is_bad("bad-weight", "'0'", 5);
    next_is_bad("bad-weight", "1e400", 6);
    next_is("f.jpg", "fox", 7, 87);
    close_text();
}

TEST(nul_bytes_stay_in_captions)
{
    OPEN("image\tcaption\na.jpg\td\0g\n", '\t');
    CHECK_EQ(table_next(t, &row, &err), 1);
    CHECK_EQ(row.n_caption, 3);
    CHECK(!memcmp(row.caption, "d\0g", 4));
    close_text();
}

TEST(a_line_beyond_the_limit_is_passed_over)
{
    size_t n = LINES_MAX_BYTES + 100;
    char *text = memory_array(n + 40, 1, MEMORY_MAX_FILE, &err);
    if (!text) abort();
    int at = sprintf(text, "image\tcaption\na.jpg\t");
    memset(text + at, 'x', n);
    size_t end = (size_t)at + n - 60;
    memcpy(text + end, "\nb.jpg\tdog\n", 11);
    open_text(text, end + 11, '\t');
    next_is_bad("line-too-long", "16777216", 2);
    next_is("b.jpg", "dog", 3, end + 1);
    close_text();
    memory_free(text);
}

static void refused(const char *text, size_t n, const char *sentence)
{
    struct error why = {0};
    struct table *none = NULL;
    scratch_make(&s);
    const char *path = scratch_bytes(&s, "m.csv", text, n);
    CHECK_OK(stream_open(&stream, path, &why), &why);
    CHECK_EQ(table_open(&none, stream, path, true, &fields, NULL, &why), ERR_DATA);
    CHECK_HAS(why.text, sentence);
    CHECK(none == NULL);
    scratch_remove(&s);
}

#define REFUSED(text, sentence) refused(text, sizeof text - 1, sentence)

TEST(headers_that_are_refused)
{
    REFUSED("", "is empty");
    REFUSED("\n\n", "is empty");
    REFUSED("file,title\na,b\n",
            "no column 'caption' (--map caption=NAME names it); found: file, title");
    REFUSED("image,title\na,b\n", "no column 'caption'");
    REFUSED("path,caption\na,b\n",
            "no column 'image' (--map image=NAME names it); found: path, caption");
    REFUSED("image,caption,Image\n", "two columns are named 'image'");
    REFUSED("image,\"caption\n", "header line cannot be read");
    REFUSED("\xff\xfei\0m\0", "found: im");
}

static void count(void *context, const char *text)
{
    CHECK_HAS(text, "langauge");
    ++*(int *)context;
}

TEST(unknown_columns_are_named)
{
    int n = 0;
    struct report report = {.context = &n, .warn = count};
    scratch_make(&s);
    const char *path = scratch_text(&s, "m", "image,caption,langauge\na,b,c\n");
    CHECK_OK(stream_open(&stream, path, &err), &err);
    CHECK_OK(table_open(&t, stream, path, true, &fields, &report, &err), &err);
    CHECK_EQ(n, 1);
    next_is("a", "b", 2, 23);
    close_text();
}

TEST(a_mapped_column_must_be_there)
{
    struct fields mapped = fields_defaults();
    scratch_make(&s);
    CHECK_OK(fields_map(&mapped, "label=class", &err), &err);
    const char *path = scratch_text(&s, "m", "image,caption,label\na,b,c\n");
    CHECK_OK(stream_open(&stream, path, &err), &err);
    CHECK_EQ(table_open(&t, stream, path, true, &mapped, NULL, &err), ERR_DATA);
    CHECK_HAS(err.text, "has no column 'class' (--map); found: image, caption, label");
    path = scratch_text(&s, "m", "image,caption,CLASS\na,b,c\n");
    CHECK_OK(stream_open(&stream, path, &err), &err);
    CHECK_OK(table_open(&t, stream, path, true, &mapped, NULL, &err), &err);
    CHECK_EQ(table_next(t, &row, &err), 1);
    CHECK_STR(row.label, "c");
    close_text();
}

TEST(the_delimiter_is_the_one_of_the_header)
{
    OPEN("\xef\xbb\xbf\r\n\nimage;caption;\"x, y\"\na.jpg;\"dog; brown\";1,2\n", ',');
    next_is("a.jpg", "dog; brown", 4, 27);
    close_text();
    OPEN("image|caption\na.jpg|x,y;z\n", ',');
    next_is("a.jpg", "x,y;z", 2, 14);
    close_text();
}

TEST_MAIN
