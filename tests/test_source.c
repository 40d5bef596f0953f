/* Sources: recognition by content and name, and what all kinds share. */
#include "ingest/source.h"

#include "store/memory.h"
#include "tests/scratch.h"

static struct scratch s;
static const struct source_options defaults, tsv = {.format = SOURCE_TSV};

static void is(const char *name, const char *text, size_t n, enum source_format want)
{
    struct source *source = NULL;
    struct error err = {0};
    struct row row;
    CHECK_OK(source_open(&source, scratch_bytes(&s, name, text, n), &defaults, NULL, &err), &err);
    CHECK_EQ(source_kind(source), want);
    CHECK_STR(source_folder(source), s.folder);
    CHECK_EQ(source_next(source, &row, &err), 1);
    CHECK_STR(row.image, "a.jpg");
    uint64_t done, total;
    CHECK_EQ(source_next(source, &row, &err), 0);
    source_progress(source, &done, &total);
    CHECK_EQ(done, n);
    CHECK_EQ(total, n);
    source_close(source);
}

#define IS(name, text, want) is(name, text, sizeof text - 1, want)

TEST(tables_and_json_are_told_apart)
{
    scratch_make(&s);
    IS("m.tsv", "image\tcaption\na.jpg\tx\n", SOURCE_TSV);
    IS("m.csv", "image,caption\na.jpg,x\n", SOURCE_CSV);
    IS("wrong.csv", "image\tcaption, short\tcaption\na.jpg\tx\ty\n", SOURCE_TSV);
    IS("noname", "\xef\xbb\xbf\r\ncaption,image\nx,a.jpg\n", SOURCE_CSV);
    IS("m.json", "\n {\"image\": \"a.jpg\", \"caption\": \"x\"}\n", SOURCE_JSONL);
    scratch_remove(&s);
}

static void refused(const char *name, const char *text, size_t n, int code, const char *sentence)
{
    struct source *source = NULL;
    struct error err = {0};
    CHECK_EQ(source_open(&source, scratch_bytes(&s, name, text, n), &defaults, NULL, &err), code);
    CHECK_HAS(err.text, sentence);
    CHECK(source == NULL);
}

#define REFUSED(name, text, sentence) refused(name, text, sizeof text - 1, ERR_DATA, sentence)

TEST(what_is_no_source)
{
    scratch_make(&s);
    struct source *source = NULL;
    struct error err = {0};
    REFUSED("a.jpg", "\xff\xd8\xff\xe0 JFIF", "is a JPEG file; a manifest");
    REFUSED("prose", "hello\nworld\n", "say which with --format");
    REFUSED("empty", "", "say which with --format");
    REFUSED("empty.tsv", "", "is empty");
    REFUSED("one.csv", "image\na.jpg\n", "no column 'caption'");
    CHECK_EQ(source_open(&source, "/nowhere/at/all", &defaults, NULL, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "/nowhere/at/all: there is no such file or folder");
    scratch_remove(&s);
}

TEST(a_format_that_is_given_is_believed)
{
    scratch_make(&s);
    struct source *source = NULL;
    struct error err = {0};
    const char *path = scratch_text(&s, "m", "image,caption\na.jpg,x\n");
    CHECK_EQ(source_open(&source, path, &tsv, NULL, &err), ERR_DATA);
    CHECK_OK(source_open(&source, s.folder, &defaults, NULL, &err), &err);
    CHECK_EQ(source_kind(source), SOURCE_FOLDER);
    CHECK_STR(source_folder(source), s.folder);
    source_close(source);
    scratch_remove(&s);
}

TEST(words_and_names)
{
    enum source_format format;
    struct error err = {0};
    CHECK_OK(source_format_of("jsonl", &format, &err), &err);
    CHECK_EQ(format, SOURCE_JSONL);
    CHECK_EQ(source_format_of("xml", &format, &err), ERR_USAGE);
    CHECK_HAS(err.text, "'xml' is no format");
    const char *paths[][2] = {{"a/b/m.tsv", "m.tsv"},
                              {"pics/", "pics"},
                              {"m.tsv", "m.tsv"},
                              {"/", "source"},
                              {"a//", "a"}};
    for (int i = 0; i < 5; i++) {
        char *name = source_default_name(paths[i][0], &err);
        CHECK_STR(name, paths[i][1]);
        memory_free(name);
    }
}

TEST_MAIN
