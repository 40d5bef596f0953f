/* Salvage: pages of a small cache are lost in turn (CLIPSTILL_FLIPS=all: each of them), bits flip, the file is cut. Whatever is done to it,
 * the new cache verifies clean, each line of its dump was a line of the old one (nothing is
 * invented, nothing is there twice, nothing that was taken back returns), and the same rows and
 * vectors, added again, make the old dump.
 *
 * covers: corpusrescue corpussalvage featureset_salvage
 */
#include "store/salvage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/file.h"
#include "store/lock.h"
#include "store/memory.h"
#include "tests/scratch.h"
#include "tests/dumptext.h"

#define PAGE 4096
#define DIM  16
#define ROWS 60
#define SET  "text.final"

static struct error err;
static struct scratch scratch;
static char *const cache = scratch.folder;

static void hear(void *context, const char *text)
{
    struct text *t = context;
    t->n_findings++;
    append(t, text);
}

static bool key_of(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    struct corpus *c = *(struct corpus **)context;
    const char *text;
    size_t n;
    return number < corpus_n_captions(c) &&
           corpus_caption_text(c, number, &text, &n, key, NULL) == 0;
}

/* Pictures of 150 to 13,000 bytes: in a leaf, in one overflow page, in several. */
static size_t picture_of(int i, char bytes[13000])
{
    size_t n = i % 5 == 0 ? 3000 + (size_t)i * 160 : 150 + (size_t)i;
    for (size_t k = 0; k < n; k++) bytes[k] = (char)(i * 31 + (int)k * 7 + (int)(k >> 8));
    return n;
}

/* Row i as it is in the end; `language` other than that is what it was before. */
static void add_row(struct corpus *c, int i, const char *language, bool with_reject)
{
    char bytes[13000], text[80];
    bool is_new, changed;
    struct corpus_image im = {
        .width_px = 9, .height_px = 9, .format = IMAGE_JPEG, .orientation = 1};
    struct corpus_pair pair = {.label = CORPUS_NO_NAME, .weight = 1};
    size_t n = picture_of(i, bytes);
    CHECK_OK(corpus_add_image(c, &im, bytes, n, &pair.image, &is_new, &err), &err);
    int n_text = snprintf(text, sizeof text, "caption %d of a store", i);
    CHECK_OK(corpus_add_caption(c, text, (size_t)n_text, &pair.caption, &is_new, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_LANGUAGE, language, &pair.language, &err), &err);
    CHECK_OK(corpus_intern(c, NAME_SOURCE, "rows.tsv", &pair.source, &err), &err);
    if (i % 3 == 0) CHECK_OK(corpus_intern(c, NAME_LABEL, "dog", &pair.label, &err), &err);
    CHECK_OK(corpus_add_pair(c, &pair, i % 4 ? NULL : "Original", 8, &is_new, &changed, &err),
             &err);
    snprintf(text, sizeof text, "id-%d", i);
    CHECK_OK(corpus_add_id(c, pair.source, text, im.key, &err), &err);
    struct corpus_reject reject = {.source = "rows.tsv",
                                   .line = (uint64_t)i,
                                   .reason = "missing-file",
                                   .message = "no such file",
                                   .record = text};
    if (with_reject && i % 8 == 0) CHECK_OK(corpus_add_reject(c, &reject, NULL, NULL, &err), &err);
}

static const char *language_of(int i)
{
    return i % 2 ? "en" : "ru";
}

/* All rows, as they are in the end, and what is not of a row. */
static void add_all(struct corpus *c)
{
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_set_caption_rule(c, "nfkc-space-1", &err), &err);
    CHECK_OK(corpus_set_classes(c, "{\"a\": 1}", &err), &err);
    for (int i = 0; i < ROWS; i++) add_row(c, i, language_of(i), i != 16);
    CHECK_OK(corpus_commit(c, &err), &err);
}

static int first_reject_of_line_16(void *context, uint64_t number, const char *json)
{
    if (strstr(json, "\"line\":16,")) *(uint64_t *)context = number;
    return 0;
}

