/* The ingest stage on small corpora made on the spot: what is stored, what is quarantined, and that
 * running again, being killed, or the number of threads changes nothing.
 *
 * covers: deposit shots
 */
#include "ingest/ingest.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/file.h"
#include "store/memory.h"
#include "tests/scratch.h"

#define GOLDEN "tests/golden/preprocess/inputs"

static struct scratch scratch; /* of the running test */

static void write_bytes(const char *name, const void *bytes, size_t n)
{
    struct error err = {0};
    if (file_write(scratch_path(&scratch, name), bytes, n, &err) < 0) CHECK_FAIL("%s", err.text);
}

static void write_text(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

/* A copy of a golden picture, cut to `percent` of its bytes. */
static void copy_picture(const char *golden, const char *name, int percent)
{
    char path[256], *bytes = NULL;
    size_t n = 0;
    struct error err = {0};
    snprintf(path, sizeof path, GOLDEN "/%s", golden);
    if (file_read(path, 1 << 24, &bytes, &n, &err) < 0) CHECK_FAIL("%s", err.text);
    write_bytes(name, bytes, n * (size_t)percent / 100);
    memory_free(bytes);
}

static int ingest(const char *cache, const char *source, struct ingest_options o,
                  struct ingest_result *r, struct error *err)
{
    char path[256];
    const char *sources[] = {path};
    snprintf(path, sizeof path, "%s/%s", scratch.folder, source);
    o.sources = sources;
    o.n_sources = 1;
    *err = (struct error){0};
    return ingest_run(scratch_path(&scratch, cache), &o, NULL, r, err);
}

static uint64_t n_of(const struct ingest_result *r, const char *reason)
{
    for (size_t i = 0; i < r->n_reasons; i++)
        if (!strcmp(r->reasons[i].word, reason)) return r->reasons[i].n;
    return 0;
}

struct text {
    char *bytes;
    size_t n, capacity;
};

static int add_line(void *context, const char *line)
{
    struct text *t = context;
    size_t n = strlen(line);
    struct error err = {0};
    if (memory_grow(&t->bytes, &t->capacity, t->n + n + 2, 1, MEMORY_MAX_FILE, &err) < 0)
        return ERR_NOMEM;
    memcpy(t->bytes + t->n, line, n);
    t->n += n;
    t->bytes[t->n++] = '\n';
    t->bytes[t->n] = '\0';
    return 0;
}

/* The corpus as canonical text; owned. Says when verification finds anything. */
static char *dump(const char *cache)
{
    struct corpus *c = NULL;
    struct text t = {0};
    struct error err = {0};
    if (corpus_open(&c, scratch_path(&scratch, cache), CORPUS_READ, &err) < 0 ||
        corpus_dump(c, add_line, &t, &err) < 0 || corpus_verify(c, NULL, NULL, NULL, &err) != 0)
        CHECK_FAIL("%s: %s", cache, err.text);
    corpus_close(c);
    return t.bytes ? t.bytes : memory_string("", &err);
}

static void same_dump(const char *a, const char *b)
{
    char *da = dump(a), *db = dump(b);
    CHECK(strlen(da) > 100);
    if (strcmp(da, db))
        CHECK_FAIL("the dumps of %s and %s differ:\n%.1500s\n--\n%.1500s", a, b, da, db);
    memory_free(da);
    memory_free(db);
}

/* Good and bad records side by side. */
static void make_mixed(void)
{
    copy_picture("photo_00.jpg", "a.jpg", 100);
    copy_picture("photo_00.jpg", "copy of a.jpg", 100);
    copy_picture("exif_6.jpg", "b.jpg", 100);
    copy_picture("webp_named.jpg", "broken.jpg", 100); /* really WebP, and fine */
    copy_picture("palette4.png", "c.png", 100);
    copy_picture("photo_01.jpg", "cut.jpg", 60);
    write_text("fake.jpg", "GIF89a...");
    write_text("empty.jpg", "");
    write_text("m.tsv", "caption\timage\tlang\tlabel\tsplit\tweight\n"
                        "a dog\ta.jpg\ten\tdog\ttrain\t1\n"
                        "\xe7\x8b\x97\ta.jpg\tzh\tdog\ttrain\t2.5\n"
                        "a  dog \tcopy of a.jpg\ten\tdog\t\t\n" /* same picture, same text */
                        "a cat\tb.jpg\t\t\tval\t\n"
                        "a cow\tbroken.jpg\ten\t\ttest\t\n"
                        "a bee\tc.png\ten\t\t\t\n"
                        "cut\tcut.jpg\ten\t\t\t\n"
                        "fake\tfake.jpg\ten\t\t\t\n"
                        "nothing\tempty.jpg\ten\t\t\t\n"
                        "gone\tgone.jpg\ten\t\t\t\n"
                        "gone again\tgone.jpg\ten\t\t\t\n"
                        "bad \xff text\ta.jpg\ten\t\t\t\n"
                        " \ta.jpg\ten\t\t\t\n"
                        "x\ta.jpg\tenglish\t\t\t\n"
                        "x\ta.jpg\ten\t\tnowhere\t\n"
                        "x\ta.jpg\ten\t\t\t-1\n"
                        "x\t\ten\t\t\t\n"
                        "too\tfew\n");
}

TEST(good_and_bad_records_side_by_side)
{
    scratch_make(&scratch);
    make_mixed();
    struct ingest_result r;
    struct error err;
    CHECK_OK(ingest("cache", "m.tsv", ingest_defaults(), &r, &err), &err);
    CHECK_EQ(r.n_rows, 18);
    CHECK_EQ(r.n_images_new, 4);
    CHECK_EQ(r.n_images_old, 1); /* the copy */
    CHECK_EQ(r.n_captions_new, 5);
    CHECK_EQ(r.n_pairs_new, 5);
    CHECK_EQ(r.n_rejects, 12);
    CHECK_EQ(r.n_rejects_new, 12);
    const char *reasons[] = {"truncated",     "unsupported-format", "empty-file", "bad-utf8",
                             "empty",         "bad-language",       "bad-split",  "bad-weight",
                             "missing-image", "wrong-field-count"};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (n_of(&r, reasons[i]) != 1) CHECK_FAIL("%s: %d", reasons[i], (int)n_of(&r, reasons[i]));
    CHECK_EQ(n_of(&r, "missing-file"), 2);
    struct corpus *c = NULL;
    struct corpus_image image;
    uint32_t a, copy, number;
    struct corpus_pair *pairs = NULL;
    size_t n_pairs = 0;
    CHECK_OK(corpus_open(&c, scratch_path(&scratch, "cache"), CORPUS_READ, &err), &err);
    CHECK_OK(corpus_image_of_id(c, "m.tsv", "a.jpg", &a, &err), &err);
    CHECK_OK(corpus_image_of_id(c, "m.tsv", "copy of a.jpg", &copy, &err), &err);
    CHECK_EQ(a, copy);
    CHECK_OK(corpus_image_of_id(c, "m.tsv", "b.jpg", &number, &err), &err);
    CHECK_OK(corpus_get_image(c, number, &image, &err), &err);
    CHECK_EQ(image.orientation, 6);
    CHECK_EQ(image.width_px, 410); /* upright: stored as 300 x 410 */
    CHECK_EQ(image.format, IMAGE_JPEG);
    CHECK_OK(corpus_image_of_id(c, "m.tsv", "broken.jpg", &number, &err), &err);
    CHECK_OK(corpus_get_image(c, number, &image, &err), &err);
    CHECK_EQ(image.format, IMAGE_WEBP);
    CHECK_EQ(corpus_image_of_id(c, "m.tsv", "cut.jpg", &number, &err), ERR_NOT_FOUND);
    CHECK_OK(corpus_pairs(c, &pairs, &n_pairs, &err), &err);
    CHECK_EQ(n_pairs, 5);
    size_t n_weighted = 0, n_und = 0;
    for (size_t i = 0; i < n_pairs; i++) {
        n_weighted += pairs[i].weight == 2.5f;
        n_und += !strcmp(corpus_name(c, NAME_LANGUAGE, pairs[i].language), "und");
    }
    CHECK_EQ(n_weighted, 1);
    CHECK_EQ(n_und, 1);
    memory_free(pairs);
    corpus_close(c);
    scratch_remove(&scratch);
}

TEST(ingesting_again_changes_nothing)
{
    scratch_make(&scratch);
    make_mixed();
    struct ingest_result r;
    struct error err;
    CHECK_OK(ingest("once", "m.tsv", ingest_defaults(), &r, &err), &err);
    CHECK_OK(ingest("twice", "m.tsv", ingest_defaults(), &r, &err), &err);
    CHECK_OK(ingest("twice", "m.tsv", ingest_defaults(), &r, &err), &err);
    CHECK_EQ(
        r.n_images_new + r.n_captions_new + r.n_pairs_new + r.n_pairs_changed + r.n_image_bytes, 0);
    CHECK_EQ(r.n_pairs_old, 6);
    CHECK_EQ(r.n_rejects, 12);
    CHECK_EQ(r.n_rejects_new, 0); /* exit 0 and not 3 */
    same_dump("once", "twice");
    scratch_remove(&scratch);
}

TEST(threads_and_batches_change_nothing)
{
    scratch_make(&scratch);
    make_mixed();
    struct ingest_result r;
    struct error err;
    struct ingest_options o = ingest_defaults();
    for (o.n_threads = 1; o.n_threads <= 3; o.n_threads++) {
        char name[20];
        snprintf(name, sizeof name, "t%d", o.n_threads);
        CHECK_OK(ingest(name, "m.tsv", o, &r, &err), &err);
    }
    o.batch_bytes = 4; /* a transaction a row */
    CHECK_OK(ingest("small", "m.tsv", o, &r, &err), &err);
    same_dump("t1", "t2");
    same_dump("t1", "t3");
    same_dump("t1", "small");
    scratch_remove(&scratch);
}

static bool stop_now(void *context)
{
    return --*(int *)context < 0;
}

TEST(stopped_and_killed_runs_go_on)
{
    scratch_make(&scratch);
    make_mixed();
    struct ingest_result r;
    struct error err = {0};
    CHECK_OK(ingest("whole", "m.tsv", ingest_defaults(), &r, &err), &err);
    struct ingest_options o = ingest_defaults();
    o.batch_bytes = 4;
    const char *sources[] = {scratch_path(&scratch, "m.tsv")};
    o.sources = sources;
    o.n_sources = 1;
    int left = 4;
    struct report report = {.context = &left, .stopped = stop_now};
    CHECK_EQ(ingest_run(scratch_path(&scratch, "stopped"), &o, &report, &r, &err), ERR_STOPPED);
    CHECK_EQ(r.n_rows, 4);
    CHECK_EQ(r.n_pairs_new, 3);
    for (int i = 0; i < 6; i++) { /* kill -9 after a while that grows */
        pid_t child = fork();
        if (child == 0) {
            o.n_threads = 1;
            if (ingest_run(scratch_path(&scratch, "stopped"), &o, NULL, &r, &err) < 0) _exit(1);
            _exit(0);
        }
        usleep((useconds_t)(2000 * i));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    CHECK_OK(ingest_run(scratch_path(&scratch, "stopped"), &o, NULL, &r, &err), &err);
    same_dump("whole", "stopped");
    scratch_remove(&scratch);
}

TEST(budgets)
{
    scratch_make(&scratch);
    make_mixed();
    struct ingest_result r;
    struct error err;
    struct ingest_options o = ingest_defaults();
    CHECK_OK(ingest_parse_max_bad("12", &o, &err), &err);
    CHECK_OK(ingest("enough", "m.tsv", o, &r, &err), &err);
    o.max_bad = 3;
    CHECK_EQ(ingest("few", "m.tsv", o, &r, &err), ERR_BUDGET);
    CHECK_EQ(r.n_rejects, 4);
    CHECK_HAS(err.text, "at most 3");
    struct corpus *c = NULL;
    CHECK_OK(corpus_open(&c, scratch_path(&scratch, "few"), CORPUS_READ, &err), &err);
    CHECK_EQ(corpus_n_images(c), 4); /* what was good before is kept */
    corpus_close(c);
    o = ingest_defaults();
    CHECK_OK(ingest_parse_max_bad("50%", &o, &err), &err);
    CHECK_EQ(ingest("share", "m.tsv", o, &r, &err), ERR_BUDGET);
    CHECK_HAS(err.text, "12 of 18");
    CHECK_OK(ingest_parse_max_bad("66.7%", &o, &err), &err);
    CHECK_OK(ingest("share", "m.tsv", o, &r, &err), &err);
    CHECK_EQ(ingest_parse_max_bad("-1", &o, &err), ERR_USAGE);
    CHECK_EQ(ingest_parse_max_bad("1 %", &o, &err), ERR_USAGE);
    CHECK_EQ(ingest_parse_max_bad("101%", &o, &err), ERR_USAGE);
    CHECK_EQ(ingest_parse_max_bad("nan%", &o, &err), ERR_USAGE);
    write_text("bad.tsv", "image\tcaption\nx.jpg\tx\ny.jpg\ty\n");
    CHECK_EQ(ingest("bad", "bad.tsv", ingest_defaults(), &r, &err), ERR_BUDGET);
    CHECK_HAS(err.text, "every record was rejected");
    scratch_remove(&scratch);
}

TEST(sources_that_cannot_be_read)
{
    scratch_make(&scratch);
    struct ingest_result r;
    struct error err;
    write_text("header.tsv", "image\tcaption\n");
    CHECK_EQ(ingest("c", "header.tsv", ingest_defaults(), &r, &err), ERR_DATA);
    CHECK_HAS(err.text, "has a header but no rows");
    CHECK_EQ(ingest("d", "absent.tsv", ingest_defaults(), &r, &err), ERR_NOT_FOUND);
    CHECK(!file_exists(scratch_path(&scratch, "d"))); /* a wrong name makes no cache */
    write_text("column.tsv", "picture\tcaption\na\tb\n");
    CHECK_EQ(ingest("d", "column.tsv", ingest_defaults(), &r, &err), ERR_DATA);
    CHECK_HAS(err.text, "no column 'image' (--map image=NAME names it); found: picture, caption");
    struct ingest_options o = ingest_defaults();
    o.language = "klingonese";
    CHECK_EQ(ingest("d", "header.tsv", o, &r, &err), ERR_USAGE);
    o = ingest_defaults();
    CHECK_EQ(ingest_run(scratch_path(&scratch, "d"), &o, NULL, &r, &err), ERR_USAGE);
    scratch_remove(&scratch);
}

TEST(ids)
{
    scratch_make(&scratch);
    copy_picture("photo_00.jpg", "a.jpg", 100);
    copy_picture("photo_01.jpg", "b.jpg", 100);
    write_text("m.jsonl",
               "{\"image\": \"a.jpg\", \"id\": 7, \"caption\": \"a dog\", \"lang\": \"en\"}\n"
               "{\"image\": \"b.jpg\", \"id\": 7, \"caption\": \"a cat\"}\n"
               "{\"id\": 7, \"captions\": {\"zh\": \"\xe7\x8b\x97\", \"de\": [\"ein Hund\", 5]}}\n"
               "{\"id\": \"unknown\", \"caption\": \"x\"}\n");
    struct ingest_result r;
    struct error err;
    CHECK_OK(ingest("cache", "m.jsonl", ingest_defaults(), &r, &err), &err);
    CHECK_EQ(r.n_images_new, 1); /* nothing of a bad row is stored */
    CHECK_EQ(r.n_pairs_new, 3);
    CHECK_EQ(n_of(&r, "duplicate-id"), 1);
    CHECK_EQ(n_of(&r, "unknown-id"), 1);
    CHECK_EQ(n_of(&r, "bad-member"), 1);
    /* captions that come later, from another manifest, name the picture by its id */
    write_text("more.csv", "id,caption,lang\n7,\"un chien, brun\",fr\na.jpg,perro,es\n");
    CHECK_OK(ingest("cache", "more.csv", ingest_defaults(), &r, &err), &err);
    CHECK_EQ(r.n_pairs_new, 2);
    CHECK_EQ(r.n_images_new, 0);
    /* a file whose content changed is not silently taken */
    copy_picture("photo_02.jpg", "a.jpg", 100);
    CHECK_OK(ingest("cache", "m.jsonl", ingest_defaults(), &r, &err), &err);
    CHECK_EQ(n_of(&r, "duplicate-id"), 2);
    CHECK_EQ(r.n_images_new, 0);
    scratch_remove(&scratch);
}

/* The same bytes by two names and under one id: one picture, however the batches fall. */
TEST(a_copy_is_no_other_picture)
{
    for (int i = 0; i < 2; i++) {
        struct ingest_options o = ingest_defaults();
        struct ingest_result r;
        struct error err;
        scratch_make(&scratch);
        copy_picture("photo_00.jpg", "a.jpg", 100);
        copy_picture("photo_00.jpg", "b.jpg", 100);
        write_text("m.csv", "image,id,caption\na.jpg,x,one\nb.jpg,x,two\n");
        if (i) o.batch_bytes = 4;
        CHECK_OK(ingest("cache", "m.csv", o, &r, &err), &err);
        CHECK_EQ(r.n_images_new, 1);
        CHECK_EQ(r.n_images_old, 1);
        CHECK_EQ(r.n_pairs_new, 2);
        CHECK_EQ(r.n_rejects, 0);
        scratch_remove(&scratch);
    }
}

TEST(images_without_bytes)
{
    scratch_make(&scratch);
    struct ingest_result r;
    struct error err;
    struct ingest_options o = ingest_defaults();
    o.no_images = true;
    write_text("m.jsonl", "{\"image\": \"x.jpg\", \"caption\": \"a dog\", \"lang\": \"en\"}\n"
                          "{\"image\": \"x.jpg\", \"caption\": \"ein Hund\", \"lang\": \"de\"}\n"
                          "{\"image\": \"y.jpg\", \"caption\": \"a cat\"}\n");
    CHECK_OK(ingest("cache", "m.jsonl", o, &r, &err), &err);
    CHECK_EQ(r.n_images_new, 2);
    CHECK_EQ(r.n_pairs_new, 3);
    struct corpus *c = NULL;
    struct corpus_image image;
    uint8_t key[DIGEST_BYTES];
    uint32_t number;
    corpus_key_of_id("x.jpg", key);
    CHECK_OK(corpus_open(&c, scratch_path(&scratch, "cache"), CORPUS_READ, &err), &err);
    CHECK_OK(corpus_image_number(c, key, &number, &err), &err);
    CHECK_OK(corpus_get_image(c, number, &image, &err), &err);
    CHECK_EQ(image.n_bytes, 0);
    CHECK_EQ(image.format, IMAGE_NONE);
    corpus_close(c);
    CHECK_OK(ingest("cache", "m.jsonl", o, &r, &err), &err);
    CHECK_EQ(r.n_images_new + r.n_pairs_new, 0);
    scratch_remove(&scratch);
}

TEST(folders_and_classes)
{
    scratch_make(&scratch);
    struct ingest_result r;
    struct error err;
    if (file_make_folder(scratch_path(&scratch, "pics/dog"), &err) < 0) CHECK_FAIL("%s", err.text);
    copy_picture("photo_00.jpg", "pics/dog/a.jpg", 100);
    copy_picture("rgba.png", "pics/b.png", 100);
    copy_picture("webp_lossy.webp", "pics/dog/c.webp", 50);
    write_text("pics/dog/a.txt", "en\ta dog\nein Hund\n");
    write_text("classes.json",
               "{\"classes\": {\"dog\": {\"en\": \"dog\", \"de\": [\"Hund\", \"Dogge\"]}},"
               " \"templates\": {\"en\": [\"a {}\", \"the {}\"]}}");
    struct ingest_options o = ingest_defaults();
    o.classes = scratch_path(&scratch, "classes.json");
    o.language = "de";
    o.source.folder_labels = true;
    CHECK_OK(ingest("cache", "pics", o, &r, &err), &err);
    CHECK_EQ(r.n_images_new, 2); /* one of them without a caption */
    CHECK_EQ(r.n_pairs_new, 2);
    CHECK_EQ(r.n_prompts_new, 4);
    CHECK_EQ(n_of(&r, "truncated"), 1);
    struct corpus *c = NULL;
    struct corpus_pair *pairs = NULL;
    size_t n_pairs = 0;
    char *text = NULL;
    CHECK_OK(corpus_open(&c, scratch_path(&scratch, "cache"), CORPUS_READ, &err), &err);
    CHECK_OK(corpus_pairs(c, &pairs, &n_pairs, &err), &err);
    CHECK_EQ(n_pairs, 2);
    for (size_t i = 0; i < n_pairs; i++)
        CHECK_STR(corpus_name(c, NAME_LABEL, pairs[i].label), "dog");
    CHECK_OK(corpus_classes(c, &text, &err), &err);
    CHECK_HAS(text, "Dogge");
    memory_free(text);
    memory_free(pairs);
    corpus_close(c);
    scratch_remove(&scratch);
}

TEST(a_failed_allocation_loses_nothing)
{
    scratch_make(&scratch);
    make_mixed();
    struct ingest_result r;
    struct error err;
    CHECK_OK(ingest("whole", "m.tsv", ingest_defaults(), &r, &err), &err);
    struct ingest_options o = ingest_defaults();
    o.n_threads = 1;
    int n_failed = 0;
    for (long nth = 1; nth < 400; nth = nth * 5 / 4 + 1) {
        memory_fail_at(nth);
        int rc = ingest("shaken", "m.tsv", o, &r, &err);
        memory_fail_at(0);
        n_failed += rc == ERR_NOMEM;
        if (rc < 0 && rc != ERR_NOMEM)
            CHECK_FAIL("allocation %ld: %s: %s", nth, error_word(rc), err.text);
    }
    CHECK(n_failed >= 10);
    CHECK_OK(ingest("shaken", "m.tsv", o, &r, &err), &err);
    same_dump("whole", "shaken");
    scratch_remove(&scratch);
}

TEST_MAIN
