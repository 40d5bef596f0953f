/* Streams: what is packed gives the same text as what is not, whatever way it comes; a stream that is
 * cut or damaged anywhere says so; a bomb costs time and no memory.
 *
 * covers: scrap
 */
#include "ingest/stream.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ingest/scrap.h"
#include "tests/rowskit.h"

static struct scratch s;
static struct error err;

/* The stream's text; owned, a NUL behind. *code: 0, or the error it ended with. */
static char *text_of(const char *path, size_t *n, int *code)
{
    struct stream *stream = NULL;
    struct pack out = {0};
    const char *bytes;
    size_t n_block;
    err = (struct error){0};
    pack_add(&out, "", 0);
    *code = stream_open(&stream, path, &err);
    while (*code == 0 && (*code = stream_read(stream, &bytes, &n_block, &err)) > 0) {
        pack_add(&out, bytes, n_block);
        *code = 0;
    }
    if (*code < 0 && !*err.text) CHECK_FAIL("an error without a sentence");
    if (*code == 0 && stream_read(stream, &bytes, &n_block, &err) != 0) CHECK_FAIL("no end");
    stream_close(stream);
    *n = out.n;
    return out.bytes;
}

static void gives(const char *name, const void *packed, size_t n_packed, const void *want,
                  size_t n_want)
{
    int code;
    size_t n;
    char *text = text_of(scratch_bytes(&s, name, packed, n_packed), &n, &code);
    if (code < 0) CHECK_FAIL("%s: %s", name, err.text);
    if (n != n_want || memcmp(text, want, n)) CHECK_FAIL("%s: another text of %zu bytes", name, n);
    memory_free(text);
}

/* Text that does not shrink to nothing. */
static struct pack prose(size_t n_lines)
{
    struct pack p = {0};
    unsigned x = 7;
    for (size_t i = 0; i < n_lines; i++) {
        x = x * 1664525 + 1013904223;
        pack_text(&p, "%zu.jpg\ta picture of %u things\n", i, x >> 8);
    }
    return p;
}

TEST(packed_and_plain_text_are_the_same)
{
    scratch_make(&s);
    struct pack text = prose(20000), two = {0};
    struct pack gz = pack_gzip(text.bytes, text.n), zst = pack_zstd(text.bytes, text.n),
                bz = pack_bzip2(text.bytes, text.n);
    gives("plain", text.bytes, text.n, text.bytes, text.n);
    gives("gz.txt", gz.bytes, gz.n, text.bytes, text.n); /* by the bytes, not the name */
    gives("zst", zst.bytes, zst.n, text.bytes, text.n);
    gives("bz2", bz.bytes, bz.n, text.bytes, text.n);
    pack_add(&two, text.bytes, text.n);
    pack_add(&two, text.bytes, text.n);
    const struct pack *packed[] = {&gz, &zst, &bz};
    for (int i = 0; i < 3; i++) { /* members one behind the other, zeros behind them */
        struct pack twice = {0};
        pack_add(&twice, packed[i]->bytes, packed[i]->n);
        pack_add(&twice, packed[i]->bytes, packed[i]->n);
        gives("twice", twice.bytes, twice.n, two.bytes, two.n);
        pack_free(&twice);
    }
    pack_add(&gz, (char[3000]){0}, 3000);
    gives("padded.gz", gz.bytes, gz.n, text.bytes, text.n);
    gives("empty", "", 0, "", 0);
    pack_free(&gz);
    pack_free(&zst);
    gz = pack_gzip("", 0);
    zst = pack_zstd("", 0);
    gives("empty.gz", gz.bytes, gz.n, "", 0);
    gives("empty.zst", zst.bytes, zst.n, "", 0);
    gives("nul", "a\0b\n", 4, "a\0b\n", 4);
    gives("bzip2 in name only", "BZh, said he\n", 13, "BZh, said he\n", 13);
    pack_free(&gz);
    pack_free(&zst);
    pack_free(&bz);
    pack_free(&two);
    pack_free(&text);
    scratch_remove(&s);
}

