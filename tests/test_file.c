/* Files: atomic writes, limits, folders, lists, maps. */
#include "store/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "store/memory.h"
#include "tests/check.h"

static struct error err;
static char folder[64];

static void make_folder(void)
{
    strcpy(folder, "/tmp/clipstill-file-XXXXXX");
    if (!mkdtemp(folder)) abort();
}

static void drop_folder(void)
{
    CHECK_OK(file_remove_folder(folder, &err), &err);
    CHECK(!file_exists(folder));
}

/* A path below the test's folder; owned by the caller. */
static char *below(const char *name)
{
    return file_join(folder, name, &err);
}

TEST(file_writes_and_reads)
{
    make_folder();
    char *path = below("a"), *bytes, **names;
    size_t n;
    CHECK_OK(file_write(path, "one\0two", 7, &err), &err);
    CHECK_OK(file_write(path, "three", 5, &err), &err); /* replaces */
    CHECK_OK(file_read(path, 5, &bytes, &n, &err), &err);
    CHECK_EQ(n, 5);
    CHECK_STR(bytes, "three");
    CHECK_EQ(file_size(path), 5);
    memory_free(bytes);
    CHECK_EQ(file_read(path, 4, &bytes, &n, &err), ERR_DATA);
    CHECK_HAS(err.text, path);
    CHECK_OK(file_write(path, "", 0, &err), &err);
    CHECK_OK(file_read(path, 4, &bytes, &n, &err), &err);
    CHECK_EQ(n, 0);
    CHECK_STR(bytes, "");
    memory_free(bytes);
    CHECK_OK(file_list(folder, &names, &n, &err), &err);
    CHECK_EQ(n, 1); /* no temporary file is left */
    memory_free(names);
    memory_free(path);
    drop_folder();
}

TEST(file_errors_name_the_path)
{
    make_folder();
    char *path = below("missing/x"), *fifo = below("fifo"), *bytes;
    size_t n;
    struct file_map map;
    CHECK_EQ(file_read(path, 100, &bytes, &n, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, path);
    CHECK_EQ(file_write(path, "x", 1, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, path);
    CHECK_EQ(file_map(path, &map, &err), ERR_NOT_FOUND);
    CHECK_EQ(file_read(folder, 100, &bytes, &n, &err), ERR_USAGE);
    CHECK_HAS(err.text, "folder");
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    CHECK_EQ(file_read(fifo, 100, &bytes, &n, &err), ERR_USAGE); /* and does not hang */
    CHECK_EQ(file_size(path), 0);
    memory_free(path);
    memory_free(fifo);
    drop_folder();
}

TEST(file_folders)
{
    make_folder();
    char *deep = below("a/b//c"), *path = below("a/b/c/f"), *under = below("a/b/c/f/g"),
         *linked = below("a/link"), *kept = below("kept");
    CHECK_OK(file_make_folder(deep, &err), &err);
    CHECK_OK(file_make_folder(deep, &err), &err);
    CHECK(file_is_folder(deep));
    CHECK_OK(file_write(path, "12345", 5, &err), &err);
    CHECK(file_make_folder(under, &err) < 0);
    CHECK(file_make_folder(path, &err) < 0); /* a file stands there */
    CHECK(!file_is_folder(path) && file_exists(path));
    CHECK_OK(file_make_folder(kept, &err), &err);
    char *inside = below("kept/f");
    CHECK_OK(file_write(inside, "123", 3, &err), &err);
    CHECK_EQ(symlink(kept, linked), 0);
    char *a = below("a");
    CHECK_OK(file_remove_folder(a, &err), &err);
    CHECK_OK(file_remove_folder(a, &err), &err);   /* absent is fine */
    CHECK(!file_exists(a) && file_exists(inside)); /* the link went, its target stays */
    memory_free(a);
    memory_free(inside);
    memory_free(kept);
    memory_free(linked);
    memory_free(under);
    memory_free(path);
    memory_free(deep);
    drop_folder();
}

TEST(file_paths)
{
    static const char *const cases[][3] = {{"a/b", "c", "a/b/c"},
                                           {"a/b/", "c", "a/b/c"},
                                           {"a", "/c", "/c"},
                                           {"", "c", "c"},
                                           {"/", "c", "/c"}};
    static const char *const folders[][2] = {
        {"a/b/c", "a/b"}, {"c", "."}, {"/c", "/"}, {"a/", "a"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *p = file_join(cases[i][0], cases[i][1], &err);
        CHECK_STR(p, cases[i][2]);
        memory_free(p);
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *p = file_folder_of(folders[i][0], &err);
        CHECK_STR(p, folders[i][1]);
        memory_free(p);
    }
}

TEST(file_lists_sorted)
{
    make_folder();
    static const char *const want[] = {".hidden", "A", "b", "c10", "c9", "\xc3\xa9"};
    for (int i = 5; i >= 0; i--) {
        char *p = below(want[i]);
        CHECK_OK(file_write(p, "", 0, &err), &err);
        memory_free(p);
    }
    char **names;
    size_t n;
    CHECK_OK(file_list(folder, &names, &n, &err), &err);
    CHECK_EQ(n, 6);
    for (size_t i = 0; i < n; i++) CHECK_STR(names[i], want[i]);
    memory_free(names);
    char *empty = below("empty");
    CHECK_OK(file_make_folder(empty, &err), &err);
    CHECK_OK(file_list(empty, &names, &n, &err), &err);
    CHECK_EQ(n, 0);
    memory_free(names);
    memory_free(empty);
    drop_folder();
}

TEST(file_maps)
{
    make_folder();
    char *path = below("m");
    struct file_map map;
    CHECK_OK(file_write(path, "mapped", 6, &err), &err);
    CHECK_OK(file_map(path, &map, &err), &err);
    CHECK(map.n == 6 && !memcmp(map.bytes, "mapped", 6));
    file_unmap(&map);
    CHECK_OK(file_write(path, "", 0, &err), &err);
    CHECK_OK(file_map(path, &map, &err), &err);
    CHECK(map.n == 0 && map.bytes);
    file_unmap(&map);
    file_unmap(&map);
    memory_free(path);
    drop_folder();
}

/* Each allocation of a write in turn fails: an error, and the old file as it was. */
TEST(file_write_survives_any_failed_allocation)
{
    make_folder();
    char *path = below("a"), *bytes;
    size_t n;
    CHECK_OK(file_write(path, "old", 3, &err), &err);
    int nth = 1;
    for (; nth < 20; nth++) {
        memory_fail_at(nth);
        int rc = file_write(path, "new", 3, &err);
        memory_fail_at(0);
        if (rc == 0) break;
        CHECK_EQ(rc, ERR_NOMEM);
    }
    CHECK(nth > 1 && nth < 20);
    CHECK_OK(file_read(path, 3, &bytes, &n, &err), &err);
    CHECK_STR(bytes, "new");
    memory_free(bytes);
    memory_free(path);
    drop_folder();
}

TEST_MAIN
