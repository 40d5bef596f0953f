/* WebDataset tars: members in any order, captions of all kinds, members that are refused, hostile names
 * and sizes, tars cut or damaged anywhere.
 *
 * covers: sample
 */
#include "ingest/webdataset.h"

#include "tests/rowskit.h"

static struct scratch s;
static struct error err;

static void gives(struct pack *tar, const char *want)
{
    pack_end(tar);
    char *rows = rows_of(scratch_bytes(&s, "t.tar", tar->bytes, tar->n), SOURCE_AUTO, NULL);
    CHECK_STR(rows, want);
    memory_free(rows);
    pack_free(tar);
}

TEST(members_side_by_side)
{
    struct pack t = {0};
    scratch_make(&s);
    pack_file(&t, "000.jpg", "P0");
    pack_file(&t, "000.txt", "a dog");
    pack_file(&t, "001.txt", "a cat");
    pack_file(&t, "001.png", "P1");
    pack_file(&t, "dir.x/002.a.jpg",
              "P"); /* the key ends at the first dot of the name: .a.jpg is none */
    pack_file(&t, "dir.x/003.webp", "P3");
    gives(&t, "000.jpg|000||a dog\n001.png|001||a cat\ndir.x/003.webp|dir.x/003||-\n");
    scratch_remove(&s);
}

TEST(members_that_lie_apart)
{
    struct pack t = {0};
    const char *keys[] = {"a", "b", "c"};
    scratch_make(&s);
    for (int order = 0; order < 2; order++) {
        for (int half = 0; half < 2; half++)
            for (int i = 0; i < 3; i++) {
                char name[20];
                bool is_text = half != order;
                snprintf(name, sizeof name, "%s.%s", keys[i], is_text ? "txt" : "jpg");
                pack_file(&t, name, is_text ? keys[i] : "P");
            }
        /* the pictures first, whatever the order; then the captions find them by their key */
        gives(&t, "a.jpg|a||-\nb.jpg|b||-\nc.jpg|c||-\n|a||a\n|b||b\n|c||c\n");
    }
    pack_file(&t, "a.txt", "1");
    pack_file(&t, "b.jpg", "PB");
    pack_file(&t, "a.jpg", "PA");
    pack_file(&t, "b.json",
              "{\"caption\": \"2\", \"label\": 7, \"split\": \"val\", \"weight\": 2}");
    pack_file(&t, "a.de.txt", "3");
    gives(&t, "b.jpg|b||-\na.jpg|a||-\n|a||1\n|b||2\n|a|de|3\n");
    scratch_remove(&s);
}

TEST(what_waited_keeps_all_it_had)
{
    struct pack t = {0};
    struct source *source = NULL;
    struct source_options o = source_defaults();
    struct row row;
    scratch_make(&s);
    pack_file(&t, "k\xff.json",
              "{\"caption\": \"c\", \"lang\": \"zh\", \"label\": 7, \"split\": \"val\", "
              "\"weight\": 2.5}");
    pack_member(&t, "l.txt", '0', "a\0b\xff", 4);
    pack_file(&t, "m.txt", "");
    pack_end(&t);
    CHECK_OK(source_open(&source, scratch_bytes(&s, "t", t.bytes, t.n), &o, NULL, &err), &err);
    CHECK_EQ(source_next(source, &row, &err), 1);
    CHECK_STR(row.id, "k\xff"); /* as it is: 'k?' may be another */
    CHECK_STR(row.member, "k\xff");
    CHECK_STR(row.lang, "zh");
    CHECK_STR(row.label, "7");
    CHECK_STR(row.split, "val");
    CHECK_NEAR(row.weight, 2.5, 0);
    CHECK_EQ(source_next(source, &row, &err), 1);
    CHECK(row.n_caption == 4 && !memcmp(row.caption, "a\0b\xff", 5));
    CHECK_EQ(row.byte_offset, 1024);
    CHECK(!row.lang && !row.image && !row.picture);
    CHECK_EQ(source_next(source, &row, &err), 1);
    CHECK(row.caption && row.n_caption == 0);
    CHECK_EQ(source_next(source, &row, &err), 0);
    source_close(source);
    pack_free(&t);
    scratch_remove(&s);
}

