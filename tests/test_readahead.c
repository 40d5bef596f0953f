/* Bytes that were asked for come into memory without being read. */
#include "store/readahead.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/check.h"

#define BYTES ((size_t)8 << 20)
#define PAGE  4096

static size_t resident(uint8_t *map, size_t from, size_t n)
{
    static unsigned char in[BYTES / PAGE];
    size_t count = 0;
    if (mincore(map + from, n, in)) return 0;
    for (size_t i = 0; i < n / PAGE; i++) count += in[i] & 1;
    return count;
}

TEST(asked_pages_come)
{
    char path[] = "/tmp/test_readahead.XXXXXX";
    static uint8_t page[PAGE] = {1};
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    for (size_t i = 0; i < BYTES / PAGE; i++) CHECK_EQ(write(fd, page, PAGE), PAGE);
    CHECK_EQ(fsync(fd), 0);
    uint8_t *map = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    readahead_at_random(map, map + BYTES, true); /* nothing comes unasked */
    size_t from = BYTES / 2, n = 64 * PAGE;
    if (resident(map, 0, BYTES)) {
        munmap(map, BYTES);
        close(fd);
        SKIP("pages of this file system cannot be dropped");
    }
    readahead_ask(map, 0);
    readahead_ask(map + from + 5, n - 10); /* whole pages, though it begins and ends inside one */
    for (int i = 0; i < 500 && resident(map, from, n) < n / PAGE; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    CHECK_EQ(resident(map, from, n), n / PAGE);
    CHECK_EQ(map[from], 1);
    CHECK_EQ(map[0], 1); /* a page that was not asked for comes alone */
    CHECK_EQ(resident(map, 0, 64 * PAGE), 1);
    readahead_at_random(map, map, true);
    readahead_at_random(map, map + BYTES, false);
    munmap(map, BYTES);
    close(fd);
}

TEST_MAIN
