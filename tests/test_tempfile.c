/* A file beside another takes its place whole; two writers of one file; what a killed one left. */
#include "store/tempfile.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"
#include "tests/check.h"
#include "tests/scratch.h"

static void put(struct tempfile *t, const char *text)
{
    CHECK_EQ(write(t->fd, text, strlen(text)), (ssize_t)strlen(text));
}

static size_t n_files(const char *folder)
{
    char **names;
    size_t n = 0;
    if (file_list(folder, &names, &n, NULL) < 0) return 0;
    memory_free(names);
    return n;
}

TEST(tempfile_is_seen_when_it_is_whole)
{
    struct scratch s;
    struct error err = {0};
    char *text;
    size_t n;
    struct tempfile t;
    scratch_make(&s);
    const char *path = scratch_path(&s, "file");
    scratch_bytes(&s, "file", "old", 3);
    CHECK_OK(tempfile_open(&t, path, &err), &err);
    put(&t, "one");
    CHECK_EQ(file_size(path), 3);
    CHECK_OK(tempfile_place(&t, &err), &err);
    tempfile_close(&t);
    CHECK_OK(tempfile_open(&t, path, &err), &err);
    put(&t, "another");
    tempfile_close(&t); /* not placed */
    CHECK_OK(file_read(path, 100, &text, &n, &err), &err);
    CHECK_STR(text, "one");
    memory_free(text);
    CHECK_EQ(n_files(s.folder), 1);
    scratch_remove(&s);
}

TEST(tempfile_writes_over_what_a_killed_run_left)
{
    struct scratch s;
    struct error err = {0};
    char *text;
    size_t n;
    struct tempfile t;
    scratch_make(&s);
    const char *path = scratch_path(&s, "file");
    pid_t child = fork();
    if (child == 0) {
        if (tempfile_open(&t, path, NULL) == 0) put(&t, "longer than what follows");
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    CHECK_EQ(n_files(s.folder), 1); // of the killed
    CHECK_OK(tempfile_open(&t, path, &err), &err);
    put(&t, "short");
    CHECK_OK(tempfile_place(&t, &err), &err);
    tempfile_close(&t);
    CHECK_EQ(n_files(s.folder), 1);
    CHECK_OK(file_read(path, 100, &text, &n, &err), &err);
    CHECK_STR(text, "short");
    memory_free(text);
    scratch_remove(&s);
}

/* Eight processes write the same file, again and again: each that reads it finds one of them whole. */
TEST(tempfile_is_written_by_one_after_the_other)
{
    enum { WRITERS = 8, TURNS = 50, LENGTH = 10000 };
    struct scratch s;
    scratch_make(&s);
    const char *path = scratch_path(&s, "file");
    for (int i = 0; i < WRITERS; i++) {
        if (fork()) continue;
        char mine[LENGTH], *text;
        size_t n;
        int bad = 0;
        memset(mine, 'a' + i, LENGTH);
        for (int turn = 0; turn < TURNS; turn++) {
            bad |= file_write(path, mine, LENGTH, NULL) < 0;
            bad |= file_read(path, LENGTH, &text, &n, NULL) < 0 || n != LENGTH;
            for (size_t k = 1; !bad && k < n; k++) bad |= text[k] != text[0];
            memory_free(text);
        }
        _exit(bad);
    }
    for (int i = 0, status; i < WRITERS; i++) {
        wait(&status);
        CHECK_EQ(status, 0);
    }
    CHECK_EQ(n_files(s.folder), 1);
    scratch_remove(&s);
}

TEST(tempfile_fails_by_name)
{
    struct error err = {0};
    struct tempfile t;
    CHECK_EQ(tempfile_open(&t, "/nowhere/at/all", &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "/nowhere/at/all.tmp-part: cannot be written");
    tempfile_close(&t);
}

TEST_MAIN
