/* Every format end to end with real pictures: the same pairs come out of all of them, packed or not, and
 * the second run changes nothing; what users of other tools lost is kept or said; every reader survives
 * the failure of any allocation.
 */
#include <signal.h>
#include <sys/resource.h>

#include "tests/ingestkit.h"

static struct scratch s;

static const char *const goldens[] = {"palette4.png", "jpeg_q8.jpg", "photo_03.jpg"};
static const char *const names[] = {"000.png", "001.jpg", "002.jpg"};
enum { N = 3 };

static void write_pictures(void)
{
    scratch_make(&s);
    for (int i = 0; i < N; i++) kit_picture(&s, goldens[i], names[i]);
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void add_base64(struct pack *out, const struct pack *in)
{
    for (size_t i = 0; i < in->n; i += 3) {
        unsigned k = in->n - i < 3 ? (unsigned)(in->n - i) : 3, v = 0;
        for (unsigned j = 0; j < 3; j++) v = v << 8 | (j < k ? (uint8_t)in->bytes[i + j] : 0);
        for (unsigned j = 0; j < 4; j++)
            pack_add(out, j <= k ? &base64_digits[v >> (18 - 6 * j) & 63] : "=", 1);
    }
}

/* One source of a format: three pictures, "c0", "c1", "c2" and for the first "d0" too. */
static struct pack make_tsv(void)
{
    struct pack p = {0};
    pack_text(&p, "image\tcaption\n");
    for (int i = 0; i < N; i++) pack_text(&p, "%s\tc%d\n", names[i], i);
    pack_text(&p, "%s\td0\n", names[0]);
    return p;
}

static struct pack make_csv(void)
{
    struct pack p = {0};
    pack_text(&p, "\xef\xbb\xbf"
                  "caption;image\r\n");
    for (int i = 0; i < N; i++) pack_text(&p, "\"c%d\";%s\r\n", i, names[i]);
    pack_text(&p, "\"\nd0\n\";%s\r\n", names[0]);
    return p;
}

static struct pack make_jsonl(void)
{
    struct pack p = {0};
    for (int i = 0; i < N; i++)
        pack_text(&p, "{\"file_name\": \"%s\", \"text\": [\"c%d\"%s]}\n", names[i], i,
                  i ? "" : ", \"d0\"");
    return p;
}

static struct pack make_list(void)
{
    struct pack p = {0};
    for (int i = 0; i < N; i++)
        pack_text(&p, "%s{\"image\": \"%s\", \"caption\": [\"c%d\"%s]}", i ? ",\n" : "[", names[i],
                  i, i ? "" : ", \"d0\"");
    pack_text(&p, "]");
    return p;
}

/* The table in UTF-16. */
static struct pack make_wide(void)
{
    struct pack narrow = make_tsv(), p = {0};
    pack_add(&p, "\xff\xfe", 2);
    for (size_t i = 0; i < narrow.n; i++) pack_add(&p, (char[2]){narrow.bytes[i], 0}, 2);
    pack_free(&narrow);
    return p;
}

static struct pack make_coco(void)
{
    struct pack p = {0};
    pack_text(&p, "{\"annotations\": [");
    for (int i = 0; i < N; i++) pack_text(&p, "{\"image_id\": %d, \"caption\": \"c%d\"}, ", i, i);
    pack_text(&p, "{\"image_id\": 0, \"caption\": \"d0\"}], \"images\": [");
    for (int i = 0; i < N; i++)
        pack_text(&p, "%s{\"id\": %d, \"file_name\": \"%s\"}", i ? ", " : "", i, names[i]);
    pack_text(&p, "]}");
    return p;
}

static struct pack make_karpathy(void)
{
    struct pack p = {0};
    pack_text(&p, "{\"dataset\": \"x\", \"images\": [");
    for (int i = 0; i < N; i++)
        pack_text(&p, "%s{\"filename\": \"%s\", \"sentences\": [{\"raw\": \"c%d\"}%s]}",
                  i ? ", " : "", names[i], i, i ? "" : ", {\"raw\": \"d0\"}");
    pack_text(&p, "]}");
    return p;
}

static struct pack make_flickr(void)
{
    struct pack p = {0};
    for (int i = 0; i < N; i++) pack_text(&p, "%s#0\tc%d\n", names[i], i);
    pack_text(&p, "%s#1\td0\n", names[0]);
    return p;
}

static struct pack make_cnclip(void)
{
    struct pack p = {0}, pictures = {0};
    for (int i = 0; i < N; i++) {
        struct pack picture = {0};
        kit_read(goldens[i], &picture);
        pack_text(&pictures, "%d\t", i);
        add_base64(&pictures, &picture);
        pack_text(&pictures, "\n");
        pack_free(&picture);
        pack_text(&p, "{\"text_id\": %d, \"text\": \"c%d\", \"image_ids\": [%d]}\n", i, i, i);
    }
    pack_text(&p, "{\"text_id\": 9, \"text\": \"d0\", \"image_ids\": [0]}\n");
    scratch_bytes(&s, "train_imgs.tsv", pictures.bytes, pictures.n);
    pack_free(&pictures);
    return p;
}

static struct pack make_tar(void)
{
    struct pack p = {0};
    for (int i = 0; i < N; i++) {
        struct pack picture = {0};
        char text[20];
        kit_read(goldens[i], &picture);
        pack_member(&p, names[i], '0', picture.bytes, picture.n);
        pack_free(&picture);
        snprintf(text, sizeof text, "%.3s.txt", names[i]);
        if (i != 1) pack_file(&p, text, (const char[][3]){"c0", "c1", "c2"}[i]);
    }
    pack_file(&p, "001.txt", "c1"); /* apart from its picture */
    pack_file(&p, "000.json", "{\"caption\": \"d0\"}");
    pack_end(&p);
    return p;
}

static const struct {
    const char *name;
    struct pack (*make)(void);
    enum source_format format;
    int n_rows;
} formats[] = {
    {"m.tsv", make_tsv, SOURCE_TSV, 4},
    {"m.csv", make_csv, SOURCE_CSV, 4},
    {"wide.tsv", make_wide, SOURCE_TSV, 4},
    {"m.jsonl", make_jsonl, SOURCE_JSONL, 4},
    {"list.json", make_list, SOURCE_JSON, 4},
    {"captions.json", make_coco, SOURCE_COCO, 4},
    {"dataset.json", make_karpathy, SOURCE_KARPATHY, 4},
    {"results.token", make_flickr, SOURCE_FLICKR, 4},
    {"train_texts.jsonl", make_cnclip, SOURCE_CNCLIP, 7},
    {"00000.tar", make_tar, SOURCE_WEBDATASET, 5},
};
#define N_FORMATS (sizeof formats / sizeof *formats)

TEST(every_format_gives_the_same_pairs_packed_or_not)
{
    struct pack (*const packers[])(const void *, size_t) = {NULL, pack_gzip, pack_zstd, pack_bzip2};
    const char *ends[] = {"", ".gz", ".zst", ".bz2"};
    write_pictures();
    for (size_t f = 0; f < N_FORMATS; f++)
        for (int k = 0; k < 4; k++) {
            struct pack text = formats[f].make(),
                        packed = k ? packers[k](text.bytes, text.n) : (struct pack){0};
            char name[60], cache[60];
            snprintf(name, sizeof name, "%s%s", formats[f].name, ends[k]);
            snprintf(cache, sizeof cache, "cache-%zu-%d", f, k);
            scratch_bytes(&s, name, k ? packed.bytes : text.bytes, k ? packed.n : text.n);
            CHECK_OK(kit_ingest(&s, cache, name, ingest_defaults()), &kit_error);
            if (strcmp(kit_counts(), "3 4 0 0") || kit_result.n_rows != (uint64_t)formats[f].n_rows)
                CHECK_FAIL("%s: %s, %d rows", name, kit_counts(), (int)kit_result.n_rows);
            CHECK_OK(kit_ingest(&s, cache, name, ingest_defaults()), &kit_error);
            if (strcmp(kit_counts(), "0 0 4 0")) CHECK_FAIL("%s again: %s", name, kit_counts());
            CHECK_EQ(kit_result.n_captions_new, 0);
            pack_free(&packed);
            pack_free(&text);
        }
    scratch_remove(&s);
}

/* Reads a source whose Nth allocation fails, for every N until none does. A lost record must be a
 * reject. */
static void shake(const char *path, enum source_format format, int n_rows)
{
    int n_failed = 0, rc = ERR_NOMEM;
    for (long nth = 1; rc == ERR_NOMEM && nth < 1000; nth++) {
        struct source *source = NULL;
        struct source_options o = source_defaults();
        struct error err = {0};
        struct row row;
        int n = 0;
        o.format = format;
        memory_fail_at(nth);
        rc = source_open(&source, path, &o, NULL, &err);
        while (rc == 0 && (rc = source_next(source, &row, &err)) == 1) {
            n++;
            rc = 0;
        }
        memory_fail_at(0);
        source_close(source);
        n_failed += rc == ERR_NOMEM;
        if (rc < 0 && (rc != ERR_NOMEM || !*err.text))
            CHECK_FAIL("%s, allocation %ld: %s: %s", path, nth, error_word(rc), err.text);
        if (rc == 0 && n != n_rows) CHECK_FAIL("%s, allocation %ld: %d rows", path, nth, n);
    }
    if (rc < 0 || n_failed < 5)
        CHECK_FAIL("%s: %d failed, then %s", path, n_failed, error_word(rc));
}

TEST(every_allocation_of_a_reader_may_fail)
{
    write_pictures();
    scratch_text(&s, "000.txt", "a dog\nzh\t\xe7\x8b\x97\n");
    if (file_make_folder(scratch_path(&s, "sub/deep"), &kit_error) < 0) abort();
    kit_picture(&s, goldens[0], "sub/deep/a.png");
    shake(s.folder, SOURCE_AUTO, 5);
    for (size_t f = 0; f < N_FORMATS; f++) {
        struct pack text = formats[f].make(), zst = pack_zstd(text.bytes, text.n);
        shake(scratch_bytes(&s, formats[f].name, text.bytes, text.n), formats[f].format,
              formats[f].n_rows);
        shake(scratch_bytes(&s, formats[f].name, zst.bytes, zst.n), SOURCE_AUTO, formats[f].n_rows);
        pack_free(&zst);
        pack_free(&text);
    }
    scratch_remove(&s);
}

TEST(captions_with_what_does_not_belong)
{
    static const char text[] = "\xef\xbb\xbfimage\tcaption\r\n"
                               "000.png\ta\xef\xbb\xbf dog\r\n" /* a BOM within */
                               "000.png\tthe\0dog\r\n"          /* NUL */
                               "000.png\tbad \xff\xfe\r\n"      /* no UTF-8 */
                               "000.png\ta\rcow\r\n"            /* CR within */
                               "000.png\ttwo\tTABs\r\n"         /* a column too many */
                               "nowhere.png\tgone\r\n"          /* no such picture */
                               "../000.png\tup\r\n";
    write_pictures();
    scratch_bytes(&s, "m.tsv", text, sizeof text - 1);
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", ingest_defaults()), &kit_error);
    CHECK_EQ(kit_result.n_rows, 7);
    CHECK_EQ(kit_n("bad-utf8"), 1);
    CHECK_EQ(kit_n("wrong-field-count"), 1);
    CHECK_EQ(kit_n("missing-file"), 2);
    char *dump = kit_dump(&s, "cache");
    CHECK_HAS(dump, "\"a dog\"");
    CHECK_HAS(dump, "\"a cow\"");
    memory_free(dump);
    scratch_remove(&s);
}

TEST(an_id_twice_is_a_conflict_in_every_format)
{
    struct pack t = {0}, p[2] = {{0}, {0}};
    write_pictures();
    for (int i = 0; i < 2; i++) kit_read(goldens[i], &p[i]);
    scratch_text(
        &s, "c.json",
        "{\"images\": [{\"id\": 1, \"file_name\": \"000.png\"}, {\"id\": 1, "
        "\"file_name\": \"001.jpg\"}], \"annotations\": [{\"image_id\": 1, \"caption\": \"x\"}]}");
    CHECK_OK(kit_ingest(&s, "coco", "c.json", ingest_defaults()), &kit_error);
    CHECK_STR(kit_counts(), "1 1 0 1");
    CHECK_EQ(kit_n("duplicate-id"), 1);
    for (int i = 0; i < 2; i++) {
        pack_member(&t, "a.png", '0', p[i].bytes, p[i].n);
        pack_file(&t, "a.txt", i ? "two" : "one");
    }
    pack_end(&t);
    scratch_bytes(&s, "t.tar", t.bytes, t.n);
    CHECK_OK(kit_ingest(&s, "tar", "t.tar", ingest_defaults()), &kit_error);
    CHECK_STR(kit_counts(), "1 1 0 1");
    CHECK_EQ(kit_n("duplicate-id"), 1);
    struct pack lines = {0};
    for (int i = 0; i < 2; i++) {
        pack_text(&lines, "7\t");
        add_base64(&lines, &p[i]);
        pack_text(&lines, "\n");
    }
    scratch_bytes(&s, "x_imgs.tsv", lines.bytes, lines.n);
    CHECK_OK(kit_ingest(&s, "cnclip", "x_imgs.tsv", ingest_defaults()), &kit_error);
    CHECK_STR(kit_counts(), "1 0 0 1");
    CHECK_EQ(kit_n("duplicate-id"), 1);
    pack_free(&lines);
    pack_free(&t);
    for (int i = 0; i < 2; i++) pack_free(&p[i]);
    scratch_remove(&s);
}

TEST(a_tar_gives_every_sample_however_it_lies)
{
    struct pack picture = {0};
    write_pictures();
    kit_read(goldens[0], &picture);
    for (int order = 0; order < 3; order++) { /* side by side; pictures first; texts first */
        struct pack t = {0};
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < 300; i++) {
                char name[20], text[20];
                snprintf(text, sizeof text, "caption %d", i);
                for (int part = 0; part < 2; part++) {
                    if (order == 0 ? half : half != (order == 1 ? part : !part)) continue;
                    snprintf(name, sizeof name, "%03d.%s", i, part ? "txt" : "png");
                    if (part)
                        pack_file(&t, name, text);
                    else
                        pack_member(&t, name, '0', picture.bytes, picture.n);
                }
            }
        pack_end(&t);
        char cache[20];
        snprintf(cache, sizeof cache, "cache%d", order);
        scratch_bytes(&s, "t.tar", t.bytes, t.n);
        CHECK_OK(kit_ingest(&s, cache, "t.tar", ingest_defaults()), &kit_error);
        CHECK_STR(kit_counts(), "1 300 0 0");
        pack_free(&t);
    }
    char *a = kit_dump(&s, "cache0"), *b = kit_dump(&s, "cache1"), *c = kit_dump(&s, "cache2");
    CHECK_STR(a, b);
    CHECK_STR(a, c);
    memory_free(a);
    memory_free(b);
    memory_free(c);
    pack_free(&picture);
    scratch_remove(&s);
}