TEST(repeated_members)
{
    struct pack t = {0};
    scratch_make(&s);
    for (int i = 0; i < 2; i++) {
        pack_file(&t, "a.jpg", i ? "P2" : "P1");
        pack_file(&t, "a.txt", i ? "two" : "one");
    }
    /* two samples of one key: the corpus finds that the second is a conflict */
    gives(&t, "a.jpg|a||one\na.jpg|a||two\n");
    pack_file(&t, "a.jpg", "P1");
    pack_file(&t, "a.txt", "one");
    pack_file(&t, "a.txt", "two");
    pack_file(&t, "a.caption", "three");
    pack_file(&t, "a.json", "{\"caption\": \"x\"}");
    pack_file(&t, "a.json", "{\"caption\": \"y\"}"); /* no room: a sample of its own, for the end */
    gives(&t, "a.jpg|a||one\na.jpg|a||two\na.jpg|a||three\na.jpg|a||x\n|a||y\n");
    scratch_remove(&s);
}

TEST(captions_of_all_kinds)
{
    struct pack t = {0};
    scratch_make(&s);
    pack_file(&t, "a.jpg", "P");
    pack_file(&t, "a.txt", "a dog\n");
    pack_file(&t, "a.zh.txt", "\xe7\x8b\x97");
    pack_file(&t, "a.zh-hans.txt", "\xe7\x8b\x97\xe7\x8b\x97");
    pack_file(&t, "a.json",
              "{\"caption\": \"a dog\", \"url\": \"http://x\", \"image\": \"/etc/passwd\"}");
    pack_file(&t, "b.jpg", "P");
    pack_file(&t, "b.cls", "3\n");
    pack_file(&t, "c.jpg", "P");
    pack_file(&t, "c.cls", "dog");
    pack_file(&t, "c.txt", "text");
    pack_file(&t, "d.jpg", "P");
    pack_file(&t, "d.json", "{\"captions\": {\"en\": [\"1\", \"2\"], \"de\": \"3\"}}");
    pack_file(&t, "e.jpg", "P");
    pack_file(&t, "e.json", "{\"caption\": null, \"key\": \"e\"}");
    gives(&t,
          "a.jpg|a||a dog\n\na.jpg|a|zh|\xe7\x8b\x97\na.jpg|a|zh-Hans|\xe7\x8b\x97\xe7\x8b\x97\n"
          "b.jpg|b||3\nc.jpg|c||text\nd.jpg|d|en|1\nd.jpg|d|en|2\nd.jpg|d|de|3\ne.jpg|e||-\n");
    scratch_remove(&s);
}

TEST(bad_json_costs_itself)
{
    struct pack t = {0};
    scratch_make(&s);
    pack_file(&t, "a.jpg", "P");
    pack_file(&t, "a.json", "{");
    pack_file(&t, "b.jpg", "P");
    pack_file(&t, "b.json", "[]");
    pack_file(&t, "b.txt", "b");
    pack_file(&t, "c.jpg", "P");
    pack_file(&t, "c.json", "{\"caption\": [\"x\", 5]}");
    pack_file(&t, "d.json", "{\"caption\": 5}");
    pack_file(&t, "e.json", "");
    gives(&t, "!bad-json\na.jpg|a||-\n!bad-json\nb.jpg|b||b\nc.jpg|c||x\n!bad-member\n!bad-"
              "member\n!bad-json\n");
    scratch_remove(&s);
}

static void count(void *context, const char *text)
{
    struct pack *p = context;
    pack_text(p, "%s\n", strstr(text, "members"));
}

