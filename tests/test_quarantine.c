/* The quarantine follows its sources: what is good now leaves it, what moved moves, what was not read
 * stays.
 */
#include "ingest/quarantine.h"

#include "tests/ingestkit.h"

static struct scratch s;

/* Three rows, of which the second and third name pictures that are not there. */
static void begin(void)
{
    scratch_make(&s);
    kit_picture(&s, "palette4.png", "a.png");
    scratch_text(&s, "m.tsv", "image\tcaption\na.png\tone\nb.png\ttwo\nc.png\tthree\n");
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", ingest_defaults()), &kit_error);
    CHECK_STR(kit_counts(), "1 1 0 2");
    CHECK_EQ(kit_result.n_rejects_new, 2);
}

static void in_quarantine(int n, const char *part)
{
    char *text = kit_rejects(&s, "cache");
    if (kit_lines(text) != n || (part && !strstr(text, part)))
        CHECK_FAIL("%d rejects with %s expected: %s", n, part, text);
    memory_free(text);
}

TEST(what_is_good_now_leaves)
{
    begin();
    in_quarantine(2, "b.png");
    kit_picture(&s, "palette16.png", "b.png");
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", ingest_defaults()), &kit_error);
    CHECK_STR(kit_counts(), "1 1 1 1");
    CHECK_EQ(kit_result.n_rejects_new, 0);
    CHECK_EQ(kit_result.n_rejects_gone, 1);
    in_quarantine(1, "c.png");
    /* as if the bad record had never been bad */
    kit_picture(&s, "palette64.png", "c.png");
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", ingest_defaults()), &kit_error);
    in_quarantine(0, NULL);
    CHECK_OK(kit_ingest(&s, "clean", "m.tsv", ingest_defaults()), &kit_error);
    char *a = kit_dump(&s, "cache"), *b = kit_dump(&s, "clean");
    CHECK_STR(a, b);
    memory_free(a);
    memory_free(b);
    scratch_remove(&s);
}

TEST(what_moved_moves)
{
    begin();
    scratch_text(&s, "m.tsv", "image\tcaption\nb.png\ttwo\na.png\tone\nc.png\tthree\n");
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", ingest_defaults()), &kit_error);
    CHECK_EQ(kit_result.n_rejects_new, 1); /* b.png at another place; c.png stands where it stood */
    CHECK_EQ(kit_result.n_rejects_gone, 1);
    in_quarantine(2, "\"line\":2");
    scratch_text(&s, "m.tsv", "image\tcaption\na.png\tone\n");
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", ingest_defaults()), &kit_error);
    in_quarantine(0, NULL);
    scratch_remove(&s);
}

TEST(another_reason_at_the_same_place)
{
    begin();
    scratch_text(&s, "b.png", "no picture");
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", ingest_defaults()), &kit_error);
    CHECK_EQ(kit_n("not-a-picture"), 1);
    CHECK_EQ(kit_result.n_rejects_gone, 1);
    in_quarantine(2, "not-a-picture");
    scratch_remove(&s);
}

TEST(a_retry_touches_rejects_alone)
{
    begin();
    kit_picture(&s, "palette16.png", "b.png");
    scratch_text(&s, "m.tsv",
                 "image\tcaption\nx.png\tnew\nb.png\ttwo\nc.png\tthree\n"); /* line 2 is new */
    struct ingest_options o = ingest_defaults();
    o.retry_failed = true;
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", o), &kit_error);
    CHECK_EQ(kit_result.n_passed, 1);
    CHECK_EQ(kit_result.n_rows, 2);
    CHECK_STR(kit_counts(), "1 1 0 1");
    CHECK_EQ(kit_result.n_rejects_gone, 1);
    in_quarantine(1, "c.png");
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", o), &kit_error); /* nothing to do but c.png */
    CHECK_EQ(kit_result.n_passed, 2);
    kit_picture(&s, "palette64.png", "c.png");
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", o), &kit_error);
    in_quarantine(0, NULL);
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv", o), &kit_error); /* none is left: no error either */
    CHECK_EQ(kit_result.n_rows, 0);
    scratch_remove(&s);
}