TEST(captions_of_a_tar_that_name_no_picture_are_said)
{
    struct pack t = {0}, picture = {0};
    write_pictures();
    kit_read(goldens[0], &picture);
    pack_member(&t, "a.png", '0', picture.bytes, picture.n);
    pack_file(&t, "b.txt", "nothing beside it");
    pack_file(&t, "a.txt", "a");
    pack_end(&t);
    scratch_bytes(&s, "t.tar", t.bytes, t.n);
    CHECK_OK(kit_ingest(&s, "cache", "t.tar", ingest_defaults()), &kit_error);
    CHECK_STR(kit_counts(), "1 1 0 1");
    CHECK_EQ(kit_n("unknown-id"), 1);
    pack_free(&picture);
    pack_free(&t);
    scratch_remove(&s);
}

TEST(wide_and_long)
{
    struct pack p = {0};
    write_pictures();
    char *big = memory_array(10 << 20, 1, MEMORY_MAX_FILE, &kit_error);
    if (!big) abort();
    memset(big, 'x', 10 << 20);
    pack_text(&p, "image\tcaption\n000.png\t");
    pack_add(&p, big, 10 << 20); /* a 10-MB caption */
    pack_text(&p, "\n001.jpg\tgood\n002.jpg");
    memset(big, '\t', 1 << 20);
    pack_add(&p, big, 1 << 20); /* a million columns */
    pack_text(&p, "\n002.jpg\tgood\n");
    scratch_bytes(&s, "m.tsv", p.bytes, p.n);
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", ingest_defaults()), &kit_error);
    CHECK_STR(kit_counts(), "2 2 0 2");
    CHECK_EQ(kit_n("too-long"), 1);
    CHECK_EQ(kit_n("wrong-field-count"), 1);
    memcpy(big, "image", 5);
    scratch_bytes(&s, "wide.tsv", big, 1 << 20);
    CHECK_EQ(kit_ingest(&s, "wide", "wide.tsv", ingest_defaults()), ERR_DATA);
    CHECK_HAS(kit_error.text, "the header has 1048572 columns, at most 1000 are expected");
    memory_free(big);
    pack_free(&p);
    scratch_remove(&s);
}

