/* One flipped bit anywhere in a small store: verify finds it, or it changes nothing (the dump is equal);
 * nothing hangs, and a dump of the damaged store ends with an answer that is right, with an error, or
 * with a signal that the program's own handler turns into one, but never with a wrong answer that it
 * does not doubt.
 *
 * Every byte of every class is flipped: heads, page heads, offsets, nodes, keys, values, gaps, free
 * pages. All bytes of heads and of the beginning of each page, one byte in 131 elsewhere, another each
 * page; CLIPSTILL_FLIPS=N: one in N; CLIPSTILL_FLIPS=all: each byte (half an hour).
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/corpus.h"
#include "store/featureset.h"
#include "store/memory.h"
#include "store/file.h"
#include "tests/scratch.h"
#include "tests/dumptext.h"

#define PAGE 4096
#define DIM  16

static struct error err;
static struct scratch scratch;
static char *const cache = scratch.folder;

struct counter {
    struct corpus *c;
    int n;
};

static void count(void *context, const char *text)
{
    struct counter *n = context;
    (void)text;
    n->n++;
}

static bool key_of(void *context, uint32_t number, uint8_t key[DIGEST_BYTES])
{
    struct corpus *c = *(struct corpus **)context;
    const char *text;
    size_t n;
    return number < corpus_n_captions(c) &&
           corpus_caption_text(c, number, &text, &n, key, NULL) == 0;
}

/* Rows [from, to) in one batch. */
static void add_rows(struct corpus *c, int from, int to)
{
    CHECK_OK(corpus_begin(c, &err), &err);
    for (int i = from; i < to; i++) {
        char bytes[7000], text[80];
        uint32_t image, caption;
        uint16_t language, source;
        bool is_new, changed;
        size_t n = i % 9 == 0 ? 6000 : 150 + (size_t)i;
        for (size_t k = 0; k < n; k++) bytes[k] = (char)(i * 31 + (int)k * 7);
        struct corpus_image im = {
            .width_px = 9, .height_px = 9, .format = IMAGE_JPEG, .orientation = 1};
        CHECK_OK(corpus_add_image(c, &im, bytes, n, &image, &is_new, &err), &err);
        int n_text = snprintf(text, sizeof text, "caption %d of a small store", i);
        CHECK_OK(corpus_add_caption(c, text, (size_t)n_text, &caption, &is_new, &err), &err);
        CHECK_OK(corpus_intern(c, NAME_LANGUAGE, i % 2 ? "en" : "ru", &language, &err), &err);
        CHECK_OK(corpus_intern(c, NAME_SOURCE, "flips.tsv", &source, &err), &err);
        struct corpus_pair pair = {.image = image,
                                   .caption = caption,
                                   .language = language,
                                   .source = source,
                                   .label = CORPUS_NO_NAME,
                                   .weight = 1};
        CHECK_OK(corpus_add_pair(c, &pair, NULL, 0, &is_new, &changed, &err), &err);
        snprintf(text, sizeof text, "id-%d", i);
        CHECK_OK(corpus_add_id(c, source, text, im.key, &err), &err);
        struct corpus_reject reject = {.source = "flips.tsv",
                                       .line = (uint64_t)i,
                                       .reason = "missing-file",
                                       .message = "no such file",
                                       .record = text};
        if (i % 8 == 0) CHECK_OK(corpus_add_reject(c, &reject, NULL, NULL, &err), &err);
    }
    CHECK_OK(corpus_commit(c, &err), &err);
}

static void make_cache(void)
{
    struct corpus *c = NULL;
    struct featureset *fs = NULL;
    struct featureset_spec spec = {.name = "text.final",
                                   .tap = "text.final",
                                   .tower = TOWER_TEXT,
                                   .dim = DIM,
                                   .storage = STORAGE_Q,
                                   .epsilon = 1e-4f};
    scratch_make(&scratch);
    CHECK_OK(corpus_open(&c, cache, CORPUS_WRITE, &err), &err);
    for (int i = 0; i < 36; i += 12) add_rows(c, i, i + 12);
    corpus_close(c);
    CHECK_OK(corpus_open(&c, cache, CORPUS_READ, &err), &err);
    CHECK_OK(featureset_create(&fs, cache, &spec, &err), &err);
    for (uint32_t i = 0; i < 36; i++) {
        float vector[DIM];
        uint8_t key[1][DIGEST_BYTES];
        const char *text;
        size_t n;
        for (uint32_t j = 0; j < DIM; j++) vector[j] = (float)((i * 31 + j * 17) % 23) - 11;
        CHECK_OK(corpus_caption_text(c, i, &text, &n, key[0], &err), &err);
        if (i % 12 == 0 || i == 35)
            CHECK_OK(featureset_put(fs, i % 2, 1, &i, key, vector, &err), &err);
    }
    featureset_close(fs);
    corpus_close(c);
}

