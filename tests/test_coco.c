/* COCO captions: arrays in either order, images nobody names, ids of all kinds, what is bad or cut.
 */
#include "ingest/coco.h"

#include "tests/rowskit.h"

static struct scratch s;
static struct error err;

#define IMAGES                                                                                     \
    "\"images\": [{\"id\": 7, \"file_name\": \"a.jpg\"}, {\"file_name\": \"b.jpg\", \"id\": 9, "   \
    "\"split\": \"val\"}]"
#define CAPTIONS                                                                                   \
    "\"annotations\": [{\"image_id\": 9, \"id\": 1, \"caption\": \"a cat\"}, {\"image_id\": 9, "   \
    "\"caption\": \"ein Hund\", \"lang\": \"de\"}]"

#define COCO(text, want) ROWS(scratch_bytes(&s, "c.json", text, strlen(text)), SOURCE_COCO, want)

TEST(either_order_and_images_that_nobody_names)
{
    scratch_make(&s);
    const char *want = "b.jpg|9||a cat\nb.jpg|9|de|ein Hund\na.jpg|7||-\n";
    COCO("{" IMAGES ", " CAPTIONS "}", want);
    COCO("{" CAPTIONS ", " IMAGES "}", want);
    COCO("{\"info\": {\"images\": [1]}, \"type\": \"captions\", " CAPTIONS ",\n" IMAGES
         ", \"licenses\": []}",
         want);
    COCO("{" IMAGES "}", "a.jpg|7||-\nb.jpg|9||-\n");
    COCO("{" IMAGES ", \"annotations\": []}", "a.jpg|7||-\nb.jpg|9||-\n");
    COCO("{\"images\": [], \"annotations\": []}", "");
    COCO("{" CAPTIONS "}", "=data\n");
    ROWS(scratch_text(&s, "auto.json", "{" IMAGES ", " CAPTIONS "}\n"), SOURCE_AUTO, want);
    scratch_remove(&s);
}

TEST(ids_of_all_kinds)
{
    scratch_make(&s);
    COCO(
        "{\"images\": [{\"id\": \"x 1\", \"file_name\": \"a\"}, {\"id\": 12345678901234567, "
        "\"file_name\": \"b\"}, "
        "{\"id\": 3.0, \"file_name\": \"c\"}, {\"id\": 1.5, \"file_name\": \"d\"}, {\"file_name\": "
        "\"e\"}, "
        "{\"id\": -1, \"file_name\": \"f\"}, {\"id\": null, \"file_name\": \"g\"}], "
        "\"annotations\": ["
        "{\"image_id\": \"x 1\", \"caption\": \"1\"}, {\"image_id\": 12345678901234567, "
        "\"caption\": \"2\"}, "
        "{\"image_id\": \"3\", \"caption\": \"3\"}, {\"image_id\": 1.5, \"caption\": \"4\"}, "
        "{\"image_id\": -1, \"caption\": \"5\"}, {\"caption\": \"6\"}, {\"image_id\": \"\", "
        "\"caption\": \"7\"}, "
        "{\"image_id\": 12345678901234568, \"caption\": \"8\"}]}",
        "a|x 1||1\nb|12345678901234567||2\nc|3||3\n!bad-member\nf|-1||5\n!bad-member\n!bad-member\n"
        "!missing-image\nd|||-\ne|||-\ng|||-\n");
    /* an id twice: the first counts, the second is a row, which the corpus finds to be a conflict */
    COCO("{\"images\": [{\"id\": 1, \"file_name\": \"a\"}, {\"id\": 1, \"file_name\": \"b\"}], "
         "\"annotations\": [{\"image_id\": 1, \"caption\": \"x\"}]}",
         "a|1||x\nb|1||-\n");
    scratch_remove(&s);
}