TEST(an_empty_source_is_an_error)
{
    const struct {
        const char *name, *text;
    } empty[] = {{"a.tsv", "image\tcaption\n"},
                 {"b.jsonl", "\n\n"},
                 {"c.json", "{\"images\": [], \"annotations\": []}"},
                 {"train_texts.jsonl", ""},
                 {"f.token", ""}};
    const enum source_format format[] = {SOURCE_TSV, SOURCE_JSONL, SOURCE_COCO, SOURCE_CNCLIP,
                                         SOURCE_FLICKR};
    struct pack none = {0};
    struct ingest_options o = ingest_defaults();
    scratch_make(&s);
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        scratch_bytes(&s, empty[i].name, empty[i].text, strlen(empty[i].text));
        o.source.format = format[i];
        if (kit_ingest(&s, "cache", empty[i].name, o) != ERR_DATA)
            CHECK_FAIL("%s: %s", empty[i].name, kit_error.text);
        CHECK_HAS(kit_error.text, empty[i].name);
    }
    pack_end(&none);
    scratch_bytes(&s, "e.tar", none.bytes, none.n);
    CHECK_EQ(kit_ingest(&s, "cache", "e.tar", ingest_defaults()), ERR_DATA);
    CHECK_HAS(kit_error.text, "holds no sample");
    pack_free(&none);
    scratch_remove(&s);
}

