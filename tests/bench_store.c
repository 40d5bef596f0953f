/* What storing costs, against bare LMDB loops of equal durability: as many pictures or captions a
 * transaction, MDB_APPEND, an fdatasync and a synchronous head a commit. Each contestant goes on
 * where its last round ended, as a long ingest does. Seconds are the wall's clock: the disk is
 * waited for.
 *
 * - Pictures of 35 KB, a commit every 64 MB. clipstill gets the key with the bytes, as ingest has it
 *   (corpus_add_image_keyed), and makes three records: the bytes, what the picture is, and the index
 *   by key, whose pages are written all over the file. The goal is set against a bare loop that puts
 *   the same three, without look-up and checksums; the one that puts the bytes alone says what an
 *   index costs. "Computing the key" does the SHA-256 too.
 * - Captions of 40 bytes, half a million a commit. clipstill digests each text, looks the digest up,
 *   and makes two records with checksums; the bare loop gets its random keys for nothing, looks
 *   nothing up, and puts the same two without.
 * - Anonymous memory over 3.2 GB of pictures in a process of its own: /proc/self/status, ten times a
 *   commit and right before it, when there is most. */
#include "tests/bench.h"

#include <fcntl.h>
#include <lmdb.h>

#include "store/corpus.h"
#include "store/digest.h"
#include "store/file.h"
#include "store/memory.h"

enum { RECORD = 35000, BATCH = 64 * 1000 * 1000 / RECORD, COMMITS = 2, N = BATCH * COMMITS };
enum { CAPTIONS = 500000, TEXT = 40, MEMORY_COMMITS = 50 };

static const char *folder;
static uint8_t *record;
static uint64_t n_made;

/* What a digest looks like, for nothing. */
static void random_key(uint8_t key[DIGEST_BYTES])
{
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t z = (4 * n_made + i + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        memcpy(key + 8 * i, &z, 8);
    }
}

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

/* One batch; watch: NULL, or called now and then. */
static void store_pictures(struct corpus *c, bool is_keyed, void (*watch)(void))
{
    struct error err = {0};
    bench_must(corpus_begin(c, &err) == 0, &err);
    for (int i = 0; i < BATCH; i++) {
        struct corpus_image image = {
            .width_px = 500, .height_px = 375, .format = IMAGE_JPEG, .orientation = 1};
        uint32_t number;
        bool is_new;
        const uint8_t *bytes = next_record();
        random_key(image.key);
        int rc = is_keyed ? corpus_add_image_keyed(c, &image, bytes, RECORD, &number, &is_new, &err)
                          : corpus_add_image(c, &image, bytes, RECORD, &number, &is_new, &err);
        bench_must(rc == 0 && is_new, &err);
        if (watch && i % (BATCH / 10) == 0) watch();
    }
    if (watch) watch();
    bench_must(corpus_commit(c, &err) == 0, &err);
}

static double ours(void *ctx)
{
    double start = bench_wall();
    for (int k = 0; k < COMMITS; k++) store_pictures(ctx, true, NULL);
    return bench_wall() - start;
}

static double ours_computing_keys(void *ctx)
{
    double start = bench_wall();
    for (int k = 0; k < COMMITS; k++) store_pictures(ctx, false, NULL);
    return bench_wall() - start;
}

static void next_text(char text[TEXT])
{
    char whole[64];
    snprintf(whole, sizeof whole, "a photo of thing number %016llu", (unsigned long long)n_made++);
    memcpy(text, whole, TEXT);
}

static double our_captions(void *ctx)
{
    struct error err = {0};
    double start = bench_wall();
    bench_must(corpus_begin(ctx, &err) == 0, &err);
    for (int i = 0; i < CAPTIONS; i++) {
        char text[TEXT];
        uint32_t number;
        bool is_new;
        next_text(text);
        bench_must(corpus_add_caption(ctx, text, TEXT, &number, &is_new, &err) == 0, &err);
    }
    bench_must(corpus_commit(ctx, &err) == 0, &err);
    return bench_wall() - start;
}

static void must(int rc)
{
    struct error err = {0};
    if (rc) error_set(&err, ERR_IO, "LMDB: %s", mdb_strerror(rc));
    bench_must(!rc, &err);
}

enum bare_table { BARE_BYTES, BARE_ROWS, BARE_KEYS, BARE_TABLES };

static MDB_env *bare_environment(const char *name)
{
    MDB_env *env;
    must(mdb_env_create(&env));
    must(mdb_env_set_maxdbs(env, BARE_TABLES));
    must(mdb_env_set_mapsize(env, (size_t)64 << 30));
    must(mdb_env_open(env, place(name), 0, 0666));
    return env;
}

static void put(MDB_txn *txn, MDB_dbi dbi, MDB_val key, MDB_val value, unsigned flags)
{
    must(mdb_put(txn, dbi, &key, &value, flags));
}

