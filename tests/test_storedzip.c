/* Archives of stored entries: found by name in both forms of the format; every kind of broken
 * directory has its sentence, and no cut or flipped bit is read past. */
#include "featurize/storedzip.h"
#include "store/memory.h"
#include "tests/check.h"
#include "tests/zipkit.h"

#include <stdlib.h>

static const struct zipkit_entry two[] = {{.name = "a/data.pkl", .bytes = "hello", .n = 5},
                                          {.name = "a/data/0", .bytes = "", .n = 0},
                                          {.name = "a/data/1", .bytes = "12345678", .n = 8}};
enum { N_DIRECTORY_ENTRY = 46 };

TEST(entries_are_found_by_name)
{
    struct error err = {0};
    uint8_t file[2000];
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct storedzip *z;
        size_t n = zipkit_build(file, two, 3, zip64);
        CHECK(storedzip_is(file, n) && !storedzip_is("PK", 2));
        CHECK_OK(storedzip_read(file, n, "z", &z, &err), &err);
        CHECK_EQ(storedzip_n(z), 3);
        const struct storedzip_entry *e = storedzip_find(z, "a/data/1", 8);
        CHECK(e && e->n == 8 && !memcmp(e->bytes, "12345678", 8));
        CHECK(storedzip_find(z, "a/data/1x", 8) == e);
        e = storedzip_find(z, "a/data/0", 8);
        CHECK(e && e->n == 0);
        CHECK(!storedzip_find(z, "a/data/2", 8) && !storedzip_find(z, "a/data/", 7));
        CHECK(!storedzip_at(z, 3) && storedzip_at(z, 0)->n == 5);
        storedzip_close(z);
    }
}

static void refused(const uint8_t *file, size_t n, const char *says)
{
    struct error err = {0};
    struct storedzip *z;
    CHECK_EQ(storedzip_read(file, n, "z", &z, &err), ERR_DATA);
    CHECK(!z);
    CHECK_HAS(err.text, says);
}

/* The file with 16 bits at `back` bytes before its end set to `value`. */
static void refused_with(size_t back, uint32_t value, int n_bytes, bool zip64, const char *says)
{
    uint8_t file[2000];
    size_t n = zipkit_build(file, two, 3, zip64);
    for (int i = 0; i < n_bytes; i++) file[n - back + (size_t)i] = (uint8_t)(value >> 8 * i);
    refused(file, n, says);
}

TEST(broken_directories_each_get_their_sentence)
{
    uint8_t file[2000];
    refused((const uint8_t *)"", 0, "no end record");
    refused_with(22, 0, 4, false, "no end record");
    refused_with(2, 7, 2, false, "no end record"); /* a comment that is not there */
    refused_with(6, 5000, 4, false, "the directory is not in the file");
    refused_with(10, 5000, 4, false, "the directory is not in the file");
    refused_with(12, 2, 2, false, "in several parts");
    refused_with(14, 4, 2, false, "in several parts");
    refused_with(6, 3, 4, false, "the directory ends too early"); /* it begins elsewhere */
    refused_with(22 + 20, 0, 4, true, "no zip64 locator");
    refused_with(22 + 12, 1, 4, true, "no zip64 end record");
    refused_with(22 + 20 + 8, 5000, 4, true, "the directory is not in the file");
    refused_with(22 + 20 + 24, 9, 4, true, "in several parts");
    size_t last = 22 + N_DIRECTORY_ENTRY + 8; /* the directory's last entry */
    refused_with(last - 42, 5000, 4, false, "not where the directory says");
    refused_with(last - 42, 3, 4, false, "not where the directory says");
    refused_with(last - 42, 0, 4, false, "another name than in the directory");
    refused_with(last - 24, 4000, 4, false, "is compressed");
    refused_with(last - 28, 500, 2, false, "the directory ends too early");

    struct zipkit_entry bad[2] = {two[0], two[1]};
    bad[1].method = 8;
    refused(file, zipkit_build(file, bad, 2, false), "entry a/data/0 is compressed");
    bad[1].method = 0;
    bad[1].flags = 1;
    refused(file, zipkit_build(file, bad, 2, true), "entry a/data/0 is encrypted");
    bad[1] = two[0];
    refused(file, zipkit_build(file, bad, 2, false), "entry a/data.pkl stands there twice");
}

/* Exactly as many bytes as there are, so that a sanitizer sees one more. */
static void try_all(const uint8_t *file, size_t n, bool must_fail)
{
    struct error err = {0};
    struct storedzip *z;
    uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, file, n);
    int rc = storedzip_read(exact, n, "z", &z, &err);
    CHECK(must_fail ? rc == ERR_DATA : rc == 0 || rc == ERR_DATA);
    unsigned sum = 0;
    for (size_t i = 0; rc == 0 && i < storedzip_n(z); i++)
        for (size_t k = 0; k < storedzip_at(z, i)->n; k++) sum += storedzip_at(z, i)->bytes[k];
    CHECK(sum < 256 * 2000);
    storedzip_close(z);
    free(exact);
}

TEST(no_cut_and_no_flip_is_read_past)
{
    uint8_t file[2000];
    for (int zip64 = 0; zip64 < 2; zip64++) {
        size_t n = zipkit_build(file, two, 3, zip64);
        for (size_t cut = 0; cut < n; cut++) try_all(file, cut, true);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            file[bit / 8] ^= (uint8_t)(1 << bit % 8);
            try_all(file, n, false);
            file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

TEST_MAIN
