/* Ingest of 35-KB pictures: corpus_add_image with a durable commit every 64 MB, against a bare LMDB
 * append loop and py-lmdb (put, the same commits), and a plain file with fdatasync at the same
 * places. Each goes on where its last round ended, as a long ingest does. Seconds are the wall's
 * clock: the disk is what is measured. clipstill alone computes a SHA-256 of every picture, keeps an
 * index by key and a copy of the batch for replay. */
#include "tests/bench.h"

#include <fcntl.h>
#include <lmdb.h>

#include "store/corpus.h"
#include "store/file.h"
#include "store/memory.h"

enum { RECORD = 35000, BATCH = 64 * 1000 * 1000 / RECORD, COMMITS = 2, N = BATCH * COMMITS };

static const char *folder;
static uint8_t *record;
static uint64_t n_made;

/* Always another picture, as far as a store can tell. */
static const uint8_t *next_record(void)
{
    n_made++;
    memcpy(record + 100, &n_made, sizeof n_made);
    return record;
}

static const char *place(const char *name)
{
    static char path[128];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    bench_must(file_make_folder(path, &err) == 0, &err);
    return path;
}

static double ours(void *ctx)
{
    struct corpus *c = ctx;
    struct error err = {0};
    double start = bench_wall();
    for (int k = 0; k < COMMITS; k++) {
        bench_must(corpus_begin(c, &err) == 0, &err);
        for (int i = 0; i < BATCH; i++) {
            struct corpus_image image = {
                .width_px = 500, .height_px = 375, .format = IMAGE_JPEG, .orientation = 1};
            uint32_t number;
            bool is_new;
            int rc = corpus_add_image(c, &image, next_record(), RECORD, &number, &is_new, &err);
            bench_must(rc == 0, &err);
        }
        bench_must(corpus_commit(c, &err) == 0, &err);
    }
    return bench_wall() - start;
}

static void must(int rc)
{
    struct error err = {0};
    if (rc) error_set(&err, ERR_IO, "LMDB: %s", mdb_strerror(rc));
    bench_must(!rc, &err);
}

static double bare(void *ctx)
{
    MDB_env *env = ctx;
    MDB_txn *txn;
    MDB_dbi dbi;
    static uint32_t number;
    double start = bench_wall();
    for (int k = 0; k < COMMITS; k++) {
        must(mdb_txn_begin(env, NULL, 0, &txn));
        must(mdb_dbi_open(txn, NULL, 0, &dbi));
        for (int i = 0; i < BATCH; i++, number++) {
            uint8_t name[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                               (uint8_t)(number >> 8), (uint8_t)number};
            MDB_val key = {4, name}, value = {RECORD, (void *)(uintptr_t)next_record()};
            must(mdb_put(txn, dbi, &key, &value, MDB_APPEND));
        }
        must(mdb_txn_commit(txn));
    }
    return bench_wall() - start;
}

static double plain_file(void *ctx)
{
    int fd = *(int *)ctx;
    struct error err = {0};
    double start = bench_wall();
    for (int k = 0; k < COMMITS; k++) {
        for (int i = 0; i < BATCH; i++)
            if (write(fd, next_record(), RECORD) != RECORD) error_errno(&err, "cannot write");
        if (fdatasync(fd) < 0) error_errno(&err, "cannot sync");
    }
    bench_must(!err.code, &err);
    return bench_wall() - start;
}

int main(void)
{
    struct error err = {0};
    struct bench_peer peer;
    struct corpus *c;
    MDB_env *env;
    folder = bench_folder();
    record = memory_array(RECORD, 1, MEMORY_MAX_SMALL, &err);
    bench_must(record && corpus_open(&c, place("clipstill"), CORPUS_WRITE, &err) == 0, &err);
    for (size_t i = 0; i < RECORD; i++) record[i] = (uint8_t)(i * 2654435761u >> 13);
    must(mdb_env_create(&env));
    must(mdb_env_set_mapsize(env, (size_t)4 << 30));
    must(mdb_env_open(env, place("bare"), 0, 0666));
    int fd = open(place("file"), O_TMPFILE | O_WRONLY, 0600);
    if (fd < 0) error_errno(&err, "%s", folder);
    bench_must(fd >= 0, &err);
    char size[16], batch[16], commits[16];
    snprintf(size, sizeof size, "%d", RECORD);
    snprintf(batch, sizeof batch, "%d", BATCH);
    snprintf(commits, sizeof commits, "%d", COMMITS);
    bench_peer_open(&peer, "py-lmdb", "tests/peer_store.py",
                    (const char *const[]){place("py"), size, batch, commits, NULL});
    double mb = (double)N * RECORD / 1e6;
    struct bench_entry e[] = {
        {.name = "clipstill", .work = mb, .run = ours, .ctx = c},
        {.name = "bare LMDB append loop", .work = mb, .run = bare, .ctx = env, .goal = ">= 0.9"},
        {.name = "append loop", .work = mb, .peer = &peer, .ask = "run"},
        {.name = "limit: plain file and fdatasync", .work = mb, .run = plain_file, .ctx = &fd}};
    bench_table("ingest of 35-KB pictures, durable every 64 MB, one thread, wall clock", "MB/s", e,
                4, 7);
    bench_peer_close(&peer);
    close(fd);
    mdb_env_close(env);
    corpus_close(c);
    memory_free(record);
    return 0;
}
