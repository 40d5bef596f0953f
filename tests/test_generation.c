/* Copies of an environment and the exchange of one for another, under readers, kill -9 and a full disk. */
#include "store/generation.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/file.h"
#include "store/lock.h"
#include "store/memory.h"
#include "tests/scratch.h"

static const char *const tables[] = {"a", "b"};
static const struct kv_config reading = {.mode = KV_READ, .tables = tables, .n_tables = 2},
                              writing = {.mode = KV_WRITE, .tables = tables, .n_tables = 2};
static struct error err;
static struct scratch scratch;
static char folder[80];

static void set_up(void)
{
    scratch_make(&scratch);
    snprintf(folder, sizeof folder, "%s/store", scratch.folder);
}

/* Whether a file holds the bytes. */
static bool file_has(const char *path, const char *text)
{
    char *bytes = NULL;
    size_t n = 0;
    if (file_read(path, MEMORY_MAX_FILE, &bytes, &n, &err) < 0) abort();
    bool has = memmem(bytes, n, text, strlen(text)) != NULL;
    memory_free(bytes);
    return has;
}

static int put(struct kv *kv, int from, int to, const char *word, size_t n_value)
{
    struct kv_txn *txn = NULL;
    static char value[9000];
    int rc = kv_begin_write(kv, &txn, &err);
    for (int i = from; rc == 0 && i < to; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08d", i);
        memset(value, 'x', n_value);
        snprintf(value, sizeof value, "%s-%d", word, i);
        rc = kv_put(txn, i % 2, key, 8, value, n_value, &err);
    }
    if (rc == 0) return kv_commit(txn, &err);
    kv_abort(txn);
    return rc;
}

static int remove_one(struct kv *kv, int i)
{
    struct kv_txn *txn = NULL;
    char key[16];
    snprintf(key, sizeof key, "%08d", i);
    int rc = kv_begin_write(kv, &txn, &err);
    if (rc == 0) rc = kv_delete(txn, i % 2, key, 8, &err);
    if (rc == 0) return kv_commit(txn, &err);
    kv_abort(txn);
    return rc;
}

/* Records of both tables that a transaction sees; -1 when one of them is not what was put. */
static int count(struct kv_txn *txn, const char *word)
{
    int n = 0;
    for (int table = 0; table < 2; table++) {
        struct kv_cursor *cur;
        struct kv_bytes k, v;
        if (kv_cursor_open(txn, table, &cur, &err) < 0) return -1;
        int rc = kv_cursor_first(cur, &k, &v, &err);
        for (; rc > 0; rc = kv_cursor_next(cur, &k, &v, &err), n++)
            if (memcmp(v.bytes, word, strlen(word))) n = -1000000;
        kv_cursor_close(cur);
        if (rc < 0) return -1;
    }
    return n;
}

static int count_now(const char *word)
{
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    int n = -1;
    if (kv_open(&kv, folder, &reading, &err) == 0 && kv_begin_read(kv, &txn, &err) == 0)
        n = count(txn, word);
    kv_abort(txn);
    kv_close(kv);
    return n;
}

TEST(generation_leaves_no_deleted_byte)
{
    struct kv *kv;
    struct generation_bytes bytes;
    char data[100];
    set_up();
    snprintf(data, sizeof data, "%s/data.mdb", folder);
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    CHECK_OK(put(kv, 0, 400, "ordinary", 100), &err);
    CHECK_OK(put(kv, 1000, 1001, "secretsmall", 100), &err);
    CHECK_OK(put(kv, 1001, 1002, "secretlarge", 9000), &err);
    CHECK_OK(remove_one(kv, 1000), &err);
    CHECK_OK(remove_one(kv, 1001), &err);
    CHECK(file_has(data, "secretsmall") && file_has(data, "secretlarge"));
    CHECK_OK(generation_replace(kv, NULL, "gc", &bytes, &err), &err);
    CHECK(bytes.after < bytes.before);
    CHECK(!file_has(data, "secret"));
    CHECK_EQ(put(kv, 0, 1, "lost", 10), ERR_USAGE); /* the old handle writes no more */
    kv_close(kv);
    CHECK_EQ(count_now("ordinary"), 400);
    char left[100];
    snprintf(left, sizeof left, "%s/.gc-store", scratch.folder);
    CHECK(!file_exists(left));
    scratch_remove(&scratch);
}