/* The same in several commits, with languages that are changed and a reject that is taken back. */
static void make_corpus(void)
{
    struct corpus *c = NULL;
    struct corpus_pair *pairs = NULL;
    size_t n = 0;
    uint64_t reject = UINT64_MAX;
    uint16_t wrong, right;
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    for (int from = 0; from < ROWS; from += 15) {
        CHECK_OK(corpus_begin(c, &err), &err);
        CHECK_OK(corpus_set_caption_rule(c, "nfkc-space-1", &err), &err);
        for (int i = from; i < from + 15; i++)
            add_row(c, i, i % 10 == 4 ? "xx" : language_of(i), true);
        CHECK_OK(corpus_commit(c, &err), &err);
    }
    CHECK_OK(corpus_pairs(c, &pairs, &n, &err), &err);
    CHECK_OK(corpus_each_reject(c, first_reject_of_line_16, &reject, &err), &err);
    CHECK_OK(corpus_begin(c, &err), &err);
    CHECK_OK(corpus_find_name(c, NAME_LANGUAGE, "xx", &wrong, &err), &err);
    CHECK_OK(corpus_find_name(c, NAME_LANGUAGE, "ru", &right, &err), &err);
    for (size_t i = 0; i < n; i++) {
        struct corpus_pair to = pairs[i];
        if (to.language != wrong) continue;
        to.language = right;
        CHECK_OK(corpus_change_pair(c, &pairs[i], &to, &err), &err);
    }
    CHECK_OK(corpus_remove_reject(c, reject, &err), &err);
    CHECK_OK(corpus_commit(c, &err), &err);
    memory_free(pairs);
    add_all(c);
    corpus_close(c);
}

/* Puts every vector, into a set that is made when it is not there. */
static void put_vectors(void)
{
    struct text t = {0};
    struct featureset *fs = NULL;
    struct json *fingerprint = json_new_object();
    json_set_string(fingerprint, "weights", "w1");
    struct featureset_spec spec = {.name = SET,
                                   .tap = SET,
                                   .tower = TOWER_TEXT,
                                   .dim = DIM,
                                   .storage = STORAGE_Q,
                                   .epsilon = 1e-4f,
                                   .fingerprint = fingerprint,
                                   .tokenizer = "pieces",
                                   .n_tokenizer = 6};
    CHECK_OK(corpus_open(&t.c, cache, CORPUS_READ, &err), &err);
    int rc = featureset_open(&fs, cache, SET, FEATURESET_WRITE, &err);
    if (rc == ERR_NOT_FOUND) rc = featureset_create(&fs, cache, &spec, &err);
    CHECK_OK(rc, &err);
    for (int turn = 0; turn < 6; turn++)
        for (int i = turn * 10; i < turn * 10 + 10; i++) {
            float vector[DIM];
            uint8_t key[1][DIGEST_BYTES];
            char text[80];
            uint32_t number;
            int n = snprintf(text, sizeof text, "caption %d of a store", i);
            for (int j = 0; j < DIM; j++) vector[j] = (float)((i * 31 + j * 17) % 23) - 11;
            digest_of(text, (size_t)n, key[0]);
            CHECK_OK(corpus_caption_number(t.c, key[0], &number, &err), &err);
            for (uint32_t view = 0; view < 2; view++)
                if (view == 0 || i % 20 == 3)
                    CHECK_OK(featureset_put(fs, view, 1, &number, key, vector, &err), &err);
        }
    featureset_close(fs);
    corpus_close(t.c);
    json_free(fingerprint);
}