static void number_key(uint32_t number, uint8_t key[4])
{
    for (int i = 0; i < 4; i++) key[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* n_tables: BARE_BYTES alone, or the three records that clipstill makes of a picture. */
static double bare_pictures(MDB_env *env, int n_tables, uint32_t *number)
{
    static const char *const names[] = {"bytes", "rows", "keys"};
    MDB_txn *txn;
    MDB_dbi dbi[BARE_TABLES];
    uint8_t name[4], key[DIGEST_BYTES], row[54] = {0};
    double start = bench_wall();
    for (int k = 0; k < COMMITS; k++) {
        must(mdb_txn_begin(env, NULL, 0, &txn));
        for (int i = 0; i < n_tables; i++) must(mdb_dbi_open(txn, names[i], MDB_CREATE, &dbi[i]));
        for (int i = 0; i < BATCH; i++, ++*number) {
            number_key(*number, name);
            put(txn, dbi[BARE_BYTES], (MDB_val){4, name},
                (MDB_val){RECORD, (void *)(uintptr_t)next_record()}, MDB_APPEND);
            if (n_tables == 1) continue;
            random_key(key);
            put(txn, dbi[BARE_ROWS], (MDB_val){4, name}, (MDB_val){sizeof row, row}, MDB_APPEND);
            put(txn, dbi[BARE_KEYS], (MDB_val){sizeof key, key}, (MDB_val){12, row}, 0);
        }
        must(mdb_txn_commit(txn));
    }
    return bench_wall() - start;
}

static double bare_one(void *ctx)
{
    static uint32_t number;
    return bare_pictures(ctx, 1, &number);
}

static double bare_three(void *ctx)
{
    static uint32_t number;
    return bare_pictures(ctx, BARE_TABLES, &number);
}

static double bare_captions(void *ctx)
{
    MDB_txn *txn;
    MDB_dbi keys, texts;
    static uint32_t number;
    uint8_t name[4], body[DIGEST_BYTES + TEXT];
    double start = bench_wall();
    must(mdb_txn_begin(ctx, NULL, 0, &txn));
    must(mdb_dbi_open(txn, "keys", MDB_CREATE, &keys));
    must(mdb_dbi_open(txn, "texts", MDB_CREATE, &texts));
    for (int i = 0; i < CAPTIONS; i++, number++) {
        number_key(number, name);
        random_key(body);
        next_text((char *)body + DIGEST_BYTES);
        put(txn, keys, (MDB_val){DIGEST_BYTES, body}, (MDB_val){4, name}, 0);
        put(txn, texts, (MDB_val){4, name}, (MDB_val){DIGEST_BYTES + TEXT, body}, MDB_APPEND);
    }
    must(mdb_txn_commit(txn));
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

static struct corpus *our_corpus(const char *name)
{
    struct error err = {0};
    struct corpus *c = NULL;
    bench_must(corpus_open(&c, place(name), CORPUS_WRITE, &err) == 0, &err);
    return c;
}

static void table_of_pictures(void)
{
    struct error err = {0};
    struct bench_peer peer;
    struct corpus *keyed = our_corpus("keyed"), *computing = our_corpus("computing");
    MDB_env *one = bare_environment("bare-one"), *three = bare_environment("bare-three");
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
        {.name = "clipstill", .work = mb, .run = ours, .ctx = keyed},
        {.name = "bare LMDB, the same three records a picture",
         .work = mb,
         .run = bare_three,
         .ctx = three,
         .goal = ">= 0.9"},
        {.name = "bare LMDB, the bytes alone", .work = mb, .run = bare_one, .ctx = one},
        {.name = "append loop, the bytes alone", .work = mb, .peer = &peer, .ask = "run"},
        {.name = "clipstill, computing the key",
         .work = mb,
         .run = ours_computing_keys,
         .ctx = computing},
        {.name = "limit: plain file and fdatasync", .work = mb, .run = plain_file, .ctx = &fd}};
    bench_table("storing 35-KB pictures, durable every 64 MB, one thread, wall clock", "MB/s", e, 6,
                9);
    bench_peer_close(&peer);
    close(fd);
    mdb_env_close(three);
    mdb_env_close(one);
    corpus_close(computing);
    corpus_close(keyed);
}

static void table_of_captions(void)
{
    struct corpus *c = our_corpus("captions");
    MDB_env *env = bare_environment("bare-captions");
    struct bench_entry e[] = {
        {.name = "clipstill", .work = CAPTIONS / 1e3, .run = our_captions, .ctx = c},
        {.name = "bare LMDB, two puts a caption, no digests",
         .work = CAPTIONS / 1e3,
         .run = bare_captions,
         .ctx = env}};
    bench_table("storing captions of 40 bytes, 500,000 a commit, one thread, wall clock",
                "thousand/s", e, 2, 5);
    mdb_env_close(env);
    corpus_close(c);
}

static long peak_kib;

static void watch_memory(void)
{
    char line[128];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "RssAnon:", 8) && atol(line + 8) > peak_kib) peak_kib = atol(line + 8);
    if (f) fclose(f);
}

/* In a child and first, so that nothing of the tables counts. */
static void memory_of_pictures(void)
{
    fflush(NULL);
    pid_t child = fork();
    if (child) {
        waitpid(child, NULL, 0);
        return;
    }
    struct corpus *c = our_corpus("memory");
    for (int k = 0; k < MEMORY_COMMITS; k++) store_pictures(c, true, watch_memory);
    corpus_close(c);
    printf("\nanonymous memory while %.1f GB of pictures are stored, durable every 64 MB\n"
           "  %-58s %10.4g MB at most (RssAnon)   goal <= 300\n",
           (double)MEMORY_COMMITS * BATCH * RECORD / 1e9, "clipstill", (double)peak_kib * 1.024e-3);
    fflush(stdout);
    _exit(0);
}

int main(void)
{
    struct error err = {0};
    folder = bench_folder();
    record = memory_array(RECORD, 1, MEMORY_MAX_SMALL, &err);
    bench_must(record, &err);
    for (size_t i = 0; i < RECORD; i++) record[i] = (uint8_t)(i * 2654435761u >> 13);
    memory_of_pictures();
    bench_must(file_remove_folder(place("memory"), &err) == 0, &err);
    table_of_pictures();
    table_of_captions();
    memory_free(record);
    return 0;
}