/* 0 and the dump of both, or an error. */
static int dump(struct text *t)
{
    struct featureset *fs = NULL;
    int rc = corpus_open(&t->c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = corpus_dump(t->c, append, t, &err);
    if (rc == 0) rc = featureset_open(&fs, cache, "text.final", FEATURESET_READ, &err);
    if (rc == 0) rc = featureset_dump(fs, key_of, append, t, &err);
    featureset_close(fs);
    corpus_close(t->c);
    t->c = NULL;
    return rc;
}

/* Findings and errors of the damaged kind; 0 when all is well, negative for a failure to check. */
static int verify(void)
{
    struct counter n = {0};
    struct featureset *fs = NULL;
    int rc = corpus_open(&n.c, cache, CORPUS_READ, &err);
    if (rc == 0) rc = corpus_verify(n.c, count, &n, NULL, &err);
    if (rc >= 0) rc = featureset_open(&fs, cache, "text.final", FEATURESET_READ, &err);
    if (rc == 0) rc = featureset_verify(fs, n.n ? NULL : key_of, count, &n, NULL, &err);
    if (rc < 0) n.n++;
    featureset_close(fs);
    corpus_close(n.c);
    return n.n;
}

enum { SAME, REFUSED, CRASHED, HUNG, WRONG, UNSEEN, OUTCOMES };
static const char *const words[OUTCOMES] = {"same", "refused", "crashed",
                                            "hung", "wrong",   "unseen"};

/* In a child, which may die; a sanitizer that ends it has an exit code of its own. */
#define EXIT_OF 100 /* and the outcome */

static void judge(const struct text *right)
{
    alarm(20);
    signal(SIGBUS, SIG_DFL);
    struct text t = {0};
    int rc = dump(&t);
    int outcome = rc < 0 ? REFUSED : t.n == right->n && !memcmp(t.p, right->p, t.n) ? SAME : WRONG;
    _exit(EXIT_OF + outcome);
}

static int run(void (*work)(const struct text *), const struct text *right)
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, 2);
        work(right);
    }
    while (waitpid(child, &status, 0) < 0) {}
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    if (code >= EXIT_OF) return code - EXIT_OF;
    if (WIFEXITED(status)) return CRASHED;
    return WTERMSIG(status) == SIGALRM ? HUNG : CRASHED;
}

static void find(const struct text *right)
{
    (void)right;
    alarm(20);
    _exit(EXIT_OF + (verify() ? REFUSED : SAME));
}

/* One byte in how many is flipped. */
static int stride(void)
{
    const char *s = getenv("CLIPSTILL_FLIPS");
    int n = !s ? 131 : atoi(s);
    return n > 0 ? n : 1;
}

static void flip_file(const char *name, const struct text *right)
{
    int counts[OUTCOMES] = {0}, n = 0, n_told = 0, n_died = 0, step = stride();
    char path[200];
    snprintf(path, sizeof path, "%s/%s/data.mdb", cache, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = (off_t)file_size(path);
    for (off_t at = 0; at < size; at++) {
        bool is_dense = at % PAGE < (at < 2 * PAGE ? 160 : 24);
        if (!is_dense && (at + at / PAGE * 5) % step) continue;
        uint8_t byte, bit = (uint8_t)(1 << (at * 5 + at / 8) % 8);
        if (pread(fd, &byte, 1, at) != 1) abort();
        uint8_t flipped = byte ^ bit;
        if (pwrite(fd, &flipped, 1, at) != 1) abort();
        int answer = run(judge, right), found = run(find, right);
        if (found == CRASHED) n_died++;
        if (found == HUNG) answer = HUNG;
        if (found == SAME && answer != SAME) answer = UNSEEN;
        if (answer == WRONG && found != SAME) answer = REFUSED; /* verify tells */
        counts[answer]++;
        n++;
        if ((answer == HUNG || answer == UNSEEN) && n_told++ < 20)
            CHECK_FAIL("%s: byte %ld (page %ld, byte %ld), bit %d: %s", name, (long)at,
                       (long)(at / PAGE), (long)(at % PAGE), bit, words[answer]);
        if (pwrite(fd, &byte, 1, at) != 1) abort();
    }
    close(fd);
    printf("# %s: %d flips:", name, n);
    for (int i = 0; i < OUTCOMES; i++) printf(" %d %s", counts[i], words[i]);
    printf("; verify died %d times\n", n_died);
    CHECK_EQ(counts[UNSEEN] + counts[HUNG], 0);
    CHECK(counts[REFUSED] + counts[CRASHED] > 20); /* the flips do reach what is read */
}

TEST(a_flipped_bit_is_found_or_harmless)
{
    make_cache();
    struct text right = {0};
    CHECK_EQ(verify(), 0);
    CHECK_OK(dump(&right), &err);
    flip_file("corpus", &right);
    flip_file("features/text.final", &right);
    memory_free(right.p);
    scratch_remove(&scratch);
}

TEST_MAIN
