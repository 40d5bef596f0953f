/* forget, gc and snapshot on a drawn corpus with two sets: neighbours bit for bit, what stays and what
 * goes, allocations that fail, kill -9, vectors that come too late, a moment that is one.
 *
 * covers: corpusforget featureset_forget gc snapshot
 */
#include "store/forget.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/featureset.h"
#include "store/file.h"
#include "store/gc.h"
#include "store/memory.h"
#include "store/snapshot.h"
#include "tests/scratch.h"

#define DIM     64
#define N       600 /* pictures: more than two blocks */
#define N_VIEWS 3

static struct error err;
static struct scratch scratch;
static char cache[80], dest[80];

static void set_up(void)
{
    scratch_make(&scratch);
    snprintf(cache, sizeof cache, "%s/cache", scratch.folder);
    snprintf(dest, sizeof dest, "%s/dest", scratch.folder);
}

/* Picture i of source a or b (every fifth), with two captions: its own, and one of ten in common. */
static int add_record(struct corpus *c, int i)
{
    char text[100];
    bool is_new, changed;
    struct corpus_image image = {.format = IMAGE_JPEG, .orientation = 1};
    struct corpus_pair p = {.label = CORPUS_NO_NAME, .weight = 1, .split = SPLIT_TRAIN};
    int rc = corpus_intern(c, NAME_LANGUAGE, "en", &p.language, &err);
    if (rc == 0) rc = corpus_intern(c, NAME_SOURCE, i % 5 ? "a" : "b", &p.source, &err);
    snprintf(text, sizeof text, "bytes of picture %d, marked", i);
    if (rc == 0) rc = corpus_add_image(c, &image, text, strlen(text), &p.image, &is_new, &err);
    snprintf(text, sizeof text, "id-%d.jpg", i);
    if (rc == 0) rc = corpus_add_id(c, p.source, text, image.key, &err);
    for (int k = 0; rc == 0 && k < 2; k++) {
        snprintf(text, sizeof text, k ? "common words %d" : "own words of %d, marked",
                 k ? i % 10 : i);
        rc = corpus_add_caption(c, text, strlen(text), &p.caption, &is_new, &err);
        if (rc == 0)
            rc = corpus_add_pair(c, &p, k ? "Common  Words" : NULL, k ? 13 : 0, &is_new, &changed,
                                 &err);
    }
    return rc;
}

/* Which pictures a cache is made of. */
typedef bool chosen(int i);
static bool all(int i)
{
    (void)i;
    return true;
}
static bool not_b(int i)
{
    return i % 5 != 0;
}
static bool not_7(int i)
{
    return i != 7;
}

static int key_of(struct corpus *c, bool is_text, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    struct corpus_image image;
    const char *text;
    size_t n;
    int rc = is_text ? corpus_caption_text(c, number, &text, &n, key, &err)
                     : corpus_get_image(c, number, &image, &err);
    if (rc == 0 && !is_text) memcpy(key, image.key, DIGEST_BYTES);
    return rc;
}

/* A vector that is a function of its key and view; every 13th is one that cannot be coded well. */
static void draw(const uint8_t key[DIGEST_BYTES], uint32_t view, float v[DIM])
{
    uint64_t state = view;
    memcpy(&state, key, 8);
    state += view * 977u;
    for (int j = 0; j < DIM; j++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        v[j] = (float)((double)(state >> 33) / 1e9 - 1);
    }
    if (key[9] % 13 == 0)
        for (int j = 0; j < DIM; j++) v[j] *= j == 3 ? 1e6f : 1e-9f;
}

/* Fills a set with what is not there yet. */
static int fill_set(struct corpus *c, const char *name, bool is_text, uint32_t from)
{
    static uint32_t number[4 * N];
    static uint8_t key[4 * N][DIGEST_BYTES];
    static float vector[4 * N][DIM];
    struct featureset *fs = NULL;
    struct featureset_spec spec = {.tower = is_text ? TOWER_TEXT : TOWER_IMAGE,
                                   .dim = DIM,
                                   .storage = STORAGE_Q,
                                   .epsilon = 1e-4f};
    strcpy(spec.name, name);
    strcpy(spec.tap, name);
    uint32_t end = is_text ? corpus_n_captions(c) : corpus_n_images(c), n = 0;
    int rc = featureset_open(&fs, cache, name, FEATURESET_WRITE, &err);
    if (rc == ERR_NOT_FOUND) rc = featureset_create(&fs, cache, &spec, &err);
    for (uint32_t view = 0; rc == 0 && view < (is_text ? 1 : N_VIEWS); view++) {
        n = 0;
        for (uint32_t i = from; rc == 0 && i < end; i++) {
            rc = key_of(c, is_text, i, key[n]);
            if (rc == 0) {
                number[n] = i;
                draw(key[n], view, vector[n]);
                n++;
            } else if (rc == ERR_NOT_FOUND) {
                rc = 0;
            }
        }
        if (rc == 0)
            rc = featureset_put(fs, view, n, number, (const uint8_t(*)[DIGEST_BYTES])key, vector[0],
                                &err);
    }
    featureset_close(fs);
    return rc;
}