/* The disk is full: no file may have more than a few bytes. */
TEST(no_room_for_what_must_be_unpacked)
{
    struct rlimit before, small;
    struct pack t = {0}, json = {0};
    scratch_make(&s);
    pack_text(&json, "{\"images\": [");
    for (int i = 0; i < 3000; i++) pack_text(&json, "{\"id\": %d, \"file_name\": \"a\"}, ", i);
    for (int i = 0; i < 300; i++) pack_file(&t, "a.txt", "a caption that waits");
    pack_end(&t);
    struct pack zst = pack_zstd(json.bytes, json.n);
    const char *document = scratch_bytes(&s, "c.json", zst.bytes, zst.n),
               *tar = scratch_bytes(&s, "t.tar", t.bytes, t.n);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    signal(SIGXFSZ, SIG_IGN);
    fflush(stdout);
    small.rlim_cur = 1000;
    setrlimit(RLIMIT_FSIZE, &small);
    char *from_document = rows_of(document, SOURCE_COCO, NULL),
         *from_tar = rows_of(tar, SOURCE_AUTO, NULL);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    CHECK_STR(from_document, "=no-space\n");
    CHECK_STR(from_tar, "=no-space\n");
    memory_free(from_document);
    memory_free(from_tar);
    pack_free(&zst);
    pack_free(&json);
    pack_free(&t);
    scratch_remove(&s);
}

TEST_MAIN
