/* Folders of pictures: order, sidecars, sub-folders, labels. The pictures' content does not matter here. */
#include "ingest/folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/rowskit.h"

static struct folder *f;
static struct row row;
static struct error err;
static struct scratch s;

static void next_is(const char *image, const char *lang, const char *caption, const char *label,
                    uint64_t line)
{
    CHECK_EQ(folder_next(f, &row, &err), 1);
    if (row.reason) CHECK_FAIL("%s: %s", row.image, row.message);
    CHECK_STR(row.image, image);
    CHECK_STR(row.lang ? row.lang : "", lang);
    char text[100] = "(none)";
    if (row.caption) snprintf(text, sizeof text, "%.*s", (int)row.n_caption, row.caption);
    CHECK_STR(text, caption);
    CHECK_STR(row.label ? row.label : "", label);
    CHECK_EQ(row.line, line);
}

static void next_is_bad(const char *image, const char *reason)
{
    CHECK_EQ(folder_next(f, &row, &err), 1);
    CHECK_STR(row.image, image);
    CHECK_STR(row.reason, reason);
}

static void make(void)
{
    scratch_make(&s);
    err = (struct error){0};
    CHECK_OK(file_make_folder(scratch_path(&s, "cats/big"), &err), &err);
    scratch_text(&s, "b.jpg", "x");
    scratch_text(&s, "a.PNG", "x");
    scratch_text(&s, "a.txt", "en\ta dog\r\n\nzh\t\xe7\x8b\x97\nnot a tag\tstays\nplain");
    scratch_text(&s, "cats/c.webp", "x");
    scratch_text(&s, "cats/c.txt", "\n");
    scratch_text(&s, "cats/big/d.jpeg", "x");
    scratch_text(&s, "cats/big/d.txt", "a lion");
    scratch_text(&s, "z.gif", "x");
    scratch_text(&s, "lost.txt", "whose?");
    scratch_text(&s, ".hidden.jpg", "x");
    scratch_text(&s, "README.md", "x");
}

TEST(pictures_and_sidecars_in_order)
{
    make();
    CHECK_OK(folder_open(&f, s.folder, false, &err), &err);
    next_is("a.PNG", "en", "a dog", "", 1);
    next_is("a.PNG", "zh", "\xe7\x8b\x97", "", 3);
    next_is("a.PNG", "", "not a tag\tstays", "", 4);
    next_is("a.PNG", "", "plain", "", 5);
    CHECK_EQ(row.byte_offset, 34);
    next_is("b.jpg", "", "(none)", "", 0);
    next_is("cats/big/d.jpeg", "", "a lion", "", 1);
    next_is("cats/c.webp", "", "(none)", "", 0); /* an empty sidecar */
    next_is_bad("lost.txt", "missing-file");
    next_is("z.gif", "", "(none)", "", 0); /* refused later, by name */
    CHECK_EQ(folder_next(f, &row, &err), 0);
    CHECK_EQ(folder_position(f), 5);
    folder_close(f);
    scratch_remove(&s);
}

TEST(labels_when_asked_for)
{
    make();
    CHECK_OK(folder_open(&f, s.folder, true, &err), &err);
    for (int i = 0; i < 5; i++) CHECK_EQ(folder_next(f, &row, &err), 1);
    next_is("cats/big/d.jpeg", "", "a lion", "big", 1);
    next_is("cats/c.webp", "", "cats", "cats", 0);
    folder_close(f); /* in the middle */
    scratch_remove(&s);
}

TEST(odd_folders)
{
    scratch_make(&s);
    err = (struct error){0};
    scratch_text(&s, "a.jpg", "x");
    CHECK_EQ(mkfifo(scratch_path(&s, "a.txt"), 0600), 0);
    CHECK_EQ(symlink(s.folder, scratch_path(&s, "loop")), 0);
    CHECK_OK(folder_open(&f, s.folder, false, &err), &err);
    next_is_bad("a.jpg", "bad-sidecar");
    CHECK_HAS(row.message, "is no regular file");
    CHECK_EQ(folder_next(f, &row, &err), 0);
    folder_close(f);
    CHECK_EQ(folder_open(&f, scratch_path(&s, "absent"), false, &err), ERR_NOT_FOUND);
    CHECK(f == NULL);
    scratch_remove(&s);
}