TEST(cut_anywhere_it_says_so)
{
    scratch_make(&s);
    struct pack text = prose(40),
                packed[] = {pack_gzip(text.bytes, text.n), pack_zstd(text.bytes, text.n),
                            pack_bzip2(text.bytes, text.n)};
    const char *names[] = {"gz", "zst", "bz2"};
    for (int i = 0; i < 3; i++) {
        struct pack twice = {0};
        pack_add(&twice, packed[i].bytes, packed[i].n);
        pack_add(&twice, packed[i].bytes, packed[i].n);
        /* fewer bytes than a mark has are any file's */
        for (size_t n = 5; n < twice.n; n++) {
            int code;
            size_t n_text;
            char *got = text_of(scratch_bytes(&s, "cut", twice.bytes, n), &n_text, &code);
            bool whole = n == packed[i].n; /* a cut between the two cannot be seen */
            if (code != (whole ? 0 : ERR_DATA))
                CHECK_FAIL("%s cut at %zu of %zu: %s", names[i], n, twice.n, error_word(code));
            if (n_text > 2 * text.n || memcmp(got, text.bytes, n_text < text.n ? n_text : text.n))
                CHECK_FAIL("%s cut at %zu: another text", names[i], n);
            memory_free(got);
        }
        pack_add(&twice, "garbage", 7);
        int code;
        size_t n_text;
        memory_free(text_of(scratch_bytes(&s, "g", twice.bytes, twice.n), &n_text, &code));
        CHECK_EQ(code, ERR_DATA);
        CHECK(n_text == 2 * text.n || i == 1); /* zstd gives nothing of a broken block */
        pack_free(&twice);
        pack_free(&packed[i]);
    }
    pack_free(&text);
    scratch_remove(&s);
}

TEST(flipped_bits_never_give_more_than_an_error)
{
    scratch_make(&s);
    struct pack text = prose(40),
                packed[] = {pack_gzip(text.bytes, text.n), pack_zstd(text.bytes, text.n),
                            pack_bzip2(text.bytes, text.n)};
    for (int i = 0; i < 3; i++) {
        for (size_t at = 0; at < packed[i].n; at++) {
            int code;
            size_t n;
            packed[i].bytes[at] ^= 0x10;
            memory_free(text_of(scratch_bytes(&s, "f", packed[i].bytes, packed[i].n), &n, &code));
            CHECK(code == 0 || code == ERR_DATA);
            packed[i].bytes[at] ^= 0x10;
        }
        pack_free(&packed[i]);
    }
    pack_free(&text);
    scratch_remove(&s);
}

TEST(other_packers_are_named)
{
    const struct {
        const char *bytes, *name;
    } known[] = {
        {"\xfd\x37zXZ\0\0", "xz"}, {"\x04\x22\x4d\x18...", "lz4"}, {"PK\x03\x04...", "zip"}};
    scratch_make(&s);
    for (size_t i = 0; i < 3; i++) {
        struct stream *stream = NULL;
        CHECK_EQ(stream_open(&stream, scratch_bytes(&s, "x", known[i].bytes, 7), &err), ERR_DATA);
        CHECK_HAS(err.text, known[i].name);
        CHECK(stream == NULL);
    }
    struct stream *stream = NULL;
    CHECK_EQ(stream_open(&stream, s.folder, &err), ERR_USAGE);
    CHECK_EQ(stream_open(&stream, "/nowhere/at/all", &err), ERR_NOT_FOUND);
    scratch_remove(&s);
}

/* Writes bytes to a pipe, a few at a time, and ends. */
static pid_t feed(int fd, const char *bytes, size_t n, size_t step)
{
    pid_t child = fork();
    if (child != 0) return child;
    for (size_t at = 0; at < n; at += step)
        if (write(fd, bytes + at, n - at < step ? n - at : step) < 0) _exit(1);
    _exit(0);
}

