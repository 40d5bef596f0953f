/* Karpathy's splits: a row a sentence, its picture's folder, ids and splits, and bad images.
 */
#include "ingest/karpathy.h"

#include "tests/rowskit.h"

static struct scratch s;

#define KARPATHY(text, want)                                                                       \
    ROWS(scratch_bytes(&s, "k.json", text, strlen(text)), SOURCE_KARPATHY, want)

#define COCO_LIKE                                                                                  \
    "{\"images\": [{\"filepath\": \"val2014\", \"sentids\": [1, 2], \"filename\": \"a.jpg\", "     \
    "\"imgid\": 0, \"split\": \"restval\", \"sentences\": [{\"tokens\": [\"a\", \"dog\"], "        \
    "\"raw\": "                                                                                    \
    "\"A dog.\", \"imgid\": 0, \"sentid\": 1}, {\"raw\": \"Two.\"}], \"cocoid\": 391895}, "        \
    "{\"filename\": \"b.jpg\", \"imgid\": 1, \"split\": \"test\", \"sentences\": []}], "           \
    "\"dataset\": "                                                                                \
    "\"coco\"}"

TEST(a_row_a_sentence)
{
    scratch_make(&s);
    const char *want = "val2014/a.jpg|391895||A dog.\nval2014/a.jpg|391895||Two.\nb.jpg|1||-\n";
    KARPATHY(COCO_LIKE, want);
    ROWS(scratch_text(&s, "auto", COCO_LIKE), SOURCE_AUTO, want);
    scratch_remove(&s);
}

TEST(splits_are_handed_on)
{
    struct source *source = NULL;
    struct source_options o = source_defaults();
    struct error err = {0};
    struct row row;
    const char *want[] = {"restval", "restval", "test"};
    scratch_make(&s);
    CHECK_OK(source_open(&source, scratch_text(&s, "k", COCO_LIKE), &o, NULL, &err), &err);
    CHECK_EQ(source_kind(source), SOURCE_KARPATHY);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(source_next(source, &row, &err), 1);
        CHECK_STR(row.split, want[i]);
        CHECK(row.byte_offset > 0 && row.line == 0);
    }
    source_close(source);
    scratch_remove(&s);
}

TEST(bad_images_are_rows)
{
    scratch_make(&s);
    KARPATHY(
        "{\"images\": [{\"sentences\": [{\"raw\": \"x\"}]}, {\"filename\": \"\", \"sentences\": "
        "[]}, 5, "
        "{\"filename\": \"a\", \"sentences\": {}}, {\"filename\": \"b\", \"cocoid\": 1.5, "
        "\"imgid\": \"s\", "
        "\"sentences\": [{\"raw\": 5}, 6, {}, {\"raw\": \"good\"}]}, {\"filename\": \"c\"}]}",
        "!bad-member\n!bad-member\n!bad-json\n!bad-member\n!missing-caption\n!missing-caption\n"
        "!missing-caption\nb|s||good\nc|||-\n");
    KARPATHY("{\"dataset\": \"coco\"}", "=data\n");
    KARPATHY("{\"images\": [", "!bad-json\n");
    KARPATHY("", "=data\n");
    scratch_remove(&s);
}

TEST(a_path_too_long)
{
    struct pack p = {0};
    scratch_make(&s);
    pack_text(&p, "{\"images\": [{\"filepath\": \"");
    for (int i = 0; i < 1990; i++) pack_add(&p, "d", 1);
    pack_text(&p, "\", \"filename\": \"0123456789\", \"sentences\": [{\"raw\": \"x\"}]}]}");
    KARPATHY(p.bytes, "!bad-member\n");
    pack_free(&p);
    scratch_remove(&s);
}

TEST(cut_anywhere_nothing_is_silent)
{
    scratch_make(&s);
    size_t end = (size_t)(strstr(COCO_LIKE, "], \"dataset") - COCO_LIKE);
    for (size_t n = 0; n <= end; n++) {
        char *rows = rows_of(scratch_bytes(&s, "c", COCO_LIKE, n), SOURCE_KARPATHY, NULL);
        if (!strstr(rows, "!bad-json") && strcmp(rows, "=data\n"))
            CHECK_FAIL("cut at %zu: %s", n, rows);
        memory_free(rows);
    }
    scratch_remove(&s);
}

TEST_MAIN