TEST(other_members_warn_once)
{
    struct pack t = {0}, said = {0};
    struct report report = {.context = &said, .warn = count};
    struct source *source = NULL;
    struct source_options o = source_defaults();
    struct row row;
    scratch_make(&s);
    for (int i = 0; i < 3; i++) {
        pack_member(&t, i ? "d/" : "d.jpg", '5', "", 0);
        pack_file(&t, "d/.hidden.jpg", "P");
        pack_file(&t, "d/a.npy", "P");
        pack_file(&t, "d/a.seg.png", "P");
        pack_file(&t, "d/README", "P");
    }
    pack_file(&t, "./d/a.jpg", "P");
    pack_end(&t);
    CHECK_OK(source_open(&source, scratch_bytes(&s, "t", t.bytes, t.n), &o, &report, &err), &err);
    CHECK_EQ(source_next(source, &row, &err), 1);
    CHECK_STR(row.id, "d/a"); /* without the ./ */
    CHECK_STR(row.image, "d/a.jpg");
    CHECK_EQ(source_next(source, &row, &err), 0);
    CHECK_STR(said.bytes, "members named .npy are not used\nmembers named .seg.png are not used\n"
                          "members whose name has no extension are not used\n");
    source_close(source);
    pack_free(&said);
    pack_free(&t);
    scratch_remove(&s);
}

TEST(members_that_are_refused)
{
    struct pack t = {0};
    struct source_options o = source_defaults();
    scratch_make(&s);
    o.max_picture_bytes = 4;
    pack_file(&t, "a.txt", "a");
    pack_file(&t, "a.jpg", "12345"); /* its captions look for no other picture of that name */
    pack_file(&t, "a.de.txt", "A");
    pack_member(&t, "b.jpg", '2', "", 0);
    pack_member(&t, "c.jpg", '1', "", 0);
    pack_member(&t, "d.jpg", '3', "", 0);
    pack_member(&t, "e.jpg", '6', "", 0);
    pack_file(&t, "f.jpg", "1234");
    pack_file(&t, "f.txt", "f");
    pack_end(&t);
    char *rows = rows_of(scratch_bytes(&s, "t", t.bytes, t.n), SOURCE_AUTO, &o);
    CHECK_STR(rows, "!too-large\n!missing-image\n!missing-image\n!unsupported-member\n"
                    "!unsupported-member\n!unsupported-member\n!unsupported-member\nf.jpg|f||f\n");
    memory_free(rows);
    pack_free(&t);
    scratch_remove(&s);
}

TEST(hostile_names)
{
    struct pack t = {0};
    scratch_make(&s);
    char *name = memory_array(10010, 1, MEMORY_MAX_FILE, &err);
    if (!name) abort();
    memset(name, 'n', 10000);
    memcpy(name + 10000, ".jpg", 5);
    pack_file(&t, "../../etc/x.jpg", "P"); /* names are ids, never paths */
    pack_file(&t, "/etc/passwd.jpg", "P");
    pack_file(&t, name, "P");
    pack_file(&t, "\xff\xfe.jpg", "P");
    pack_file(&t, "..jpg", "P"); /* hidden */
    pack_file(&t, ".jpg", "P");
    pack_file(&t, "a..jpg", "P");
    pack_file(&t, "a\nb\x1b.jpg", "P");
    pack_file(&t, "\xe7\x8b\x97.jpg", "P");
    gives(&t,
          "../../etc/x.jpg|../../etc/x||-\n/etc/passwd.jpg|/etc/passwd||-\n!bad-id\n"
          "\xff\xfe.jpg|\xff\xfe||-\na\nb\x1b.jpg|a\nb\x1b||-\n\xe7\x8b\x97.jpg|\xe7\x8b\x97||-\n");
    memory_free(name);
    scratch_remove(&s);
}