TEST(generation_keeps_the_old_one_for_its_readers)
{
    struct kv *kv, *old, *new;
    struct kv_txn *before, *later;
    struct generation_bytes bytes;
    set_up();
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    CHECK_OK(put(kv, 0, 3000, "word", 200), &err);
    kv_close(kv);
    int to_child[2], to_parent[2];
    if (pipe(to_child) || pipe(to_parent)) abort();
    pid_t child = fork();
    if (child == 0) { /* has the old one open, with and without a transaction, over the exchange */
        char c;
        int rc = kv_open(&old, folder, &reading, &err);
        if (rc == 0) rc = kv_begin_read(old, &before, &err);
        if (rc < 0 || write(to_parent[1], "r", 1) != 1 || read(to_child[0], &c, 1) != 1) _exit(1);
        if (count(before, "word") != 3000) _exit(2);
        if (kv_begin_read(old, &later, &err) < 0 || count(later, "word") != 3000) _exit(3);
        /* and beside it the new one, in the same process */
        if (kv_open(&new, folder, &reading, &err) < 0 || new == old) _exit(4);
        kv_abort(later);
        if (kv_begin_read(new, &later, &err) < 0 || count(later, "word") != 3007) _exit(5);
        kv_abort(later);
        kv_abort(before);
        kv_close(new);
        kv_close(old);
        _exit(0);
    }
    char c;
    CHECK_EQ(read(to_parent[0], &c, 1), 1);
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    CHECK_OK(generation_replace(kv, NULL, "gc", &bytes, &err), &err);
    kv_close(kv);
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    CHECK_OK(put(kv, 3000, 3007, "word", 200), &err);
    kv_close(kv);
    CHECK_EQ(write(to_child[1], "g", 1), 1);
    int status = 0;
    waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
    for (int i = 0; i < 2; i++) {
        close(to_child[i]);
        close(to_parent[i]);
    }
    scratch_remove(&scratch);
}

/* Readers and writers that open all the time, while the folder is exchanged all the time: nobody
 * sees half of anything and no commit is lost. */
TEST(generation_is_exchanged_under_those_who_open)
{
    struct kv *kv;
    enum { READERS = 3, ROUNDS = 60, WRITES = 40 };
    set_up();
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    CHECK_OK(put(kv, 0, 100, "word", 200), &err);
    kv_close(kv);
    pid_t readers[READERS], writer;
    for (int r = 0; r < READERS; r++)
        if ((readers[r] = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (int last = 100;;) {
                int n = count_now("word");
                if (n < last) _exit(1); /* records only come */
                last = n;
            }
        }
    if ((writer = fork()) == 0) {
        for (int i = 100; i < 100 + WRITES;) {
            int rc = kv_open(&kv, folder, &writing, &err);
            if (rc == ERR_LOCKED) continue;
            if (rc < 0 || put(kv, i, i + 1, "word", 200) < 0) _exit(1);
            kv_close(kv);
            i++;
        }
        _exit(0);
    }
    int n_done = 0, status = 0;
    for (int i = 0; n_done < ROUNDS && i < 1000000; i++) {
        struct generation_bytes bytes;
        int rc = kv_open(&kv, folder, &writing, &err);
        if (rc == ERR_LOCKED) continue;
        if (rc == 0) rc = generation_replace(kv, NULL, "gc", &bytes, &err);
        if (rc < 0) CHECK_FAIL("%s", err.text);
        kv_close(kv);
        n_done++;
        usleep(1000);
    }
    CHECK_EQ(n_done, ROUNDS);
    waitpid(writer, &status, 0);
    CHECK_EQ(status, 0);
    for (int r = 0; r < READERS; r++) {
        CHECK_EQ(waitpid(readers[r], &status, WNOHANG),
                 0); /* still reading, not ended by a finding */
        kill(readers[r], SIGKILL);
        waitpid(readers[r], &status, 0);
    }
    CHECK_EQ(count_now("word"), 100 + WRITES);
    scratch_remove(&scratch);
}

/* Inode numbers of the readers' table and of the data that this process has mapped. */
static void mapped(unsigned long *lock, unsigned long *data)
{
    char line[600];
    FILE *maps = fopen("/proc/self/maps", "r");
    *lock = *data = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long inode = 0;
        sscanf(line, "%*s %*s %*s %*s %lu", &inode);
        if (strstr(line, "/lock.mdb")) *lock = inode;
        if (strstr(line, "/data.mdb")) *data = inode;
    }
    if (maps) fclose(maps);
}

static unsigned long inode_of(const char *name)
{
    char path[200];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", scratch.folder, name);
    if (stat(path, &st) < 0) abort();
    return st.st_ino;
}

/* A table of readers of one generation beside the data of another is how a writer would come to write
 * over pages that are being read. */
