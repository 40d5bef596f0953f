/* Flickr token files: what stands behind the name, languages, and lines that are none.
 */
#include "ingest/flickr.h"

#include "tests/rowskit.h"

static struct scratch s;

#define FLICKR(text, want) ROWS(scratch_text(&s, "f.token", text), SOURCE_FLICKR, want)

TEST(names_and_languages)
{
    scratch_make(&s);
    FLICKR(
        "1.jpg#0\tA dog .\n1.jpg#1\ttwo\twith a "
        "TAB\n1.jpg#zhc#0\t\xe7\x8b\x97\n1.jpg#enc#12\tthree\n"
        "1.jpg#deu#0\tdrei\n2.jpg\tno number\n3.jpg#x\tno digits\n4#5.jpg\ta "
        "name\n6.jpg##7\tempty\n",
        "1.jpg|||A dog .\n1.jpg|||two\twith a TAB\n1.jpg||zh|\xe7\x8b\x97\n1.jpg||en|three\n"
        "1.jpg|||drei\n2.jpg|||no number\n3.jpg#x|||no digits\n4#5.jpg|||a name\n6.jpg#|||empty\n");
    FLICKR("\xef\xbb\xbf"
           "1.jpg#0\ta\r\n\r\n\n1.jpg#1\t\r\n1.jpg#2\tlast",
           "1.jpg|||a\n1.jpg|||\n1.jpg|||last\n");
    scratch_remove(&s);
}

TEST(lines_that_are_none)
{
    struct pack p = {0};
    scratch_make(&s);
    FLICKR("1.jpg#0 a dog\n1.jpg#0\tgood\na\0b.jpg#0\tx\n#0\tno name\n",
           "!wrong-field-count\n1.jpg|||good\n!bad-id\n|||no name\n");
    FLICKR("", "");
    for (int i = 0; i < 5000; i++) pack_add(&p, "n", 1);
    pack_text(&p, ".jpg#0\tx\n1.jpg#0\tgood\n");
    ROWS(scratch_bytes(&s, "f", p.bytes, p.n), SOURCE_FLICKR, "!bad-id\n1.jpg|||good\n");
    pack_free(&p);
    scratch_remove(&s);
}

TEST(recognition)
{
    const struct {
        const char *head;
        bool is;
    } heads[] = {{"1.jpg#0\tx\n", true},
                 {"1.JPEG#zhc#3\tx", true},
                 {"\xef\xbb\xbf"
                  "1.png\tx",
                  true},
                 {"image\tcaption\n", false},
                 {"1.jpg#0 x\n", false},
                 {"1.jpg\nb\tc\n", false},
                 {"", false},
                 {".jpg\tx", false},
                 {"\t", false},
                 {"1.jpg#0", false}};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (flickr_matches(heads[i].head, strlen(heads[i].head)) != heads[i].is)
            CHECK_FAIL("'%s'", heads[i].head);
    scratch_make(&s);
    ROWS(scratch_text(&s, "results.token", "1.jpg#0\tx\n"), SOURCE_AUTO, "1.jpg|||x\n");
    scratch_remove(&s);
}

TEST_MAIN