/* "27 path=...\n": the length is of all of it. */
static void pax_name(struct pack *t, const char *name, const char *key)
{
    char record[400];
    size_t n = strlen(key) + strlen(name) + 3, digits = n + 2 > 99 ? 3 : 2;
    snprintf(record, sizeof record, "%zu %s=%s\n", n + digits, key, name);
    pack_member(t, "PaxHeaders/x", 'x', record, strlen(record));
}

TEST(names_in_pax_headers_are_taken_as_they_are)
{
    struct pack t = {0};
    scratch_make(&s);
    pax_name(&t, "\xe7\x8b\x97.jpg", "path");
    pack_file(&t, "ascii.jpg", "P");
    pax_name(&t, "\xe7\x8b\x97.txt", "path");
    pack_file(&t, "ascii.txt", "dog");
    pax_name(&t, "\xe7\x8c\xab.jpg", "path");
    pack_file(&t, "ascii.jpg", "P");
    gives(&t, "\xe7\x8b\x97.jpg|\xe7\x8b\x97||dog\n\xe7\x8c\xab.jpg|\xe7\x8c\xab||-\n");
    scratch_remove(&s);
}

TEST(sizes_that_lie)
{
    scratch_make(&s);
    const char *sizes[] = {"77777777777\0", "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                           "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "00400000000\0"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct pack t = {0};
        pack_file(&t, "a.jpg", "P");
        pack_file(&t, "a.txt", "a");
        pack_header(&t, "b.jpg", '0', sizes[i]);
        pack_add(&t, (char[512]){"P"}, 512);
        pack_file(&t, "c.jpg", "P");
        pack_end(&t);
        char *rows = rows_of(scratch_bytes(&s, "t", t.bytes, t.n), SOURCE_AUTO, NULL);
        CHECK_HAS(rows, "a.jpg|a||a\n");
        CHECK_HAS(rows, "!");
        memory_free(rows);
        pack_free(&t);
    }
    scratch_remove(&s);
}

TEST(sparse_members)
{
    struct pack t = {0};
    struct source *source = NULL;
    struct source_options o = source_defaults();
    struct row row;
    scratch_make(&s);
    /* GNU.sparse 1.0: 6 bytes at 0, a hole, and 3 at 1000 of 2000 */
    pack_member(&t, "x", 'x',
                "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n30 GNU.sparse.name=sparse.jpg\n28 "
                "GNU.sparse.realsize=2000\n",
                102);
    char body[512 + 512] = "2\n0\n6\n1000\n3\n";
    memcpy(body + 512, "ABCDEFxyz", 9);
    pack_member(&t, "y", '0', body, 512 + 9);
    pack_end(&t);
    CHECK_OK(source_open(&source, scratch_bytes(&s, "t", t.bytes, t.n), &o, NULL, &err), &err);
    CHECK_EQ(source_next(source, &row, &err), 1);
    CHECK_STR(row.image, "sparse.jpg");
    CHECK_EQ(row.n_picture, 2000);
    const char *p = row.picture;
    CHECK(row.n_picture == 2000 && !memcmp(p, "ABCDEF\0", 7) && !memcmp(p + 999, "\0xyz\0", 5));
    CHECK_EQ(source_next(source, &row, &err), 0);
    source_close(source);
    pack_free(&t);
    scratch_remove(&s);
}

/* Twelve samples, picture and caption. */
static struct pack twelve(void)
{
    struct pack t = {0};
    for (int i = 0; i < 12; i++) {
        char name[20];
        snprintf(name, sizeof name, "%02d.jpg", i);
        pack_file(&t, name, "PICTURE");
        snprintf(name, sizeof name, "%02d.txt", i);
        pack_file(&t, name, "caption");
    }
    return t;
}