TEST(generation_is_opened_with_its_own_table_of_readers)
{
    struct kv *kv;
    char other[100];
    set_up();
    snprintf(other, sizeof other, "%s/other", scratch.folder);
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    kv_close(kv);
    CHECK_OK(kv_open(&kv, other, &writing, &err), &err);
    kv_close(kv);
    unsigned long lock[2] = {inode_of("store/lock.mdb"), inode_of("other/lock.mdb")};
    unsigned long data[2] = {inode_of("store/data.mdb"), inode_of("other/data.mdb")};
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            if (renameat2(AT_FDCWD, folder, AT_FDCWD, other, RENAME_EXCHANGE) < 0) _exit(1);
            for (volatile int i = 0; i < 3000; i++) continue;
        }
    }
    int n_mixed = 0, n_seen[2] = {0, 0};
    for (int i = 0; i < 6000; i++) {
        unsigned long l, d;
        CHECK_OK(kv_open(&kv, folder, &reading, &err), &err);
        mapped(&l, &d);
        for (int k = 0; k < 2; k++) n_seen[k] += l == lock[k] && d == data[k];
        n_mixed += !(l == lock[0] && d == data[0]) && !(l == lock[1] && d == data[1]);
        kv_close(kv);
    }
    CHECK_EQ(n_mixed, 0);
    CHECK(n_seen[0] > 10 && n_seen[1] > 10);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    scratch_remove(&scratch);
}

/* A writer has the data of the folder whose lock it has: else its commit would go with the old one. */
TEST(generation_is_written_where_the_name_leads)
{
    struct kv *kv;
    struct lock *a = NULL, *b = NULL;
    char other[100];
    set_up();
    snprintf(other, sizeof other, "%s/other", scratch.folder);
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    kv_close(kv);
    CHECK_OK(kv_open(&kv, other, &writing, &err), &err);
    kv_close(kv);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            if (lock_take(&a, folder, &err) < 0) continue;
            if (lock_take(&b, other, &err) == 0) {
                if (renameat2(AT_FDCWD, folder, AT_FDCWD, other, RENAME_EXCHANGE) < 0) _exit(1);
                lock_release(b);
            }
            lock_release(a);
            for (volatile int i = 0; i < 3000; i++) continue; /* let the other one in */
        }
    }
    int n_open = 0, n_wrong = 0;
    for (int i = 0; n_open < 500 && i < 2000000; i++) {
        unsigned long lock, data;
        int rc = kv_open(&kv, folder, &writing, &err);
        if (rc == ERR_LOCKED) continue;
        CHECK_OK(rc, &err);
        mapped(&lock, &data);
        n_wrong += data != inode_of("store/data.mdb") || lock != inode_of("store/lock.mdb");
        kv_close(kv);
        n_open++;
    }
    CHECK(n_open > 100);
    CHECK_EQ(n_wrong, 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    scratch_remove(&scratch);
}

TEST(generation_survives_kill)
{
    struct kv *kv;
    enum { KILLS = 40 };
    set_up();
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    CHECK_OK(put(kv, 0, 2000, "word", 300), &err);
    kv_close(kv);
    unsigned state = 12345;
    int n_landed = 0;
    for (int i = 0; i < KILLS; i++) {
        pid_t child = fork();
        if (child == 0) {
            struct generation_bytes bytes;
            for (;;) {
                if (kv_open(&kv, folder, &writing, &err) < 0 ||
                    generation_replace(kv, NULL, "gc", &bytes, &err) < 0)
                    _exit(1);
                kv_close(kv);
            }
        }
        state = state * 1103515245u + 12345u;
        usleep(1000 + state / 65536 % 30000);
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        n_landed += WIFSIGNALED(status);
        CHECK_EQ(count_now("word"), 2000);
    }
    CHECK_EQ(n_landed, KILLS);
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    CHECK_OK(generation_sweep(folder, &err), &err);
    kv_close(kv);
    char left[100];
    snprintf(left, sizeof left, "%s/.gc-store", scratch.folder);
    CHECK(!file_exists(left));
    CHECK_EQ(count_now("word"), 2000);
    scratch_remove(&scratch);
}

TEST(generation_refuses_a_full_disk)
{
    struct kv *kv;
    struct generation_bytes bytes;
    set_up();
    if (mount("none", scratch.folder, "tmpfs", 0, "size=12m") < 0) {
        scratch_remove(&scratch);
        SKIP("a tmpfs can be mounted by root only");
    }
    CHECK_OK(kv_open(&kv, folder, &writing, &err), &err);
    CHECK_OK(put(kv, 0, 2000, "word", 3000), &err);
    int rc = generation_replace(kv, NULL, "gc", &bytes, &err);
    CHECK_EQ(rc, ERR_NOSPACE);
    CHECK_HAS(err.text, "a whole copy");
    CHECK_OK(put(kv, 2000, 2001, "word", 300), &err); /* the handle is as before */
    kv_close(kv);
    CHECK_EQ(count_now("word"), 2001);
    char left[100];
    snprintf(left, sizeof left, "%s/.gc-store", scratch.folder);
    CHECK(!file_exists(left));
    umount(scratch.folder);
    scratch_remove(&scratch);
}

TEST_MAIN