static int fill_sets(uint32_t from)
{
    struct corpus *c = NULL;
    int rc = corpus_open(&c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = fill_set(c, "image.final", false, from);
    if (rc == 0) rc = fill_set(c, "text.final", true, from);
    corpus_close(c);
    return rc;
}

static int make(chosen *choose)
{
    struct corpus *c = NULL;
    int rc = corpus_open(&c, cache, CORPUS_WRITE, &err);
    if (rc == 0) rc = corpus_begin(c, &err);
    for (int i = 0; rc == 0 && i < N; i++)
        if (choose(i)) rc = add_record(c, i);
    if (rc == 0) rc = corpus_commit(c, &err);
    corpus_close(c);
    return rc < 0 ? rc : fill_sets(0);
}

/* What look() hands to both callbacks of a dump. */
struct keys {
    struct corpus *c;
    bool is_text;
    struct digest *digest;
};

static bool set_key_of(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    const struct keys *k = context;
    return number < (k->is_text ? corpus_n_captions(k->c) : corpus_n_images(k->c)) &&
           key_of(k->c, k->is_text, number, key) == 0;
}

static int hear(void *context, const char *line)
{
    const struct keys *k = context;
    digest_add(k->digest, line, strlen(line) + 1);
    return 0;
}

/* The digest of the whole dump of a cache, and its findings; "" after an error. */
static void look(const char *where, char hex[DIGEST_HEX], int *n_findings)
{
    struct corpus *c = NULL;
    char **names = NULL;
    size_t n = 0;
    uint8_t digest[DIGEST_BYTES];
    struct digest *d = digest_new(&err);
    if (!d) abort();
    int rc = corpus_open(&c, where, CORPUS_READ, &err);
    struct keys k = {c, false, d};
    if (rc == 0) rc = corpus_dump(c, hear, &k, &err);
    if (rc == 0 && n_findings) *n_findings = rc = corpus_verify(c, NULL, NULL, NULL, &err);
    if (rc >= 0) rc = featureset_list(where, &names, &n, &err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct featureset *fs = NULL;
        rc = featureset_open(&fs, where, names[i], FEATURESET_READ, &err);
        k.is_text = rc == 0 && featureset_spec(fs)->tower == TOWER_TEXT;
        if (rc == 0 && n_findings) {
            int found = featureset_verify(fs, set_key_of, NULL, &k, NULL, &err);
            *n_findings += found;
            if (found < 0) rc = found;
        }
        if (rc == 0) rc = featureset_dump(fs, set_key_of, hear, &k, &err);
        featureset_close(fs);
    }
    memory_free(names);
    corpus_close(c);
    digest_finish(d, digest);
    digest_to_hex(digest, hex);
    if (rc < 0) *hex = '\0';
}

/* The dump of a cache made of the chosen alone. */
static void expected(chosen *choose, char hex[DIGEST_HEX])
{
    char was[80];
    memcpy(was, cache, sizeof was);
    snprintf(cache, sizeof cache, "%s/never", scratch.folder);
    if (make(choose) < 0) CHECK_FAIL("%s", err.text);
    look(cache, hex, NULL);
    if (file_remove_folder(cache, &err) < 0) abort();
    memcpy(cache, was, sizeof was);
}

static int forget(const char *id, const char *condition, struct forget_result *r)
{
    struct forget *f = NULL;
    struct where w = {0};
    uint32_t number;
    int rc = forget_open(&f, cache, false, &err);
    if (rc == 0 && id) rc = corpus_image_of_id(forget_corpus(f), NULL, id, &number, &err);
    if (rc == 0 && id) rc = forget_image(f, number, &err);
    if (rc == 0 && condition) rc = where_parse(&w, &condition, 1, &err);
    if (rc == 0 && condition) rc = forget_where(f, &w, &err);
    if (rc == 0) rc = forget_run(f, NULL, r, &err);
    forget_close(f);
    where_release(&w);
    return rc;
}

static bool holds_bytes(const char *where, const char *text)
{
    char path[200], *bytes = NULL;
    static const char *const parts[] = {"corpus", "features/image.final", "features/text.final"};
    bool has = false;
    for (int i = 0; i < 3; i++) {
        size_t n = 0;
        snprintf(path, sizeof path, "%s/%s/data.mdb", where, parts[i]);
        if (file_read(path, MEMORY_MAX_FILE, &bytes, &n, &err) < 0) abort();
        has |= memmem(bytes, n, text, strlen(text)) != NULL;
        memory_free(bytes);
    }
    return has;
}

TEST(forget_leaves_what_never_had_it)
{
    char hex[DIGEST_HEX], want[DIGEST_HEX];
    int n_findings;
    struct forget_result r;
    struct gc_result g;
    set_up();
    CHECK_OK(make(all), &err);
    expected(not_b, want);
    CHECK_OK(forget(NULL, "source=b", &r), &err);
    CHECK_EQ(r.n_images, N / 5);
    CHECK_EQ(r.n_pairs, 2 * N / 5);
    CHECK_EQ(r.n_ids, N / 5);
    CHECK_EQ(r.n_captions, N / 5 + 2); /* their own, and the two that only they had in common */
    CHECK_EQ(r.n_vectors, r.n_images * N_VIEWS + r.n_captions);
    look(cache, hex, &n_findings);
    CHECK_EQ(n_findings, 0);
    CHECK_STR(hex, want);
    CHECK(holds_bytes(cache, "picture 5, marked") && holds_bytes(cache, "of 595, marked"));
    CHECK_OK(gc_run(cache, NULL, &g, &err), &err);
    CHECK(g.bytes_after < g.bytes_before);
    CHECK_EQ(g.n_stores, 3);
    CHECK_EQ(g.n_vectors, 0);
    for (int i = 0; i < N; i += 5) {
        char mark[40];
        snprintf(mark, sizeof mark, "picture %d, marked", i);
        CHECK(!holds_bytes(cache, mark));
        snprintf(mark, sizeof mark, "words of %d, marked", i);
        CHECK(!holds_bytes(cache, mark));
    }
    look(cache, hex, &n_findings);
    CHECK_EQ(n_findings, 0);
    CHECK_STR(hex, want);
    /* numbers are never given again, and all comes back when it is brought back */
    expected(all, want);
    CHECK_OK(make(all), &err);
    struct corpus *c;
    CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
    CHECK_EQ(corpus_n_images(c), N + N / 5);
    CHECK_EQ(corpus_n_forgotten(c), N / 5 + N / 5 + 2);
    corpus_close(c);
    look(cache, hex, &n_findings);
    CHECK_EQ(n_findings, 0);
    CHECK_STR(hex, want);
    scratch_remove(&scratch);
}

/* Every vector but the forgotten ones, as it was: the same bits of direction and norm. */
TEST(forget_leaves_neighbours_bit_for_bit)
{
    static float before[N][N_VIEWS][DIM + 1], after[DIM + 1];
    struct featureset *fs;
    struct featureset_cursor *cur;
    struct corpus *c;
    struct forget_result r;
    struct gc_result g;
    set_up();
    CHECK_OK(make(all), &err);
    for (int round = 0; round < 3; round++) {
        if (round == 1) CHECK_OK(forget("id-7.jpg", NULL, &r), &err);
        if (round == 1) CHECK_EQ(r.n_captions, 1);
        if (round == 2) CHECK_OK(gc_run(cache, NULL, &g, &err), &err);
        CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
        CHECK_OK(featureset_open(&fs, cache, "image.final", FEATURESET_READ, &err), &err);
        cur = featureset_cursor_new(fs, &err);
        for (uint32_t i = 0; i < N; i++) {
            uint8_t key[DIGEST_BYTES];
            int rc = key_of(c, false, i, key);
            CHECK_EQ(rc, round && i == 7 ? ERR_NOT_FOUND : 0);
            if (rc < 0) digest_of("bytes of picture 7, marked", 26, key);
            for (uint32_t v = 0; v < N_VIEWS; v++) {
                float *out = round ? after : before[i][v];
                rc = featureset_get(cur, v, i, key, out, out + DIM, &err);
                CHECK_EQ(rc, round && i == 7 ? ERR_NOT_FOUND : 0);
                if (rc == 0 && round) CHECK(!memcmp(before[i][v], after, sizeof after));
            }
        }
        featureset_cursor_free(cur);
        featureset_close(fs);
        corpus_close(c);
    }
    scratch_remove(&scratch);
}

TEST(forget_takes_from_a_reader_that_is_there_only_what_is_new)
{
    struct corpus *old, *new;
    struct corpus_image image;
    struct forget_result r;
    const uint8_t *bytes;
    size_t n;
    set_up();
    CHECK_OK(make(all), &err);
    int to_child[2], to_parent[2];
    if (pipe(to_child) || pipe(to_parent)) abort();
    pid_t child = fork();
    if (child == 0) { /* has its snapshot over forget and gc, and reads it whole */
        char x;
        uint64_t n_bytes = 0;
        if (corpus_open(&old, cache, CORPUS_READ, &err) < 0 || write(to_parent[1], "r", 1) != 1 ||
            read(to_child[0], &x, 1) != 1)
            _exit(1);
        for (uint32_t i = 0; i < N; i++, n_bytes += n)
            if (corpus_image_bytes(old, i, &bytes, &n, &err) < 0) _exit(2);
        if (corpus_open(&new, cache, CORPUS_READ, &err) < 0) _exit(3);
        if (corpus_get_image(new, 7, &image, &err) != ERR_NOT_FOUND) _exit(4);
        if (!strstr(err.text, "was forgotten")) _exit(5);
        if (corpus_get_image(old, 7, &image, &err) < 0) _exit(6);
        corpus_close(new);
        corpus_close(old);
        _exit(0);
    }
    char x;
    int status = -1;
    struct gc_result g;
    CHECK_EQ(read(to_parent[0], &x, 1), 1);
    CHECK_OK(forget("id-7.jpg", NULL, &r), &err);
    CHECK_OK(gc_run(cache, NULL, &g, &err), &err);
    CHECK_EQ(write(to_child[1], "g", 1), 1);
    waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
    for (int i = 0; i < 2; i++) {
        close(to_child[i]);
        close(to_parent[i]);
    }
    scratch_remove(&scratch);
}

/* A featurize whose corpus was opened before, and that made a set after forget had listed them. */
TEST(gc_takes_vectors_that_came_too_late)
{
    char hex[DIGEST_HEX], want[DIGEST_HEX];
    int n_findings;
    struct forget_result r;
    struct gc_result g;
    uint8_t key[1][DIGEST_BYTES];
    float v[DIM];
    uint32_t number = 7;
    struct featureset *fs;
    set_up();
    CHECK_OK(make(all), &err);
    expected(not_7, want);
    CHECK_OK(forget("id-7.jpg", NULL, &r), &err);
    digest_of("bytes of picture 7, marked", 26, key[0]);
    draw(key[0], 1, v);
    CHECK_OK(featureset_open(&fs, cache, "image.final", FEATURESET_WRITE, &err), &err);
    CHECK_OK(featureset_put(fs, 1, 1, &number, (const uint8_t(*)[DIGEST_BYTES])key, v, &err), &err);
    featureset_close(fs);
    look(cache, hex, &n_findings);
    CHECK_EQ(n_findings, 1);
    CHECK_OK(gc_run(cache, NULL, &g, &err), &err);
    CHECK_EQ(g.n_vectors, 1);
    look(cache, hex, &n_findings);
    CHECK_EQ(n_findings, 0);
    CHECK_STR(hex, want);
    scratch_remove(&scratch);
}

/* Whatever fails, the cache is sound, and the same call goes on to the same end. */
TEST(forget_gc_and_snapshot_survive_failed_allocations)
{
    char hex[DIGEST_HEX], want[DIGEST_HEX], before[DIGEST_HEX];
    int n_findings, n_failed = 0;
    struct forget_result r;
    struct gc_result g;
    struct snapshot_result s;
    set_up();
    CHECK_OK(make(all), &err);
    expected(not_b, want);
    for (int step = 0; step < 3; step++) {
        int rc = ERR_NOMEM;
        look(cache, before, NULL);
        for (int64_t at = 1; rc == ERR_NOMEM && at < 100000; at += 1 + at / 8) {
            memory_fail_at((long)at);
            rc = step == 0   ? forget(NULL, "source=b", &r)
                 : step == 1 ? gc_run(cache, NULL, &g, &err)
                             : snapshot_publish(cache, dest, 1, NULL, &s, &err);
            memory_fail_at(0);
            n_failed += rc == ERR_NOMEM;
            if (rc == 0) break;
            CHECK_EQ(rc, ERR_NOMEM);
            look(cache, hex, &n_findings);
            CHECK_EQ(n_findings, 0);
            if (step) CHECK_STR(hex, before);
        }
        CHECK_EQ(rc, 0);
    }
    CHECK(n_failed > 60);
    look(cache, hex, &n_findings);
    CHECK_STR(hex, want);
    char published[100];
    snprintf(published, sizeof published, "%s/current", dest);
    look(published, hex, &n_findings);
    CHECK_EQ(n_findings, 0);
    CHECK_STR(hex, want);
    scratch_remove(&scratch);
}

/* Snapshots while somebody adds, featurises, forgets and compacts without end: in each one every
 * vector has its record, and none is of a forgotten one. */
TEST(snapshot_is_of_one_moment)
{
    enum { ROUNDS = 12 };
    set_up();
    CHECK_OK(make(not_b), &err);
    pid_t child = fork();
    if (child == 0) {
        struct forget_result r;
        struct gc_result g;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0;; i++) {
            if (make(all) < 0 || forget(NULL, "source=b", &r) < 0) _exit(1);
            if (i % 3 == 0 && gc_run(cache, NULL, &g, &err) < 0) _exit(2);
        }
    }
    struct snapshot_result s;
    char hex[DIGEST_HEX], published[100];
    int n_findings = 0, status = 0, n_done = 0;
    snprintf(published, sizeof published, "%s/current", dest);
    for (int i = 0; i < ROUNDS; i++) {
        int rc = snapshot_publish(cache, dest, 2, NULL, &s, &err);
        if (rc == ERR_LOCKED) continue; /* forgotten all the time */
        if (rc < 0) CHECK_FAIL("%s", err.text);
        look(published, hex, &n_findings);
        CHECK_EQ(n_findings, 0);
        n_done++;
    }
    CHECK(n_done > ROUNDS / 2);
    CHECK_EQ(waitpid(child, &status, WNOHANG), 0);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    scratch_remove(&scratch);
}

