/* The heads of a data file: each flipped bit of them is refused, or harmless, and never an older commit taken for the
 * newest, but where the directory's root becomes by chance that of an older commit, which verify alone finds (tests/test_flips.c); and no alarm is false, whatever writers do meanwhile, and wherever they are killed.
 */
#include "store/pagehead.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/bytes.h"
#include "store/file.h"
#include "store/kv.h"
#include "tests/check.h"

#define PAGE 4096

static const char *const tables[] = {"one", "two"};
static struct error err;

static int open_store(struct kv **kv, const char *folder, enum kv_mode mode)
{
    return kv_open(kv, folder, &(struct kv_config){mode, tables, 2, 0}, &err);
}

/* Commits [from, to): each puts its number, and takes away that of six before. */
static int commits(const char *folder, uint32_t from, uint32_t to)
{
    struct kv *kv = NULL;
    int rc = open_store(&kv, folder, KV_WRITE);
    for (uint32_t i = from; i < to && rc == 0; i++) {
        struct kv_txn *txn = NULL;
        uint8_t key[4], before[4];
        bytes_put_key_u32(key, i);
        bytes_put_key_u32(before, i - 6);
        rc = kv_begin_write(kv, &txn, &err);
        for (int table = 0; table < 2 && rc == 0; table++) {
            rc = kv_put(txn, table, key, 4, "value", 5, &err);
            if (rc == 0) rc = kv_delete(txn, table, before, 4, &err);
        }
        if (rc == 0)
            rc = kv_commit(txn, &err);
        else
            kv_abort(txn);
    }
    kv_close(kv);
    return rc;
}

/* The last commit's number, or an error. */
static int newest(const char *folder)
{
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    struct kv_cursor *cur = NULL;
    struct kv_bytes key, value;
    int rc = open_store(&kv, folder, KV_READ), found = -1;
    if (rc == 0) rc = kv_begin_read(kv, &txn, &err);
    if (rc == 0) rc = kv_cursor_open(txn, 1, &cur, &err);
    if (rc == 0) rc = kv_cursor_last(cur, &key, &value, &err);
    if (rc > 0) {
        struct bytes_reader r = bytes_reader(key.bytes, 4);
        found = (int)bytes_key_u32(&r);
    }
    kv_cursor_close(cur);
    kv_abort(txn);
    kv_close(kv);
    return rc < 0 ? rc : found;
}

/* As newest, in a child: LMDB may end with it. -100 then. */
static int newest_apart(const char *folder)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        close(2);
        alarm(20);
        _exit(100 + newest(folder));
    }
    waitpid(child, &status, 0);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    return code > 0 && code != 1 ? code - 100 : -100; /* 1: a sanitizer's */
}

TEST(an_older_commit_is_never_taken_for_the_newest)
{
    for (uint32_t n = 6; n <= 9; n += 3) { /* the newer head is page 1, then page 0 */
        char folder[] = "/tmp/clipstill-test-XXXXXX";
        char path[200];
        int n_refused = 0, n_same = 0, n_died = 0, n_wrong = 0;
        CHECK(mkdtemp(folder));
        CHECK_EQ(commits(folder, 0, n), 0);
        CHECK_EQ(newest(folder), (int)n - 1);
        snprintf(path, sizeof path, "%s/data.mdb", folder);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        for (int i = 0; i < 2 * PAGEHEAD_BYTES * 8; i++) {
            off_t at = i / 8 / PAGEHEAD_BYTES * PAGE + i / 8 % PAGEHEAD_BYTES;
            uint8_t byte, flipped;
            if (pread(fd, &byte, 1, at) != 1) abort();
            flipped = byte ^ (uint8_t)(1 << i % 8);
            if (pwrite(fd, &flipped, 1, at) != 1) abort();
            int found = newest_apart(folder);
            bool is_number = at % PAGE >= 144, is_root = at % PAGE >= 128 && at % PAGE < 136;
            if (found == (int)n - 1 && !is_number)
                n_same++;
            else if (found == -100)
                n_died++;
            else if (found < 0)
                n_refused++;
            else if (!is_root && n_wrong++ < 5)
                CHECK_FAIL("%u commits, byte %ld of head %ld, bit %d: %d", n, (long)at % PAGE,
                           (long)at / PAGE, i % 8, found);
            if (pwrite(fd, &byte, 1, at) != 1) abort();
        }
        close(fd);
        printf("# %u commits: %d refused, %d harmless, %d died, %d wrong\n", n, n_refused, n_same,
               n_died, n_wrong);
        CHECK_EQ(n_wrong, 0);
        CHECK(n_refused > 2 * 64);
        CHECK_EQ(newest(folder), (int)n - 1);
        CHECK_EQ(file_remove_folder(folder, &err), 0);
    }
}

TEST(the_error_says_what_to_do)
{
    char folder[] = "/tmp/clipstill-test-XXXXXX";
    char path[200];
    uint8_t number;
    CHECK(mkdtemp(folder));
    CHECK_EQ(commits(folder, 0, 8), 0);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    int fd = open(path, O_RDWR | O_CLOEXEC), newer = -1;
    uint8_t largest = 0;
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pread(fd, &number, 1, i * PAGE + 144), 1);
        if (number > largest) newer = i;
        if (number > largest) largest = number;
    }
    number = (uint8_t)(largest -
                       2); /* two before: the other head's neighbour, of the right parity */
    CHECK_EQ(pwrite(fd, &number, 1, newer * PAGE + 144), 1);
    close(fd);
    CHECK_EQ(newest(folder), ERR_CORRUPT);
    CHECK_HAS(err.text, path);
    CHECK_HAS(err.text, "verify --repair");
    CHECK_EQ(file_remove_folder(folder, &err), 0);
}

TEST(no_alarm_is_false_while_others_write_and_are_killed)
{
    char folder[] = "/tmp/clipstill-test-XXXXXX";
    int n_opened = 0;
    CHECK(mkdtemp(folder));
    CHECK_EQ(commits(folder, 0, 1), 0);
    uint32_t from = 1;
    for (int turn = 0; turn < 20; turn++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) _exit(commits(folder, from, from + 1000000) < 0);
        int found = -1; /* at least one commit of the child is seen */
        for (int i = 0; i < 40 || (found < (int)from && i < 1000000); i++) {
            found = newest(folder);
            if (found < 0) CHECK_FAIL("turn %d: %s", turn, err.text);
            n_opened++;
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        found = newest(folder);
        CHECK(found >= (int)from);
        from = (uint32_t)found + 1;
    }
    printf("# %d times opened beside %u commits\n", n_opened, from);
    CHECK_EQ(file_remove_folder(folder, &err), 0);
}

TEST_MAIN
