/* Sources: recognition by content and name, and what all kinds share. */
#include "ingest/source.h"

#include "tests/rowskit.h"

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
    CHECK(want == SOURCE_COCO ? done <= n : done == n); /* a document is not read to its end */
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

static void paths_are(const char *word, const char *want)
{
    char pattern[300], found[1000] = "";
    const char *words[] = {pattern};
    struct source_paths paths;
    struct error err = {0};
    size_t n = strlen(s.folder) + 1;
    snprintf(pattern, sizeof pattern, "%s/%s", s.folder, word);
    int rc = source_expand(words, 1, &paths, &err);
    for (size_t i = 0; i < paths.n; i++) {
        strcat(found, paths.path[i] + n);
        strcat(found, " ");
    }
    if (rc < 0) strcpy(found, error_word(rc));
    if (strcmp(found, want)) CHECK_FAIL("%s: %s, not %s", word, found, want);
    source_paths_release(&paths);
}

TEST(patterns)
{
    scratch_make(&s);
    const char *files[] = {"b1.tar", "a2.tar", "a10.tar", "a1.tar", "c[1].tar"};
    for (size_t i = 0; i < 5; i++) scratch_bytes(&s, files[i], "", 0);
    paths_are("*.tar", "a1.tar a10.tar a2.tar b1.tar c[1].tar ");
    paths_are("{b,a}[12].tar", "a1.tar a2.tar b1.tar ");
    paths_are("{a*,*1.tar}", "a1.tar a10.tar a2.tar b1.tar ");
    paths_are("a?.tar", "a1.tar a2.tar ");
    paths_are("c[1].tar", "c[1].tar "); /* a file of that name is no pattern */
    paths_are("none.tar", "none.tar "); /* source_open says that it is not there */
    paths_are("x*.tar", "not-found");
    for (long nth = 1; nth < 9; nth++) {
        const char *words[] = {"-", s.folder};
        struct source_paths paths;
        struct error err = {0};
        memory_fail_at(nth);
        int rc = source_expand(words, 2, &paths, &err);
        memory_fail_at(0);
        CHECK(rc == (nth <= 3 ? ERR_NOMEM : 0));
        source_paths_release(&paths);
    }
    scratch_remove(&s);
}

TEST(json_lines_and_documents_are_told_apart)
{
    scratch_make(&s);
    IS("a.json", "{\"type\": \"x\", \"image\": \"a.jpg\", \"caption\": \"c\"}\n", SOURCE_JSONL);
    IS("b.json", "{\"images\": 3, \"image\": \"a.jpg\", \"caption\": \"c\"}\n", SOURCE_JSONL);
    IS("c.json", "{\"images\": [{\"file_name\": \"a.jpg\"}]}", SOURCE_COCO);
    IS("d.json", "{\"type\": \"captions\",\n\"images\": [{\"file_name\": \"a.jpg\"}]}\n",
       SOURCE_COCO);
    scratch_remove(&s);
}

TEST(a_tar_is_no_text)
{
    struct pack tar = {0};
    scratch_make(&s);
    pack_file(&tar, "a.jpg", "P");
    pack_end(&tar);
    const char *path = scratch_bytes(&s, "t", tar.bytes, tar.n);
    for (enum source_format f = SOURCE_TSV; f < SOURCE_WEBDATASET; f++) ROWS(path, f, "=data\n");
    ROWS(path, SOURCE_AUTO, "a.jpg|a||-\n");
    pack_free(&tar);
    scratch_remove(&s);
}

TEST(pictures_may_lie_elsewhere)
{
    struct source_options o = source_defaults();
    struct source *source = NULL;
    struct error err = {0};
    scratch_make(&s);
    o.pictures = "/pictures";
    const char *path = scratch_text(&s, "m", "image,caption\na.jpg,x\n");
    CHECK_OK(source_open(&source, path, &o, NULL, &err), &err);
    CHECK_STR(source_folder(source), "/pictures");
    CHECK_STR(source_path(source), path);
    source_close(source);
    scratch_remove(&s);
}

TEST_MAIN