TEST(pipes_are_files)
{
    struct pack text = prose(5000),
                packed[] = {pack_gzip(text.bytes, text.n), pack_zstd(text.bytes, text.n), text};
    for (int i = 0; i < 3; i++) {
        int ends[2], code;
        char path[40];
        size_t n;
        if (pipe(ends) < 0) abort();
        pid_t child = feed(ends[1], packed[i].bytes, packed[i].n, 1000);
        close(ends[1]);
        snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
        char *got = text_of(path, &n, &code);
        CHECK_EQ(code, 0);
        CHECK(n == text.n && !memcmp(got, text.bytes, n));
        memory_free(got);
        close(ends[0]);
        waitpid(child, NULL, 0);
    }
    for (int i = 0; i < 3; i++) pack_free(&packed[i]);
}

TEST(a_head_is_seen_before_it_is_read)
{
    scratch_make(&s);
    struct pack text = prose(1000), gz = pack_gzip(text.bytes, text.n);
    const struct pack *packed[] = {&text, &gz};
    for (int i = 0; i < 2; i++) {
        struct stream *stream = NULL;
        const char *head, *bytes;
        size_t n_head, n;
        const char *path = scratch_bytes(&s, "m", packed[i]->bytes, packed[i]->n);
        CHECK_OK(stream_open(&stream, path, &err), &err);
        CHECK_EQ(stream_is_plain(stream), i == 0);
        CHECK_EQ(stream_size(stream), packed[i]->n);
        stream_peek(stream, &head, &n_head);
        CHECK(n_head >= 4096 && !memcmp(head, text.bytes, n_head));
        CHECK_EQ(stream_read(stream, &bytes, &n, &err), 1);
        CHECK(n == n_head && !memcmp(bytes, text.bytes, n));
        stream_close(stream);
    }
    pack_free(&gz);
    pack_free(&text);
    scratch_remove(&s);
}

