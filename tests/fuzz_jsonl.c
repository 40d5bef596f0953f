/* Any bytes as JSON lines: the reader comes to the end, rows lie in the order of the file, and a
 * row is good or has a reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ingest/jsonl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct row *r, uint64_t *line)
{
    if (r->line < *line) abort();
    *line = r->line;
    if (r->reason && (!r->message || !r->record || strlen(r->record) > ROW_SHOWN)) abort();
    if (!r->reason && (!r->caption || r->caption[r->n_caption] || !(r->weight > 0))) abort();
}

static void read_all(const char *path)
{
    struct jsonl *j = NULL;
    struct row row;
    uint64_t line = 0;
    if (jsonl_open(&j, path, NULL) < 0) return;
    while (jsonl_next(j, &row, NULL) > 0) check(&row, &line);
    jsonl_close(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n) abort();
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    read_all(path);
    close(fd);
    return 0;
}