static struct text dump(void)
{
    struct text t = {0};
    struct featureset *fs = NULL;
    int rc = corpus_open(&t.c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = corpus_dump(t.c, append, &t, &err);
    if (rc == 0) rc = featureset_open(&fs, cache, SET, FEATURESET_READ, &err);
    if (rc == ERR_NOT_FOUND)
        rc = 0;
    else if (rc == 0)
        rc = featureset_dump(fs, key_of, append, &t, &err);
    if (rc < 0) CHECK_FAIL("dump: %s", err.text);
    featureset_close(fs);
    corpus_close(t.c);
    return t;
}

static void check_clean(const char *what)
{
    struct text t = {0};
    struct featureset *fs = NULL;
    int rc = corpus_open(&t.c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = corpus_verify(t.c, hear, &t, NULL, &err);
    if (rc == 0) rc = featureset_open(&fs, cache, SET, FEATURESET_READ, &err);
    if (rc == 0) rc = featureset_verify(fs, key_of, hear, &t, NULL, &err);
    if (rc < 0 && rc != ERR_NOT_FOUND) CHECK_FAIL("%s: %s", what, err.text);
    if (t.n_findings) CHECK_FAIL("%s: not clean: %s", what, t.p);
    featureset_close(fs);
    corpus_close(t.c);
    memory_free(t.p);
}

/* Every line of `some` is one of `all`, each once. Both are sorted. */
static bool is_part_of(const struct text *some, const struct text *all)
{
    const char *a = all->p ? all->p : "", *s = some->p ? some->p : "";
    while (*s) {
        size_t n = strcspn(s, "\n") + 1, m = 0;
        while (*a && (m = strcspn(a, "\n") + 1, m != n || memcmp(a, s, n))) a += m;
        if (!*a) return false;
        a += m;
        s += n;
    }
    return true;
}

/* Salvages both; returns the number of losses told, or an error. */
static int salvage(struct salvage_result *corpus, struct salvage_result *set)
{
    struct text t = {0};
    struct salvage how = {.cache = cache, .lost = hear, .context = &t};
    int rc = salvage_corpus(&how, corpus, &err);
    if (rc == 0) rc = corpus_open(&t.c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = salvage_featureset(&how, SET, key_of, &t, corpus_n_captions(t.c), set, &err);
    corpus_close(t.c);
    memory_free(t.p);
    return rc < 0 ? rc : t.n_findings;
}

/* After damage: salvage, look, add everything again, look again. */
static void mend(const char *what, const struct text *whole, struct salvage_result *corpus,
                 struct salvage_result *set)
{
    struct corpus *c = NULL;
    *corpus = *set = (struct salvage_result){0};
    int rc = salvage(corpus, set);
    if (rc < 0) {
        CHECK_FAIL("%s: %s", what, err.text);
        return;
    }
    check_clean(what);
    struct text left = dump();
    if (!is_part_of(&left, whole)) CHECK_FAIL("%s: something was invented:\n%s", what, left.p);
    memory_free(left.p);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    add_all(c);
    corpus_close(c);
    put_vectors();
    check_clean(what);
    struct text again = dump();
    if (again.n != whole->n || memcmp(again.p, whole->p, whole->n))
        CHECK_FAIL("%s: added again, it is another", what);
    memory_free(again.p);
}

static const char *path_of(const char *part)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s/data.mdb", cache, part);
    return path;
}

static struct text whole; /* dump of the sound cache */
static char *files[2];    /* its two data files */
static size_t n_files[2];
static const char *const parts[2] = {"corpus", "features/" SET};

static void set_up(void)
{
    scratch_make(&scratch);
    make_corpus();
    put_vectors();
    check_clean("as made");
    whole = dump();
    for (int i = 0; i < 2; i++)
        CHECK_OK(file_read(path_of(parts[i]), 1 << 26, &files[i], &n_files[i], &err), &err);
}

static void put_back(int i)
{
    CHECK_OK(file_write(path_of(parts[i]), files[i], n_files[i], &err), &err);
}

static void tear_down(void)
{
    for (int i = 0; i < 2; i++) memory_free(files[i]);
    memory_free(whole.p);
    scratch_remove(&scratch);
}

TEST(a_sound_cache_is_salvaged_whole)
{
    struct salvage_result corpus, set;
    set_up();
    mend("sound", &whole, &corpus, &set);
    CHECK_EQ(corpus.kept.n_images, ROWS);
    CHECK_EQ(corpus.kept.n_captions, ROWS);
    CHECK_EQ(corpus.kept.n_pairs, ROWS);
    CHECK_EQ(corpus.kept.n_ids, ROWS);
    CHECK_EQ(corpus.kept.n_rejects, 7);
    CHECK_EQ(set.kept.n_vectors, ROWS + 3);
    CHECK_EQ(corpus.lost.n_images + corpus.lost.n_captions + corpus.lost.n_pairs, 0);
    CHECK_EQ(set.lost.n_vectors, 0);
    tear_down();
}

TEST(a_lost_page_loses_its_records_and_no_others)
{
    struct salvage_result corpus, set;
    char what[80];
    uint64_t most_images = 0, most_vectors = 0;
    int n_whole = 0, n_pages = 0;
    set_up();
    for (int i = 0; i < 2; i++)
        for (size_t page = 0; page < n_files[i] / PAGE; page++) {
            if (page > 7 && page % 4 && !getenv("CLIPSTILL_FLIPS")) continue;
            char *copy = memory_copy(files[i], n_files[i], &err);
            put_back(0);
            put_back(1);
            memset(copy + page * PAGE, page % 2 ? 0 : 0xa5, PAGE);
            CHECK_OK(file_write(path_of(parts[i]), copy, n_files[i], &err), &err);
            memory_free(copy);
            snprintf(what, sizeof what, "%s, page %zu", parts[i], page);
            mend(what, &whole, &corpus, &set);
            uint64_t n_lost = corpus.lost.n_images + corpus.lost.n_captions + corpus.lost.n_pairs +
                              set.lost.n_vectors;
            n_whole += n_lost == 0;
            n_pages++;
            if (page < 2 && n_lost) CHECK_FAIL("%s: %d records lost", what, (int)n_lost);
            if (corpus.lost.n_images > most_images) most_images = corpus.lost.n_images;
            if (i && set.lost.n_vectors > most_vectors) most_vectors = set.lost.n_vectors;
        }
    /* heads, branches, directories, lists of free pages and free pages cost nothing */
    printf("# %d pages, %d without a loss, at most %d pictures and %d vectors\n", n_pages, n_whole,
           (int)most_images, (int)most_vectors);
    CHECK(n_whole > n_pages / 3 && n_whole < n_pages);
    CHECK(most_images > 1 && most_images < ROWS);
    tear_down();
}

TEST(flipped_bits_and_cut_files_are_mended)
{
    struct salvage_result corpus, set;
    char what[80];
    uint32_t seed = 20260101;
    set_up();
    for (int turn = 0; turn < 24; turn++) {
        int i = turn % 2;
        char *copy = memory_copy(files[i], n_files[i], &err);
        size_t n = n_files[i];
        put_back(1 - i);
        for (int k = 0; k <= turn % 4;
             k++) { /* one to four bits, in heads, page heads or anywhere */
            seed = seed * 1664525u + 1013904223u;
            size_t at = (seed >> 8) % n;
            if (turn % 3 == 0) at = at / PAGE * PAGE + at % 64;
            if (turn % 5 == 0) at = at % 320 < 160 ? at % 160 : PAGE + at % 160;
            copy[at] ^= (char)(1 << (seed >> 4) % 8);
        }
        if (turn % 6 == 5) n = n * (size_t)(turn % 10 + 1) / 11; /* cut, not always at a page */
        CHECK_OK(file_write(path_of(parts[i]), copy, n, &err), &err);
        memory_free(copy);
        snprintf(what, sizeof what, "%s, turn %d", parts[i], turn);
        mend(what, &whole, &corpus, &set);
    }
    tear_down();
}

TEST(the_damaged_one_is_kept_or_not_and_a_writer_is_not_disturbed)
{
    struct salvage_result result = {0};
    struct salvage how = {.cache = cache, .suffix = "damaged-1"};
    struct lock *lock = NULL;
    char path[200], folder[200];
    set_up();
    snprintf(folder, sizeof folder, "%s/corpus", cache);
    CHECK_OK(lock_take(&lock, folder, &err), &err);
    CHECK_EQ(salvage_corpus(&how, &result, &err), ERR_LOCKED);
    lock_release(lock);
    snprintf(path, sizeof path, "%s/corpus.damaged-1/data.mdb", cache);
    CHECK(!file_exists(path));
    CHECK_OK(salvage_corpus(&how, &result, &err), &err);
    CHECK_EQ(file_size(path), n_files[0]);
    snprintf(path, sizeof path, "%s/corpus.damaged-1-1/data.mdb", cache);
    CHECK_OK(salvage_corpus(&how, &result, &err), &err); /* the name is taken */
    CHECK(file_exists(path));
    CHECK_OK(salvage_featureset(&how, SET, NULL, NULL, 0, &result, &err), &err);
    snprintf(path, sizeof path, "%s/" SET ".damaged-1/data.mdb", cache);
    CHECK_EQ(file_size(path), n_files[1]);
    how.suffix = NULL;
    CHECK_OK(salvage_corpus(&how, &result, &err), &err);
    snprintf(path, sizeof path, "%s/corpus.discarded", cache);
    CHECK(!file_exists(path));
    snprintf(path, sizeof path, "%s/.repair", cache);
    CHECK(!file_exists(path));
    check_clean("after all");
    /* a set without its meta is gone, and says so */
    CHECK_OK(file_write(path_of(parts[1]), files[1], PAGE, &err), &err);
    result = (struct salvage_result){0};
    CHECK_OK(salvage_featureset(&how, SET, NULL, NULL, 0, &result, &err), &err);
    CHECK(result.is_gone);
    CHECK(!file_exists(path_of(parts[1])));
    tear_down();
}

TEST_MAIN