/* A stream of a GiB of one letter, read in a process that may have 64 MiB more than it has. */
static void bomb(const char *name, const struct pack *packed)
{
    const char *path = scratch_bytes(&s, name, packed->bytes, packed->n);
    pid_t child = fork();
    if (child == 0) {
        struct stream *stream = NULL;
        const char *bytes;
        size_t n, total = 0;
        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        if (stream_open(&stream, path, &err) < 0) _exit(1);
        while (stream_read(stream, &bytes, &n, &err) > 0) total += n;
        stream_close(stream);
        getrusage(RUSAGE_SELF, &after);
        if (total != (size_t)64 << 24) _exit(2);
        _exit(after.ru_maxrss - before.ru_maxrss > 64 << 10 ? 3 : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status) CHECK_FAIL("%s: %d", name, status >> 8);
    CHECK(packed->n < 5 << 20);
}

TEST(bombs_cost_no_memory)
{
    scratch_make(&s);
    size_t n = (size_t)1 << 24;
    char *same = memory_array(n, 1, MEMORY_MAX_FILE, &err);
    if (!same) abort();
    memset(same, 'a', n); /* zeros are an empty tar */
    struct pack zst = pack_zstd(same, n), gz = pack_gzip(same, n), many_zst = {0}, many_gz = {0};
    for (int i = 0; i < 64; i++) {
        pack_add(&many_zst, zst.bytes, zst.n);
        pack_add(&many_gz, gz.bytes, gz.n);
    }
    bomb("b.zst", &many_zst);
    bomb("b.gz", &many_gz);
    pack_free(&zst);
    pack_free(&gz);
    pack_free(&many_zst);
    pack_free(&many_gz);
    memory_free(same);
    scratch_remove(&s);
}

/* All members of a tar: "name=content\n", "!\n" for damage. Owned. */
static char *members_of(const char *path, uint64_t limit)
{
    struct stream *stream = NULL;
    struct stream_member m;
    struct pack out = {0};
    char *bytes;
    size_t n;
    pack_add(&out, "", 0);
    int rc = stream_open(&stream, path, &err);
    if (rc < 0 || !stream_is_tar(stream)) {
        pack_text(&out, "no tar");
        stream_close(stream);
        return out.bytes;
    }
    for (int i = 0; i < 100 && (rc = stream_member(stream, &m, &err)) != 0; i++) {
        if (rc == ERR_DATA) {
            pack_text(&out, "!\n");
            continue;
        }
        pack_text(&out, "%s%s", m.name, m.is_folder ? "/" : m.is_file ? "=" : "?");
        rc = m.is_file ? stream_member_read(stream, limit, &bytes, &n, &err) : 1;
        if (rc == 0 && strlen(bytes) != n) CHECK_FAIL("%s: %zu bytes", m.name, n);
        pack_text(&out, "%s\n", rc == 0 ? bytes : rc < 0 ? "!" : "");
        if (rc == 0) memory_free(bytes);
    }
    CHECK_EQ(stream_member(stream, &m, &err), 0);
    stream_close(stream);
    return out.bytes;
}

static void holds(const struct pack *tar, uint64_t limit, const char *want)
{
    char *found = members_of(scratch_bytes(&s, "t", tar->bytes, tar->n), limit);
    CHECK_STR(found, want);
    memory_free(found);
}

static struct pack small_tar(void)
{
    struct pack p = {0};
    pack_file(&p, "a.txt", "one");
    pack_member(&p, "d/", '5', "", 0);
    pack_member(&p, "l", '2', "", 0);
    pack_file(&p, "b.txt", "");
    pack_file(&p, "c.txt", "three");
    return p;
}
#define SMALL "a.txt=one\nd//\nl?\nb.txt=\nc.txt=three\n"

TEST(tars)
{
    scratch_make(&s);
    struct pack tar = small_tar(), none = {0};
    size_t n = tar.n;
    holds(&tar, 100, SMALL "!\n"); /* no end mark */
    pack_end(&tar);
    holds(&tar, 100, SMALL);
    holds(&tar, 4, "a.txt=one\nd//\nl?\nb.txt=\nc.txt=!\n");
    struct pack gz = pack_gzip(tar.bytes, tar.n), zst = pack_zstd(tar.bytes, tar.n);
    holds(&gz, 100, SMALL);
    holds(&zst, 100, SMALL);
    size_t whole = tar.n;
    pack_add(&tar, (char[8192]){0}, 8192);
    struct pack twice = {0};
    pack_add(&twice, tar.bytes, tar.n);
    pack_add(&twice, tar.bytes, whole);
    holds(&twice, 100, SMALL SMALL); /* cat a.tar a.tar */
    pack_end(&none);
    holds(&none, 100, "");
    tar.bytes[1024 + 3] ^= 4; /* the folder's header */
    holds(&tar, 100, "a.txt=one\n!\nl?\nb.txt=\nc.txt=three\n");
    tar.bytes[n - 1024] ^= 4; /* the last one's */
    holds(&tar, 100, "a.txt=one\n!\nl?\nb.txt=\n!\n");
    pack_free(&gz);
    pack_free(&zst);
    pack_free(&twice);
    pack_free(&none);
    pack_free(&tar);
    scratch_remove(&s);
}

TEST(a_tar_cut_anywhere)
{
    scratch_make(&s);
    struct pack tar = small_tar();
    size_t n_members = tar.n;
    pack_end(&tar);
    struct pack gz = pack_gzip(tar.bytes, tar.n);
    for (size_t n = 0; n < tar.n; n += n % 512 < 8 || n % 512 > 504 ? 1 : 24) {
        char *found = members_of(scratch_bytes(&s, "t", tar.bytes, n), 100);
        bool whole = n >= n_members + 512, has_end = strstr(found, "!\n");
        size_t k = strcspn(found, "!"); /* what was before is as it was */
        if (n < 512)
            CHECK_STR(found, "no tar");
        else if (whole ? strcmp(found, SMALL) != 0 && !has_end : !has_end)
            CHECK_FAIL("cut at %zu: %s", n, found);
        else if (k > 8 && memcmp(found, SMALL, k < sizeof SMALL - 1 ? k : sizeof SMALL - 1))
            CHECK_FAIL("cut at %zu: %s", n, found);
        memory_free(found);
    }
    for (size_t n = 2; n < gz.n; n++) {
        char *found = members_of(scratch_bytes(&s, "t", gz.bytes, n), 100);
        if (strcmp(found, "no tar") && !strstr(found, "!\n"))
            CHECK_FAIL("gz cut at %zu: %s", n, found);
        memory_free(found);
    }
    pack_free(&gz);
    pack_free(&tar);
    scratch_remove(&s);
}

TEST(headers_that_lie)
{
    scratch_make(&s);
    const char *sizes[] = {"77777777777\0", "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                           "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "-0000000001\0",
                           "not a size.\0"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct pack tar = {0};
        pack_file(&tar, "a.txt", "one");
        pack_header(&tar, "b.txt", '0', sizes[i]);
        pack_add(&tar, (char[2048]){"some bytes"}, 2048);
        char *found = members_of(scratch_bytes(&s, "t", tar.bytes, tar.n), 1 << 20);
        CHECK(!strncmp(found, "a.txt=one\n", 10));
        CHECK_HAS(found, "!");
        memory_free(found);
        pack_free(&tar);
    }
    scratch_remove(&s);
}

TEST(every_allocation_may_fail)
{
    scratch_make(&s);
    struct pack tar = small_tar();
    pack_end(&tar);
    const char *path = scratch_bytes(&s, "t.tar", tar.bytes, tar.n);
    int n_failed = 0;
    for (long nth = 1; nth < 100; nth++) {
        struct stream *stream = NULL;
        struct stream_member m;
        char *bytes = NULL;
        size_t n;
        memory_fail_at(nth);
        int rc = stream_open(&stream, path, &err);
        while (rc == 0 && (rc = stream_member(stream, &m, &err)) == 1)
            if ((rc = stream_member_read(stream, 100, &bytes, &n, &err)) == 0) memory_free(bytes);
        memory_fail_at(0);
        stream_close(stream);
        n_failed += rc == ERR_NOMEM;
        if (rc != 0 && rc != ERR_NOMEM) CHECK_FAIL("%ld: %s", nth, err.text);
    }
    CHECK(n_failed >= 5 && n_failed < 50);
    pack_free(&tar);
    scratch_remove(&s);
}

TEST(scraps)
{
    FILE *f = NULL;
    char back[4] = "";
    CHECK_OK(scrap_open(&f, "a test", &err), &err);
    CHECK_EQ(fwrite("abc", 1, 3, f), 3);
    CHECK_EQ(fseek(f, 0, SEEK_SET), 0);
    CHECK_EQ(fread(back, 1, 3, f), 3);
    CHECK_STR(back, "abc");
    fclose(f);
    setenv("TMPDIR", "/nowhere/at/all", 1);
    CHECK_EQ(scrap_open(&f, "a test", &err), ERR_NOT_FOUND);
    CHECK_HAS(err.text, "/nowhere/at/all");
    CHECK(f == NULL);
    unsetenv("TMPDIR");
}

TEST(a_file_that_cannot_be_read)
{
    struct stream *stream = NULL;
    CHECK_EQ(stream_open(&stream, "/proc/self/mem", &err), ERR_IO);
    CHECK_HAS(err.text, "/proc/self/mem");
    CHECK(stream == NULL);
}

TEST_MAIN
