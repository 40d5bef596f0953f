/* A data file read page by page: all of it when it is sound, all but the damaged page when it is not.
 *
 * covers: pagewalk
 */
#include "store/pages.h"

#include <unistd.h>

#include "store/bytes.h"
#include "store/kv.h"
#include "store/memory.h"
#include "tests/scratch.h"

#define PAGE 4096
#define N    400 /* records a table at most */

static const char *const tables[] = {"small", "large"};
enum { SMALL, LARGE, N_TABLES };
static struct error err;

/* What was seen of each record of the two tables, and what was told. */
struct seen {
    int n[N_TABLES][N], n_damages, n_strange;
    char text[400];
};

/* Value of a record: its number and table again and again, longer than a page in LARGE. */
static size_t value_of(int table, uint32_t i, uint8_t *value)
{
    size_t n = table == LARGE ? 3000 + (size_t)i * 53 % 9000 : 20 + i % 90;
    for (size_t k = 0; k < n; k++) value[k] = (uint8_t)(i * 7 + (uint32_t)table * 100 + k);
    return n;
}

static int see(void *context, const struct pages_record *r, struct error *e)
{
    struct seen *s = context;
    uint8_t value[12100];
    (void)e;
    if (r->key.n != 4) return 0; /* a stray value, a list of free pages, a directory */
    struct bytes_reader key = bytes_reader(r->key.bytes, 4);
    uint32_t i = bytes_key_u32(&key);
    for (int table = 0; table < N_TABLES && i < N; table++) {
        if (r->table != PAGES_NO_TABLE && r->table != table) continue;
        size_t n = value_of(table, i, value);
        if (n != r->value.n || memcmp(value, r->value.bytes, n)) continue;
        s->n[table][i]++;
        return 0;
    }
    s->n_strange++;
    return 0;
}

static void hear(void *context, const struct pages_damage *d)
{
    struct seen *s = context;
    s->n_damages++;
    if (!*s->text)
        snprintf(s->text, sizeof s->text, "table %d, page %llu %s", d->table,
                 (unsigned long long)d->page, d->why);
}

/* Records [from, to) of both tables, a commit each `batch`; every fifth of SMALL is deleted at the end. */
static void fill(const char *folder, uint32_t from, uint32_t to, uint32_t batch)
{
    static uint8_t value[12100];
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    uint8_t key[4];
    CHECK_OK(kv_open(&kv, folder, &(struct kv_config){KV_WRITE, tables, N_TABLES, 0}, &err), &err);
    for (uint32_t i = from; i < to; i++) {
        if (!txn) CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
        bytes_put_key_u32(key, i);
        for (int table = 0; table < N_TABLES; table++)
            CHECK_OK(kv_put(txn, table, key, 4, value, value_of(table, i, value), &err), &err);
        if (i % batch != batch - 1 && i != to - 1) continue;
        CHECK_OK(kv_commit(txn, &err), &err);
        txn = NULL;
    }
    CHECK_OK(kv_begin_write(kv, &txn, &err), &err);
    for (uint32_t i = from; i < to; i += 5) {
        bytes_put_key_u32(key, i);
        CHECK_OK(kv_delete(txn, SMALL, key, 4, &err), &err);
    }
    CHECK_OK(kv_commit(txn, &err), &err);
    kv_close(kv);
}

static struct seen read_pages(const char *folder, bool with_strays)
{
    struct seen s = {0};
    struct pages *p = NULL;
    struct pages_visitor v = {&s, see, hear};
    int rc = pages_open(&p, folder, tables, N_TABLES, &err);
    if (rc == 0) rc = pages_walk(p, &v, &err);
    if (rc == 0) CHECK_EQ(pages_n_damages(p), s.n_damages);
    if (rc == 0 && with_strays) rc = pages_strays(p, &v, false, &err);
    if (rc < 0) CHECK_FAIL("%s", err.text);
    pages_close(p);
    return s;
}

static int n_missing(const struct seen *s, uint32_t n)
{
    int missing = 0;
    for (int table = 0; table < N_TABLES; table++)
        for (uint32_t i = 0; i < n; i++)
            missing += s->n[table][i] == 0 && !(table == SMALL && i % 5 == 0);
    return missing;
}

