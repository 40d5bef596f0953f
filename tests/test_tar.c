/* Tars byte by byte, and files that are put in place whole or not at all. That others read them is tested by tests/cli_interchange.sh.
 *
 * covers: outfile
 */
#include "store/tar.h"

#include <unistd.h>

#include "store/memory.h"
#include "store/outfile.h"
#include "tests/scratch.h"

static size_t n_files(const char *folder)
{
    struct error err;
    char **names = NULL;
    size_t n = 0;
    if (file_list(folder, &names, &n, &err) < 0) CHECK_FAIL("%s", err.text);
    memory_free(names);
    return n;
}

TEST(a_tar_is_headers_bytes_and_padding)
{
    struct scratch s;
    struct error err;
    struct tar *t;
    char *b = NULL;
    size_t n;
    scratch_make(&s);
    const char *path = scratch_path(&s, "x.tar");
    CHECK_OK(tar_create(path, &t, &err), &err);
    CHECK_OK(tar_add(t, "a.txt", "hello", 5, &err), &err);
    CHECK_OK(tar_add(t, "empty", "", 0, &err), &err);
    char name[TAR_MAX_NAME + 2] = {0}, block[TAR_BLOCK];
    memset(name, 'n', TAR_MAX_NAME);
    memset(block, 7, sizeof block);
    CHECK_OK(tar_add(t, name, block, sizeof block, &err), &err);
    CHECK_EQ(tar_bytes(t), 512 * (2 + 1 + 2 + 2));
    CHECK_EQ(tar_member_bytes(5) + tar_member_bytes(0) + tar_member_bytes(512), 512 * 5);
    name[TAR_MAX_NAME] = 'n';
    CHECK_EQ(tar_add(t, name, "", 0, &err), ERR_USAGE);
    CHECK_EQ(tar_add(t, "", "", 0, &err), ERR_USAGE);
    CHECK_EQ(tar_add(t, "large", "", (uint64_t)1 << 33, &err), ERR_USAGE);
    CHECK(!file_exists(path));
    CHECK_OK(tar_finish(t, &err), &err);
    CHECK_OK(file_read(path, 1 << 20, &b, &n, &err), &err);
    CHECK_EQ(n, 512 * 7);
    CHECK_STR(b, "a.txt");
    CHECK_STR(b + 100, "0000644");
    CHECK_STR(b + 124, "00000000005");
    CHECK_STR(b + 136, "00000000000");
    unsigned sum = 8 * ' ';
    for (int i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 0 : (unsigned char)b[i];
    CHECK_EQ(strtol(b + 148, NULL, 8), sum);
    CHECK(!memcmp(b + 154, "\0 0", 3));
    CHECK(!memcmp(b + 257, "ustar\00000", 8));
    CHECK(!memcmp(b + 512, "hello\0", 6));
    CHECK(!memcmp(b + 1536, name, 100));
    CHECK_STR(b + 1536 + 124, "00000001000");
    CHECK(!memcmp(b + 2048, block, 512));
    for (size_t i = 2560; i < n; i++) CHECK_EQ(b[i], 0);
    memory_free(b);
    scratch_remove(&s);
}

TEST(what_is_abandoned_or_fails_leaves_nothing)
{
    struct scratch s;
    struct error err = {0};
    struct tar *t;
    scratch_make(&s);
    const char *path = scratch_text(&s, "x.tar", "old");
    CHECK_OK(tar_create(path, &t, &err), &err);
    CHECK_OK(tar_add(t, "a", "b", 1, &err), &err);
    tar_abandon(t);
    CHECK_EQ(n_files(s.folder), 1);
    CHECK_EQ(file_size(path), 3);
    CHECK_EQ(tar_create(scratch_path(&s, "none/x.tar"), &t, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "none/x.tar");
    for (int nth = 1; nth <= 5; nth++) {
        memory_fail_at(nth);
        int rc = tar_create(path, &t, &err);
        memory_fail_at(0);
        CHECK_EQ(rc, ERR_NOMEM);
        CHECK(!t);
    }
    tar_abandon(NULL);
    CHECK_EQ(n_files(s.folder), 1);
    scratch_remove(&s);
}

TEST(a_full_disk_is_named)
{
    struct scratch s;
    struct error err = {0};
    struct outfile *f;
    char link[400];
    scratch_make(&s);
    const char *path = scratch_path(&s, "x");
    snprintf(link, sizeof link, "ln -s /dev/full %s.tmp-part", path);
    CHECK_EQ(system(link), 0);
    CHECK_OK(outfile_create(path, &f, &err), &err);
    CHECK_OK(outfile_add(f, "abc", 3, &err), &err);
    CHECK_EQ(outfile_bytes(f), 3);
    CHECK_EQ(outfile_finish(f, &err), ERR_NOSPACE);
    CHECK_HAS(err.text, path);
    CHECK_EQ(n_files(s.folder), 0);
    scratch_remove(&s);
}

TEST_MAIN
