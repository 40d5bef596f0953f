/* Tables over LMDB: growth in mid batch, readers in other processes, refusals.
 *
 * covers: kv_map kv_txn kv_cursor kvlog kvplace
 */
#include "store/kv.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/file.h"
#include "tests/scratch.h"

static const char *const tables[] = {"a", "b"};
enum { A, B };
static struct scratch scratch;
static char *const folder = scratch.folder;

static struct kv_config config(enum kv_mode mode)
{
    return (struct kv_config){.mode = mode, .tables = tables, .n_tables = 2, .room_bytes = 1 << 20};
}

/* A child's verdict: 0 when all was well. */
static int wait_for(pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static int put_number(struct kv_txn *txn, int i, size_t n_value, struct error *err)
{
    char key[16];
    static unsigned char value[70000];
    for (size_t k = 0; k < n_value; k++) value[k] = (unsigned char)(i + k * 7);
    snprintf(key, sizeof key, "%08d", i);
    return kv_put(txn, A, key, 8, value, n_value, err);
}

static bool number_is_right(struct kv_txn *txn, int i, size_t n_value)
{
    struct error err;
    char key[16];
    struct kv_bytes v;
    snprintf(key, sizeof key, "%08d", i);
    if (kv_get(txn, A, key, 8, &v, &err) != 1 || v.n != n_value) return false;
    for (size_t k = 0; k < n_value; k++)
        if (v.bytes[k] != (unsigned char)(i + k * 7)) return false;
    return true;
}

TEST(kv_keeps_order_and_replaces)
{
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_bytes k, v;
    scratch_make(&scratch);
    struct kv_config c = config(KV_WRITE);
    CHECK_OK(kv_open(&kv, folder, &c, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK_OK(kv_put(txn, B, "m", 1, "1", 1, &err), &err);
    CHECK_OK(kv_put(txn, B, "a", 1, "2", 1, &err), &err);
    CHECK_OK(kv_put(txn, B, "z", 1, "", 0, &err), &err);
    CHECK_OK(kv_put(txn, B, "m", 1, "33", 2, &err), &err);
    CHECK_OK(kv_put(txn, B, "q", 1, "4", 1, &err), &err);
    CHECK_OK(kv_delete(txn, B, "q", 1, &err), &err);
    CHECK_OK(kv_delete(txn, B, "not there", 9, &err), &err);
    CHECK_OK(kv_append(txn, B, "zz", 2, "5", 1, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    CHECK_OK(kv_begin_read(kv, &txn, &err), &err);
    CHECK_EQ(kv_get(txn, B, "q", 1, &v, &err), 0);
    CHECK_EQ(kv_get(txn, B, "m", 1, &v, &err), 1);
    CHECK_EQ(v.n, 2);
    CHECK_EQ(kv_get(txn, A, "m", 1, &v, &err), 0);
    uint64_t n;
    CHECK_OK(kv_count(txn, B, &n, &err), &err);
    CHECK_EQ(n, 4);
    struct kv_cursor *cur;
    CHECK_OK(kv_cursor_open(txn, B, &cur, &err), &err);
    char order[8] = "";
    int rc = kv_cursor_first(cur, &k, &v, &err);
    for (; rc > 0; rc = kv_cursor_next(cur, &k, &v, &err)) strncat(order, (const char *)k.bytes, 1);
    CHECK_EQ(rc, 0);
    CHECK_STR(order, "amzz");
    CHECK_EQ(kv_cursor_seek(cur, "b", 1, &k, &v, &err), 1);
    CHECK_EQ(k.bytes[0], 'm');
    CHECK_EQ(kv_cursor_last(cur, &k, &v, &err), 1);
    CHECK_EQ(k.n, 2);
    CHECK_EQ(kv_cursor_seek(cur, "zzz", 3, &k, &v, &err), 0);
    kv_cursor_close(cur);
    kv_abort(txn);
    kv_close(kv);
    scratch_remove(&scratch);
}

TEST(kv_refuses_misuse)
{
    struct error err;
    struct kv *kv, *kv2;
    struct kv_txn *txn, *txn2;
    scratch_make(&scratch);
    struct kv_config read = config(KV_READ), write = config(KV_WRITE);
    CHECK_EQ(kv_open(&kv, folder, &read, &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, folder);
    CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
    CHECK_EQ(kv_open(&kv2, folder, &write, &err), ERR_LOCKED);
    CHECK_EQ(kv_open(&kv2, folder, &read, &err), ERR_USAGE);
    CHECK_OK(kv_begin_read(kv, &txn, &err), &err);
    CHECK_EQ(kv_put(txn, A, "k", 1, "v", 1, &err), ERR_USAGE);
    CHECK_EQ(kv_begin_write(kv, &txn2, &err), ERR_USAGE);
    kv_abort(txn);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK_EQ(kv_begin_read(kv, &txn2, &err), ERR_USAGE);
    CHECK_EQ(kv_put(txn, A, "", 0, "v", 1, &err), ERR_USAGE);
    CHECK_EQ(kv_commit(txn, &err), ERR_USAGE); /* a failed transaction cannot be committed */
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK_OK(kv_put(txn, A, "k", 1, "v", 1, &err), &err);
    CHECK_EQ(kv_append(txn, A, "a", 1, "v", 1, &err), ERR_CORRUPT);
    kv_abort(txn);
    kv_close(kv);
    CHECK_OK(kv_open(&kv, folder, &read, &err), &err);
    CHECK_OK(kv_open(&kv2, folder, &read, &err), &err); /* shared */
    CHECK_OK(kv_begin_read(kv2, &txn, &err), &err);
    struct kv_bytes v;
    CHECK_EQ(kv_get(txn, A, "k", 1, &v, &err), 0);
    kv_close(kv);
    CHECK_EQ(kv_get(txn, A, "k", 1, &v, &err), 0);
    kv_abort(txn);
    CHECK_EQ(kv_begin_write(kv2, &txn, &err), ERR_USAGE);
    kv_close(kv2);
    scratch_remove(&scratch);
}

static int write_one(int fd)
{
    return write(fd, "x", 1) == 1 ? 0 : -1;
}

static int read_one(int fd, char *c)
{
    return read(fd, c, 1) == 1 ? 0 : -1;
}

/* A 1 MiB map takes a batch of 6 MB and 3,000 small records while a reader in another process holds
 * its snapshot. */
TEST(kv_grows_in_mid_batch_with_a_reader_open)
{
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    scratch_make(&scratch);
    struct kv_config read = config(KV_READ), write = config(KV_WRITE);
    CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
    CHECK_EQ(kv_map_bytes(kv), 1 << 20);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK_OK(put_number(txn, 0, 100, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    int to_child[2], to_parent[2];
    if (pipe(to_child) || pipe(to_parent)) abort();
    pid_t child = fork();
    if (child == 0) {
        struct kv *r;
        int bad = 0;
        char go = 0;
        if (kv_open(&r, folder, &read, &err) < 0 || kv_begin_read(r, &txn, &err) < 0) _exit(10);
        if (write_one(to_parent[1]) || read_one(to_child[0], &go)) _exit(11);
        bad |= !number_is_right(txn, 0, 100);
        bad |= number_is_right(txn, 1, 60000) << 1; /* the old snapshot does not know it */
        kv_abort(txn);
        if (kv_begin_read(r, &txn, &err) < 0) _exit(12);
        bad |= !number_is_right(txn, 1, 60000) << 2;
        kv_abort(txn);
        kv_close(r);
        _exit(bad);
    }
    char ready;
    read_one(to_parent[0], &ready);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    for (int i = 1; i <= 100; i++) CHECK_OK(put_number(txn, i, 60000, &err), &err);
    for (int i = 101; i <= 3100; i++)
        CHECK_OK(put_number(txn, (i * 7919) % 3000 + 101, 20, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    CHECK(kv_map_bytes(kv) >= 8 << 20);
    write_one(to_child[1]);
    CHECK_EQ(wait_for(child), 0);
    kv_close(kv);
    CHECK_OK(kv_open(&kv, folder, &read, &err), &err);
    CHECK_OK(kv_begin_read(kv, &txn, &err), &err);
    int n_wrong = 0;
    for (int i = 1; i <= 100; i++) n_wrong += !number_is_right(txn, i, 60000);
    for (int i = 101; i <= 3100; i++) n_wrong += !number_is_right(txn, i, 20);
    CHECK_EQ(n_wrong, 0);
    kv_abort(txn);
    kv_close(kv);
    scratch_remove(&scratch);
}

static uint64_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu", &pages) != 1) abort();
    fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Twelve batches of 24 MB, the last of them 60 MB, in what `spare` bytes of address space allow. */
static int write_in(uint64_t spare, uint64_t *map, struct error *err)
{
    struct rlimit limit = {address_space() + spare, RLIM_INFINITY};
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_config write = {.mode = KV_WRITE, .tables = tables, .n_tables = 2};
    if (spare && setrlimit(RLIMIT_AS, &limit) < 0) return 20;
    if (kv_open(&kv, folder, &write, err) < 0) return 21;
    *map = kv_map_bytes(kv);
    int rc = 0;
    for (int batch = 0; rc == 0 && batch < 12; batch++) {
        rc = kv_begin_write(kv, &txn, err);
        int end = batch * 400 + (batch < 11 ? 400 : 1000);
        for (int i = batch * 400; rc == 0 && i < end; i++) rc = put_number(txn, i, 60000, err);
        if (rc == 0) rc = kv_commit(txn, err);
    }
    kv_close(kv);
    return rc < 0 ? 22 : 0;
}

/* With all the address space there is, a batch finds more room than it can take; with little, the
 * map is what there is room for and grows in mid batch; with less than that, the batch is refused,
 * and the store goes on. */
TEST(kv_takes_the_room_there_is)
{
#ifdef __SANITIZE_ADDRESS__
    SKIP("the sanitizer has address space of its own");
#endif
    static const uint64_t spare[] = {0, (uint64_t)700 << 20, (uint64_t)300 << 20};
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_config read = {.mode = KV_READ, .tables = tables, .n_tables = 2};
    for (int k = 0; k < 3; k++) {
        scratch_make(&scratch);
        pid_t child = fork();
        if (child == 0) {
            uint64_t map = 0, n = 0;
            int rc = write_in(spare[k], &map, &err);
            if (rc != (k == 2 ? 22 : 0)) _exit(rc ? rc : 23);
            if (k == 2 && err.code != ERR_NOMEM) _exit(24);
            if (k == 0 ? map < (uint64_t)64 << 30 : map > spare[k]) _exit(25);
            /* as a reader, in the same address space */
            if (kv_open(&kv, folder, &read, &err) < 0 || kv_begin_read(kv, &txn, &err) < 0)
                _exit(26);
            if (kv_count(txn, A, &n, &err) < 0 || n % 400 != (k == 2 ? 0 : 200)) _exit(27);
            for (uint64_t i = 0; i < n; i++)
                if (!number_is_right(txn, (int)i, 60000)) _exit(28);
            kv_abort(txn);
            kv_close(kv);
            _exit(0);
        }
        CHECK_EQ(wait_for(child), 0);
        scratch_remove(&scratch);
    }
}

/* What a walk found can be changed once its cursor is closed; after the last record is gone, what is
 * behind the one before it can be appended. */
TEST(kv_walks_deletes_and_appends_in_one_transaction)
{
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_cursor *cur;
    struct kv_bytes k, v;
    char keys[500][9], name[9];
    scratch_make(&scratch);
    struct kv_config write = config(KV_WRITE);
    CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    for (int i = 0; i < 500; i++) CHECK_OK(put_number(txn, i, 3000, &err), &err); /* grows */
    CHECK_OK(kv_cursor_open(txn, A, &cur, &err), &err);
    int n = 0;
    for (int rc = kv_cursor_first(cur, &k, &v, &err); rc > 0;
         rc = kv_cursor_next(cur, &k, &v, &err))
        if (n < 500) memcpy(keys[n++], k.bytes, 8);
    CHECK_EQ(n, 500);
    CHECK_EQ(kv_delete(txn, A, keys[0], 8, &err), ERR_USAGE); /* the cursor is open */
    kv_cursor_close(cur);
    for (int i = 1; i < 500; i += 2) CHECK_OK(kv_delete(txn, A, keys[i], 8, &err), &err);
    for (int i = 0; i < 500; i += 4) CHECK_OK(put_number(txn, i, 5000, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK(number_is_right(txn, 0, 5000) && number_is_right(txn, 2, 3000));
    CHECK(!number_is_right(txn, 1, 3000));
    for (int i = 498; i > 400; i -= 2) CHECK_OK(kv_delete(txn, A, keys[i], 8, &err), &err);
    for (int i = 401; i < 1200; i++) {
        snprintf(name, sizeof name, "%08d", i);
        CHECK_OK(kv_append(txn, A, name, 8, name, 8, &err), &err);
    }
    CHECK_OK(kv_commit(txn, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    uint64_t count = 0;
    CHECK_OK(kv_count(txn, A, &count, &err), &err);
    CHECK_EQ(count, 201 + 799);
    CHECK_EQ(kv_append(txn, A, "00001199", 8, "", 0, &err), ERR_CORRUPT); /* not behind */
    kv_abort(txn);
    kv_close(kv);
    scratch_remove(&scratch);
}

TEST(kv_aborted_batch_leaves_nothing)
{
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_bytes v;
    scratch_make(&scratch);
    struct kv_config write = config(KV_WRITE);
    CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    for (int i = 0; i < 60; i++) CHECK_OK(put_number(txn, i, 60000, &err), &err); /* grows twice */
    kv_abort(txn);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK_OK(kv_put(txn, A, "k", 1, "v", 1, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    CHECK_OK(kv_begin_read(kv, &txn, &err), &err);
    uint64_t n = 0;
    CHECK_OK(kv_count(txn, A, &n, &err), &err);
    CHECK_EQ(n, 1);
    CHECK_EQ(kv_get(txn, A, "k", 1, &v, &err), 1);
    kv_abort(txn);
    kv_close(kv);
    scratch_remove(&scratch);
}

/* A writer that is killed in mid batch leaves its last commit, no lock, and a slot that is cleared. */
TEST(kv_survives_kill_9)
{
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    scratch_make(&scratch);
    struct kv_config write = config(KV_WRITE);
    for (int round = 0; round < 3; round++) {
        pid_t child = fork();
        if (child == 0) {
            if (kv_open(&kv, folder, &write, &err) < 0 || kv_begin_write(kv, &txn, &err) < 0)
                _exit(1);
            if (put_number(txn, round, 5000, &err) < 0 || kv_commit(txn, &err) < 0) _exit(2);
            if (kv_begin_write(kv, &txn, &err) < 0 || put_number(txn, 77, 5000, &err) < 0) _exit(3);
            raise(SIGKILL);
        }
        CHECK_EQ(wait_for(child), 1000 + SIGKILL);
    }
    CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
    CHECK_OK(kv_begin_read(kv, &txn, &err), &err);
    for (int round = 0; round < 3; round++) CHECK(number_is_right(txn, round, 5000));
    CHECK(!number_is_right(txn, 77, 5000));
    kv_abort(txn);
    kv_close(kv);
    scratch_remove(&scratch);
}

static void fill(int n)
{
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    struct kv_config write = config(KV_WRITE);
    CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    for (int i = 0; i < n; i++) CHECK_OK(put_number(txn, i, 30000, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    kv_close(kv);
}

TEST(kv_refuses_a_cut_file)
{
    struct error err;
    struct kv *kv;
    char path[100];
    scratch_make(&scratch);
    fill(20);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    uint64_t size = file_size(path);
    struct kv_config read = config(KV_READ), write = config(KV_WRITE);
    uint64_t cuts[] = {size - 4096, size / 2, 8192, 5000, 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        CHECK_EQ(truncate(path, (off_t)cuts[i]), 0);
        CHECK_EQ(kv_open(&kv, folder, &read, &err), ERR_CORRUPT);
        CHECK_HAS(err.text, "cut off");
        CHECK_EQ(kv_open(&kv, folder, &write, &err), ERR_CORRUPT);
    }
    scratch_remove(&scratch);
}

/* Heads without a commit, or of which a page never reached the disk: nothing is there, and a writer begins
 * anew. */
TEST(kv_makes_anew_what_was_never_made)
{
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    char path[100];
    static char file[3 * 4096];
    struct kv_config read = config(KV_READ), write = config(KV_WRITE);
    scratch_make(&scratch);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    for (int lost = 0; lost < 4; lost++) { /* bit i: page i did not reach the disk */
        size_t n = lost == 2 ? 4096 : 8192;
        memset(file, 0, sizeof file);
        for (int page = 0; page < 2; page++)
            if (!(lost >> page & 1)) memcpy(file + page * 4096 + 16, "\xde\xc0\xef\xbe\1", 5);
        CHECK_OK(file_write(path, file, n, &err), &err);
        CHECK_EQ(kv_open(&kv, folder, &read, &err), ERR_NOT_FOUND);
        CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
        CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
        CHECK_OK(put_number(txn, 5, 30, &err), &err);
        CHECK_OK(kv_commit(txn, &err), &err);
        kv_close(kv);
        CHECK_OK(kv_open(&kv, folder, &read, &err), &err);
        kv_close(kv);
    }
    file[144] = 2; /* a commit: never thrown away */
    memcpy(file + 16, "\xde\xc0\xef\xbe\1", 5);
    CHECK_OK(file_write(path, file, 8192, &err), &err);
    CHECK(kv_open(&kv, folder, &write, &err) < 0);
    CHECK_EQ(file_size(path), 8192);
    scratch_remove(&scratch);
}

static void overwrite(const char *path, off_t at, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0 || pwrite(fd, bytes, n, at) != (ssize_t)n) abort();
    close(fd);
}

/* Page heads of LMDB 0.9: 16 bytes, then magic, then the version of the data format, in both meta pages. */
TEST(kv_refuses_other_formats)
{
    struct error err;
    struct kv *kv;
    char path[100];
    scratch_make(&scratch);
    fill(2);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    struct kv_config read = config(KV_READ);
    uint32_t version = 999, magic = 0x12345678;
    overwrite(path, 20, &version, 4);
    overwrite(path, 4096 + 20, &version, 4);
    CHECK_EQ(kv_open(&kv, folder, &read, &err), ERR_INCOMPATIBLE);
    overwrite(path, 16, &magic, 4);
    CHECK_EQ(kv_open(&kv, folder, &read, &err), ERR_CORRUPT);
    CHECK_HAS(err.text, folder);
    scratch_remove(&scratch);
}

/* A tail that was made and freed in one transaction, so that its pages are never written; then a
 * crash right after the commit's write must not leave a file that looks cut: during the commit it
 * is as long as the map, afterwards as its head says. */
TEST(kv_file_is_never_shorter_than_its_head)
{
    struct error err;
    struct kv *kv;
    struct kv_txn *txn;
    char path[100];
    scratch_make(&scratch);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    struct kv_config write = config(KV_WRITE), read = config(KV_READ);
    CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    for (int i = 0; i < 20; i++) CHECK_OK(put_number(txn, i, 30000, &err), &err);
    uint32_t key[2];
    for (int i = 5; i < 20; i++) {
        struct kv_cursor *cur;
        struct kv_bytes k, v;
        CHECK_OK(kv_cursor_open(txn, A, &cur, &err), &err);
        CHECK_EQ(kv_cursor_last(cur, &k, &v, &err), 1);
        size_t n = k.n < sizeof key ? k.n : sizeof key;
        memcpy(key, k.bytes, n);
        kv_cursor_close(cur);
        CHECK_OK(kv_delete(txn, A, key, n, &err), &err);
    }
    CHECK_OK(kv_commit(txn, &err), &err);
    uint64_t length = file_size(path), map = kv_map_bytes(kv);
    kv_close(kv);
    CHECK(length < map && length >= 5 * 30000);
    /* as a crash before the trimming leaves it */
    CHECK_EQ(truncate(path, (off_t)map), 0);
    CHECK_OK(kv_open(&kv, folder, &read, &err), &err);
    kv_close(kv);
    CHECK_OK(kv_open(&kv, folder, &write, &err), &err);
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    CHECK_OK(put_number(txn, 5, 30000, &err), &err);
    CHECK_OK(kv_commit(txn, &err), &err);
    CHECK(file_size(path) < map);
    kv_close(kv);
    CHECK_OK(kv_open(&kv, folder, &read, &err), &err);
    kv_close(kv);
    scratch_remove(&scratch);
}

TEST(kv_wants_its_tables)
{
    static const char *const others[] = {"a", "missing"};
    struct error err;
    struct kv *kv;
    scratch_make(&scratch);
    fill(1);
    struct kv_config c = {.mode = KV_READ, .tables = others, .n_tables = 2};
    CHECK_EQ(kv_open(&kv, folder, &c, &err), ERR_INCOMPATIBLE);
    CHECK_HAS(err.text, "missing");
    scratch_remove(&scratch);
}

/* On a tmpfs of 4 MB: a batch that does not fit is refused whole, and what was there stays. */
TEST(kv_full_disk_is_an_error_and_loses_nothing)
{
    struct error err = {0};
    struct kv *kv;
    struct kv_txn *txn;
    scratch_make(&scratch);
    if (mount("none", folder, "tmpfs", 0, "size=4m") < 0) {
        scratch_remove(&scratch);
        SKIP("a tmpfs can be mounted by root only");
    }
    struct kv_config write = config(KV_WRITE);
    char inner[100];
    snprintf(inner, sizeof inner, "%s/store", folder);
    int rc = kv_open(&kv, inner, &write, &err), batch = 0;
    for (; rc == 0 && batch < 100; batch++) {
        rc = kv_begin_write(kv, &txn, &err);
        for (int i = 0; rc == 0 && i < 10; i++) rc = put_number(txn, batch * 10 + i, 30000, &err);
        if (rc == 0) rc = kv_commit(txn, &err);
    }
    CHECK_EQ(rc, ERR_NOSPACE);
    CHECK_HAS(err.text, inner);
    CHECK(batch > 5 && batch < 20);
    CHECK_OK(kv_begin_read(kv, &txn, &err), &err);
    uint64_t n = 0;
    CHECK_OK(kv_count(txn, A, &n, &err), &err);
    CHECK_EQ(n, (batch - 1) * 10);
    CHECK(number_is_right(txn, 42, 30000));
    kv_abort(txn);
    kv_close(kv);
    /* with no byte left a new store is refused, and its lock file is no trap */
    snprintf(inner, sizeof inner, "%s/rest", folder);
    static const char zeros[4096];
    FILE *rest = fopen(inner, "w");
    setvbuf(rest, NULL, _IONBF, 0);
    while (fwrite(zeros, sizeof zeros, 1, rest) == 1) continue;
    fclose(rest);
    snprintf(inner, sizeof inner, "%s/new", folder);
    CHECK_EQ(kv_open(&kv, inner, &write, &err), ERR_NOSPACE);
    umount(folder);
    scratch_remove(&scratch);
}

TEST_MAIN