TEST(other_sources_are_left_alone)
{
    begin();
    scratch_text(&s, "n.tsv", "image\tcaption\na.png\tone\nz.png\ttwo\n");
    CHECK_OK(kit_ingest(&s, "cache", "n.tsv", ingest_defaults()), &kit_error);
    CHECK_EQ(kit_result.n_rejects_gone, 0);
    in_quarantine(3, "z.png");
    scratch_text(&s, "n.tsv", "image\tcaption\na.png\tone\n");
    CHECK_OK(kit_ingest(&s, "cache", "n.tsv", ingest_defaults()), &kit_error);
    CHECK_EQ(kit_result.n_rejects_gone, 1);
    in_quarantine(2, "b.png");
    scratch_remove(&s);
}

TEST(the_same_source_twice)
{
    begin();
    kit_picture(&s, "palette16.png", "b.png");
    const char *path = scratch_path(&s, "m.tsv"), *sources[] = {path, path};
    struct ingest_options o = ingest_defaults();
    o.sources = sources;
    o.n_sources = 2;
    CHECK_OK(ingest_run(scratch_path(&s, "cache"), &o, NULL, &kit_result, &kit_error), &kit_error);
    CHECK_EQ(kit_result.n_rejects_gone, 1);
    CHECK_EQ(kit_result.n_rejects_new, 0);
    in_quarantine(1, "c.png");
    scratch_remove(&s);
}

TEST(a_source_that_breaks_off_takes_nothing_out)
{
    struct pack p = {0};
    scratch_make(&s);
    kit_picture(&s, "palette4.png", "a.png");
    pack_text(&p, "image\tcaption\n");
    for (int i = 0; i < 20000; i++) pack_text(&p, "a.png\tcaption %d\n", i * 7919 % 20011);
    pack_text(&p, "b.png\tbad\n");
    struct pack gz = pack_gzip(p.bytes, p.n);
    scratch_bytes(&s, "m.tsv.gz", gz.bytes, gz.n);
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv.gz", ingest_defaults()), &kit_error);
    in_quarantine(1, "b.png");
    scratch_bytes(&s, "m.tsv.gz", gz.bytes, gz.n / 2);
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv.gz", ingest_defaults()), &kit_error);
    CHECK_EQ(kit_n("broken-source"), 1);
    in_quarantine(2, "b.png");
    scratch_bytes(&s, "m.tsv.gz", gz.bytes, gz.n);
    CHECK_OK(kit_ingest(&s, "cache", "m.tsv.gz", ingest_defaults()), &kit_error);
    CHECK_EQ(kit_result.n_rejects_gone, 1);
    in_quarantine(1, "b.png");
    pack_free(&gz);
    pack_free(&p);
    scratch_remove(&s);
}

TEST(rejects_of_members_of_a_tar)
{
    struct pack t = {0}, png = {0};
    scratch_make(&s);
    kit_read("palette4.png", &png);
    for (int round = 0; round < 2; round++) {
        t = (struct pack){0};
        pack_member(&t, "a.png", '0', png.bytes, png.n);
        pack_file(&t, "a.txt", "one");
        pack_member(&t, "b.png", '0', round ? png.bytes : "?", round ? png.n : 1);
        pack_file(&t, "b.txt", "two");
        pack_end(&t);
        scratch_bytes(&s, "t.tar", t.bytes, t.n);
        pack_free(&t);
        CHECK_OK(kit_ingest(&s, "cache", "t.tar", ingest_defaults()), &kit_error);
        in_quarantine(!round, round ? NULL : "\"member\":\"b.png\"");
    }
    pack_free(&png);
    scratch_remove(&s);
}

TEST_MAIN