TEST(sidecars_find_their_pictures_by_stem)
{
    scratch_make(&s);
    const char *names[] = {"a.Jpg", "b.c.jpg", "b.jpg", "d-e.png", "d.tar", "no"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) scratch_text(&s, names[i], "x");
    scratch_text(&s, "a.txt", "one");
    scratch_text(&s, "b.txt", "two");
    scratch_text(&s, "b.c.txt", "three");
    scratch_text(&s, "d.txt", "nobody's");
    scratch_text(&s, "D.txt", "nobody's");
    CHECK_OK(folder_open(&f, s.folder, false, &err), &err);
    next_is_bad("D.txt", "missing-file");
    next_is("a.Jpg", "", "one", "", 1);
    next_is("b.c.jpg", "", "three", "", 1);
    next_is("b.jpg", "", "two", "", 1);
    next_is("d-e.png", "", "(none)", "", 0);
    next_is_bad("d.txt", "missing-file");
    CHECK_EQ(folder_next(f, &row, &err), 0);
    folder_close(f);
    scratch_remove(&s);
}

TEST(sidecars_that_cannot_be_read)
{
    struct pack p = {0};
    unsigned x = 1;
    scratch_make(&s);
    for (char name[] = "a.jpg"; *name <= 'e'; ++*name) scratch_text(&s, name, "x");
    CHECK_EQ(mkfifo(scratch_path(&s, "a.txt"), 0600), 0); /* is not waited for */
    CHECK_EQ(symlink("b.txt", scratch_path(&s, "b.txt")), 0);
    for (int i = 0; i < 20000; i++) pack_text(&p, "%u\n", x = x * 1664525 + 1013904223);
    struct pack gz = pack_gzip(p.bytes, p.n);
    scratch_bytes(&s, "c.txt", gz.bytes, gz.n - 9);
    pack_free(&gz);
    pack_free(&p);
    char *block = memory_array(17 << 20, 1, MEMORY_MAX_FILE, &err);
    if (!block) abort();
    memset(block, 'x', 17 << 20);
    memcpy(block + (17 << 20) - 6, "\nshort", 6);
    scratch_bytes(&s, "d.txt", block, 17 << 20);
    memory_free(block);
    CHECK_EQ(symlink("nowhere", scratch_path(&s, "e.txt")), 0); /* there is none */
    CHECK_OK(folder_open(&f, s.folder, false, &err), &err);
    next_is_bad("a.jpg", "bad-sidecar");
    next_is_bad("b.jpg", "bad-sidecar");
    int n = 0;
    while (folder_next(f, &row, &err) == 1 && !row.reason) n++;
    CHECK(n > 5000);
    CHECK_STR(row.reason, "broken-source");
    next_is_bad("d.jpg", "line-too-long");
    next_is("d.jpg", "", "short", "", 2);
    next_is("e.jpg", "", "(none)", "", 0);
    CHECK_EQ(folder_next(f, &row, &err), 0);
    folder_close(f);
    scratch_remove(&s);
}

TEST(folders_too_deep_are_said)
{
    char deep[300] = "";
    scratch_make(&s);
    for (int i = 0; i < 70; i++) strcat(deep, i ? "/d" : "d");
    CHECK_OK(file_make_folder(scratch_path(&s, deep), &err), &err);
    scratch_text(&s, "z.jpg", "x");
    CHECK_OK(folder_open(&f, s.folder, false, &err), &err);
    next_is_bad("d", "unreadable-folder");
    CHECK_HAS(row.message, "more than 64 deep");
    next_is("z.jpg", "", "(none)", "", 0);
    CHECK_EQ(folder_next(f, &row, &err), 0);
    folder_close(f);
    scratch_remove(&s);
}

TEST_MAIN
