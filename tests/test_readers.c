/* Readers of a store: 200 at once beside a writer, all killed, and more than its table of readers holds. Two
 * writers stand in test_lock.c and cli_errors.sh. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/file.h"
#include "store/kv.h"
#include "tests/scratch.h"

#define MOST 510 /* readers of a store */

static const char *const tables[] = {"t"};
static struct error err;
static struct scratch scratch;
static char *const folder = scratch.folder;

static int put(const char *value)
{
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    int rc = kv_open(&kv, folder, &(struct kv_config){KV_WRITE, tables, 1, 0}, &err);
    if (rc == 0) rc = kv_begin_write(kv, &txn, &err);
    if (rc == 0) rc = kv_put(txn, 0, "key", 3, value, 1, &err);
    if (rc == 0) {
        rc = kv_commit(txn, &err);
        txn = NULL;
    }
    kv_abort(txn);
    kv_close(kv);
    return rc;
}

static char got(struct kv_txn *txn)
{
    struct kv_bytes v;
    return kv_get(txn, 0, "key", 3, &v, &err) == 1 ? (char)*v.bytes : '?';
}

/* In a child: reads, says what, and, when the pipe `go` is closed or written to, reads again. */
static _Noreturn void be_a_reader(int ready, int go)
{
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    char byte;
    int rc = kv_open(&kv, folder, &(struct kv_config){KV_READ, tables, 1, 0}, &err);
    if (rc == 0) rc = kv_begin_read(kv, &txn, &err);
    byte = rc == 0 ? got(txn) : 'x';
    if (write(ready, &byte, 1) != 1) _exit(1);
    if (read(go, &byte, 1) != 1) _exit(1);
    byte = rc == 0 ? got(txn) : 'x'; /* the snapshot of its beginning */
    if (write(ready, &byte, 1) != 1) _exit(1);
    pause();
    _exit(0);
}

/* Starts n readers, which wait; returns how many of them read `value`. */
static int start(pid_t *readers, int n, int ready[2], int go[2], char value)
{
    int n_right = 0;
    for (int i = 0; i < n; i++) {
        char byte;
        readers[i] = fork();
        if (readers[i] < 0) abort();
        if (readers[i] == 0) be_a_reader(ready[1], go[0]);
        if (read(ready[0], &byte, 1) != 1) abort();
        n_right += byte == value;
    }
    return n_right;
}

static void end(pid_t *readers, int n)
{
    for (int i = 0; i < n; i++) kill(readers[i], SIGKILL);
    for (int i = 0; i < n; i++) waitpid(readers[i], NULL, 0);
}

TEST(two_hundred_readers_keep_their_snapshot_and_die)
{
    static pid_t readers[MOST + 20];
    int ready[2], go[2], n_right = 0;
    scratch_make(&scratch);
    if (pipe(ready) < 0 || pipe(go) < 0) abort();
    CHECK_OK(put("a"), &err);
    CHECK_EQ(start(readers, 200, ready, go, 'a'), 200);
    CHECK_OK(put("b"), &err);
    for (int i = 0; i < 200; i++) {
        char byte = 'g';
        if (write(go[1], &byte, 1) != 1 || read(ready[0], &byte, 1) != 1) abort();
        n_right += byte == 'a';
    }
    CHECK_EQ(n_right, 200);
    end(readers, 200);
    CHECK_OK(put("c"), &err); /* dead readers do not hold a writer up, nor pages */
    uint64_t n_bytes = 0;
    char path[100];
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    for (int i = 0; i < 100; i++) {
        CHECK_OK(put(i % 2 ? "d" : "e"), &err);
        if (i == 10) n_bytes = file_size(path);
    }
    CHECK_EQ(file_size(path), n_bytes); /* pages are used again */
    /* more than there may be: the ones beyond are refused, and let in when others have died */
    int n = start(readers, MOST + 20, ready, go, 'd');
    CHECK(n >= MOST - 2 && n <= MOST);
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    int rc = kv_open(&kv, folder, &(struct kv_config){KV_READ, tables, 1, 0}, &err);
    if (rc == 0) rc = kv_begin_read(kv, &txn, &err);
    CHECK_EQ(rc, ERR_IO);
    CHECK_HAS(err.text, "more than 510 readers");
    kv_close(kv);
    end(readers, MOST + 20);
    CHECK_OK(put("f"), &err);
    CHECK_EQ(start(readers, 20, ready, go, 'f'), 20);
    end(readers, 20);
    scratch_remove(&scratch);
}

TEST_MAIN
