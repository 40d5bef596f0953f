/* Chinese-CLIP's corpora: the two files together and each alone, ids of all kinds, bad lines.
 */
#include "ingest/cnclip.h"

#include "tests/rowskit.h"

static struct scratch s;
static struct error err;

/* Pictures that only begin like some: /9j/ is FF D8 FF. */
#define PICTURES "7\t/9j/4AAQ\n8\tiVBORw0KGgo=\r\nx9\t_9j_4A\n"
#define TEXTS                                                                                      \
    "{\"text_id\": 1, \"text\": \"\xe7\x8b\x97\", \"image_ids\": [7, \"x9\"]}\n\n{\"text_id\": "   \
    "2, "                                                                                          \
    "\"text\": \"\xe7\x8c\xab\", \"image_ids\": [8]}\n"
#define PICTURE_ROWS "|7||-\n|8||-\n|x9||-\n"
#define TEXT_ROWS    "|7||\xe7\x8b\x97\n|x9||\xe7\x8b\x97\n|8||\xe7\x8c\xab\n"

TEST(both_files_and_each_alone)
{
    scratch_make(&s);
    const char *pictures = scratch_text(&s, "train_imgs.tsv", PICTURES),
               *texts = scratch_text(&s, "train_texts.jsonl", TEXTS);
    ROWS(texts, SOURCE_CNCLIP, PICTURE_ROWS TEXT_ROWS);
    ROWS(texts, SOURCE_AUTO, PICTURE_ROWS TEXT_ROWS);
    ROWS(pictures, SOURCE_AUTO, PICTURE_ROWS);
    ROWS(scratch_text(&s, "valid_texts.jsonl", TEXTS), SOURCE_AUTO, TEXT_ROWS);
    struct pack gz = pack_gzip(PICTURES, strlen(PICTURES)), zst = pack_zstd(TEXTS, strlen(TEXTS));
    scratch_bytes(&s, "valid_imgs.tsv.gz", gz.bytes, gz.n);
    ROWS(scratch_path(&s, "valid_texts.jsonl"), SOURCE_AUTO, PICTURE_ROWS TEXT_ROWS);
    ROWS(scratch_bytes(&s, "valid_texts.jsonl.zst", zst.bytes, zst.n), SOURCE_AUTO,
         PICTURE_ROWS TEXT_ROWS);
    scratch_bytes(&s, "valid_imgs.tsv.gz", gz.bytes,
                  gz.n - 4); /* so small that it is seen at once */
    ROWS(scratch_path(&s, "valid_texts.jsonl"), SOURCE_AUTO, "=data\n");
    pack_free(&gz);
    pack_free(&zst);
    scratch_remove(&s);
}

TEST(pictures_are_the_bytes_and_splits_the_names)
{
    const struct {
        const char *name, *split;
    } names[] = {{"train_imgs.tsv", "train"},
                 {"valid_imgs.tsv", "val"},
                 {"test_imgs.tsv", "test"},
                 {"imgs.tsv", NULL}};
    struct source_options o = source_defaults();
    scratch_make(&s);
    for (size_t i = 0; i < 4; i++) {
        struct source *source = NULL;
        struct row row;
        uint64_t done, total;
        const char *path = scratch_text(&s, names[i].name, PICTURES);
        CHECK_OK(source_open(&source, path, &o, NULL, &err), &err);
        CHECK_EQ(source_next(source, &row, &err), 1);
        CHECK_EQ(row.n_picture, 6);
        CHECK(!memcmp(row.picture, "\xff\xd8\xff\xe0\x00\x10", 6));
        CHECK(names[i].split ? row.split && !strcmp(row.split, names[i].split) : !row.split);
        CHECK_EQ(source_next(source, &row, &err), 1);
        CHECK_EQ(row.n_picture, 8);
        CHECK_EQ(row.line, 2);
        CHECK_EQ(source_next(source, &row, &err), 1);
        CHECK_EQ(row.n_picture, 4); /* the other alphabet, no padding */
        CHECK_EQ(source_next(source, &row, &err), 0);
        source_progress(source, &done, &total);
        CHECK_EQ(done, total);
        source_close(source);
    }
    scratch_remove(&s);
}

TEST(bad_pictures_are_rows)
{
    scratch_make(&s);
    ROWS(scratch_text(&s, "a_imgs.tsv",
                      "1\tR0lGODlh\nno tab\n\tAAAA\n2\tAA AA\n3\t\n4\tAAAAA\n5\tAAAA"),
         SOURCE_CNCLIP,
         "|1||-\n!wrong-field-count\n!wrong-field-count\n!bad-base64\n|3||-\n!bad-base64\n|5||-\n");
    struct pack p = {0};
    for (int i = 0; i < 64; i++) pack_add(&p, "1", 1);
    pack_text(&p, "\tAAAA\n%.*s\tAAAA\n", 63,
              "1111111111111111111111111111111111111111111111111111111111111111");
    char *rows = rows_of(scratch_bytes(&s, "b_imgs.tsv", p.bytes, p.n), SOURCE_CNCLIP, NULL);
    CHECK(!strncmp(rows, "!wrong-field-count\n|111", 23));
    memory_free(rows);
    pack_free(&p);
    scratch_remove(&s);
}

TEST(bad_texts_are_rows)
{
    scratch_make(&s);
    ROWS(scratch_text(
             &s, "a_texts.jsonl",
             "{\"text\": \"x\", \"image_ids\": [1.5, 7, null, [7], "
             "\"1234567890123456789012345678901234567890123456789012345678901234\", \"\"]}\n"
             "{\"text\": \"x\", \"image_ids\": []}\n{\"image_ids\": [7]}\n{\"text\": 5, "
             "\"image_ids\": [7]}\n{\"text\": \"x\"}\n{\"text\": \"x\", \"image_ids\": 7}\n[7]\n{\n"
             "{\"text\": \"\xff\", \"image_ids\": [7]}\n{\"text\": \"good\", \"image_ids\": [7]}"),
         SOURCE_AUTO,
         "!bad-member\n|7||x\n!bad-member\n!bad-member\n!bad-member\n!bad-member\n"
         "!missing-image\n!missing-caption\n!missing-caption\n!bad-member\n!bad-member\n"
         "!missing-caption\n!bad-json\n!bad-json\n|7||good\n");
    ROWS(scratch_text(&s, "b_texts.jsonl", ""), SOURCE_CNCLIP, "");
    scratch_remove(&s);
}

TEST(a_picture_beyond_the_limit_of_a_line)
{
    struct pack p = {0};
    scratch_make(&s);
    char *block = memory_array(1 << 20, 1, MEMORY_MAX_FILE, &err);
    if (!block) abort();
    memset(block, 'A', 1 << 20);
    pack_text(&p, "1\t");
    for (int i = 0; i < 17; i++) pack_add(&p, block, 1 << 20);
    pack_text(&p, "\n2\tAAAA\n");
    ROWS(scratch_bytes(&s, "imgs.tsv", p.bytes, p.n), SOURCE_CNCLIP, "!line-too-long\n|2||-\n");
    memory_free(block);
    pack_free(&p);
    scratch_remove(&s);
}

TEST_MAIN