TEST(a_sound_file_gives_each_record_once)
{
    struct scratch tmp;
    scratch_make(&tmp);
    uint32_t batches[] = {1, 7, 50, 1000};
    for (size_t b = 0; b < 4; b++) {
        const char *folder = scratch_path(&tmp, "sound");
        for (uint32_t from = 0; from < N; from += 80) { /* and after each opening and closing */
            fill(folder, from, from + 80, batches[b]);
            struct seen s = read_pages(folder, false);
            CHECK_EQ(s.n_damages, 0);
            CHECK_STR(s.text, "");
            CHECK_EQ(s.n_strange, 0);
            CHECK_EQ(n_missing(&s, from + 80), 0);
            for (uint32_t i = 0; i < from + 80; i++)
                if (s.n[SMALL][i] != (i % 5 != 0) || s.n[LARGE][i] != 1)
                    CHECK_FAIL("record %u was seen %d and %d times", i, s.n[SMALL][i],
                               s.n[LARGE][i]);
            s = read_pages(folder, true);
            for (uint32_t i = 0; i < from; i += 5)
                if (s.n[SMALL][i]) CHECK_FAIL("record %u is deleted, and was found", i);
        }
        if (file_remove_folder(folder, &err) < 0) CHECK_FAIL("%s", err.text);
    }
    scratch_remove(&tmp);
}

/* Whether a page begins a run of overflow pages. */
static bool is_overflow(const char *page)
{
    return page[10] == 4;
}

TEST(a_lost_page_costs_its_own_records)
{
    struct scratch tmp;
    scratch_make(&tmp);
    char folder[300];
    strcpy(folder, scratch_path(&tmp, "lost"));
    char *file = NULL;
    size_t n = 0;
    fill(folder, 0, 200, 40);
    CHECK_OK(file_read(scratch_path(&tmp, "lost/data.mdb"), 1 << 26, &file, &n, &err), &err);
    char *copy = malloc(n);
    int n_found = 0, worst = 0;
    for (size_t at = 0; at < n; at += PAGE) {
        memcpy(copy, file, n);
        memset(copy + at, 0, PAGE);
        scratch_bytes(&tmp, "lost/data.mdb", copy, n);
        struct seen s = read_pages(folder, true);
        int missing = n_missing(&s, 200);
        /* a head, a branch, a directory, a list of free pages, the body of a value: nothing is lost by
         * structure; a leaf of small records: its own */
        if (s.n_damages) n_found++;
        if (missing > worst) worst = missing;
        if (at < 2 * PAGE && missing) CHECK_FAIL("%d records are lost with head %zu", missing, at);
        if (at < 2 * PAGE && !s.n_damages) CHECK_FAIL("head %zu is gone, and nothing is said", at);
        if (missing && !s.n_damages && !s.n_strange)
            CHECK_FAIL("page %zu is gone, and nothing is said", at / PAGE);
        if (missing > 1 && is_overflow(file + at))
            CHECK_FAIL("%d records are lost with the value in page %zu", missing, at / PAGE);
    }
    CHECK(n_found > 20);
    if (worst < 20 || worst > 220) CHECK_FAIL("a page costs up to %d records", worst);
    free(copy);
    memory_free(file);
    scratch_remove(&tmp);
}

TEST(a_cut_file_gives_what_is_left)
{
    struct scratch tmp;
    scratch_make(&tmp);
    const char *folder = scratch_path(&tmp, "cut");
    fill(folder, 0, 200, 40);
    const char *path = scratch_path(&tmp, "cut/data.mdb");
    int before = -1;
    for (off_t size = (off_t)file_size(path) - PAGE; size >= 2 * PAGE; size = size * 7 / 8) {
        if (truncate(path, size) < 0) abort();
        struct seen s = read_pages(folder, true);
        CHECK(s.n_damages > 0);
        int missing = n_missing(&s, 200);
        CHECK(missing >= before);
        before = missing;
    }
    struct pages *p = NULL;
    if (truncate(path, PAGE + 100) < 0) abort();
    CHECK_EQ(pages_open(&p, folder, tables, N_TABLES, &err), ERR_CORRUPT);
    if (unlink(path) < 0) abort();
    CHECK_EQ(pages_open(&p, folder, tables, N_TABLES, &err), ERR_NOT_FOUND);
    scratch_remove(&tmp);
}

TEST_MAIN