TEST(gc_and_snapshot_refuse_a_full_disk)
{
    char hex[DIGEST_HEX], want[DIGEST_HEX], path[100], published[100];
    int n_findings;
    struct forget_result r;
    struct gc_result g;
    struct snapshot_result s;
    set_up();
    if (mount("none", scratch.folder, "tmpfs", 0, "size=24m") < 0) {
        scratch_remove(&scratch);
        SKIP("a tmpfs can be mounted by root only");
    }
    CHECK_OK(make(all), &err);
    CHECK_OK(snapshot_publish(cache, dest, 0, NULL, &s, &err), &err);
    CHECK_OK(forget("id-7.jpg", NULL, &r), &err);
    look(cache, want, &n_findings);
    snprintf(path, sizeof path, "%s/fill", scratch.folder);
    FILE *fill = fopen(path, "w");
    static char zeros[65536];
    while (fill && fwrite(zeros, 1, sizeof zeros, fill) == sizeof zeros && fflush(fill) == 0)
        continue;
    if (fill) fclose(fill);
    int rc = 0, n_full = 0;
    for (int64_t left = 0; left < (20 << 20); left += 300000) { /* a little more space each time */
        struct error why;
        if (truncate(path, (off_t)((int64_t)file_size(path) - (left ? 300000 : 0))) < 0) break;
        rc = gc_run(cache, NULL, &g, &why);
        if (rc == 0) rc = snapshot_publish(cache, dest, 0, NULL, &s, &why);
        look(cache, hex, &n_findings);
        CHECK_EQ(n_findings, 0);
        CHECK_STR(hex, want);
        snprintf(published, sizeof published, "%s/current", dest);
        look(published, hex, &n_findings);
        CHECK_EQ(n_findings, 0);
        if (rc == 0) break;
        CHECK_EQ(rc, ERR_NOSPACE);
        n_full++;
    }
    CHECK_EQ(rc, 0);
    CHECK(n_full > 3);
    umount(scratch.folder);
    scratch_remove(&scratch);
}

TEST_MAIN