TEST(bad_records_are_rows)
{
    scratch_make(&s);
    COCO("{\"images\": [{\"id\": 1}, {\"id\": 2, \"file_name\": \"b\"}, 3, {\"id\": 4, "
         "\"file_name\": \"\"}], \"annotations\": ["
         "{\"image_id\": 1, \"caption\": \"x\"}, {\"image_id\": 2}, {\"image_id\": 2, \"caption\": "
         "5}, "
         "{\"image_id\": 2, \"caption\": \"good\"}, \"text\", {\"image_id\": 99, \"caption\": "
         "\"x\"}, "
         "{\"image_id\": 2, \"caption\": \"\"}]}",
         "!bad-member\n!missing-caption\n!missing-caption\nb|2||good\n!bad-json\n!missing-image\nb|"
         "2||\n"
         "!bad-json\n!bad-member\n");
    scratch_remove(&s);
}

TEST(mapped_names)
{
    struct source_options o = source_defaults();
    scratch_make(&s);
    CHECK_OK(fields_map(&o.fields, "caption=tokenized_caption", &err), &err);
    CHECK_OK(fields_map(&o.fields, "image=coco_url", &err), &err);
    char *rows = rows_of(
        scratch_text(
            &s, "stair.json",
            "{\"annotations\": [{\"image_id\": 1, \"caption\": \"\xe7\x8a\xac\xe3\x81\x8c\", "
            "\"tokenized_caption\": \"\xe7\x8a\xac \xe3\x81\x8c\"}], \"images\": [{\"id\": 1, "
            "\"file_name\": "
            "\"a\", \"coco_url\": \"u\"}]}"),
        SOURCE_COCO, &o);
    CHECK_STR(rows, "u|1||\xe7\x8a\xac \xe3\x81\x8c\n");
    memory_free(rows);
    scratch_remove(&s);
}

TEST(cut_anywhere_nothing_is_silent)
{
    scratch_make(&s);
    const char *texts[] = {"{" IMAGES ", " CAPTIONS "}", "{" CAPTIONS ", " IMAGES "}"};
    for (int i = 0; i < 2; i++)
        for (size_t n = 0; n < strlen(texts[i]) - 1; n++) {
            char *rows = rows_of(scratch_bytes(&s, "c", texts[i], n), SOURCE_COCO, NULL);
            if (!strstr(rows, "!bad-json") && !strstr(rows, "=data"))
                CHECK_FAIL("cut at %zu: %s", n, rows);
            memory_free(rows);
        }
    scratch_remove(&s);
}

TEST(standard_input_is_no_path)
{
    scratch_make(&s);
    const char *path = scratch_text(&s, "c", "{" IMAGES "}");
    if (!freopen(path, "r", stdin)) abort();
    ROWS("-", SOURCE_AUTO, "a.jpg|7||-\nb.jpg|9||-\n");
    if (!freopen("/dev/null", "r", stdin)) abort();
    scratch_remove(&s);
}

TEST(many_images_are_found_again)
{
    enum { N = 3000 };
    struct pack p = {0}, want = {0};
    scratch_make(&s);
    pack_text(&p, "{\"annotations\": [");
    for (int i = 0; i < N; i++) {
        int id = (int)((i * 7919u) % N);
        pack_text(&p, "%s{\"image_id\": %d, \"caption\": \"c%d\"}", i ? ",\n" : "", id, i);
        pack_text(&want, "%d.jpg|%d||c%d\n", id, id, i);
    }
    pack_text(&p, "], \"images\": [");
    for (int i = 0; i < N; i++)
        pack_text(&p, "%s{\"file_name\": \"%d.jpg\", \"id\": %d}", i ? "," : "", i, i);
    pack_text(&p, "]}");
    struct pack zst = pack_zstd(p.bytes, p.n);
    ROWS(scratch_bytes(&s, "c.json", p.bytes, p.n), SOURCE_AUTO, want.bytes);
    ROWS(scratch_bytes(&s, "c.json.zst", zst.bytes, zst.n), SOURCE_AUTO, want.bytes);
    pack_free(&zst);
    pack_free(&want);
    pack_free(&p);
    scratch_remove(&s);
}

TEST_MAIN