static int count_of(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

TEST(damage_costs_a_member)
{
    scratch_make(&s);
    struct pack t = twelve();
    pack_end(&t);
    for (size_t i = 1; i < 24; i++) {
        t.bytes[i * 1024 + 5] ^= 1; /* a header */
        char *rows = rows_of(scratch_bytes(&s, "t", t.bytes, t.n), SOURCE_AUTO, NULL);
        CHECK_EQ(count_of(rows, "!broken-source"), 1);
        CHECK_EQ(count_of(rows, ".jpg|") + (i % 2 == 0), 12);
        CHECK_EQ(count_of(rows, "|caption") + (i % 2 == 1), 12);
        memory_free(rows);
        t.bytes[i * 1024 + 5] ^= 1;
    }
    pack_free(&t);
    scratch_remove(&s);
}

TEST(cut_anywhere_what_was_before_is_kept)
{
    scratch_make(&s);
    struct pack t = twelve();
    size_t n_members = t.n;
    pack_end(&t);
    struct pack gz = pack_gzip(t.bytes, t.n);
    for (size_t n = 512; n < t.n; n += n % 512 < 3 || n % 512 > 509 ? 1 : 101) {
        char *rows = rows_of(scratch_bytes(&s, "t", t.bytes, n), SOURCE_AUTO, NULL);
        int n_whole = (int)(n / 2048), n_rows = count_of(rows, "|caption");
        if (n_rows < n_whole || n_rows > n_whole + 1) CHECK_FAIL("cut at %zu: %s", n, rows);
        bool may_be_whole = n >= n_members + 512;
        if (!may_be_whole && count_of(rows, "!broken-source") != 1)
            CHECK_FAIL("cut at %zu: %s", n, rows);
        memory_free(rows);
    }
    for (size_t n = 2; n < gz.n; n++) {
        char *rows = rows_of(scratch_bytes(&s, "t", gz.bytes, n), SOURCE_AUTO, NULL);
        if (!strstr(rows, "!broken-source") && strcmp(rows, "=data\n"))
            CHECK_FAIL("gz cut at %zu: %s", n, rows);
        memory_free(rows);
    }
    pack_free(&gz);
    pack_free(&t);
    scratch_remove(&s);
}

TEST(large_members_and_many)
{
    struct pack t = {0}, want = {0};
    scratch_make(&s);
    char *big = memory_array(10 << 20, 1, MEMORY_MAX_FILE, &err);
    if (!big) abort();
    memset(big, 'x', 10 << 20);
    pack_member(&t, "big.jpg", '0', big, 3 << 20);
    pack_member(&t, "big.txt", '0', big, 10 << 20); /* the corpus says that it is too long */
    pack_text(&want, "big.jpg|big||");
    pack_add(&want, big, 10 << 20);
    pack_text(&want, "\n");
    for (int i = 0; i < 1100; i++) pack_file(&t, "many.txt", "x");
    for (int i = 0; i < 1100; i++) pack_text(&want, "|many||x\n");
    gives(&t, want.bytes);
    pack_free(&want);
    pack_file(&t, "a.jpg", "P"); /* no sample holds more than it should */
    for (int i = 0; i < 3; i++) pack_member(&t, "a.txt", '0', big, 10 << 20);
    pack_end(&t);
    char *rows = rows_of(scratch_bytes(&s, "t", t.bytes, t.n), SOURCE_AUTO, NULL);
    CHECK_EQ(count_of(rows, "a.jpg|a||x"), 2);
    CHECK_EQ(count_of(rows, "\n|a||x"), 1);
    memory_free(rows);
    pack_free(&t);
    memory_free(big);
    scratch_remove(&s);
}

TEST(what_is_no_tar)
{
    scratch_make(&s);
    struct pack none = {0};
    ROWS(scratch_text(&s, "t.tar", "image\tcaption\na\tb\n"), SOURCE_WEBDATASET, "=data\n");
    ROWS(scratch_text(&s, "e.tar", ""), SOURCE_WEBDATASET, "=data\n");
    gives(&none, "");
    scratch_remove(&s);
}

TEST_MAIN
